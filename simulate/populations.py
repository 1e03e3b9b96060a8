"""Populations to run on: random ones of many shapes, and an adversary that makes a given rule look bad.

Bounds are worth testing where they are nearly broken. `adversary` starts from random populations and hill-climbs in
utilities and weights towards a higher value of whatever it is given: a search, so what it finds is a lower bound of
the supremum, with the population as its witness.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from simulate.montecarlo import Estimate, Rng
from simulate.profiles import Profile
from theory.bradley_terry import Population
from theory.validate import Array, check_whole

Point = TypeVar("Point")

#: Shapes of utilities: uniform; Beta(0.3, 0.3); small ones, where noise rules; each type values few alternatives.
FAMILIES = ("uniform", "extreme", "faint", "sparse")


def random_population(rng: Rng, max_types: int = 6, max_alternatives: int = 7) -> Population:
    """1…max_types types over 2…max_alternatives alternatives, of one of four shapes chosen at random.

    Uniform utilities; extreme ones (Beta(0.3, 0.3)); faint ones (small utilities, where noise rules); sparse ones (each
    type values few alternatives). Weights are Dirichlet, at times very uneven.

    Parameters
    ----------
    rng : numpy.random.Generator
    max_types, max_alternatives : int
        ≥ 1 and ≥ 2.

    Returns
    -------
    Population

    Raises
    ------
    ValueError
        A number that is not whole, or too small.

    Examples
    --------
    >>> from simulate import generator, random_population
    >>> random_population(generator(0, "example")).utilities.shape
    (6, 6)
    """
    V = int(rng.integers(1, check_whole("max_types", max_types) + 1))
    A = int(rng.integers(2, check_whole("max_alternatives", max_alternatives, 2) + 1))
    return population_of(FAMILIES[rng.integers(4)], V, A, rng)


def population_of(family: str, n_types: int, n_alternatives: int, rng: Rng) -> Population:
    """A random population of one of `FAMILIES`; ValueError for another name, or for no types or alternatives."""
    shape = (check_whole("n_types", n_types), check_whole("n_alternatives", n_alternatives))
    if family == "uniform":
        U = rng.random(shape)
    elif family == "extreme":
        U = rng.beta(0.3, 0.3, shape)
    elif family == "faint":
        U = rng.random(shape) * 10.0 ** rng.uniform(-3, 0, (n_types, 1))
    elif family == "sparse":
        U = rng.random(shape) * (rng.random(shape) < 0.4)
    else:
        raise ValueError(f"family = {family!r} must be one of {', '.join(FAMILIES)}")
    return Population(_not_all_zero(U, rng), rng.dirichlet(np.full(n_types, rng.choice([0.3, 1.0, 5.0]))))


def adversary(
    badness: Callable[[Population], float], rng: Rng, starts: int, steps: int, known: Sequence[Population] = ()
) -> tuple[float, Population]:
    """The worst value of `badness` found, with its population: a lower bound of the supremum and its witness.

    Two climbs of `steps` steps each, one from the best of `starts` random populations, one from the worst of the
    `known` ones (already near the bound: the climb then tries to get past it). A step moves
    one type's utilities, or the weights, or snaps a utility to 0 or 1, and is kept if the value does not fall.

    Parameters
    ----------
    badness : callable
        Population → float.
    rng : numpy.random.Generator
    starts, steps : int
        Random populations to start from, ≥ 1, and hill-climbing steps, ≥ 0.
    known : sequence of Population
        Where else to start.

    Returns
    -------
    value : float
    population : Population

    Raises
    ------
    ValueError
        A number of starts or steps that is not whole, or too small.

    Examples
    --------
    >>> from simulate import adversary, generator
    >>> value, _ = adversary(lambda p: -abs(p.average_utility.max() - 0.5), generator(0, "example"), starts=5, steps=50)
    >>> bool(value > -0.01)
    True
    """
    starts, steps = check_whole("starts", starts), check_whole("steps", steps, 0)
    found = [climb(badness, known, _perturb, rng, steps)] if known else []
    found.append(climb(badness, [random_population(rng) for _ in range(starts)], _perturb, rng, steps))
    return max(found, key=lambda end: end[0])


def worst_of(badness: Callable[[Population], float], rng: Rng, profile: Profile, *known: Population) -> Estimate:
    """The worst population that the adversary finds, as an estimate with that population as its witness."""
    value, population = adversary(badness, rng, profile.starts, profile.steps, known)
    return Estimate(value, n=profile.starts + profile.steps, witness=describe(population))


def climb(
    value: Callable[[Point], float], starts: Sequence[Point], move: Callable[[Point, Rng], Point], rng: Rng, steps: int
) -> tuple[float, Point]:
    """Hill climbing from the best of the starts: a move is kept if the value does not fall. The end and its value."""
    best, point = max(((value(start), start) for start in starts), key=lambda pair: pair[0])
    for _ in range(steps):
        candidate = move(point, rng)
        found = value(candidate)
        if found >= best:
            best, point = found, candidate
    return best, point


def describe(population: Population) -> str:
    """A population as one line of JSON, for the witness column of a row; 9 digits each."""
    return json.dumps(
        {
            "weights": [float(f"{w:.9g}") for w in population.weights],
            "utilities": [[float(f"{u:.9g}") for u in row] for row in population.utilities],
        },
        separators=(",", ":"),
    )


def random_win_rates(size: int, rng: Rng) -> Array:
    """Win rates (size, size) without any structure: each of a pair uniform in [0, 1]."""
    upper = np.triu(rng.random((size, size)), 1)
    return upper + np.tril(1.0 - upper.T, -1) + 0.5 * np.eye(size)


def _perturb(population: Population, rng: Rng) -> Population:
    U, w = population.utilities.copy(), population.weights.copy()
    v = int(rng.integers(U.shape[0]))
    size = 10.0 ** rng.uniform(-3, -0.5)
    move = rng.integers(4)
    if move == 0:  # every utility of one type
        U[v] = np.clip(U[v] + size * rng.normal(size=U.shape[1]), 0.0, 1.0)
    elif move == 1:  # one utility, on a logarithmic scale
        x = int(rng.integers(U.shape[1]))
        U[v, x] = min(1.0, U[v, x] * float(np.exp(3 * size * rng.normal())))
    elif move == 2:  # one utility to an end of the range
        U[v, int(rng.integers(U.shape[1]))] = float(rng.integers(2))
    else:  # weights
        w = w * np.exp(3 * size * rng.normal(size=w.size))
        w /= w.sum()
    return Population(_not_all_zero(U, rng), w)


def _not_all_zero(U: np.ndarray, rng: Rng) -> np.ndarray:
    """Distortion needs some utility: where there is none, one entry gets some."""
    if not U.any():
        U = U.copy()
        U[int(rng.integers(U.shape[0])), int(rng.integers(U.shape[1]))] = rng.uniform(0.1, 1.0)
    return U
