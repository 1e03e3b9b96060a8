"""Proxy rewards and free rejections, against enumeration, a two-dimensional integral and direct limits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from tests.bad_input import bad_input_is_named
from theory.best_of_n.law import best_of_n_law
from theory.best_of_n.proxy import free_rejection_survival, proxy_best_of_n, soft_best_of_n_law
from theory.best_of_n.proxy_claims import regular_survival


@pytest.mark.parametrize("temperature", [0.2, 1.0, 7.0])
def test_soft_best_of_n_is_what_all_samples_of_three_give(temperature):
    policy, rewards = np.array([0.5, 0.3, 0.2]), np.array([0.0, 1.0, 2.0])
    expected = np.zeros(3)
    for rows in itertools.product(range(3), repeat=4):
        weights = np.exp(rewards[list(rows)] / temperature)
        np.add.at(expected, list(rows), policy[list(rows)].prod() * weights / weights.sum())
    np.testing.assert_allclose(soft_best_of_n_law(policy, rewards, 4, temperature), expected, atol=1e-10)


def test_soft_best_of_n_goes_from_the_policy_to_best_of_n():
    policy, rewards = [0.5, 0.3, 0.2], [0.0, 1.0, 2.0]
    np.testing.assert_allclose(
        soft_best_of_n_law(policy, rewards, 64, 1e-3), best_of_n_law(policy, rewards, 64), atol=1e-9
    )
    np.testing.assert_allclose(soft_best_of_n_law(policy, rewards, 64, 1e4), policy, atol=1e-3)


def test_a_gaussian_proxy_gains_its_correlation():
    n, rho = 5, 0.4
    best = quad(lambda x: x * n * norm.pdf(x) * norm.cdf(x) ** (n - 1), -9, 9)[0]
    assert proxy_best_of_n(n, rho) == pytest.approx(rho * best, rel=1e-9)
    assert proxy_best_of_n(n, -1.0) == pytest.approx(-best, rel=1e-9)


def test_survival_of_gamma_rewards_by_integration():
    v, a, k = 0.3, 0.3, 2.0
    density = lambda x: x ** (k * v - 1) * (1 - x) ** (k * (1 - v) - 1)
    whole = quad(density, 0, 0.5)[0] + quad(density, 0.5, 1)[0]
    kept = quad(density, a, 1)[0] / whole
    assert free_rejection_survival(v, a, "gamma", k) == pytest.approx(kept, abs=1e-8)
    assert kept == pytest.approx(0.4168, abs=5e-5)


def test_other_tails_step_or_do_not_care():
    assert [free_rejection_survival(0.3, a, "gaussian") for a in (0.2, 0.4)] == [1.0, 0.0]
    assert {free_rejection_survival(0.55, a, "regular") for a in (0.1, 0.9)} == {0.55}
    assert regular_survival(0.4, 0.5, 100) == pytest.approx(0.4 + 0.6 * 0.1), "or by chance, as one of 10 of 100"


test_bad_input = bad_input_is_named(
    (lambda: proxy_best_of_n(4, 1.1), "correlation = 1.1"),
    (lambda: soft_best_of_n_law([0.5, 0.5], [0.0, 1.0], 4, 0.0), "temperature = 0"),
    (lambda: soft_best_of_n_law([0.5, 0.5], [0.0, 1.0], 4, 1e-308), "temperature = 1e-308 must lie between"),
    (lambda: soft_best_of_n_law([0.5, 0.5], [-1e308, 1e308], 4, 1.0), r"rewards has an entry of size 1e\+308"),
    (lambda: free_rejection_survival(0.0, 0.5, "regular"), "v = 0.0"),
    (lambda: free_rejection_survival(0.5, 0.5, "gaussian"), "a = v = 0.5"),
    (lambda: free_rejection_survival(0.5, 0.4, "gamma"), "shape = None"),
    (lambda: free_rejection_survival(0.5, 0.4, "gaussian", 2.0), "shape = 2.0"),
    (lambda: free_rejection_survival(0.5, 0.4, "cauchy"), "tail = 'cauchy'"),
)


def test_one_draw_is_the_policy_and_an_array_of_its_own():
    policy = np.array([0.5, 0.3, 0.2])
    found = soft_best_of_n_law(policy, [0.0, 1.0, 2.0], 1, 0.5)
    np.testing.assert_array_equal(found, policy)
    assert not np.shares_memory(found, policy)
