# %% [markdown]
# # What breaks in practice
#
# **Goals.** Find the batch size below which KLDO has no minimum; see the bias of log-mean-exp; see what a fixed
# constant does to a normalised policy; find the sign flip in a public implementation.
#
# **The statement.** "KLDO's minibatch log-mean-exp is biased low by Var/(2B) and has no minimum unless B > B* (V9);
# with a constant fixed the optimum over policies is no function of R (V7); a detached factor in public code can push
# the wrong way (V12)." Ours, on losses of arXiv 2502.00657.
#
# **Read** `theory/divergences/samples.py`, `theory/divergences/policies.py`. **Time** 60 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np

from paper.lessons import check
from theory.divergences.policies import fixed_constant_optimum
from theory.divergences.samples import exact_log_mean_exp_bias, minibatch_kldo, minibatch_minimizer, minibatch_threshold

p, q = np.array([0.6, 0.25, 0.15]), np.array([0.2, 0.3, 0.5])
best = np.log(p / q)

# %% [markdown]
# ## Small batches
# B rejected responses per batch, log E₋[eʳ] replaced by a log-mean-exp. Its bias, exactly, by listing all batches:

# %%
batches = np.array([1, 2, 4, 8, 16, 32])
bias = np.array([exact_log_mean_exp_bias(best, q, int(b)) for b in batches])
x = np.exp(best) / (q @ np.exp(best))
figure, ax = plt.subplots(figsize=(4.2, 2.6))
ax.loglog(batches, -bias, "o", label="exact")
ax.loglog(batches, (q @ (x - 1) ** 2) / (2 * batches), label="Var(x)/(2B)")
ax.set_xlabel("B, rejected responses per batch")
ax.set_ylabel("− bias of the log-mean-exp")
ax.legend(frameon=False)
figure.tight_layout()

# %% [markdown]
# Worse than the bias: below a threshold there is no minimum at all. Push the best response's reward up and look:

# %%
print("B* =", round(minibatch_threshold(p, q), 4))
for batch in (2, 3, 4, 8):
    values = [minibatch_kldo(best + np.array([push, 0, 0]), p, q, batch)[0] for push in (0.0, 5.0, 10.0, 20.0)]
    print(f"B = {batch}: loss at pushes 0, 5, 10, 20: {np.round(values, 3)}")

# %% [markdown]
# ## A fixed constant
# BCO with its shift fixed at 0 instead of fitted. π/π_ref is then not the same function of R everywhere:

# %%
P, Q, reference = np.array([0.4, 0.1, 0.3, 0.2]), np.array([0.2, 0.05, 0.45, 0.3]), np.array([0.1, 0.4, 0.3, 0.2])
found = fixed_constant_optimum("bco", P, Q, reference, kl_beta=1.0)
print("R      ", (P / Q).round(3))
print("π/π_ref", (found.policy / reference).round(3), " equal R, different ratios")

# %% [markdown]
# ## Exercises
# **9.1** The first whole batch size at which KLDO on p, q has a minimum.

# %% tags=["answer"]
first = int(np.floor(minibatch_threshold(p, q))) + 1

# %%
check("9.1", first)

# %% [markdown]
# **9.2** The range (largest minus smallest) of the rewards that KLDO leads to at B = 8. The right one is that of log R.
# Three digits.

# %% tags=["answer"]
led_to = np.ptp(minibatch_minimizer(p, q, 8))

# %%
check("9.2", led_to)

# %% [markdown]
# **9.3** The sign flip. Public code multiplies the rejected term by min(A, U)/U with both taken as constants, where A
# is the mean chosen reward and U the log-mean-exp of the rejected ones. Its gradient on a rejected response is that
# factor times softmax. For A = −0.5 and U = 0.25 what is the factor? (A negative one pushes rejected responses up.)

# %% tags=["answer"]
factor = min(-0.5, 0.25) / 0.25

# %%
check("9.3", factor)

# %% [markdown]
# ## What it means for somebody who trains a model
# Check B > B* before a run with KLDO, use a moving average or more rejected responses, fit the constant, and test an
# implementation against a plain one (`llm_validation.check_loss`).
