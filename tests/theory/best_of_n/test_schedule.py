"""The best schedule: exhaustion, and the accuracy that the certificate rests on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.best_of_n import schedule
from theory.best_of_n.cost import power_profile, schedule_cost
from theory.best_of_n.evolution import survivor_counts
from theory.best_of_n.order_statistics import expected_max
from theory.best_of_n.processes import gaussian_process
from theory.best_of_n.rejection import expected_reward
from theory.solution import CertificateError


@pytest.mark.parametrize(("area", "responses"), [(0.3, 4), (0.75, 5)])
def test_the_optimal_schedule_by_exhaustion(area, responses):
    length, times = 8, (2, 5)
    v = power_profile(np.array(times) / length, area)
    best = schedule.optimal_schedule(v, times, length, responses * length, tolerance=1e-4)
    process = gaussian_process(v)
    affordable = [
        counts
        for counts in itertools.product(range(1, 4 * responses + 1), repeat=3)
        if counts[0] >= counts[1] >= counts[2] and np.dot(counts, (2, 3, 3)) <= responses * length
    ]
    exhaustive = max(expected_reward(process, counts) for counts in affordable)
    assert best.reward >= exhaustive - best.gap
    assert best.reward == pytest.approx(exhaustive, abs=7e-4)
    assert 1e-4 + schedule.SEARCH_ERROR <= best.gap < 5e-3
    assert best.tokens == np.dot(best.counts, (2, 3, 3)) <= responses * length


def test_late_information_wants_another_schedule_than_a_fixed_fraction():
    v = power_profile(np.array([6, 9, 12, 14]) / 16, 0.25)
    best = schedule.optimal_schedule(v, (6, 9, 12, 14), 16, 128)
    fixed = schedule.best_fixed_schedule(v, (6, 9, 12, 14), 16, 128)
    everywhere = schedule.best_fixed_schedule(v, (6, 9, 12, 14), 16, 128, skip=False)
    assert best.reward > fixed.reward + best.gap  # proved, not only found
    assert fixed.reward > everywhere.reward > expected_max(8)
    assert max(best.tokens, fixed.tokens, everywhere.tokens) <= 128
    refined = schedule.refined_schedule(v, (6, 9, 12, 14), 16, 128)
    assert best.reward - refined.reward < best.gap


def test_the_best_of_all_hundredths():
    """One decision: of each hundredth the most rows whose tokens, 7n and 13 for each one kept, are in the budget."""
    v, budget = [0.4], 6001
    affordable = set()
    for hundredth in range(1, 101):
        kept = lambda n, share=hundredth: survivor_counts(n, share / 100, 1)[1]
        n = next(n for n in range(budget // 7, 0, -1) if 7 * n + 13 * kept(n) <= budget)
        affordable.add((n, kept(n)))
    best = schedule.best_fixed_schedule(v, [7], 20, budget)
    assert best.counts in affordable
    most = max(expected_reward(gaussian_process(v), counts) for counts in affordable)
    assert best.reward == pytest.approx(most, abs=2 * schedule.SEARCH_ERROR)
    assert best.reward == expected_reward(gaussian_process(v), best.counts)
    assert best.tokens == best.counts[0] * 7 + best.counts[1] * 13


def test_keeping_what_is_informative_beats_halving():
    times = np.array([4, 8, 16, 32, 64, 128])
    v = power_profile(times / 256, 0.3)
    counts = schedule.information_schedule(128, v)
    process = gaussian_process(v)
    ours = expected_reward(process, counts), schedule_cost(counts, times, 256).generated
    halving = survivor_counts(128, 0.5, 6)
    theirs = expected_reward(process, halving), schedule_cost(halving, times, 256).generated
    assert ours[0] > expected_max(ours[1] / 256)  # better than Best-of-N with the same tokens
    assert theirs[0] < expected_max(theirs[1] / 256)  # worse


def test_a_proof_that_is_too_long_is_an_error():
    v = power_profile(np.array([6, 9, 12, 14]) / 16, 0.25)
    with pytest.raises(CertificateError, match="max_evaluations = 10"):
        schedule.optimal_schedule(v, (6, 9, 12, 14), 16, 128, max_evaluations=10)


@settings(max_examples=8)
@given(st.floats(0.2, 0.9), st.integers(3, 6))
def test_the_refined_schedule_beats_every_fixed_fraction(area, responses):
    v = power_profile(np.array([0.25, 0.5, 0.75]), area)
    refined = schedule.refined_schedule(v, (4, 8, 12), 16, 16 * responses)
    fixed = schedule.best_fixed_schedule(v, (4, 8, 12), 16, 16 * responses, keeps=np.arange(1, 51) / 50)
    assert refined.reward >= fixed.reward - 1e-3
    assert refined.tokens <= 16 * responses


#: Schedules at which the search's rule is furthest too low, found among thousands of random ones; then every kind.
HARD = [
    ((55, 1), (0.0224,)),
    ((7, 6, 5, 4, 3, 2), (0.23718, 0.41384, 0.57312, 0.72208, 0.8638)),
    ((84, 40, 8), (5.4e-5, 8e-5)),
    ((43, 29, 14, 11, 4), (1.21e-4, 3.44e-4, 1.57e-3, 1.72e-2)),
    ((113, 17), (0.00321,)),
    ((34, 3, 2, 2, 1), (0.01422, 0.08881, 0.25928, 0.55452)),
]


def test_the_search_is_as_accurate_as_its_certificate_says(rng):
    """Too low by less than SEARCH_ERROR, against the full product rule on the fine lattice."""
    random = []
    for _ in range(30):
        J = int(rng.integers(1, 5))
        counts = sorted(rng.geometric(rng.choice([0.02, 0.1, 0.3]), J + 1).tolist(), reverse=True)
        random.append((tuple(counts), np.sort(rng.choice([rng.random(J), 10 ** rng.uniform(-4, 0, J)]))))
    for counts, v in [*HARD, *random]:
        exact = expected_reward(gaussian_process(v), counts, product=len(v) < 5 or None)
        found = schedule._Problem(v, np.arange(1, len(v) + 1), len(v) + 1, 1e6).value(counts)
        assert -schedule.SEARCH_ERROR < found - exact < 2 * schedule.SEARCH_ERROR, (counts, v)


def test_a_profile_that_reveals_next_to_nothing_at_first():
    """Increments below a coarse lattice's spacing: keeping by such a score is still worth more than Best-of-N."""
    v, times = (5.4e-5, 0.9), (1, 4)
    best = schedule.optimal_schedule(v, times, 16, 60)
    process = gaussian_process(v)
    affordable = [
        (n, m, k)
        for n, m, k in itertools.product(range(1, 46), range(1, 16), range(1, 4))
        if n >= m >= k and 57 < n + 3 * m + 12 * k <= 60
    ]
    assert best.reward >= max(expected_reward(process, counts, product=False) for counts in affordable) - best.gap


