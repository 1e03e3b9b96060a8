"""Few alternatives: thresholds by linear programs and by the dual inequality on a grid, the audit of two by its own."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import beta, binom

from simulate.distortion.few import worst_borda
from tests.bad_input import bad_input_is_named
from theory.bradley_terry import Population
from theory.distortion.factors import borda_factor, linear_factor
from theory.distortion.few import (
    _first_bound,
    audit_pair,
    comparisons_needed,
    largest_at,
    minimax_beta,
    minimax_mass,
    safe_margin,
    uniform_borda_factor,
)


def dual_violation(bt_beta, together):
    """max over a grid of [0,1]³ of a − L c + (1/B)[m φ(c−a) + (1−m)(φ(c−y) − φ(a−y))], φ by the logistic function."""
    axis = np.linspace(0.0, 1.0, 81)
    c, a, y = np.meshgrid(axis, axis, axis)
    wins = lambda z: expit(bt_beta * z) - 0.5
    B, L = float(wins(1.0)), bt_beta / 4 / float(wins(1.0))
    return float((a - L * c + (together * wins(c - a) + (1 - together) * (wins(c - y) - wins(a - y))) / B).max())


@pytest.mark.parametrize(
    ("bt_beta", "expected"), [(1.0, 0.645), (2.0, 0.589), (5.0, 0.622), (10.0, 0.8), (20.0, 0.9), (50.0, 0.96)]
)
def test_minimax_mass_is_where_the_dual_inequality_begins_to_hold(bt_beta, expected):
    found = minimax_mass(bt_beta)
    assert found == pytest.approx(expected, abs=6e-4)
    assert dual_violation(bt_beta, found) <= 1e-12
    assert dual_violation(bt_beta, 0.95 * found) > 1e-6


def test_faint_users_need_two_thirds_of_the_mass():
    """m* = ⅔(1 − β²/30) to order β⁴; and no jump where the series takes over."""
    for bt_beta in (1e-6, 0.02, 0.049):
        assert minimax_mass(bt_beta) == pytest.approx(2 / 3 * (1 - bt_beta**2 / 30), abs=max(5e-3 * bt_beta**4, 1e-12))
    assert minimax_mass(0.05) == pytest.approx(minimax_mass(0.05 - 1e-9), abs=1e-9)
    assert minimax_mass(0.03) == pytest.approx(0.6666466673095045, rel=1e-11, abs=0.0)  # in 40 digits


def test_the_largest_value_is_found_wherever_it_is():
    """Inside, between two nodes of the grid, and at either end."""
    for middle in (0.3, 0.300123, 0.9999):
        at, value = largest_at(lambda z, m=middle: 2.0 - 3.0 * (z - m) ** 2, 0.1, 1.0)
        assert at == pytest.approx(middle, abs=1e-7)
        assert value == pytest.approx(2.0, abs=1e-14)
    for slope, end in ((1.0, 0.7), (-1.0, -0.4)):
        at, value = largest_at(lambda z, s=slope: s * z, -0.4, 0.7)
        assert (at, value) == (pytest.approx(end, abs=1e-6), pytest.approx(slope * end, abs=1e-15))


def test_three_alternatives_are_few_enough_up_to_a_temperature():
    assert minimax_beta(3) == pytest.approx(5.8255, abs=1e-4)
    assert minimax_beta(2) == math.inf
    assert minimax_beta(4) == 0.0


@pytest.mark.parametrize(
    ("n_alternatives", "expected"),
    [(2, 5.0), (3, 5.257), (4, 5.762), (5, 6.124), (6, 6.389), (10, 6.979), (20, 7.477), (200, 7.972)],
)
def test_uniform_borda_factor_is_the_value_of_the_program(n_alternatives, expected):
    found = uniform_borda_factor(10.0, n_alternatives)
    assert found == pytest.approx(expected, abs=6e-4)
    assert worst_borda(10.0, 1 / n_alternatives, 2 / n_alternatives) == pytest.approx(found, rel=1e-3)


def test_uniform_borda_factor_grows_from_the_lottery_to_borda():
    assert uniform_borda_factor(5.0, 3) == pytest.approx(linear_factor(5.0), rel=1e-12)
    assert uniform_borda_factor(5.0, 10**7) == pytest.approx(borda_factor(5.0), rel=1e-5)
    # β → ∞: β/2 + α(1 − m), α = β/(2 + 2/A)
    assert uniform_borda_factor(1e12, 4) == pytest.approx(0.7e12, rel=1e-7)


def test_the_audit_of_two_against_a_program_over_types():
    axis = np.linspace(0.0, 1.0, 401)
    expected = {0.0: 2.5339, 0.02: 2.0697, 0.1: 1.2229}
    for margin, value in expected.items():
        # every pair of types (0, 1), (e, 0): the share that gives the win rate, and what y is then worth
        lift = expit(5.0 * axis[1:]) - 0.5
        share = (lift - margin) / (expit(5.0) - 0.5 + lift)
        found = audit_pair(margin, 5.0)
        assert found == pytest.approx(value, abs=1e-4)
        assert found == pytest.approx(max(1.0, (share / ((1 - share) * axis[1:])).max()), rel=6e-3)
    e = np.linspace(0.0, 1.0, 200_001)[1:]
    for bt_beta, margin in ((0.5, 0.01), (5.0, 0.02), (20.0, 0.3)):  # to the curvature of so fine a grid
        B = expit(bt_beta) - 0.5
        worst = max(1.0, ((expit(bt_beta * e) - 0.5 - margin) / (e * (B + margin))).max())
        assert audit_pair(margin, bt_beta) == pytest.approx(worst, rel=1e-8)
    assert audit_pair(-1e-9, 5.0) == math.inf
    assert audit_pair(0.49, 5.0) == 1.0


def test_as_many_comparisons_as_are_needed_and_no_fewer():
    needed = 0.5 + safe_margin(2.0, 5.0)
    assert audit_pair(needed - 0.5, 5.0) == pytest.approx(2.0, abs=1e-8)
    for rate in (0.6, 0.53):  # whole wins make the chance no monotone function of n: every smaller n is looked at
        n = np.arange(1, comparisons_needed(2.0, rate, 5.0) + 1)
        chance = binom.sf(np.ceil(rate * n - 1e-9) - 1, n, needed)
        assert chance[-1] <= 0.05 < chance[:-1].min()
    assert safe_margin(3.0, 5.0) == 0.0
    assert audit_pair(safe_margin(2.0, 1e10), 1e10) == pytest.approx(2.0, rel=1e-6)  # ½ − 5e-9
    flawless = safe_margin(1.0 + 1e-13, 5.0)
    assert audit_pair(flawless + 1e-6, 5.0) == 1.0 < audit_pair(flawless - 1e-6, 5.0)


def test_the_first_count_whose_bound_suffices():
    """Of a search by doubling: the first of all counts one after the other, also just after a power of two."""
    found = []
    for rate in np.linspace(0.62, 1.0, 40):
        found.append(_first_bound(0.55, rate, 0.0, 0.9))
        n = np.arange(1, 200)
        wins = np.minimum(n * rate, n)
        assert found[-1] == n[beta.ppf(0.1, wins, n - wins + 1) >= 0.55][0]
    assert {5, 9, 17} & set(found)


@pytest.mark.parametrize("bt_beta", [0.03, 1.0, 2.0, 50.0])
def test_the_minimax_mass_is_reached_at_an_end_at_small_and_large_beta(bt_beta):
    """The fraction's limits z → 0 and z → 1, from its values close to them in more digits."""
    with mpmath.workdps(60):
        phi = lambda z: mpmath.tanh(bt_beta * z / 2) / 2
        fraction = lambda z: (phi(z) - phi(1) * z) / (phi(z) + phi(1 - z) - phi(1))
        ends = [float(fraction(z)) for z in (mpmath.mpf(10) ** -20, 1 - mpmath.mpf(10) ** -20)]
    assert minimax_mass(bt_beta) == pytest.approx(max(ends), abs=1e-13 if bt_beta > 0.05 else 1e-10)


