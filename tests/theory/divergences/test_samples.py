"""Samples, minibatches, kinds of data: against enumeration and by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from tests.oracles.strategies import distributions
from theory.divergences import samples
from theory.divergences.by_generator import f_divergence
from theory.divergences.generators import Infinite
from theory.divergences.losses import estimated_divergence, minimum
from theory.divergences.safety_data import (
    SafetyData,
    data_gap,
    example_pair,
    example_prompts,
    example_reference,
    example_safety,
)
from theory.divergences.tables import kl

P = np.array([0.4, 0.1, 0.3, 0.2])
Q = np.array([0.1, 0.2, 0.25, 0.45])
pairs = st.integers(2, 5).flatmap(lambda size: st.tuples(distributions(size, 0.02), distributions(size, 0.02)))


# Estimates from samples.


@pytest.mark.parametrize("name", ["kldo", "kto", "bco", "hellinger", "pearson", "alpha:0.5"])
def test_estimates_are_plug_in_minima_with_intervals(name):
    n = 1000
    found = samples.estimate_minimum(name, n * P, 2 * n * Q)
    assert found.value == pytest.approx(minimum(name, P, Q), abs=1e-12)
    assert found.high - found.value == pytest.approx(1.959963984540054 * found.stderr)
    same = samples.estimate_minimum(name, n * P, n * Q)
    assert same.stderr == pytest.approx(samples.asymptotic_stderr(name, P, Q, n), rel=1e-12)
    wide = samples.estimate_minimum(name, n * P, n * Q, confidence=0.99)
    assert wide.low < same.low


def test_standard_errors_by_hand():
    """KL: Var₊ log R + Var₋ R; TV: binomial in the set R > 1."""
    L, R = np.log(P / Q), P / Q
    variance = (P @ L**2 - (P @ L) ** 2) + (Q @ R**2 - (Q @ R) ** 2)
    assert samples.asymptotic_stderr("kldo", P, Q, 100) == pytest.approx(math.sqrt(variance / 100))
    above = R > 1
    a, b = P[above].sum(), Q[above].sum()
    assert samples.asymptotic_stderr("kto", P, Q, 100) == pytest.approx(math.sqrt((a * (1 - a) + b * (1 - b)) / 100))


def test_biases_by_hand():
    """KL: ½Σ(1 − p) + ½ΣR(1 − q), a classical expansion; Pearson: Σ(R(1−p) + R²(1−q))."""
    R = P / Q
    assert samples.asymptotic_bias("kldo", P, Q, 50) == pytest.approx(-0.5 * np.sum(1 - P + R * (1 - Q)) / 50)
    assert samples.asymptotic_bias("pearson", P, Q, 50) == pytest.approx(-np.sum(R * (1 - P) + R**2 * (1 - Q)) / 50)
    assert samples.asymptotic_bias("dpo", P, Q, 50) == -3 / 100
    assert samples.asymptotic_bias("kto", P, Q, 50) == 0.0
    assert samples.asymptotic_excess("bco", P, Q, 50) == -samples.asymptotic_bias("bco", P, Q, 50)
    saved = -samples.asymptotic_bias("kldo", P, Q, 50) - samples.asymptotic_excess("kldo", P, Q, 50)
    assert saved == pytest.approx(f_divergence(P, Q, "pearson") / 100)
    assert samples.asymptotic_excess("kl", P, Q, 50) > samples.asymptotic_excess("kldo", P, Q, 50) > 0


def test_dpo_on_pair_counts():
    wins = 1000 * np.outer(P, Q)
    found = samples.estimate_dpo_minimum(wins)
    assert found.value == pytest.approx(minimum("dpo", P, Q), abs=1e-10)
    assert found.stderr == pytest.approx(samples.asymptotic_stderr("dpo", P, Q, 1000), rel=1e-6)


def test_absent_responses():
    found = samples.estimate_minimum("kldo", [3, 4], [0, 2])
    assert isinstance(found.value, Infinite)
    assert (found.value, found.value.outcome) == (-math.inf, 0)
    assert math.isfinite(samples.estimate_minimum("bco", [3, 4], [0, 2]).value)


# Minibatches.


def batches(size: int) -> list[tuple[tuple[int, ...], float]]:
    """Every batch of responses, whatever its order, with its probability."""
    orders = lambda batch: math.factorial(size) / math.prod(math.factorial(batch.count(y)) for y in range(4))
    found = itertools.combinations_with_replacement(range(4), size)
    return [(batch, orders(batch) * float(np.prod(Q[list(batch)]))) for batch in found]


REWARDS = np.array([1.0, -0.5, 0.3, 0.8])


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_minibatch_expectations_by_listing_batches(size):
    exact = sum(mass * samples.log_mean_exp(REWARDS[list(batch)]) for batch, mass in batches(size))
    truth = math.log(Q @ np.exp(REWARDS))
    assert samples.exact_log_mean_exp_bias(REWARDS, Q, size) == pytest.approx(exact - truth, abs=1e-13)
    value, gradient = samples.minibatch_kldo(REWARDS, P, Q, size)
    assert value == pytest.approx(exact - P @ REWARDS, abs=1e-13)
    h = 1e-6
    numeric = [
        (
            samples.minibatch_kldo(REWARDS + h * e, P, Q, size)[0]
            - samples.minibatch_kldo(REWARDS - h * e, P, Q, size)[0]
        )
        / (2 * h)
        for e in np.eye(4)
    ]
    np.testing.assert_allclose(gradient, numeric, atol=1e-8)


def test_first_terms_of_the_biases():
    for B in (200, 400):
        exact = samples.exact_log_mean_exp_bias(REWARDS[:2], [0.3, 0.7], B)
        assert exact == pytest.approx(samples.log_mean_exp_bias(REWARDS[:2], [0.3, 0.7], B), rel=3 / B)
    assert samples.exact_log_mean_exp_bias(REWARDS, Q, 1) == pytest.approx(Q @ REWARDS - math.log(Q @ np.exp(REWARDS)))


def test_leave_one_out_removes_the_first_term():
    def expected(size: int) -> float:
        return sum(mass * leave_one_out(REWARDS[list(batch)]) for batch, mass in batches(size))

    def leave_one_out(rewards: np.ndarray) -> float:
        without = [samples.log_mean_exp(np.delete(rewards, i)) for i in range(rewards.size)]
        return rewards.size * samples.log_mean_exp(rewards) - (rewards.size - 1) * float(np.mean(without))

    truth = math.log(Q @ np.exp(REWARDS))
    left = [expected(size) - truth for size in (3, 6)]
    assert abs(left[1]) < 0.35 * abs(left[0])
    assert abs(left[1]) < 0.2 * abs(samples.exact_log_mean_exp_bias(REWARDS, Q, 6))
    assert left[1] == pytest.approx(samples.leave_one_out_bias(REWARDS, Q, 6), rel=1 / 6)  # the next term is 1/B of it


def test_what_leave_one_out_leaves_to_its_order():
    """B times the mean of B less B − 1 times that of B − 1, from exact biases of batches of two responses."""
    r, q, B = REWARDS[:2], [0.3, 0.7], 500
    whole, without = (samples.exact_log_mean_exp_bias(r, q, size) for size in (B, B - 1))
    assert samples.leave_one_out_bias(r, q, B) == pytest.approx(B * whole - (B - 1) * without, rel=0.01, abs=0.0)


@given(st.lists(st.floats(-800.0, 800.0), min_size=2, max_size=6))
def test_log_mean_exp_does_not_overflow(values):
    expected = float(np.logaddexp.reduce(values)) - math.log(len(values))
    assert samples.log_mean_exp(values) == pytest.approx(expected, abs=1e-9)


def test_gradient_weights_by_listing():
    """E[weight] − weight at B = 6, against the first-order term; with rate 1 the weights sum to one, so biases to 0."""
    x = np.exp(REWARDS) / (Q @ np.exp(REWARDS))
    _, gradient = samples.minibatch_kldo(REWARDS, P, Q, 40)
    exact = gradient + P - Q * x
    np.testing.assert_allclose(samples.gradient_weight_bias(REWARDS, Q, 40), exact, rtol=0.1, atol=2e-5)
    assert samples.gradient_weight_bias(REWARDS, Q, 5).sum() == pytest.approx(0.0, abs=1e-15)
    slow = samples.gradient_weight_bias(REWARDS, Q, 40, rate=0.05)
    assert (np.abs(slow) < 0.15 * np.abs(exact)).all()


@pytest.mark.parametrize("rate", [1.0, 0.9])
def test_gradient_weights_over_a_moving_average_of_two_batches(rate):
    """Every count of a response in this batch and in the one before, whose share 1 − rate stands for all before it."""
    r, q, B = REWARDS[:2], np.array([0.3, 0.7]), 400
    x, counts = np.exp(r) / (q @ np.exp(r)), np.arange(B + 1.0)
    mass = binom.pmf(counts, B, q[0])
    shares = np.stack([counts, B - counts]) / B
    means = x @ shares
    average = rate * means[:, None] + (1.0 - rate) * means
    exact = [mass @ (share[:, None] * factor / average) @ mass for share, factor in zip(shares, x, strict=True)]
    np.testing.assert_allclose(samples.gradient_weight_bias(r, q, B, rate), exact - q * x, rtol=0.01)


@given(pairs)
def test_the_threshold_is_a_maximum_over_all_subsets(tables):
    p, q = tables
    n = p.size
    ratios = [
        math.log(1 - p[list(S)].sum()) / math.log(1 - q[list(S)].sum())
        for size in range(1, n)
        for S in itertools.combinations(range(n), size)
    ]
    assert samples.minibatch_threshold(p, q) == pytest.approx(max(1.0, *ratios), rel=1e-9)


def test_minibatch_optima_exist_above_the_threshold_only():
    threshold = samples.minibatch_threshold(P, Q)
    assert 4.8 < threshold < 4.9
    direction = np.array([1.0, 0.0, 0.0, 0.0])
    falling = [samples.minibatch_kldo(t * direction, P, Q, 4)[0] for t in (10.0, 100.0, 1000.0)]
    assert falling[0] > falling[1] > falling[2]
    ranges = []
    for batch in (5, 8, 16, 60):
        r = samples.minibatch_minimizer(P, Q, batch)
        np.testing.assert_allclose(samples.minibatch_kldo(r, P, Q, batch)[1], 0.0, atol=1e-8)
        ranges.append(float(np.ptp(r)))
    exact = float(np.ptp(np.log(P / Q)))
    assert ranges == sorted(ranges, reverse=True)
    assert ranges[-1] == pytest.approx(exact, rel=0.05)
    assert ranges[0] > 1.5 * exact
    assert samples.minibatch_threshold([0.5, 0.5], [1.0, 0.0]) == math.inf
    assert samples.minibatch_threshold(P, P) == pytest.approx(1.0)


# Kinds of data.


@pytest.mark.parametrize("generator", ["kl", "jensen_shannon", "total_variation", "pearson", "squared_hellinger"])
@pytest.mark.parametrize("overlap", [0.05, 0.5, 0.9])
def test_the_data_gap_is_the_difference_of_the_divergences(generator, overlap):
    data = example_safety(overlap)
    tables = [f_divergence(*(t.ravel() for t in data.joint(kind)), generator) for kind in ("cr", "preference")]
    assert data_gap(data, generator) == pytest.approx(tables[0] - tables[1], abs=1e-13)


def test_refusals_far_from_answers_separate_more_and_near_ones_less():
    for generator in ("jensen_shannon", "total_variation"):
        gaps = [data_gap(example_safety(overlap), generator) for overlap in (0.0, 0.3, 0.6, 0.9)]
        assert gaps == sorted(gaps, reverse=True)
        assert gaps[0] > 0 > gaps[-1]


def test_disjoint_refusals():
    data = example_safety(0.0)
    gap = data_gap(data, "kl")
    assert isinstance(gap, Infinite)
    assert gap == math.inf
    harmless = data.prompts[data.safe].sum()
    on_safe = f_divergence(*(table.ravel() for table in data.joint("cr")), "total_variation") - sum(
        data.prompts[x] * f_divergence(data.preferred[x], data.rejected[x], "tv") for x in (2, 3)
    )
    assert on_safe == pytest.approx(harmless)  # total variation 1 on safe prompts: its maximum
    parts = {name: getattr(data, name) for name in data.__dataclass_fields__}
    with pytest.raises(ValueError, match="both infinite"):
        data_gap(SafetyData(**{**parts, "weak": data.refusal}), "reverse_kl")


def test_example_pairs_have_the_stated_ratio():
    p, q = example_pair(7, 2.0)
    spread = np.log(p / q) - 2.0 * np.cos(2.4 * np.arange(7))
    np.testing.assert_allclose(spread, spread[0], atol=1e-13)
    assert kl(*example_pair(7, 0.0)) == 0.0
    np.testing.assert_allclose(example_pair(4, 0.0)[0], np.array([1, 2, 3, 1]) / 7)


def test_the_example_s_prompts_by_hand():
    waves = np.array([2.0, 2.0 + math.sin(1.7), 2.0 + math.sin(3.4)])
    np.testing.assert_allclose(example_reference(3), waves / waves.sum(), rtol=1e-14)
    p, q, reference = example_prompts(3, 4)
    np.testing.assert_allclose(p.sum(axis=1), np.array([1, 2, 3]) / 6)
    np.testing.assert_allclose(q.sum(axis=1), np.array([4, 3, 2]) / 9)
    np.testing.assert_allclose(reference[1], example_reference(4)[[3, 0, 1, 2]])
    for x, separation in enumerate((0.8, 2.0, 3.2)):
        np.testing.assert_allclose(p[x] / p[x].sum(), example_pair(4, separation)[0])
        np.testing.assert_allclose(q[x] / q[x].sum(), example_pair(4, separation)[1])
    p, q, _ = example_prompts(3, 4, shared=True)
    np.testing.assert_allclose(p.sum(axis=1), q.sum(axis=1))


@pytest.mark.parametrize("batch", [1, 3])
def test_an_outcome_that_is_never_rejected_changes_no_batch(batch):
    p, q, r = [0.5, 0.3, 0.2], [0.4, 0.6, 0.0], [0.3, -1.0, 7.0]
    value, gradient = samples.minibatch_kldo(r, p, q, batch)
    without, slopes = samples.minibatch_kldo(r[:2], [0.625, 0.375], q[:2], batch)
    assert value == pytest.approx(without + np.dot([0.625, 0.375], r[:2]) - np.dot(p, r))
    assert gradient + p == pytest.approx([*np.add(slopes, [0.625, 0.375]), 0.0])
    assert samples.exact_log_mean_exp_bias(r, q, batch) == pytest.approx(
        samples.exact_log_mean_exp_bias(r[:2], q[:2], batch)
    )


def test_a_loss_that_is_certain_has_no_error():
    """E[l²] − E[l]² is below 0 by rounding for one outcome's log 2."""
    for p in ([1.0], [0.1, 0.2, 0.7], np.full(7, 1 / 7)):
        assert samples.asymptotic_stderr("dpo", p, p, 10) == pytest.approx(0.0, abs=1e-12)


def test_a_loss_that_falls_for_ever_estimates_an_infinite_divergence():
    assert estimated_divergence("kldo", -math.inf) == math.inf
    for value in (math.inf, math.nan):
        with pytest.raises(ValueError, match="value"):
            estimated_divergence("kldo", value)


def test_errors_of_laws_that_share_no_outcome():
    """DPO is certain of every pair; KLDO falls for ever, and no error is stated, as in `estimate_minimum`."""
    p, q = [0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]
    assert samples.asymptotic_stderr("dpo", p, q, 10) == 0.0
    assert math.isnan(samples.asymptotic_stderr("kldo", p, q, 10))
