"""Populations, win rates and the Bradley–Terry fit."""

from __future__ import annotations

import math

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from scipy.special import expit, logit

from tests.oracles.strategies import bt_betas, populations
from theory.bradley_terry import Population, _solve_laplacian, fit_rewards, product_pairs
from theory.distortion.factors import linear_slope
from theory.distortion.instances import correlated_instance, rlhf_instance
from theory.solution import CertificateError


def test_win_rates_are_the_mixture_of_the_types(rng):
    population = Population(rng.random((3, 4)), rng.dirichlet(np.ones(3)))
    expected = sum(
        w * expit(2.5 * (u[:, None] - u[None, :]))
        for w, u in zip(population.weights, population.utilities, strict=True)
    )
    np.testing.assert_allclose(population.win_rates(2.5), expected, rtol=0, atol=1e-15)


@given(populations(), bt_betas)
def test_win_rates_add_to_one_exactly(population, bt_beta):
    P = population.win_rates(bt_beta)
    assert ((P + P.T) == 1.0).all()
    assert (np.diag(P) == 0.5).all()


def test_win_rates_are_rates_where_all_users_agree(rng):
    """Weights that sum to one may sum above it by rounding: the sum of what all prefer is one then, not more."""
    for weights in rng.dirichlet(np.ones(9), 200):
        P = Population(np.tile([1.0, 0.0], (9, 1)), weights).win_rates(1000.0)
        assert P.min() >= 0.0
        assert P.max() <= 1.0


@given(populations(), bt_betas)
def test_lemma_1_squeezes_win_rates(population, bt_beta):
    # D1: β(ℓ u(x) − ¼ u(y)) ≤ P(x≻y) − ½ ≤ β(¼ u(x) − ℓ u(y))
    margins, u, slope = population.win_rates(bt_beta) - 0.5, population.average_utility, linear_slope(bt_beta)
    off = ~np.eye(u.size, dtype=bool)
    assert (margins - bt_beta * (slope * u[:, None] - 0.25 * u[None, :]))[off].min() >= -1e-14
    assert (bt_beta * (0.25 * u[:, None] - slope * u[None, :]) - margins)[off].min() >= -1e-14


def test_one_type_is_its_own_reward(rng):
    # A single Bradley–Terry user is explained exactly: r = β U up to a constant.
    U = rng.random(6)
    fit = fit_rewards(Population(U[None]).win_rates(4.0), product_pairs(np.full(6, 1 / 6)))
    np.testing.assert_allclose(fit.rewards, 4.0 * (U - U.max()), rtol=0, atol=1e-12)
    assert fit.residual < 1e-14


def test_two_alternatives_have_the_closed_form():
    P = np.array([[0.5, 0.8], [0.2, 0.5]])
    np.testing.assert_allclose(
        fit_rewards(P, product_pairs(np.array([0.1, 0.9]))).rewards, [0.0, -logit(0.8)], atol=1e-14
    )


def test_fit_matches_cvxpy(rng):
    population = Population(rng.random((4, 5)))
    P = population.win_rates(6.0)
    pairs = rng.random((5, 5))
    pairs = (pairs + pairs.T) / (pairs + pairs.T).sum()
    r = cp.Variable(5)
    loss = sum(pairs[x, y] * P[x, y] * cp.logistic(r[y] - r[x]) for x in range(5) for y in range(5) if x != y)
    best = cp.Problem(cp.Minimize(loss), [r[0] == 0]).solve(solver=cp.CLARABEL)
    fitted = fit_rewards(P, pairs).rewards
    # an objective within 1e-8 of its minimum places the minimiser within about 1e-4
    np.testing.assert_allclose(fitted - fitted[0], r.value, atol=3e-4)
    gaps = fitted[:, None] - fitted[None, :]
    assert (pairs * P * np.logaddexp(0, -gaps) * (1 - np.eye(5))).sum() <= best + 1e-12


@pytest.mark.parametrize(("bt_beta", "expected"), [(10.0, (-7.944146, -7.610906)), (20.0, (-17.944, -17.611))])
def test_rewards_of_i6(bt_beta, expected):
    # Masses span 1 to 10⁻¹⁹ at β = 20; the spec gives r_a − r_c and r_b − r_c.
    instance = rlhf_instance(bt_beta)
    fit = fit_rewards(instance.win_rates, instance.pair_weights)
    np.testing.assert_allclose(fit.rewards[:2] - fit.rewards[2], expected, atol=5e-7 if bt_beta == 10 else 5e-4)
    assert fit.residual < 1e-12


def test_collapsing_clones_changes_nothing(rng):
    # Three clones as three alternatives, or as one class of three times the mass.
    U = rng.random((3, 3))
    mu = np.array([0.2, 0.3, 0.5])
    single = fit_rewards(Population(U).win_rates(5.0), product_pairs(mu)).rewards
    cloned = fit_rewards(
        Population(U[:, [0, 1, 2, 2, 2]]).win_rates(5.0), product_pairs(np.array([0.2, 0.3, *[0.5 / 3] * 3]))
    ).rewards
    np.testing.assert_allclose(cloned, single[[0, 1, 2, 2, 2]], atol=1e-11)


