"""Divergences between Gaussians: against integrals, and special cases."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from theory.divergences import gaussian
from theory.divergences.generators import GENERATORS, Generator, alpha_divergence

EVERY_GENERATOR = [*GENERATORS.values(), *map(alpha_divergence, (-1.3, -1.0, 0.3, 0.5, 2.0, 3.0))]
CASES = [(0.3, 0.8, -0.4, 1.3), (1.0, 1.0, 0.0, 1.0), (0.0, 0.5, 0.0, 1.0), (2.0, 1.5, -1.0, 1.2)]


@pytest.mark.parametrize(("m1", "s1", "m2", "s2"), CASES)
def test_gaussian_divergences_are_integrals(m1, s1, m2, s2):
    def integral(made: Generator) -> float:
        def integrand(x: float) -> float:
            p, q = norm.pdf(x, m1, s1), norm.pdf(x, m2, s2)
            return float(made.perspective(np.array([p]), np.array([q]))[0])

        breaks = [-9.0, -4.0, -1.0, -0.1, 0.0, 0.5, 1.0, 2.0, 5.0, 10.0]
        return sum(quad(integrand, a, b, epsabs=1e-11)[0] for a, b in pairwise(breaks))

    for made in EVERY_GENERATOR:
        exact = gaussian.f_divergence_gaussian(m1, s1**2, m2, s2**2, made)
        diverges = made.name in ("neyman", "pearson") or (
            made.name.startswith("alpha") and not 0 < float(made.name[6:]) < 1
        )
        if diverges and s1 != s2:
            continue  # the tail beyond the range of the integral, or an infinite value: next test
        assert exact == pytest.approx(integral(made), rel=1e-6, abs=2e-7), made.name


def test_gaussian_special_cases():
    unit = np.eye(3)
    shift = np.array([1.0, 2.0, 2.0])  # δ = 3
    assert gaussian.kl_gaussian(shift, unit, np.zeros(3), unit) == pytest.approx(4.5)
    assert gaussian.bhattacharyya_gaussian(shift, unit, np.zeros(3), unit) == pytest.approx(9 / 8)
    hellinger = gaussian.f_divergence_gaussian(shift, unit, np.zeros(3), unit, "squared_hellinger")
    assert hellinger == pytest.approx(2 - 2 * math.exp(-9 / 8))
    assert gaussian.f_divergence_gaussian(shift, unit, np.zeros(3), unit, "pearson") == pytest.approx(math.expm1(9.0))
    assert gaussian.f_divergence_gaussian(shift, unit, np.zeros(3), unit, "tv") == pytest.approx(2 * norm.cdf(1.5) - 1)
    assert gaussian.jensen_shannon_gaussian(shift, unit, np.zeros(3), unit) == pytest.approx(
        gaussian.jensen_shannon_gaussian(3.0, 1.0, 0.0, 1.0), abs=1e-13
    )
    assert gaussian.f_divergence_gaussian(0.0, 1.0, 0.0, 4.0, "neyman") == math.inf
    assert gaussian.f_divergence_gaussian(0.0, 4.0, 0.0, 1.0, "pearson") == math.inf
    assert gaussian.log_affinity(0.0, 0.3, 2.0, 1.0, 1.0) == pytest.approx(0.0, abs=1e-15)
    assert gaussian.log_affinity(1.0, 0.3, 2.0, 1.0, 1.0) == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("spread", [1.1, 3.0])
def test_independent_coordinates_add_up(spread, rng):
    """In any basis: KL and the log-affinities of a product are the sums of those of its lines, which are these."""
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    delta, first, second = np.array([0.3, -0.2, 0.5]), np.array([1.0, 0.4, 2.0]), np.array([1.0, 0.4, 2.0])
    first = first * np.array([spread, 1.0 / spread, 1.05])
    cov1, cov2 = (turn @ np.diag(variances) @ turn.T for variances in (first, second))
    mean1, mean2 = turn @ delta, np.zeros(3)
    kl = sum(0.5 * (a / b - 1 + d**2 / b - math.log(a / b)) for a, b, d in zip(first, second, delta, strict=True))
    assert gaussian.kl_gaussian(mean1, cov1, mean2, cov2) == pytest.approx(kl, rel=1e-12)
    for order in (-0.2, 0.5, 1.4):
        expected = 0.0
        for a, b, d in zip(first, second, delta, strict=True):
            precision = order / a + (1 - order) / b  # p^a q^{1−a} is a normal density with it, times a constant
            centre = order * d / a / precision
            log_constant = 0.5 * (precision * centre**2 - order * d**2 / a)
            expected += log_constant - 0.5 * (order * math.log(a) + (1 - order) * math.log(b) + math.log(precision))
        assert gaussian.log_affinity(order, mean1, cov1, mean2, cov2) == pytest.approx(expected, rel=1e-11)
        if order == 0.5:
            assert gaussian.bhattacharyya_gaussian(mean1, cov1, mean2, cov2) == pytest.approx(-expected, rel=1e-11)
    apart = sum(d**2 / (0.5 * (a + b)) for a, b, d in zip(first, second, delta, strict=True))
    assert gaussian.separation(mean1, cov1, mean2, cov2) == pytest.approx(math.sqrt(apart), rel=1e-12)


@pytest.mark.parametrize(("m1", "s1", "m2", "s2"), [*CASES, (0.0, 2.0, 0.0, 1.0), (-1.0, 0.3, 0.4, 3.0), (5, 1, 0, 1)])
def test_total_variation_breaks_where_densities_cross(m1, s1, m2, s2):
    """Between the crossings of a fine grid's sign changes, refined, it is a difference of normal probabilities."""
    gap = lambda x: norm.logpdf(x, m1, s1) - norm.logpdf(x, m2, s2)
    grid = np.linspace(-12.0, 12.0, 997)
    roots = [brentq(gap, a, b, xtol=1e-15) for a, b in pairwise(grid) if gap(a) * gap(b) < 0]
    inside = np.diff([0.0, *(norm.cdf(x, m1, s1) - norm.cdf(x, m2, s2) for x in roots), 0.0])
    expected = 0.5 * np.abs(inside).sum()
    assert gaussian.f_divergence_gaussian(m1, s1**2, m2, s2**2, "tv") == pytest.approx(expected, abs=1e-14)


