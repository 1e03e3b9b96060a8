"""The normaliser of the public KLDO code: its table of cases, and its gradient."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import softmax

from theory.divergences.losses import loss_gradient, population_loss
from theory.divergences.normaliser import REGIMES, normaliser, policy_gradient, rejected_drift, terms


@pytest.mark.parametrize(("A", "U", "c"), [(0, 0, 0), (2, 1, 1), (1, 2, 0.5), (-2, -1, 2), (-1, -2, 1), (-1, 0.5, -2)])
def test_the_table_of_signs(A, U, c):
    assert normaliser(A, U) == pytest.approx(c, abs=1e-8)


def test_regimes_are_what_they_say_and_the_flipped_one_pushes_up():
    signs = {name: terms(r.policy, r.p, r.q, r.reference, r.kl_beta) for name, r in REGIMES.items()}
    A, U = signs["start"]
    assert A == U == 0
    for name, order in {
        "healthy": lambda A, U: U <= A,
        "damped": lambda A, U: 0 < A < U,
        "amplified": lambda A, U: A < U < 0,
        "flipped": lambda A, U: A < 0 < U,
    }.items():
        assert order(*signs[name]), name
    for name, r in REGIMES.items():
        drifts = [rejected_drift(r.policy, r.p, r.q, r.reference, r.kl_beta, normalised=n) for n in (True, False)]
        assert drifts[1] < 0, name
        assert (drifts[0] > 0) == (name == "flipped")


def test_without_the_factor_the_gradient_is_kldos():
    for r in REGIMES.values():
        rewards = r.kl_beta * np.log(r.policy / r.reference)
        slope = loss_gradient("kldo", rewards, r.p, r.q)
        expected = r.kl_beta * (slope - r.policy * slope.sum())
        found = policy_gradient(r.policy, r.p, r.q, r.reference, r.kl_beta, normalised=False)
        np.testing.assert_allclose(found, expected, atol=1e-14)
        A, U = terms(r.policy, r.p, r.q, r.reference, r.kl_beta)
        assert pytest.approx(population_loss("kldo", rewards, r.p, r.q), abs=1e-14) == U - A


@pytest.mark.parametrize("normalised", [True, False])
def test_the_gradient_is_a_derivative_with_the_factor_held(normalised):
    r = REGIMES["damped"]
    A, U = terms(r.policy, r.p, r.q, r.reference, 0.7)
    factor = min(A, U) / U if normalised else 1.0
    step, logits = 1e-5 * np.eye(6), np.log(r.policy)

    def along(value: Callable[[np.ndarray], float]) -> np.ndarray:
        return np.array([(value(softmax(logits + h)) - value(softmax(logits - h))) / 2e-5 for h in step])

    slope_of_A, slope_of_U = (along(lambda pi, i=i: terms(pi, r.p, r.q, r.reference, 0.7)[i]) for i in (0, 1))
    gradient = policy_gradient(r.policy, r.p, r.q, r.reference, 0.7, normalised=normalised)
    np.testing.assert_allclose(gradient, factor * slope_of_U - slope_of_A, atol=1e-8)
    slope = along(lambda pi: float(r.q @ np.log(pi)))
    drift = rejected_drift(r.policy, r.p, r.q, r.reference, 0.7, normalised=normalised)
    assert drift == pytest.approx(-gradient @ slope, abs=1e-8)


def test_the_public_code_s_normaliser_has_a_pole():
    assert [normaliser(A, -1e-9) for A in (1.0, -1.0)] == [-math.inf, -math.inf]
    assert normaliser(-1.0, -2e-9) == pytest.approx(1e9)
