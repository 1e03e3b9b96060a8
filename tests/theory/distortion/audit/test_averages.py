"""Bounds from average utilities alone: their programs solved otherwise, certificates by loops, the sharpest cut."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import brentq, linprog

from tests.oracles.audits import population
from theory.distortion.audit import averages
from theory.distortion.audit.averages import (
    Cuts,
    MomentCertificate,
    elastic,
    floor_utility,
    game_bound,
    lemma_cuts,
    moment_bound,
    separate,
    support,
)
from theory.distortion.audit.observed import Observed, from_win_rates
from theory.policy.kl_ball import KLBall

BETA = 5.0
POLICY, BENCHMARK = np.array([0.5, 0.2, 0.3]), np.array([0.1, 0.9, 0.0])
#: u₀ ≥ ¼ + u₁/2 and u₁ ≥ 0.1 + u₂/4: three alternatives, of averages that are bounded from both sides.
CUTS = Cuts(3, np.array([1, 2]), np.array([0, 1]), np.array([0.5, 0.25]), np.array([1.0, 1.0]), np.array([-0.25, -0.1]))
ROWS = np.array([[-1.0, 0.5, 0.0], [0.0, -1.0, 0.25]])


def wins():
    return population(np.random.default_rng(4), 6, 3).win_rates(BETA)


def test_cuts_are_rows():
    np.testing.assert_array_equal(CUTS.rows().toarray(), ROWS)
    np.testing.assert_array_equal(CUTS.rows(np.array([7.0, 8.0])).toarray(), np.c_[ROWS, [7.0, 8.0]])
    y = np.array([2.0, 4.0])
    for found, expected in zip(CUTS.weighted(y), (y @ ROWS, y @ np.abs(ROWS)), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-15)
    both = CUTS.extend(CUTS)
    np.testing.assert_array_equal(both.rows().toarray(), np.r_[ROWS, ROWS])


def test_lemma_1_in_both_orders():
    """βℓ u(x) − (β/4) u(y) ≤ P(x≻y) − ½, the higher end of its interval; βℓ = σ(β) − ½, the slope to one end."""
    observed = Observed(2, BETA, np.array([0]), np.array([1]), np.array([0.4]), np.array([0.7]))
    cuts = lemma_cuts(observed)
    B = 1 / (1 + math.exp(-BETA)) - 0.5
    np.testing.assert_allclose(cuts.rows().toarray(), [[B, -BETA / 4], [-BETA / 4, B]], rtol=1e-14)
    np.testing.assert_allclose(cuts.rhs, [0.2, 0.1], rtol=1e-14)


def test_a_certificate_adds_up_its_terms_and_their_rounding(monkeypatch):
    monkeypatch.setattr(averages, "ROUNDING", 0.01)
    y, ratio = np.array([0.2, 0.1]), 1.2
    excess = 0.0
    for weight, rhs in zip(y, CUTS.rhs, strict=True):
        excess += weight * rhs + 0.01 * abs(weight * rhs)
    for x in range(3):
        terms = [BENCHMARK[x], -ratio * POLICY[x], *(-y * ROWS[:, x])]
        excess += max(0.0, sum(terms) + 0.01 * sum(map(abs, terms)))
    certificate = MomentCertificate(BENCHMARK, POLICY, CUTS, y, ratio, 0.5)
    assert certificate.excess == pytest.approx(excess, rel=1e-14)
    assert excess > 0.0
    assert certificate.bound == pytest.approx(ratio + excess / 0.5, rel=1e-14)
    assert MomentCertificate(BENCHMARK, POLICY, CUTS, y, ratio, 0.0).bound == math.inf
    assert MomentCertificate(BENCHMARK, POLICY, CUTS, 0 * y, 9.0, 0.0).bound == 9.0


def largest(objective):
    """Over the averages that CUTS allow, by a program of its own."""
    return -linprog(-objective, A_ub=ROWS, b_ub=CUTS.rhs, bounds=(0.0, 1.0)).fun


def test_floor_and_bound_are_the_values_of_their_programs():
    floor, _ = floor_utility(POLICY, CUTS)
    assert floor == pytest.approx(-largest(-POLICY), abs=1e-9)
    for benchmark in (*np.eye(3), BENCHMARK):
        bound, at = moment_bound(POLICY, benchmark, CUTS, floor)
        exact = brentq(lambda ratio, q=benchmark: largest(q - ratio * POLICY), 0.1, 10.0, xtol=1e-13)
        assert exact <= bound.bound <= exact + 1e-7
        assert benchmark @ at / (POLICY @ at) == pytest.approx(exact, rel=1e-6)
        assert (ROWS @ at <= CUTS.rhs + 1e-9).all()
    free = Cuts(3, *(np.zeros(0, int),) * 2, *(np.zeros(0),) * 3)
    assert floor_utility(POLICY, free)[0] == pytest.approx(0.0, abs=1e-12)
    assert moment_bound(POLICY, BENCHMARK, free, 0.0)[0].bound == pytest.approx(0.9 / 0.2, rel=1e-8)


def test_any_multipliers_give_a_floor(monkeypatch):
    """−y·rhs less what the multipliers overspend, by hand: 0.55/4 − (0.55 − 0.5)."""
    for multiplier, floor in ((0.55, 0.55 / 4 - 0.05), (0.4, 0.1), (1.0, 0.0)):
        answer = SimpleNamespace(status=0, x=None, ineqlin=SimpleNamespace(marginals=np.array([-multiplier, 1e-3])))
        monkeypatch.setattr(averages, "linprog", lambda *_, answer=answer, **__: answer)
        assert floor_utility(POLICY, CUTS)[0] == pytest.approx(floor, abs=1e-12)


def test_any_multipliers_prove_a_violation(monkeypatch):
    """Scaled to a sum of at most one: u₀ ≥ ¼ + u₁/2 and u₁ ≥ 0.1 + u₂/4 are met by (1, 1, ·)."""
    for y, proved in (([0.5, 0.2], 0.145 - 0.5), ([2.0, 2.0], 0.5 * 0.35 - 0.5 - 0.25), ([0.0, 0.0], 0.0)):
        answer = SimpleNamespace(status=0, ineqlin=SimpleNamespace(marginals=-np.array(y)))
        monkeypatch.setattr(averages, "linprog", lambda *_, answer=answer, **__: answer)
        assert elastic(CUTS)[0] == pytest.approx(proved, abs=1e-12)


def test_rounding_is_allowed_for(monkeypatch):
    """Of no cut at all four roundings of the largest ratio; of a violation those of a sum and of all its terms."""
    monkeypatch.setattr(averages, "ROUNDING", 0.01)
    failed = SimpleNamespace(status=4, ineqlin=SimpleNamespace(marginals=np.array([-0.5, -0.5])))
    monkeypatch.setattr(averages, "linprog", lambda *_, **__: failed)
    assert moment_bound(POLICY, BENCHMARK, CUTS, 0.1)[0].ratio == pytest.approx(4.5 * 1.04, rel=1e-14)
    failed.status = 0
    expected = (0.125 + 0.05 - 0.5 - 0.25) / 1.01 - 0.04
    assert elastic(CUTS)[0] == pytest.approx(expected, rel=1e-12)


def test_cuts_that_nothing_meets_are_violated_by_as_much_as_is_proved():
    """u₀ ≥ 0.7 + u₁/2 and u₁ ≥ 0.9: at best both are missed by 1/10."""
    cuts = Cuts(
        2, np.array([1, 1]), np.array([0, 1]), np.array([0.5, 0.0]), np.array([1.0, 1.0]), np.array([-0.7, -0.9])
    )
    program = linprog([0, 0, 1], A_ub=[[-1, 0.5, -1], [0, -1, -1]], b_ub=cuts.rhs, bounds=[(0, 1), (0, 1), (0, None)])
    proved, worst = elastic(cuts)
    assert program.fun == pytest.approx(0.1, abs=1e-12)
    assert 0.1 - 1e-9 <= proved <= 0.1
    assert worst == 0
    assert floor_utility(np.array([0.5, 0.5]), cuts)[0] == math.inf
    assert elastic(CUTS)[0] == pytest.approx(0.0, abs=1e-9)


def test_the_cut_of_a_pair_is_the_most_violated():
    """Of a grid much finer than the first of the search, and only where it is violated by the tolerance."""
    observed = from_win_rates(wins(), BETA)
    u = np.array([0.9, 0.05, 0.4])
    cuts = separate(observed, u, 1e-3)
    fine = np.linspace(0.0, BETA / 4, 641)
    alpha, gamma = (axis.ravel() for axis in np.meshgrid(fine, fine))
    kappa = support(alpha, gamma, BETA)
    found = {(x, y): a * u[x] - g * u[y] - r for x, y, a, g, r in
             zip(cuts.first, cuts.second, cuts.alpha, cuts.gamma, cuts.rhs, strict=True)}  # fmt: skip
    assert found
    for x, y in [(0, 1), (0, 2), (1, 2), (1, 0), (2, 0), (2, 1)]:
        most = (alpha * u[x] - gamma * u[y] - kappa).max() - (wins()[x, y] - 0.5)
        assert ((x, y) in found) == (most > 1e-3)
        if (x, y) in found:
            assert most - 3e-4 <= found[x, y] <= most + 1e-3


@pytest.mark.parametrize("tau", [math.inf, 0.1])
def test_the_bound_of_corollary_4_by_loops(tau):
    """L + s/floor with s the best answer to the policy, of intervals the higher end and of no comparison ½."""
    observed = Observed(3, BETA, np.array([0, 1]), np.array([1, 2]), np.array([0.4, 0.2]), np.array([0.7, 0.3]))
    B, reference = 1 / (1 + math.exp(-BETA)) - 0.5, np.array([0.2, 0.3, 0.5])
    high = [[0.0, 0.2, 0.5], [0.1, 0.0, -0.2], [0.5, 0.3, 0.0]]
    payoffs = [sum(h * p for h, p in zip(row, POLICY, strict=True)) / B for row in high]
    slopes = np.geomspace(1e-3, 1e3, 20001)
    tilted = reference * np.exp(slopes[:, None] * (np.array(payoffs) - max(payoffs)))
    tilted /= tilted.sum(axis=1, keepdims=True)
    inside = np.sum(tilted * np.log(np.maximum(tilted, 1e-300) / reference), axis=1) <= tau
    s = (tilted[inside] @ payoffs).max()
    found = game_bound(observed, POLICY, KLBall(np.log(reference), tau), 0.25)
    assert found == pytest.approx(BETA / 4 / B + s / 0.25, rel=1e-3 if tau < 1.0 else 1e-9)
    assert game_bound(observed, POLICY, KLBall(np.log(reference), tau), 0.0) == math.inf
