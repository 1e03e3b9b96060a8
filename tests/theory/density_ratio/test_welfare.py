"""The law of winners can be worse than the law it was drawn from, against a grid of two types and all μ."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from theory.density_ratio.welfare import consistency_factor


@pytest.mark.parametrize(
    ("bt_beta", "expected"), [(5.0, 1.0138), (10.0, 1.047), (20.0, 1.105), (50.0, 1.224), (100.0, 1.352)]
)
def test_the_factor_is_the_worst_of_a_grid(bt_beta, expected):
    found = consistency_factor(bt_beta)
    assert found == pytest.approx(expected, abs=6e-4)
    w, e, p = np.meshgrid(np.linspace(0.02, 0.6, 117), np.geomspace(0.005, 1, 120), np.linspace(0.02, 0.98, 97))
    rate = w * expit(-bt_beta) + (1 - w) * expit(bt_beta * e)  # of x, worth (0, e), over y, worth (1, 0)
    before = p * (1 - w) * e + (1 - p) * w
    winner_x = p**2 + 2 * p * (1 - p) * rate
    after = winner_x * (1 - w) * e + (1 - winner_x) * w
    assert float((before / after).max()) == pytest.approx(found, rel=1e-3)
    assert float((before / after).max()) <= found * (1 + 1e-9)


@pytest.mark.parametrize(
    ("bt_beta", "more"), [(0.1, 4.36987e-10), (0.3, 1.047205e-7), (0.5, 1.310142e-6), (1.0, 3.703313e-5)]
)
def test_faint_users_lose_little_but_not_nothing(bt_beta, more):
    """By the formula in 40 digits, at the best of a grid of e and 1 − t down to 1e-12."""
    assert consistency_factor(bt_beta) - 1.0 == pytest.approx(more, rel=1e-6, abs=1e-15)


def test_a_wrong_beta_is_named():
    with pytest.raises(ValueError, match="bt_beta = -1"):
        consistency_factor(-1.0)
