"""Predictions of R1–R9 from the definitions on their tables: sums written out, identities, a differential equation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from theory.density_ratio import predictions as predict
from theory.density_ratio.limits import PREFERENCES, TABLES

THREE, RARE = TABLES["three"], TABLES["rare"]


def distance(variances: np.ndarray) -> float:
    """√n·E TV of normal errors with these variances at n = 1."""
    return float(np.sqrt(variances).sum() / math.sqrt(2.0 * math.pi))


def test_least_losses_and_ratios():
    p, q = THREE
    d = 0.3 * p + 0.7 * q
    for method, law, alpha in (("ddro", q, None), ("rdro", d, 0.3)):
        expected = float(np.sum(p * np.log((p + law) / p) + law * np.log((p + law) / law)))
        assert predict.least_loss(method, "logistic", "three", alpha) == pytest.approx(expected, rel=1e-13)
        assert predict.least_loss(method, "lsif", "three", alpha) == pytest.approx(-0.5 * np.sum(p**2 / law), rel=1e-13)
    assert predict.ratio_cap(0.3) == pytest.approx(1 / 0.3)
    assert predict.ratio_of_reduction(0.3, "class_mean") == pytest.approx(0.5 / (0.3 * 0.5 + 0.7 * 0.2))
    assert predict.ratio_of_reduction(0.3, "pooled") == pytest.approx(0.3 * 0.5 / (0.09 * 0.5 + 0.49 * 0.2))


@pytest.mark.parametrize("preferences", PREFERENCES)
def test_winners_of_comparisons(preferences):
    P, mu = PREFERENCES[preferences]
    for x in range(len(mu)):
        assert predict.winners(preferences, x) == pytest.approx(2.0 * mu[x] * sum(mu * np.asarray(P)[x]), rel=1e-13)


@pytest.mark.parametrize(("method", "d"), [("ddro", 0.1), ("rdro", 0.3 * 0.4 + 0.7 * 0.1)])
def test_flows_by_integration(method, d):
    """ds/dt = (p − d·eˢ)/(1 + eˢ), and its rate at the end."""
    found = solve_ivp(lambda _, s: (0.4 - d * np.exp(s)) / (1 + np.exp(s)), (0.0, 9.0), [0.0], rtol=1e-11, atol=1e-12)
    assert predict.flow_at(method, 0.1, 9.0) == pytest.approx(found.y[0, -1], rel=1e-8)
    assert predict.approach_rate(0.3) == pytest.approx(0.4 * 0.12 / 0.52)


def test_errors_of_estimates():
    """p̂⁺ and p̂⁻ move a ratio p/d by (1 − α)(q δ⁺ − p δ⁻)/d², and a policy by d times that."""
    (p, q), alpha = THREE, 0.3
    moved = {a: ((1 - a) * q / d) ** 2 * (p * (1 - p) + (p / q) ** 2 * q * (1 - q))
             for a, d in ((0.0, q), (alpha, alpha * p + (1 - alpha) * q))}  # fmt: skip
    assert predict.free_distance("ddro", "three") == pytest.approx(distance(moved[0.0]), rel=1e-12)
    assert predict.free_distance("rdro", "three", alpha) == pytest.approx(distance(moved[alpha]), rel=1e-12)
    sft = distance(p * (1 - p))
    assert predict.against_sft("three", alpha) == pytest.approx(distance(moved[alpha]) - sft, rel=1e-11)
    for x in range(3):
        quotient = moved[alpha][x] / moved[0.0][x]
        assert predict.variance_quotient("three", alpha, x) == pytest.approx(quotient, rel=1e-12)
    a, b = 0.4, 1e-4  # of one outcome, R6
    for share in (0.0, alpha):
        d = share * a + (1 - share) * b
        exact = ((1 - share) / d**2) ** 2 * (b**2 * a * (1 - a) + a**2 * b * (1 - b))
        assert predict.rare_spread(share, b) == pytest.approx(exact, rel=1e-12)
        near = predict.rare_spread(share, 1e-7) / predict.rare_spread(share, 1e-8)
        assert math.log10(near) == pytest.approx(predict.tail_exponent(share), abs=1e-3)
    assert predict.infinite_share(7) == pytest.approx(0.99**7)


def test_references_from_which_methods_are_right():
    """DDRO's is p⁻, RDRO's p_α; batches that are pooled need the repaired α."""
    assert predict.page_distance("ddro", "rejected") == pytest.approx(0.0, abs=1e-9)
    assert predict.page_distance("rdro", "mixture") == pytest.approx(0.0, abs=1e-9)
    for member in ("logistic", "lsif", "kliep"):
        assert predict.misspecified_distance("ddro", member, "three", 0.0) == pytest.approx(0.0, abs=1e-9)
        assert predict.misspecified_distance("rdro", member, "three", 0.3) == pytest.approx(0.0, abs=1e-9)
    assert predict.repaired_distance("three", 0.6) == pytest.approx(0.0, abs=1e-9)
    assert predict.minibatch_distance("three", 0.3, "class_mean") == 0.0 < predict.minibatch_distance("three", 0.3, "")


def test_where_kldo_ends_from_other_references():
    p, q = RARE
    for name, w in (("rejected", q), ("mixture", (p + q) / 2), ("uniform", np.full(4, 0.25))):
        law = w * p / q / np.sum(w * p / q)
        expected = 0.5 * float(np.abs(law - p).sum())
        assert predict.page_distance("kldo", name) == pytest.approx(expected, rel=1e-12, abs=1e-15)
