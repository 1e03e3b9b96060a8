# %% [markdown]
# # Auditing: what comparisons can and cannot prove
#
# **Goals.** See that win rates do not identify the population; compute the certified interval of a policy's distortion
# over *all* populations behind the data; see it narrow with data, down to a width that no data removes.
#
# **The statement.** "From win rates the distortion of a policy is known up to an interval, certified at both ends
# (D16); with counts it holds with a stated confidence." Ours; method and proof in the paper.
#
# **Read** `theory/distortion/audit/`. **Time** 60 minutes; an audit of three answers takes a second.

# %%
import matplotlib.pyplot as plt
import numpy as np

from paper.lessons import check
from simulate import generator, sample_comparisons
from theory import Population, audit, distortion
from theory.distortion import condorcet_instance

# %% [markdown]
# ## Two populations, the same comparisons
# On I3 every comparison is a fair coin. Nobody who sees coins can tell it from a crowd without any preference:

# %%
hidden = condorcet_instance(bt_beta=5.0, n_alternatives=3, epsilon=1e-3)
print("win rates of I3\n", hidden.win_rates.round(3))
uniform = np.full(3, 1 / 3)
print("distortion of a uniform policy on I3:", round(distortion(hidden.population, uniform), 3))
found = audit(hidden.win_rates, uniform, bt_beta=5.0)
print("over all populations with these win rates: between", round(found.lower, 3), "and", round(found.upper, 3))

# %% [markdown]
# ## With counts

# %%
users = Population([[1.0, 0.3, 0.0], [0.2, 0.4, 0.9]], weights=[0.4, 0.6])
policy = np.array([0.3, 0.1, 0.6])
sizes, intervals = [300, 3_000, 30_000], []
for n_users in sizes:
    seen = sample_comparisons(users, 3.0, [[1 / 9] * 3] * 3, n_users=n_users, rng=generator(0, "lesson 4", n_users))
    one = audit(None, policy, bt_beta=3.0, counts=seen.wins, confidence=0.95)
    intervals.append((one.lower, one.upper))
exact = audit(users.win_rates(3.0), policy, bt_beta=3.0)

# %%
figure, ax = plt.subplots(figsize=(4.2, 2.6))
for n_users, (low, high) in zip(sizes, intervals, strict=True):
    ax.plot([n_users, n_users], [low, high], "o-", color="black")
ax.axhspan(exact.lower, exact.upper, alpha=0.2, label="infinite data")
ax.axhline(distortion(users, policy), ls="--", label="the truth")
ax.set_xscale("log")
ax.set_xlabel("users who compared two answers each")
ax.set_ylabel("distortion, 95 % certified")
ax.legend(frameon=False)
figure.tight_layout()

# %% [markdown]
# ## Exercises
# **4.1** The upper end for the uniform policy on coins among *two* answers at β = 10 (`audit` on a 2 × 2 table of ½).
# Five digits.

# %% tags=["answer"]
coins = audit([[0.5, 0.5], [0.5, 0.5]], [0.5, 0.5], bt_beta=10.0).upper

# %%
check("4.1", coins)

# %% [markdown]
# **4.2** The same coins, but the policy always gives answer 0. What is the upper end now, and which number of lesson 1
# is it? (Five digits.)

# %% tags=["answer"]
always = audit([[0.5, 0.5], [0.5, 0.5]], [1.0, 0.0], bt_beta=10.0).upper

# %%
check("4.2", always)

# %% [markdown]
# **4.3** Three answers; 40 comparisons of each pair are at hand (below). Which pair, asked 4 000 times more at the same
# rate, lowers the upper end most for a policy that always gives answer 0? Give it as a tuple, smaller index first.

# %%
forty = np.array([[0, 24, 22], [16, 0, 20], [18, 20, 0]])

# %% tags=["answer"]
_upper = {}
for _pair in ((0, 1), (0, 2), (1, 2)):
    _more = forty.astype(float)
    _x, _y = _pair
    _share = forty[_x, _y] / 40
    _more[_x, _y] += 4000 * _share
    _more[_y, _x] += 4000 * (1 - _share)
    _upper[_pair] = audit(None, [1.0, 0.0, 0.0], bt_beta=3.0, counts=_more.round().astype(int)).upper
best_pair = min(_upper, key=_upper.get)

# %%
check("4.3", best_pair)

# %% [markdown]
# ## What it means for somebody who trains a model
# Report intervals, not win rates. If the interval is wide with infinite data, more comparisons do not help: ask users
# for something else than comparisons (how *much* they prefer).
