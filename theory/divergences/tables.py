"""Divergences between two laws, exact on finite tables.

    KL(p‖q)  = Σ p log(p/q)                     total variation  ½Σ|p − q|            in [0, 1]
    χ²(p‖q)  = Σ (p − q)²/q                     H²(p, q)         Σ(√p − √q)²          in [0, 2]
    JS(p, q) = ½KL(p‖m) + ½KL(q‖m), m = (p + q)/2, natural logarithms, in [0, log 2]

Tables are probability vectors (A,); a table that does not sum to one is a ValueError. Where a divergence is
infinite the result is the float inf and names the outcome (`theory.divergences.generators.Infinite`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlogy

from theory.divergences.generators import Infinite
from theory.policy import kl_ball
from theory.validate import Array, check_laws


def kl(p: ArrayLike, q: ArrayLike) -> float:
    """KL(p‖q) = Σ p log(p/q).

    Parameters
    ----------
    p, q : array_like, (A,)
        Laws.

    Returns
    -------
    float
        Nats, in [0, ∞]; infinite, and the outcome named, where p > 0 = q.

    Raises
    ------
    ValueError
        What is not a law, or laws of different size.

    References
    ----------
    Kullback, Leibler (1951). As `theory.policy.kl`, but an infinite value says why.

    Examples
    --------
    >>> from theory.divergences import kl
    >>> kl([0.5, 0.5], [0.5, 0.5]), kl([0.5, 0.5], [1.0, 0.0])
    (0.0, inf (outcome 1: p = 0.5 where q = 0))
    """
    value = kl_ball.kl(p, q)
    return value if math.isfinite(value) else _beyond_support(*check_laws(p, q))


def total_variation(p: ArrayLike, q: ArrayLike) -> float:
    """TV(p, q) = ½Σ|p − q|: the largest difference of probability over events.

    Parameters
    ----------
    p, q : array_like, (A,)
        Laws.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        What is not a law, or laws of different size.

    References
    ----------
    Standard; KTO estimates it (Haldar, Wang, Song, Lin, Xing, arXiv 2502.00657, section 3).

    Examples
    --------
    >>> from theory.divergences import total_variation
    >>> total_variation([0.75, 0.25], [0.25, 0.75])
    0.5
    """
    p, q = check_laws(p, q)
    return 0.5 * float(np.abs(p - q).sum())


def jensen_shannon(p: ArrayLike, q: ArrayLike) -> float:
    """JS(p, q) = ½KL(p‖m) + ½KL(q‖m), m = (p + q)/2.

    Parameters
    ----------
    p, q : array_like, (A,)
        Laws.

    Returns
    -------
    float
        Nats, in [0, log 2]; log 2 iff the supports are disjoint.

    Raises
    ------
    ValueError
        What is not a law, or laws of different size.

    References
    ----------
    Lin (1991), IEEE Trans. Inf. Theory 37.

    Examples
    --------
    >>> from theory.divergences import jensen_shannon
    >>> round(jensen_shannon([0.75, 0.25], [0.25, 0.75]), 6)
    0.130812
    """
    p, q = check_laws(p, q)
    # log(2p/(p+q)): the logarithm of a quotient, exact where p/q overflows or underflows.
    total = np.where(p + q > 0, p + q, 1.0)
    return max(0.0, 0.5 * float(np.sum(xlogy(p, 2 * p / total) + xlogy(q, 2 * q / total))))


def squared_hellinger(p: ArrayLike, q: ArrayLike) -> float:
    """H²(p, q) = Σ(√p − √q)² = 2 − 2Σ√(pq).

    Parameters
    ----------
    p, q : array_like, (A,)
        Laws.

    Returns
    -------
    float
        In [0, 2]; 2 iff the supports are disjoint.

    Raises
    ------
    ValueError
        What is not a law, or laws of different size.

    References
    ----------
    Standard; the convention is that of Haldar, Wang, Song, Lin, Xing (arXiv 2502.00657), without the factor ½.

    Examples
    --------
    >>> from theory.divergences import squared_hellinger
    >>> round(squared_hellinger([0.75, 0.25], [0.25, 0.75]), 6)
    0.267949
    """
    p, q = check_laws(p, q)
    return float(np.sum((np.sqrt(p) - np.sqrt(q)) ** 2))


def chi_square(p: ArrayLike, q: ArrayLike) -> float:
    """Pearson's χ²(p‖q) = Σ(p − q)²/q.

    Parameters
    ----------
    p, q : array_like, (A,)
        Laws.

    Returns
    -------
    float
        In [0, ∞]; infinite, and the outcome named, where p > 0 = q.

    Raises
    ------
    ValueError
        What is not a law, or laws of different size.

    References
    ----------
    Pearson (1900); the generator is (u − 1)².

    Examples
    --------
    >>> from theory.divergences import chi_square
    >>> round(chi_square([0.75, 0.25], [0.25, 0.75]), 6)
    1.333333
    """
    p, q = check_laws(p, q)
    if (p[q == 0] > 0).any():
        return _beyond_support(p, q)
    inside = q > 0
    with np.errstate(over="ignore"):  # beyond float64: inf
        return float(np.sum((p[inside] - q[inside]) * ((p[inside] - q[inside]) / q[inside])))


def _beyond_support(p: Array, q: Array) -> Infinite:
    outcome = int(np.flatnonzero((p > 0) & (q == 0))[0])
    return Infinite(outcome, f"p = {p[outcome]:g} where q = 0")
