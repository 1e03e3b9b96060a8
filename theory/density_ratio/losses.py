"""DDRO and RDRO: alignment from unpaired examples by density-ratio estimation. Losses, ratios, minima, variances.

Preferred examples y ~ p⁺ and dispreferred ones y ~ p⁻ train a policy π through ρ = π/π_ref, lr = log ρ:

    DDRO   E₊[ℓ(lr)] + E₋[m(lr)]                       minimiser ρ = p⁺/p⁻
    RDRO   E₊[ℓ(lr) + α m(lr)] + (1−α) E₋[m(lr)]       minimiser ρ = p⁺/p_α ≤ 1/α,  p_α = αp⁺ + (1−α)p⁻

with the Bregman members of `BREGMAN`: logistic ℓ = sp(−lr), m = sp(lr), for which RDRO's first term reads
(1+α)sp(lr) − lr; least squares (LSIF) ℓ = −ρ, m = ρ²/2; KL (KLIEP) ℓ = −lr, m = ρ. RDRO is DDRO with p_α in place
of p⁻. These are class means: each expectation is the mean of its own class. Pooled, chosen and rejected losses are
averaged together; a fraction a of chosen examples then weighs the classes by a and 1−a, and the minimiser is
another ratio unless a = ½ (R5).

Arguments: p and q are the laws p⁺ and p⁻ over A outcomes, (A,), sum one; log_ratio is lr (A,) in nats;
alpha is α in (0, 1), None for DDRO; chosen_fraction is a in (0, 1), None for class means.

Sources: DDRO, Higuchi, Suzuki (arXiv 2505.07558); RDRO, Takahashi et al. (arXiv 2604.04410); pooled batches ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlogy

from theory.divergences.generators import Infinite
from theory.policy.kl_ball import kl
from theory.validate import Array, check_distribution

Reduction = Literal["class_mean", "pooled"]


@dataclass(frozen=True, eq=False)
class Bregman:
    """A Bregman member: losses of log-ratios on the numerator's and on the denominator's law, elementwise."""

    label: str
    numerator: Callable[[Array], Array]
    denominator: Callable[[Array], Array]


#: name → member. Each pair has the pointwise minimiser ρ = numerator/denominator, whatever the two measures are.
BREGMAN: dict[str, Bregman] = {
    "logistic": Bregman("logistic", lambda lr: np.logaddexp(0.0, -lr), lambda lr: np.logaddexp(0.0, lr)),
    "lsif": Bregman("least squares (LSIF)", lambda lr: -np.exp(lr), lambda lr: 0.5 * np.exp(2.0 * lr)),
    "kliep": Bregman("KL (KLIEP)", lambda lr: -lr, np.exp),
}


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
        In [0, ∞), or [0, ∞] with infinite="keep".

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
    p, q = _laws(p, q)
    _require_some_mass(p, q)
    beyond = np.flatnonzero(q == 0)
    if beyond.size and infinite != "keep":
        raise ValueError(
            f"p[{beyond[0]}] = {p[beyond[0]]} but q[{beyond[0]}] = 0: the ratio p/q is infinite at outcome {beyond[0]}"
        )
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
    p, q = _laws(p, q)
    return p / mixture(p, q, alpha)


def mixture(p: ArrayLike, q: ArrayLike, alpha: float) -> Array:
    """p_α = αp + (1−α)q (A,), the law of all examples if a share α of them is chosen; ValueError where it is 0."""
    p, q = _laws(p, q)
    _require_some_mass(p, q)
    return measures(p, q, _open_unit("alpha", alpha))[1]


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
    p, q = _laws(p, q)
    _require_some_mass(p, q)
    numerator, denominator = measures(p, q, _open_unit("alpha", alpha), chosen_fraction)
    return numerator / denominator


def pooled_reference_weight(alpha: float, chosen_fraction: float) -> float:
    """(s + α)/(1 + sα), s = 2a − 1: the share of p⁺ in the one mixture reference from which pooled RDRO can reach p⁺.

    Speeds add like this: artanh of it is artanh α + artanh(2a − 1). It is α iff a = ½, and below 0 for
    a < (1−α)/2, where such a mixture may not be a law. From it p⁺ is the optimum if a ≥ ½, and a stationary point that
    need not be the optimum if a < ½ (R5, ours).
    """
    weight, speed = _open_unit("alpha", alpha), 2.0 * _open_unit("chosen_fraction", chosen_fraction) - 1.0
    return (speed + weight) / (1.0 + speed * weight)


def repaired_alpha(chosen_fraction: float) -> float:
    """1/(1 + 2a): the α with which pooled RDRO, from the law of all its examples p_a, can reach p⁺ (R5, ours).

    It solves `pooled_reference_weight(α, a)` = a; at a = ½ it is ½.
    """
    return 1.0 / (1.0 + 2.0 * _open_unit("chosen_fraction", chosen_fraction))


def measures(
    p: Array, q: Array, alpha: float | None = None, chosen_fraction: float | None = None
) -> tuple[Array, Array]:
    """The two measures (p̃, q̃) whose ratio p̃/q̃ a loss estimates: every loss of this file is Σ p̃ ℓ(lr) + q̃ m(lr).

    p̃ = a p and q̃ = aαp + (1−a)(1−α)q, with a = ½ doubled (class means: p and p_α). They need not sum to one.
    """
    weight = 0.0 if alpha is None else _open_unit("alpha", alpha)
    if chosen_fraction is None:
        return p, weight * p + (1.0 - weight) * q
    a = _open_unit("chosen_fraction", chosen_fraction)
    return a * p, a * weight * p + (1.0 - a) * (1.0 - weight) * q


def ddro_loss(log_ratio: ArrayLike, p: ArrayLike, q: ArrayLike) -> float:
    """DDRO's population loss E_p[sp(−lr)] + E_q[sp(lr)], sp(x) = log(1 + eˣ): the logistic Bregman member, class means.

    Parameters
    ----------
    log_ratio : array_like, (A,)
        lr = log π/π_ref, nats; ±inf allowed.
    p, q : array_like, (A,)
        Laws of preferred and dispreferred responses.

    Returns
    -------
    float
        Nats; 2 log 2 at lr = 0.

    Raises
    ------
    ValueError
        What is not a law; NaN, or log-ratios of another size.

    References
    ----------
    Higuchi, Suzuki (arXiv 2505.07558).

    Examples
    --------
    >>> from theory.density_ratio import ddro_loss
    >>> round(ddro_loss([0.0, 0.0], [0.75, 0.25], [0.25, 0.75]), 6)
    1.386294
    """
    return ratio_loss("logistic", log_ratio, p, q)


def rdro_loss(
    log_ratio: ArrayLike, p: ArrayLike, q: ArrayLike, alpha: float, chosen_fraction: float | None = None
) -> float:
    """RDRO's population loss E_p[(1+α)sp(lr) − lr] + (1−α)E_q[sp(lr)], sp(x) = log(1 + eˣ).

    Parameters
    ----------
    log_ratio : array_like, (A,)
        lr = log π/π_ref, nats; ±inf allowed.
    p, q : array_like, (A,)
        Laws of preferred and dispreferred responses.
    alpha : float
        Share of p in the denominator of the ratio, in (0, 1).
    chosen_fraction : float, optional
        None: class means. a in (0, 1): the pooled mean a·E_p[…] + (1−a)(1−α)·E_q[…], which is what averaging a batch
        with a share a of chosen examples amounts to.

    Returns
    -------
    float
        Nats; 2 log 2 at lr = 0 for class means.

    Raises
    ------
    ValueError
        What is not a law; alpha or chosen_fraction outside (0, 1); NaN, or log-ratios of another size.

    References
    ----------
    Takahashi et al. (arXiv 2604.04410); pooled batches ours.

    Examples
    --------
    >>> from theory.density_ratio import rdro_loss
    >>> round(rdro_loss([0.0, 0.0], [0.75, 0.25], [0.25, 0.75], alpha=0.5), 6)
    1.386294
    """
    return ratio_loss("logistic", log_ratio, p, q, _open_unit("alpha", alpha), chosen_fraction)


def ratio_loss(
    member: str,
    log_ratio: ArrayLike,
    p: ArrayLike,
    q: ArrayLike,
    alpha: float | None = None,
    chosen_fraction: float | None = None,
) -> float:
    """Population loss Σ p̃ ℓ(lr) + q̃ m(lr) of a Bregman member, see `BREGMAN` and `measures`.

    log_ratio may be ±inf (a policy at the boundary of the simplex): the loss is infinite only where a law sees it.
    """
    p, q = _laws(p, q)
    lr = _log_ratios("log_ratio", log_ratio)
    if lr.size != p.size:
        raise ValueError(f"log_ratio must have {p.size} entries, got {lr.size}")
    return measure_loss(member, lr, *measures(p, q, alpha, chosen_fraction))


def measure_loss(member: str, log_ratio: Array, numerator: Array, denominator: Array) -> float:
    """Σ p̃ ℓ(lr) + q̃ m(lr) for nonnegative measures, with 0·∞ = 0. No checks beyond the member's name."""
    losses = _member(member)
    seen, met = numerator > 0, denominator > 0
    with np.errstate(over="ignore"):  # e^lr beyond float64 is an infinite loss
        return float(
            numerator[seen] @ losses.numerator(log_ratio[seen]) + denominator[met] @ losses.denominator(log_ratio[met])
        )


