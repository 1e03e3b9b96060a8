"""Distortion on real people: every rule and method on files of ratings or rankings, claim D17.

A file's users are taken as the population: each user is a type, their ratings are their utilities, and bt_beta says
how noisily they would compare. What varies is who happened to be in the file, so users are the units of the
bootstrap. With no file, a generated population stands in, and its rows say `population=generated`.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from dataclasses import dataclass

import numpy as np

from simulate.montecarlo import Estimate, bootstrap, generator
from simulate.people.ratings import PairTable, RatedItems, read_ratings
from simulate.profiles import Profile
from theory.bradley_terry import Population, product_pairs
from theory.distortion.methods import METHODS, Situation
from theory.policy.kl_ball import maximize_in_kl_ball
from theory.validate import Array

Rng = np.random.Generator

#: KL budget of the constrained methods, nats, around the uniform policy.
TAU = 0.5
#: Users of the stand-in population.
GENERATED_USERS = 150


@dataclass(frozen=True, eq=False)
class People:
    """Users by items, utilities (users, items) with NaN where a user did not rate an item."""

    name: str
    rated: RatedItems

    @property
    def n_users(self) -> int:
        return self.rated.utilities.shape[0]

    @property
    def n_items(self) -> int:
        return self.rated.utilities.shape[1]

    @property
    def digest(self) -> str:
        """Of the utilities: a row depends on them, whatever the file is called."""
        return hashlib.sha256(self.rated.utilities.tobytes()).hexdigest()[:12]

    def methods(self) -> list[str]:
        """Methods that can run: rules on rankings need every user to have rated every item."""
        return [name for name, m in METHODS.items() if self.rated.complete or m.looks_at == "comparisons"]

    def situation(self, pairs: PairTable, bt_beta: float, weights: Array) -> tuple[Situation, Array]:
        """What the methods see of the users with these weights, and the average utilities (items,)."""
        kept = weights > 0  # a bootstrap leaves out a third of the users
        population = Population(self.rated.utilities[kept], weights[kept]) if self.rated.complete else None
        uniform = np.full(self.n_items, 1.0 / self.n_items)
        situation = Situation(
            pairs.win_rates(weights), bt_beta, product_pairs(uniform), np.log(uniform), TAU, population
        )
        return situation, self.rated.average_utility(weights)


def generated_people(rng: Rng) -> People:
    """A stand-in for a file: 150 users × 6 items with two latent tastes, so that users disagree on what is good.

    Parameters
    ----------
    rng : numpy.random.Generator

    Returns
    -------
    People

    Examples
    --------
    >>> from simulate import generator
    >>> people = generated_people(generator(0, "example"))
    >>> people.n_users, people.n_items
    (150, 6)
    """
    tastes = rng.normal(size=(GENERATED_USERS, 2))
    features = rng.normal(size=(6, 2))
    quality = 0.5 * rng.normal(size=6)
    utilities = 1.0 / (1.0 + np.exp(-1.5 * (tastes @ features.T + quality)))
    items = tuple(f"item {i}" for i in range(1, 7))
    return People("generated", RatedItems("generated", utilities, items, (), 0, (0.0, 1.0)))


def people_distortion(people: People, method: str, bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """Distortion of one method on these users, with its bootstrap standard error and percentile interval (D17).

    Parameters
    ----------
    people : People
    method : str
        A name of `theory.distortion.METHODS` that `people.methods()` lists.
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
    >>> from simulate.profiles import PROFILES
    >>> people = generated_people(generator(0, "example"))
    >>> found = people_distortion(people, "borda", 2.0, rng=generator(0, "example"), profile=PROFILES["smoke"])
    >>> round(found.value, 3), found.n
    (1.0, 150)
    """
    entry = METHODS[method]
    pairs = people.rated.pair_table(bt_beta)

    def statistic(weights: Array) -> Array:
        situation, u = people.situation(pairs, bt_beta, weights)
        tau = situation.tau if entry.ball else math.inf
        best = u @ maximize_in_kl_ball(u, tau=tau, log_reference=situation.log_reference)
        return np.array([best / (u @ entry.run(situation))])

    resamples = profile.resamples if entry.looks_at == "comparisons" else max(2, profile.resamples // 10)
    point, draws = bootstrap(statistic, people.n_users, resamples, rng)
    low, high = np.percentile(draws[:, 0], [2.5, 97.5])
    return Estimate(float(point[0]), float(draws[:, 0].std(ddof=1)), people.n_users, float(low), float(high))


def chosen_people(options: argparse.Namespace, seed: int) -> tuple[People, dict[str, str | int]]:
    """The population of D17 and what its rows say about it; says on stderr what was read and left out.

    Without --ratings a population generated from `seed`. ValueError for an option that needs a file, FileNotFoundError.
    """
    if options.ratings is None:
        given = [name for name in ("scale", "missing", "items") if getattr(options, name)]
        if given:
            raise ValueError(f"--{given[0]} needs --ratings FILE")
        people = generated_people(generator(seed, "generated people"))
        return people, {"population": people.name}
    rated = read_ratings(
        options.ratings,
        options.kind,
        scale=tuple(options.scale) if options.scale else None,
        missing=options.missing,
        items=options.items,
        per_user_scale=options.per_user_scale,
    )
    users, items = rated.utilities.shape
    print(f"{rated.name}: {users} users, {items} items, {rated.dropped} users dropped", file=sys.stderr)
    if rated.ignored:
        print(f"not items (not numeric, or not named): {', '.join(rated.ignored)}", file=sys.stderr)
    about: dict[str, str | int] = {"population": rated.name, "items": items}
    if options.missing:
        about["missing"] = options.missing
    if options.per_user_scale:
        about["scale"] = "per user"
    return People(rated.name, rated), about
