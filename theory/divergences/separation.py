"""How far apart two classes of representations lie: Bhattacharyya distance of fitted Gaussians, and silhouette.

The metric takes one vector per prompt (last layer, last token), two classes (safe, harmful), and either projects on
the first principal axes of the union or keeps all coordinates and shrinks the covariances. What can go wrong, said in
numbers here: the plug-in distance is biased upwards by order d²/n (`bhattacharyya_bias`); principal axes follow
variance, not classes, so that a class axis of small variance is lost (`projected_distance`); the silhouette depends on
the scale of the axes, the distance does not.

Points (n, d), labels (n,) of two values. Source of the metric: Haldar, Wang, Song, Lin, Xing (arXiv 2502.00657),
section 5; the bias and the expected silhouette ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln, ndtri
from scipy.stats import rankdata

from theory.divergences.gaussian import bhattacharyya_gaussian, check_gaussian
from theory.numerics import gauss_legendre, normal_density
from theory.validate import Array, check_between, check_positive


@dataclass(frozen=True)
class Separation:
    """Bhattacharyya distance of the two fitted Gaussians (≥ 0) and mean silhouette (in [−1, 1]) of the points."""

    bhattacharyya: float
    silhouette: float


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's ρ with a confidence interval [low, high]."""

    value: float
    low: float
    high: float


def class_separation(
    points: ArrayLike, labels: ArrayLike, *, components: int | None = None, shrinkage: float = 0.0
) -> Separation:
    """Bhattacharyya distance and silhouette of two labelled classes of points.

    components  project on that many principal axes of all points first; None: all coordinates
    shrinkage   s in [0, 1]: each covariance becomes (1 − s)·S + s·(tr S/d)·I

    ValueError if a class is absent or has too few points for its covariance to be positive definite (d + 1 without
    shrinkage).
    """
    X, first = _classes(points, labels)
    if components is not None:
        X = (X - X.mean(axis=0)) @ principal_axes(np.cov(X, rowvar=False), components)
    fitted = [fit_gaussian(X[members], shrinkage) for members in (first, ~first)]
    return Separation(bhattacharyya_gaussian(*fitted[0], *fitted[1]), silhouette(X, labels))


def fit_gaussian(points: ArrayLike, shrinkage: float = 0.0) -> tuple[Array, Array]:
    """Mean (d,) and covariance (d, d), divisor n − 1, shrunk towards (tr S/d)·I by `shrinkage` in [0, 1]."""
    X = _points(points)
    if X.shape[0] < 2:
        raise ValueError(f"a covariance needs two points or more, got {X.shape[0]}")
    check_between("shrinkage", shrinkage)
    S = np.atleast_2d(np.cov(X, rowvar=False))
    d = S.shape[0]
    return X.mean(axis=0), (1.0 - shrinkage) * S + shrinkage * (np.trace(S) / d) * np.eye(d)


def principal_axes(cov: ArrayLike, components: int) -> Array:
    """(d, components) orthonormal eigenvectors of the largest eigenvalues, each with its largest entry positive."""
    S = np.atleast_2d(np.asarray(cov, dtype=np.float64))
    if not 1 <= components <= S.shape[0]:
        raise ValueError(f"components = {components} must be between 1 and {S.shape[0]}")
    axes = np.linalg.eigh(S)[1][:, ::-1][:, :components]
    return axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(components)])


def silhouette(points: ArrayLike, labels: ArrayLike) -> float:
    """Mean over points of (b − a)/max(a, b): a the mean distance to the own class (without itself), b to the other.

    Euclidean; a point alone in its class counts 0, as does one with a = b = 0.
    """
    X, first = _classes(points, labels)
    X = X - X.mean(axis=0)  # far from 0 squares would cancel
    squares = np.sum(X**2, axis=1)
    distances = squares[:, None] + squares
    distances -= 2.0 * X @ X.T
    np.sqrt(np.maximum(distances, 0.0, out=distances), out=distances)
    np.fill_diagonal(distances, 0.0)  # rounding leaves √1e-16 there
    sums = np.stack([first, ~first]).astype(float) @ distances
    sizes = np.array([first.sum(), (~first).sum()])
    own = np.where(first, 0, 1)
    rows = np.arange(X.shape[0])
    alone = sizes[own] == 1
    a = sums[own, rows] / np.where(alone, 1, sizes[own] - 1)
    b = sums[1 - own, rows] / sizes[1 - own]
    larger = np.maximum(a, b)
    return float(np.mean(np.where(alone | (larger == 0), 0.0, (b - a) / np.where(larger > 0, larger, 1.0))))


def projected_distance(mean1: ArrayLike, cov1: ArrayLike, mean2: ArrayLike, cov2: ArrayLike, components: int) -> float:
    """Bhattacharyya distance after the principal axes of the even mixture of two Gaussians: PCA in the limit."""
    (m1, S1), (m2, S2) = check_gaussian("1", mean1, cov1), check_gaussian("2", mean2, cov2)
    delta = m1 - m2
    axes = principal_axes(0.5 * (S1 + S2) + 0.25 * np.outer(delta, delta), components)
    return bhattacharyya_gaussian(axes.T @ m1, axes.T @ S1 @ axes, axes.T @ m2, axes.T @ S2 @ axes)


