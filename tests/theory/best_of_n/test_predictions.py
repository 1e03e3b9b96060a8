"""Predictions of B6–B8 from the definitions: tokens counted one by one, inverses undone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from theory.best_of_n import predictions as predict


def test_tokens_counted_one_by_one():
    """64 rows, half dropped after tokens 16 and 64 of 256; a scorer without a cache reads every text each time."""
    rows = [64 if t <= 16 else 32 if t <= 64 else 16 for t in range(1, 257)]
    assert predict.tokens(64, "16 64", 0.5, 256) == sum(rows)
    assert predict.scored(64, "16 64", 0.5, 256) == 64 * 16 + 32 * 64 + 16 * 256
    assert predict.peak(64, "16 64", 0.5, 256, 10) == max(n * (10 + t) for t, n in enumerate(rows, 1))
    ending = sum(n * 0.99**t for t, n in enumerate(rows))  # the first token is always written
    assert predict.early_stop(64, "16 64", 0.5, 256, 0.01) == pytest.approx(ending, rel=1e-12)


def test_a_full_budget_counted_one_by_one():
    """8 rows of 512 cached tokens: at each token that does not fit half of them go, as often as needed."""
    rows, used, written, shares = 8, 0, 0, []
    for t in range(1, 129):
        if rows * (t + 5) > 512:
            shares.append(rows * (t - 1 + 5) / 512)
        while rows * (t + 5) > 512:
            rows //= 2
        written += rows
        used = max(used, rows * (t + 5))
    assert used <= 512
    assert predict.full_tokens(8, 0.5, 512, 128, 5) == written
    assert predict.full_share(8, 0.5, 512, 128, 5) == pytest.approx(min(shares))
    batch = predict.largest_batch(512, "16 64", 0.5, 128, 5)
    assert predict.peak(batch, "16 64", 0.5, 128, 5) <= 512 < predict.peak(batch + 1, "16 64", 0.5, 128, 5)


def test_the_area_that_a_speedup_takes_gives_that_speedup():
    area = predict.required_area(3, 64, 0.5, 1024, 2048)
    assert 0.0 < area < 1.0
    assert predict.profile_speedup(64, area, 0.5, 1024, 2048) == pytest.approx(3.0, rel=1e-5)
    early, late = (predict.profile_reward(64, a, 0.5, 1024, 2048) for a in (0.8, 0.3))
    assert late < early < predict.reward(64, "1", 1.0)


def test_improvement_over_the_range_of_three():
    """E[1/range] of three standard normal rewards: the range w has density 6 ∫ φ(x)φ(x+w)(Φ(x+w) − Φ(x)) dx."""
    w, x = np.linspace(1e-6, 12.0, 1500)[:, None], np.linspace(-10.0, 10.0, 1500)
    density = norm.pdf(x) * norm.pdf(x + w) * (norm.cdf(x + w) - norm.cdf(x)) / w
    inverse = 6 * np.trapezoid(np.trapezoid(density, x, axis=1), w[:, 0])
    best = predict.reward(64, "0.25 0.5 0.75", 0.5)
    assert predict.improvement(64, 3) == pytest.approx(100 * (0.5 + best * inverse), rel=1e-5)
    assert predict.compute(64, 3) == pytest.approx((64 + 32 + 16 + 8) / 4 / 3)


def test_survivors_where_nothing_is_lost():
    """All rows kept have the law of a score of variance ½; a score that is the reward keeps the best row."""
    assert predict.survivors(8, "0.5", 1.0, 1, 0.3) == pytest.approx(norm.cdf(0.3 * math.sqrt(2.0)), abs=1e-5)
    assert predict.survival(8, "1", 0.5) == pytest.approx(1.0, abs=1e-9)
