"""What pairing costs, and an estimated reference: against curvatures and Jacobians by finite differences."""

from __future__ import annotations

import itertools

import mpmath
import numpy as np
import pytest
from scipy.optimize import approx_fprime

from tests.bad_input import bad_input_is_named
from theory.density_ratio.limits import TABLES
from theory.density_ratio.reference import best_alpha, estimated_reference_covariance
from theory.divergences.pairing import pair_covariance, pairing_cost, unpaired_covariance
from theory.divergences.safety_data import example_pair


def curvature(loss, at):
    gradient = lambda x: approx_fprime(x, loss, 1e-5)
    return np.array([approx_fprime(at, lambda x, i=i: gradient(x)[i], 1e-4) for i in range(at.size)])


def test_the_pair_covariance_inverts_the_curvature_of_dpos_loss():
    p, q = example_pair(4, 1.5)

    def loss(r):
        return float(np.sum(np.outer(p, q) * np.logaddexp(0.0, r[None, :] - r[:, None])))

    found = np.linalg.pinv(curvature(loss, np.log(p / q)), rcond=1e-3, hermitian=True)
    np.testing.assert_allclose(pair_covariance(p, q), found, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("p", "q"),
    [
        ([0.5, 0.5 - 1e-9, 1e-9], [0.3, 0.3, 0.4]),
        ([5e-28, 0.9998, 2e-4 - 5e-28], [0.2, 0.3, 0.5]),
        ([0.2, 0.1, 0.3, 0.4], [1e-20, 0.5, 0.5 - 1e-10, 1e-10]),
        ([0.676, 0.324], [1.0 - 4e-20, 4e-20]),
    ],
)
def test_rare_outcomes_keep_their_variance(p, q):
    """Against the same inverse in 120 digits; what rounding leaves of the eigenvalue 0 is no information."""
    with mpmath.workdps(120):
        A, P, Q = len(p), [mpmath.mpf(x) for x in p], [mpmath.mpf(x) for x in q]
        information = mpmath.matrix(A, A)
        for i, j in itertools.permutations(range(A), 2):
            h = P[i] * Q[j] * P[j] * Q[i] / (P[i] * Q[j] + P[j] * Q[i])
            information[i, j], information[i, i] = -h, information[i, i] + h
        mean = mpmath.ones(A, A) / A
        exact = np.array(((information + mean) ** -1 - mean).tolist(), dtype=np.float64)
    np.testing.assert_allclose(pair_covariance(p, q), exact, atol=1e-12 * np.abs(exact).max())


@pytest.mark.parametrize(("separation", "largest"), [(0.0, 1.0), (1.5, 1.4896), (3.0, 3.1408)])
def test_pairing_never_helps_and_costs_nothing_only_without_separation(separation, largest):
    p, q = example_pair(5, separation)
    costs = pairing_cost(p, q)
    assert costs[0] >= 1.0 - 1e-12
    assert costs[-1] == pytest.approx(largest, abs=1e-4)
    excess = pair_covariance(p, q) - unpaired_covariance(p, q)
    assert np.linalg.eigvalsh(excess)[0] >= -1e-9


def test_the_unpaired_covariance_is_that_of_two_multinomials():
    p, q = example_pair(3, 1.0)
    parts = [np.diag(1 / law) @ (np.diag(law) - np.outer(law, law)) @ np.diag(1 / law) for law in (p, q)]
    centre = np.eye(3) - 1 / 3
    np.testing.assert_allclose(unpaired_covariance(p, q), centre @ sum(parts) @ centre, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.1, 0.9])
def test_an_estimated_reference_adds_its_own_noise(alpha):
    """Against the Jacobian of p̂_α·p̂⁺/(αp̂⁺ + (1−α)p̂⁻) in all three laws, by finite differences."""
    p, q = TABLES["three"]
    sizes, laws = (400, 700, 900), (p, q, alpha * p + (1 - alpha) * q)

    def policy(x):
        chosen, rejected, reference = x.reshape(3, -1)
        return reference * chosen / (alpha * chosen + (1 - alpha) * rejected)

    at = np.concatenate(laws)
    jacobian = np.array([approx_fprime(at, lambda x, i=i: policy(x)[i], 1e-7) for i in range(3)]).reshape(3, 3, 3)
    expected = sum(
        jacobian[:, k] @ (np.diag(law) - np.outer(law, law)) @ jacobian[:, k].T / n
        for k, (law, n) in enumerate(zip(laws, sizes, strict=True))
    )
    found = estimated_reference_covariance(p, q, sizes[0], sizes[1], alpha, sizes[2])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-9)


def test_the_best_alpha_is_inside_but_near_one_and_not_always_inside():
    assert best_alpha(*TABLES["three"], 0.1) == pytest.approx(0.9416, abs=1e-3)
    assert best_alpha(*TABLES["three"], 0.1) < best_alpha(*TABLES["three"], 10.0) < 0.999
    assert best_alpha(*TABLES["trap"], 1.0) > 1 - 1e-5


test_bad_input = bad_input_is_named(
    (lambda: pair_covariance([1.0, 0.0], [0.5, 0.5]), r"p\[1\] = 0"),
    (lambda: unpaired_covariance([0.5, 0.5], [0.2, 0.3, 0.5]), "q must have 2"),
    (lambda: best_alpha([0.5, 0.5], [0.4, 0.6], 0.0), "unlabelled_per_labelled = 0"),
    (lambda: estimated_reference_covariance([0.5, 0.5], [0.4, 0.6], 9, 9, 0.5, 0), "n_unlabelled = 0"),
)
