"""How far apart two classes lie: silhouette and distance by their definitions, their means by other rules."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import digamma
from scipy.stats import multivariate_normal, norm, spearmanr

from theory.divergences import separation
from theory.divergences.gaussian import bhattacharyya_gaussian


def test_silhouette_by_its_definition(rng):
    points = rng.normal(size=(15, 3))
    labels = np.array([0] * 6 + [1] * 9)
    scores = []
    for i in range(15):
        distance = np.linalg.norm(points - points[i], axis=1)
        own = [distance[j] for j in range(15) if labels[j] == labels[i] and j != i]
        other = [distance[j] for j in range(15) if labels[j] != labels[i]]
        a, b = np.mean(own), np.mean(other)
        scores.append((b - a) / max(a, b))
    assert separation.silhouette(points, labels) == pytest.approx(np.mean(scores), abs=1e-12)
    assert separation.silhouette(np.array([[0.0], [0.0], [1.0], [1.0]]), [0, 0, 1, 1]) == pytest.approx(1.0)
    assert separation.silhouette(np.array([[0.0], [1.0], [2.0]]), ["a", "b", "b"]) == pytest.approx((0 + 0 + 0.5) / 3)


def test_expected_silhouette_by_sampling(rng):
    assert separation.expected_silhouette(0.0, 3) == pytest.approx(0.0, abs=1e-9)
    for dimension in (1, 3):
        labels = np.repeat([0, 1], 1500)
        points = rng.normal(size=(3000, dimension)) + 2.0 * labels[:, None] * np.eye(dimension)[0]
        assert separation.silhouette(points, labels) == pytest.approx(
            separation.expected_silhouette(2.0, dimension), abs=0.02
        )


@pytest.mark.parametrize("gap", [0.5, 2.0, -2.0, 12.0])
def test_expected_silhouette_by_another_rule(gap):
    """A point's mean distance to a standard Gaussian in closed form, and sums over fine grids that meet half-way."""
    u = np.linspace(-24.0, 24.0, 4801)[:-1] + 0.005 + gap / 2
    line = lambda x: x * (2.0 * norm.cdf(x) - 1.0) + 2.0 * norm.pdf(x)
    a, b = line(u), line(u - gap)
    expected = 0.01 * np.sum(norm.pdf(u) * (b - a) / np.maximum(a, b))
    assert separation.expected_silhouette(gap, 1) == pytest.approx(expected, abs=1e-9)
    radius = np.linspace(0.0, 9.0, 451)[:-1] + 0.01
    space = lambda s: (s + 1.0 / s) * (2.0 * norm.cdf(s) - 1.0) + 2.0 * norm.pdf(s)
    u = u[::4] + 0.015
    a, b = (space(np.hypot(u[:, None] - centre, radius)) for centre in (0.0, gap))
    weights = np.outer(0.04 * norm.pdf(u), 0.02 * radius * np.exp(-0.5 * radius**2))
    assert separation.expected_silhouette(gap, 3) == pytest.approx(
        np.sum(weights * (b - a) / np.maximum(a, b)), abs=5e-5
    )


def test_class_separation_uses_what_it_says(rng):
    shapes = np.diag([4.0, 1.0, 0.25])
    points = np.vstack(
        [rng.multivariate_normal([0, 0, 0], shapes, 300), rng.multivariate_normal([0, 0, 2], shapes, 200)]
    )
    labels = np.array(["safe"] * 300 + ["harmful"] * 200)
    full = separation.class_separation(points, labels)
    fitted = separation.fit_gaussian(points[:300]), separation.fit_gaussian(points[300:])
    assert full.bhattacharyya == pytest.approx(bhattacharyya_gaussian(*fitted[0], *fitted[1]))
    assert full.silhouette == pytest.approx(separation.silhouette(points, labels))
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turned = separation.class_separation(points @ rotation, labels, components=2)
    assert turned.bhattacharyya == pytest.approx(
        separation.class_separation(points, labels, components=2).bhattacharyya, rel=1e-8
    )
    assert separation.class_separation(points, labels, components=1).bhattacharyya < 0.2 * full.bhattacharyya
    shrunk = separation.fit_gaussian(points[:300], shrinkage=1.0)[1]
    np.testing.assert_allclose(shrunk, np.trace(np.cov(points[:300].T)) / 3 * np.eye(3), rtol=1e-12)


