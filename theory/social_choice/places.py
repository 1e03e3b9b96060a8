"""First and last places of Plackett–Luce rankings, in the limit of infinitely many users.

A user of type v ranks all alternatives by an exponential race: T_x ~ Exp(rate e^{βU[v,x]}), β = bt_beta, independent,
earlier is better. Within any subset of the alternatives the ranking is again Plackett–Luce with the same rates.
V user types, A alternatives.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from theory.bradley_terry import Population
from theory.numerics import log1mexp
from theory.solution import CertificateError
from theory.validate import Array, check_bt_beta

#: Absolute error of last-place probabilities, and how far their sum may lie from one.
LAST_PLACE_TOLERANCE = 1e-12


def top_choice(population: Population, bt_beta: float, members: ArrayLike | None = None) -> Array:
    """P(x is ranked first among `members`) = Σ_v w_v e^{βU[v,x]} / Σ_{y∈members} e^{βU[v,y]}, shape (A,).

    members  (A,) booleans, at least one True; all alternatives by default. Zero outside. Rounding error only.
    """
    beta, inside = check_bt_beta(bt_beta), _members(population, members)
    logits = beta * population.utilities[:, inside]
    return _spread(population.weights @ softmax(logits, axis=1), inside)


def bottom_choice(population: Population, bt_beta: float, members: ArrayLike | None = None) -> Array:
    """P(x is ranked last among `members`) = Σ_v w_v P(T_x = max_{y∈members} T_y), shape (A,), with

        P(T_x = max T) = ∫₀^∞ λ_x e^{−λ_x t} Π_{y≠x} (1 − e^{−λ_y t}) dt,   λ_y = e^{βU[v,y]}.

    members  (A,) booleans, at least one True; all alternatives by default. Zero outside.

    Absolute error at most 1e-12 (not relative: probabilities below it are noise). In s = log t the integrand
    is analytic and decays at both ends, so the trapezoidal rule converges geometrically in the number of
    nodes; it doubles them until no class of clones moves by 1e-13. CertificateError if it does not settle, or
    if the probabilities of a type miss a sum of one by 1e-12. Clones share an integral.
    """
    beta, inside = check_bt_beta(bt_beta), _members(population, members)
    utilities = population.utilities[:, inside]
    total = np.zeros(utilities.shape[1])
    # Users whose utilities agree up to order (all, if they are rankings of the same items) share one integral.
    laws: dict[bytes, Array] = {}
    for weight, utility in zip(np.asarray(population.weights), utilities, strict=True):
        order = utility.argsort(kind="stable")
        profile = utility[order]
        key = profile.tobytes()
        if key not in laws:
            levels, label, counts = np.unique(profile, return_inverse=True, return_counts=True)
            laws[key] = _last_place(beta * (levels - levels[0]), counts.astype(np.float64))[label]
        total[order] += weight * laws[key]
    return _spread(total, inside)


def _last_place(log_rates: Array, counts: Array) -> Array:
    """P(one alternative of class k is last), (K,), for classes of `counts` clones; least log-rate 0."""
    # log max T has the law F(s) = Π_k (1 − e^{−λ_k e^s})^{counts_k} ≤ e^s, and 1 − F(s) ≤ A·exp(−e^s): less
    # than 1e-18 lies outside [low, high].
    high = float(np.log(np.log(counts.sum()) + 45.0))
    probe = np.linspace(-45.0, high, 257)
    low = float(probe[np.argmax(_race(log_rates, counts, probe)[1] > -42.0) - 1])
    intervals, step = 32, (high - low) / 32
    law = step * _density(log_rates, counts, np.linspace(low, high, intervals + 1))
    for _ in range(12):
        midpoints = low + step * (np.arange(intervals, dtype=np.float64) + 0.5)
        finer = (law + step * _density(log_rates, counts, midpoints)) / 2
        change = float(np.max(counts * np.abs(finer - law)))
        law, intervals, step = finer, 2 * intervals, step / 2
        if change <= 0.1 * LAST_PLACE_TOLERANCE:
            break
    excess = abs(float(counts @ law) - 1.0)
    if not (change <= 0.1 * LAST_PLACE_TOLERANCE and excess <= LAST_PLACE_TOLERANCE):
        raise CertificateError(f"last places miss a sum of 1 by {excess:.1e}; last refinement {change:.1e}")
    return law


def _race(log_rates: Array, counts: Array, nodes: Array) -> tuple[Array, Array]:
    """z = λ e^s, (K, nodes), and log F(s), (nodes,), at s = `nodes`."""
    z = np.exp(np.minimum(log_rates[:, None] + nodes, 700.0))  # e^{−z} is zero long before
    return z, counts @ log1mexp(-z)  # whose rounding error is multiplied by the number of clones


def _density(log_rates: Array, counts: Array, nodes: Array) -> Array:
    """Σ over nodes of z e^{−z}·F/(1 − e^{−z}), the density of {log T_x = s, rest below}; (K,), in blocks."""
    total = np.zeros(log_rates.size)
    width = max(1, 2**20 // log_rates.size)
    for start in range(0, nodes.size, width):
        z, log_law = _race(log_rates, counts, nodes[start : start + width])
        total += (z * np.exp(-z) / -np.expm1(-z)) @ np.exp(log_law)
    return total


def _members(population: Population, members: ArrayLike | None) -> NDArray[np.bool_]:
    """The mask (A,) of the alternatives to rank; ValueError unless it is boolean and not empty."""
    size = population.utilities.shape[1]
    mask = np.ones(size, dtype=bool) if members is None else np.asarray(members)
    if mask.dtype != bool or mask.shape != (size,) or not mask.any():
        raise ValueError(f"members must be {size} booleans, at least one True, got {members!r}")
    return mask


def _spread(values: Array, inside: NDArray[np.bool_]) -> Array:
    """(A,) with `values` on the members and zero elsewhere."""
    full = np.zeros(inside.size)
    full[inside] = values
    return full
