"""The intervals behind an audit of counts hold with the confidence that is stated: against scipy, and written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from theory.distortion.audit.observed import from_counts, user_half_width


@pytest.mark.parametrize("wins", [0, 3, 70, 100])
@pytest.mark.parametrize("pairs", [1, 3])
def test_clopper_pearson_shares_the_risk_among_pairs_and_sides(wins, pairs):
    counts = np.zeros((3, 3))
    for x, y in [(0, 1), (0, 2), (1, 2)][:pairs]:
        counts[x, y], counts[y, x] = wins, 100 - wins
    observed = from_counts(counts, 1.0, None, confidence=0.9)
    exact = binomtest(wins, 100).proportion_ci(1 - 0.1 / pairs, "exact")
    np.testing.assert_allclose(observed.low, exact.low, atol=1e-12)
    np.testing.assert_allclose(observed.high, exact.high, atol=1e-12)


def test_users_who_answer_several_get_half_of_the_risk_for_each_inequality():
    n, total, n_users, risk = 1000, 100_000, 1000, 0.05
    d = 100
    chance = [math.comb(n, k) * math.comb(total - n, d - k) / math.comb(total, d) for k in range(d + 1)]
    mean, square = (sum(p * (k * (k - 1)) ** power for k, p in enumerate(chance)) for power in (1, 2))
    # Bernstein bounds Σk² = n + Σk(k−1) with probability 1 − risk/2 (one side), Hoeffding has two sides of risk/4
    bernstein = math.log(2 / risk)
    spread = n + n_users * mean + math.sqrt(2 * n_users * square * bernstein) + d * (d - 1) * bernstein / 3
    assert user_half_width(n, total, n_users, risk) == pytest.approx(
        math.sqrt(spread * math.log(4 / risk) / 2) / n, rel=1e-9
    )
    assert 4 * math.exp(-2 * n**2 * user_half_width(n, total, n_users, risk) ** 2 / spread) == pytest.approx(risk)