def test_bhattacharyya_is_minus_the_log_affinity(rng):
    first, second = multivariate_normal([0, 1], [[1, 0.3], [0.3, 2]]), multivariate_normal([1, 0], [[1.5, 0], [0, 0.7]])
    points = rng.multivariate_normal(first.mean, first.cov, 200_000)
    ratios = np.exp(0.5 * (second.logpdf(points) - first.logpdf(points)))
    exact = bhattacharyya_gaussian(first.mean, first.cov, second.mean, second.cov)
    assert -math.log(ratios.mean()) == pytest.approx(exact, abs=4 * ratios.std() / math.sqrt(200_000))


def test_pca_follows_variance_not_classes():
    wide = np.diag([9.0, 4.0, 0.04])
    apart = np.array([0.0, 0.0, 1.0])
    assert bhattacharyya_gaussian(apart, wide, 0 * apart, wide) == pytest.approx(1 / 0.04 / 8)
    assert separation.projected_distance(apart, wide, 0 * apart, wide, 2) == pytest.approx(0.0, abs=1e-12)
    assert separation.projected_distance(apart, wide, 0 * apart, wide, 3) == pytest.approx(1 / 0.04 / 8)
    axes = separation.principal_axes(wide, 2)
    np.testing.assert_allclose(axes.T @ axes, np.eye(2), atol=1e-12)
    assert separation.bhattacharyya_bias(2, 0.0, 100) == pytest.approx((2 * 3 / 8 + 2 / 4) / 100)


@pytest.mark.parametrize(("d", "gap"), [(1, 0.0), (1, 3.0), (4, 2.0)])
def test_the_bias_of_the_plug_in_distance_is_its_exact_mean(d, gap):
    """E S̄⁻¹ = kS⁻¹/(k − d − 1) and E log det(kS) = Σ ψ((k − i)/2) + d log 2 of a Wishart law of k degrees."""

    def log_det(k: int) -> float:
        return sum(float(digamma((k - i) / 2)) for i in range(d)) + d * math.log(2.0 / k)

    n = 20_000
    squared = (gap**2 + 2 * d / n) * (2 * n - 2) / (2 * n - 2 - d - 1)
    mean = squared / 8 + 0.5 * log_det(2 * n - 2) - 0.5 * log_det(n - 1)
    assert n * separation.bhattacharyya_bias(d, gap, n) == pytest.approx(n * (mean - gap**2 / 8), rel=1e-3)


def test_rank_correlation_with_ties(rng):
    x = rng.integers(0, 5, size=30).astype(float)
    y = x + rng.normal(size=30)
    found = separation.rank_correlation(x, y)
    assert found.value == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    half = norm.ppf([0.025, 0.975]) * math.sqrt((1 + found.value**2 / 2) / 27)
    assert (found.low, found.high) == pytest.approx(tuple(np.tanh(np.arctanh(found.value) + half)))
    assert separation.rank_correlation([1, 2, 3, 4], [1, 4, 9, 16]).value == 1.0


def test_a_silhouette_is_the_same_far_from_the_origin():
    points, labels = np.array([[0.0], [1.0], [10.0], [11.0]]), [0, 0, 1, 1]
    near = separation.silhouette(points, labels)
    assert near == pytest.approx((2 * (1 - 1 / 10.5) + 2 * (1 - 1 / 9.5)) / 4)
    assert separation.silhouette(points + 1e8, labels) == pytest.approx(near, abs=1e-7)


def test_in_many_dimensions_all_points_are_on_a_sphere():
    """Distances concentrate: of a = √(2d) and b = √(2d + δ²) about 1 − a/b is left, to O(1/d)."""
    for d in (1_000, 100_000, 10_000_000):  # scipy's ₁F₁ is NaN at each
        expected = 1.0 - 1.0 / math.sqrt(1.0 + 9.0**2 / (2.0 * d))
        assert separation.expected_silhouette(9.0, d) == pytest.approx(expected, rel=2.0 / d)
