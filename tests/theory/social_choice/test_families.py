"""Families of populations on which rules on rankings lose, and the bounds beside them, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad

from theory.social_choice import rankings


@pytest.mark.parametrize(
    ("bt_beta", "alternatives", "expected"),
    [
        (0.01, 10, 1 + 9 * math.exp(0.01)),
        (1.0, 1000, 1 + 999 * math.e),
        (5.0, 3, 180.0),
        (20.0, 2, 320.0),
        (1000.0, 3, 36e3),
    ],
)
def test_the_bound_of_random_dictator(bt_beta, alternatives, expected):
    """The smaller of 1 + (A − 1)e^β and 4βA²; the latter never below A, as it would be at faint temperatures."""
    assert rankings.random_dictator_upper_factor(bt_beta, alternatives) == pytest.approx(expected, rel=1e-14)


def test_the_bound_of_veto():
    """β = 2: of three alternatives 2·½/(2/(e^{−2} + 2)); of four 2·4(1/16 + (13/12)/12)/(2/(2e^{−2} + 2))."""
    assert rankings.veto_lower_factor(2.0, 3) == pytest.approx((math.exp(-2) + 2) / 2, rel=1e-14)
    expected = 8 * (1 / 16 + 13 / 144) * (math.exp(-2) + 1)
    assert rankings.veto_lower_factor(2.0, 4) == pytest.approx(expected, rel=1e-14)


def test_the_family_of_plurality():
    """β = 1, A = 3: the odds (1 + 2e)/(e + 2), less a tenth of them and of that."""
    users = rankings.plurality_family(1.0, 3, margin=0.1)
    odds = (1 + 2 * math.e) / (math.e + 2) / 1.1
    np.testing.assert_array_equal(users.utilities, [[1, 0, 0], [0, 1, 1]])
    np.testing.assert_allclose(users.weights, [1 / (1 + odds), odds / (1 + odds)], rtol=1e-14)


def test_the_family_of_random_dictator():
    np.testing.assert_array_equal(rankings.random_dictator_family(1.0, 3, 0.2).utilities, [[0.2, 0.0, 0.0]])


@pytest.mark.parametrize("alternatives", [3, 4])
def test_the_family_of_veto(alternatives):
    """Who is first by a logit, who is last by an integral over exponential times; odds a tenth below the balance."""
    bt_beta, kappa = 2.0, 0.5
    bad, good = alternatives // 2, alternatives - alternatives // 2
    delta = kappa / (bt_beta * sum(1 / k for k in range(1, alternatives + 1)))
    users = rankings.veto_family(bt_beta, alternatives, kappa, margin=0.1)
    np.testing.assert_allclose(users.utilities, [[1.0] * good + [0.0] * bad, [0.0] * good + [delta] * bad], rtol=1e-14)
    first, last = [], []
    for high, low in ((math.exp(bt_beta), 1.0), (1.0, math.exp(bt_beta * delta))):
        law = lambda t, a=high, b=low: (
            (1 - math.exp(-a * t)) ** good * b * math.exp(-b * t) * (1 - math.exp(-b * t)) ** (bad - 1)
        )
        first.append(bad * low / (bad * low + good * high))
        last.append(bad * quad(law, 0.0, np.inf, epsabs=1e-13)[0])
    odds = 0.9 * (first[1] - last[1]) / (last[0] - first[0])
    np.testing.assert_allclose(users.weights, [odds / (1 + odds), 1 / (1 + odds)], rtol=1e-9)
