"""Newton's method on the response map: its derivative, its steps by GMRES and by LU, and how few products it takes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import rel_entr

from tests.oracles.games import bradley_terry_mixture, dirichlet, random_game
from theory.policy.kl_ball import KLBall, tilt
from theory.policy.newton import _dense, _krylov, _Problem, fixed_point

TAU = 0.3


def problem_at(weight, rng, size=20):
    reference = rng.dirichlet(np.full(size, 5.0))
    problem = _Problem(random_game(size, 0), KLBall(np.log(reference), TAU), weight)
    return problem, problem.respond(problem.payoffs(reference), 1.0 / (weight or TAU)), reference


def derivative(problem, at):
    """κC of the module's docstring: diag(π) projected on 1ᵀdπ = 0 and, in the ball, hᵀdπ = 0."""
    D = np.diag(at.policy)
    B = np.stack([np.ones(at.policy.size), *([] if problem.weight else [at.scores - at.policy @ at.scores])], axis=1)
    return at.slope * (D - D @ B @ np.linalg.solve(B.T @ D @ B, B.T @ D))


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_both_steps_are_the_same(weight, rng):
    """Up to a constant, to the accuracy of GMRES near a solution; in a ball, and with a penalty."""
    problem, at, _ = problem_at(weight, rng)
    dense, krylov = _dense(problem, at, 1.5), _krylov(problem, replace(at, size=0.0), 1.5, 20)
    centred = [step - at.policy @ step for step in (dense, krylov)]
    np.testing.assert_allclose(centred[0], centred[1], atol=1e-3 * np.abs(centred[0]).max())


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_a_step_solves_the_system_of_implicit_euler(weight, rng):
    problem, at, _ = problem_at(weight, rng)
    M, shift = problem.P - 0.5, 1.5
    system = shift * np.eye(20) - M @ derivative(problem, at)
    np.testing.assert_allclose(system @ _dense(problem, at, shift), at.residual, atol=1e-13)
    krylov = _krylov(problem, replace(at, size=0.0), shift, 20)
    left = system @ krylov - at.residual
    left -= at.policy @ left
    assert np.sqrt(at.policy @ left**2) <= 2e-4 * np.sqrt(at.policy @ at.residual**2)


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_a_response_is_best_and_says_what_it_gains(weight, rng):
    """ρ(v), κ and the derivative of ρ by finite differences; residual, its size, and the gap from the definition."""
    problem, at, reference = problem_at(weight, rng)
    M, logs = problem.P - 0.5, np.log(reference)
    np.testing.assert_allclose(at.policy, tilt(logs, at.slope * at.scores), rtol=1e-12)
    distance = rel_entr(at.policy, reference).sum()
    assert (at.slope * weight if weight else distance) == pytest.approx(1.0 if weight else TAU, rel=1e-12)
    towards, h = rng.normal(size=20), 1e-5
    ends = [problem.respond(at.scores + side * h * towards, at.slope).policy for side in (1.0, -1.0)]
    np.testing.assert_allclose((ends[0] - ends[1]) / (2 * h), derivative(problem, at) @ towards, atol=1e-9)

    np.testing.assert_allclose(problem.payoffs(2.0 * reference), M @ (2.0 * reference), atol=1e-15)
    values = M @ at.policy
    residual = values - at.scores
    residual -= at.policy @ residual
    np.testing.assert_allclose(at.residual, residual, atol=1e-15)
    assert at.size == pytest.approx(at.slope * math.sqrt(at.policy @ residual**2), rel=1e-12)
    against = problem.respond(values, at.slope).policy
    payoff = lambda policy: policy @ values - weight * rel_entr(policy, reference).sum()
    assert at.gap == pytest.approx(payoff(against) - payoff(at.policy), rel=1e-10)


@pytest.mark.parametrize("slope", [1e-3, 0.7, 40.0])
def test_the_slope_of_the_ball_is_found_from_afar(slope, rng):
    problem, at, _ = problem_at(0.0, rng)
    assert problem.respond(at.scores, slope).slope == pytest.approx(at.slope, rel=1e-9)


@pytest.mark.parametrize(
    ("make", "size", "tau", "weight", "most"),
    [
        (bradley_terry_mixture, 20, 0.4, 0.0, 9),
        (bradley_terry_mixture, 40, 0.6, 0.0, 12),
        (random_game, 20, 0.4, 0.0, 20),
        (random_game, 40, 0.6, 0.0, 25),
        (random_game, 40, 0.85, 0.0, 36),
        (random_game, 40, math.inf, 0.02, 28),
        (random_game, 150, 0.7, 0.0, 57),
    ],
)
def test_a_gap_of_1e_13_takes_few_products(make, size, tau, weight, most, monkeypatch):
    """By Anderson acceleration of mixtures; by 3 to 8 steps of Newton's method more of games that are no mixtures."""
    products = []
    payoffs = _Problem.payoffs
    monkeypatch.setattr(_Problem, "payoffs", lambda self, measure: products.append(1) or payoffs(self, measure))
    game = make(size, 1, 20.0) if make is bradley_terry_mixture else make(size, 1)
    ball = KLBall(np.log(dirichlet(size, 1)), tau)
    assert fixed_point(game, ball, 1e-13, weight=weight) is not None
    assert len(products) <= most