def bhattacharyya_bias(dimension: int, separation: float, n: int) -> float:
    """Expected plug-in Bhattacharyya distance minus the true one, n points per class, equal covariances, to O(1/n).

    [d(d+1)/8 + d/4 + (d+1)δ²/16]/n, δ the Mahalanobis distance: from the two log-determinants, the two means and the
    inverse of the pooled covariance. (With E the relative error of a covariance, E tr E² = d(d+1)/n.)
    """
    d = dimension
    return (d * (d + 1) / 8.0 + d / 4.0 + (d + 1) * separation**2 / 16.0) / check_positive("n", n)


def expected_silhouette(separation: float, dimension: int) -> float:
    """E[(b − a)/max(a, b)] for two isotropic Gaussians at Mahalanobis distance `separation`, many points each.

    a and b are mean distances to a Gaussian. One integral over the class axis and one over the radius across it,
    Gauss–Legendre panels, about 1e-9.
    """
    d, half = int(dimension), 0.5 * abs(separation)

    # half-way between the centres is a kink, and mirroring there exchanges a and b: the further side is enough
    # v is counted from the nearer centre: far apart, no digit is lost
    v, dv = gauss_legendre(np.linspace(max(-half, -9.0), 9.0, 13), 12)
    density = (normal_density(v) - normal_density(v + 2.0 * half)) * dv
    if d == 1:
        across, mass = np.zeros(1), np.ones(1)
    else:
        across, step = gauss_legendre(np.linspace(max(0.0, math.sqrt(d) - 9.0), math.sqrt(d) + 9.0, 9), 12)
        k = 0.5 * (d - 1)  # the radius across is chi with d − 1 degrees of freedom
        mass = np.exp((2 * k - 1) * np.log(across) - 0.5 * across**2 - gammaln(k) - (k - 1) * math.log(2.0)) * step
    near = _mean_distance(v[:, None] ** 2 + across**2, d)
    far = _mean_distance((v[:, None] + 2.0 * half) ** 2 + across**2, d)
    return float(density @ ((far - near) / far) @ mass)


def _mean_distance(square: Array, d: int) -> Array:
    """E‖x − Z‖ of a standard Gaussian Z in d dimensions where ‖x‖² = `square`.

    √(2/π) ∫₀^{π/2} cosᵈθ exp(−‖x‖² sin²θ/2) (d + ‖x‖² cos²θ) dθ, from √X = ∫(1 − e^{−tX}) t^{−3/2} dt/(2√π) with
    2t = tan²θ, by parts. (It is √2 Γ((d+1)/2)/Γ(d/2)·₁F₁(−½; d/2; −‖x‖²/2), of which scipy's is NaN at d = 100.)
    """
    nodes, weights = gauss_legendre(np.linspace(0.0, 1.0, 4), 12)
    reach = np.minimum(9.0 / np.sqrt(d + square), 0.5 * math.pi)[..., None]  # beyond 9 widths is less than 1e-17
    sine2 = np.sin(reach * nodes) ** 2
    log_term = 0.5 * d * np.log1p(-sine2) - 0.5 * square[..., None] * sine2
    total = (np.exp(log_term) * (d + square[..., None] * (1.0 - sine2))) @ weights
    return math.sqrt(2.0 / math.pi) * reach[..., 0] * total


def rank_correlation(x: ArrayLike, y: ArrayLike, confidence: float = 0.95) -> RankCorrelation:
    """Spearman's ρ (ties at mid-ranks) and its interval: Fisher's z ± quantile·√((1 + ρ²/2)/(n − 3)).

    Variance of z: Bonett, Wright (Psychometrika 2000). At least four pairs; ValueError if x or y is constant.
    """
    ranks = [_mid_ranks(name, values) for name, values in (("x", x), ("y", y))]
    n = ranks[0].size
    if ranks[1].size != n or n < 4:
        raise ValueError(f"x and y need the same length, four or more; got {n} and {ranks[1].size}")
    check_between("confidence", confidence, ends="()")
    first, second = (rank - rank.mean() for rank in ranks)
    rho = float(first @ second / math.sqrt((first @ first) * (second @ second)))
    rho = min(1.0, max(-1.0, rho))
    if abs(rho) == 1.0:
        return RankCorrelation(rho, rho, rho)
    half = float(ndtri(0.5 + 0.5 * confidence)) * math.sqrt((1.0 + 0.5 * rho**2) / (n - 3))
    return RankCorrelation(rho, math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half))


def _mid_ranks(name: str, values: ArrayLike) -> Array:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not np.isfinite(x).all():
        raise ValueError(f"{name} must be a finite vector")
    if np.unique(x).size < 2:
        raise ValueError(f"{name} is constant: it has no ranks to correlate")
    return np.asarray(rankdata(x))


def _points(points: ArrayLike) -> Array:
    X = np.asarray(points, dtype=np.float64)
    if X.ndim != 2 or X.size == 0:
        raise ValueError(f"points must be (n, d), got shape {X.shape}")
    if not np.isfinite(X).all():
        i, j = np.argwhere(~np.isfinite(X))[0]
        raise ValueError(f"points[{i}, {j}] = {X[i, j]} is not finite")
    return X


def _classes(points: ArrayLike, labels: ArrayLike) -> tuple[Array, np.ndarray]:
    """Points and the mask of the class that sorts first; ValueError unless there are exactly two classes."""
    X = _points(points)
    named = np.asarray(labels)
    if named.shape != (X.shape[0],):
        raise ValueError(f"labels must be ({X.shape[0]},), got shape {named.shape}")
    values = np.unique(named)
    if values.size != 2:
        raise ValueError(f"two classes are needed, the labels hold {values.tolist()}")
    return X, named == values[0]
