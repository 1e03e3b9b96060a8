"""Finite samples: how far DDRO, RDRO and plain SFT on chosen examples are from p⁺, claims R6 and R7.

n_p chosen and n_q rejected examples are drawn from p = p⁺ and q = p⁻ over A outcomes. The estimators of p⁺, with the
reference known exactly, are

    SFT    π̂ = p̂⁺                                  chosen examples alone
    DDRO   π̂ = p⁻·p̂⁺/p̂⁻                            reference p⁻
    RDRO   π̂ = p_α·p̂⁺/(αp̂⁺ + (1−α)p̂⁻)              reference p_α

(hats are empirical laws). These are the free ratios of R1 and R2; `normalised` asks for the policy of least loss
instead, which sums to one. By the delta method all are normal with the covariances below, and
E TV(π̂, p⁺) → Σ_y sd_y/√(2π), of order n^{−1/2}.

What the reference knows decides the comparison. p⁻ known exactly makes rejected examples worthless, so DDRO is never
better than SFT. p_α known exactly says something about p⁺ that chosen examples do not, and `efficient_covariance` is
what the best use of it gives. A reference fitted to the same examples adds nothing: DDRO from p̂⁻ and RDRO from
αp̂⁺ + (1−α)p̂⁻ return p̂⁺, which is SFT.

Sources: Higuchi, Suzuki (arXiv 2505.07558) and Takahashi et al. (arXiv 2604.04410) for the rates and for RDRO's
smaller constant against DDRO; covariances, SFT and the efficient bound are ours.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlog1py

from theory.density_ratio.ratios import check_sizes, density_ratio, mixture
from theory.validate import Array, check_distribution, check_laws, check_share, check_support, check_whole

METHODS = ("sft", "ddro", "rdro")


def policy_covariance(
    method: str, p: ArrayLike, q: ArrayLike, n_p: int, n_q: int, alpha: float | None = None, *, normalised: bool = False
) -> Array:
    """Delta-method covariance (A, A) of π̂ − p⁺ for a method of `METHODS`, reference known exactly.

    A ratio's log moves by δp̂/p − δd̂/d, d the denominator's law. Normalising takes out the part of that move that
    changes the sum, along the direction that costs the loss least: with h = pd/(p+d) the loss's curvature in lr,
    δlr → δlr − (p/h)·(p·δlr)/Σ(p²/h). p, q need full support (ValueError names the outcome).
    """
    p, q = _full(p, q)
    n_p, n_q = check_sizes(n_p, n_q)
    if method not in METHODS:
        raise ValueError(f"no method {method!r}; there are {', '.join(METHODS)}")
    if method == "sft":
        return multinomial_covariance(p, n_p)
    if method == "rdro" and alpha is None:
        raise ValueError("method 'rdro' needs alpha")
    share = 0.0 if method == "ddro" or alpha is None else check_share("alpha", alpha)
    d = (share * p + (1.0 - share) * q) if share else q
    kept = (1.0 - share) * q / d  # ∂π̂/∂p̂: what is left of p̂ once d̂ moves with it
    lost = (1.0 - share) * p / d
    if normalised:
        curvature = p * d / (p + d)
        direction = p**2 / curvature
        project = np.eye(p.size) - direction[:, None] / direction.sum()
        kept_map, lost_map = project * kept, project * lost
    else:
        kept_map, lost_map = np.diag(kept), np.diag(lost)
    return (
        kept_map @ multinomial_covariance(p, n_p) @ kept_map.T + lost_map @ multinomial_covariance(q, n_q) @ lost_map.T
    )


def efficient_covariance(p: ArrayLike, q: ArrayLike, n_p: int, n_q: int, alpha: float) -> Array:
    """Cramér–Rao bound (A, A) for p⁺ when p_α = αp⁺ + (1−α)p⁻ is known exactly.

    Then p⁻ = (p_α − αp⁺)/(1−α), each rejected example informs on p⁺ with odds α/(1−α), and the information is
    diagonal, I = n_p/p + n_q (α/(1−α))²/q, on the tangent space Σδ = 0. At α → 0 it is SFT's covariance.
    """
    p, q = _full(p, q)
    n_p, n_q = check_sizes(n_p, n_q)
    odds = check_share("alpha", alpha) / (1.0 - alpha)
    with np.errstate(over="ignore"):  # information beyond float64: no spread
        spread = 1.0 / (n_p / p + n_q * odds**2 / q)
    return np.diag(spread) - np.outer(spread, spread) / spread.sum()


def multinomial_covariance(p: Array, n: int) -> Array:
    """(diag p − p pᵀ)/n, the covariance (A, A) of an empirical law."""
    return (np.diag(p) - np.outer(p, p)) / n


def expected_total_variation(covariance: Array) -> float:
    """E ½Σ|δ_y| = Σ_y sd_y/√(2π) for a centred normal δ with this covariance."""
    return float(np.sqrt(np.diag(covariance)).sum()) / math.sqrt(2.0 * math.pi)


def variance_quotient(p: ArrayLike, q: ArrayLike, alpha: float) -> Array:
    """((1−α)q/p_α)² (A,): variance of RDRO's policy over that of DDRO's, per outcome, whatever n_p and n_q (R7)."""
    p, q = check_distribution("p", p), check_distribution("q", q)
    return ((1.0 - check_share("alpha", alpha)) * q / mixture(p, q, alpha)) ** 2


def infinite_share(q: ArrayLike, n_q: int) -> Array:
    """(1 − q)^n (A,): chance that no rejected example shows an outcome, where DDRO's estimated ratio is infinite."""
    return np.exp(xlog1py(check_whole("n_q", n_q, 0), -check_distribution("q", q)))


def _full(p: ArrayLike, q: ArrayLike) -> tuple[Array, Array]:
    p, q = check_laws(p, q)
    density_ratio(p, q)  # names an infinite or missing ratio
    return check_support("p", p, "the delta method needs p > 0"), q
