"""Divergences between two Gaussians N(m₁, S₁) and N(m₂, S₂) in d dimensions, from means and covariances.

    Bhattacharyya distance   ⅛ΔᵀS̄⁻¹Δ + ½ log(det S̄/√(det S₁ det S₂)),   Δ = m₁ − m₂, S̄ = ½(S₁ + S₂)
    affinity of order a      log ∫ p^a q^{1−a},  inf where aS₁⁻¹ + (1−a)S₂⁻¹ is not positive definite
    KL, H² = 2 − 2e^{−BD}, χ²(p‖q) = e^{affinity(2)} − 1, α-divergences: closed forms in the above
    TV, JS, a user's f       one integral over the line, in one dimension or with equal covariances

With equal covariances everything depends on the separation δ = √(ΔᵀS⁻¹Δ) alone: log p/q is N(±½δ², δ²).
Determinants enter by their logarithms. Means (d,), covariances (d, d) symmetric positive definite; ValueError names
the one that is not. Sources: standard; the distance as a separation metric of representations: Haldar, Wang, Song,
Lin, Xing (arXiv 2502.00657), section 5.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_factor, cho_solve, eigh

from theory.divergences.by_generator import resolve
from theory.divergences.generators import Elementwise, Generator
from theory.numerics import gauss_legendre, normal_density
from theory.policy.kl_ball import kl_terms
from theory.validate import LARGEST, Array, as_numbers, as_vector, check_finite, check_square

#: Half-width of the range of integration in standard deviations, and Gauss–Legendre points per panel.
TAIL, PANEL_POINTS = 14.0, 24


def check_gaussian(name: str, mean: ArrayLike, cov: ArrayLike) -> tuple[Array, Array]:
    """Mean (d,) and covariance (d, d), symmetric and positive definite; scalars stand for d = 1."""
    m = as_vector(f"mean{name}", np.atleast_1d(as_numbers(f"mean{name}", mean)))
    S = check_square(f"cov{name}", np.atleast_2d(as_numbers(f"cov{name}", cov)))
    if np.abs(m).max() > LARGEST:
        raise ValueError(f"mean{name} has an entry of {np.abs(m).max():.3g}, whose square is beyond float64")
    if S.shape[0] != m.size:
        raise ValueError(f"cov{name} is {S.shape[0]} x {S.shape[0]}, mean{name} has {m.size} entries")
    if np.abs(S - S.T).max() > 1e-10 * np.abs(S).max():
        raise ValueError(f"cov{name} is not symmetric")
    S = 0.5 * S + 0.5 * S.T
    spectrum = np.linalg.eigvalsh(S)
    # a covariance of too few points is singular up to rounding: its determinant means nothing
    if not spectrum[0] > 4.0 * m.size * np.finfo(np.float64).eps * spectrum[-1]:
        raise ValueError(f"cov{name} is not positive definite: smallest eigenvalue {spectrum[0]:.3g}")
    return m, S


def bhattacharyya_gaussian(mean1: ArrayLike, cov1: ArrayLike, mean2: ArrayLike, cov2: ArrayLike) -> float:
    """−log ∫√(pq) = ⅛ΔᵀS̄⁻¹Δ + ½ log det S̄ − ¼ log det S₁ − ¼ log det S₂ of two Gaussians, S̄ = ½(S₁ + S₂).

    Parameters
    ----------
    mean1, mean2 : array_like, (d,)
        Means; numbers for d = 1. Δ is their difference.
    cov1, cov2 : array_like, (d, d)
        Symmetric positive definite covariances; numbers for d = 1.

    Returns
    -------
    float
        In [0, ∞).

    Raises
    ------
    ValueError
        A covariance that is not symmetric or not positive definite, or sizes that do not match.

    References
    ----------
    Standard; as a separation metric of representations: Haldar, Wang, Song, Lin, Xing (arXiv 2502.00657), section 5.

    Examples
    --------
    >>> from theory.divergences import bhattacharyya_gaussian
    >>> round(bhattacharyya_gaussian(0.0, 1.0, 2.0, 1.0), 12)
    0.5
    """
    (m1, S1), (m2, S2) = _pair(mean1, cov1, mean2, cov2)
    excess = _close(S1, S2)
    if excess is None:
        return max(0.0, -log_affinity(0.5, m1, S1, m2, S2))
    # λ = 1 + excess the variances in S₂'s units: log((1 + λ)/(2√λ)) = log cosh(½ log λ)
    spread = 0.5 * float(np.sum(np.log1p(2.0 * np.sinh(0.25 * np.log1p(excess)) ** 2)))
    return 0.125 * separation(m1, S1, m2, S2) ** 2 + spread


def kl_gaussian(mean1: ArrayLike, cov1: ArrayLike, mean2: ArrayLike, cov2: ArrayLike) -> float:
    """KL(N₁‖N₂) = ½[tr S₂⁻¹S₁ − d + ΔᵀS₂⁻¹Δ + log det S₂ − log det S₁], nats."""
    (m1, S1), (m2, S2) = _pair(mean1, cov1, mean2, cov2)
    factor = cho_factor(S2)
    delta = m1 - m2
    excess = _close(S1, S2)
    if excess is not None:  # log λ in λ − 1 − log λ without the difference: Σ q·kl_terms, with d = −log λ scaled by λ
        return 0.5 * float(np.sum((1.0 + excess) * kl_terms(-np.log1p(excess))) + delta @ cho_solve(factor, delta))
    with np.errstate(over="ignore"):  # beyond float64: inf
        quadratic = np.trace(cho_solve(factor, S1)) - m1.size + delta @ cho_solve(factor, delta)
    return max(0.0, 0.5 * float(quadratic + _log_det(S2) - _log_det(S1)))


def log_affinity(order: float, mean1: ArrayLike, cov1: ArrayLike, mean2: ArrayLike, cov2: ArrayLike) -> float:
    """log ∫ p^a q^{1−a} for a real order a; inf where the integral diverges (possible for a outside [0, 1])."""
    (m1, S1), (m2, S2) = _pair(mean1, cov1, mean2, cov2)
    a = check_finite("order", order)
    # aS₁⁻¹ + (1−a)S₂⁻¹ = S₁⁻¹ S S₂⁻¹: no inverse of either, and no difference of two numbers of the exponent's own size
    S = a * S2 + (1.0 - a) * S1
    try:
        factor = cho_factor(S)
    except np.linalg.LinAlgError:
        return math.inf
    delta = m1 - m2
    with np.errstate(over="ignore"):
        exponent = -0.5 * a * (1.0 - a) * float(delta @ cho_solve(factor, delta))
    return exponent - 0.5 * (_log_det(S) - (1.0 - a) * _log_det(S1) - a * _log_det(S2))


def f_divergence_gaussian(
    mean1: ArrayLike, cov1: ArrayLike, mean2: ArrayLike, cov2: ArrayLike, generator: str | Generator | Elementwise
) -> float:
    """D_f(N₁‖N₂), inf where it is infinite.

    Closed form, any dimension: kl, reverse_kl, squared_hellinger, pearson, neyman and alpha. Others need f(0) and
    f'(∞) finite, and one dimension or equal covariances; ValueError says which is missing.
    """
    made = resolve(generator)
    first, second = _pair(mean1, cov1, mean2, cov2)
    if made.name == "squared_hellinger":
        return -2.0 * math.expm1(-bhattacharyya_gaussian(*first, *second))
    if made.name == "kl":
        return kl_gaussian(*first, *second)
    if made.name == "reverse_kl":
        return kl_gaussian(*second, *first)
    orders = {"pearson": 2.0, "neyman": -1.0}
    if made.name in orders or made.name.startswith("alpha:"):
        a = orders[made.name] if made.name in orders else float(made.name.removeprefix("alpha:"))
        # ∫ q·(Rᵃ − aR − (1−a))/(a(a−1)) = (affinity − 1)/(a(a−1)), times the f in question over alpha's
        scale = 2.0 if made.name in orders else 1.0
        log_value = log_affinity(a, *first, *second)
        return math.inf if math.isinf(log_value) else scale * math.expm1(log_value) / (a * (a - 1.0))
    return _by_integration(first, second, made)


def jensen_shannon_gaussian(mean1: ArrayLike, cov1: ArrayLike, mean2: ArrayLike, cov2: ArrayLike) -> float:
    """JS(N₁, N₂), nats, in one dimension or with equal covariances; ValueError otherwise."""
    return f_divergence_gaussian(mean1, cov1, mean2, cov2, "jensen_shannon")


def separation(mean1: ArrayLike, cov1: ArrayLike, mean2: ArrayLike, cov2: ArrayLike) -> float:
    """Mahalanobis distance √(ΔᵀS̄⁻¹Δ) with S̄ the mean of the two covariances."""
    (m1, S1), (m2, S2) = _pair(mean1, cov1, mean2, cov2)
    return math.sqrt(float((m1 - m2) @ cho_solve(cho_factor(0.5 * (S1 + S2)), m1 - m2)))


def _pair(
    mean1: ArrayLike, cov1: ArrayLike, mean2: ArrayLike, cov2: ArrayLike
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    first, second = check_gaussian("1", mean1, cov1), check_gaussian("2", mean2, cov2)
    if first[0].size != second[0].size:
        raise ValueError(f"mean1 has {first[0].size} entries, mean2 has {second[0].size}")
    return first, second


def _close(S1: Array, S2: Array) -> Array | None:
    """Eigenvalues of S₂⁻¹S₁ − 1, exact to their own size, where all are below ½; None where the covariances differ."""
    if not np.abs(S1 - S2).max() < 0.5 * np.diag(S2).min():
        return None
    excess = np.asarray(eigh(S1 - S2, S2, eigvals_only=True))
    return excess if np.abs(excess).max() < 0.5 else None


def _log_det(matrix: Array) -> float:
    return float(np.linalg.slogdet(matrix)[1])


def _by_integration(first: tuple[Array, Array], second: tuple[Array, Array], made: Generator) -> float:
    """∫ q f(p/q) on the line, by Gauss–Legendre panels that break where p = q (f may have its kink there)."""
    at_zero, at_infinity = made.at_zero, made.at_infinity
    if at_zero is None or at_infinity is None or not math.isfinite(at_zero + at_infinity):
        raise ValueError(f"{made.name} has no closed form here, and an integral needs finite f(0) and f'(∞)")
    (m1, S1), (m2, S2) = first, second
    if m1.size == 1:
        line = float(m1[0]), math.sqrt(S1[0, 0]), float(m2[0]), math.sqrt(S2[0, 0])
    elif np.array_equal(S1, S2):
        line = separation(m1, S1, m2, S2), 1.0, 0.0, 1.0  # the direction S⁻¹Δ is sufficient
    else:
        raise ValueError(f"{made.name} of two Gaussians needs one dimension or equal covariances")
    mu1, s1, mu2, s2 = _in_units_of_the_narrower(*line)
    ends = [mu + side * s for mu, s in ((mu1, s1), (mu2, s2)) for side in np.linspace(-TAIL, TAIL, 29)]
    breaks = np.unique(np.concatenate([ends, _crossings(mu1, s1, mu2, s2)]))
    _, dx = gauss_legendre(breaks, PANEL_POINTS)
    # each from its own mean: beside a far one a point has few digits
    p, q = (normal_density(gauss_legendre(breaks - mu, PANEL_POINTS)[0] / s) / s for mu, s in ((mu1, s1), (mu2, s2)))
    both = (p > 0) & (q > 0)
    values = np.where(both, made.perspective(np.where(both, p, 1.0), np.where(both, q, 1.0)), 0.0)
    values += np.where(q == 0, at_infinity * p, 0.0) + np.where(p == 0, at_zero * q, 0.0)
    return min(max(0.0, float(np.sum(dx * values))), at_zero + at_infinity)  # its range, for any two laws


def _in_units_of_the_narrower(mu1: float, s1: float, mu2: float, s2: float) -> tuple[float, float, float, float]:
    """Means and deviations where the narrower one is N(0, 1), which changes no divergence: near another mean the points
    a small deviation apart would be one."""
    if s1 <= s2:
        return 0.0, 1.0, (mu2 - mu1) / s1, s2 / s1
    return (mu1 - mu2) / s2, s1 / s2, 0.0, 1.0


def _crossings(mu1: float, s1: float, mu2: float, s2: float) -> list[float]:
    """Real x with equal densities: at most two."""
    a = 1.0 / s2**2 - 1.0 / s1**2
    b = 2.0 * (mu1 / s1**2 - mu2 / s2**2)
    c = (mu2 / s2) ** 2 - (mu1 / s1) ** 2 + 2.0 * math.log(s2 / s1)
    if a == 0.0:
        return [] if b == 0.0 else [-c / b]
    discriminant = b * b - 4.0 * a * c
    if discriminant <= 0.0:
        return []
    # the root of larger modulus first, the other from the product of the roots: no cancellation
    large = -0.5 * (b + math.copysign(math.sqrt(discriminant), b))
    return [large / a, c / large] if large != 0.0 else [0.0]
