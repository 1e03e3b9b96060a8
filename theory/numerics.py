"""Elementary functions and a quadrature rule, in forms that keep their digits where the textbook's cancel.

>>> float(centred_sigmoid(1e-20)), float(log1mexp(-1e-20))  # σ(z) − ½ and log(1 − eˣ) are 0 and −∞ as written
(2.5e-21, -46.051701859880914)
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from theory.validate import Array


def centred_sigmoid(z: ArrayLike) -> Array:
    """σ(z) − ½ = ½·tanh(z/2), elementwise: odd in floating point too, so that clones tie exactly."""
    return 0.5 * np.tanh(0.5 * np.asarray(z, dtype=np.float64))


def log_cosh(z: ArrayLike) -> Array:
    """log cosh z, elementwise, to its own relative accuracy, without overflow."""
    x = np.abs(np.asarray(z, dtype=np.float64))
    # cosh x = 1 + 2 sinh²(x/2) keeps the digits of small x, eˣ(1 + e^{−2x})/2 does not overflow
    small = np.log1p(2.0 * np.sinh(0.5 * np.minimum(x, 1.0)) ** 2)
    return np.where(x < 1.0, small, x + np.log1p(np.exp(-2.0 * x)) - math.log(2.0))


def logistic_density(z: ArrayLike) -> Array:
    """σ′(z) = σ(z)σ(−z), elementwise, to its own relative accuracy."""
    x = np.asarray(z, dtype=np.float64)
    return np.asarray(expit(x) * expit(-x))


def density_range(low: Array, high: Array) -> tuple[Array, Array]:
    """Least and largest σ′ = ¼ − (σ − ½)², which is even and falls in |z|, on the intervals [low, high], elementwise.

    To an absolute accuracy: certificates allow for the error of one hyperbolic tangent.
    """
    farthest = np.maximum(np.abs(low), np.abs(high))
    nearest = np.where((low <= 0) & (high >= 0), 0.0, np.minimum(np.abs(low), np.abs(high)))
    return 0.25 - centred_sigmoid(farthest) ** 2, 0.25 - centred_sigmoid(nearest) ** 2


def log1mexp(x: ArrayLike) -> Array:
    """log(1 − eˣ) for x ≤ 0: of 1 − eˣ near 0 (expm1), of the logarithm near 1 (log1p). ValueError for x > 0."""
    x = np.asarray(x, dtype=np.float64)
    if not (x <= 0).all():
        raise ValueError(f"log1mexp needs x <= 0, got {x.max()}")
    with np.errstate(divide="ignore"):  # log 0 = −∞ at x = 0, where it belongs
        return np.where(x > -math.log(2.0), np.log(-np.expm1(x)), np.log1p(-np.exp(x)))


def log_mean(log_weights: Array, exponents: Array) -> Array:
    """log Σ w eˣ along the last axis, Σ w = 1; x = −∞ allowed. Near x = 0 to its own accuracy, by expm1 and log1p."""
    with np.errstate(over="ignore"):
        excess = np.sum(np.exp(log_weights) * np.expm1(np.minimum(exponents, 1.0)), axis=-1)
    near = (exponents.max(axis=-1) < 1.0) & (excess > -0.5)
    return np.where(near, np.log1p(np.where(near, excess, 0.0)), np.logaddexp.reduce(log_weights + exponents, axis=-1))


def normal_density(x: ArrayLike) -> Array:
    """φ(x) = e^{−x²/2}/√(2π), elementwise."""
    return np.exp(-0.5 * np.square(x)) / math.sqrt(2.0 * math.pi)


@lru_cache
def _legendre(order: int) -> tuple[Array, Array]:
    nodes, weights = np.polynomial.legendre.leggauss(order)
    return nodes, weights


def gauss_legendre(breaks: ArrayLike, order: int) -> tuple[Array, Array]:
    """Nodes and weights of the composite Gauss–Legendre rule with `order` nodes between any two `breaks`, ascending."""
    nodes, weights = _legendre(order)
    edges = np.asarray(breaks, dtype=np.float64)
    half = 0.5 * np.diff(edges)[:, None]
    return (edges[:-1, None] + half * (1.0 + nodes)).ravel(), (half * weights).ravel()
