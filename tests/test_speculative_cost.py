"""theory/speculative_cost.py, speculative_metrics.py, speculative_schedule.py: counting, brute force, hand values."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.convex import CertificateError
from theory.density_evolution import survivor_counts
from theory.order_statistics import expected_max
from theory.reward_processes import gaussian_process
from theory.speculative import expected_reward, speculative_reward
from theory.speculative_cost import (
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
from theory.speculative_metrics import (
    expected_improvement,
    improvement_score,
    measured_speedup,
    relative_compute,
)
from theory.speculative_schedule import best_fixed_schedule, information_schedule, optimal_schedule, refined_schedule


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


@given(schedules(), st.integers(0, 9), st.floats(1.0, 20.0))
def test_largest_batch_fits_and_the_next_does_not(schedule, prompt, slack):
    _, times, keep, length = schedule
    budget = (prompt + length) * slack
    n = largest_batch(budget, times, keep, length, prompt)
    assert speculative_cost(n, times, keep, length, prompt).peak <= budget
    assert speculative_cost(n + 1, times, keep, length, prompt).peak > budget


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
    with pytest.raises(ValueError, match=r"target = 64.* ceiling"):
        required_profile(64.0, 128, schedule.times, 0.5, 256)


# schedules


@pytest.mark.parametrize(("area", "responses"), [(0.3, 4), (0.75, 5)])
def test_the_optimal_schedule_by_exhaustion(area, responses):
    length, times = 8, (2, 5)
    v = power_profile(np.array(times) / length, area)
    best = optimal_schedule(v, times, length, responses * length, tolerance=1e-4)
    process = gaussian_process(v)
    affordable = [
        counts
        for counts in itertools.product(range(1, 4 * responses + 1), repeat=3)
        if counts[0] >= counts[1] >= counts[2] and np.dot(counts, (2, 3, 3)) <= responses * length
    ]
    exhaustive = max(expected_reward(process, counts) for counts in affordable)
    assert best.reward >= exhaustive - best.gap
    assert best.reward == pytest.approx(exhaustive, abs=7e-4)
    assert best.tokens == np.dot(best.counts, (2, 3, 3)) <= responses * length


def test_late_information_wants_another_schedule_than_a_fixed_fraction():
    v = power_profile(np.array([6, 9, 12, 14]) / 16, 0.25)
    best = optimal_schedule(v, (6, 9, 12, 14), 16, 256)
    fixed = best_fixed_schedule(v, (6, 9, 12, 14), 16, 256)
    everywhere = best_fixed_schedule(v, (6, 9, 12, 14), 16, 256, skip=False)
    assert best.reward > fixed.reward + best.gap  # proved, not only found
    assert fixed.reward > everywhere.reward > expected_max(16)
    assert max(best.tokens, fixed.tokens, everywhere.tokens) <= 256
    refined = refined_schedule(v, (6, 9, 12, 14), 16, 256)
    assert best.reward - refined.reward < best.gap


def test_keeping_what_is_informative_beats_halving():
    times = np.array([4, 8, 16, 32, 64, 128])
    v = power_profile(times / 256, 0.3)
    counts = information_schedule(128, v)
    process = gaussian_process(v)
    ours = expected_reward(process, counts), schedule_cost(counts, times, 256).generated
    halving = survivor_counts(128, 0.5, 6)
    theirs = expected_reward(process, halving), schedule_cost(halving, times, 256).generated
    assert ours[0] > expected_max(ours[1] / 256)  # better than Best-of-N with the same tokens
    assert theirs[0] < expected_max(theirs[1] / 256)  # worse


# metrics


def test_improvement_score_by_hand():
    score = improvement_score([3.0, 1.0, 7.0], [[0.0, 2.0], [0.0, 2.0], [5.0, 5.0]])
    assert score.score == pytest.approx(100 * (1 + (0.5 - 0.5) / 2))
    assert (score.prompts, score.degenerate) == (2, (2,))
    assert improvement_score([2.0], [[0.0, 2.0, 1.0]]).score == 100.0  # Best-of-ref against itself
    with pytest.raises(ValueError, match="undefined"):
        improvement_score([1.0], [[1.0, 1.0]])


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
    ) == (
        16.0,
        2.0,
    )
    assert measured_speedup(9.0, 5.0, n, curve, tokens).status == "at least"
    assert measured_speedup(-1.0, 5.0, n, curve, tokens).status == "at most"
    assert relative_compute([1.0, 2.0], [4.0, 2.0]) == 0.5


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: speculative_tokens(8, (3, 3), 0.5, 10), r"times\[1\] = 3"),
        (lambda: speculative_tokens(8, (3, 11), 0.5, 10), r"times\[1\] = 11"),
        (lambda: speculative_tokens(8, (0,), 0.5, 10), r"times\[0\] = 0"),
        (lambda: speculative_tokens(8, (math.nan,), 0.5, 10), r"times\[0\] = nan"),
        (lambda: speculative_tokens(0, (3,), 0.5, 10), "n = 0"),
        (lambda: speculative_tokens(8, (3,), -0.5, 10), r"keep\[0\] = -0.5"),
        (lambda: speculative_tokens(8, (3,), 0.5, 0), "length = 0"),
        (lambda: speedup(8, (0.5, 0.6), (3,), 0.5, 10), "explained_variance must have"),
        (lambda: speedup(8, (1.5,), (3,), 0.5, 10), r"explained_variance\[0\]"),
        (lambda: expected_tokens(8, (3,), 0.5, [1.0, 1.1, 0.5, 0.2]), r"alive\[1\]"),
        (lambda: expected_tokens(8, (1.5,), 0.5, [1.0, 0.9]), "whole tokens"),
        (lambda: largest_batch(9, (3,), 0.5, 10), "budget = 9 cannot hold one row"),
        (lambda: full_budget_schedule(8, 0.5, 9, 10), "budget = 9 cannot hold one row"),
        (lambda: full_budget_schedule(30, 0.5, 20, 10), "budget = 20 cannot hold n = 30"),
        (lambda: full_budget_schedule(8, 1.0, 20, 10), "keep = 1 drops nothing"),
        (lambda: full_budget_schedule(8, 0.0, 20, 10), r"keep\[0\] = 0"),
        (lambda: power_profile(np.array([0.5]), 1.0), "area = 1"),
        (lambda: optimal_schedule((0.5,), (3,), 10, 9), "budget = 9"),
        (lambda: optimal_schedule((0.5, 0.6), (3,), 10, 90), "explained_variance must have"),
        (lambda: information_schedule(8, (0.5, 0.4)), r"explained_variance\[1\]"),
        (lambda: improvement_score([1.0], [[math.nan, 1.0]]), r"reference\[0, 0\]"),
        (lambda: improvement_score([1.0, 2.0], [[0.0, 1.0]]), "reference must be"),
        (lambda: relative_compute([0.0], [1.0]), r"compute\[0\]"),
        (lambda: measured_speedup(1.0, 1.0, [1, 2], [0.0, 0.0], [1, 2]), r"curve\[1\]"),
        (lambda: measured_speedup(math.nan, 1.0, [1, 2], [0.0, 1.0], [1, 2]), "NaN"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()


def test_a_proof_that_is_too_long_is_an_error():
    v = power_profile(np.array([6, 9, 12, 14]) / 16, 0.25)
    with pytest.raises(CertificateError, match="max_evaluations = 10"):
        optimal_schedule(v, (6, 9, 12, 14), 16, 256, max_evaluations=10)


@settings(max_examples=15)
@given(st.floats(0.2, 0.9), st.integers(3, 6))
def test_the_refined_schedule_beats_every_fixed_fraction(area, responses):
    v = power_profile(np.array([0.25, 0.5, 0.75]), area)
    refined = refined_schedule(v, (4, 8, 12), 16, 16 * responses)
    fixed = best_fixed_schedule(v, (4, 8, 12), 16, 16 * responses, keeps=np.arange(1, 51) / 50)
    assert refined.reward >= fixed.reward - 1e-3
    assert refined.tokens <= 16 * responses
