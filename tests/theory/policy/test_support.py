"""Parts of the lottery of a dense game: regret matching, who is surely played, and the elimination of those."""

from __future__ import annotations

import numpy as np
import pytest

from tests.oracles.games import lottery_by_program, random_game
from theory.policy.support import (
    EXACT,
    ROUGH,
    _divide,
    _eliminate,
    _indifference,
    _regret_matching,
    _score,
    dense_lottery,
)


def test_the_system_of_indifference():
    M = random_game(5, 1) - 0.5
    system = np.block([[M, -np.ones((5, 1))], [np.ones((1, 5)), np.zeros((1, 1))]])
    np.testing.assert_array_equal(_indifference(M), system)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_surely_played_is_eliminated(seed):
    """The game of the doubtful and of all others as one has the lottery of the whole game."""
    P = random_game(31, seed)
    expected = lottery_by_program(P)
    played = np.flatnonzero(expected > 1e-9)
    assert played.size > 5
    sure = played[: 2 * (played.size // 4) + 1]
    games = []
    solve = lambda small, _: games.append(small) or lottery_by_program(small)
    found = _eliminate(P - 0.5, sure, np.setdiff1d(np.arange(31), sure), solve, 0.0)
    np.testing.assert_allclose(found, expected, atol=1e-8)
    np.testing.assert_allclose(games[0] + games[0].T, 1.0, atol=1e-15)
    assert np.abs(games[0] - 0.5).max() == pytest.approx(0.5, rel=1e-14)
    assert np.abs(games[0][-1] - 0.5).max() == pytest.approx(np.abs(games[0][:-1, :-1] - 0.5).max(), rel=1e-12)
    assert _eliminate(P - 0.5, sure[:1], np.setdiff1d(np.arange(31), sure[:1]), lambda *_: None, 0.0) is None


def test_regret_matching_comes_near_and_says_what_it_earns():
    """Of averages of weight t² after 100 steps a gain of 1e-3 is left."""
    M = random_game(150, 1) - 0.5
    looks = []
    policy, payoffs = _regret_matching(M, lambda average: looks.append(average) or True)
    assert policy.sum() == pytest.approx(1.0, abs=1e-12)
    assert len(looks) == 10
    np.testing.assert_allclose(looks[-1], policy, atol=1e-15)
    np.testing.assert_allclose(payoffs, M @ policy, atol=1e-6)
    assert (M @ policy).max() <= 1.2e-3
    assert (M @ looks[1]).max() <= 0.025
    assert _regret_matching(M, lambda average: False) is None
    first = []
    assert _regret_matching(M, lambda average: first.append(average) or False) is None
    assert len(first) == 1


def test_scores_count_both_signs_in_their_own_size():
    policy, payoffs = np.array([0.6, 0.4, 0.0, 0.0]), np.array([0.0, 0.0, -0.1, -0.2])
    np.testing.assert_allclose(
        _score(policy, payoffs),
        [0.6 / np.sqrt(0.13), 0.4 / np.sqrt(0.13), -0.1 / np.sqrt(0.0125), -0.2 / np.sqrt(0.0125)],
    )
    np.testing.assert_allclose(_score(policy, 0.0 * payoffs), policy / np.sqrt(0.13))


def test_the_doubtful_are_mistakes_and_low_scores():
    """An odd number is sure: the lowest of them is doubtful too where it must be."""
    score = np.array([3.0, -2.0, 0.5, -0.1, 1.0, 2.0, 0.9])
    wrong, none = np.arange(7) == 0, np.zeros(7, dtype=bool)
    for count, mistaken, sure, doubtful in (
        (1, none, [0, 2, 4, 5, 6], [3]),
        (2, none, [0, 4, 5], [2, 3, 6]),
        (2, wrong, [4, 5, 6], [0, 2, 3]),
    ):  # fmt: skip
        for found, expected in zip(_divide(score, mistaken, count), (sure, doubtful), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("size", "seed", "expected"),
    [(128, 0, [(27, ROUGH), (13, EXACT)]), (201, 1, [(42, ROUGH)]), (301, 4, [(62, ROUGH)])],
)
def test_a_fifth_is_doubtful_then_a_tenth_where_one_round_is_not_enough(size, seed, expected):
    rounds = []
    P = random_game(size, seed)

    def central(part, gap):
        rounds.append((part.shape[0], gap))
        return lottery_by_program(part)

    found = dense_lottery(P, central, lambda average: True)
    assert (P @ found).max() - 0.5 <= 1e-14
    assert rounds == expected


def test_after_a_rough_round_that_does_not_tell_the_support_comes_an_exact_one():
    """Without the doubtful alternative that is played least, of those that are taken for sure none is a mistake."""
    P, gaps = random_game(201, 1), []

    def central(part, gap):
        gaps.append(gap)
        found = lottery_by_program(part)
        if gap == ROUGH:
            found[np.where(found[:-1] > 1e-9, found[:-1], 1.0).argmin()] = 0.0
        return found

    found = dense_lottery(P, central, lambda average: True)
    assert (P @ found).max() - 0.5 <= 1e-14
    assert gaps == [ROUGH, EXACT]
