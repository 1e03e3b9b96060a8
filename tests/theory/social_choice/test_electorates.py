"""Rules on rankings for many electorates: against adaptive integrals one by one, and in time for a hundred items."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.oracles.veto import exit_times
from theory.bradley_terry import Population
from theory.distortion.methods import METHODS
from theory.social_choice import electorates
from theory.social_choice.places import bottom_choice, top_choice

RULES = {name: method for name, method in METHODS.items() if method.looks_at == "rankings"}


@pytest.mark.parametrize("bt_beta", [0.3, 5.0, 40.0, 700.0])
def test_last_places_equal_adaptive_integrals_as_alternatives_drop_out(bt_beta, monkeypatch):
    """Also where tables do not all fit, and for electorates that are done with before others."""
    rng = np.random.default_rng(3)
    users = Population(np.vstack([rng.random((9, 8)), np.full(8, 0.5), np.repeat(rng.random((1, 4)), 2, axis=1)]))
    weights = np.vstack([users.weights, rng.dirichlet(np.ones(11))])
    for block, kept in ((electorates.BLOCK, electorates.KEPT), (1, 3000), (1, 0)):
        monkeypatch.setattr(electorates, "BLOCK", block)
        monkeypatch.setattr(electorates, "KEPT", kept)
        last, standing = electorates.LastPlaces(users.utilities, weights, bt_beta), np.ones((2, 8), dtype=bool)
        for drop in ((7, 6), (0, 0), (5, 1), (3, 3), (1, 5), (6, 7)):
            found = last.of(standing)
            for row in (0, 1):
                expected = bottom_choice(Population(users.utilities, weights[row]), bt_beta, standing[row])
                np.testing.assert_allclose(found[row], expected, rtol=0, atol=1e-12)
                standing[row, drop[row]] = False
        standing[0] = False
        expected = bottom_choice(Population(users.utilities, weights[1]), bt_beta, standing[1])
        np.testing.assert_allclose(last.of(standing), [np.zeros(8), expected], rtol=0, atol=1e-12)
        standing[0] = True  # back again
        expected = bottom_choice(Population(users.utilities, weights[0]), bt_beta)
        np.testing.assert_allclose(last.of(standing)[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("bt_beta", [0.5, 6.0, 900.0])
def test_first_places_among_those_that_stand(bt_beta):
    rng = np.random.default_rng(2)
    utilities, weights = rng.random((5, 6)), rng.dirichlet(np.ones(5), size=3)
    standing = np.array([[1, 1, 0, 1, 0, 1], [0, 0, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]], dtype=bool)
    found = electorates.first_places(utilities, weights, bt_beta, standing)
    for row, weight, members in zip(found, weights, standing, strict=True):
        odds = members * np.exp(bt_beta * (utilities - utilities[:, members].max(axis=1, keepdims=True)) * members)
        np.testing.assert_allclose(row, weight @ (odds / odds.sum(axis=1, keepdims=True)), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("bt_beta", [1.0, 8.0, 60.0])
def test_veto_flows_equal_one_electorate_at_a_time(bt_beta):
    rng = np.random.default_rng(int(bt_beta))
    utilities, weights = rng.random((12, 9)), rng.dirichlet(np.ones(12), size=60)
    start = electorates.first_places(utilities, weights, bt_beta)
    policies, times = electorates.veto_flows(start, utilities, weights, bt_beta)  # more than go side by side
    for row in (0, 7, 59):
        expected = exit_times(start[row], Population(utilities, weights[row]), bt_beta)
        np.testing.assert_allclose(times[row], expected, atol=1e-9)
        np.testing.assert_array_equal(policies[row], expected == 1.0)


@pytest.mark.parametrize("name", sorted(RULES))
def test_an_electorate_among_many_is_what_it_is_alone(name):
    rng = np.random.default_rng(5)
    utilities, weights = rng.random((20, 6)), rng.multinomial(20, np.full(20, 0.05), size=4) / 20
    together = RULES[name].rule(utilities, weights, 6.0)
    for row, weight in enumerate(weights):  # a resample leaves users out
        alone = RULES[name].rule(utilities[weight > 0], weight[None, weight > 0], 6.0)[0]
        np.testing.assert_allclose(together[row], alone, atol=1e-12)
    population = Population(utilities, weights[0])
    np.testing.assert_allclose(electorates.first_places(utilities, weights, 6.0)[0], top_choice(population, 6.0))


@pytest.mark.parametrize(("score", "kept"), [(0.255, [True, True]), (0.245, [False, True])])
def test_half_of_an_even_share_is_enough_not_to_be_pruned(score, kept, monkeypatch):
    seen, count = [], electorates.first_places
    monkeypatch.setattr(electorates, "first_places", lambda *of: seen.append(of[3:]) or count(*of))
    electorates.pruned_plurality_veto(np.array([[0.0, np.log(1 / score - 1)]]), np.ones((1, 1)), 1.0)
    assert seen[1][0].tolist() == [kept]


def test_plurality_veto_of_a_hundred_items_takes_seconds():
    """It took 35 s an electorate of this size; `bench_people` has the ratio to Borda."""
    rng = np.random.default_rng(0)
    users = Population(0.6 * rng.random((1473, 100)) + 0.4 * rng.random(100))
    began = time.process_time()
    METHODS["plurality_veto"].rule(users.utilities, users.weights[None], 5.0)
    assert time.process_time() - began < 10.0
