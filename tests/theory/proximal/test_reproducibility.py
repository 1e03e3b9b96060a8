"""What runs on one data set do not share, against DPO's descent, and by the margins that its loss sees."""

from __future__ import annotations

import math

import numpy as np
import pytest

from theory.proximal import reproducibility
from theory.proximal.descent import likelihood_path
from theory.proximal.examples import COMPARISONS, COUPLED, spread_table
from theory.proximal.run_examples import RATES, RUN_STEPS, comparison_features


def test_dpo_on_the_coupled_pair_moves_along_one_direction():
    c = COUPLED
    signal, half = np.array([0.25, -0.25, 0.0]), [0.5, 0.5, 0.0]
    path = likelihood_path(np.log(c.reference), signal, half, 1.0, c.kl_beta, c.kernel, c.rate, 200)
    late, early = path[-1], path[0]
    margin = (late[0] - late[1]) - (early[0] - early[1])
    for response in (1, 2):
        grown = (late[response] - late[0]) - (early[response] - early[0])
        assert reproducibility.coupled_direction(response) == pytest.approx(grown / margin, rel=1e-10)


def test_runs_end_where_their_margins_do():
    """Half of DPO's loss on draws from μ̂ × μ̂, half of them alike: a margin m grows as σ(−m)/4, along one direction."""
    c = COUPLED
    step = c.kernel @ np.array([1.0, -1.0, 0.0])
    ends = []
    for rate in RATES:
        margin = 0.0
        for k in range(1, max(RUN_STEPS) + 1):
            margin += rate * c.kl_beta**2 * (step[0] - step[1]) * 0.25 / (1.0 + math.exp(margin))
            if k in RUN_STEPS:
                tilt = margin / (step[0] - step[1]) * step / c.kl_beta
                ends.append(tilt - math.log(c.reference @ np.exp(tilt)))
    for response in range(3):
        expected = np.ptp([end[response] for end in ends])
        assert reproducibility.run_range(response) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("data", COMPARISONS)
def test_unseen_features_move_no_compared_margin_and_are_all_that_do_not(data):
    phi, free = comparison_features(data), reproducibility.unseen_features(data)
    n, pairs = COMPARISONS[data]
    np.testing.assert_allclose(phi.T @ phi, np.diag([1.0] * min(n, 4) + [0.0] * (4 - min(n, 4))), atol=1e-12)
    seen = np.array([phi[winner] - phi[loser] for winner, loser in pairs])
    np.testing.assert_allclose(seen @ free, 0.0, atol=1e-12)
    np.testing.assert_allclose(free.T @ free, np.eye(free.shape[1]), atol=1e-12)
    assert free.shape[1] == 4 - np.linalg.matrix_rank(seen, tol=1e-9)
    moved = reproducibility.free_movements(data)
    np.testing.assert_allclose(moved.sum(axis=0), 0.0, atol=1e-12)
    levels = phi @ free
    np.testing.assert_allclose(moved[:, None] - moved, levels[:, None] - levels, atol=1e-12)
    assert reproducibility.start_spread("dpo", data) ** 2 == pytest.approx((moved**2).sum())
    assert reproducibility.start_spread("pro", data) == reproducibility.irreproducible_dimension("pro", data) == 0.0


def test_the_example_s_table_by_hand():
    """Fractions of multiples of √2 and of the golden ratio."""
    signal, mu = spread_table(3)
    w, m = np.array([0.41421356, 0.82842712, 0.24264069]), 0.2 + np.array([0.61803399, 0.23606798, 0.85410197])
    np.testing.assert_allclose(signal, (w - w.mean()) / 3, atol=1e-8)
    np.testing.assert_allclose(mu, m / m.sum(), atol=1e-8)
