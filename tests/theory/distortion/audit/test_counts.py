"""The audit of counts: intervals cover, with several answers of a user too, and narrow with more of them."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.special import expit

from tests.oracles.audits import CLOSED, population, relative_gap
from theory.bradley_terry import Population
from theory.distortion.audit.interval import audit
from theory.distortion.audit.observed import from_counts, user_half_width


def draw_counts(rng: np.random.Generator, P: np.ndarray, n: int) -> np.ndarray:
    counts = np.zeros(P.shape, dtype=int)
    for x in range(P.shape[0]):
        for y in range(x):
            counts[x, y] = rng.binomial(n, P[x, y])
            counts[y, x] = n - counts[x, y]
    return counts


def test_count_intervals_cover(rng):
    # 1000 trials at confidence 80 %: valid intervals exceed 20 % + 4 standard errors once in 30000.
    P = population(rng, 6, 4).win_rates(3.0)
    first, second = np.triu_indices(4, 1)
    missed = 0
    for _ in range(1000):
        observed = from_counts(draw_counts(rng, P, 60), 3.0, None, 0.8)
        values = P[first, second]
        missed += bool(((values < observed.low) | (values > observed.high)).any())
    assert missed <= 1000 * 0.2 + 4 * math.sqrt(1000 * 0.2 * 0.8)
    assert missed >= 30  # and they are not empty words: Clopper–Pearson with six pairs misses now and then


def test_intervals_for_users_with_several_answers_cover_where_the_binomial_does_not():
    # Two camps that answer pair (0, 1) in opposite ways, 20 answers per user, nearly copies of one.
    rng = np.random.default_rng(21)
    camps = Population([[1.0, 0.0], [0.0, 1.0]], [0.5, 0.5])
    p = expit(8.0 * np.array([1.0, -1.0]))
    users, d, trials = 30, 20, 400
    missed = {"users": 0, "binomial": 0}
    for _ in range(trials):
        types = rng.choice(2, size=users, p=camps.weights)
        wins = int(rng.binomial(d, p[types]).sum())
        counts = np.array([[0, wins], [users * d - wins, 0]])
        for name, n_users in (("users", users), ("binomial", None)):
            observed = from_counts(counts, 8.0, n_users, 0.9)
            missed[name] += not observed.low[0] <= 0.5 <= observed.high[0]
    assert missed["users"] <= 0.1 * trials
    assert missed["binomial"] > 0.4 * trials


def test_user_half_width_has_the_right_size():
    # All on one pair: no better than d copies of one answer; spread over many pairs: nearly Hoeffding.
    hoeffding = math.sqrt(math.log(2 / 0.05) / (2 * 2000))
    assert user_half_width(2000, 2000, 200, 0.05) == pytest.approx(math.sqrt(10) * hoeffding, rel=1e-12)
    spread = user_half_width(2000, 200_000, 20_000, 0.05)
    assert hoeffding < spread < 1.5 * hoeffding
    widths = [user_half_width(500, 5000, n, 0.05) for n in (50, 500, 2500)]
    assert all(a >= b for a, b in pairwise(widths))


def test_audit_of_counts_covers_and_narrows():
    rng = np.random.default_rng(31)
    users = Population([[0.9, 0.3, 0.0], [0.8, 0.0, 0.2], [0.5, 0.6, 0.1]], [0.5, 0.3, 0.2])
    P, policy = users.win_rates(5.0), np.array([0.6, 0.3, 0.1])
    exact = audit(P, policy, 5.0)
    uppers = []
    for n in (200, 20_000, 2_000_000):
        result = audit(None, policy, 5.0, counts=draw_counts(rng, P, n))
        # All intervals cover for this seed, so the exact data are among the possible ones.
        assert result.upper >= exact.lower
        assert relative_gap(result) < CLOSED
        uppers.append(result.upper)
    assert uppers[0] >= uppers[1] >= uppers[2]
    assert uppers[2] == pytest.approx(exact.upper, rel=0.02)
    counts = draw_counts(rng, P, 20_000)
    several = audit(None, policy, 5.0, counts=counts, n_users=6000)
    assert several.upper >= audit(None, policy, 5.0, counts=counts).upper


def test_pairs_never_compared_say_nothing():
    result = audit(None, [0.2, 0.8], 3.0, counts=np.zeros((2, 2)))
    assert result.upper == pytest.approx(5.0, rel=1e-9)  # 1/π_min: nothing is known
    assert result.lower == pytest.approx(5.0, rel=1e-6)
    assert audit(None, [0.0, 1.0], 3.0, counts=np.zeros((2, 2))).lower == math.inf
