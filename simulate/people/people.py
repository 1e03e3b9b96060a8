"""Distortion on real people: every rule and method on files of ratings or rankings, claim D17.

A file's users are taken as the population: each user is a type, their ratings are their utilities, and bt_beta says
how noisily they would compare. What varies is who happened to be in the file, so users are the units of the
bootstrap. With no file, a generated population stands in, and its rows say `population=generated`.
"""

from __future__ import annotations

import math

import numpy as np

from simulate.montecarlo import Estimate, bootstrap
from simulate.people.population import People
from simulate.people.ratings import PairTable
from simulate.profiles import Profile
from theory.bradley_terry import Population, product_pairs
from theory.distortion.methods import METHODS, Situation
from theory.policy.kl_ball import maximize_in_kl_ball
from theory.validate import Array

Rng = np.random.Generator

#: KL budget of the constrained methods, nats, around the uniform policy.
TAU = 0.5


def methods_for(people: People) -> list[str]:
    """Methods that can run: rules on rankings need every user to have rated every item."""
    return [name for name, m in METHODS.items() if people.rated.complete or m.looks_at == "comparisons"]


def situation_of(people: People, pairs: PairTable, bt_beta: float, weights: Array) -> tuple[Situation, Array]:
    """What the methods see of the users with these weights, and the average utilities (items,)."""
    kept = weights > 0  # a bootstrap leaves out a third of the users
    population = Population(people.rated.utilities[kept], weights[kept]) if people.rated.complete else None
    uniform = np.full(people.n_items, 1.0 / people.n_items)
    situation = Situation(pairs.win_rates(weights), bt_beta, product_pairs(uniform), np.log(uniform), TAU, population)
    return situation, people.rated.average_utility(weights)


def people_distortion(people: People, method: str, bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """Distortion of one method on these users, with its bootstrap standard error and percentile interval (D17).

    Parameters
    ----------
    people : People
    method : str
        A name of `theory.distortion.METHODS` that `methods_for(people)` lists.
    bt_beta : float
        Slope of their Bradley–Terry choices.
    rng : numpy.random.Generator
    profile : Profile
        How many resamples.

    Returns
    -------
    Estimate
        ≥ 1; [low, high] holds 95 % of the replicates.

    Examples
    --------
    >>> from simulate import generator
    >>> from simulate.people import generated_people
    >>> from simulate.profiles import PROFILES
    >>> people = generated_people(generator(0, "example"))
    >>> found = people_distortion(people, "borda", 2.0, rng=generator(0, "example"), profile=PROFILES["smoke"])
    >>> round(found.value, 3), found.n
    (1.0, 150)
    """
    entry = METHODS[method]
    pairs = people.rated.pair_table(bt_beta)

    def statistic(weights: Array) -> Array:
        situation, u = situation_of(people, pairs, bt_beta, weights)
        tau = situation.tau if entry.ball else math.inf
        best = u @ maximize_in_kl_ball(u, tau=tau, log_reference=situation.log_reference)
        return np.array([best / (u @ entry.run(situation))])

    resamples = profile.resamples if entry.looks_at == "comparisons" else max(2, profile.resamples // 10)
    point, draws = bootstrap(statistic, people.n_users, resamples, rng)
    low, high = np.percentile(draws[:, 0], [2.5, 97.5])
    return Estimate(float(point[0]), float(draws[:, 0].std(ddof=1)), people.n_users, float(low), float(high))
