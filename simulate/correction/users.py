"""Corrections by sampled users: claim A7. Users are drawn, correct by their own ranking, and the outcome is counted.

A ranking here is a list of answers; ties are broken at random, by listing every strict order that the utilities allow.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from simulate.correction.data import Counts, draw, mean_of_counts, samples
from simulate.montecarlo import Estimate, Experiments, Rng, difference, inverse
from simulate.populations import worst_of
from simulate.profiles import Profile
from theory.bradley_terry import Population
from theory.correction import users
from theory.correction.examples import (
    EPSILON,
    POPULATIONS,
    WHO,
    WORST_CORRECTORS,
    WORST_POLICY,
    WORST_WEIGHTS,
    line_law,
    upstream_law,
)
from theory.validate import Array


def _orders(utility: Array) -> list[tuple[int, ...]]:
    """Every strict order of the answers, worst first, in which utilities do not fall."""
    levels = [np.flatnonzero(utility == level).tolist() for level in np.unique(utility)]
    arranged = itertools.product(*(itertools.permutations(level) for level in levels))
    return [tuple(itertools.chain(*parts)) for parts in arranged]


def corrections(population: Population, habit: str, correctors: Array, upstream: Array, n: int, rng: Rng) -> Counts:
    """Counts (A,) of n corrected answers."""
    A = upstream.size
    out = np.zeros(A, dtype=np.int64)
    for n_user, utility in zip(rng.multinomial(n, correctors), population.utilities, strict=True):
        orders = _orders(utility)
        for n_order, order in zip(rng.multinomial(n_user, [1 / len(orders)] * len(orders)), orders, strict=True):
            shown = rng.multinomial(n_order, upstream)
            for place, answer in enumerate(order):
                better = A - 1 if habit == "favourite" else min(place + 1, A - 1)
                out[order[better]] += shown[answer]
    return out


def _sampled_distortion(
    population: Population, habit: str, correctors: Array, upstream: Array, rng: Rng, profile: Profile
) -> Estimate:
    u = population.average_utility
    counts = corrections(population, habit, correctors, upstream, samples(profile), rng)
    return inverse(float(u.max()), mean_of_counts(u, counts))


def favourite(population: str, upstream: str, *, rng: Rng, profile: Profile) -> Estimate:
    """Distortion when users correct to their favourite."""
    p = POPULATIONS[population]
    return _sampled_distortion(p, "favourite", p.weights, upstream_law(p, upstream), rng, profile)


def step(population: str, upstream: str, *, rng: Rng, profile: Profile) -> Estimate:
    """Distortion when users correct one step along their ranking."""
    p = POPULATIONS[population]
    return _sampled_distortion(p, "step", p.weights, upstream_law(p, upstream), rng, profile)


def who_corrects(habit: str, minority: float, *, rng: Rng, profile: Profile) -> Estimate:
    """Distortion when a minority with high stakes does a share of the corrections."""
    shares = np.array([minority, 1 - minority])
    return _sampled_distortion(WHO, habit, shares, upstream_law(WHO, "uniform"), rng, profile)


# Costs and their suprema, on tables.


def _cost(population: Population, habit: str, cost: str, correctors: Array, upstream: Array) -> float:
    u = population.average_utility
    kernel = (users.favourite_kernel if habit == "favourite" else users.step_kernel)(population, correctors)
    return float((u.max() if cost == "distortion" else u @ upstream) / (u @ (upstream @ kernel)))


def _supremum(habit: str, cost: str, correctors: Array, upstream: Array) -> float:
    worst = users.worst_distortion if cost == "distortion" else users.worst_harm
    return worst(habit, upstream, correctors)  # type: ignore[arg-type]  # a setting's string


def _instances(cost: str, weights: Array, correctors: Array, upstream: Array) -> Iterator[Population]:
    """The populations that attain the suprema, for either habit."""
    who, order = int(correctors.argmin()), np.argsort(upstream, kind="stable")
    answer, second = (order[0], order[1]) if cost == "distortion" else (order[-1], order[0])
    yield users.stakes_population(weights, who, int(answer), int(second), upstream.size, EPSILON)
    yield users.dislike_population(weights, who, int(order[0]), upstream.size, EPSILON)


def _shapes(size: int) -> list[Array]:
    """Upstream policies or shares to try: even, falling, steep."""
    return [weights / weights.sum() for weights in (np.ones(size), np.arange(size, 0.0, -1.0), 4.0 ** -np.arange(size))]


def cost_against_supremum(habit: str, cost: str, *, rng: Rng, profile: Profile) -> Estimate:
    """The largest ratio of a cost to its supremum that an adversary finds: never above 1."""

    def value(population: Population) -> float:
        # a little utility for everything, so that no cost is 0/0; two types, so that somebody can be hurt
        U = np.maximum(population.utilities, 1e-9)
        V = max(2, len(U))
        served = Population(np.resize(U, (V, U.shape[1])), np.full(V, 1.0 / V))
        return max(
            _cost(served, habit, cost, correctors, upstream) / _supremum(habit, cost, correctors, upstream)
            for correctors in _shapes(V)[1:]  # uneven: with even ones some suprema are 1, which everything attains
            for upstream in _shapes(U.shape[1])
        )

    known = _instances(cost, np.array([0.5, 0.5]), _shapes(2)[1], _shapes(4)[1])
    return worst_of(value, rng, profile.scaled(0.1), *known)


def cost_attained(habit: str, cost: str, *, rng: Rng, profile: Profile) -> Estimate:
    """The cost on the worst of the instances."""
    instances = _instances(cost, WORST_WEIGHTS, WORST_CORRECTORS, WORST_POLICY)
    return Estimate(max(_cost(p, habit, cost, WORST_CORRECTORS, WORST_POLICY) for p in instances))


def _worst_found(habit: str, cost: str, n_answers: int, rng: Rng, profile: Profile) -> float:
    """The largest cost over the instances and random populations: two types, correctors 0.2 and 0.8, uniform π."""
    correctors, upstream = np.array([0.2, 0.8]), np.full(n_answers, 1.0 / n_answers)
    populations = list(_instances(cost, np.array([0.5, 0.5]), correctors, upstream))
    populations += [Population(rng.beta(0.3, 0.3, (2, n_answers))) for _ in range(profile.starts)]
    return max(_cost(p, habit, cost, correctors, upstream) for p in populations)


def milder(n_answers: int, *, rng: Rng, profile: Profile) -> Estimate:
    """Worst harm found of favourites minus that of one step."""
    favourites, one_step = (_worst_found(habit, "harm", n_answers, rng, profile) for habit in ("favourite", "step"))
    return Estimate(favourites - one_step, n=2 * profile.starts)


def not_safer(n_answers: int, *, rng: Rng, profile: Profile) -> Estimate:
    """Worst distortion found of one step minus that of favourites."""
    favourites, one_step = (
        _worst_found(habit, "distortion", n_answers, rng, profile) for habit in ("favourite", "step")
    )
    return Estimate(one_step - favourites, n=2 * profile.starts)


def _close_second(n_answers: int) -> Population:
    """Everyone's favourite is worth 1; answer 0 is worth as much but for ε, and the favourite of few."""
    if n_answers == 2:
        return Population(np.array([[1.0, 0.0], [1.0 - EPSILON, 1.0]]))
    U = np.eye(n_answers)[1:]
    U[:, 0] = 1.0 - EPSILON
    return Population(U)


