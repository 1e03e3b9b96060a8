# %% [markdown]
# # Losses are divergences
#
# **Goals.** See that each alignment loss, minimised over rewards, is a divergence between good and bad data; write a
# loss of your own from a convex function.
#
# **The statement.** "KLDO estimates KL, BCO Jensen–Shannon, KTO total variation …; FDO any f-divergence, by
# D_f = sup_T E₊ T − E₋ f*(T)" (V1–V6; arXiv 2502.00657). DPO is a Jensen–Shannon divergence of *pairs* (ours).
#
# **Read** `theory/divergences/losses.py`, `theory/divergences/generators.py`. **Time** 60 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

from paper.lessons import check
from theory.divergences import estimated_divergence, jensen_shannon, minimizer, minimum, population_loss

p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])

# %% [markdown]
# ## Train, and compare with the divergence
# Rewards are three free numbers; an off-the-shelf optimiser minimises the population loss:

# %%
for name in ("kldo", "bco", "hellinger", "ddro", "dpo"):
    trained = minimize(
        lambda r, name=name: population_loss(name, r, p, q), np.zeros(3), method="BFGS", options={"gtol": 1e-6}
    )
    print(
        f"{name:10s} trained {trained.fun:.6f}  closed form {minimum(name, p, q):.6f}  "
        f"divergence {estimated_divergence(name, minimum(name, p, q)):.6f}"
    )

# %% [markdown]
# ## What is learned
# The minimiser is a function of R = p/q alone. Which function differs from loss to loss:

# %%
ratios = np.linspace(0.05, 0.95, 91)
figure, ax = plt.subplots(figsize=(4.2, 2.6))
for name, style in (("kldo", "-"), ("bco", "--"), ("hellinger", "-."), ("kto", ":")):
    learned = [minimizer(name, [x, 1 - x], [0.5, 0.5])[0] for x in ratios]
    ax.plot(np.log(2 * ratios), learned, style, label=name)
ax.set_ylim(-4, 2)
ax.set_xlabel("log R")
ax.set_ylabel("reward at the minimum")
ax.legend(frameon=False)
figure.tight_layout()

# %% [markdown]
# ## Exercises
# **8.1** The minimum of KLDO on p, q above: it is −KL(p‖q). Six digits.

# %% tags=["answer"]
kldo = minimum("kldo", p, q)

# %%
check("8.1", kldo)

# %% [markdown]
# **8.2** DPO's loss has minimum log 2 − JS of the laws of pairs (chosen, rejected) and (rejected, chosen), which is
# above the Jensen–Shannon divergence of single responses. Give both, pairs first, four digits each: `(pairs, singles)`.

# %% tags=["answer"]
_pairs = np.outer(p, q).ravel()
_swapped = np.outer(q, p).ravel()
both = (jensen_shannon(_pairs, _swapped), jensen_shannon(p, q))

# %%
check("8.2", both)

# %% [markdown]
# **8.3** Fenchel–Young. For the generator f(u) = (u − 1)² the conjugate is f*(t) = t + t²/4 (for t ≥ −2). Write
# `loss(r)` on p, q for which −min over r is Σ q f(p/q): the negative of E₊[r] − E₋[f*(r)].


# %% tags=["answer"]
def loss(r):
    return -(p @ r) + q @ (r + r**2 / 4)


# %%
check("8.3", loss)

# %% [markdown]
# ## What it means for somebody who trains a model
# The value of the loss on held-out data estimates how different your good and bad examples are: read it before you read
# win rates. Two losses with the same data have different targets; "which is better" is a question about R.
