# %% [markdown]
# # KL balls: RLHF loses e^β, Nash learning does not
#
# **Goals.** See how a KL budget, meant as a safeguard, makes RLHF exponentially bad when comparisons come from another
# law than the reference; compute an equilibrium and its certificate.
#
# **The statement.** "With a KL constraint the distortion of RLHF and DPO can be exponential in β (D8) … NLHF keeps
# L(β) in every KL ball (D9)" (arXiv 2505.23749).
#
# **Read** `theory/policy/kl_ball.py`, `theory/policy/nash.py`. **Time** 45 minutes.

# %%
import math

import matplotlib.pyplot as plt
import numpy as np

from paper.lessons import check
from theory.distortion import correlated_instance, distortion, linear_factor, rlhf_instance
from theory.policy import kl, nlhf, rlhf

# %% [markdown]
# ## The instance I6
# Three classes of answers: a, b and a crowd c of clones that are rare under the reference but are what people compared.

# %%
instance = rlhf_instance(bt_beta=5.0)
print("classes a, b, c; clones:", instance.multiplicity, " KL budget:", round(instance.tau, 4), "nats")
print("average utilities:", instance.population.average_utility.round(4))


def of_rlhf(instance):
    return rlhf(instance.win_rates, instance.pair_weights, None, instance.tau, log_reference=instance.log_reference)


def of_nlhf(instance):
    return nlhf(instance.win_rates, None, instance.tau, log_reference=instance.log_reference).policy


for name, method in (("RLHF", of_rlhf), ("NLHF", of_nlhf)):
    print(name, method(instance).round(4), "distortion", round(instance.distortion(method(instance)), 3))

# %%
betas = np.arange(2.0, 12.5, 1.0)
figure, ax = plt.subplots(figsize=(4.2, 2.6))
instances = [rlhf_instance(beta) for beta in betas]
ax.semilogy(betas, [i.distortion(of_rlhf(i)) for i in instances], "o", label="RLHF on I6")
ax.semilogy(betas, np.exp(betas) / (10 * betas), label="e^β/(10β)")
ax.semilogy(betas, [i.distortion(of_nlhf(i)) for i in instances], "s", label="NLHF on I6")
ax.semilogy(betas, [linear_factor(beta) for beta in betas], "--", label="L(β)")
ax.set_xlabel("β")
ax.set_ylabel("distortion in the ball")
ax.legend(frameon=False)
figure.tight_layout()

# %% [markdown]
# ## A certificate
# An equilibrium is not believed but checked: no policy *in the ball* wins against it by more than the gap.

# %%
P = [[0.5, 0.6, 0.3], [0.4, 0.5, 0.8], [0.7, 0.2, 0.5]]  # a cycle
found = nlhf(P, [0.6, 0.2, 0.2], tau=0.1)
print(found.policy.round(4), "KL", round(kl(found.policy, [0.6, 0.2, 0.2]), 4), "gap", f"{found.gap:.1e}")

# %% [markdown]
# ## Exercises
# **3.1** The distortion of RLHF on I6 at β = 8, four digits.

# %% tags=["answer"]
at_8 = rlhf_instance(8.0).distortion(of_rlhf(rlhf_instance(8.0)))

# %%
check("3.1", at_8)

# %% [markdown]
# **3.2** A trap. `distortion(instance.population, policy)` without the ball gives another number for RLHF's policy on
# I6 at β = 5. Which? (Four digits.) Think about what it compares with before you use the number.

# %% tags=["answer"]
without_ball = distortion(instance.population, of_rlhf(instance))

# %%
check("3.2", without_ball)

# %% [markdown]
# **3.3** On I9, where the two answers of a comparison are correlated, even an unconstrained reward fit loses √A-like
# factors. Measure the slope of log(distortion) in log A between A = 50 and A = 200 alternatives, at β = 5 and
# ε = 10⁻⁶, to two digits. (Theory: ½ as A grows.)

# %% tags=["answer"]
_ends = []
for size in (50, 200):
    one = correlated_instance(5.0, size, 1e-6)
    policy = rlhf(one.win_rates, one.pair_weights, one.reference, math.inf)
    _ends.append(one.distortion(policy))
slope = round(math.log(_ends[1] / _ends[0]) / math.log(4), 2)

# %%
check("3.3", slope)

# %% [markdown]
# ## What it means for somebody who trains a model
# Collect comparisons from the policy that you constrain to (on-policy). The exponential loss is not the KL term's
# fault: it is the mismatch between what was compared and where the reference has its mass.
