"""Checks by Monte Carlo, adversarial search and certified programs: a result row per claim, check, setting and seed.

Each topic is a package whose functions measure one check each, `f(**setting, rng, profile) -> Estimate`, and never
call the closed form that the estimate is judged against. (A ratio to a bound, at most 1, and a slope in what is
predicted, 1, take bound and prediction from theory, and nothing else.) `simulate.people` reads people's ratings,
`simulate.rows` stores the rows. Randomness is an argument everywhere: generators are spawned by name from a seed.

Examples
--------
Win rates from 10 000 users instead of the population's:

>>> from simulate import generator, sample_comparisons
>>> from theory.bradley_terry import Population
>>> users = Population([[1.0, 0.2, 0.0], [0.0, 0.2, 0.3]], weights=[0.3, 0.7])
>>> counts = sample_comparisons(users, 5.0, [[1 / 9] * 3] * 3, n_users=10_000, rng=generator(0, "example"))
>>> counts.win_rates()[0].round(2), users.win_rates(5.0)[0].round(2)
(array([0.5 , 0.47, 0.45]), array([0.5 , 0.48, 0.43]))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from theory.lazy import lazy

if TYPE_CHECKING:
    from simulate.montecarlo import Estimate, bootstrap, generator, mean, proportion, slope
    from simulate.populations import adversary, random_population
    from simulate.users import sample_comparisons

__all__ = [
    "Estimate",
    "adversary",
    "bootstrap",
    "generator",
    "mean",
    "proportion",
    "random_population",
    "sample_comparisons",
    "slope",
]

__getattr__, __dir__ = lazy(__name__, {
    "simulate.montecarlo": "Estimate, bootstrap, generator, mean, proportion, slope",
    "simulate.populations": "adversary, random_population",
    "simulate.users": "sample_comparisons",
})  # fmt: skip
