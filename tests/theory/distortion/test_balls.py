"""What IPO, RLHF and NLHF lose in a KL ball: factors by linear programs over populations, instances by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq, linprog
from scipy.special import expit

from tests.bad_input import bad_input_is_named
from tests.theory.policy.test_kl_ball import dual_value
from theory.bradley_terry import Population
from theory.distortion.ball_instances import ipo_factor, mismatch_instance, tight_ball_instance
from theory.distortion.factors import borda_factor, linear_factor
from theory.distortion.measure import distortion
from theory.policy.identity import ipo
from theory.policy.kl_ball import kl
from theory.policy.nash import nlhf
from theory.policy.rewards import rlhf
from theory.social_choice.pairwise import borda


def worst_by_program(bt_beta, on_policy):
    """sup E[b]/E[a] over populations on a grid of (a, b, y) in which a wins at least as often against y as b does, and,
    on-policy, at least half the time: a linear program with E[a] = 1."""
    faint = np.array([0.0, 1e-3, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1 - 1e-3, 1.0])
    a, b, y = (axis.ravel() for axis in np.meshgrid(faint, np.union1d(faint, np.linspace(0, 1, 41)), faint))
    wins = lambda x: expit(bt_beta * (x - y)) - 0.5
    rows = [wins(b) - wins(a), *([-wins(a)] if on_policy else [])]
    found = linprog(-b, A_ub=rows, b_ub=np.zeros(len(rows)), A_eq=[a], b_eq=[1.0], bounds=(0, None), method="highs")
    return -found.fun


@pytest.mark.parametrize("bt_beta", [1.0, 2.0, 5.0])
def test_the_factors_of_ipo_are_those_of_the_program(bt_beta):
    assert worst_by_program(bt_beta, on_policy=False) == pytest.approx(ipo_factor(bt_beta), rel=5e-3)
    assert worst_by_program(bt_beta, on_policy=True) == pytest.approx(borda_factor(bt_beta), rel=5e-3)
    assert worst_by_program(bt_beta, on_policy=True) <= borda_factor(bt_beta) * (1 + 1e-6)


def test_on_policy_ipo_and_rlhf_may_lose_more_than_l_at_a_budget_of_one_nat():
    """From a linear program over populations; a search from random ones finds no more than L there."""
    users = Population([[0.0, 0.8, 1.0], [0.0, 1.0, 0.0], [1e-3, 0.0, 0.0]], [0.0046, 0.0022, 0.9932])
    reference = np.array([0.368, 0.075, 0.557])
    rates, pairs = users.win_rates(10.0), np.outer(reference, reference)
    for policy in (ipo(rates, reference, reference, 1.0), rlhf(rates, pairs, reference, 1.0)):
        assert policy[0] == 1.0
        assert 1.06 * linear_factor(10.0) < distortion(users, policy, reference, 1.0) < borda_factor(10.0)


@pytest.mark.parametrize("bt_beta", [0.1, 1.0, 5.0, 20.0])
def test_what_the_opponent_adds_to_l_is_a_mixed_difference(bt_beta):
    """b − La + [φ(a − y) − φ(b − y)]/φ(1) ≤ β²/(6√3 φ(1))·|a − b|·y: the inequality behind small budgets, on a grid."""
    grid = np.linspace(0.0, 1.0, 61)
    a, b, y = np.meshgrid(grid, grid, grid)
    phi = lambda d: expit(bt_beta * d) - 0.5
    excess = b - linear_factor(bt_beta) * a + (phi(a - y) - phi(b - y)) / phi(1.0)
    assert (excess <= bt_beta**2 / (6.0 * math.sqrt(3.0) * phi(1.0)) * np.abs(a - b) * y + 1e-12).all()


def test_the_factor_overflows_to_infinity_and_names_a_wrong_beta():
    assert ipo_factor(0.01) == pytest.approx(1 + 0.01**2 / 4, rel=1e-8)
    assert ipo_factor(700.0) < math.inf == ipo_factor(800.0)
    with pytest.raises(ValueError, match="bt_beta = 0"):
        ipo_factor(0.0)


def test_ipo_meets_the_dual_of_its_program_and_is_borda_without_a_ball(rng):
    P = rng.random((5, 5))
    P = 0.5 + (P - P.T) / 2
    mu, reference = rng.dirichlet(np.ones(5)), rng.dirichlet(np.ones(5))
    for tau in (0.01, 0.3):
        policy = ipo(P, mu, reference, tau)
        assert kl(policy, reference) <= tau + 1e-12
        assert mu @ (P.T @ policy) == pytest.approx(dual_value(P @ mu, reference, tau), abs=1e-8)
    np.testing.assert_array_equal(ipo(P, mu), borda(P, mu))
    np.testing.assert_allclose(ipo(np.full((3, 3), 0.5), np.ones(3) / 3, [0.2, 0.3, 0.5], 1.0), [0.2, 0.3, 0.5])


@pytest.mark.parametrize("tau", [0.01, 0.1, 1.0])
def test_nlhf_loses_the_linear_factor_in_every_ball(tau):
    """Types that value one alternative each make the game additive: its equilibrium is a tilt of the reference."""
    beta, xi, log_epsilon = 10.0, 1.03, -650.0
    i = tight_ball_instance(beta, xi, log_epsilon, tau)
    margins = i.win_rates[:2, 2] - 0.5

    def log_policy(slope):
        scores = np.array([*(log_epsilon + slope * margins), i.log_reference[2]])
        return scores - np.logaddexp.reduce(scores)

    def excess(slope):
        logs = log_policy(slope)
        return np.exp(logs) @ (logs - i.log_reference) - tau

    by_hand = np.exp(log_policy(brentq(excess, 1.0, 1e7, xtol=1e-9, rtol=1e-15)))
    nash = nlhf(i.win_rates, tau=tau, log_reference=i.log_reference, tolerance=1e-13).policy
    assert i.distortion(nash) == pytest.approx(i.distortion(by_hand), rel=1e-4)
    assert i.distortion(by_hand) == pytest.approx(4.8548, abs=1e-4)
    for policy in (rlhf(i.win_rates, i.pair_weights, tau=tau, log_reference=i.log_reference),
                   ipo(i.win_rates, i.mu, tau=tau, log_reference=i.log_reference)):  # fmt: skip
        assert i.distortion(policy) == pytest.approx(linear_factor(beta) / xi, rel=1e-4)


def test_where_the_ball_ends_decides_between_bounded_and_exponential():
    i = mismatch_instance(5.0)
    policies = [
        ipo(i.win_rates, i.mu, tau=i.tau, log_reference=i.log_reference),
        rlhf(i.win_rates, i.pair_weights, tau=i.tau, log_reference=i.log_reference),
    ]
    for policy in policies:
        assert i.distortion(policy) == pytest.approx(37.6050 / 1.001, rel=1e-3)
    matched = ipo(i.win_rates, i.reference, tau=i.tau, log_reference=i.log_reference)
    assert i.distortion(matched) < 1.01
    weights, U = i.population.weights, i.population.utilities
    against_y = [weights @ expit(5.0 * (U[:, x] - U[:, 2])) for x in (0, 1)]
    assert against_y[0] > against_y[1]


@pytest.mark.parametrize(("beta", "epsilon", "xi"), [(2.0, 0.3, 1.5), (5.0, 0.02, 1.1), (0.5, 0.6, 1.6)])
def test_who_decides_between_a_and_b_far_from_them(beta, epsilon, xi):
    """At ξ = 1 the two types balance against y; of the margin that ξ adds, a tenth at most is lost among a and b."""
    i = mismatch_instance(beta, xi, epsilon, eta=1.0)
    phi = lambda d: expit(beta * d) - 0.5
    near, far, (share, rest) = phi(epsilon), phi(1.0) - phi(1.0 - epsilon), i.population.weights
    assert share * far == pytest.approx(rest * near, rel=1e-11)
    assert share + rest == pytest.approx(1.0, abs=1e-15)
    np.testing.assert_array_equal(i.population.utilities, [[0.0, epsilon, 1.0], [xi * epsilon, 0.0, 0.0]])
    margin = i.win_rates[0, 2] - i.win_rates[1, 2]
    assert margin == pytest.approx(rest * (phi(xi * epsilon) - near), rel=1e-10)
    kappa = min(0.1, 0.1 * margin / (2.0 * share * near))
    np.testing.assert_allclose(i.mu, [kappa, kappa, 1.0 - 2.0 * kappa], rtol=1e-10)
    np.testing.assert_allclose(i.pair_weights, np.outer(i.mu, i.mu), rtol=1e-10)
    np.testing.assert_allclose(i.reference, [(1 - math.exp(-2)) / 2, (1 - math.exp(-2)) / 2, math.exp(-2)], rtol=1e-14)
    assert i.tau == 1.0


def test_the_instance_of_every_ball_by_hand():
    """β = 2 and ε₀ = 0.3 balance at ξ = 1: a share of (σ(0.6) − ½)/(σ(2) + σ(0.6) − 1) against the rest."""
    i = tight_ball_instance(2.0, 1.0, -2.0, 0.1, 0.3, clones=2)
    share = (expit(0.6) - 0.5) / (expit(2.0) + expit(0.6) - 1.0)
    np.testing.assert_allclose(i.population.weights, [share, 1.0 - share], rtol=1e-14)
    np.testing.assert_allclose(i.win_rates[:3, :3], 0.5, atol=1e-15)
    np.testing.assert_allclose(i.reference, [math.exp(-2)] * 3 + [1 - 3 * math.exp(-2)], rtol=1e-14)
    np.testing.assert_allclose(i.pair_weights, 1 / 16, rtol=1e-14)
    assert i.names == ("s", "o1", "o2", "z")
    beaten = tight_ball_instance(2.0, 1.5, -2.0, 0.1, 0.3)
    np.testing.assert_allclose(beaten.population.utilities, [[1.0, 0.0, 0.0], [0.0, 0.45, 0.0]], rtol=1e-15)
    assert beaten.win_rates[1, 0] > 0.5


test_bad_parameters = bad_input_is_named(
    (lambda: tight_ball_instance(5.0, 0.9, -650.0, 1.0), "xi = 0.9"),
    (lambda: tight_ball_instance(5.0, 2.1, -650.0, 1.0, 0.5), "xi = 2.1"),
    (lambda: tight_ball_instance(5.0, 1.0, -0.5, 1.0), "log_epsilon = -0.5"),
    (lambda: tight_ball_instance(5.0, 1.0, -1.0, 1.0, clones=2), "log_epsilon = -1.0"),
    (lambda: tight_ball_instance(5.0, 1.0, -math.inf, 1.0), "log_epsilon = -inf"),
    (lambda: tight_ball_instance(1e-200, 1.0, -10.0, 1.0, 1e-200), "epsilon = 1e-200"),
    (lambda: tight_ball_instance(5.0, 1.0, -650.0, 0.0), "tau = 0.0"),
    (lambda: tight_ball_instance(5.0, 1.0, -650.0, 1.0, 0.0), "epsilon = 0.0"),
    (lambda: tight_ball_instance(5.0, 1.0, -650.0, 1.0, clones=0), "clones = 0"),
    (lambda: mismatch_instance(5.0, xi=1.0), "xi = 1.0"),
    (lambda: mismatch_instance(5.0, xi=2.1, epsilon=0.5), "xi = 2.1"),
    (lambda: mismatch_instance(800.0), "bt_beta = 800.0"),
    (lambda: mismatch_instance(5.0, eta=0.0), "eta = 0.0"),
    (lambda: mismatch_instance(5.0, eta=1e-308), "eta = 1e-308"),
    (lambda: mismatch_instance(1.0, epsilon=1e-150), "epsilon = 1e-150"),
    (lambda: ipo(np.full((2, 2), 0.5), [0.5, 0.6]), "mu sums to"),
)
