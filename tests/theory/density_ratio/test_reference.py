"""RDRO from an estimated reference: its covariance by the derivatives of the estimate, the best α on a fine grid."""

from __future__ import annotations

import math

import numpy as np
import pytest

from theory.density_ratio.limits import TABLES
from theory.density_ratio.reference import best_alpha, estimated_reference_covariance
from theory.density_ratio.reference_claims import estimated_distance

P, Q = TABLES["three"]


def spreads(alpha: float, sizes: tuple[float, float, float]) -> np.ndarray:
    """Covariance of p̂_m·p̂⁺/(αp̂⁺ + (1−α)p̂⁻), its three laws drawn on their own, by central differences."""
    laws = [P, Q, alpha * P + (1 - alpha) * Q]

    def estimate(winners: np.ndarray, losers: np.ndarray, unlabelled: np.ndarray) -> np.ndarray:
        return unlabelled * winners / (alpha * winners + (1 - alpha) * losers)

    total = np.zeros((3, 3))
    for k, (law, n) in enumerate(zip(laws, sizes, strict=True)):
        steps = [sign * 1e-6 * e for e in np.eye(3) for sign in (1, -1)]
        moved = [[law + step if j == k else laws[j] for j in range(3)] for step in steps]
        values = np.array([estimate(*three) for three in moved])
        slopes = ((values[::2] - values[1::2]) / 2e-6).T
        total += slopes @ (np.diag(law) - np.outer(law, law)) @ slopes.T / n
    return total


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_the_covariance_is_that_of_the_estimate_s_derivatives(alpha):
    found = estimated_reference_covariance(P, Q, 100, 300, alpha, 50)
    np.testing.assert_allclose(found, spreads(alpha, (100, 300, 50)), rtol=1e-7)
    mean = np.sqrt(np.diag(spreads(alpha, (1.0, 1.0, 0.3)))).sum() / math.sqrt(2 * math.pi)
    assert estimated_distance("three", alpha, 0.3) == pytest.approx(mean, rel=1e-7)


@pytest.mark.parametrize("ratio", [0.3, 1.0, 4.0])
def test_the_best_share_is_the_least_of_a_grid(ratio):
    grid = np.linspace(0.9, 0.9999, 1000)
    distances = [np.sqrt(np.diag(spreads(alpha, (1.0, 1.0, ratio)))).sum() for alpha in grid]
    assert best_alpha(P, Q, ratio) == pytest.approx(grid[int(np.argmin(distances))], abs=2e-4)
