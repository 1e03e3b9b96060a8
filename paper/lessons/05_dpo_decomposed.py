# %% [markdown]
# # DPO decomposed
#
# **Goals.** Split DPO's loss into an optimiser, which is linear in the implicit rewards, and a regulariser; compute
# scores from comparisons; see which half of the regulariser the samples keep.
#
# **The statement.** "DPO is −Σ w(y) r(y) plus a regulariser over all pairs of responses (P1–P4)" (arXiv 2505.23316).
#
# **Read** `theory/proximal/feedback.py`, `theory/proximal/losses.py`. **Time** 45 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np

from paper.lessons import check
from theory.proximal import dpo_loss, edpo_loss, empirical_scores, population_scores

# %% [markdown]
# ## Six comparisons of three responses

# %%
pairs = [(0, 1), (0, 1), (1, 0), (0, 2), (2, 1), (1, 2)]
scores, empirical = empirical_scores(3, pairs)
print(
    "share of the places", empirical.round(3), " score", scores.round(3), " signal w =", (scores * empirical).round(4)
)
print("the signal adds up to", round(float(np.sum(scores * empirical)), 12))

# %% [markdown]
# ## The two losses and their gradients
# r = kl_beta · log(π/π_ref). Both are functions of the policy; take their gradients in r by differences, at the
# reference:

# %%
P, mu, reference = (
    np.array([[0.5, 0.8, 0.6], [0.2, 0.5, 0.7], [0.4, 0.3, 0.5]]),
    np.full(3, 1 / 3),
    np.array([0.2, 0.3, 0.5]),
)


def gradient(loss, step=1e-5):
    """In r, by central differences; the losses take any policy up to normalisation."""
    found = []
    for y in range(3):
        ends = []
        for sign in (1, -1):
            tilted = reference * np.exp(sign * step * (np.arange(3) == y))
            ends.append(loss(tilted / tilted.sum()))
        found.append((ends[0] - ends[1]) / (2 * step))
    return np.array(found)


whole = gradient(lambda policy: dpo_loss(policy, reference, P, mu, 1.0))
signals = population_scores(P, mu)
split = gradient(lambda policy: edpo_loss(policy, reference, signals, mu, mu, alpha=1.0, kl_beta=1.0))
print("DPO ", whole.round(5), "\neDPO", split.round(5), "\nratio", (whole / split).round(4))

# %% [markdown]
# ## What the regulariser looks like
# klB(Δ) = −log(σ(Δ)^½ σ(−Δ)^½) − log 2: zero at Δ = 0, with slopes ±½ far away. Against a linear reward of slope w it
# wins only while |w| is below the slope: that is lesson 7.

# %%
delta = np.linspace(-8, 8, 201)
figure, ax = plt.subplots(figsize=(4.2, 2.6))
ax.plot(delta, 0.5 * (np.logaddexp(0, delta) + np.logaddexp(0, -delta)) - np.log(2), label="regulariser")
ax.plot(delta, 0.3 * np.abs(delta), "--", label="an optimiser of slope 0.3")
ax.plot(delta, 0.6 * np.abs(delta), ":", label="one of slope 0.6: it wins")
ax.set_xlabel("Δ, difference of implicit rewards")
ax.legend(frameon=False)
figure.tight_layout()

# %% [markdown]
# ## Exercises
# **5.1** DPO's gradient over eDPO's is the same number at every response. Which?

# %% tags=["answer"]
ratio = round(float((whole / split).mean()), 3)

# %%
check("5.1", ratio)

# %% [markdown]
# **5.2** Two pairs that share no response, (0, 1) and (2, 3). What is the signal w of the winner of a pair?

# %% tags=["answer"]
_s, _m = empirical_scores(4, [(0, 1), (2, 3)])
signal = float((_s * _m)[0])

# %%
check("5.2", signal)

# %% [markdown]
# **5.3** Write a function `loss_of_pair(delta)`: DPO's loss of one comparison whose winner is Δ above its loser,
# decomposed as −Δ/2 + klB(Δ) + log 2. (Its value at 0 is log 2; check that it equals −log σ(Δ).)


# %% tags=["answer"]
def loss_of_pair(delta):
    return -delta / 2 + 0.5 * (np.logaddexp(0, delta) + np.logaddexp(0, -delta))


# %%
check("5.3", loss_of_pair)

# %% [markdown]
# ## What it means for somebody who trains a model
# The optimiser only ever asks for more; what stops it is the regulariser. DPO on samples has regulariser only between
# the two responses of a pair, so that nothing holds their *levels*: lesson 6.
