"""The game that methods are tried on: payoffs, gaps and the ball written out, and the support solved exactly."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, rel_entr

from tests.oracles.games import complement, dirichlet, lottery_by_program, random_game
from theory.policy.equilibrium import Game, _crossover, _distance, _grow, _sparse_lottery
from theory.policy.kl_ball import KLBall, kl

A = 7
P, REFERENCE = random_game(A, 2), dirichlet(A, 5)
UNEVEN = np.array([0.5, 0.0, 0.1, 0.1, 0.1, 0.1, 0.1])


@pytest.mark.parametrize("policy", [UNEVEN, np.eye(A)[2], np.eye(A)[1] * 0.3], ids=["dense", "one", "part of one"])
def test_payoffs_are_what_each_alternative_gains(policy):
    np.testing.assert_allclose(Game(P, KLBall(np.log(REFERENCE))).payoffs(policy), (P - 0.5) @ policy, atol=1e-15)


def test_the_gap_of_a_ball_is_the_dual_of_the_best_response():
    game, tau, values = Game(P, KLBall(np.log(REFERENCE), 0.2)), 0.2, (P - 0.5) @ UNEVEN
    dual = lambda log_lam: math.exp(log_lam) * (tau + float(logsumexp(np.log(REFERENCE) + values / math.exp(log_lam))))
    best = minimize_scalar(dual, bounds=(-8.0, 4.0), method="bounded", options={"xatol": 1e-10}).fun
    assert game.gap(UNEVEN) == pytest.approx(best, rel=1e-9, abs=0)
    free = Game(P, KLBall(np.log(REFERENCE)))
    assert free.free
    assert not game.free
    assert free.gap(UNEVEN) == pytest.approx(values.max(), rel=1e-14)


@pytest.mark.parametrize("weight", [0.05, 1.0, 0.99e4, 1.01e4])
def test_the_gap_of_a_penalty_is_what_the_best_response_gains(weight):
    game = Game(P, KLBall(np.log(REFERENCE)), weight)
    policy = game.response(game.payoffs(REFERENCE))
    policy = 0.999 * policy + 0.001 * UNEVEN
    values = (P - 0.5) @ policy
    response = REFERENCE * np.exp(values / weight)
    response /= response.sum()
    np.testing.assert_allclose(game.response(values), response, rtol=1e-12)
    # the gain is weight·KL(policy‖response), for payoffs linear in the other's policy
    assert game.gap(policy) == pytest.approx(weight * kl(policy, response), rel=1e-9 * max(1.0, weight), abs=0)
    assert not game.free


def test_near_laws_are_told_apart_to_relative_accuracy():
    """KL of p and p(1 + h): h²/2·Σp v² and terms of h³, from direct sums where those are accurate."""
    p = np.array([0.1, 0.2, 0.3, 0.4])
    v = np.array([2.0, -1.0, 0.0, 0.0])
    for h in (1e-9, 1e-6, 1e-3):
        expected = h * h / 2 * (p @ v**2) - h**3 / 3 * (p @ v**3) + h**4 / 4 * (p @ v**4)
        assert _distance(p, p * (1 + h * v)) == pytest.approx(expected, rel=1e-6, abs=0)
    q = np.array([0.4, 0.3, 0.2, 0.1])
    assert _distance(p, q) == pytest.approx(rel_entr(p, q).sum(), rel=1e-14)
    half = np.array([0.0, 0.0, 0.5, 0.5])
    assert _distance(half, q) == pytest.approx(rel_entr(half, q).sum(), rel=1e-14)
    assert _distance(q, half) == math.inf


def test_a_policy_outside_is_mixed_with_the_reference_until_it_is_inside():
    game = Game(P, KLBall(np.log(REFERENCE), 0.05))
    far = np.eye(A)[2]
    kept = 0.05 / -math.log(REFERENCE[2])
    np.testing.assert_allclose(game.inside(3.0 * far), kept * far + (1 - kept) * REFERENCE, rtol=1e-13)
    near = 0.9 * REFERENCE + 0.1 / A
    np.testing.assert_allclose(game.inside(2.0 * near), near, rtol=1e-14)
    np.testing.assert_array_equal(Game(P, KLBall(np.log(REFERENCE))).inside(far), far)


def test_the_support_that_a_point_shows_is_solved_exactly():
    lottery = lottery_by_program(P)
    support = lottery > 1e-9
    assert 3 <= support.sum() < A
    rough = np.where(support, lottery * (1.0 + 0.1 * np.cos(np.arange(A))), 1e-9)
    rough /= rough.sum()
    game = Game(P, KLBall(np.zeros(A)))

    def at(complementarity):
        return SimpleNamespace(
            pi=rough, s=np.where(support, 1e-9, 0.1), policy=lambda: rough, complementarity=lambda: complementarity
        )

    exact = _crossover(game, at(1e-7))
    np.testing.assert_allclose(exact, lottery, atol=1e-12)
    assert np.abs(((P - 0.5) @ exact)[support]).max() <= 1e-16
    np.testing.assert_array_equal(_crossover(game, at(1e-5)), rough)  # too early to tell


def planted(size, inner):
    """A game in which the last `inner` alternatives beat all others."""
    game = np.random.default_rng(3).random((size, size))
    game[:-inner, -inner:] *= 0.4
    return complement(game)


def test_a_support_grows_to_the_one_that_beats_the_rest():
    game = planted(120, 5)
    inner = lottery_by_program(game[-5:, -5:])
    free = Game(game, KLBall(np.full(120, -math.log(120))))
    for found in (_sparse_lottery(free, 1e-14), _grow(free, np.arange(8), None, 1e-14)):
        np.testing.assert_allclose(found[-5:], inner, atol=1e-10)
        assert not found[:-5].any()
    assert _sparse_lottery(Game(game[:32, :32], KLBall(np.zeros(32))), 1e-14) is None
    assert _grow(Game(random_game(120, 0), free.ball), np.arange(8), None, 1e-14) is None  # about 60 are played
