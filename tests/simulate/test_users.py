"""Sampling by sufficient statistics: the right law, at a cost that does not depend on the number of users."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.stats import chisquare

from simulate.populations import adversary, random_population
from simulate.users import play_plurality_veto, sample_comparisons, sample_keys
from theory.bradley_terry import Population, product_pairs
from theory.social_choice.places import top_choice

POPULATION = Population(np.array([[1.0, 0.2, 0.5], [0.0, 0.9, 0.4]]), np.array([0.3, 0.7]))
UNIFORM = product_pairs(np.full(3, 1 / 3))


def test_win_counts_follow_win_rates(rng):
    data = sample_comparisons(POPULATION, 4.0, UNIFORM, 10**7, rng=rng)
    exact = POPULATION.win_rates(4.0)
    for x, y in ((0, 1), (0, 2), (1, 2)):
        n = data.counts[x, y]
        assert abs(data.wins[x, y] / n - exact[x, y]) < 4 * 0.5 / np.sqrt(n)
    assert data.total == 10**7
    # product sampling spends a third of the comparisons on an alternative with itself
    assert data.counts.sum() / 2 == pytest.approx(2 / 3 * 10**7, rel=1e-2)


def test_pairs_follow_a_correlated_law(rng):
    pairs = np.array([[0.0, 0.4, 0.05], [0.4, 0.0, 0.05], [0.05, 0.05, 0.0]])
    data = sample_comparisons(POPULATION, 4.0, pairs, 10**5, rng=rng)
    observed = data.counts[np.triu_indices(3, 1)]
    assert chisquare(observed, 1e5 * np.array([0.8, 0.1, 0.1])).pvalue > 1e-4
    np.testing.assert_allclose(data.pair_weights().sum(), 1.0)


def test_answers_of_one_user_share_a_type(rng):
    # One user, two types that disagree: all answers come from one of the two, never from the mixture.
    population = Population(np.array([[1.0, 0.0], [0.0, 1.0]]))
    pairs = np.array([[0.0, 0.5], [0.5, 0.0]])
    shares = [sample_comparisons(population, 20.0, pairs, 1, 1000, rng=rng).win_rates()[0, 1] for _ in range(20)]
    assert all(share > 0.99 or share < 0.01 for share in shares)


def test_a_trillion_users_cost_what_a_thousand_cost(rng):
    def seconds(n_users: int) -> float:
        best = np.inf
        for _ in range(5):
            started = time.perf_counter()
            for _ in range(50):
                sample_comparisons(POPULATION, 4.0, UNIFORM, n_users, rng=rng)
            best = min(best, time.perf_counter() - started)
        return best

    assert seconds(10**12) < 5 * seconds(10**3)  # the least of five runs, so that a busy machine does not decide


def test_unobserved_pairs_are_reported(rng):
    pairs = np.array([[0.0, 0.5, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, 0.0]])
    data = sample_comparisons(POPULATION, 4.0, pairs, 100, rng=rng)
    assert data.unobserved.tolist() == [[0, 2], [1, 2]]
    with pytest.raises(ValueError, match=r"2 pairs were never compared, the first is \(0, 2\)"):
        data.win_rates()
    assert data.win_rates(unobserved=0.5)[0, 2] == 0.5
    with pytest.raises(ValueError, match="only ½"):
        data.win_rates(unobserved=0.7)


@pytest.mark.parametrize(
    ("n_users", "per_user"), [(0, 1), (1, 0), (10**18, 100), (1.5, 1), (5, 2.5), (np.nan, 1), ("5", 1)]
)
def test_bad_counts(n_users, per_user, rng):
    with pytest.raises(ValueError, match=r"n_users|per_user"):
        sample_comparisons(POPULATION, 4.0, UNIFORM, n_users, per_user, rng=rng)


def test_weights_that_sum_to_one_up_to_their_tolerance_can_be_drawn_from(rng):
    users = Population([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], [0.5 + 5e-10, 0.5, 0.0])
    assert sample_comparisons(users, 2.0, [[0.0, 0.5], [0.5, 0.0]], 100, rng=rng).wins.sum() == 100
    with pytest.raises(TypeError, match="population must be a Population"):
        sample_comparisons([[1.0, 0.0]], 2.0, [[0.0, 0.5], [0.5, 0.0]], 100, rng=rng)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: random_population(rng, max_types=0), "max_types = 0"),
        (lambda rng: random_population(rng, max_alternatives=1), "max_alternatives = 1"),
        (lambda rng: random_population(rng, max_types=1.5), "max_types = 1.5"),
        (lambda rng: adversary(lambda p: 1.0, rng, 0, 5), "starts = 0"),
        (lambda rng: adversary(lambda p: 1.0, rng, 5, -1), "steps = -1"),
    ],
)
def test_bad_sizes(call, message, rng):
    with pytest.raises(ValueError, match=message):
        call(rng)


def test_rankings_are_plackett_luce(rng):
    keys = sample_keys(POPULATION, 3.0, 40_000, rng)
    observed = np.bincount(keys.argmax(axis=1), minlength=3)
    assert chisquare(observed, 40_000 * top_choice(POPULATION, 3.0)).pvalue > 1e-4


def test_plurality_veto_by_hand():
    # Five voters over a, b, c; first places a 2, b 2, c 1. Voter 1 vetoes c (out), voter 2 takes one from b,
    # voter 3 from a, voter 4 from a (out): b is left.
    rankings = [(0, 1, 2), (0, 2, 1), (1, 2, 0), (1, 2, 0), (2, 0, 1)]
    keys = np.zeros((5, 3))
    for voter, order in enumerate(rankings):
        keys[voter, list(order)] = [3.0, 2.0, 1.0]
    assert play_plurality_veto(keys) == 1


def test_the_adversary_climbs_and_repeats():
    def badness(population: Population) -> float:
        return float(population.utilities.mean())

    first = adversary(badness, np.random.default_rng(1), 3, 200)
    again = adversary(badness, np.random.default_rng(1), 3, 200)
    assert first[0] == again[0] > 0.9
    known = random_population(np.random.default_rng(2))
    assert adversary(badness, np.random.default_rng(1), 1, 0, [known])[0] >= badness(known)


def test_several_comparisons_of_each_user_are_all_counted():
    users = Population([[1.0, 0.5], [0.0, 0.5]])
    counts = sample_comparisons(users, 2.0, [[0.0, 0.5], [0.5, 0.0]], 40, per_user=3, rng=np.random.default_rng(0))
    assert counts.total == counts.wins.sum() == 120
