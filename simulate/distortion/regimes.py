"""Condorcet cycles among drawn users, and what methods gain in tiny KL balls: claims D24 and D25."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulate.montecarlo import Estimate, Experiments, proportion
from simulate.populations import random_population
from simulate.profiles import Profile
from theory.bradley_terry import Population, fit_rewards, product_pairs
from theory.distortion.instances import rlhf_instance
from theory.policy.identity import ipo
from theory.policy.kl_ball import maximize_in_kl_ball
from theory.policy.nash import maximal_lottery, nlhf
from theory.policy.rewards import rlhf
from theory.social_choice.pairwise import borda_scores
from theory.validate import Array

Rng = np.random.Generator

#: Users of a drawn population; populations drawn at a time; how many for every replicate of a profile.
USERS, AT_ONCE, TIMES = 200, 2500, 125
#: A budget at which gains are of first order, nats.
TINY = 1e-7
#: method → policy of a ball from (win rates, μ, reference, τ).
IN_BALL: dict[str, Callable[[Array, Array, Array, float], Array]] = {
    "rlhf": lambda P, mu, ref, tau: rlhf(P, product_pairs(mu), ref, tau),
    "ipo": ipo,
    "nlhf": lambda P, mu, ref, tau: nlhf(P, ref, tau, tolerance=1e-12).policy,
}
#: method → the scores that it climbs at first.
SCORES: dict[str, Callable[[Array, Array, Array], Array]] = {
    "rlhf": lambda P, mu, ref: fit_rewards(P, product_pairs(mu)).rewards,
    "ipo": lambda P, mu, ref: borda_scores(P, mu),
    "nlhf": lambda P, mu, ref: borda_scores(P, ref),
}


def cycles(bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D24: share of populations of three alternatives without a Condorcet winner."""
    found = total = 0
    for _ in range(TIMES * profile.replicates // AT_ONCE):
        u = rng.random((3, AT_ONCE, USERS), dtype=np.float32)
        x, y, z = (np.tanh(0.5 * bt_beta * (u[i] - u[j])).sum(axis=1) > 0.0 for i, j in ((0, 1), (1, 2), (2, 0)))
        found += int(((x == y) & (y == z)).sum())
        total += AT_ONCE
    return proportion(found, max(total, 1))


def mixed(bt_beta: float, n_alternatives: int, *, rng: Rng, profile: Profile) -> Estimate:
    """D24: share of populations in which the lottery mixes though one beats all, or does not though none does."""
    wrong, populations = 0, 10 * profile.repeats
    for _ in range(populations):
        P = Population(rng.random((15, n_alternatives))).win_rates(bt_beta)
        winner = ((P > 0.5) | np.eye(n_alternatives, dtype=bool)).all(axis=1).any()
        wrong += int((maximal_lottery(P).policy.max() > 1.0 - 1e-6) != winner)
    return Estimate(wrong / populations, n=populations)


def _shares(method: str, bt_beta: float, rng: Rng, on_policy: bool) -> tuple[float, float]:
    """Gain over the largest gain in a tiny ball of a random population, and the correlation of scores with utility."""
    people = random_population(rng)
    P, u = people.win_rates(bt_beta), people.average_utility
    ref, mu = (rng.dirichlet(np.full(len(u), 3.0)) for _ in range(2))
    mu = ref if on_policy else mu
    s = SCORES[method](P, mu, ref)
    v, s = u - ref @ u, s - ref @ s
    gain = v @ IN_BALL[method](P, mu, ref, TINY)
    return float(gain / (v @ maximize_in_kl_ball(u, ref, TINY))), float(
        ref @ (v * s) / np.sqrt(ref @ v**2 * (ref @ s**2))
    )


def share_is_correlation(method: str, *, rng: Rng, profile: Profile) -> Estimate:
    """D25: how far the share of the gain is from the correlation, the worst of random populations."""
    pairs = [_shares(method, 5.0, rng, on_policy=False) for _ in range(2 * profile.repeats)]
    return Estimate(max(abs(share - rho) for share, rho in pairs), n=len(pairs))


def faint(method: str, *, rng: Rng, profile: Profile) -> Estimate:
    """D25: the smallest share where users hardly tell alternatives apart, pairs from the reference."""
    shares = [_shares(method, 0.01, rng, on_policy=True)[0] for _ in range(2 * profile.repeats)]
    return Estimate(min(shares), n=len(shares))


def on_i6(method: str, bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D25: I6 at a budget of 1e-6 nats."""
    i, tau = rlhf_instance(bt_beta), 1e-6
    u, logs = i.population.average_utility, i.log_reference
    policy = {
        "rlhf": lambda: rlhf(i.win_rates, i.pair_weights, tau=tau, log_reference=logs),
        "ipo": lambda: ipo(i.win_rates, i.mu, tau=tau, log_reference=logs),
        "nlhf": lambda: nlhf(i.win_rates, tau=tau, log_reference=logs, tolerance=1e-12).policy,
    }[method]()
    start = i.reference @ u
    return Estimate(float((policy @ u - start) / (maximize_in_kl_ball(u, tau=tau, log_reference=logs) @ u - start)))


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "D24.probability": cycles,
    "D24.mixed": mixed,
    "D25.share": share_is_correlation,
    "D25.on_I6": on_i6,
    "D25.faint": faint,
}
