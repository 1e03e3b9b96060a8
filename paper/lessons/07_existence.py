# %% [markdown]
# # When is there an optimum?
#
# **Goals.** Decide for given data and weight α whether PRO has an optimum; see what descent does on either side of the
# threshold; know the two closed forms that a practitioner needs.
#
# **The statement.** "PRO has one optimum iff α > α* = max over sets S of |w(S)| / (½ μ(S)(1 − μ(S))) — exact, in
# O(n log n) (P7); for binary feedback α* = 2|s| (P10), at an imbalance of 1 : 100 it is 200/101 (P13)". Exact threshold
# ours; PRO arXiv 2505.23316.
#
# **Read** `theory/proximal/existence.py`. **Time** 45 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np

from paper.lessons import check
from theory.proximal import binary_log_ratio, empirical_scores, existence_threshold, proximal_optimum
from theory.proximal.descent import loss_gradient
from theory.proximal.existence import imbalance_scores

# %% [markdown]
# ## One pair and everything else
# Level sets: along a direction d the loss grows like α·(…)|d| − w·d. If the linear term wins in any direction, there is
# no minimum.

# %%
scores, empirical = empirical_scores(3, [(0, 1)])
weights = np.full(3, 1 / 3)
threshold = existence_threshold(scores, empirical, weights)
print("alpha* =", threshold)


def descend(alpha, steps=4000, rate=4.0):
    """Largest reward minus smallest along plain gradient descent."""
    r, spread = np.zeros(3), []
    for _ in range(steps):
        r = r - rate * loss_gradient(r, scores * empirical, weights, alpha)
        spread.append(float(np.ptp(r)))
    return spread


figure, ax = plt.subplots(figsize=(4.2, 2.6))
for share, style in ((0.9, "-"), (1.0, "--"), (1.1, ":"), (2.0, "-.")):
    ax.semilogx(np.arange(1, 4001), descend(share * threshold), style, label=f"α = {share:g} α*")
ax.set_xlabel("step")
ax.set_ylabel("r(winner) − r(loser)")
ax.legend(frameon=False)
figure.tight_layout()

# %%
try:
    proximal_optimum(weights, scores, empirical, weights, alpha=1.0, kl_beta=1.0)
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# ## Binary feedback, and imbalance
# One response of score s against the rest: r = logit(½ + s/α). With many negatives a positive has a score near 1, and
# α = 1 has no optimum although the loss falls nicely:

# %%
for negatives in (1, 3, 10, 100):
    positive, negative = imbalance_scores(negatives)
    print(f"1 : {negatives:<4d} scores {positive:.4f}, {negative:.4f}   alpha* = {2 * max(positive, -negative):.6f}")

# %% [markdown]
# ## Exercises
# **7.1** The weights of the regulariser put a share η = 0.8 on the labelled pair (evenly) and 0.2 on the rest. α* is
# 1/(η(2 − η)); check it with `existence_threshold`. Seven digits.

# %% tags=["answer"]
with_share = existence_threshold(scores, empirical, [0.4, 0.4, 0.2])

# %%
check("7.1", with_share)

# %% [markdown]
# **7.2** α* at an imbalance of 1 : 100, seven digits.

# %% tags=["answer"]
imbalanced = 2 * max(imbalance_scores(100))

# %%
check("7.2", imbalanced)

# %% [markdown]
# **7.3** r of a response with s = ½ at α = 2.5, four digits.

# %% tags=["answer"]
balanced = binary_log_ratio(0.5, 2.5)

# %%
check("7.3", balanced)

# %% [markdown]
# ## What it means for somebody who trains a model
# Before training compute α* of your data. Below it the "optimum" that you stop at is a number of steps, not a property
# of the method. `python -m llm_validation align` refuses to train there and says the threshold.