@pytest.mark.parametrize("rare", [1e-9, 1e-11, 1e-13, 2.2e-16, 1e-30, 1e-300])
def test_a_rare_win_is_fitted_to_its_own_size(rare):
    """Not only until it is below the tolerance: a nat a step halves the residual, which is no stall."""
    halves = np.full((2, 2), 0.25)
    for P in ([[0.5, 1.0 - rare], [rare, 0.5]], [[0.5, rare], [1.0 - rare, 0.5]]):
        assert np.ptp(fit_rewards(P, halves).rewards) == pytest.approx(-math.log(rare), rel=1e-10)
    third = np.full((3, 3), 1 / 9)
    P = [[0.5, 0.6, 1.0 - rare], [0.4, 0.5, 1.0 - rare], [rare, rare, 0.5]]
    r = fit_rewards(P, third).rewards
    assert r[2] == pytest.approx(math.log(2 * rare) - math.log1p(math.exp(-r[1])), abs=1e-8)


@pytest.mark.parametrize(("rare", "max_steps", "message"), [(1e-30, 60, "still move"), (1e-310, 10_000, "no digits")])
def test_a_rare_win_that_is_not_reached_is_an_error(rare, max_steps, message):
    with pytest.raises(CertificateError, match=message):
        fit_rewards([[0.5, rare], [1.0 - rare, 0.5]], np.full((2, 2), 0.25), max_steps=max_steps)


def test_fit_of_a_long_chain_converges():
    instance = correlated_instance(5.0, 300, 300.0**-3)
    fit = fit_rewards(instance.win_rates, instance.pair_weights)
    assert fit.residual < 1e-12
    assert (np.diff(fit.rewards) > 0).all()  # the reward climbs although utility falls


@pytest.mark.parametrize(
    ("utilities", "weights", "message"),
    [
        ([[0.2, 1.2]], None, r"utilities\[0, 1\] = 1.2"),
        ([[0.2, np.nan]], None, r"utilities\[0, 1\] = nan"),
        ([[0.2, 0.3]], [0.5], "weights sums to 0.5"),
        ([[0.2, 0.3]] * 2, [1.5, -0.5], r"weights\[1\] = -0.5"),
        ([[0.2, 0.3]] * 2, [1.0], "weights must have 2 entries"),
        ([0.2, 0.3], None, "shape"),
    ],
)
def test_bad_populations(utilities, weights, message):
    with pytest.raises(ValueError, match=message):
        Population(np.array(utilities), None if weights is None else np.array(weights))


@pytest.mark.parametrize("bt_beta", [0.0, -1.0, np.inf, np.nan])
def test_bad_temperature(bt_beta):
    with pytest.raises(ValueError, match="bt_beta"):
        Population(np.array([[0.2, 0.3]])).win_rates(bt_beta)


def test_bad_comparisons():
    fair = np.full((3, 3), 0.5)
    uniform = product_pairs(np.full(3, 1 / 3))
    broken = fair.copy()
    broken[0, 1] = 0.7
    with pytest.raises(ValueError, match=r"win_rates\[0, 1\] \+ win_rates\[1, 0\]"):
        fit_rewards(broken, uniform)
    with pytest.raises(ValueError, match="pair_weights sums to"):
        fit_rewards(fair, 2 * uniform)
    lopsided = uniform.copy()
    lopsided[0, 1] += 0.01
    with pytest.raises(ValueError, match="differs from"):
        fit_rewards(fair, lopsided)
    apart = np.diag([0.0, 0.0, 0.5])
    apart[0, 1] = apart[1, 0] = 0.25
    with pytest.raises(ValueError, match="disconnected"):
        fit_rewards(fair, apart)
    separable = np.array([[0.5, 1.0, 1.0], [0.0, 0.5, 0.5], [0.0, 0.5, 0.5]])
    with pytest.raises(ValueError, match=r"separable: alternatives \[0\]"):
        fit_rewards(separable, uniform)
    two = np.array([[0.5, 0.5, 1.0], [0.5, 0.5, 1.0], [0.0, 0.0, 0.5]])
    with pytest.raises(ValueError, match=r"separable: alternatives \[0, 1\]"):
        fit_rewards(two, uniform)


def test_a_step_solves_the_equations_of_the_graph(rng):
    """Σ_y w(x, y)(d_x − d_y) written out; what a node has with itself says nothing."""
    weights = rng.random((5, 5))
    weights += weights.T
    right = rng.normal(size=5)
    right -= right.mean()
    d = _solve_laplacian(weights, right)
    np.testing.assert_allclose((weights * (d[:, None] - d[None, :])).sum(axis=1), right, atol=1e-14)
