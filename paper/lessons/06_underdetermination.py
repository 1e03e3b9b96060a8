# %% [markdown]
# # Why the likelihood of the chosen response falls
#
# **Goals.** See chosen and rejected both fall under DPO while a response that nobody labelled gains; count the
# directions that the loss leaves open; see PRO come to rest.
#
# **The statement.** "DPO on samples determines the differences of implicit rewards within compared pairs and nothing
# else (P5) … restoring the full regulariser ends likelihood underdetermination (P12)" (arXiv 2505.23316).
#
# **Read** `theory/proximal/descent.py`, `theory/proximal/existence.py`. **Time** 60 minutes.

# %%
import matplotlib.pyplot as plt

from paper.lessons import check
from theory.proximal import coupled_path, dpo_attained, pair_log_ratio
from theory.proximal.existence import flat_directions

# %% [markdown]
# ## Three responses with shared features
# One pair (chosen, rejected); a third response has features much like theirs. A language model is like that: a step on
# one sentence moves its relatives.

# %%
paths = {method: coupled_path(method, 3000) for method in ("dpo", "pro")}
figure, axes = plt.subplots(1, 2, figsize=(6.4, 2.6))
for ax, (method, path) in zip(axes, paths.items(), strict=True):
    for response, (name, style) in enumerate((("chosen", "-"), ("rejected", "--"), ("nobody's", ":"))):
        ax.plot(path[:, response], style, label=name)
    ax.set_title(method.upper())
    ax.set_xlabel("step")
axes[0].set_ylabel("log π/π_ref, nats")
axes[0].legend(frameon=False)
figure.tight_layout()
print("DPO after 3000 steps:", paths["dpo"][-1].round(2), "  PRO:", paths["pro"][-1].round(2))

# %% [markdown]
# DPO's margin is what it should be, and larger with every step; both likelihoods are gone. Its loss does not know it.
#
# ## Directions that cost nothing
# Add a constant to the rewards of all responses that are connected by comparisons: DPO's loss stays. One direction a
# connected component:

# %%
for name, pairs in (("one pair", [(0, 1)]), ("a chain", [(0, 1), (1, 2), (2, 3)]), ("two pairs", [(0, 1), (2, 3)])):
    labels = flat_directions(6, pairs)
    print(f"{name:10s} components {labels}  least loss attained: {dpo_attained(6, pairs)}")

# %% [markdown]
# ## Exercises
# **6.1** Eight responses; the comparisons (0,1), (1,2), (3,4), (5,6), (6,5). By how many directions (one is the shift
# of all rewards, which normalisation takes away) is the vector of rewards left open?

# %% tags=["answer"]
open_directions = int(flat_directions(8, [(0, 1), (1, 2), (3, 4), (5, 6), (6, 5)]).max() + 1) - 1

# %%
check("6.1", open_directions)

# %% [markdown]
# **6.2** PRO with one pair and everything else as the hyper response H, weight α = 9/4: by how many units of r is the
# winner above H at the optimum? It solves σ(2t) + σ(t) = 1 + 9/(8α). Six digits.

# %% tags=["answer"]
level = pair_log_ratio(9 / 4)

# %%
check("6.2", level)

# %% [markdown]
# **6.3** At kl_beta = 0.1, what is log π(winner)/π_ref(winner) relative to H's, in nats? (Four digits.) This is what a
# real instruct model was trained to in lesson 13.

# %% tags=["answer"]
nats = pair_log_ratio(9 / 4) / 0.1

# %%
check("6.3", nats)

# %% [markdown]
# ## What it means for somebody who trains a model
# A falling log-likelihood of the chosen response is not a bug in your code. The loss leaves levels open, and shared
# parameters choose for you. Log the three levels (chosen, rejected, fresh samples), not the loss alone.
