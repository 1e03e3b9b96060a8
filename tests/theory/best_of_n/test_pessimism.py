"""Pessimism at inference, against a quadratic program, every ordered sample, integrals, and the worst tables."""

from __future__ import annotations

import itertools
import math

import cvxpy as cp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import entr, rel_entr
from scipy.stats import norm

from tests.bad_input import bad_input_is_named
from theory.best_of_n.examples import GOOD, rare_table
from theory.best_of_n.faulty_proxy import FaultyProxy
from theory.best_of_n.pessimism import pessimism_law, pessimism_regret, pessimistic_policy
from theory.best_of_n.pessimism_claims import rare_error, rare_regret
from theory.best_of_n.proxy import soft_best_of_n_law

POLICY, REWARDS = np.array([0.45, 0.25, 0.2, 0.1]), np.array([0.3, -1.0, 1.2, 2.5])


def level_of(policy, rewards, beta):
    """λ by a search on the whole line."""
    excess = lambda level: policy @ np.maximum(rewards - level, 0.0) - beta
    return brentq(excess, rewards.min() - beta - 1.0, rewards.max(), xtol=1e-14)


@pytest.mark.parametrize("beta", [0.01, 0.128, 0.3, 1.5, 40.0])  # from 0.13 on two responses
def test_the_policy_solves_the_quadratic_program(beta):
    q = cp.Variable(4, nonneg=True)
    value = REWARDS @ q - 0.5 * beta * cp.sum_squares(cp.multiply(1.0 / np.sqrt(POLICY), q))
    cp.Problem(cp.Maximize(value), [cp.sum(q) == 1]).solve(cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12)
    found = pessimistic_policy(POLICY, REWARDS, beta)
    np.testing.assert_allclose(found.policy, q.value, atol=1e-6)
    assert found.normaliser == pytest.approx(level_of(POLICY, REWARDS, beta), abs=1e-9)
    assert found.chi_square == pytest.approx(found.policy @ (found.policy / POLICY) - 1.0, abs=1e-12)
    held = found.policy > 0
    assert found.kl == pytest.approx(found.policy[held] @ np.log(found.policy[held] / POLICY[held]), abs=1e-12)


def test_the_policy_at_the_ends():
    policy, rewards = [0.5, 0.2, 0.3, 0.0], [0.0, 1.0, 1.0, 9.0]
    np.testing.assert_allclose(pessimistic_policy(policy, rewards, 1e-140).policy, [0.0, 0.4, 0.6, 0.0])
    np.testing.assert_allclose(pessimistic_policy(policy, rewards, 1e140).policy, policy)
    shifted = pessimistic_policy(policy, np.array(rewards) + 1e6, 0.5)
    np.testing.assert_allclose(shifted.policy, pessimistic_policy(policy, rewards, 0.5).policy, atol=1e-9)
    unheld = pessimistic_policy([0.0, 0.6, 0.4], [3637.393816190154, -860.5276180490496, -3461.1659265953926], 1e-13)
    np.testing.assert_allclose(unheld.policy, [0.0, 1.0, 0.0], atol=1e-15)
    assert unheld.normaliser == pytest.approx(-860.5276180490496, rel=1e-15)


@pytest.mark.parametrize(("n", "beta"), [(1, 0.3), (3, 0.2), (5, 1.0)])
def test_the_law_of_the_sampler_is_what_all_ordered_samples_give(n, beta):
    policy, rewards = np.array([0.5, 0.3, 0.2]), np.array([0.0, 1.0, 2.0])
    expected = np.zeros(3)
    for rows in itertools.product(range(3), repeat=n):
        level = level_of(np.full(n, 1.0 / n), rewards[list(rows)], beta)
        accepts = np.maximum(rewards - level, 0.0) / (2.0 - level)
        reaches = policy[list(rows)].prod()  # the next try
        for _ in range(n):
            expected += reaches * policy * accepts
            reaches *= policy @ (1.0 - accepts)
        expected += reaches * policy
    np.testing.assert_allclose(pessimism_law(policy, rewards, n, beta), expected, atol=1e-12)


