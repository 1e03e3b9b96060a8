"""RDRO with a reference that is itself estimated, by Monte Carlo: claim R10."""

from __future__ import annotations

import numpy as np

from simulate.montecarlo import Estimate, Experiments, Rng, mean
from simulate.profiles import Profile
from theory.density_ratio.limits import TABLES

#: Examples of either class.
EXAMPLES = 10**5


def estimated_reference(table: str, alpha: float, unlabelled: float, *, rng: Rng, profile: Profile) -> Estimate:
    """√n·E TV of p̂_α·p̂⁺/(αp̂⁺ + (1−α)p̂⁻) to p⁺: three empirical laws, of m, n and n draws."""
    p, q = TABLES[table]
    draws, m = 10 * profile.replicates, round(unlabelled * EXAMPLES)
    chosen, rejected = (rng.multinomial(EXAMPLES, law, size=draws) / EXAMPLES for law in (p, q))
    reference = rng.multinomial(m, alpha * p + (1.0 - alpha) * q, size=draws) / m
    policy = reference * chosen / (alpha * chosen + (1.0 - alpha) * rejected)
    return mean(np.sqrt(EXAMPLES) * 0.5 * np.abs(policy - p).sum(axis=1))


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {"R10.constant": estimated_reference}
