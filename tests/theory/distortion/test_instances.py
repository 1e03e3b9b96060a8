"""The worst-case instances, against every number that the literature and the specification give for them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.bad_input import bad_input_is_named
from theory.distortion.factors import borda_factor, borda_lower_factor, linear_factor, optimal_gamma
from theory.distortion.instances import (
    borda_instance,
    condorcet_instance,
    copeland_instance,
    correlated_instance,
    rlhf_instance,
)
from theory.distortion.measure import distortion
from theory.policy.nash import nlhf
from theory.policy.rewards import rlhf
from theory.social_choice.pairwise import borda, copeland


def test_i3_is_all_fair_coins_and_hides_the_linear_factor():
    instance = condorcet_instance(10.0, 10, 1e-3)
    u = instance.population.average_utility
    assert np.abs(instance.win_rates - 0.5).max() < 1e-15
    assert u[0] / u[1] == pytest.approx(5.000412, abs=5e-7)
    loser = condorcet_instance(10.0, 10, 1e-3, xi=1.01)
    assert (loser.win_rates[0, 1:] < 0.5).all()
    assert loser.distortion(borda(loser.win_rates)) == pytest.approx(linear_factor(10.0), rel=0.02)


@pytest.mark.parametrize("n_alternatives", [10, 100])
def test_i3_costs_a_uniform_labelling_the_value_of_d2(n_alternatives):
    instance = condorcet_instance(10.0, n_alternatives, 1e-6)
    uniform = np.full(n_alternatives, 1 / n_alternatives)
    assert instance.distortion(uniform) == pytest.approx({10: 3.57, 100: 4.81}[n_alternatives], abs=5e-3)


@pytest.mark.parametrize("bt_beta", [1.0, 2.0, 5.0, 10.0, 20.0, 50.0])
def test_borda_reaches_its_factors_on_i5(bt_beta):
    instance = borda_instance(bt_beta, 1e-5)
    winner = borda(instance.win_rates, instance.mu)
    assert instance.names[int(winner.argmax())] == "c"
    assert instance.distortion(winner) == pytest.approx(borda_lower_factor(bt_beta), rel=1e-4)
    sharpest = borda_instance(bt_beta, 1e-5, optimal_gamma(bt_beta))
    assert sharpest.distortion(borda(sharpest.win_rates, sharpest.mu)) == pytest.approx(borda_factor(bt_beta), rel=1e-4)


def test_cloning_b_keeps_bordas_choice():
    instance = borda_instance(10.0, 1e-4, clones=50)
    winner = borda(instance.win_rates, instance.mu)
    assert instance.names[int(winner.argmax())] == "c"
    assert instance.win_rates.shape == (52, 52)


def test_the_types_of_i5_by_hand():
    """β = 2, ε = 0.3, γ = 0.4, w_B lowered by a tenth; log(3)/2 in place of γ where none is given."""
    margin = lambda z: 1 / (1 + math.exp(-z)) - 0.5
    first = margin(0.6) / (margin(2.0) + margin(0.6))
    second = 0.9 * first * margin(0.8) / margin(2.0)
    instance = copeland_instance(2.0, 0.3, 0.4, clones=2, slack=0.1)
    expected = [[0.6, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.3], [0.0, 0.0, 0.0, 0.39]]
    np.testing.assert_allclose(instance.population.utilities, expected, rtol=1e-14)
    np.testing.assert_allclose(instance.population.weights, [first, second, 1.0 - first - second], rtol=1e-13)
    np.testing.assert_allclose(instance.mu, 0.25, rtol=1e-14)
    cloned = borda_instance(2.0, 0.3, 0.4, clones=3)
    np.testing.assert_allclose(cloned.mu, [0.03, *[0.94 / 3] * 3, 0.03], rtol=1e-14)
    assert cloned.population.weights[1] == pytest.approx(second / 0.9, rel=1e-13)
    assert borda_instance(2.0, 0.3).population.utilities[0, 0] == pytest.approx(1.0 - math.log(3.0) / 2.0, rel=1e-14)


def test_i3_and_i6_by_hand():
    """I3 at β = 2, ε = 0.3, ξ = 1.5; I6 at β = 5, η = 2, where e^{−2/η} is no rarity, and at η = 100, most of all."""
    margin = lambda z: 1 / (1 + math.exp(-z)) - 0.5
    share = margin(0.6) / (margin(2.0) + margin(0.6))
    i3 = condorcet_instance(2.0, 3, 0.3, 1.5)
    np.testing.assert_allclose(i3.population.weights, [share, 1.0 - share], rtol=1e-14)
    np.testing.assert_allclose(i3.population.utilities, [[1.0, 0.0, 0.0], [0.0, 0.45, 0.45]], rtol=1e-14)
    np.testing.assert_allclose(i3.pair_weights, 1 / 9, rtol=1e-14)
    np.testing.assert_allclose(i3.reference, 1 / 3, rtol=1e-14)
    delta = 10 / (10 + math.exp(5))
    clones = math.ceil(2 / (delta * (1 / 3 - math.e / 10)))
    for eta in (2.0, 100.0):
        i6, rare = rlhf_instance(5.0, eta), math.exp(-2.0 / eta)
        np.testing.assert_allclose(i6.reference, [(1 - rare) / 2, (1 - rare) / 2, rare], rtol=1e-13)
        np.testing.assert_allclose(i6.mu * (clones + 2), [1.0, 1.0, clones], rtol=1e-13)
        np.testing.assert_allclose(i6.population.weights, [delta, 1.0 - delta], rtol=1e-14)
        np.testing.assert_allclose(i6.population.utilities, [[0.0, 1.0, 0.0], [0.2, 0.0, 1.0]], rtol=1e-14)
    assert i6.multiplicity.tolist() == [1.0, 1.0, clones]


@pytest.mark.parametrize("clones", [2, 3, 7])
def test_copeland_is_fooled_by_clones(clones):
    instance = copeland_instance(10.0, 1e-6, optimal_gamma(10.0), clones=clones)
    winner = copeland(instance.win_rates)
    assert instance.names[int(winner.argmax())] == "c"
    assert instance.distortion(winner) == pytest.approx(8.025, abs=5e-4)


@pytest.mark.parametrize(
    ("bt_beta", "expected"),
    [(5, 2.9682632), (8, 37.261973), (10, 220.26458), (12, 1356.2865), (15, 21792.356), (20, 2407902.3)],
)
def test_rlhf_on_i6(bt_beta, expected):
    instance = rlhf_instance(bt_beta)
    policy = rlhf(instance.win_rates, instance.pair_weights, tau=1.0, log_reference=instance.log_reference)
    assert instance.names[int(policy.argmax())] == "b"
    assert instance.distortion(policy) == pytest.approx(expected, rel=1e-7)


def test_an_instance_measures_in_its_own_ball():
    instance = rlhf_instance(10.0)
    policy = nlhf(instance.win_rates, tau=instance.tau, log_reference=instance.log_reference).policy
    own = distortion(instance.population, policy, tau=instance.tau, log_reference=instance.log_reference)
    assert instance.distortion(policy) == own <= linear_factor(10.0)
    assert distortion(instance.population, policy) > linear_factor(10.0)  # the benchmark left the ball: a trap


def test_i6_up_to_ten_trillion_clones():
    instance = rlhf_instance(30.0, eta=1e-16)
    assert instance.multiplicity[2] > 1e13
    assert rlhf_instance(10.0).multiplicity[2] == 71658
    policy = rlhf(instance.win_rates, instance.pair_weights, tau=1.0, log_reference=instance.log_reference)
    assert instance.distortion(policy) == pytest.approx(math.exp(30) / 300, rel=1e-4)
    nash = nlhf(instance.win_rates, tau=1.0, log_reference=instance.log_reference)
    assert instance.distortion(nash.policy) <= linear_factor(30.0)


@pytest.mark.parametrize(
    ("bt_beta", "sizes"),
    [
        (5.0, {5: 1.3666, 20: 2.8564, 100: 6.6831, 300: 11.7028}),
        (10.0, {5: 1.5413, 20: 4.9224, 100: 13.0329, 300: 23.2161}),
    ],
)
def test_rlhf_climbs_to_the_end_of_i9(bt_beta, sizes):
    for A, expected in sizes.items():
        instance = correlated_instance(bt_beta, A, float(A) ** -3)
        policy = rlhf(instance.win_rates, instance.pair_weights, tau=instance.tau, log_reference=instance.log_reference)
        assert policy[-1] == 1.0
        assert instance.distortion(policy) == pytest.approx(expected, abs=5e-5)


def test_i9_with_too_many_other_pairs_stops_half_way():
    instance = correlated_instance(5.0, 300, 1e-4)
    policy = rlhf(instance.win_rates, instance.pair_weights, tau=instance.tau, log_reference=instance.log_reference)
    assert int(policy.argmax()) + 1 == 50
    assert instance.distortion(policy) == pytest.approx(4.66, abs=5e-3)


test_bad_parameters = bad_input_is_named(
    (lambda: rlhf_instance(5.0, eta=1e-308), "eta = 1e-308"),
    (lambda: condorcet_instance(10.0, 1, 1e-3), "n_alternatives = 1"),
    (lambda: condorcet_instance(10.0, 3, 0.6, xi=2.0), "xi = 2.0"),
    (lambda: condorcet_instance(10.0, 3, 1e-3, xi=0.9), "xi = 0.9"),
    (lambda: condorcet_instance(1e-280, 3, 1e-12), "below 1e-300"),
    (lambda: borda_instance(10.0, 0.0), "epsilon = 0.0"),
    (lambda: borda_instance(10.0, 0.6), "epsilon = 0.6"),
    (lambda: correlated_instance(1e-151, 4, 0.1), "bt_beta = 1e-151"),
    (lambda: borda_instance(10.0, 1e-3, gamma=1.5), "gamma = 1.5"),
    (lambda: copeland_instance(10.0, 1e-3, clones=1), "clones = 1"),
    (lambda: rlhf_instance(0.5), "bt_beta = 0.5"),
    (lambda: rlhf_instance(5.0, eta=0.0), "eta = 0.0"),
    (lambda: correlated_instance(5.0, 2, 1e-3), "n_alternatives = 2"),
    (lambda: correlated_instance(5.0, 5, 1.0), "epsilon = 1.0"),
)


def test_the_range_of_beta_of_i6() -> None:
    """e^β clones are counted in float64: up to 700, and beyond it the range is named instead of an overflow."""
    instance = rlhf_instance(700.0)
    assert np.isfinite(instance.multiplicity).all()
    np.testing.assert_allclose(instance.pair_weights.sum(), 1.0)
    with pytest.raises(ValueError, match=r"bt_beta = 1000 must be in \[1, 700\]"):
        rlhf_instance(1000)
