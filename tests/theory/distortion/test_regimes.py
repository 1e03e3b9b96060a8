"""Cycles among many users: the correlation of margins against a plain double integral, and its known limits."""

from __future__ import annotations

import numpy as np
import pytest

from theory.distortion.regime_claims import cycle_probability, margin_correlation


@pytest.mark.parametrize("bt_beta", [1.0, 5.0, 20.0])
def test_the_correlation_of_margins_is_the_integral(bt_beta):
    u = (np.arange(2000) + 0.5) / 2000
    margin = 0.5 * np.tanh(0.5 * bt_beta * (u[:, None] - u[None, :]))
    assert margin_correlation(bt_beta) == pytest.approx(
        (margin.mean(axis=1) ** 2).mean() / (margin**2).mean(), rel=1e-5
    )


def test_limits():
    """Linear margins never cycle; votes do as under an impartial culture, 0.0877 (Guilbaud, 1952)."""
    assert cycle_probability(1e-2) == pytest.approx(0.0, abs=1e-6)
    assert cycle_probability(1e4) == pytest.approx(0.0877, abs=1e-4)


@pytest.mark.parametrize(
    ("bt_beta", "expected"),
    [
        (1e-300, 0.5),
        (1e-9, 0.5),
        (1e-6, 0.5),
        (0.1, 0.4999999826570604),
        (100.0, 0.3463543009349),
        (1e6, 0.33333466666357),
    ],
)
def test_the_correlation_at_extremes(bt_beta, expected):
    """In 40 digits. Differences of log cosh, each less accurate than their difference, gave −1.4e-5 cycles at 1e-6."""
    assert margin_correlation(bt_beta) == pytest.approx(expected, abs=2e-14)
    assert 0.0 <= cycle_probability(bt_beta) <= 0.0878


def test_a_wrong_beta_is_named():
    with pytest.raises(ValueError, match="bt_beta = 0"):
        cycle_probability(0.0)


@pytest.mark.parametrize("bt_beta", [0.3, 3.0, 10.0, 50.0])
def test_the_correlation_lies_between_its_limits_gap_by_gap(bt_beta):
    """Of three utilities in order only the two gaps count; the bounds of the proof hold for every pair of gaps."""
    low, middle, high = np.sort(np.random.default_rng(0).random((3, 400_000)), axis=0)
    a, b, c = (0.5 * np.tanh(0.5 * bt_beta * gap) for gap in (middle - low, high - middle, high - low))
    products, squares = c * (a + b) - a * b, a**2 + b**2 + c**2
    assert (2.0 * products <= squares * (1.0 + 1e-12)).all()
    assert (3.0 * products >= squares * (1.0 - 1e-12)).all()
    assert margin_correlation(bt_beta) == pytest.approx(products.mean() / squares.mean(), rel=2e-3)
    assert 1.0 / 3.0 <= margin_correlation(bt_beta) <= 0.5