def test_the_law_of_the_sampler_tends_to_the_policy():
    limit = pessimistic_policy([0.5, 0.3, 0.2], [0.0, 1.0, 2.0], 0.5).policy
    gaps = [np.abs(pessimism_law([0.5, 0.3, 0.2], [0.0, 1.0, 2.0], n, 0.5) - limit).sum() for n in (50, 100, 200, 400)]
    np.testing.assert_array_less(np.array(gaps[1:]), 0.6 * np.array(gaps[:-1]))
    np.testing.assert_allclose(pessimism_law([0.5, 0.0, 0.5], [0.0, 9.0, 0.0], 8, 0.5), [0.5, 0.0, 0.5])
    assert pessimism_law([0.0, 1.0], [0.0, -1.0], 10**308, 0.5).tolist() == [0.0, 1.0]


def test_no_policy_beats_the_bound_on_the_regret():
    rng, tightest = np.random.default_rng(0), math.inf
    for _ in range(300):
        policy, compared = rng.dirichlet(np.ones(4)), rng.dirichlet(np.full(4, 0.5))
        proxy, error = rng.normal(size=4) * rng.exponential(), rng.normal(size=4)
        deviation = math.sqrt(policy @ (error - policy @ error) ** 2)
        chi_square = float(policy @ (compared / policy - 1.0) ** 2)
        for beta in (deviation / math.sqrt(chi_square), rng.exponential()):
            found = pessimistic_policy(policy, proxy, beta)
            bound = pessimism_regret(beta, deviation, chi_square) - 0.5 * beta * found.chi_square
            tightest = min(tightest, bound - (compared - found.policy) @ (proxy - error))
        assert pessimism_regret(deviation / math.sqrt(chi_square), deviation, chi_square) == pytest.approx(
            deviation * math.sqrt(chi_square)
        )
    assert -1e-12 < tightest < 0.05


@pytest.mark.parametrize(("size", "error", "chi_square"), [(2, 0.3, 1.0), (6, 2.0, 0.7), (40, 1.0, 39.0)])
def test_the_bound_is_attained_and_no_rule_does_better(size, error, chi_square):
    """Uniform policy, a proxy that says nothing: one of `size` truths, and a policy at this χ², for every rule."""
    peak = size * np.eye(size) - 1.0  # row y: the density of y alone less that of the policy
    truths, compared = error * peak / math.sqrt(size - 1), (1.0 + math.sqrt(chi_square / (size - 1)) * peak) / size
    np.testing.assert_allclose(truths.std(axis=1), error)
    np.testing.assert_allclose(size * (compared**2).sum(axis=1) - 1.0, chi_square)
    beta = error / math.sqrt(chi_square)
    rules = [pessimistic_policy(np.full(size, 1.0 / size), np.zeros(size), beta).policy, np.eye(size)[0]]
    regrets = np.array([((compared - rule) * truths).sum(axis=1).max() for rule in rules])
    assert regrets[0] == pytest.approx(pessimism_regret(beta, error, chi_square), rel=1e-9)
    assert regrets[1] >= regrets[0]


@pytest.mark.parametrize("rare", [1e-2, 1e-4, 1e-8])
def test_the_rare_tables_hold_the_bound_and_mislead_a_kl_penalty(rare):
    policy, proxy, truth = rare_table(rare)
    error = math.sqrt(policy @ (proxy - truth) ** 2 - (policy @ (proxy - truth)) ** 2)
    assert rare_error(rare) == pytest.approx(error)
    regret = truth[1] - pessimistic_policy(policy, proxy, error / math.sqrt(1.0 / GOOD - 1.0)).policy @ truth
    assert 0.0 < regret <= rare_regret(rare) == pytest.approx(error * math.sqrt(3.0))
    # the same with an error of standard deviation 0.3 at every `rare`: soft Best-of-N at temperature 1 meets the tilt
    proxy[2] = truth[2] + 0.3 / math.sqrt(rare * (1.0 - rare))
    held = pessimistic_policy(policy, proxy, 0.3 / math.sqrt(3.0)).policy @ truth
    assert truth[1] - held <= pessimism_regret(0.3 / math.sqrt(3.0), 0.3, 3.0)
    if rare == 1e-4:
        assert soft_best_of_n_law(policy, proxy, 20 * round(1.0 / rare), 1.0) @ truth == pytest.approx(-1.0, abs=0.01)


