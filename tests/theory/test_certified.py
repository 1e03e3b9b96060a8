"""Numbers that the paper's proofs and its text name, certified in interval arithmetic.

Every assertion is about intervals that hold the exact value, so it is a proof up to mpmath's outward rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mpmath import iv, mpf

from theory.distortion.claims import local_family_constant
from theory.distortion.factors import borda_factor, linear_factor, optimal_gamma

iv.dps = 30
ONE, HALF = iv.mpf(1), iv.mpf(1) / 2


def tanh(x: iv.mpf) -> iv.mpf:
    return 1 - 2 / (iv.exp(2 * x) + 1)


def normal_tail(t: iv.mpf) -> iv.mpf:
    """Φ(−t) for 0 < t ≤ 1: the alternating series of the integral from 0 to t, its rest below the next term."""
    total, term = iv.mpf(0), t
    for k in range(40):
        total += term / (2 * k + 1)
        term *= -t * t / (2 * (k + 1))
    return HALF - (total + iv.mpf([-1, 1]) * abs(term)) / iv.sqrt(2 * iv.pi)


def test_the_hardest_pair_loses_twice_the_largest_t_times_its_normal_tail():
    """D14: t·Φ(−t) is concave for t < √2 and falls beyond, so a change of sign of its slope encloses its maximum."""

    def slope(t: iv.mpf) -> iv.mpf:
        return normal_tail(t) - t * iv.exp(-t * t / 2) / iv.sqrt(2 * iv.pi)

    low, high = iv.mpf("0.7517915"), iv.mpf("0.7517916")
    assert slope(low).a > 0 > slope(high).b
    largest = iv.mpf([low.a, high.b]) * normal_tail(iv.mpf([low.a, high.b]))
    assert largest.delta < 1e-6
    assert local_family_constant(2.0) in largest
    assert (2 * largest).a > mpf("0.33994")
    assert (2 * largest).b < mpf("0.33995")


@pytest.mark.parametrize("beta", [1e-2, 0.5, 3.0, 10.0, 60.0])
def test_the_exact_factor_is_enclosed(beta):
    """K* = L·max_g(1 − g + φ(g)/B): at any g a lower bound; where the slope is s, at most |s| below the largest."""
    h = iv.mpf(beta) / 2
    bound, linear = tanh(h), h / tanh(h)
    g = iv.mpf(optimal_gamma(beta))
    value = linear * (1 - g + tanh(h * g) / bound)
    slack = linear * abs(h * (1 - tanh(h * g) ** 2) / bound - 1)  # concave: max ≤ value + |slope|·1
    lower, upper = value.a, (value + slack).b
    assert upper - lower < 1e-12 * upper
    assert lower * (1 - mpf(4e-16)) <= borda_factor(beta) <= upper * (1 + mpf(4e-16))
    assert abs(linear - linear_factor(beta)).b < 4e-16 * linear.b
    assert linear.b < lower
    assert upper < min(2 * linear.a, (linear**2).a)


def holds(positive: Callable[[iv.mpf], iv.mpf], slope: Callable[[iv.mpf], iv.mpf], low: str, high: str) -> bool:
    """Is the function above 0 on [low, high]? By its value at the middle and its slope on the box, halved as needed."""
    boxes, seen = [(iv.mpf(low).a, iv.mpf(high).b)], 0
    while boxes and seen < 4000:
        a, b = boxes.pop()
        seen += 1
        middle, box = (a + b) / 2, iv.mpf([a, b])
        if positive(iv.mpf(middle)).b <= 0:
            return False
        if (positive(iv.mpf(middle)) + slope(box) * (box - middle)).a <= 0:
            boxes += [(a, middle), (middle, b)]
    return not boxes


@pytest.mark.parametrize(("beta", "optimal"), [("1", True), ("3", True), ("5.8254", True), ("5.8255", False)])
def test_borda_on_three_alternatives_is_minimax_optimal_up_to_5_8255(beta, optimal):
    """D20: m* ≤ ⅔ iff ⅔(φ(z) + φ(1−z) − B) ≥ φ(z) − Bz on (0, 1); both vanish at the ends, where slopes decide."""
    h = iv.mpf(beta) / 2
    top = tanh(h)

    def spare(z: iv.mpf) -> iv.mpf:
        return -tanh(h * z) + 2 * tanh(h * (1 - z)) - 2 * top + 3 * top * z

    def slope(z: iv.mpf) -> iv.mpf:
        return -h * (1 - tanh(h * z) ** 2) - 2 * h * (1 - tanh(h * (1 - z)) ** 2) + 3 * top

    if optimal:
        assert slope(iv.mpf(["0", "0.001"])).a > 0 > slope(iv.mpf(["0.95", "1"])).b
    assert holds(spare, slope, "0.001", "0.95") is optimal


def test_where_rlhf_in_a_ball_begins_to_lose():
    """Theorem on I6: e^β > 10β from 3.5771… on, where δ < ¼ and B > ⅓; N ≥ 32/δ."""
    assert (iv.exp(iv.mpf("3.5771")) - 10 * iv.mpf("3.5771")).b < 0 < (iv.exp(iv.mpf("3.5772")) - iv.mpf("35.772")).a
    beta = iv.mpf("3.5771")
    assert (10 / (10 + iv.exp(beta))).b < 0.25
    assert (tanh(beta / 2) / 2).a > (ONE / 3).b
    assert (2 / (ONE / 3 - iv.e / 10)).a > 32


def test_how_often_majorities_cycle():
    """D24: ¼ − 3/(2π)·arcsin ρ is 0 at ρ = ½ and 0.0877… at ρ = ⅓; by tan: arcsin ⅓ = arctan(1/√8)."""
    root = 1 / iv.sqrt(8)
    terms = [(-1) ** k * root ** (2 * k + 1) / (2 * k + 1) for k in range(30)]
    arctan = sum(terms) + iv.mpf([-1, 1]) * root**61 / 61
    often = ONE / 4 - 3 * arctan / (2 * iv.pi)
    assert often.a > mpf("0.0877")
    assert often.b < mpf("0.0878")
