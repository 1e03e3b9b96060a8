"""Estimators of KL(π‖ρ) from draws: their mean, variance, and the gradients that training with them has (claim V13).

Drawn and differentiated numerically: nothing here knows which divergence a gradient is of.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import log_softmax

from simulate.montecarlo import Estimate, Experiments, Rng, mean
from simulate.profiles import Profile
from theory.divergences.safety_data import example_pair
from theory.validate import Array

#: Draws of one replicate; a step of the central difference.
DRAWS, STEP = 10**7, 1e-4


def values(log_ratio: Array, estimator: str) -> Array:
    """The estimator at draws, from ℓ = log π/ρ; the reverse ratio is ρ/π."""
    reverse = np.exp(-log_ratio)
    return {"k1": -np.log(reverse), "k2": np.square(log_ratio) / 2.0, "k3": reverse - 1.0 - np.log(reverse)}[estimator]


def _mean_of(statistic: Callable[[Array, Array, Array], float], separation: float, rng: Rng, repeats: int) -> Estimate:
    """Mean of statistic(counts of the outcomes drawn from π (A,), log π, log ρ) over sets of draws."""
    policy, reference = example_pair(5, separation)
    drawn = (rng.multinomial(DRAWS, policy).astype(float) for _ in range(repeats))
    return mean([statistic(counts, np.log(policy), np.log(reference)) for counts in drawn])


def estimated_mean(estimator: str, separation: float, *, rng: Rng, profile: Profile) -> Estimate:
    """V13: mean of an estimator over draws of the policy."""

    def average(counts: Array, policy: Array, reference: Array) -> float:
        return float(counts @ values(policy - reference, estimator)) / DRAWS

    return _mean_of(average, separation, rng, profile.repeats)


def estimated_variance(estimator: str, separation: float, *, rng: Rng, profile: Profile) -> Estimate:
    """V13: variance of an estimator over draws of the policy."""

    def variance(counts: Array, policy: Array, reference: Array) -> float:
        k = values(policy - reference, estimator)
        return float(counts @ (k - counts @ k / DRAWS) ** 2) / (DRAWS - 1)

    return _mean_of(variance, separation, rng, profile.repeats)


def as_reward(estimator: str, separation: float, outcome: int, *, rng: Rng, profile: Profile) -> Estimate:
    """V13: mean of the estimator times the score of one logit; the score by differences."""

    def gradient(counts: Array, policy: Array, reference: Array) -> float:
        step = STEP * (np.arange(policy.size) == outcome)
        score = (log_softmax(policy + step) - log_softmax(policy - step)) / (2.0 * STEP)
        return float(counts @ (values(policy - reference, estimator) * score)) / DRAWS

    return _mean_of(gradient, separation, rng, profile.repeats)


def as_loss(estimator: str, separation: float, outcome: int, *, rng: Rng, profile: Profile) -> Estimate:
    """V13: derivative in one logit of the estimator's mean over draws that are held."""

    def gradient(counts: Array, policy: Array, reference: Array) -> float:
        step = STEP * (np.arange(policy.size) == outcome)
        up, down = (counts @ values(log_softmax(policy + s) - reference, estimator) for s in (step, -step))
        return float(up - down) / (2.0 * STEP * DRAWS)

    return _mean_of(gradient, separation, rng, profile.repeats)


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "V13.mean": estimated_mean,
    "V13.variance": estimated_variance,
    "V13.as_reward": as_reward,
    "V13.as_loss": as_loss,
}
