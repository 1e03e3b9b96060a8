"""IPO: its scores against least squares by hand, its minimum against the loss itself, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from simulate.populations import random_population
from theory.bradley_terry import product_pairs
from theory.policy.identity import ipo_loss, ipo_penalty, ipo_scores
from theory.social_choice.pairwise import borda_scores


@pytest.mark.parametrize("seed", range(4))
def test_scores_are_least_squares(seed):
    rng = np.random.default_rng(seed)
    P = random_population(rng).win_rates(5.0)
    A = len(P)
    mu = rng.dirichlet(np.ones(A))
    assert np.ptp(ipo_scores(P, product_pairs(mu)) - borda_scores(P, mu)) < 1e-10
    pairs = rng.random((A, A))
    pairs = (pairs + pairs.T) / (pairs + pairs.T).sum()
    x, y = np.triu_indices(A, k=1)
    rows = np.sqrt(pairs[x, y])[:, None] * (np.eye(A)[x] - np.eye(A)[y])
    g = np.linalg.lstsq(rows, np.sqrt(pairs[x, y]) * (P[x, y] - 0.5), rcond=None)[0]
    scores = ipo_scores(P, pairs)
    assert np.ptp(scores - g) < 1e-10
    assert abs(pairs.sum(axis=1) @ scores) < 1e-12

    reference = rng.dirichlet(np.full(A, 3.0))
    lr = np.log(ipo_penalty(P, pairs, reference, 0.2) / reference)
    best = ipo_loss(lr, P, pairs, 0.2)
    assert all(ipo_loss(lr + 0.1 * rng.standard_normal(A), P, pairs, 0.2) > best for _ in range(20))


def test_what_is_refused():
    P, apart = np.full((3, 3), 0.5), np.diag([0.2, 0.2, 0.2])
    apart[0, 1] = apart[1, 0] = 0.2
    with pytest.raises(ValueError, match="joins alternatives 0 and 2 by no chain"):
        ipo_scores(P, apart)
    with pytest.raises(ValueError, match="no mass on pairs"):
        ipo_loss([0.0] * 3, P, np.eye(3) / 3, 0.5)
    with pytest.raises(ValueError, match="log_ratio has an entry of size 1e"):
        ipo_loss([1e200, 0.0, 0.0], P, np.full((3, 3), 1 / 9), 0.5)
    with pytest.raises(ValueError, match="kl_beta"):
        ipo_penalty(P, np.full((3, 3), 1 / 9), None, 0.0, log_reference=np.zeros(3) - np.log(3))
