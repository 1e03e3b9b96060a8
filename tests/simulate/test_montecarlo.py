"""Estimates and their errors: coverage over trials, with slack from the binomial error of the trial count."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chi2, norm

from simulate.montecarlo import (
    Z95,
    Estimate,
    bootstrap,
    generator,
    mean,
    proportion,
    ratio_to_mean,
    root_mean_square,
    slope,
)
from tests.bad_input import bad_input_is_named

TRIALS = 2000
#: Four standard errors of a share of 95 % in 2000 trials, and 1 % for small-sample skewness.
SLACK = 4 * math.sqrt(0.95 * 0.05 / TRIALS) + 0.01


def coverage(estimates: list[Estimate], truth: float) -> float:
    return float(np.mean([e.low <= truth <= e.high for e in estimates]))


def test_mean_covers(rng):
    assert abs(coverage([mean(rng.exponential(size=200)) for _ in range(TRIALS)], 1.0) - 0.95) < SLACK


def test_ratio_covers(rng):
    draws = [ratio_to_mean(2.0, 1 + rng.exponential(size=200)) for _ in range(TRIALS)]
    assert abs(coverage(draws, 1.0) - 0.95) < SLACK


def test_root_mean_square_covers(rng):
    assert abs(coverage([root_mean_square(rng.normal(size=300)) for _ in range(TRIALS)], 1.0) - 0.95) < SLACK


def test_proportion_covers_and_is_never_sure(rng):
    draws = [proportion(int(rng.binomial(200, 0.1)), 200) for _ in range(TRIALS)]
    assert coverage(draws, 0.1) > 0.95 - SLACK
    assert proportion(0, 10).stderr > 0
    assert proportion(10, 10).value == 1.0


def test_slope_covers_with_and_without_errors(rng):
    x = np.arange(8.0)
    errors = np.linspace(0.5, 2.0, 8)
    y = [3 * x + 1 + errors * rng.normal(size=8) for _ in range(TRIALS)]
    weighted = [slope(x, values, errors) for values in y]
    assert coverage(weighted, 3.0) > 0.95 - SLACK  # inflated by the scatter, so never less
    chi = [(s.value - 3.0) ** 2 for s in weighted]
    w = 1 / errors**2
    variance = 1 / float((w * (x - (w @ x) / w.sum()) ** 2).sum())
    assert TRIALS * np.mean(chi) / variance < chi2.ppf(0.9999, TRIALS)
    assert slope(x, 2 * x).value == pytest.approx(2.0, abs=1e-14)
    # points that scatter by three times what their errors say
    scattered = [slope(x, 3 * x + 1 + 3 * errors * rng.normal(size=8), errors) for _ in range(TRIALS)]
    assert coverage(scattered, 3.0) > 0.85  # 0.90 with six degrees of freedom; 0.49 without inflation
    assert slope(x, 2 * x).stderr == pytest.approx(0.0, abs=1e-14)


def test_bootstrap_of_a_mean_has_the_error_of_a_mean(rng):
    data = rng.exponential(size=500)
    point, draws = bootstrap(lambda w: np.array([w @ data]), 500, 400, rng)
    assert point[0] == pytest.approx(data.mean())
    assert draws[:, 0].std() == pytest.approx(data.std() / math.sqrt(500), rel=0.15)


def test_generators_are_repeatable_and_distinct():
    first, again = generator(1, "D3.bound", "bt_beta=2"), generator(1, "D3.bound", "bt_beta=2")
    assert (first.random(5) == again.random(5)).all()
    others = [generator(2, "D3.bound", "bt_beta=2"), generator(1, "D3.boun", "dbt_beta=2"), generator(1, "D3.bound")]
    draws = [g.random() for g in (generator(1, "D3.bound", "bt_beta=2"), *others)]
    assert len(set(draws)) == 4


def test_interval_defaults_to_the_normal_one():
    e = Estimate(1.0, 0.1)
    assert (e.low, e.high) == (1.0 - Z95 * 0.1, 1.0 + Z95 * 0.1)
    assert pytest.approx(norm.ppf(0.975), rel=1e-15) == Z95


test_bad_input = bad_input_is_named(
    (lambda: mean([1.0]), "two samples"),
    (lambda: mean([1.0, np.nan]), r"samples\[1\] is not finite"),
    (lambda: proportion(3, 2), "3 successes in 2"),
    (lambda: slope([1, 2], [1, 2]), "three points"),
    (lambda: slope([1, 2, 3], [1, 2, 3], [1, 0, 1]), r"stderr\[1\]"),
    (lambda: ratio_to_mean(1.0, [1.0, -1.0]), "mean 0"),
    (lambda: slope([0.0, 1e200, 2e200], [0, 1, 2]), r"x\[1\] is larger"),
    (lambda: slope([0, 1, 2], [0.0, 1e200, 0.0]), r"y\[1\] is larger"),
    (lambda: slope([0.0, 1e-200, 2e-200], [0, 1, 2]), "x or stderr is too small"),
    (lambda: slope([0, 1, 2], [0, 1, 2], [1e-200] * 3), "x or stderr is too small"),
    (lambda: generator(None), "seed"),
    (lambda: generator(-1), "seed = -1"),
    (lambda: bootstrap(lambda w: w, 0, 5, generator(0)), "n_units = 0"),
    (lambda: bootstrap(lambda w: w, 5, -1, generator(0)), "replicates = -1"),
)
