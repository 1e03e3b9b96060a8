"""Estimators of KL(π‖ρ) from draws: their mean, variance, and the gradients that training with them has (claim V13).

Drawn and differentiated numerically: nothing here knows which divergence a gradient is of.
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from simulate.montecarlo import Estimate, Experiments, mean
from simulate.profiles import Profile
from theory.divergences.safety_data import example_pair
from theory.validate import Array

Rng = np.random.Generator
#: Draws of one replicate; a step of the central difference.
DRAWS, STEP = 10**7, 1e-4


def values(log_ratio: Array, estimator: str) -> Array:
    """The estimator at draws, from ℓ = log π/ρ; the reverse ratio is ρ/π."""
    reverse = np.exp(-log_ratio)
    return {"k1": -np.log(reverse), "k2": np.square(log_ratio) / 2.0, "k3": reverse - 1.0 - np.log(reverse)}[estimator]


def _draws(separation: float, rng: Rng) -> tuple[Array, Array, Array]:
    """How often each outcome is drawn from π (A,), log π and log ρ."""
    policy, reference = example_pair(5, separation)
    return rng.multinomial(DRAWS, policy).astype(float), np.log(policy), np.log(reference)


def estimated_mean(estimator: str, separation: float, *, rng: Rng, profile: Profile) -> Estimate:
    """V13: mean of an estimator over draws of the policy."""
    found = []
    for _ in range(profile.repeats):
        counts, policy, reference = _draws(separation, rng)
        found.append(counts @ values(policy - reference, estimator) / DRAWS)
    return mean(found)


def estimated_variance(estimator: str, separation: float, *, rng: Rng, profile: Profile) -> Estimate:
    """V13: variance of an estimator over draws of the policy."""
    found = []
    for _ in range(profile.repeats):
        counts, policy, reference = _draws(separation, rng)
        k = values(policy - reference, estimator)
        found.append(counts @ (k - counts @ k / DRAWS) ** 2 / (DRAWS - 1))
    return mean(found)


def as_reward(estimator: str, separation: float, outcome: int, *, rng: Rng, profile: Profile) -> Estimate:
    """V13: mean of the estimator times the score of one logit; the score by differences."""
    found = []
    for _ in range(profile.repeats):
        counts, policy, reference = _draws(separation, rng)
        step = STEP * (np.arange(policy.size) == outcome)
        score = (log_softmax(policy + step) - log_softmax(policy - step)) / (2.0 * STEP)
        found.append(counts @ (values(policy - reference, estimator) * score) / DRAWS)
    return mean(found)


def as_loss(estimator: str, separation: float, outcome: int, *, rng: Rng, profile: Profile) -> Estimate:
    """V13: derivative in one logit of the estimator's mean over draws that are held."""
    found = []
    for _ in range(profile.repeats):
        counts, policy, reference = _draws(separation, rng)
        step = STEP * (np.arange(policy.size) == outcome)
        sides = [counts @ values(log_softmax(policy + s) - reference, estimator) / DRAWS for s in (step, -step)]
        found.append((sides[0] - sides[1]) / (2.0 * STEP))
    return mean(found)


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "V13.mean": estimated_mean,
    "V13.variance": estimated_variance,
    "V13.as_reward": as_reward,
    "V13.as_loss": as_loss,
}
