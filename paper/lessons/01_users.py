# %% [markdown]
# # One reward, many users
#
# **Goals.** Tell a Bradley–Terry *population* from a Bradley–Terry *model*; say what distortion is; see why no method
# that reads win rates can do better than L(β), and which method reaches it.
#
# **The statement.** "Alignment methods … are given comparisons and are judged by average utility. When each user
# compares by a Bradley–Terry model of their own, no rule has distortion below L(β) = β/2 · (1 + e^{−β})/(1 − e^{−β}),
# and maximal lotteries (Nash learning) have it" (claims D1–D3; arXiv 2505.23749).
#
# **Read** `theory/bradley_terry.py`, `theory/distortion/factors.py`. **Time** 45 minutes; the cells run in seconds.

# %%
import matplotlib.pyplot as plt
import numpy as np

from paper.lessons import check
from simulate import generator, sample_comparisons
from theory import Population, borda, distortion, maximal_lottery
from theory.distortion import borda_factor, linear_factor

# %% [markdown]
# ## Two tastes
# Three users in ten love answer 0. The others find it worthless and mildly like answer 2. Everybody compares by
# P(x ≻ y) = σ(β(u(x) − u(y))) with **their own** u.

# %%
users = Population([[1.0, 0.2, 0.0], [0.0, 0.2, 0.3]], weights=[0.3, 0.7])
exact = users.win_rates(bt_beta=5.0)
for n_users in (100, 1_000, 100_000):
    counts = sample_comparisons(users, 5.0, [[1 / 9] * 3] * 3, n_users=n_users, rng=generator(0, "lesson", n_users))
    print(n_users, "users:", np.round(counts.win_rates()[0], 3))
print("all users:", np.round(exact[0], 3))

# %% [markdown]
# Is there *one* reward r with P(x ≻ y) = σ(r(x) − r(y))? Then log-odds would add up along a path. They do not:

# %%
odds = np.log(exact / (1 - exact))
print("0 over 1, plus 1 over 2:", round(odds[0, 1] + odds[1, 2], 3), "  0 over 2:", round(odds[0, 2], 3))

# %% [markdown]
# ## What is lost
# Distortion is the best average utility over the policy's. Here every rule elects the majority's favourite, and what
# is lost is already lost in the comparisons:

# %%
for name, policy in (("Borda", borda(exact)), ("maximal lottery", maximal_lottery(exact).policy)):
    print(f"{name:16s} policy {np.round(policy, 3)}  distortion {distortion(users, policy):.3f}")
print(
    "no rule beats",
    round(linear_factor(5.0), 3),
    "in the worst case; Borda's worst case is",
    round(borda_factor(5.0), 3),
)

# %%
betas = np.linspace(0.1, 20, 100)
figure, ax = plt.subplots(figsize=(4.2, 2.6))
ax.plot(betas, [linear_factor(beta) for beta in betas], label="L(β): the least possible, lotteries")
ax.plot(betas, [borda_factor(beta) for beta in betas], "--", label="K*(β): Borda")
ax.set_xlabel("β, how sharply users choose")
ax.set_ylabel("worst distortion")
ax.legend(frameon=False)
figure.tight_layout()

# %% [markdown]
# ## Exercises
# **1.1** Compute L(10) by hand from the formula above, without `linear_factor`.

# %% tags=["answer"]
L_of_10 = 10 / 2 * (1 + np.exp(-10)) / (1 - np.exp(-10))

# %%
check("1.1", L_of_10)

# %% [markdown]
# **1.2** Build a `Population` of three types with utilities in [0, 1] for which Borda has a distortion above 2 at
# β = 5. (Many users who hardly care; a few who care a lot.)

# %% tags=["answer"]
my_users = Population([[1.0, 0.0, 0.0], [0.0, 0.06, 0.0], [0.0, 0.06, 0.0]], weights=[0.13, 0.435, 0.435])

# %%
check("1.2", my_users)

# %% [markdown]
# **1.3** To which number does the slope L′(β) tend as β grows? (Differentiate, or take differences.)

# %% tags=["answer"]
slope = linear_factor(61.0) - linear_factor(60.0)

# %%
check("1.3", slope)

# %% [markdown]
# ## What it means for somebody who trains a model
# A reward model assumes one user. With several it answers another question than "what is good on average", and by how
# much it can miss grows with β, however many comparisons you collect. Averages over users are not in the comparisons.
