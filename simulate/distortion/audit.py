"""The audit against populations whose distortion is known: claim D16."""

from __future__ import annotations

import numpy as np

from simulate.montecarlo import Estimate, Experiments, proportion
from simulate.populations import describe, random_population
from simulate.profiles import Profile
from simulate.users import sample_comparisons
from theory.bradley_terry import Population, product_pairs
from theory.distortion.audit.interval import audit
from theory.distortion.factors import linear_factor
from theory.distortion.measure import distortion
from theory.policy.nash import maximal_lottery
from theory.social_choice.pairwise import borda
from theory.validate import Array

Rng = np.random.Generator

#: The users' temperature in these experiments: heterogeneity matters and win rates are far from 0 and 1.
BT_BETA = 4.0


def _case(n_alternatives: int, policy: str, rng: Rng) -> tuple[Population, Array, Array]:
    """A random population with exactly `n_alternatives`, its win rates, and the policy under audit."""
    while True:
        population = random_population(rng, max_alternatives=n_alternatives)
        if population.utilities.shape[1] == n_alternatives and population.average_utility.max() > 0.05:
            break
    P = population.win_rates(BT_BETA)
    return population, P, borda(P) if policy == "borda" else maximal_lottery(P).policy


def _cases(n_alternatives: int, profile: Profile) -> int:
    """Populations per check: beyond three alternatives an audit takes seconds."""
    return profile.repeats if n_alternatives <= 3 else max(1, profile.repeats // 5)


def contains(n_alternatives: int, policy: str, *, rng: Rng, profile: Profile) -> Estimate:
    """D16: smallest upper end over true distortion (at least 1 if the interval holds)."""
    worst, witness = np.inf, ""
    for _ in range(_cases(n_alternatives, profile)):
        population, P, pi = _case(n_alternatives, policy, rng)
        ratio = audit(P, pi, BT_BETA).upper / distortion(population, pi)
        if ratio < worst:
            worst, witness = ratio, describe(population)
    return Estimate(worst, n=_cases(n_alternatives, profile), witness=witness)


def within_linear_factor(n_alternatives: int, *, rng: Rng, profile: Profile) -> Estimate:
    """D16: largest upper end of a maximal lottery's audit minus L(β)."""
    cases = (_case(n_alternatives, "lottery", rng) for _ in range(_cases(n_alternatives, profile)))
    excess = [audit(P, pi, BT_BETA).upper - linear_factor(BT_BETA) for _, P, pi in cases]
    return Estimate(max(excess), n=_cases(n_alternatives, profile))


def closes(n_alternatives: int, *, rng: Rng, profile: Profile) -> Estimate:
    """D16: largest relative width of the interval, Borda's winner under audit."""
    widths = []
    for _ in range(_cases(n_alternatives, profile)):
        _, P, pi = _case(n_alternatives, "borda", rng)
        interval = audit(P, pi, BT_BETA)
        widths.append(interval.upper / interval.lower - 1.0)
    return Estimate(max(widths), n=_cases(n_alternatives, profile))


def coverage(n_users: int, *, rng: Rng, profile: Profile) -> Estimate:
    """D16: share of samples of independent comparisons whose audit's upper end covers the true distortion."""
    population = Population(np.array([[1.0, 0.3, 0.0], [0.2, 0.9, 0.4], [0.0, 0.5, 1.0]]), np.array([0.3, 0.4, 0.3]))
    pairs = product_pairs(np.full(3, 1 / 3))
    pi = borda(population.win_rates(BT_BETA))
    true = distortion(population, pi)
    covered = 0
    samples = max(profile.replicates // 20, profile.repeats)
    for _ in range(samples):
        counts = sample_comparisons(population, BT_BETA, pairs, n_users, rng=rng).wins
        covered += audit(None, pi, BT_BETA, counts=counts).upper >= true
    return proportion(covered, samples)


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "D16.contains": contains,
    "D16.within_L": within_linear_factor,
    "D16.closes": closes,
    "D16.coverage": coverage,
}
