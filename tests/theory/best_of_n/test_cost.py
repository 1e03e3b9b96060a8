"""Costs and metrics of Speculative Rejection: counting, brute force, hand values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory.best_of_n.cost import (
    expected_tokens,
    full_budget_schedule,
    largest_batch,
    power_profile,
    required_profile,
    schedule_cost,
    speculative_cost,
    speculative_tokens,
    speedup,
    speedup_ceiling,
)
from theory.best_of_n.evolution import survivor_counts
from theory.best_of_n.metrics import expected_improvement, improvement_score, measured_speedup, relative_compute
from theory.best_of_n.order_statistics import expected_max
from theory.best_of_n.rejection import speculative_reward


@st.composite
def schedules(draw: st.DrawFn) -> tuple[int, list[int], list[float], int]:
    length = draw(st.integers(5, 40))
    times = sorted(draw(st.sets(st.integers(1, length), min_size=1, max_size=4)))
    keep = draw(st.lists(st.floats(0.05, 1.0), min_size=len(times), max_size=len(times)))
    return draw(st.integers(1, 60)), times, keep, length


@given(schedules(), st.integers(0, 9))
def test_cost_by_counting_tokens(schedule, prompt):
    n, times, keep, length = schedule
    counts = survivor_counts(n, keep, len(times))
    generated = scored = peak = decided = 0
    for token in range(1, length + 1):
        generated += counts[decided]
        peak = max(peak, counts[decided] * (prompt + token))
        if token in times:
            scored += counts[decided] * (prompt + token)
            decided += 1
    scored += counts[-1] * (prompt + length)
    cost = speculative_cost(n, times, keep, length, prompt)
    assert (cost.generated, cost.scored, cost.peak) == (generated, scored, peak)
    assert speculative_tokens(n, times, keep, length) == cost.scored_with_cache == generated
    assert expected_tokens(n, times, 1.0, np.ones(length)) == n * length


@pytest.mark.parametrize(("counts", "prompt"), [((1, 1), 0.0), ((2,), 0.0), ((1,), math.exp(699.6))])
def test_what_could_pass_float64_in_a_sum_is_refused(counts, prompt):
    """From e⁷⁰⁰ = 1.01e304 on: a length just below that, times two periods, two rows, or with as long a prompt."""
    length, times = math.exp(699.6), [1.0] * (len(counts) - 1)
    with pytest.raises(ValueError, match="are beyond float64"):
        schedule_cost(counts, times, length, prompt)
    assert schedule_cost([1], [], length).generated == length


@given(schedules(), st.integers(0, 9), st.floats(1.0, 20.0))
def test_largest_batch_fits_and_the_next_does_not(schedule, prompt, slack):
    _, times, keep, length = schedule
    budget = (prompt + length) * slack
    n = largest_batch(budget, times, keep, length, prompt)
    assert speculative_cost(n, times, keep, length, prompt).peak <= budget
    assert speculative_cost(n + 1, times, keep, length, prompt).peak > budget


@pytest.mark.parametrize(
    ("call", "value"),
    [
        (lambda: full_budget_schedule(8, 0.5, math.inf, 10).counts, (8,)),
        (lambda: full_budget_schedule(8, 1.0, 80, 10).counts, (8,)),
        (lambda: full_budget_schedule(4, 0.9999, 20, 10).counts, (4, 3, 2)),  # at least one row at each decision
        (lambda: full_budget_schedule(30, 0.25, 300, 40).counts, (30, 8, 2)),  # 7.5 rounds up, not down
        # times may be fractions of the response: n·¼ ≤ 10 rows, then n/2·½, n/4·¾, n/8·1
        (lambda: largest_batch(10, (0.25, 0.5, 0.75), 0.5, 1.0), 40),
        (lambda: largest_batch(10, (), 0.5, 1.0), 10),
        (lambda: largest_batch(3e9, (1,), 1.0, 1000), 3_000_000),
        (lambda: largest_batch(10, (0.25,), 1e-9, 1.0, prompt=3.0), 3),
        # two tokens by ten rows of which 1.0 and 0.9 still run, one by half of them, one by a fifth of that
        (lambda: expected_tokens(10, (2, 3), (0.5, 0.2), (1.0, 0.9, 0.8, 0.4)), pytest.approx(19.0 + 4.0 + 0.4)),
    ],
)  # fmt: skip
def test_values_by_hand(call, value):
    assert call() == value


@given(st.integers(1, 200), st.floats(0.1, 0.95), st.integers(10, 60), st.floats(1.0, 6.0), st.integers(0, 5))
def test_full_budget_schedule_is_full(n, keep, length, slack, prompt):
    budget = max(slack * (prompt + length), n * (prompt + 1))
    schedule = full_budget_schedule(n, keep, budget, length, prompt)
    assert schedule_cost(schedule.counts, schedule.times, length, prompt).peak <= budget
    for rows, time in zip(schedule.counts, schedule.times, strict=False):
        assert rows * (prompt + time + 1) > budget  # not a token earlier than needed


def test_speedup_of_best_of_n_is_one_and_its_ceiling():
    assert speedup(64, (0.5,), (10,), 1.0, 100) == pytest.approx(1.0, rel=1e-9)
    # all is known at once: nothing is lost, and the ceiling is reached
    assert speedup(64, (1.0,), (10,), 1 / 64, 100) == pytest.approx(speedup_ceiling(64, (10,), 1 / 64, 100), rel=2e-3)
    assert speedup_ceiling(10**6, (10,), 1e-6, 100) < 100 / 10
    v = power_profile(np.array([0.1, 0.4]), 0.7)
    assert power_profile(np.linspace(0, 1, 100_001), 0.7).mean() == pytest.approx(0.7, abs=1e-3)
    direct = speculative_reward(64, v, 0.5)
    star = speedup(64, v, (10, 40), 0.5, 100) * speculative_tokens(64, (10, 40), 0.5, 100) / 100
    assert expected_max(star) == pytest.approx(direct, abs=1e-9)


def test_required_profile_inverts_the_speedup():
    schedule = full_budget_schedule(128, 0.5, 512, 256)
    for target in (1.0, 4.0, 8.0):
        found = required_profile(target, 128, schedule.times, 0.5, 256)
        assert found.speedup == pytest.approx(target, rel=1e-5)
        assert speedup(128, found.explained_variance, schedule.times, 0.5, 256) == pytest.approx(target, rel=1e-5)


# metrics


def test_improvement_score_by_hand():
    score = improvement_score([3.0, 1.0, 7.0], [[0.0, 2.0, 1.9], [-2.0, 2.0, 2.0], [5.0, 5.0, 5.0]])
    assert score.score == pytest.approx(100 * (1 + (1 / 2 - 1 / 4) / 2))
    assert (score.prompts, score.degenerate) == (2, (2,))
    assert improvement_score([2.0], [[0.0, 2.0, 1.0]]).score == 100.0  # Best-of-ref against itself


@given(st.floats(-50, 50), st.floats(0.1, 10))
def test_improvement_score_ignores_location_and_scale(location, scale):
    reference = np.array([[0.0, 1.0, 3.0]])
    plain = improvement_score([2.5], reference).score
    assert improvement_score([location + scale * 2.5], location + scale * reference).score == pytest.approx(plain)


def test_expected_improvement(rng):
    x = rng.standard_normal((200_000, 16))
    best = rng.standard_normal((200_000, 64)).max(axis=1)
    gains = (best - x.max(axis=1)) / np.ptp(x, axis=1)
    error = 100 * gains.std() / math.sqrt(gains.size)
    assert abs(100 * (1 + gains.mean()) - expected_improvement(expected_max(64), 16)) < 4 * error


def test_measured_speedup_never_extrapolates():
    n, curve, tokens = [1, 2, 4, 8], [0.0, 0.56, 1.03, 1.42], [10, 20, 40, 80]
    exact = measured_speedup(1.03, 5.0, n, curve, tokens)
    assert (exact.value, exact.status) == (pytest.approx(8.0), "measured")
    between = measured_speedup((0.56 + 1.03) / 2, 5.0, n, curve, tokens)
    assert between.value == pytest.approx(math.sqrt(20 * 40) / 5)
    assert measured_speedup(9.0, 5.0, n, curve, tokens) == measured_speedup(1.43, 5.0, n, curve, tokens)
    assert (
        measured_speedup(9.0, 5.0, n, curve, tokens).value,
        measured_speedup(-1.0, 5.0, n, curve, tokens).value,
    ) == (16.0, 2.0)
    assert measured_speedup(9.0, 5.0, n, curve, tokens).status == "at least"
    for end in (0.0, 1.42):
        assert measured_speedup(end, 5.0, n, curve, tokens).status == "measured"
    assert measured_speedup(-1.0, 5.0, n, curve, tokens).status == "at most"
    assert relative_compute([1.0, 2.0], [4.0, 2.0]) == 0.5
