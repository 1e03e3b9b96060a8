"""DDRO and RDRO: alignment from unpaired examples by density-ratio estimation. Losses and minima.

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

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlogy

from theory.density_ratio.ratios import measures
from theory.divergences.generators import Infinite
from theory.policy.kl_ball import kl
from theory.validate import Array, as_numbers, check_laws, check_share


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
    return ratio_loss("logistic", log_ratio, p, q, check_share("alpha", alpha), chosen_fraction)


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
    p, q = check_laws(p, q)
    lr = _log_ratios("log_ratio", log_ratio)
    if lr.size != p.size:
        raise ValueError(f"log_ratio must have {p.size} entries, got {lr.size}")
    return measure_loss(member, lr, *measures(p, q, alpha, chosen_fraction))


def measure_loss(member: str, log_ratio: Array, numerator: Array, denominator: Array) -> float:
    """Σ p̃ ℓ(lr) + q̃ m(lr) for nonnegative measures, with 0·∞ = 0. No checks beyond the member's name."""
    losses = find_member(member)
    seen, met = numerator > 0, denominator > 0
    with np.errstate(over="ignore", invalid="ignore"):  # e^lr beyond float64 is an infinite loss
        value = float(
            numerator[seen] @ losses.numerator(log_ratio[seen]) + denominator[met] @ losses.denominator(log_ratio[met])
        )
        if not math.isnan(value):
            return value
        terms = np.zeros(log_ratio.size)
        terms[seen] = numerator[seen] * losses.numerator(log_ratio[seen])
        terms[met] += denominator[met] * losses.denominator(log_ratio[met])
    return _infinite_sum(terms)


def _infinite_sum(terms: Array) -> float:
    """The sum of terms of which some are ∞ − ∞; there e^{2lr} or e^{lr} of the denominator outgrows the numerator."""
    terms = np.where(np.isnan(terms), np.inf, terms)
    up, down = np.flatnonzero(terms == np.inf), np.flatnonzero(terms == -np.inf)
    if up.size and down.size:
        raise ValueError(
            f"log_ratio[{up[0]}] makes the loss +inf and log_ratio[{down[0]}] makes it -inf: "
            "together they have no value"
        )
    return float(terms.sum())


def minimum(
    member: str, p: ArrayLike, q: ArrayLike, alpha: float | None = None, chosen_fraction: float | None = None
) -> float:
    """The least value of `ratio_loss` over all functions lr (an infimum where the ratio is 0 or infinite).

    Class means, d = q (DDRO) or p_α (RDRO): logistic 2 log 2 − 2 JS(p, d) (R1, R2); LSIF −½ Σ p²/d =
    −½(1 + χ²(p‖d)); KLIEP 1 − KL(p‖d); the last two are −inf where d = 0 < p, and name the outcome. Pooled: the same
    divergences of the two measures, which do not sum to one.
    """
    p, q = check_laws(p, q)
    above, below = measures(p, q, alpha, chosen_fraction)
    find_member(member)
    if member == "logistic":
        return float(np.sum(xlogy(above + below, above + below) - xlogy(above, above) - xlogy(below, below)))
    beyond = np.flatnonzero((below == 0) & (above > 0))
    if beyond.size:
        return Infinite(int(beyond[0]), "the ratio is infinite there", -1.0)
    if member == "lsif":
        return -0.5 * float(np.sum(np.divide(above**2, below, out=np.zeros(p.size), where=below > 0)))
    mass, total = float(above.sum()), float(below.sum())
    return mass * (1.0 - math.log(mass / total) - kl(above / mass, below / total))


def _log_ratios(name: str, values: ArrayLike) -> Array:
    """A non-empty vector of log-ratios, infinite ones allowed, NaN not."""
    array = as_numbers(name, values)
    if array.ndim != 1:
        raise ValueError(f"{name} must be a vector, got shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} is empty: the mean over an empty class does not exist")
    bad = np.flatnonzero(np.isnan(array))
    if bad.size:
        raise ValueError(f"{name}[{bad[0]}] is NaN")
    return array


def find_member(name: str) -> Bregman:
    """The Bregman member of a name; ValueError for one that is not in `BREGMAN`."""
    if name not in BREGMAN:
        raise ValueError(f"no Bregman member {name!r}; there are {', '.join(BREGMAN)}")
    return BREGMAN[name]