def batch_loss(
    chosen: ArrayLike,
    rejected: ArrayLike,
    *,
    alpha: float | None = None,
    member: str = "logistic",
    reduction: Reduction = "class_mean",
) -> float:
    """The same losses on a batch: `chosen` (n₊,) and `rejected` (n₋,) log-ratios of its examples.

    reduction  "class_mean": mean over chosen plus mean over rejected, consistent whatever the class sizes;
               "pooled": the mean over all n₊ + n₋ examples, the parity mode for trainers that average a batch
    An empty class is a ValueError: its mean does not exist, and leaving it out would change the loss.
    """
    weight = 0.0 if alpha is None else _open_unit("alpha", alpha)
    losses = _member(member)
    good, bad = _log_ratios("chosen", chosen), _log_ratios("rejected", rejected)
    terms = losses.numerator(good)
    if alpha is not None:
        terms = terms + weight * losses.denominator(good)
    others = (1.0 - weight) * losses.denominator(bad)
    if reduction == "class_mean":
        return float(terms.mean() + others.mean())
    if reduction == "pooled":
        return float((terms.sum() + others.sum()) / (good.size + bad.size))
    raise ValueError(f"reduction = {reduction!r} must be 'class_mean' or 'pooled'")


def minimum(
    member: str, p: ArrayLike, q: ArrayLike, alpha: float | None = None, chosen_fraction: float | None = None
) -> float:
    """The least value of `ratio_loss` over all functions lr (an infimum where the ratio is 0 or infinite).

    Class means, d = q (DDRO) or p_α (RDRO): logistic 2 log 2 − 2 JS(p, d) (R1, R2); LSIF −½ Σ p²/d =
    −½(1 + χ²(p‖d)); KLIEP 1 − KL(p‖d); the last two are −inf where d = 0 < p, and name the outcome. Pooled: the same
    divergences of the two measures, which do not sum to one.
    """
    p, q = _laws(p, q)
    above, below = measures(p, q, alpha, chosen_fraction)
    _member(member)
    if member == "logistic":
        return float(np.sum(xlogy(above + below, above + below) - xlogy(above, above) - xlogy(below, below)))
    beyond = np.flatnonzero((below == 0) & (above > 0))
    if beyond.size:
        return Infinite(int(beyond[0]), "the ratio is infinite there", -1.0)
    if member == "lsif":
        return -0.5 * float(np.sum(np.divide(above**2, below, out=np.zeros(p.size), where=below > 0)))
    mass, total = float(above.sum()), float(below.sum())
    return mass * (1.0 - math.log(mass / total) - kl(above / mass, below / total))


