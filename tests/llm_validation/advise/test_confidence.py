"""Bounds that hold with confidence: by hand, and by how often they are above the truth."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from llm_validation.advise.confidence import foreseen, lower, not_refuted, units_of
from llm_validation.advise.divergence import LIMIT, bounds
from llm_validation.advise.sections import divergence_lines
from llm_validation.preferences.data import Example, Preferences
from theory.divergences import jensen_shannon
from theory.divergences.losses import LOSSES

LEVEL = 0.025


@pytest.mark.parametrize("cost", [1.0, 1.43])
def test_the_bound_is_where_fortunes_are_one_over_the_level(cost):
    """Twenty units: eighteen gain 1, one 0, one loses; stakes 1, 1/2, … 1/128 of what a unit may lose."""
    gains = np.array([1.0] * 18 + [0.0, -1.0])

    def fortune(tau):
        total = 0.0
        for k in range(8):
            own = 1.0
            for gain in gains:
                own *= 1.0 + 2.0**-k * (gain - tau) / (cost + tau)
            total += own / 8.0
        return total

    low = not_refuted(gains, np.ones(20), cost, LEVEL)
    assert 0.05 < low < 0.5
    assert fortune(low) == pytest.approx(1.0 / LEVEL, rel=1e-6)
    assert not_refuted(gains[:8], np.ones(8), cost, LEVEL) == 0.0, "2⁸/8 is not 40"
    # units of twice the size gain, and may lose, twice as much; all stake what the largest may lose
    sizes, gains = np.array([1.0, 2.0] * 20), np.tile(gains, 2)
    found = not_refuted(sizes * gains, sizes, cost, LEVEL)
    by_stake = 1.0 + np.multiply.outer(2.0 ** -np.arange(8), sizes * (gains - found) / (2.0 * (cost + found)))
    assert found > 0.1
    assert by_stake.prod(axis=1).mean() == pytest.approx(1.0 / LEVEL, rel=1e-6)


@pytest.mark.parametrize(("truth", "n"), [(0.0, 30), (0.5, 10), (0.8, 20), (0.8, 200)])
def test_bounds_are_above_the_truth_as_seldom_as_they_say(truth, n):
    """Errors of a sign that is known, so nothing is lost in fitting; bets say little too little."""
    rng, lows = np.random.default_rng(n), []
    for _ in range(400):
        wrong = [(rng.random(n) < 0.5 - truth / 2.0) * 1.0 for _ in range(2)]
        lows.append(lower(LOSSES["kto"], (wrong[0], wrong[1]), 1.0, units_of(n, n, None), LEVEL))
    assert np.mean(np.array(lows) > truth) <= 0.025
    if n == 200:
        assert np.median(lows) > truth - 0.14


def test_examples_of_a_class_count_as_many_as_there_are():
    """Units with (1, 2), (1, 0), (0, 1) examples: chosen by 3/2, rejected by 1, less half the offset each."""
    units = np.array([0, 1]), np.array([0, 0, 2])
    terms = np.array([0.25, 0.0]), np.array([0.0, 0.5, 0.25])
    gains = np.array([1.5 * 0.25 + 0.5 + 0.0, 1.5 * 0.5, 0.25])
    weights = np.array([0.75 + 1.0, 0.75, 0.5])
    found = lower(LOSSES["kto"], terms, 1.0, units, 0.95)
    assert found == not_refuted(gains, weights, 1.0, 0.95) > 0.0
    assert lower(LOSSES["kto"], (terms[0], np.zeros(0)), 1.0, (units[0], np.zeros(0, int)), 0.9) == 0.0


def test_units_are_prompts_pairs_or_as_many_as_the_rarer_class_has():
    assert [side.tolist() for side in units_of(3, 3, None)] == [[0, 1, 2], [0, 1, 2]]
    assert [side.tolist() for side in units_of(2, 5, None)] == [[0, 1], [0, 1, 0, 1, 0]]
    groups = np.array([4, 4, 7]), np.array([2, 7])
    assert [side.tolist() for side in units_of(3, 2, groups)] == [[1, 1, 2], [0, 2]]


def test_no_unit_is_judged_by_itself_or_by_those_after_it():
    """The reward is the number of chosen, and the sum of all, that it is fitted to: a half of the units before 32."""
    rng = np.random.default_rng(0)
    ratios, units = (rng.normal(size=32), rng.normal(size=32)), units_of(32, 32, None)
    count = lambda one, other: lambda values: np.full(values.size, float(one.size))
    (sizes, _), (judged, _) = foreseen(ratios, units, count, 0)
    assert sorted(sizes) == [4.0] * 4 + [8.0] * 8 + [16.0] * 16
    total = lambda one, other: lambda values: np.full(values.size, one.sum() + other.sum())
    before = dict(zip(judged.tolist(), foreseen(ratios, units, total, 0)[0][0], strict=True))
    for unit in judged[sizes == 8.0]:
        ratios[0][unit] += 1.0
        after = dict(zip(judged.tolist(), foreseen(ratios, units, total, 0)[0][0], strict=True))
        moved = {u for u in before if not math.isclose(before[u], after[u])}
        assert moved == set(judged[sizes == 16.0].tolist()), "only those that come later"
        ratios[0][unit] -= 1.0


def coins(rng, tv, n, alike=1):
    """Log-ratios that are about 1 or −1, of laws that far apart; `alike` examples of each of n prompts agree."""
    one, other = (np.where(rng.random(n) < 0.5 + sign * tv / 2.0, 1.0, -1.0).repeat(alike) for sign in (1, -1))
    return one + 0.1 * rng.normal(size=one.size), other + 0.1 * rng.normal(size=one.size)


@pytest.mark.parametrize(("n", "alike"), [(4, 1), (8, 1), (20, 1), (12, 5)])
def test_divergences_are_above_the_truth_as_seldom_as_they_say(n, alike):
    """By 1.96 standard errors 46, 20 and 9 % of bounds were, and more of prompts whose pairs agree."""
    rng, p = np.random.default_rng(n), np.array([0.9, 0.1])
    truth = {"TV": 0.8, "JS": jensen_shannon(p, p[::-1])}
    groups = (np.arange(n).repeat(alike),) * 2 if alike > 1 else None
    wrong = 0
    for seed in range(80):
        found = bounds(*coins(rng, 0.8, n, alike), True, seed, groups)
        wrong += any(b.low > truth.get(b.divergence, 0.0) for b in found)
    assert wrong <= 2


@pytest.mark.parametrize("paired", [True, False])
def test_enough_examples_say_something(paired):
    found = {b.divergence: b for b in bounds(*coins(np.random.default_rng(0), 0.8, 200), paired)}
    assert 0.6 < found["TV"].low < 0.8
    p = np.array([0.9, 0.1])
    assert 0.15 < found["JS"].low < jensen_shannon(p, p[::-1])


def test_laws_without_overlap_are_sure_only_as_far_as_their_number_goes():
    apart = {n: {b.divergence: b for b in bounds(np.ones(n), -np.ones(n), True)} for n in (10, 40, 1000)}
    assert [math.isnan(found["TV"].mean.stderr) for found in apart.values()] == [True] * 3
    assert apart[10]["TV"].low == apart[10]["JS"].low == 0.0
    assert 0.6 < apart[40]["TV"].low < 0.8
    assert 0.98 < apart[1000]["TV"].low < 1.0
    assert apart[1000]["JS"].low < math.log(2.0) - math.log1p(math.exp(-LIMIT)), "where rewards end"


def pilot_of(*runs):
    side = tuple(Example((k,), (3,), k) for k in range(runs[0][0].size))
    tried = tuple(SimpleNamespace(method=f"m{k}", rate=1e-3, chosen=one, rejected=other) for k, (one, other) in
                  enumerate(runs))  # fmt: skip
    held = Preferences("held", side, side, paired=True)
    return SimpleNamespace(tried=tried, held=held, plan=SimpleNamespace(seed=0), groups=None)


def test_what_the_report_says_with_confidence():
    few = divergence_lines(pilot_of((np.ones(5), -np.ones(5))))[0]
    assert few[-1].value is None
    assert "nothing can be said of them from 5 pairs held out" in few[-1].text
    assert "with confidence" not in "".join(line.text for line in few[:-1])
    assert "all examples say the same" in few[0].text
    rng = np.random.default_rng(0)
    runs = coins(rng, 0.1, 100), coins(rng, 0.8, 100)
    lines, table = divergence_lines(pilot_of(*runs))
    assert "rewards of m1" in lines[0].text
    assert len(table.rows) == 2
    sure = {b.divergence: b.low for b in bounds(*runs[1], True, 0, None, LEVEL / 2)}  # the better of two
    assert f"with confidence 97.5 % at least {sure['TV']:.4g}" in {f.name: f for f in lines}["divergence_TV"].text
    assert 2.0 * sure["TV"] ** 2 in [f.value for f in lines if f.name == "across"]
    assert sure["TV"] < {b.divergence: b.low for b in bounds(*runs[1], True)}["TV"]