def test_the_audit_of_two_at_temperatures_of_any_size():
    """(φ(e) − m)/(e(B + m)) with e of order 1/β: the same number times β from about 80 on."""
    for margin in (1e-3, 0.1, 0.4):
        at = audit_pair(margin, 1e3) / 1e3
        for bt_beta in (1e6, 1e10, 1e300):
            assert audit_pair(margin, bt_beta) / bt_beta == pytest.approx(at, rel=1e-9)
    assert audit_pair(1e-16, 5.0) == pytest.approx(linear_factor(5.0), rel=1e-9)
    for bt_beta in np.geomspace(1e-8, 1e3, 300):  # what ½ + B keeps of B may be more than B
        assert audit_pair(Population([[1.0, 0.0]]).win_rates(bt_beta)[0, 1] - 0.5, bt_beta) == 1.0


@pytest.mark.parametrize("below", [1e-16, 1e-13, 1e-9])
def test_a_distortion_just_below_the_linear_factor_needs_next_to_no_margin(below):
    limit = linear_factor(5.0) * (1.0 - below)
    assert 0.0 <= safe_margin(limit, 5.0) < 1e-9
    assert comparisons_needed(limit, 0.6, 5.0) == comparisons_needed(10.0, 0.6, 5.0)


test_bad_input = bad_input_is_named(
    (lambda: audit_pair(0.5, 5.0), "margin = 0.5"),
    (lambda: safe_margin(1.0, 5.0), "distortion = 1.0"),
    (lambda: comparisons_needed(2.0, 0.52, 5.0), "win_rate = 0.52"),
    (lambda: comparisons_needed(2.0, 0.6, 5.0, 1.0), "confidence = 1.0"),
    (lambda: uniform_borda_factor(5.0, 1), "n_alternatives = 1"),
    (lambda: minimax_beta(1), "n_alternatives = 1"),
    (lambda: minimax_mass(-1.0), "bt_beta = -1"),
)
