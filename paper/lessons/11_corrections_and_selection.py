# %% [markdown]
# # Correcting answers, and choosing among many
#
# **Goals.** See why correcting is easier than answering and by how much; see over-correction; predict Best-of-N's
# reward and KL; see when half the computation can be thrown away early.
#
# **The statement.** "The loss floor of the Aligner lies I(C;O) below that of SFT (A1); rounds are a Markov chain, whose
# limit may be worse than one round (A4). Best-of-N: E[max], KL ≤ log N − (N−1)/N (B1–B3); a rejection that keeps
# N^{1−v} rows loses nothing to first order (B4–B6)" (arXiv 2402.02416, 2410.20290; the analyses ours).
#
# **Read** `theory/correction/composition.py`, `theory/best_of_n/`. **Time** 75 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np

from paper.lessons import check
from theory.best_of_n import expected_max, kl_bound, speculative_reward, speedup, win_rate
from theory.correction import aligner_floor, information_gain, rounds, sft_floor

# %% [markdown]
# ## A corrector is a Markov kernel

# %%
policy, kernel, utilities = [0.2, 0.5, 0.3], [[0.9, 0.1, 0.0], [0.6, 0.3, 0.1], [0.1, 0.6, 0.3]], [1.0, 0.4, 0.0]
print(
    "floor of SFT on corrections",
    round(sft_floor(policy, kernel), 4),
    " of the Aligner",
    round(aligner_floor(policy, kernel), 4),
)
print(
    "difference",
    round(sft_floor(policy, kernel) - aligner_floor(policy, kernel), 4),
    " I(C;O)",
    round(information_gain(policy, kernel), 4),
)

# %% [markdown]
# ## Over-correction
# A corrector that repairs bad answers and spoils a few good ones: good upstream policies lose.

# %%
shares = np.linspace(0, 1, 50)
repair = [[0.85, 0.15], [0.6, 0.4]]
after = [[rounds([share, 1 - share], repair, [1.0, 0.0], 3)[k] for share in shares] for k in (0, 1, 3)]
figure, ax = plt.subplots(figsize=(4.2, 2.6))
for values, label, style in zip(after, ("as answered", "one round", "three rounds"), ("-", "--", ":"), strict=True):
    ax.plot(shares, values, style, label=label)
ax.set_xlabel("share of good answers upstream")
ax.set_ylabel("utility")
ax.legend(frameon=False)
figure.tight_layout()

# %% [markdown]
# ## Best-of-N, and dropping rows early
# Scores at half of the length explain a share v of the reward's variance; the best quarter goes on.

# %%
for n in (4, 16, 64, 256):
    print(f"N = {n:3d}: win rate {win_rate(n):.4f}  E[best] {expected_max(n):.4f} sd  KL at most {kl_bound(n):.4f}")
explained = np.linspace(0.05, 0.95, 19)
reached = [speculative_reward(64, [v], keep=0.25) for v in explained]
figure, ax = plt.subplots(figsize=(4.2, 2.6))
ax.plot(explained, reached, label="64 rows, 16 go on at half")
ax.axhline(expected_max(64), ls=":", label="all 64 to the end")
ax.axhline(expected_max(16), ls="--", label="16 rows from the start")
ax.set_xlabel("v, share of the reward known at half")
ax.set_ylabel("expected reward, sd")
ax.legend(frameon=False)
figure.tight_layout()

# %% [markdown]
# ## Exercises
# **11.1** I(C;O) of the corrector above, from its definition Σ π(o) K(c|o) log(K(c|o)/(πK)(c)). Four digits.

# %% tags=["answer"]
_K, _pi = np.array(kernel), np.array(policy)
_out = _pi @ _K
information = sum(_pi[o] * _K[o, c] * np.log(_K[o, c] / _out[c]) for o in range(3) for c in range(3) if _K[o, c] > 0)

# %%
check("11.1", information)

# %% [markdown]
# **11.2** Expected reward and largest KL of Best-of-16, `(reward in sd, KL in nats)`, five digits each.

# %% tags=["answer"]
best_of_16 = (expected_max(16), kl_bound(16))

# %%
check("11.2", best_of_16)

# %% [markdown]
# **11.3** From which share of good answers upstream does one round of `repair` above do harm? (Where πK leaves the
# utility as it is.) Two digits.

# %% tags=["answer"]
turning = 0.6 / (0.6 + 0.15)

# %%
check("11.3", turning)

# %% [markdown]
# **11.4** 64 rows of 256 tokens, half of the variance known at 64 tokens (v = 0.5), a quarter kept there. How many
# times fewer tokens than Best-of-N *of the same reward*? Three digits; `speedup` computes it.

# %% tags=["answer"]
faster = speedup(64, [0.5], [64], 0.25, 256)

# %%
check("11.4", faster)

# %% [markdown]
# ## What it means for somebody who trains a model
# Measure v(t) of your reward on your model before you believe a speed-up. A reward that reveals itself at the end
# allows none; keep N^{1−v}, not a fixed fraction.
