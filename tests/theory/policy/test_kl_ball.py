"""The KL ball: distances, tilting and linear maximisation, against closed forms, duality and cvxpy."""

from __future__ import annotations

import math

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from tests.oracles.strategies import distributions
from theory.policy.kl_ball import _newton_root, kl, kl_from_log, maximize_in_kl_ball, tilt


def dual_value(values, reference, tau):
    """min_λ λ·tau + λ·log Σ π_ref e^{values/λ}: the dual of the program, a bound on it by weak duality."""

    def dual(log_weight):
        weight = math.exp(log_weight)
        return weight * tau + weight * float(np.logaddexp.reduce(np.log(reference) + values / weight))

    return minimize_scalar(dual, bounds=(-12, 8), method="bounded", options={"xatol": 1e-12}).fun


def test_kl_by_hand():
    assert kl([0.5, 0.5], [0.25, 0.75]) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3), abs=1e-15)
    assert kl([1.0, 0.0], [0.5, 0.5]) == pytest.approx(math.log(2), abs=1e-15)
    assert kl([0.5, 0.5], [1.0, 0.0]) == math.inf
    assert kl([0.3, 0.7], [0.3, 0.7]) == 0.0


@pytest.mark.parametrize("tau", [1e-6, 0.01, 0.3, 1.0])
def test_maximum_meets_its_dual(tau, rng):
    for size in (2, 5, 200):
        values, reference = rng.normal(size=size), rng.dirichlet(np.ones(size)) + 1e-6
        reference /= reference.sum()
        policy = maximize_in_kl_ball(values, reference, tau)
        assert kl(policy, reference) <= tau + 1e-14
        assert values @ policy == pytest.approx(dual_value(values, reference, tau), abs=1e-8)


def test_maximum_matches_cvxpy(rng):
    values, reference = rng.normal(size=6), rng.dirichlet(np.ones(6))
    pi = cp.Variable(6)
    constraints = [cp.sum(cp.rel_entr(pi, reference)) <= 0.2, cp.sum(pi) == 1]
    best = cp.Problem(cp.Maximize(values @ pi), constraints).solve(solver=cp.CLARABEL)
    assert values @ maximize_in_kl_ball(values, reference, 0.2) == pytest.approx(best, abs=1e-7)


@given(distributions(4), st.floats(1e-6, 3.0), st.integers(0, 3))
def test_policy_stays_in_the_ball_and_beats_the_reference(reference, tau, favourite):
    values = np.zeros(4)
    values[favourite] = 1.0
    policy = maximize_in_kl_ball(values, reference, tau)
    assert kl(policy, reference) <= tau + 1e-12
    assert values @ policy >= values @ reference - 1e-12


def test_without_a_constraint_ties_are_even_and_with_one_they_follow_the_reference():
    values = np.array([1.0, 1.0, 0.0])
    np.testing.assert_array_equal(maximize_in_kl_ball(values), [0.5, 0.5, 0.0])
    near = np.array([1.0, 0.95, 0.0])
    np.testing.assert_array_equal(maximize_in_kl_ball(near, tie_tolerance=0.06), [0.5, 0.5, 0.0])
    np.testing.assert_array_equal(maximize_in_kl_ball(near, tie_tolerance=0.04), [1.0, 0.0, 0.0])
    np.testing.assert_allclose(maximize_in_kl_ball(values, [0.1, 0.3, 0.6], 5.0), [0.25, 0.75, 0.0], atol=1e-15)


def test_reference_far_below_underflow():
    # Mass m on an alternative of log-probability −2·10⁹ costs 2·10⁹·m nats: the budget left after choosing one of two.
    logs = np.array([-math.log(2), -math.log(2), -2e9])
    policy = maximize_in_kl_ball([0.0, 1.0, 3.0], tau=1.0, log_reference=logs)
    assert policy[2] == pytest.approx((1 - math.log(2)) / 2e9, rel=1e-6)
    assert kl_from_log(policy, logs) <= 1 + 1e-12


def test_zero_budget_returns_the_reference():
    np.testing.assert_array_equal(maximize_in_kl_ball([1.0, 0.0], [0.25, 0.75], 0.0), [0.25, 0.75])


