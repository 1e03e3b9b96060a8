"""theory/factors.py: published values, a second implementation in 60 digits, the order of the factors."""

from __future__ import annotations

import itertools
import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory.distortion.factors import (
    borda_factor,
    borda_lower_factor,
    borda_upper_factor,
    gamma_advantage,
    linear_factor,
    linear_slope,
    optimal_gamma,
    root_gap,
)

FUNCTIONS = (
    linear_slope,
    linear_factor,
    borda_lower_factor,
    borda_upper_factor,
    optimal_gamma,
    borda_factor,
    gamma_advantage,
    root_gap,
)

#: L(β), C(β, log(β+1)/β) and K*(β) to the digits that were published or found by the first computation.
LINEAR = {1: 1.0819767, 2: 1.3130353, 5: 2.5339183, 10: 5.0004540, 20: 10.0000000}
BORDA_LOWER = {2: 1.453808, 5: 3.460382, 10: 7.968821, 20: 17.568648, 50: 47.072549}
BORDA = {1: 1.115039, 2: 1.453963, 5: 3.477656, 10: 8.029636, 20: 17.668387, 50: 47.202466}

#: Accuracy promised by the module, with room for the reference's own conversion to float64.
ACCURACY = 2e-15


def decimal_factors(bt_beta: float) -> dict[str, float]:
    """Every factor straight from its definition with σ, in 60 digits (cancellation costs some 30)."""
    with localcontext() as context:
        context.prec = 60
        beta = Decimal(bt_beta)
        half = Decimal(1) / 2

        def margin(x: Decimal) -> Decimal:
            return 1 / (1 + (-beta * x).exp()) - half

        B = margin(Decimal(1))
        root = (1 - 4 * B / beta).sqrt()
        q = (1 + root) / 2
        gamma = (q / (1 - q)).ln() / beta
        published = (1 + beta).ln() / beta
        linear = beta / 4 / B
        return {
            "linear_slope": float(B / beta),
            "linear_factor": float(linear),
            "borda_lower_factor": float(linear * (1 - published + margin(published) / B)),
            "borda_upper_factor": float(min(linear * linear, 2 * linear)),
            "optimal_gamma": float(gamma),
            "borda_factor": float(linear * (1 - gamma + margin(gamma) / B)),
            "gamma_advantage": float(margin(gamma) / B - gamma),
            "root_gap": float(root),
        }


def test_linear_factor_has_its_published_values():
    for bt_beta, value in LINEAR.items():
        assert linear_factor(bt_beta) == pytest.approx(value, abs=6e-8)


def test_borda_lower_factor_has_its_published_values():
    for bt_beta, value in BORDA_LOWER.items():
        assert borda_lower_factor(bt_beta) == pytest.approx(value, abs=6e-7)


def test_borda_factor_has_its_known_values():
    for bt_beta, value in BORDA.items():
        assert borda_factor(bt_beta) == pytest.approx(value, abs=6e-7)


@pytest.mark.parametrize("bt_beta", [*np.logspace(-6, 4, 41), 0.999, 2.0, 2.001, 3.83, 700.0])
def test_every_factor_agrees_with_sixty_digits(bt_beta):
    reference = decimal_factors(float(bt_beta))
    for function in FUNCTIONS:
        value = function(float(bt_beta))
        assert value == pytest.approx(reference[function.__name__], rel=ACCURACY, abs=0), function.__name__


def test_order_of_the_factors():
    for bt_beta in np.logspace(-6, 4, 2001):
        chain = (
            1.0,
            linear_factor(bt_beta),
            borda_lower_factor(bt_beta),
            borda_factor(bt_beta),
            borda_upper_factor(bt_beta),
        )
        for smaller, larger in itertools.pairwise(chain):
            assert smaller <= larger * (1 + ACCURACY), (bt_beta, chain)
    # Strictly, where float64 can tell.
    for bt_beta in np.logspace(-1, 3, 41):
        assert linear_factor(bt_beta) < borda_lower_factor(bt_beta) < borda_factor(bt_beta)
        assert borda_factor(bt_beta) < borda_upper_factor(bt_beta)


@given(st.floats(-3, 3), st.floats(0, 1))
def test_optimal_gamma_maximises_the_lower_factor(log_beta, gamma):
    bt_beta = 10.0**log_beta
    best = borda_lower_factor(bt_beta, optimal_gamma(bt_beta))
    assert borda_lower_factor(bt_beta, gamma) <= best * (1 + ACCURACY)
    assert best == pytest.approx(borda_factor(bt_beta), rel=ACCURACY)


@pytest.mark.parametrize("bt_beta", [0.01, 1.0, 10.0, 300.0])
def test_optimal_gamma_solves_its_equation(bt_beta):
    """φ'(γ*) = B, i.e. β q (1 − q) = σ(β) − ½ with q = σ(βγ*)."""
    q = 1 / (1 + math.exp(-bt_beta * optimal_gamma(bt_beta)))
    assert bt_beta * q * (1 - q) == pytest.approx(math.tanh(bt_beta / 2) / 2, rel=1e-12)


def test_limits():
    """K* = 1 + β²(1/12 + 1/(18√3)) + O(β⁴), and K* = β − ½ log(2β) − ½ + o(1)."""
    assert borda_factor(1e-6) == pytest.approx(1.0, abs=1e-12)
    assert (borda_factor(1e-3) - 1) / 1e-6 == pytest.approx(1 / 12 + 1 / (18 * math.sqrt(3)), rel=1e-6)
    assert optimal_gamma(1e-6) == pytest.approx(1 / math.sqrt(3), rel=1e-12)
    for bt_beta in (700.0, 1e4, 1e6):
        # The rest is O(1/β).
        assert abs(borda_factor(bt_beta) - (bt_beta - 0.5 * math.log(2 * bt_beta) - 0.5)) < 9 / bt_beta
    assert borda_lower_factor(1e300) == pytest.approx(1e300, rel=1e-12)


def test_the_upper_bounds_cross_where_L_is_2():
    assert borda_upper_factor(3.82) == linear_factor(3.82) ** 2
    assert borda_upper_factor(3.84) == 2 * linear_factor(3.84)


def test_gamma_at_both_ends_gives_the_linear_factor():
    for bt_beta in (0.1, 3.0, 40.0):
        assert borda_lower_factor(bt_beta, 0.0) == linear_factor(bt_beta)
        assert borda_lower_factor(bt_beta, 1.0) == pytest.approx(linear_factor(bt_beta), rel=ACCURACY)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_bad_bt_beta_is_named(function, bad):
    with pytest.raises(ValueError, match="bt_beta"):
        function(bad)


@pytest.mark.parametrize("bad", [-1e-9, 1.1, math.nan])
def test_bad_gamma_is_named(bad):
    with pytest.raises(ValueError, match="gamma"):
        borda_lower_factor(2.0, bad)