def test_determinants_do_not_underflow():
    d = 400
    value = gaussian.bhattacharyya_gaussian(np.zeros(d), 1e-3 * np.eye(d), np.zeros(d), 2e-3 * np.eye(d))
    assert value == pytest.approx(d * (0.5 * math.log(1.5) - 0.25 * math.log(2)), rel=1e-12)


@pytest.mark.parametrize(
    "cov", [[[1.0, 1.0], [1.0, 1.0]], np.diag([1.0, 1e-16]), np.cov([[0.0, 1, 2], [1, 3, 5.5], [2, 2, 9]])]
)
def test_a_covariance_that_is_singular_up_to_rounding_is_refused(cov):
    d = len(cov)
    for first, second, name in ((cov, np.eye(d), "cov1"), (np.eye(d), cov, "cov2")):
        with pytest.raises(ValueError, match=f"{name} is not positive definite"):
            gaussian.bhattacharyya_gaussian(np.zeros(d), first, np.ones(d), second)


def test_variances_far_apart_have_a_distance_without_an_overflow():
    assert gaussian.kl_gaussian(0.0, 1.0, 1e149, 1e-100) == math.inf
    found = gaussian.bhattacharyya_gaussian([0.0], 1e308, [1.0], 0.04)  # log((1 + λ)/(2√λ))/2, λ = 2.5e309
    assert found == pytest.approx(0.25 * (math.log(1e308) - math.log(0.04)) - 0.5 * math.log(2.0), rel=1e-12)


@pytest.mark.parametrize(("mean", "deviation"), [(0.5, 1e-12), (2.0, 1e-12), (0.5, 1e9), (1e9, 0.7), (1e9, 1e-12)])
def test_gaussians_of_far_scales_keep_their_digits(mean, deviation):
    narrow, wide = min(deviation, 1.0), max(deviation, 1.0)
    half = (
        math.sqrt(2.0 * math.log(wide / narrow)) * narrow
    )  # where they cross, in what the narrower one sees of the other
    overlap = 2.0 * norm.sf(half / narrow) + 2.0 * half * norm.pdf(mean / wide) / wide if abs(mean) < 9 * wide else 0.0
    for first, second in (((mean, deviation**2), (0.0, 1.0)), ((0.0, 1.0), (mean, deviation**2))):
        tv = gaussian.f_divergence_gaussian(*first, *second, "tv")
        assert 1.0 - tv == pytest.approx(overlap, rel=0.2, abs=1e-15)
        js = gaussian.jensen_shannon_gaussian(*first, *second)
        assert math.log(2.0) - 10 * overlap - 1e-15 <= js <= math.log(2.0) - overlap / 2.0 + 1e-15
