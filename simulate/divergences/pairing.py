"""Pairing by Monte Carlo: claim V14. n winners and n losers are drawn and paired; DPO fits the pairs by Newton steps.

Variances are compared along the directions that diagonalise the unpaired covariance diag(1/p + 1/q), in its units;
DPO's own covariance is not used.
"""

from __future__ import annotations

import numpy as np

from simulate.divergences.samples import fit_pairs
from simulate.montecarlo import Estimate, Experiments, Rng, mean
from simulate.profiles import Profile
from theory.divergences.safety_data import example_pair
from theory.validate import Array

#: Pairs in a sample: terms of order 1/n are below 1e-3.
PAIRS = 10**5


def _whitened(separation: float, n_outcomes: int, draws: int, rng: Rng) -> tuple[Array, Array]:
    """DPO's and the unpaired estimate of log R less the truth, (draws, A − 1) each, the same samples; unit variance
    where the covariance is diag(1/p + 1/q)/n."""
    p, q = example_pair(n_outcomes, separation)
    pairs = rng.multinomial(PAIRS, np.outer(p, q).ravel(), size=draws).reshape(draws, n_outcomes, n_outcomes)
    contrasts = np.linalg.svd(np.ones((1, n_outcomes)))[2][1:]
    scale = np.linalg.cholesky(np.linalg.inv(contrasts @ np.diag(1.0 / p + 1.0 / q) @ contrasts.T))
    truth = np.log(p / q)
    unpaired = np.log(pairs.sum(axis=2) / pairs.sum(axis=1))

    def whitened(found: Array) -> Array:
        return np.sqrt(PAIRS) * (found - truth) @ contrasts.T @ scale

    return whitened(fit_pairs(pairs.astype(np.float64))), whitened(unpaired)


def unpaired_variance(separation: float, n_outcomes: int, *, rng: Rng, profile: Profile) -> Estimate:
    """Mean square of the unpaired estimate's whitened error."""
    _, unpaired = _whitened(separation, n_outcomes, 10 * profile.replicates, rng)
    return mean((unpaired**2).mean(axis=1))


def dpo_variance(separation: float, n_outcomes: int, *, rng: Rng, profile: Profile) -> Estimate:
    """Mean square of DPO's error in the units of the unpaired one."""
    dpo, _ = _whitened(separation, n_outcomes, 10 * profile.replicates, rng)
    return mean((dpo**2).mean(axis=1))


def least_excess(separation: float, n_outcomes: int, *, rng: Rng, profile: Profile) -> Estimate:
    """DPO's variance less the unpaired one along the direction in which half of the samples say that it is least."""
    dpo, unpaired = _whitened(separation, n_outcomes, 10 * profile.replicates, rng)
    half = len(dpo) // 2
    excess = np.cov(dpo[:half].T) - np.cov(unpaired[:half].T)
    direction = np.linalg.eigh(excess)[1][:, 0]
    return mean((dpo[half:] @ direction) ** 2 - (unpaired[half:] @ direction) ** 2)


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {"V14.unpaired": unpaired_variance, "V14.cost": dpo_variance, "V14.worse": least_excess}