@pytest.mark.parametrize("share", [0.0, 0.02])
@pytest.mark.parametrize("beta", [0.03, 0.5, 20.0])
def test_pessimism_on_a_gaussian_proxy_by_integration(share, beta):
    law = FaultyProxy(0.7, share, 2.5, -0.5)
    parts = [lambda x: (1.0 - share) * norm.pdf(x), lambda x: share * norm.pdf(x, 2.5)]
    whole = lambda f, low: sum(quad(f, a, b, epsabs=1e-12)[0] for a, b in itertools.pairwise([low, low + 1, 3, 6, 14]))
    density = lambda x: parts[0](x) + parts[1](x)
    level = brentq(lambda low: whole(lambda x: (x - low) * density(x), max(low, -9)) - beta, -beta - 1, 4.0)
    start, h = max(level, -9.0), lambda x: max(x - level, 0.0) / beta
    found = law.pessimism(beta)
    truth = whole(lambda x: h(x) * (0.7 * x * parts[0](x) - 0.5 * parts[1](x)), start)
    assert found.truth == pytest.approx(truth, abs=1e-7)
    assert found.proxy == pytest.approx(whole(lambda x: h(x) * x * density(x), start), abs=1e-7)
    assert found.chi_square == pytest.approx(whole(lambda x: h(x) ** 2 * density(x), start) - 1.0, abs=1e-6)
    divergence = whole(lambda x: h(x) * math.log(h(x)) * density(x) if h(x) > 0 else 0.0, start)
    assert found.kl == pytest.approx(divergence, abs=1e-6)
    assert law.at(found.kl, "pessimism").truth == pytest.approx(found.truth, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_the_tilt_of_a_faulty_proxy_by_integration(temperature):
    usual = lambda x: 0.98 * norm.pdf(x)
    density = lambda x: usual(x) + 0.02 * norm.pdf(x, 2.5)
    whole = lambda f: sum(quad(f, a, a + 5, epsabs=1e-13)[0] for a in (-10, -5, 0, 5, 10))
    total = whole(lambda x: math.exp(x / temperature) * density(x))
    h = lambda x: math.exp(x / temperature) / total
    law = FaultyProxy(0.7, 0.02, 2.5, -0.5)
    found = law.soft(temperature)
    assert found.truth == pytest.approx(whole(lambda x: h(x) * (0.7 * x * usual(x) - 0.5 * (density(x) - usual(x)))))
    assert found.proxy == pytest.approx(whole(lambda x: h(x) * x * density(x)))
    assert found.kl == pytest.approx(whole(lambda x: h(x) * math.log(h(x)) * density(x)))
    assert found.chi_square == pytest.approx(whole(lambda x: h(x) ** 2 * density(x)) - 1.0)
    assert law.at(found.kl, "soft").truth == pytest.approx(found.truth, abs=1e-6)


@pytest.mark.parametrize("n", [1, 5, 400])
def test_best_of_n_on_a_faulty_proxy_by_integration(n):
    law, share = FaultyProxy(0.7, 0.02, 2.5, -0.5), 0.02
    below = lambda x: (1.0 - share) * norm.cdf(x) + share * norm.cdf(x, 2.5)
    gains = lambda x: n * below(x) ** (n - 1) * (0.7 * x * 0.98 * norm.pdf(x) - 0.5 * share * norm.pdf(x, 2.5))
    assert law.best_of_n(n).truth == pytest.approx(quad(gains, -9, 14, epsabs=1e-12, limit=400)[0], abs=1e-8)
    proxy = lambda x: n * below(x) ** (n - 1) * x * ((1.0 - share) * norm.pdf(x) + share * norm.pdf(x, 2.5))
    assert law.best_of_n(n).proxy == pytest.approx(quad(proxy, -9, 14, epsabs=1e-12, limit=400)[0], abs=1e-8)
    density = lambda u: n * u ** (n - 1)
    assert law.best_of_n(n).kl == pytest.approx(quad(lambda u: rel_entr(density(u), 1.0), 0, 1)[0], abs=1e-8)
    assert law.best_of_n(n).chi_square == pytest.approx(quad(lambda u: n**2 * u ** (2 * n - 2), 0, 1)[0] - 1.0)


def test_a_proxy_that_is_fooled_far_out():
    """Of mean 9, at sizes and penalties where all the mass is there."""
    law, parts = FaultyProxy(0.7, 0.02, 9.0, -0.5), lambda x: (0.98 * norm.pdf(x), 0.02 * norm.pdf(x, 9.0))
    whole = lambda f: sum(quad(f, a, a + 2, epsabs=1e-13)[0] for a in range(-10, 20, 2))
    best = lambda x: 400 * (0.98 * norm.cdf(x) + 0.02 * norm.cdf(x, 9.0)) ** 399
    assert law.best_of_n(400).truth == pytest.approx(
        whole(lambda x: best(x) * (0.7 * x * parts(x)[0] - 0.5 * parts(x)[1])), abs=1e-9
    )
    assert law.best_of_n(400).proxy == pytest.approx(whole(lambda x: best(x) * x * sum(parts(x))), abs=1e-9)
    above = lambda low: (x := np.linspace(low, 20.0, 5001), sum(parts(x)))

    def mean_excess(low: float) -> float:
        x, density = above(low)
        return float(np.trapezoid((x - low) * density, x))

    level = brentq(lambda low: mean_excess(low) - 0.02, 5.0, 12.0, xtol=1e-13)
    x, density = above(level)
    kl = np.trapezoid(-entr((x - level) / 0.02) * density, x)
    assert law.pessimism(0.02).kl == pytest.approx(kl, abs=1e-5)


test_bad_input = bad_input_is_named(
    (lambda: pessimistic_policy([0.5, 0.5], [0.0, 1.0], 0.0), "chi_beta = 0"),
    (lambda: pessimistic_policy([0.5, 0.6], [0.0, 1.0], 1.0), "policy"),
    (lambda: pessimistic_policy([0.5, 0.5], [0.0, 1.0, 2.0], 1.0), "rewards"),
    (lambda: pessimism_law([0.5, 0.5], [0.0, 1.0], 0, 1.0), "n = 0"),
    (lambda: pessimism_law([0.2] * 5, range(5), 64, 1.0), "n = 64 draws of 5 responses make 814385 samples"),
    (lambda: pessimism_regret(1.0, -0.1, 1.0), "error = -0.1"),
    (lambda: pessimism_regret(1.0, 0.1, -1.0), "chi_square = -1"),
    (lambda: FaultyProxy(1.5), "correlation = 1.5"),
    (lambda: FaultyProxy(0.5, 1.0), "share = 1.0"),
    (lambda: FaultyProxy(0.5, 0.1, -1.0), "shift = -1.0"),
    (lambda: FaultyProxy(0.5, 0.1, 1.0, math.nan), "truth = nan"),
    (lambda: FaultyProxy(0.5).pessimism(1e-13), "chi_beta = 1e-13"),
    (lambda: FaultyProxy(0.5).soft(0.01), "temperature = 0.01"),
    (lambda: FaultyProxy(0.5).at(11.0, "soft"), "kl = 11.0"),
    (lambda: FaultyProxy(0.5).at(1.0, "best"), "method"),
)


def test_one_response_is_returned_however_many_are_drawn():
    assert pessimism_law([0.0, 1.0], [3.0, -1.0], 10**17, 0.5).tolist() == [0.0, 1.0]
