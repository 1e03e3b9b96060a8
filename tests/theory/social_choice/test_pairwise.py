"""Voting rules on win rates, the flat table of methods, and their distortion bounds as properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given

from tests.oracles.strategies import bt_betas, distributions, populations
from theory.bradley_terry import Population, fit_rewards, product_pairs
from theory.distortion.factors import borda_factor, linear_factor
from theory.distortion.measure import distortion
from theory.distortion.methods import METHODS, Situation
from theory.policy.nash import maximal_lottery
from theory.social_choice.pairwise import borda, borda_scores, copeland, copeland_scores, welfare_optimum
from theory.social_choice.ties import winners

# x beats y by 0.6, y beats z by 0.7, z beats x by 0.9: a cycle in which Borda picks z (0.9 + 0.3 − 1 > others).
CYCLE = np.array([[0.5, 0.6, 0.1], [0.4, 0.5, 0.7], [0.9, 0.3, 0.5]])


def test_scores_by_hand():
    np.testing.assert_allclose(borda_scores(CYCLE), [1.2 / 3, 1.6 / 3, 1.7 / 3], atol=1e-15)
    np.testing.assert_array_equal(borda(CYCLE), [0, 0, 1])
    np.testing.assert_array_equal(borda(CYCLE, [0.0, 1.0, 0.0]), [1, 0, 0])
    np.testing.assert_array_equal(copeland_scores(CYCLE), [1, 1, 1])
    np.testing.assert_allclose(copeland(CYCLE), np.full(3, 1 / 3))
    tied = np.array([[0.5, 0.5, 0.6], [0.5, 0.5, 0.4], [0.4, 0.6, 0.5]])
    np.testing.assert_array_equal(copeland_scores(tied), [1.5, 0.5, 1.0])  # a tie counts ½
    np.testing.assert_array_equal(welfare_optimum([0.2, 0.7, 0.7]), [0, 0.5, 0.5])


def test_ties_have_a_tolerance():
    np.testing.assert_array_equal(winners([1.0, 1.0 - 1e-15, 0.9]), [0.5, 0.5, 0])
    np.testing.assert_array_equal(winners([1.0, 1.0 - 1e-15, 0.9], 0.0), [1, 0, 0])


def test_an_alternative_ties_with_itself_whatever_rounding_says():
    """Win rates are accepted within 1e-9, on the diagonal too."""
    for slack in (4e-10, -4e-10):
        np.testing.assert_array_equal(copeland_scores([[0.5 + slack, 0.5], [0.5, 0.5]]), [0.5, 0.5])


@given(populations(), bt_betas)
def test_lottery_never_loses_more_than_the_linear_factor(population, bt_beta):
    P = population.win_rates(bt_beta)
    assume(np.abs(P - 0.5).max() > 1e-12)  # fainter margins are what float64 rounded, and may be refused
    policy = maximal_lottery(P).policy  # D3
    u = population.average_utility
    assert u.max() <= linear_factor(bt_beta) * (u @ policy) + 1e-7


@given(populations(max_alternatives=4), bt_betas)
def test_borda_and_copeland_never_lose_more_than_their_factor(population, bt_beta):
    P = population.win_rates(bt_beta)  # D4, D6, for μ uniform and concentrated on each alternative
    factor = borda_factor(bt_beta) * (1 + 1e-9)
    A = P.shape[0]
    for mu in [np.full(A, 1 / A), *(1e-9 / A + (1 - 1e-9) * np.eye(A))]:
        assert distortion(population, borda(P, mu)) <= factor
    assert distortion(population, copeland(P)) <= factor


@given(populations(max_alternatives=4), distributions(4))
def test_maximum_likelihood_orders_as_borda_under_product_sampling(population, raw):
    P = population.win_rates(3.0)  # D13
    mu = raw[: P.shape[0]] / raw[: P.shape[0]].sum()
    rewards, scores = fit_rewards(P, product_pairs(mu)).rewards, borda_scores(P, mu)
    discordant = (np.subtract.outer(rewards, rewards) > 1e-9) & (np.subtract.outer(scores, scores) < -1e-9)
    assert not discordant.any()


def _situation(population: Population, bt_beta: float) -> Situation:
    A = population.utilities.shape[1]
    uniform = np.full(A, 1 / A)
    return Situation(population.win_rates(bt_beta), bt_beta, product_pairs(uniform), np.log(uniform), 0.5, population)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_a_policy_within_its_bound_and_treats_names_alike(name, rng):
    method = METHODS[name]
    for _ in range(5):
        U = rng.random((4, 5))
        population, order = Population(U), rng.permutation(5)
        policy = method.run(_situation(population, 5.0))
        assert policy.min() >= 0
        assert policy.sum() == pytest.approx(1.0, abs=1e-12)
        permuted = method.run(_situation(Population(U[:, order]), 5.0))
        np.testing.assert_allclose(permuted, policy[order], atol=1e-6)  # neutrality
        if method.bound is not None:
            reference = np.full(5, 0.2)
            tau = 0.5 if method.ball else math.inf
            assert distortion(population, policy, reference, tau) <= method.bound(5.0, 5) + 1e-7


def test_rules_on_rankings_say_that_they_need_voters():
    fair = Situation(np.full((2, 2), 0.5), 1.0, np.full((2, 2), 0.25), np.log([0.5, 0.5]), 1.0)
    with pytest.raises(ValueError, match="needs a population"):
        METHODS["plurality"].run(fair)


def test_collapsed_instances_are_refused():
    with pytest.raises(ValueError, match=r"multiplicity\[2\] = 7: copeland counts alternatives"):
        copeland(CYCLE, multiplicity=[1, 1, 7])
    with pytest.raises(ValueError, match=r"win_rates\[0, 1\] = 1.2"):
        borda(np.array([[0.5, 1.2], [-0.2, 0.5]]))
