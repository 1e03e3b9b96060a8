# %% [markdown]
# # Is it true? The ledger
#
# **Goals.** Read a line of the ledger; write a claim of your own, measure it and get a verdict; see a wrong constant be
# caught; know how often a rule is wrong by chance.
#
# **The rule.** Every check states its prediction and its resolution before anything runs, unless its reason says
# otherwise. "Agrees", "disagrees", "inconclusive" (too noisy to tell) are decided in `theory/claim.py`; a disagreement
# is printed like any other verdict.
#
# **Read** `theory/claim.py`, `simulate/judge.py`, `README.md`. **Time** 60 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

from paper.lessons import check
from simulate.judge import judge
from simulate.montecarlo import mean
from simulate.rows.reach import ROOT
from simulate.rows.store import read_rows
from theory.claim import Claim, equal, grid, parse_setting
from theory.claims import find_claim

# %% [markdown]
# ## A line of the ledger

# %%
claim = find_claim("B3")
print(claim.statement)
for one in claim.checks:
    print(f"- {one.name}: {one.quantity}; {one.kind}, resolution {one.resolution} ({one.because})")

# %% [markdown]
# ## Recorded rows of that claim, in units of their standard error

# %%
rows = [row for row in read_rows(ROOT / "simulate" / "results" / "reference") if row.claim == "B3" and row.stderr > 0]
z = [(row.estimate - claim.check(row.check).predict(parse_setting(row.setting))) / row.stderr for row in rows]
figure, ax = plt.subplots(figsize=(4.2, 2.2))
ax.plot(z, range(len(z)), "o")
ax.axvspan(-2, 2, alpha=0.2)
ax.set_xlabel("(measured − predicted) / standard error")
ax.set_yticks([])
figure.tight_layout()

# %% [markdown]
# ## Your own claim
# S1: the best of N standard normal rewards is √(2 log N). That is the leading term and not the truth. Write it as a
# claim, measure it, and see:


# %%
def best_of(n, *, rng, profile):
    """The mean of the largest of n normal draws."""
    return mean(rng.standard_normal((4000, n)).max(axis=1))


s1 = Claim(
    "S1", "The best of N", ("Best-of-N",), "E[max of N] = √(2 log N).", "ours", "equality", "lesson",
    (equal("best", "mean of the largest of N normal draws", lambda n: np.sqrt(2 * np.log(n)),
           at=grid(n=(4, 64)), within=0.05, because="4000 draws"),),
)  # fmt: skip
for row in judge(s1, {"best": best_of}):
    print(
        f"{row.setting}: predicted {row.predicted:.3f}, "
        f"measured {row.estimate.value:.3f} ± {row.estimate.stderr:.3f}: {row.verdict}"
    )

# %% [markdown]
# ## Exercises
# **12.1** Repair S1: a claim `mine` with a check named "best", predictions that hold at n = 4 and n = 64, and a
# resolution of at most 0.05.

# %% tags=["answer"]
from theory.best_of_n import expected_max

mine = Claim(
    "S1", "The best of N", ("Best-of-N",), "E[max of N] of normal rewards.", "ours", "equality", "lesson",
    (equal("best", "mean of the largest of N normal draws", expected_max, at=grid(n=(4, 64)), within=0.05,
           because="4000 draws"),),
)  # fmt: skip

# %%
check("12.1", mine)

# %% [markdown]
# **12.2** Make the verdict "inconclusive": an experiment `noisy(n, *, rng, profile)` that measures the same quantity
# honestly, but so coarsely that nothing can be said.


# %% tags=["answer"]
def noisy(n, *, rng, profile):
    return mean(rng.standard_normal((12, n)).max(axis=1))


# %%
check("12.2", noisy)

# %% [markdown]
# **12.3** Suppose a rule calls a claim wrong when a normal estimate is more than 4 standard errors off. Of 2 000
# independent checks that are right, how many does it call wrong on average? Two digits. (The ledger's rule allows the
# resolution besides.)

# %% tags=["answer"]
expected = 2000 * 2 * norm.sf(4)

# %%
check("12.3", expected)

# %% [markdown]
# ## On a language model
# `python -m llm_validation P9 --profile smoke` trains a small model in half a minute and fills the same kind of row;
# `python -m paper P9 --profile smoke` judges it; so short a training ends too early to agree.
#
# ## What it means for somebody who trains a model
# Write down what you expect, and how exactly, before you run. A claim that cannot fail says nothing.
