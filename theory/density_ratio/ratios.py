"""The ratios that DDRO and RDRO estimate, plain, relative and pooled, and how their estimates vary (R1, R2, R4 – R6).

Every loss of `theory.density_ratio.losses` is Σ p̃ ℓ(lr) + q̃ m(lr) for two measures, and its minimiser is p̃/q̃.

Arguments: p and q are the laws p⁺ and p⁻ over A outcomes, (A,), sum one; alpha is α in (0, 1), None for DDRO;
chosen_fraction is a in (0, 1), None for class means.

Sources: DDRO, Higuchi, Suzuki (arXiv 2505.07558); RDRO, Takahashi et al. (arXiv 2604.04410); pooled batches ours.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from theory.validate import Array, as_number, check_distribution, check_laws, check_share, check_word


def density_ratio(p: ArrayLike, q: ArrayLike, *, infinite: Literal["raise", "keep"] = "raise") -> Array:
    """The plain ratio p/q, DDRO's minimiser (R1).

    Parameters
    ----------
    p, q : array_like, (A,)
        Laws of preferred and dispreferred responses.
    infinite : {"raise", "keep"}
        What to do where p > 0 = q: refuse, or return inf there.

    Returns
    -------
    ndarray, (A,)
        In [0, ∞), inf where p/q is beyond float64; also where q = 0 with infinite="keep".

    Raises
    ------
    ValueError
        What is not a law; an infinite ratio, unless kept; an outcome that neither law reaches.

    References
    ----------
    Higuchi, Suzuki (arXiv 2505.07558).

    Examples
    --------
    >>> from theory.density_ratio import density_ratio
    >>> density_ratio([0.75, 0.25], [0.25, 0.75]).round(4)
    array([3.    , 0.3333])
    """
    p, q = check_laws(p, q)
    _require_some_mass(p, q)
    beyond = np.flatnonzero(q == 0)
    if check_word("infinite", infinite, ("raise", "keep")) == "raise" and beyond.size:
        raise ValueError(
            f"p[{beyond[0]}] = {p[beyond[0]]} but q[{beyond[0]}] = 0: the ratio p/q is infinite at outcome {beyond[0]}"
        )
    with np.errstate(over="ignore"):  # beyond float64: inf
        return np.divide(p, q, out=np.full(p.size, np.inf), where=q > 0)


def relative_ratio(p: ArrayLike, q: ArrayLike, alpha: float) -> Array:
    """The relative ratio p/(αp + (1−α)q), RDRO's minimiser (R2).

    Parameters
    ----------
    p, q : array_like, (A,)
        Laws of preferred and dispreferred responses.
    alpha : float
        Share of p in the denominator, in (0, 1).

    Returns
    -------
    ndarray, (A,)
        At most 1/α, and 1/α where q = 0 < p.

    Raises
    ------
    ValueError
        What is not a law; alpha outside (0, 1); an outcome that neither law reaches.

    References
    ----------
    Takahashi et al. (arXiv 2604.04410).

    Examples
    --------
    >>> from theory.density_ratio import relative_ratio
    >>> relative_ratio([0.75, 0.25], [0.25, 0.75], alpha=0.5)
    array([1.5, 0.5])
    """
    p, q = check_laws(p, q)
    _require_some_mass(p, q)
    return _quotient(p, q, check_share("alpha", alpha), 1.0 - alpha)


def _quotient(p: Array, q: Array, own: float, other: float) -> Array:
    """p/(own·p + other·q) as 1/(own + other·q/p), where own·p may underflow; 0 where p = 0, inf beyond float64."""
    with np.errstate(over="ignore", divide="ignore"):
        rest = np.divide(q, p, out=np.zeros(p.shape), where=p > 0)
        rest = np.multiply(other, rest, out=np.zeros(p.shape), where=(q > 0) & (other > 0.0))
        return np.where(p > 0, 1.0 / (own + rest), 0.0)


def mixture(p: ArrayLike, q: ArrayLike, alpha: float) -> Array:
    """p_α = αp + (1−α)q (A,), the law of all examples if a share α of them is chosen; ValueError where it is 0."""
    p, q = check_laws(p, q)
    _require_some_mass(p, q)
    return measures(p, q, check_share("alpha", alpha))[1]


def pooled_ratio(p: ArrayLike, q: ArrayLike, alpha: float, chosen_fraction: float) -> Array:
    """Minimiser of RDRO on pooled batches: a p/(aαp + (1−a)(1−α)q) (R5).

    It is c·p/p_α' with odds α'/(1−α') = (a/(1−a))·(α/(1−α)) and c = a/(aα + (1−a)(1−α)): another mixing weight and a
    factor. Equal to `relative_ratio` iff a = ½ (on outcomes that q reaches).

    Parameters
    ----------
    p, q : array_like, (A,)
        Laws of preferred and dispreferred responses.
    alpha : float
        Share of p in the denominator, in (0, 1).
    chosen_fraction : float
        a, the share of chosen examples in a batch, in (0, 1).

    Returns
    -------
    ndarray, (A,)
        At most 1/α.

    Raises
    ------
    ValueError
        What is not a law; alpha or chosen_fraction outside (0, 1); an outcome that neither law reaches.

    References
    ----------
    Ours; the loss is that of Takahashi et al. (arXiv 2604.04410).

    Examples
    --------
    >>> from theory.density_ratio import pooled_ratio
    >>> pooled_ratio([0.75, 0.25], [0.25, 0.75], alpha=0.5, chosen_fraction=0.25)
    array([1. , 0.2])
    """
    p, q = check_laws(p, q)
    _require_some_mass(p, q)
    a = check_share("chosen_fraction", chosen_fraction)
    return _quotient(p, q, check_share("alpha", alpha), (1.0 - a) / a * (1.0 - alpha))


def pooled_reference_weight(alpha: float, chosen_fraction: float) -> float:
    """(s + α)/(1 + sα), s = 2a − 1: the share of p⁺ in the one mixture reference from which pooled RDRO can reach p⁺.

    Speeds add like this: artanh of it is artanh α + artanh(2a − 1). It is α iff a = ½, and below 0 for
    a < (1−α)/2, where such a mixture may not be a law. From it p⁺ is the optimum if a ≥ ½, and a stationary point that
    need not be the optimum if a < ½ (R5, ours).
    """
    weight, speed = check_share("alpha", alpha), 2.0 * check_share("chosen_fraction", chosen_fraction) - 1.0
    return (speed + weight) / (1.0 + speed * weight)


def repaired_alpha(chosen_fraction: float) -> float:
    """1/(1 + 2a): the α with which pooled RDRO, from the law of all its examples p_a, can reach p⁺ (R5, ours).

    It solves `pooled_reference_weight(α, a)` = a; at a = ½ it is ½.
    """
    return 1.0 / (1.0 + 2.0 * check_share("chosen_fraction", chosen_fraction))


def measures(
    p: Array, q: Array, alpha: float | None = None, chosen_fraction: float | None = None
) -> tuple[Array, Array]:
    """The two measures (p̃, q̃) whose ratio p̃/q̃ a loss estimates: every loss of this file is Σ p̃ ℓ(lr) + q̃ m(lr).

    p̃ = a p and q̃ = aαp + (1−a)(1−α)q, with a = ½ doubled (class means: p and p_α). They need not sum to one.
    """
    weight = 0.0 if alpha is None else check_share("alpha", alpha)
    if chosen_fraction is None:
        return p, weight * p + (1.0 - weight) * q
    a = check_share("chosen_fraction", chosen_fraction)
    return a * p, a * weight * p + (1.0 - a) * (1.0 - weight) * q


def log_ratio_cap(alpha: float) -> float:
    """log(1/α), the largest log-ratio that RDRO's minimiser can take; DDRO's has no cap (R4)."""
    return -math.log(check_share("alpha", alpha))


def ratio_variance(p: ArrayLike, q: ArrayLike, n_p: int, n_q: int, alpha: float = 0.0) -> Array:
    """Delta-method variance of the ratio estimated from n_p chosen and n_q rejected examples, outcome by outcome (R6).

        α = 0, DDRO   (p/q)²·((1−p)/(n_p p) + (1−q)/(n_q q)), unbounded as q → 0
        α > 0, RDRO   ((1−α)²/p_α⁴)·(q²p(1−p)/n_p + p²q(1−q)/n_q), which vanishes as q → 0

    Parameters
    ----------
    p, q : array_like, (A,)
        Laws of preferred and dispreferred responses.
    n_p, n_q : int
        Examples of each class, ≥ 1.
    alpha : float
        0 for the plain ratio, or in (0, 1).

    Returns
    -------
    ndarray, (A,)
        Variances of p̂/p̂_α, to first order in 1/n.

    Raises
    ------
    ValueError
        What is not a law; a class without examples; an outcome that neither law reaches, or at α = 0 with p > 0 = q.

    References
    ----------
    Ours, by the delta method.

    Examples
    --------
    >>> from theory.density_ratio import ratio_variance
    >>> p, q = [0.75, 0.25], [0.25, 0.75]
    >>> ratio_variance(p, q, 100, 100).round(4), ratio_variance(p, q, 100, 100, alpha=0.5).round(4)
    (array([0.3   , 0.0037]), array([0.0047, 0.0047]))
    """
    p, q = check_laws(p, q)
    weight = 0.0 if as_number("alpha", alpha) == 0.0 else check_share("alpha", alpha)
    n_p, n_q = check_sizes(n_p, n_q)
    if weight == 0.0:
        density_ratio(p, q)  # raises where the ratio is infinite
    d = q if weight == 0.0 else mixture(p, q, weight)
    # by the shares of p and q in d, which do not underflow where d⁴ does
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # beyond float64 it is inf
        u, v = _quotient(p, q, weight, 1.0 - weight), _quotient(q, p, 1.0 - weight, weight)
        of_p = np.where(p * (1.0 - p) * q > 0, v**2 * u * (1.0 - p) / (n_p * d), 0.0)
        of_q = np.where(q * (1.0 - q) * p > 0, u**2 * v * (1.0 - q) / (n_q * d), 0.0)
        return (1.0 - weight) ** 2 * (of_p + of_q)


def relative_variance_bound(p: ArrayLike, n_p: int, n_q: int, alpha: float) -> Array:
    """((1−p)/(16 α² n_p) + 27(1−α)/(256 α³ n_q))/p: at least `ratio_variance` for every q, at fixed p > 0 (R6).

    With x = αp/p_α the two terms of the variance are x²(1−x)²(1−p)/(α²p n_p) and at most (1−α)x³(1−x)/(α³p n_q);
    x(1−x) ≤ ¼ and x³(1−x) ≤ 27/256.

    Parameters
    ----------
    p : array_like, (A,)
        Law of preferred responses.
    n_p, n_q : int
        Examples of each class, ≥ 1.
    alpha : float
        Share of p in the denominator, in (0, 1).

    Returns
    -------
    ndarray, (A,)
        inf where p = 0.

    Raises
    ------
    ValueError
        What is not a law; a class without examples; alpha outside (0, 1).

    References
    ----------
    Ours.

    Examples
    --------
    >>> from theory.density_ratio import relative_variance_bound
    >>> relative_variance_bound([0.9, 0.1], 100, 100, alpha=0.5).round(4)
    array([0.005 , 0.0647])
    """
    p = check_distribution("p", p)
    weight = check_share("alpha", alpha)
    n_p, n_q = check_sizes(n_p, n_q)
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float64(1.0) / weight
        return ((1.0 - p) / (16.0 * n_p) + 27.0 * (1.0 - weight) / (256.0 * n_q) * inverse) * inverse**2 / p


def check_sizes(n_p: int, n_q: int) -> tuple[int, int]:
    """The same whole numbers; ValueError names the class that has no examples, or no number of them."""
    for name, n in (("n_p", n_p), ("n_q", n_q)):
        number = as_number(name, n)
        if not (number >= 1 and number.is_integer()):
            why = "a class without examples has no law to estimate"
            raise ValueError(f"{name} = {n} must be a whole number >= 1: {why}")
    return int(n_p), int(n_q)


def _require_some_mass(p: Array, q: Array) -> None:
    empty = np.flatnonzero((p == 0) & (q == 0))
    if empty.size:
        raise ValueError(f"p[{empty[0]}] = q[{empty[0]}] = 0: outcome {empty[0]} has no ratio")
