# %% [markdown]
# # RLHF is Borda, and Borda loses K*(β)
#
# **Goals.** See that the Bradley–Terry maximum-likelihood reward orders answers as Borda does; find the worst
# population for it by search; compute the exact constant.
#
# **The statement.** "Under product sampling the Bradley–Terry MLE orders alternatives by their Borda scores, so that
# RLHF without a constraint is Borda" (D13); the worst distortion of Borda is exactly K*(β) (D4, proved in the paper).
#
# **Read** `theory/policy/rewards.py`, `theory/distortion/factors.py`. **Time** 45 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import brentq

from paper.lessons import check
from simulate import adversary, generator, random_population
from theory import borda, distortion, fit_rewards
from theory.distortion import borda_factor, borda_instance, linear_factor
from theory.social_choice import borda_scores

# %% [markdown]
# ## The same order, always

# %%
rng = generator(0, "lesson 2")
for _ in range(5):
    users = random_population(rng)
    P = users.win_rates(5.0)
    A = len(P)
    rewards = fit_rewards(P, np.full((A, A), 1 / A**2)).rewards
    scores = borda_scores(P)
    together = np.subtract.outer(rewards, rewards) * np.subtract.outer(scores, scores)
    print(A, "answers, ordered alike:", bool((together > -1e-12).all()))

# %% [markdown]
# ## A climb towards the worst population
# Random populations are harmless. Let a search make them worse, one small change at a time, from random populations
# and from a mild member of the paper's family I5:


# %%
def loss_of_borda(users):
    return distortion(users, borda(users.win_rates(5.0)))


mild = borda_instance(5.0, 0.2).population
print("start:", round(loss_of_borda(mild), 3), " K*(5) =", round(borda_factor(5.0), 5))
for steps in (10, 100, 1000):
    value, worst = adversary(loss_of_borda, generator(0, "climb", steps), starts=20, steps=steps, known=[mild])
    print(f"after {steps:4d} steps: {value:.3f}")

# %% [markdown]
# The family itself gets there as its free parameter ε → 0:

# %%
epsilons = [1e-1, 1e-2, 1e-3, 1e-4]
family = [borda_instance(5.0, epsilon) for epsilon in epsilons]
values = [instance.distortion(borda(instance.win_rates, instance.mu)) for instance in family]
figure, ax = plt.subplots(figsize=(4.2, 2.6))
ax.semilogx(epsilons, values, "o-", label="Borda on I5")
ax.axhline(borda_factor(5.0), ls="--", label="K*(5)")
ax.axhline(linear_factor(5.0), ls=":", label="L(5), no rule is below")
ax.set_xlabel("ε")
ax.set_ylabel("distortion")
ax.legend(frameon=False)
figure.tight_layout()

# %% [markdown]
# ## Exercises
# **2.1** K*(10), to six digits.

# %% tags=["answer"]
K_of_10 = borda_factor(10.0)

# %%
check("2.1", K_of_10)

# %% [markdown]
# **2.2** The worst family has a utility γ* with φ′(γ*) = B, where φ(z) = ½ tanh(βz/2) and B = φ(1): the slope at γ* is
# the chord's. Solve for γ* at β = 5 by yourself; four digits.

# %% tags=["answer"]
gamma = brentq(lambda z: 5.0 / 4.0 / np.cosh(5.0 * z / 2.0) ** 2 - 0.5 * np.tanh(5.0 / 2.0), 1e-9, 1.0)

# %%
check("2.2", gamma)

# %% [markdown]
# **2.3** To which number does Borda's disadvantage K*(β)/L(β) tend as β grows? Two digits.

# %% tags=["answer"]
disadvantage = round(borda_factor(2000.0) / linear_factor(2000.0))

# %%
check("2.3", disadvantage)

# %% [markdown]
# ## What it means for somebody who trains a model
# "Maximise the fitted reward" is a voting rule, and one knows from voting how it fails: a weak liking of many outweighs
# a strong one of few. Even with infinite data the average utility may be K*(β) times less than the best policy's.
