"""Predictions of V1–V11 from the definitions: densities integrated, policies and subsets written out."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from theory.divergences import predictions as predict
from theory.divergences.safety_data import example_pair, example_reference

P, Q = example_pair(5, 1.5)
R = P / Q


def expectation(function, mean: float, scale: float) -> float:
    return quad(lambda x: norm.pdf(x, mean, scale) * function(x), mean - 12 * scale, mean + 12 * scale, limit=200)[0]


@pytest.mark.parametrize("kl_beta", [0.5, 1.0, 3.0])
def test_aligned_policies_are_powers_of_the_ratio(kl_beta):
    w = example_reference(5)
    for y in range(5):
        expected = R[y] ** (1 / kl_beta) / np.sum(w * R ** (1 / kl_beta))
        assert predict.aligned_ratio("kldo", kl_beta, y) == pytest.approx(expected, rel=1e-12)


def test_rewards_of_tables():
    assert predict.reward_range("kldo", 5, 1.5) == pytest.approx(np.ptp(np.log(R)), rel=1e-12)
    assert predict.largest_reward("bco", 5, 1.5) == pytest.approx(np.log(R).max(), rel=1e-12)
    assert predict.rising_set("kto", 5, 1.5) == sum(2**y for y in range(5) if P[y] > Q[y])
    assert predict.least("kldo", 5, 1.5) == pytest.approx(-np.sum(P * np.log(R)), rel=1e-12)
    assert predict.exact_divergence("kldo", 1.5) == pytest.approx(np.sum(P * np.log(R)), rel=1e-12)


def test_losses_of_gaussians_by_integration():
    log_ratio = lambda x: norm.logpdf(x, 0.7, 1.3) - norm.logpdf(x)
    assert predict.gaussian_minimum("kldo", 0.7, 1.3) == pytest.approx(-expectation(log_ratio, 0.7, 1.3), rel=1e-9)
    sides = lambda sign: expectation(
        lambda x: np.logaddexp(0.0, -sign * log_ratio(x)), *((0.7, 1.3), (0.0, 1.0))[sign < 0]
    )
    assert predict.gaussian_minimum("bco", 0.7, 1.3) == pytest.approx(sides(1) + sides(-1), rel=1e-8)
    # of a pair x − y ~ N(δ, 2), log R(x) − log R(y) = δ(x − y)
    pairs = expectation(lambda gap: np.logaddexp(0.0, -0.9 * gap), 0.9, math.sqrt(2.0))
    assert predict.gaussian_pairs(0.9) == pytest.approx(pairs, rel=1e-8)


def test_distances_of_gaussians_by_integration():
    """Bhattacharyya's is −log ∫ √(pq); covariances I and diag(1, 1.5), the means δ apart on the first axis."""
    root = lambda x, shift, scale: math.sqrt(norm.pdf(x, shift) * norm.pdf(x, 0.0, scale))
    parts = [quad(root, -15, 15, args=args)[0] for args in ((0.8, 1.0), (0.0, math.sqrt(1.5)))]
    assert predict.known_distance(0.8, 2) == pytest.approx(-math.log(parts[0] * parts[1]), rel=1e-9)


def test_the_first_batch_with_a_minimum_is_above_all_subsets():
    for separation in (0.5, 1.0, 2.0):
        p, q = example_pair(3, separation)
        subsets = [list(s) for k in (1, 2) for s in itertools.combinations(range(3), k)]
        batch = next(B for B in range(2, 100) if all(1 - (1 - q[s].sum()) ** B > p[s].sum() for s in subsets))
        assert predict.first_batch_size(separation) == batch
