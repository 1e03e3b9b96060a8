"""Survivors of jointly Gaussian scores and rewards."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from theory.best_of_n.gaussian import _sequence, _threshold, survivors


def test_after_one_cut_the_law_has_a_truncated_normal_s_mean():
    """E[R | S > z] = correlation · φ(z)/(1 − Φ(z))."""
    fractions = np.array([[0.0], [0.3], [0.8]])
    laws = survivors(np.array([[4.0, 1.2], [1.2, 1.0]]), fractions)
    np.testing.assert_allclose(laws.masses.sum(axis=1), 1.0, rtol=1e-12)
    cut = norm.ppf(fractions[:, 0])
    assert laws.masses @ laws.nodes == pytest.approx(0.6 * norm.pdf(cut) / norm.sf(cut), abs=2e-4)


@pytest.mark.parametrize("fraction", [1e-9, 0.1, 0.5, 0.999, 1.0 - 1e-9])
@pytest.mark.parametrize(
    ("apart", "pivot"), [(0.3, 1.0), (5.0, 0.05), (1e3, 0.02)]
)  # far apart: several flat stretches
def test_below_a_threshold_lies_its_share_of_the_mixture(fraction, apart, pivot, rng):
    mean, weights = apart * rng.integers(-2, 3, (7, 4)), rng.random((7, 4)) ** 6
    cut = _threshold(mean, pivot, weights, fraction)
    below = np.average(norm.cdf(cut, mean, pivot), weights=weights)
    assert below == pytest.approx(fraction, rel=1e-6, abs=1e-12) or 1.0 - below == pytest.approx(
        1.0 - fraction, rel=1e-6
    )


def test_points_turn_by_the_root_of_g_to_the_d_plus_one_is_g_plus_one():
    for d in (1, 2):
        g = max(np.roots([1.0, *[0.0] * (d - 1), -1.0, -1.0]).real)
        turned = np.outer([0.5, 1.5, 2.5], g ** -np.arange(1.0, d + 1.0)) % 1.0
        np.testing.assert_allclose(_sequence(3, d), 1.0 - np.abs(2.0 * turned - 1.0), atol=1e-12)
