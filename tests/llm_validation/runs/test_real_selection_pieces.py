"""Pieces of Best-of-N on a model that others trained, against hand computation and loops."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest

from llm_validation.runs import real_selection as selection
from llm_validation.runs.real_selection import MARKS, TIMES, Compared, Scored, Sides
from theory.best_of_n.order_statistics import expected_max

K = len(MARKS)


def test_a_head_is_stationary_on_the_comparisons_that_were_drawn(rng):
    """Σ x·σ(−x·h) = ridge·h over differences x of winner and loser, drawn here once more."""
    states, utility = rng.normal(size=(3, 8, 4)), rng.normal(size=(3, 8))
    head = selection.fitted_head(states, utility, np.random.default_rng(7))
    again, N = np.random.default_rng(7), selection.COMPARISONS
    p, a, b = again.integers(3, size=N), again.integers(8, size=N), again.integers(8, size=N)
    u, total, won = again.random(N), -selection.RIDGE * head, 0.0
    for i in range(N):
        better = utility[p[i], a[i]] - utility[p[i], b[i]]
        wins = u[i] < 1.0 / (1.0 + math.exp(-3.0 * better))
        x = (states[p[i], a[i]] - states[p[i], b[i]]) * (1.0 if wins else -1.0)
        total += x / (1.0 + math.exp(x @ head))
        won += (wins and better > 0) or (not wins and better < 0)
    np.testing.assert_allclose(total, 0.0, atol=1e-8)
    assert won / N > 0.75  # the better one wins mostly


def test_each_half_is_scored_by_the_head_of_the_other(monkeypatch, rng):
    states, utility = 5.0 + 3.0 * rng.normal(size=(2, 6, K, 4)), rng.normal(size=(2, 6, K))
    monkeypatch.setattr(selection, "fitted_head", lambda own, u, _: own.mean(axis=(0, 1)) + u.mean())
    found = selection.scored_by_head([SimpleNamespace(states=one) for one in states], utility, rng)
    x = (states - states.mean(axis=(0, 1, 2))) / states.std(axis=(0, 1, 2))
    for own, other in ((slice(0, 3), slice(3, 6)), (slice(3, 6), slice(0, 3))):
        head = x[:, other, -1].mean(axis=(0, 1)) + utility[:, other, -1].mean()
        np.testing.assert_allclose(found[:, own], x[:, own] @ head)


def test_scores_are_in_deviations_of_a_prompts_own_at_the_end():
    values = np.array([[[1.0, 2.0], [3.0, 6.0]], [[1.0, 5.0], [2.0, 5.0]]])
    expected = [[[-1.5, -1.0], [-0.5, 1.0]], [[-4.0, 0.0], [-3.0, 0.0]]]
    np.testing.assert_allclose(selection.standardised(values), expected)


def test_the_truth_of_the_best_is_its_mean_over_all_draws(rng):
    """Best of 3 of 5 rows, drawn with replacement: all 125 draws."""
    rewards, truth = rng.normal(size=5), rng.normal(size=5)
    law = Scored(np.repeat(rewards[:, None], K, 1), truth)
    best, of_best, rejected = selection.predicted(law, 3, (3, 3, 3, 3))
    draws = [max(draw, key=lambda i: rewards[i]) for draw in itertools.product(range(5), repeat=3)]
    assert best == pytest.approx(np.mean(rewards[draws]))
    assert rejected == pytest.approx(best)
    assert of_best == pytest.approx(np.mean(truth[draws]))


def test_what_all_texts_say_is_twice_the_law_less_its_halves(rng):
    law = Scored(rng.normal(size=(8, K)), rng.normal(size=8))
    one = lambda some: np.array([some.truth.sum()])  # of halves half as much on average: 2 − ½
    assert selection.of_all_texts(law, one) == pytest.approx(1.5 * law.truth.sum())
    size = lambda some: np.array([len(some.truth)])
    assert selection.of_all_texts(Scored(law.scores[:7], law.truth[:7]), size) == pytest.approx(2.0 * 7 - 3.5)


def test_rows_are_cut_at_their_marks_to_the_best(monkeypatch, rng):
    """One group of eight: what is left is found by sorting; a round takes all rows."""
    rows = Scored(rng.normal(size=(8, K)), rng.normal(size=8))
    best, truth, rejected = selection.replay(rows, 8, (8, 4, 2, 1), rng)
    alive = list(range(8))
    for mark, count in zip(TIMES, (4, 2, 1), strict=True):
        alive = sorted(alive, key=lambda i: -rows.scores[i, MARKS.index(mark)])[:count]
    top = int(rows.rewards.argmax())
    assert (best, truth) == (pytest.approx(rows.rewards[top]), pytest.approx(rows.truth[top]))
    assert rejected == pytest.approx(rows.rewards[alive[0]])


def test_the_tokens_of_a_reward_are_read_off_the_curve(monkeypatch, rng):
    """At the reward of the best of four: 4·64 tokens over those of sixteen rows, halved at 16, 32 and 48."""
    rows = Scored(rng.normal(size=(40, K)), rng.normal(size=40))
    monkeypatch.setattr(selection, "of_all_texts", lambda law, of: of(law))
    rank = np.arange(41) / 40
    reward = float(np.diff(rank**4) @ np.sort(rows.rewards))
    assert selection._speed(rows, 16, reward) == pytest.approx(4 * 64 / (16 * (16 + 8 + 4 + 2)), rel=1e-6)
    high = float(np.diff(rank**16) @ np.sort(rows.rewards))
    assert selection._speed(rows, 16, high + 1.0) == pytest.approx(16 * 64 / (16 * (16 + 8 + 4 + 2)), rel=1e-6)


@pytest.fixture
def compared(rng):
    sides = Sides(rng.random((2, 2, 3)), rng.random((2, 2, 3)), 1.0 + rng.random((2, 2, 2)))
    return Compared((4, 16), sides, rng.random((5, 2, 2, 4)))


def jackknife(values) -> float:
    return math.sqrt((len(values) - 1) * np.mean((np.array(values) - np.mean(values)) ** 2))


def test_rows_are_means_of_both_ways_with_the_errors_of_prompts(compared):
    m, e, speed = compared.sides.measured, compared.sides.predicted, compared.sides.speed
    for i, what in itertools.product(range(2), range(3)):
        row = compared.row("B3", "real_best", {}, i, what)
        assert row.value == pytest.approx((m[0, i, what] - e[0, i, what] + m[1, i, what] - e[1, i, what]) / 2)
        assert row.estimate.stderr == pytest.approx(jackknife(compared.without[:, :, i, what].mean(axis=1)))
        one = (m[0, i, what] - e[0, i, what]) / jackknife(compared.without[:, 0, i, what])
        assert compared.errors[i, what] == pytest.approx(one)
    (row,) = selection.speedups([compared, compared], "truth")
    logs = [math.log(speed[way, 1, 0] / speed[way, 1, 1]) for way in (0, 1)]
    assert row.setting == {"reward": "truth", "n": 16}
    assert row.value == pytest.approx(math.exp(sum(logs) / 2))
    error = jackknife(compared.without[:, :, 1, 3].mean(axis=1))
    assert row.estimate.stderr == pytest.approx(row.value * error)
    rows = {row.check: row for row in selection.best_rewards(compared, {"reward": "proxy"}) if row.setting["n"] == 16}
    assert rows["real_measured_speedup"].value == pytest.approx(speed[:, 1, 0].mean())
    assert rows["real_truth"].value == pytest.approx((m - e)[:, 1, 1].mean())
    assert "real_truth" not in {row.check for row in selection.best_rewards(compared, {"reward": "truth"})}


def test_the_share_within_two_errors():
    errors = SimpleNamespace(errors=np.array([[0.0, 1.99], [0.0, -2.05], [0.0, -0.5], [0.0, 2.5]]))
    assert selection.within_two("B3", 1, {"truth": [errors]}).value == 0.5


def test_the_largest_speedup_is_of_the_schedule_that_is_found(monkeypatch):
    """Tokens of Best-of-N at the schedule's reward over the schedule's tokens, the larger of those of 16 and more."""
    asked = []

    def schedule(v, times, length, budget):
        asked.append(budget)
        np.testing.assert_allclose(v, [0.2, 0.2, 1.0])  # never falling, at most one
        return SimpleNamespace(reward=expected_max(len(asked) + 4), tokens=300.0 / len(asked), counts=(9, 3, 1, 1))

    monkeypatch.setattr(selection, "refined_schedule", schedule)
    v = np.zeros(K)
    v[[MARKS.index(t) for t in TIMES]] = (0.2, 0.1, 1.2)
    (row,) = selection.largest(v, {"reward": "truth"})
    assert asked == [16 * 64, 64 * 64, 256 * 64]
    assert row.value == pytest.approx(7 * 64 * 3 / 300.0, rel=1e-6)
    assert row.estimate.witness == "tokens of 256 responses; rows 9 3 1 1 up to 16 32 48 64 tokens"


def test_what_is_known_at_the_marks_and_of_the_truth(monkeypatch, rng):
    monkeypatch.setattr(selection, "largest", lambda v, _: [])
    v, draws = np.arange(K - 1) / 10, rng.normal(size=(6, K - 1))
    explained = SimpleNamespace(value=v, replicates=draws)
    monkeypatch.setattr(selection, "explained_variance", lambda *_: explained)
    law = Scored(rng.normal(size=(20, K)), np.full(20, 0.5))
    *rows, last = selection.rewarded(law, {"reward": "proxy"}, 0)
    assert [row.setting["tokens"] for row in rows] == list(MARKS[:-1])
    assert [row.value for row in rows] == pytest.approx(v)
    assert rows[2].estimate.stderr == pytest.approx(draws[:, 2].std(ddof=1))
    assert (last.check, last.value) == ("real_correlation", 0.0)  # of a truth that never varies


def test_numbers_of_responses_have_four_rows_each_in_a_half(monkeypatch):
    monkeypatch.setattr(selection, "both_ways", lambda *_: SimpleNamespace(apart=np.zeros(1)))
    sizes = lambda rows: Compared.of(np.zeros((2, rows // 2, K)), np.zeros((2, rows // 2)), 0).sizes
    assert (sizes(126), sizes(128)) == ((4,), (4, 16))


def test_half_is_rejected_where_half_is_kept(monkeypatch):
    asked = []
    run = SimpleNamespace(spent=SimpleNamespace(generated=64))
    monkeypatch.setattr(selection, "best_of_n", lambda *_, **__: run)
    monkeypatch.setattr(selection, "speculative_rejection", lambda *words, **_: asked.append(words[3]) or run)
    monkeypatch.setattr(selection.time, "process_time", iter([0.0, 1.0, 2.0, 3.0]).__next__)
    selection.seconds(SimpleNamespace(tokenizer=None, model=None), (1,), 8, 0)
    assert asked == [0.5]
