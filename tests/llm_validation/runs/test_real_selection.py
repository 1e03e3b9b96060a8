"""Best-of-N on measured rows: the bias of a law of few rows, and both halves against each other."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import gammaln

from llm_validation.runs import real_selection
from llm_validation.runs.real_selection import MARKS, Compared, Scored, both_ways, left_out, of_all_texts, within_two
from theory.best_of_n.evolution import survivor_counts
from theory.best_of_n.law import best_of_n_reward
from theory.best_of_n.order_statistics import expected_max


def rows(shape):
    """Scores that become the reward bit by bit, as those of texts do."""
    steps = np.random.default_rng(5).standard_normal((*shape, len(MARKS)))
    return np.cumsum(steps, axis=-1) / np.sqrt(len(MARKS))


@pytest.mark.parametrize("n", [16, 128])
def test_the_law_of_few_rows_is_taken_as_that_of_all(n):
    rewards, M = np.random.default_rng(1).standard_normal(512), 512
    law = Scored(np.repeat(rewards[:, None], len(MARKS), 1), rewards)
    even = lambda some: np.array(best_of_n_reward(np.full(len(some.truth), 1 / len(some.truth)), some.rewards, n))
    i = np.arange(n, M + 1)  # the mean over all choices of n of the M rows, which has no bias
    weights = gammaln(i) - gammaln(i - n + 1) - gammaln(n) - gammaln(M + 1) + gammaln(n + 1) + gammaln(M - n + 1)
    exact = np.exp(weights) @ np.sort(rewards)[n - 1 :]
    assert abs(of_all_texts(law, even) - exact) < 0.3 * abs(even(law) - exact)


def test_both_ways_round_agree_and_a_wrong_number_of_draws_shows():
    scores = rows((6, 128))
    sides = both_ways(scores, scores[..., -1], (4, 16), seed=0)
    best, _, rejected, speed = np.moveaxis(sides.apart.mean(axis=0), 1, 0)
    assert np.abs(best).max() < 0.03
    assert np.abs(rejected).max() < 0.06
    assert np.abs(speed).max() < 0.15
    # one way round the rows that predict are not those that are measured, and their chance is in the difference
    assert np.abs(sides.apart[0, :, 0]).min() > 3.0 * np.abs(best).max()
    one_less = sides.measured[:, 0, 0].mean() - expected_max(3)
    assert abs(sides.measured[:, 0, 0].mean() - expected_max(4)) < 0.1 < one_less


def test_errors_are_the_jackknifes(monkeypatch):
    values = np.random.default_rng(2).standard_normal(9)
    without = np.array([np.delete(values, p).mean() for p in range(9)])
    assert left_out(without) == pytest.approx(values.std(ddof=1) / 3.0)
    monkeypatch.setattr(real_selection, "ROUNDS", 40)
    scores = rows((3, 24))
    compared = Compared.of(scores, scores[..., -1], seed=0)
    assert compared.sizes == (4,)
    assert compared.without.shape == (3, 2, 1, 4)
    row = compared.row("B3", "real_best", {"utility": "plain"}, 0, 0)
    assert row.setting["n"] == 4
    assert row.estimate.n == 3
    assert row.estimate.stderr > 0.0


def test_the_share_within_two_errors_falls_where_a_prediction_is_wrong():
    scores = rows((4, 64))
    right = Compared.of(scores, scores[..., -1], seed=0)
    high = right.sides.predicted + np.array([0.0, 0.0, 5.0])  # of Speculative Rejection, by five standard deviations
    wrong = replace(right, sides=replace(right.sides, predicted=high))
    share = lambda claim, what, of: within_two(claim, what, {"truth": [of]}).estimate.value
    assert share("B4", 2, wrong) < share("B4", 2, right)
    assert share("B3", 0, wrong) == share("B3", 0, right)


def test_a_selection_says_correlations_of_one_half_and_tokens_with_their_ends(monkeypatch):
    known, noise = rows((3, 24)), np.random.default_rng(6).standard_normal((3, 24, 1))
    for name, value in {
        "ROUNDS": 8,
        "HALVINGS": 1,
        "largest": lambda *_: [],
        "REWARDS": real_selection.REWARDS[:1],
        "utilities": lambda *_: 3.0 * known + 1.0,
        "scored_by_head": lambda *_: known + noise,
    }.items():
        monkeypatch.setattr(real_selection, name, value)
    pools = [SimpleNamespace(tokens=np.zeros((24, 9)), seconds=2.0) for _ in range(3)]
    found = {(row.check, row.setting.get("reward")): row for row in real_selection.selection(pools, None, 0)}
    assert found["real_tokens_per_second", None].value == pytest.approx(24 * 10 / 2)
    truth, proxy = ((v - v.mean(axis=1, keepdims=True)) / v.std(axis=1, keepdims=True) for v in
                    (known[..., -1], (known + noise)[..., -1]))  # fmt: skip
    expected = np.corrcoef(truth[:, ::2].ravel(), proxy[:, ::2].ravel())[0, 1]
    assert found["real_correlation", "proxy"].value == pytest.approx(expected)
    assert found["real_correlation", "proxy"].estimate.n == 3 * 12
    assert found["real_measured_speedup", "truth"].setting["n"] in real_selection.SELECTED


def test_seconds_are_those_of_each_algorithm(monkeypatch):
    clock, n = iter([1.0, 7.0, 20.0, 22.0]), 8
    spent = {"best_of_n": n * MARKS[-1], "speculative_rejection": n * MARKS[-1] // 2}
    for name, generated in spent.items():
        run = SimpleNamespace(spent=SimpleNamespace(generated=generated))
        monkeypatch.setattr(real_selection, name, lambda *_, run=run, **__: run)
    monkeypatch.setattr(real_selection.time, "process_time", lambda: next(clock))
    loaded = SimpleNamespace(tokenizer=None, model=None)
    found = {row.check: row.value for row in real_selection.seconds(loaded, (1,), n, 0)}
    assert found["real_seconds"] == 6.0 / 2.0
    kept = [*survivor_counts(n, real_selection.KEEP, len(real_selection.TIMES))]
    written = np.diff([0, *real_selection.TIMES, MARKS[-1]]) @ kept
    assert found["real_tokens"] == pytest.approx(2.0 * written / (n * MARKS[-1]))
