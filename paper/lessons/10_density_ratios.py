# %% [markdown]
# # Density ratios: consistent, and stable
#
# **Goals.** See DDRO find p⁺/p⁻ and RDRO a capped ratio; watch a response that no bad example has drift under DDRO and
# stop under RDRO; see what pooling a batch estimates instead.
#
# **The statement.** "DDRO's minimiser is p⁺/p⁻, RDRO's is p⁺/(αp⁺ + (1−α)p⁻) ≤ 1/α (R1–R4); averaging chosen and
# rejected losses together estimates another α (R5)" (arXiv 2505.07558, 2604.04410; pooling and limits ours).
#
# **Read** `theory/density_ratio/ratios.py`, `theory/density_ratio/flow.py`. **Time** 45 minutes.

# %%
import math

import matplotlib.pyplot as plt
import numpy as np

from paper.lessons import check
from theory.density_ratio import density_ratio, pooled_ratio, ratio_variance, relative_ratio
from theory.density_ratio.flow import convergence_rate, flow

p, q = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.3, 0.6])
print("p/q            ", density_ratio(p, q).round(3))
print("relative, α=0.3", relative_ratio(p, q, 0.3).round(3), " cap", round(1 / 0.3, 3))

# %% [markdown]
# ## A response that was never rejected
# p⁻(y) = 0: the ratio is infinite. Gradient flow on its log-ratio climbs like log t under DDRO; RDRO's approaches the
# cap log(1/α) at rate p⁺α/(1 + α):

# %%
times = np.geomspace(0.1, 1000, 200)
ddro, rdro = flow(times, 0.4, 0.0), flow(times, 0.4, 0.3 * 0.4)
figure, ax = plt.subplots(figsize=(4.2, 2.6))
ax.semilogx(times, ddro, label="DDRO: no end")
ax.semilogx(times, rdro, "--", label="RDRO, α = 0.3")
ax.axhline(math.log(1 / 0.3), ls=":", color="grey", label="log 1/α")
ax.set_xlabel("time of gradient flow")
ax.set_ylabel("log-ratio of the response")
ax.legend(frameon=False)
figure.tight_layout()

# %% [markdown]
# ## Few bad examples
# The variance of the estimated ratio where p⁻ is small:

# %%
smallest = np.geomspace(0.002, 0.2, 30)
plain = [ratio_variance([0.5, 0.5], [s, 1 - s], 200, 200)[0] for s in smallest]
capped = [ratio_variance([0.5, 0.5], [s, 1 - s], 200, 200, alpha=0.3)[0] for s in smallest]
figure, ax = plt.subplots(figsize=(4.2, 2.6))
ax.loglog(smallest, plain, label="p/q")
ax.loglog(smallest, capped, "--", label="relative, α = 0.3")
ax.set_xlabel("p⁻ of the response")
ax.set_ylabel("variance of its estimated ratio")
ax.legend(frameon=False)
figure.tight_layout()

# %% [markdown]
# ## Exercises
# **10.1** The cap of RDRO's log-ratio at α = 0.3, four digits.

# %% tags=["answer"]
cap = math.log(1 / 0.3)

# %%
check("10.1", cap)

# %% [markdown]
# **10.2** The rate at which a response with p⁺ = 0.4, p⁻ = 0 approaches the cap (α = 0.3). Derive p⁺α/(1 + α) by
# linearising, or measure it on `flow`. Four digits.

# %% tags=["answer"]
rate = convergence_rate(0.4, 0.3 * 0.4)

# %%
check("10.2", rate)

# %% [markdown]
# **10.3** A batch has a share a = 0.2 of chosen examples, and the two classes are averaged together. RDRO with α = 0.5
# then estimates p⁺/(α′p⁺ + (1 − α′)p⁻) up to a factor; which α′? (Four digits.)

# %% tags=["answer"]
_ratio = pooled_ratio(p, q, 0.5, 0.2)
_inverse = np.polyfit(q / p, 1 / _ratio, 1)  # 1/ratio is linear in q/p
other_alpha = _inverse[1] / (_inverse[0] + _inverse[1])

# %%
check("10.3", other_alpha)

# %% [markdown]
# **10.4** By which power of p⁻ does the variance of p/q grow as p⁻ → 0?

# %% tags=["answer"]
exponent = round(np.polyfit(np.log(smallest[:5]), np.log(plain[:5]), 1)[0])

# %%
check("10.4", exponent)

# %% [markdown]
# ## What it means for somebody who trains a model
# "Consistent" says where infinite data lead; the cap says what finite data can do to you. Average chosen and rejected
# losses separately, whatever their numbers in a batch.