@pytest.mark.parametrize(
    ("area", "times", "length", "budget"),
    [(0.63, (7,), 14, 98), (0.29, (9, 10), 13, 65), (0.36, (3, 9), 10, 90), (0.4, (8, 9), 12, 77)],
)
def test_the_search_needs_no_good_start(area, times, length, budget):
    """From one row on, against the search's own rule on all schedules: nothing is pruned that should not be."""
    v = power_profile(np.array(times) / length, area)
    problem = schedule._Problem(v, times, length, budget)
    start = (1,) * (len(times) + 1)
    search = schedule._Search(problem, 1e-4, 10**5, problem.value(start), start)
    search.explore((), problem.start(), 1, budget // times[0])
    largest = [int(budget // problem.durations[: j + 1].sum()) for j in range(len(start))]
    exhaustive = max(
        problem.value(counts)
        for counts in itertools.product(*(range(1, most + 1) for most in largest))
        if all(b <= a for a, b in itertools.pairwise(counts)) and problem.tokens(counts) <= budget
    )
    assert exhaustive - 1e-4 <= search.best <= exhaustive + 1e-12
    assert search.best == pytest.approx(problem.value(search.counts), abs=1e-12)


def test_tokens_left_over_that_buy_no_row():
    """Equal counts with enough left for the last period, where one more row would need the first: a candidate."""
    problem = schedule._Problem((0.0, 0.0), (8, 9), 10, 63)
    search = schedule._Search(problem, 1e-4, 10**4, problem.value((1, 1, 1)), (1, 1, 1))
    search.explore((), problem.start(), 1, 7)
    assert search.counts == (6, 6, 6)


def test_a_decision_at_the_very_end_is_allowed():
    best = schedule.optimal_schedule((0.5, 1.0), (5, 10), 10, 50)
    fixed = schedule.best_fixed_schedule((0.5, 1.0), (5, 10), 10, 50)
    without = schedule.optimal_schedule((0.5,), (5,), 10, 50)
    assert best.reward == pytest.approx(without.reward, abs=best.gap)
    assert best.reward >= max(fixed.reward, schedule.refined_schedule((0.5, 1.0), (5, 10), 10, 50).reward) - best.gap
    assert best.tokens <= 50


def test_best_of_n_is_among_the_candidates():
    assert schedule.optimal_schedule((0.0, 0.0), (3, 5), 10, 60).counts == (6, 6, 6)
    assert schedule.optimal_schedule((), (), 10, 95).counts == (9,)
    # all is known at once: one row is finished, the rest of the budget buys first tokens
    assert schedule.optimal_schedule((1.0,), (3,), 10, 60).counts == (17, 1)
