"""Rows of costs, from groups whose rewards, tokens and seconds are written down here."""

from __future__ import annotations

import math
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import norm

from llm_validation.runs import best_of_n_costs as costs
from llm_validation.runs.best_of_n_laws import MeasuredRows
from llm_validation.runs.best_of_n_rows import Pool, Runs

T = 64
LAW = SimpleNamespace(value=1.1, stderr=0.05)


def run_of(n: int, tokens: float, seconds: tuple[float, float], groups: int = 5) -> Runs:
    """Groups of n, an odd number of them."""
    rng = np.random.default_rng(n)
    rewards, rejected = rng.normal(size=(groups, n)), 1.3 + 0.2 * rng.normal(size=groups)
    fields = (rejected, np.ones(groups), np.array([n * T, tokens]), np.array(seconds), np.ones(2), ())
    return Runs(n, rewards, rewards.max(axis=1), *fields)


def log_log(reward: float, sizes: list[int], curve: list[float], costs: list[float]) -> float:
    """Cost at a reward, between neighbours linear in (log n, reward) and in (log n, log cost)."""
    for (_, low, cheap), (_, high, dear) in pairwise(zip(sizes, curve, costs, strict=True)):
        if low <= reward <= high:
            share = (reward - low) / (high - low)
            return math.exp((1.0 - share) * math.log(cheap) + share * math.log(dear))
    raise AssertionError(f"{reward} is outside {curve}")


@pytest.fixture
def runs():
    return [run_of(4, 150.0, (4.0, 3.0)), run_of(8, 250.0, (7.0, 4.0)), run_of(16, 500.0, (13.0, 6.0))]


@pytest.fixture
def pool():
    rewards = np.sort(np.random.default_rng(3).gumbel(size=40))
    return Pool(MeasuredRows.of(np.zeros((40, 1)), rewards), None)


