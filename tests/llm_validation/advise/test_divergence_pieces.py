"""Formulas of advice by hand: terms of losses, halves, bounds from one another, signs, noise, prices."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from llm_validation.advise import accuracy, divergence, findings, sections, selection
from llm_validation.advise.divergence import Bound, read_across
from llm_validation.advise.recommend import _farther, _nearest
from llm_validation.preferences.data import Example, Preferences
from llm_validation.preferences.trace import Mean

CHOSEN, REJECTED = np.array([0.3, -0.7, 1.2]), np.array([-1.5, 0.4])


def of_kldo(one, other):
    mean = np.mean(np.exp(other))
    return -one, math.log(mean) + np.exp(other) / mean - 1.0


TERMS = {
    "kldo": of_kldo,
    "kto": lambda one, other: ((one < 0) * 1.0, (other > 0) * 1.0),
    "bco": lambda one, other: (np.log(1.0 + np.exp(-one)), np.log(1.0 + np.exp(other))),
}


@pytest.mark.parametrize("name", TERMS)
def test_what_an_example_adds_to_a_loss(name):
    found, expected = divergence._terms(name, CHOSEN, REJECTED), TERMS[name](CHOSEN, REJECTED)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs)


def test_rewards_are_where_the_regularised_regression_is_least():
    """Minus the log-likelihood, classes weighted alike, of a·x + b on standardised x: by a search of a grid."""
    fitted = divergence._calibrated(CHOSEN, REJECTED)
    both = np.concatenate([CHOSEN, REJECTED])
    x, y = ((side - both.mean()) / both.std() for side in (CHOSEN, REJECTED))
    loss = lambda a, b: (
        np.log1p(np.exp(-(a * x + b))).mean() + np.log1p(np.exp(a * y + b)).mean() + 0.005 * (a * a + b * b)
    )
    b = float(fitted(both.mean()))
    a = float(fitted(both.mean() + both.std())) - b
    least = loss(a, b)
    for step in (1e-3, 1e-2, 0.1):
        assert all(loss(a + step * i, b + step * j) > least for i, j in ((1, 0), (-1, 0), (0, 1), (0, -1)))


def test_halves_keep_pairs_and_prompts_together():
    one, other = divergence._halves(10, 10, True, 0, None)
    assert one.sum() == 5
    np.testing.assert_array_equal(one, other)
    one, other = divergence._halves(8, 6, False, 0, None)
    assert (one.sum(), other.sum()) == (4, 3)
    groups = np.array([0, 0, 1, 2, 3]), np.array([3, 1, 1])
    one, other = divergence._halves(5, 3, False, 0, groups)
    half = {group: bool(side) for group, side in zip(groups[0], one, strict=True)}
    assert sum(half.values()) == 2
    assert [half[group] for group in groups[1]] == other.tolist()
    assert one[0] == one[1]


def test_bounds_say_something_of_one_another():
    found = dict(read_across([Bound(name, "", Mean(0.9, 0.0, 2), low) for name, low in (("TV", 0.6), ("JS", 0.2))]))
    expected = (0.2 / math.log(2.0), math.log(2.0) + 0.8 * math.log(0.8) + 0.2 * math.log(0.2), 2.0 * 0.36)
    assert tuple(found.values()) == pytest.approx(expected)
    whole = read_across([Bound(name, "", Mean(1.0, 0.0, 2), 1.0) for name in ("TV", "JS")])
    assert whole[1][1] == pytest.approx(math.log(2.0))


@pytest.mark.parametrize(("groups", "more", "n"), [(None, 6, 8), (np.array([0, 0, 0, 1, 1, 2, 2, 3, 4]), 3, 3)])
def test_signs_are_tossed_coins(groups, more, n):
    """Two sides of a binomial law; what cancels within a group has no sign."""
    values = np.array([1.0, 1.0, -0.5, 1.0, 1.0, 0.5, 0.5, 0.0, -1.0])
    if groups is not None:
        values[8] = 0.0
    tail = sum(math.comb(n, k) for k in range(more, n + 1)) / 2**n
    both = None if groups is None else (groups, groups)
    assert accuracy._sign_test(values, both) == pytest.approx(min(1.0, 2.0 * tail))
    assert accuracy._sign_test(np.array([0.0, 1e-12]), None) == 1.0


def test_a_gap_in_standard_errors():
    """By t of the degrees of freedom; without a spread as heads all along, of so many tosses."""
    assert accuracy._by_spread(Mean(-0.392, 0.2, 10**6)) == pytest.approx(0.05, abs=1e-4)
    assert accuracy._by_spread(Mean(2.0 * 4.302653, 2.0, 90, groups=3)) == pytest.approx(0.05, abs=1e-6)
    assert [accuracy._by_spread(Mean(*of)) for of in ((0.0, 0.0, 9), (0.1, 0.0, 9), (0.1, math.nan, 9))] == [
        1.0, 2.0**-8, 1.0,
    ]  # fmt: skip


@pytest.mark.parametrize("flipped", [0.0, 0.05, 0.3, 0.5])
def test_two_judgements_differ_where_one_is_flipped(flipped):
    assert findings._flipped(2.0 * flipped * (1.0 - flipped)) == pytest.approx(flipped, abs=1e-7)


def test_shares_of_less_likely_examples():
    written = {(1,): -2.0, (2,): -1.0}
    examples = [Example((p,), (5,), k) for k, p in enumerate((1, 1, 1, 2))]
    found = sections._above(written, examples, np.array([-3.0, -2.0, -1.0, -0.5]))
    assert found == {(1,): 0.5, (2,): 0.0}
    assert sections._rates([Example((1,), (5, 6), 0)], np.array([-3.0])).tolist() == [-1.5]


def test_how_near_the_reference_is_to_an_even_mixture_is_the_mean_of_both():
    own = [Example((p,), (4, 4), p) for p in range(12)]
    begun = [([Example((p,), (5,), p) for p in range(12)], np.where(np.arange(12) < far, -4.0, -0.5)) for far in (9, 3)]
    found = {f.name: f.value for f in sections._nearness(("own", own, np.full(12, -2.0)), begun)}  # −1 a token
    assert found["reference_far"] == 0.75
    assert found["reference_minus"] == 0.25
    assert found["reference_alpha"] == 0.5


def drawn(**fields):
    return SimpleNamespace(final=np.arange(32.0).reshape(4, 8) % 8, times=(4, 8), **fields)


def test_the_price_is_the_least_n_that_reaches_the_policy(monkeypatch):
    """Answers of rewards 0 … 7 have the mean 3.5; the best of two of them 16/3 + … = 9·2/3 − 1 = 5, of three 5.75."""
    seen = []
    monkeypatch.setattr(selection, "speedup", lambda *words: seen.append(words) or 1.5)
    some = drawn(lengths=np.arange(32.0).reshape(4, 8))
    run, v = SimpleNamespace(method="dpo"), SimpleNamespace(value=np.array([0.2, 0.6]))
    reached = np.array([5.3, 5.5, 5.4, 5.2])
    (gain,) = selection._gain(run, some.final, reached)
    assert (gain.value, gain.error) == (pytest.approx(5.35 - 3.5), pytest.approx(reached.std(ddof=1) / 2.0))
    found = {f.name: f for f in selection._priced(run, some, reached, v)}
    assert found["best_of_n"].value == 3
    assert found["tokens"].value == pytest.approx(3 * 15.5)
    assert found["tokens"].error == pytest.approx(3 * np.arange(3.5, 32, 8).std(ddof=1) / 2)  # of four prompts
    assert seen == [(4, (0.2, 0.6), (4, 8), 0.5, 31.0)]
    (behind,) = selection._priced(run, some, reached + 2.0, v)
    assert behind.value == pytest.approx(7.35 - 7.0)
    (none,) = selection._priced(run, some, np.full(4, 3.0) + reached / 100.0, v)
    assert "cannot be told from none" in none.text
    short = drawn(lengths=np.full((4, 8), 4.0))
    assert "speculative" not in {f.name for f in selection._priced(run, short, reached, v)}


def test_the_nearest_runs_are_those_whose_kl_is_not_larger():
    """Errors of 0.1 each: a difference of 2.576·√2·0.1 = 0.364 is told."""
    spread = np.array([-1.0, 1.0]) * 0.1
    run = lambda mean: SimpleNamespace(kl=mean + spread)
    least, near, far = run(1.0), run(1.34), run(1.39)
    assert not _farther(near, least)
    assert _farther(far, least)
    assert _nearest([far, least, near]) == [least, near]
    assert _nearest([least, near]) == []


@pytest.mark.parametrize(("steps", "planned", "seconds", "step", "whole", "said"), [
    (12, 120, 15.0, 1.0, 123.0, "12 of them done, the others"), (12, 12, 15.0, 1.0, 15.0, "all of them done"),
    (1, 10, 4.0, 4.0, 40.0, "1 of them done"), (12, None, 15.0, 1.0, 15.0, "all of them done"),
])  # fmt: skip
def test_a_training_is_priced_by_its_steps(steps, planned, seconds, step, whole, said):
    """Four seconds until the first step is done, however many follow; a pair is one, and not two examples."""
    sides = [tuple(Example((k,), (word,), k) for k in range(96)) for word in (3, 4)]
    for paired, amount, each in ((True, "96 pairs", "8 pairs each"), (False, "192 examples", "8 examples each")):
        pilot = SimpleNamespace(trained_on=Preferences("planted", *sides, paired=paired), batch=8)
        run = SimpleNamespace(method="dpo", steps=steps, planned=planned, seconds=seconds, first=4.0)
        one, all_of_them = sections._training(pilot, run)
        assert (one.value, all_of_them.value) == (pytest.approx(step), pytest.approx(whole))
        assert each in one.text
        assert f"over {amount} take" in all_of_them.text
        assert said in all_of_them.text


def test_what_scores_and_lists_have_besides():
    chosen = tuple(Example((p,), (3 + i,), p) for p, n in ((1, 3), (2, 6)) for i in range(n))
    rejected = tuple(Example((p,), (30 + i,), p) for p, n in ((1, 3), (2, 6)) for i in range(n))
    data = Preferences("planted", chosen, rejected, paired=True)
    assert findings.kind(data) == "ranked lists"
    assert {f.name: f.value for f in findings._of_kind(data)} == {"lists": 2, "listed": 3.5}  # 3 and 4 responses
    unpaired = Preferences("planted", chosen[:3], rejected[:4], paired=False)
    found = {f.name: f for f in findings._per_prompt(unpaired)}
    assert (found["judged_most"].value, found["chosen_share"].value) == (6, 0.5)
