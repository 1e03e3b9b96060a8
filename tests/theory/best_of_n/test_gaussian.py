"""Survivors of jointly Gaussian scores and rewards."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from theory.best_of_n.gaussian import survivors


def test_after_one_cut_the_law_has_a_truncated_normal_s_mean():
    """E[R | S > z] = correlation · φ(z)/(1 − Φ(z))."""
    fractions = np.array([[0.0], [0.3], [0.8]])
    laws = survivors(np.array([[4.0, 1.2], [1.2, 1.0]]), fractions)
    np.testing.assert_allclose(laws.masses.sum(axis=1), 1.0, rtol=1e-12)
    cut = norm.ppf(fractions[:, 0])
    assert laws.masses @ laws.nodes == pytest.approx(0.6 * norm.pdf(cut) / norm.sf(cut), abs=2e-4)