def log_ratio_cap(alpha: float) -> float:
    """log(1/α), the largest log-ratio that RDRO's minimiser can take; DDRO's has no cap (R4)."""
    return -math.log(_open_unit("alpha", alpha))


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
    p, q = _laws(p, q)
    weight = 0.0 if alpha == 0.0 else _open_unit("alpha", alpha)
    for name, n in (("n_p", n_p), ("n_q", n_q)):
        if not n >= 1:
            raise ValueError(f"{name} = {n} must be >= 1: a class without examples has no law to estimate")
    if weight == 0.0:
        density_ratio(p, q)  # raises where the ratio is infinite
    d = q if weight == 0.0 else mixture(p, q, weight)
    scale = ((1.0 - weight) / d**2) ** 2
    return scale * (q**2 * p * (1.0 - p) / n_p + p**2 * q * (1.0 - q) / n_q)


def relative_variance_bound(p: ArrayLike, n_p: int, n_q: int, alpha: float) -> Array:
    """((1−p)/(16 α² n_p) + 27(1−α)/(256 α³ n_q))/p: at least `ratio_variance` for every q, at fixed p > 0 (R6).

    With x = αp/p_α the two terms of the variance are x²(1−x)²(1−p)/(α²p n_p) and at most (1−α)x³(1−x)/(α³p n_q);
    x(1−x) ≤ ¼ and x³(1−x) ≤ 27/256.

    Parameters
    ----------
    p : array_like, (A,)
        Law of preferred responses.
    n_p, n_q : int
        Examples of each class.
    alpha : float
        Share of p in the denominator, in (0, 1).

    Returns
    -------
    ndarray, (A,)
        inf where p = 0.

    Raises
    ------
    ValueError
        What is not a law; alpha outside (0, 1).

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
    weight = _open_unit("alpha", alpha)
    with np.errstate(divide="ignore"):
        return ((1.0 - p) / (16.0 * weight**2 * n_p) + 27.0 * (1.0 - weight) / (256.0 * weight**3 * n_q)) / p


def _laws(p: ArrayLike, q: ArrayLike) -> tuple[Array, Array]:
    p = check_distribution("p", p)
    return p, check_distribution("q", q, p.size)


def _require_some_mass(p: Array, q: Array) -> None:
    empty = np.flatnonzero((p == 0) & (q == 0))
    if empty.size:
        raise ValueError(f"p[{empty[0]}] = q[{empty[0]}] = 0: outcome {empty[0]} has no ratio")


def _open_unit(name: str, value: float) -> float:
    number = float(value)
    if not 0.0 < number < 1.0:
        raise ValueError(f"{name} = {value} must lie strictly between 0 and 1")
    return number


def _log_ratios(name: str, values: ArrayLike) -> Array:
    """A non-empty vector of log-ratios, infinite ones allowed, NaN not."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} must be a vector, got shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} is empty: the mean over an empty class does not exist")
    bad = np.flatnonzero(np.isnan(array))
    if bad.size:
        raise ValueError(f"{name}[{bad[0]}] is NaN")
    return array


def _member(name: str) -> Bregman:
    if name not in BREGMAN:
        raise ValueError(f"no Bregman member {name!r}; there are {', '.join(BREGMAN)}")
    return BREGMAN[name]
