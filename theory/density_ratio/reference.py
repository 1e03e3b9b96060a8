"""RDRO with an estimated reference: claim R10, ours.

R7 takes π_ref = p_α = αp⁺ + (1−α)p⁻ as known, and then α → 1 costs nothing, since p_α itself becomes p⁺. Estimated
from m unlabelled draws, π̂ = p̂_α·r̂_α has the covariance of RDRO plus that of the reference,

    Cov(π̂) = Cov_RDRO(α) + diag(r)·(diag p_α − p_α p_αᵀ)·diag(r)/m,   r = p⁺/p_α,

and the best α weighs labelled against unlabelled data.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import expit

from theory.density_ratio.estimates import expected_total_variation, multinomial_covariance, policy_covariance
from theory.density_ratio.ratios import mixture
from theory.validate import Array, check_distribution, check_finite, check_positive, check_whole

#: Grid on which the best α is bracketed, and the ends that it may not leave.
ALPHAS = expit(np.linspace(-9.0, 14.0, 231))


def estimated_reference_covariance(
    p: ArrayLike, q: ArrayLike, n_p: int, n_q: int, alpha: float, n_unlabelled: int
) -> Array:
    """Delta-method covariance (A, A) of RDRO's π̂ − p⁺, its reference p_α estimated from unlabelled draws.

    Parameters
    ----------
    p, q : array_like, (A,)
        p⁺ and p⁻, probabilities with full support.
    n_p, n_q : int
        Chosen and rejected examples, ≥ 1.
    alpha : float
        In (0, 1): the share of p⁺ in the reference.
    n_unlabelled : int
        m ≥ 1 draws of the reference.

    Returns
    -------
    ndarray, (A, A)

    Raises
    ------
    ValueError
        Malformed input; the message names it.

    References
    ----------
    Ours; proof in paper/sections/density_ratio_proofs.tex. RDRO: Takahashi et al. (arXiv 2604.04410).

    Examples
    --------
    >>> from theory.density_ratio import estimated_reference_covariance
    >>> estimated_reference_covariance([0.6, 0.4], [0.3, 0.7], 1000, 1000, 0.5, 10**4).round(6)[0, 0]
    np.float64(0.000164)
    """
    n_unlabelled = check_whole("n_unlabelled", n_unlabelled)
    n_p, n_q, alpha = check_whole("n_p", n_p), check_whole("n_q", n_q), check_finite("alpha", alpha)
    labelled = policy_covariance("rdro", p, q, n_p, n_q, alpha)
    p, q = check_distribution("p", p), check_distribution("q", q)
    reference = mixture(p, q, alpha)
    ratio = p / reference
    return labelled + ratio[:, None] * multinomial_covariance(reference, n_unlabelled) * ratio


def best_alpha(p: ArrayLike, q: ArrayLike, unlabelled_per_labelled: float) -> float:
    """The α at which E TV(π̂, p⁺) is least, with m = unlabelled_per_labelled·n and n examples of either class.

    Parameters
    ----------
    p, q : array_like, (A,)
        p⁺ and p⁻, probabilities with full support.
    unlabelled_per_labelled : float
        m/n > 0.

    Returns
    -------
    float
        In (1.2·10⁻⁴, 1 − 8·10⁻⁷); one of these ends where the best α lies at or beyond it.

    Raises
    ------
    ValueError
        Malformed input; the message names it.

    References
    ----------
    Ours; proof in paper/sections/density_ratio_proofs.tex.

    Examples
    --------
    >>> from theory.density_ratio import best_alpha
    >>> [round(best_alpha([0.6, 0.3, 0.1], [0.2, 0.3, 0.5], ratio), 2) for ratio in (0.3, 1.0, 10.0)]
    [0.95, 0.98, 1.0]
    """
    unlabelled_per_labelled = check_positive("unlabelled_per_labelled", unlabelled_per_labelled)
    n = 10**9
    if not np.isfinite(unlabelled_per_labelled * n):
        raise ValueError(f"unlabelled_per_labelled = {unlabelled_per_labelled} is too large")

    def distance(alpha: float) -> float:
        m = max(1, round(unlabelled_per_labelled * n))
        return expected_total_variation(estimated_reference_covariance(p, q, n, n, float(alpha), m))

    values = [distance(alpha) for alpha in ALPHAS]
    best = int(np.argmin(values))
    if best in (0, ALPHAS.size - 1):
        return float(ALPHAS[best])
    bounds = (float(ALPHAS[best - 1]), float(ALPHAS[best + 1]))
    return float(minimize_scalar(distance, bounds=bounds, method="bounded", options={"xatol": 1e-10}).x)