def test_tilt_is_invariant_to_shifts_and_huge_scores():
    logs = np.log([0.2, 0.8])
    np.testing.assert_allclose(tilt(logs, np.array([1e5, 1e5 + 1])), tilt(logs, np.array([0.0, 1.0])), atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": [1.0, np.inf]}, r"values\[1\] = inf"),
        ({"values": [1.0, 0.0], "tau": 1.0}, "tau = 1.0 needs reference"),
        ({"values": [1.0, 0.0], "reference": [0.5, 0.5], "tau": -1.0}, "tau = -1.0"),
        ({"values": [1.0, 0.0], "reference": [1.0, 0.0], "tau": 1.0}, r"reference\[1\] = 0"),
        ({"values": [1.0, 0.0], "reference": [0.5, 0.6], "tau": 1.0}, "reference sums to"),
        ({"values": [1.0, 0.0], "log_reference": [-1.0, -1.0], "tau": 1.0}, "log_reference"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        maximize_in_kl_ball(**arguments)
    with pytest.raises(ValueError, match="not both"):
        maximize_in_kl_ball([1.0, 0.0], [0.5, 0.5], 1.0, log_reference=np.log([0.5, 0.5]))


@pytest.mark.parametrize("tau", [1e-6, 1.01e-6, 1e-9, 1e-17, 1e-30])
@pytest.mark.parametrize("p", [0.3, 1e-3, 0.999])
def test_small_balls_have_the_radius_of_a_normal_law(tau, p):
    """KL ≈ Δ²/(2p(1−p)) for two alternatives: the maximiser moves Δ = √(2 tau p(1−p)) of mass, however small tau."""
    moved = maximize_in_kl_ball([1.0, 0.0], [p, 1.0 - p], tau)[0] - p
    expected = math.sqrt(2.0 * tau * p * (1.0 - p))
    assert moved == pytest.approx(expected, rel=10 * expected / min(p, 1 - p), abs=2e-16)


@pytest.mark.parametrize("tau", [0.0, 5e-324, 1e-300, 1e-100, 1e-17, 1e-8, 1e-3])
@pytest.mark.parametrize("values", [[1.0, 0.0, 0.5], [1e-310, 0.0, -1e-310], [1e300, -1e307, 0.0]])
def test_no_budget_hangs(values, tau):
    for logs in (np.log([0.3, 0.3, 0.4]), np.array([-1e9, 0.0, -2e9])):
        policy = maximize_in_kl_ball(values, log_reference=logs, tau=tau)
        assert kl_from_log(policy, logs) <= tau + 1e-12


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_newton_finds_the_radius_whichever_side_is_longer(sign):
    v, logs = sign * np.array([0.0, 1.0, 4.0]), np.log([0.3, 0.3, 0.4])
    root = _newton_root(v, logs, 0.1)
    assert root is not None
    assert kl_from_log(tilt(logs, math.exp(root) * v), logs) == pytest.approx(0.1, rel=1e-12)


def test_far_alternatives_fill_the_ball():
    """At log π_ref = −2·10⁹ a rounding error of the slope moves 10⁻⁷ of the mass: the radius is met all the same."""
    logs = np.array([0.0, -2e9, -1.5e9, -1e9])
    for tau in (1e3, 1e6, 1e8):
        policy = maximize_in_kl_ball([0.0, 0.5, 0.1, 0.4], log_reference=logs, tau=tau)
        assert tau * (1.0 - 1e-11) <= kl_from_log(policy, logs) <= tau * (1.0 + 1e-15)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("tau", [0.0, 5e-324, 1e-17, 0.1])
def test_maximisers_that_are_all_but_nothing_of_the_reference_are_within_reach(tau):
    """−log of a sum of probabilities is rounding there, 1e-16, and no slope has that KL."""
    for reference in ([0.21472246742170017, 0.7852775325782998], [0.2, 0.3, 0.5]):
        assert maximize_in_kl_ball(np.ones(len(reference)), reference, tau) == pytest.approx(reference, abs=1e-15)
    logs = np.array([math.log(0.3), math.log(0.7), -800.0])
    assert maximize_in_kl_ball([1.0, 1.0, 0.0], log_reference=logs, tau=tau) == pytest.approx([0.3, 0.7, 0.0])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("gap", [1e-310, 5e-324])
def test_values_that_no_slope_tells_apart_tie(gap):
    """The ball reaches log 3/2 among the two, and 0.5 only with slopes beyond float64."""
    policy = maximize_in_kl_ball([0.0, -gap, -1.0], np.full(3, 1 / 3), 0.5)
    assert policy == pytest.approx([0.5, 0.5, 0.0], abs=1e-9)


@pytest.mark.filterwarnings("error")
def test_values_whose_difference_is_beyond_float64():
    small = maximize_in_kl_ball([1.7, -1.7, 0.0], [0.5, 0.25, 0.25], 0.1)
    assert maximize_in_kl_ball([1.7e308, -1.7e308, 0.0], [0.5, 0.25, 0.25], 0.1) == pytest.approx(small, abs=1e-12)
    assert maximize_in_kl_ball([0.0, -1.0, -1e308], [0.2, 0.3, 0.5], 1.0)[2] == 0.0
