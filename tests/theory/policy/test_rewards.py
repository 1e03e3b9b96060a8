"""RLHF, its penalty and clipped forms, DPO, and distortion in a ball."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from simulate.distortion.win_rates import dpo_by_descent
from tests.oracles.strategies import populations
from theory.bradley_terry import Population, fit_rewards, product_pairs
from theory.distortion.measure import distortion
from theory.policy.kl_ball import kl, maximize_in_kl_ball, tilt
from theory.policy.rewards import clip_rewards, dpo, dpo_loss, rlhf, rlhf_penalty
from theory.social_choice.pairwise import borda


@given(populations(), st.floats(0.5, 20.0))
def test_rlhf_without_a_constraint_is_borda(population, bt_beta):
    P = population.win_rates(bt_beta)
    mu = np.full(P.shape[0], 1 / P.shape[0])
    u = population.average_utility
    # the same winners; where several tie, RLHF and Borda may differ by rounding but not in the set's utility
    assert u @ rlhf(P, product_pairs(mu), tie_tolerance=1e-9) == pytest.approx(
        u @ borda(P, mu, tie_tolerance=1e-11), abs=1e-6
    )


def test_penalty_form_is_the_lagrangian_optimum(rng):
    rewards, reference = rng.normal(size=5), rng.dirichlet(np.ones(5))
    best = rlhf_penalty(rewards, reference, 0.3)

    def objective(policy):
        return rewards @ policy - 0.3 * kl(policy, reference)

    for _ in range(200):
        assert objective(rng.dirichlet(5 * best + 0.1)) <= objective(best) + 1e-12


def test_penalty_and_constraint_give_the_same_policies(rng):
    # Prop 13: the penalty's policy solves the constrained problem whose budget is its own KL.
    rewards, reference = rng.normal(size=6), rng.dirichlet(np.ones(6))
    for weight in (0.05, 0.5, 5.0):
        penalty = rlhf_penalty(rewards, reference, weight)
        np.testing.assert_allclose(maximize_in_kl_ball(rewards, reference, kl(penalty, reference)), penalty, atol=1e-9)


def test_dpo_by_descent_is_penalty_rlhf(rng):
    P = Population(rng.random((3, 4))).win_rates(3.0)
    pairs = rng.random((4, 4)) + 0.1
    pairs = (pairs + pairs.T) / (pairs + pairs.T).sum()
    reference = rng.dirichlet(np.full(4, 3.0))
    trained, loss = dpo_by_descent(P, pairs, reference, 0.5, rng.normal(size=4))
    predicted = dpo(P, pairs, reference, 0.5)
    np.testing.assert_allclose(trained, predicted, atol=1e-7)
    assert loss == pytest.approx(dpo_loss(predicted, P, pairs, reference, 0.5), abs=1e-13)
    np.testing.assert_allclose(predicted, rlhf_penalty(fit_rewards(P, pairs).rewards, reference, 0.5))


def test_dpo_loss_at_the_reference_is_log_2(rng):
    reference = rng.dirichlet(np.ones(4))
    P = Population(rng.random((3, 4))).win_rates(3.0)
    uniform = product_pairs(np.full(4, 0.25))
    assert dpo_loss(reference, P, uniform, reference, 0.7) == pytest.approx(math.log(2), abs=1e-14)


def test_dpo_loss_by_hand():
    # one comparison of two alternatives, x preferred with probability 0.9
    P = np.array([[0.5, 0.9], [0.1, 0.5]])
    pairs = np.array([[0.0, 0.5], [0.5, 0.0]])
    policy, reference = np.array([0.6, 0.4]), np.array([0.5, 0.5])
    gap = 2.0 * math.log(0.6 / 0.4)
    expected = 0.9 * math.log1p(math.exp(-gap)) + 0.1 * math.log1p(math.exp(gap))
    assert dpo_loss(policy, P, pairs, reference, 2.0) == pytest.approx(expected, abs=1e-14)
    with pytest.raises(ValueError, match=r"policy\[1\] = 0"):
        dpo_loss([1.0, 0.0], P, pairs, reference, 2.0)


def test_clipping_is_centred_at_the_reference():
    np.testing.assert_allclose(clip_rewards([0.0, 1.0, 10.0], 2.0, [0.5, 0.5, 0.0]), [-0.5, 0.5, 2.0])
    np.testing.assert_allclose(clip_rewards([0.0, 3.0], 10.0), [-1.5, 1.5])
    with pytest.raises(ValueError, match=r"level = -1\.0 must be >= 0"):
        clip_rewards([0.0], -1.0)


def test_clip_level_zero_leaves_the_reference_and_infinity_changes_nothing(rng):
    population, reference = Population(rng.random((3, 4))), rng.dirichlet(np.ones(4))
    P, pairs = population.win_rates(4.0), product_pairs(np.full(4, 0.25))
    np.testing.assert_allclose(rlhf(P, pairs, reference, 0.2, clip=0.0), reference, atol=1e-12)
    np.testing.assert_allclose(rlhf(P, pairs, reference, 0.2, clip=1e6), rlhf(P, pairs, reference, 0.2), atol=1e-8)


def test_log_reference_is_the_same_argument(rng):
    population, reference = Population(rng.random((3, 4))), rng.dirichlet(np.ones(4))
    P, pairs, logs = population.win_rates(4.0), product_pairs(np.full(4, 0.25)), np.log(reference)
    np.testing.assert_allclose(rlhf(P, pairs, reference, 0.3), rlhf(P, pairs, tau=0.3, log_reference=logs), atol=1e-9)
    rewards = rng.normal(size=4)
    np.testing.assert_allclose(
        rlhf_penalty(rewards, None, 0.5, log_reference=logs), np.exp(log_softmax(logs + rewards / 0.5)), atol=1e-14
    )
    policy = rng.dirichlet(np.ones(4))
    assert distortion(population, policy, reference, 0.3) == pytest.approx(
        distortion(population, policy, tau=0.3, log_reference=logs), rel=1e-12
    )


def test_the_smallest_numbers_there_are_overflow_nothing():
    assert rlhf_penalty([1.36, 0.77, -1.09], [0.4, 0.4, 0.2], 1e-308).tolist() == [1.0, 0.0, 0.0]
    assert rlhf_penalty([1e308, 1e308], [0.4, 0.6], 1e-5).tolist() == [0.4, 0.6]
    pi = maximize_in_kl_ball([1.0, 0.0], [1e-320, 1.0], tau=1.0)
    assert kl(pi, [1e-320, 1.0]) == pytest.approx(1.0, abs=1e-9)


def test_distortion_by_hand():
    population = Population(np.array([[1.0, 0.2], [0.5, 0.0]]), np.array([0.4, 0.6]))
    assert distortion(population, [0.0, 1.0]) == pytest.approx(0.7 / 0.08)
    assert distortion(population, [1.0, 0.0]) == 1.0
    assert distortion(population, [0.5, 0.5], [0.5, 0.5], 0.0) == pytest.approx(1.0)
    assert distortion(Population(np.array([[0.0, 1.0]])), [1.0, 0.0]) == math.inf
    with pytest.raises(ValueError, match="undefined"):
        distortion(Population(np.array([[0.0, 0.0]])), [1.0, 0.0])
    with pytest.raises(ValueError, match="policy sums to"):
        distortion(population, [0.5, 0.6])
    with pytest.raises(ValueError, match="needs reference"):
        rlhf_penalty([1.0, 2.0], None, 1.0)


@pytest.mark.parametrize("weight", [1.0, 1e-9, 1e-13, 1e-16, 1e-300])
def test_ties_follow_the_reference_however_light_the_penalty(weight):
    """Scores of 1/weight are above the digits of log π_ref: at 1e-16 the tie went .12 : .88 instead of 3 : 5."""
    reference = np.array([0.3, 0.5, 0.2])
    rest = 0.2 * math.exp(-1.0 / weight)
    expected = np.array([0.3, 0.5, rest]) / (0.8 + rest)
    np.testing.assert_allclose(rlhf_penalty([1.0, 1.0, 0.0], reference, weight), expected, rtol=1e-13)
    np.testing.assert_allclose(tilt(np.log(reference), np.array([1.0, 1.0, 0.0]) / weight), expected, rtol=1e-13)