def normalised(n_answers: int, *, rng: Rng, profile: Profile) -> Estimate:
    """Distortion of favourites on the close second."""
    return Estimate(_dictator_distortion(_close_second(n_answers)))


def normalised_bound(n_answers: int, *, rng: Rng, profile: Profile) -> Estimate:
    """The largest distortion of favourites that an adversary finds with every user's favourite worth 1."""

    def value(population: Population) -> float:
        U = np.resize(population.utilities, (len(population.utilities), n_answers))
        U = U + 1e-9 * np.eye(1, n_answers)
        return _dictator_distortion(Population(U / U.max(axis=1, keepdims=True), population.weights))

    return worst_of(value, rng, profile.scaled(0.5), _close_second(n_answers))


def _dictator_distortion(population: Population) -> float:
    u = population.average_utility
    return float(u.max() / (u @ users.favourite_law(population)))


# Edits on a line.


def _edited(law: Array, k: int, start: Array, rng: Rng, profile: Profile) -> Counts:
    """Counts after k rounds: every answer meets a new user, and moves one place towards the user's favourite."""
    answers = draw(start, samples(profile), rng)
    for _ in range(k):
        moved = np.zeros_like(answers)
        for place, n in enumerate(answers):
            favourites = rng.multinomial(n, law)
            for where, count in ((place - 1, favourites[:place].sum()), (place + 1, favourites[place + 1 :].sum())):
                if count:
                    moved[where] += count
            moved[place] += favourites[place]
        answers = moved
    return answers


def _line_distortion(law: Array, counts: Counts) -> Estimate:
    """Distortion with utilities 1 − |x − favourite|/(A − 1)."""
    places = np.arange(law.size)
    u = 1.0 - np.abs(places[:, None] - places[None, :]) @ law / (law.size - 1)
    return inverse(float(u.max()), mean_of_counts(u, counts))


def edits_settle(favourites: str, n_answers: int, *, rng: Rng, profile: Profile) -> Estimate:
    """Distortion after 15 rounds per answer: the slowest mode has lost thirteen decimal places."""
    law = line_law(favourites, n_answers)
    return _line_distortion(law, _edited(law, 15 * n_answers, np.eye(n_answers)[0], rng, profile))


def edits(n_answers: int, k: int, *, rng: Rng, profile: Profile) -> Estimate:
    """Distortion after k rounds from one end of the line."""
    law = line_law("uniform", n_answers)
    return _line_distortion(law, _edited(law, k, np.eye(n_answers)[0], rng, profile))


def edits_beat_favourites(n_answers: int, *, rng: Rng, profile: Profile) -> Estimate:
    """Distortion of favourites on a line minus that of settled edits."""
    law = line_law("uniform", n_answers)
    favourites = _line_distortion(law, draw(law, samples(profile), rng))
    return difference(favourites, edits_settle("uniform", n_answers, rng=rng, profile=profile))


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "A7.favourite": favourite,
    "A7.step": step,
    "A7.who": who_corrects,
    "A7.bound": cost_against_supremum,
    "A7.attained": cost_attained,
    "A7.milder": milder,
    "A7.not_safer": not_safer,
    "A7.normalised_bound": normalised_bound,
    "A7.normalised": normalised,
    "A7.edits_settle": edits_settle,
    "A7.edits": edits,
    "A7.edits_beat_favourites": edits_beat_favourites,
}