def test_tokens_and_speedups_are_those_of_halving_three_times(monkeypatch, runs, pool):
    monkeypatch.setattr(costs, "predict", lambda *_: LAW)
    writer = SimpleNamespace(times=(16, 32, 48), length=T)
    rows = costs.costs(writer, pool, runs, 0)
    found = {(row.check, row.setting.get("n")): row for row in rows}
    halved = {n: 16.0 * (n + n // 2 + n // 4 + max(1, n // 8)) for n in (4, 8, 16)}
    for run in runs:
        assert found["llm_tokens", run.n].value == pytest.approx(run.tokens[1] / halved[run.n])
    assert ("llm_speedup_ratio", 4) not in found

    sizes = [1, 2, 4, 8, 16]
    every = runs[-1].rewards.ravel().tolist()
    curve = [np.mean([max(every[i : i + n]) for i in range(0, len(every), n)]) for n in sizes]
    rank = np.arange(41) / 40
    predicted = [float(np.diff(rank**n) @ pool.rewards) for n in sizes]
    prices = [float(T * n) for n in sizes]
    for run in runs[1:]:
        reward, error = run.rejected.mean(), run.rejected.std(ddof=1) / math.sqrt(5)
        sides = (curve, reward, error, run.tokens[1]), (predicted, LAW.value, LAW.stderr, halved[run.n])
        at, of = ([log_log(r + s * e, sizes, c, prices) / t for s in (0, -1, 1)] for c, r, e, t in sides)
        row = found["llm_speedup_ratio", run.n]
        assert row.value == pytest.approx(at[0] / of[0])
        errors = [(high - low) / 2.0 / middle for middle, low, high in (at, of)]
        assert row.estimate.stderr == pytest.approx(at[0] / of[0] * math.hypot(*errors))
        assert row.estimate.witness == f"measured {at[0]:.3f} (measured), predicted {of[0]:.3f}"

        seconds = [r.seconds[0] for r in runs]
        timed = [log_log(reward + s * error, sizes[2:], curve[2:], seconds) / run.seconds[1] for s in (0.0, -1.0, 1.0)]
        row = found["wall_clock_speedup", run.n]
        assert row.value == pytest.approx(timed[0])
        assert row.estimate.stderr == pytest.approx((timed[2] - timed[1]) / 2.0)
        assert row.estimate.witness.startswith(f"{1e3 * run.seconds[0]:.2f} ms a group of Best-of-N, ")


@pytest.mark.parametrize("law_error", [0.0, 50.0])
def test_the_improvement_score_and_its_error(monkeypatch, pool, law_error):
    """Groups outnumber the blocks of the reference 16 to 1: their error is four times that of as many references."""
    monkeypatch.setattr(costs, "predict", lambda *_: SimpleNamespace(value=1.1, stderr=law_error))
    run, largest = run_of(16, 1.0, (1.0, 1.0), groups=80), run_of(16, 1.0, (1.0, 1.0), groups=5)
    (row,) = costs._improvement(pool, [run, largest], 0)
    blocks = largest.rewards
    away = np.resize(np.roll(blocks, -2, axis=0), (80, 16))  # half of the five blocks from a group's own
    each = [100.0 * (1.0 + (best - own.max()) / np.ptp(own)) for own, best in zip(away, run.rejected, strict=True)]
    words = row.estimate.witness.replace(",", "").split()
    predicted, gaussian = float(words[3]), float(words[8])
    assert float(words[1]) == pytest.approx(np.mean(each), abs=0.006)
    assert row.value == pytest.approx(np.mean(each) - predicted, abs=0.01)
    normal = norm.rvs(size=(100_000, 16), random_state=1)
    deviations = (1.1 - pool.rewards.mean()) / pool.rewards.std()
    assert gaussian == pytest.approx(100.0 * (0.5 + deviations * (1.0 / np.ptp(normal, axis=1)).mean()), rel=0.005)
    if law_error:
        spread = np.ptp(np.random.default_rng(2).choice(pool.rewards, (50_000, 16)), axis=1)
        assert row.estimate.stderr == pytest.approx(100.0 * law_error * (1.0 / spread).mean(), rel=0.015)
    else:
        assert row.estimate.stderr == pytest.approx(4.0 * np.std(each) / math.sqrt(80), rel=0.25)
    assert not costs._improvement(pool, [largest], 0)
    even = np.full(80, 1.0 / 80)
    assert costs._weighted_score(run.rejected, away, even) == pytest.approx(np.mean(each))


def test_stories_that_never_end_are_written_to_the_last_token(monkeypatch):
    """64 rows of 12 tokens, halved after the fourth and the eighth: 4·(64 + 32 + 16) tokens a group."""
    calls, shorter = [], 0

    def written(groups, n, seed, *, eos, reject=False):
        calls.append((groups, n, seed, reject, eos))
        finished = np.arange(groups * n) % 2 == 0
        lengths = 7 if reject else 12 - shorter * finished
        lengths = np.full(groups * n, lengths)
        returned = [SimpleNamespace(finished=False), SimpleNamespace(finished=True), None]
        rewards = np.where(np.arange(groups * n) < 3, np.nan, 0.0)  # two of them had finished
        return [SimpleNamespace(lengths=lengths, finished=finished, rewards=rewards, returned=returned)]

    writer = SimpleNamespace(write=written, profile=SimpleNamespace(pool=512 * 3), length=12, times=(4, 8))
    ratio, lost = costs._stories_that_end(writer, 5)
    assert calls == [(3, 64, 5, False, True), (3, 64, 6, True, True)]
    assert (ratio.value, ratio.estimate.stderr) == (pytest.approx(7.0 * 64 / (4 * (64 + 32 + 16))), 0.0)
    assert (lost.value, lost.estimate.n) == (3.0, 3 * 64)
    shorter = 4  # every second row: the predicted tokens of 64 have 64 times the error of the mean length of 192
    monkeypatch.setattr(costs.speculative_cost, "expected_tokens", lambda *_: 100.0)
    assert costs._stories_that_end(writer, 5)[0].estimate.stderr == pytest.approx(64 * 2.0 / math.sqrt(192) / 100.0)
