"""Losses, limits, flows and estimates of density ratios: known numbers, second implementations, properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.special import expit, log_softmax

from tests.oracles.strategies import distributions
from theory.density_ratio import estimates, limits, losses, ratios
from theory.density_ratio.flow import chosen_gradient, convergence_rate, flow, policy_flow
from theory.density_ratio.policies import constrained_optimum
from theory.divergences import tables

P = np.array([0.5, 0.3, 0.2])
Q = np.array([0.2, 0.3, 0.5])
alphas = st.floats(0.02, 0.98)
laws = distributions(4)


# Losses, minimisers, minima (R1, R2, R5).


@pytest.mark.parametrize(
    ("call", "value"),
    [
        (lambda: losses.ddro_loss(np.zeros(3), P, Q), pytest.approx(2 * math.log(2), rel=1e-15)),
        (lambda: losses.rdro_loss(np.zeros(3), P, Q, 0.3), pytest.approx(2 * math.log(2), rel=1e-15)),
        (lambda: losses.ddro_loss([-np.inf, 0.0], [0.0, 1.0], [0.5, 0.5]), pytest.approx(1.5 * math.log(2))),
        (lambda: losses.ddro_loss([-np.inf, 0.0], [0.5, 0.5], [0.5, 0.5]), math.inf),
        (lambda: losses.ratio_loss("lsif", [800.0, 0.0], [0.0, 1.0], [0.5, 0.5]), math.inf),
        (lambda: ratios.relative_ratio([1.0, 5e-324], [1.0, 0.0], 0.5)[1], 2.0),  # αp underflows
        (lambda: ratios.relative_ratio([1.0, 1e-300], [1.0, 0.0], 1e-30)[1], pytest.approx(1e30, rel=1e-15)),
        (lambda: ratios.pooled_ratio([1e-200, 1.0], [1e-300, 1.0], 0.5, 1e-200)[0], pytest.approx(2e-100, abs=0)),
        (lambda: ratios.ratio_variance([1.0, 5e-324], [1.0, 0.0], 9, 9, 0.3).tolist(), [0.0, 0.0]),
        (lambda: estimates.efficient_covariance([0.5, 0.5], [1e-300, 1.0], 9, 9, 1 - 1e-12)[0, 0], 0.0),
        (lambda: estimates.expected_total_variation(np.array([[4.0]])),
         pytest.approx(2 * math.sqrt(2 / math.pi) / 2, rel=1e-15)),
        (lambda: estimates.infinite_share([0.01, 0.99], 50), pytest.approx([0.99**50, 1e-100], rel=1e-9, abs=0)),
        (lambda: estimates.infinite_share([0.0, 1.0], 0), pytest.approx([1.0, 1.0])),  # no example shows anything
    ],
)  # fmt: skip
def test_values_by_hand(call, value):
    assert call() == value


def test_losses_are_the_published_ones():
    lr = np.array([0.4, -1.1, 2.0])
    sp = np.logaddexp(0.0, lr)
    assert losses.ddro_loss(lr, P, Q) == pytest.approx(P @ np.logaddexp(0, -lr) + Q @ sp, rel=1e-14)
    chosen, rejected = P @ (1.3 * sp - lr), 0.7 * (Q @ sp)
    assert losses.rdro_loss(lr, P, Q, 0.3) == pytest.approx(chosen + rejected, rel=1e-14)
    assert losses.rdro_loss(lr, P, Q, 0.3, 0.6) == pytest.approx(0.6 * chosen + 0.4 * rejected, rel=1e-14)


@given(laws, laws, alphas)
def test_no_log_ratio_beats_the_minimiser(p, q, alpha):
    for member in losses.BREGMAN:
        for share, ratio in ((None, ratios.density_ratio(p, q)), (alpha, ratios.relative_ratio(p, q, alpha))):
            best = np.log(ratio)
            least = losses.ratio_loss(member, best, p, q, share)
            assert least == pytest.approx(losses.minimum(member, p, q, share), rel=1e-12, abs=1e-12)
            for step in (1e-3, -1e-3, 1.0, -1.0):
                for j in range(p.size):
                    assert losses.ratio_loss(member, best + step * (np.arange(p.size) == j), p, q, share) > least


@given(laws, laws, alphas)
def test_minima_are_divergences(p, q, alpha):
    for share, d in ((None, q), (alpha, ratios.mixture(p, q, alpha))):
        jensen_shannon = 2 * math.log(2) - 2 * tables.jensen_shannon(p, d)
        assert losses.minimum("logistic", p, q, share) == pytest.approx(jensen_shannon, abs=1e-13)
        chi_square = -0.5 * (1 + tables.chi_square(p, d))
        assert losses.minimum("lsif", p, q, share) == pytest.approx(chi_square, rel=1e-12)
        assert losses.minimum("kliep", p, q, share) == pytest.approx(1 - tables.kl(p, d), abs=1e-12)


@given(laws, laws, alphas, st.floats(0.02, 0.98))
def test_pooled_minimum_is_attained_at_the_pooled_ratio(p, q, alpha, fraction):
    for member in losses.BREGMAN:
        at = losses.ratio_loss(member, np.log(ratios.pooled_ratio(p, q, alpha, fraction)), p, q, alpha, fraction)
        assert at == pytest.approx(losses.minimum(member, p, q, alpha, fraction), rel=1e-11, abs=1e-12)


@given(laws, laws, alphas, st.floats(0.02, 0.98))
def test_pooled_ratio_is_a_scaled_relative_ratio(p, q, alpha, fraction):
    odds = alpha / (1 - alpha) * fraction / (1 - fraction)
    factor = fraction / (fraction * alpha + (1 - fraction) * (1 - alpha))
    expected = factor * ratios.relative_ratio(p, q, odds / (1 + odds))
    np.testing.assert_allclose(ratios.pooled_ratio(p, q, alpha, fraction), expected, rtol=1e-12)
    np.testing.assert_allclose(ratios.pooled_ratio(p, q, alpha, 0.5), ratios.relative_ratio(p, q, alpha), rtol=1e-13)


def test_the_table_of_both_reductions():
    found = [(ratios.relative_ratio(P, Q, a)[0], ratios.pooled_ratio(P, Q, a, a)[0]) for a in (0.2, 0.39, 0.5, 0.8)]
    expected = [(1.9231, 0.6757), (1.5773, 1.2959), (1.4286, 1.4286), (1.1364, 1.2195)]
    np.testing.assert_allclose(found, expected, atol=5e-5)
    at_alpha = [0.39 * p / (0.39**2 * p + 0.61**2 * q) for p, q in zip(P, Q, strict=True)]
    np.testing.assert_allclose(ratios.pooled_ratio(P, Q, 0.39, 0.39), at_alpha, rtol=1e-14)


@given(laws, laws, alphas)
def test_relative_ratio_stays_below_its_cap(p, q, alpha):
    assert np.log(ratios.relative_ratio(p, q, alpha)).max() < ratios.log_ratio_cap(alpha)
    without = np.where(np.arange(4) == 1, 0.0, q) / (1 - q[1])
    assert ratios.relative_ratio(p, without, alpha)[1] == pytest.approx(1 / alpha, rel=1e-14)


def test_weight_of_the_pooled_reference():
    assert ratios.pooled_reference_weight(0.3, 0.5) == pytest.approx(0.3, rel=1e-15)
    for fraction in (0.2, 0.5, 0.7):
        assert ratios.pooled_reference_weight(ratios.repaired_alpha(fraction), fraction) == pytest.approx(
            fraction, rel=1e-14
        )
        speed = math.tanh(math.atanh(0.3) + math.atanh(2 * fraction - 1))
        assert ratios.pooled_reference_weight(0.3, fraction) == pytest.approx(speed, rel=1e-13)


def test_infinite_ratios_and_minima_can_be_kept():
    p, q = [0.5, 0.4, 0.1], [0.5, 0.0, 0.5]
    np.testing.assert_array_equal(ratios.density_ratio(p, q, infinite="keep"), [1.0, np.inf, 0.2])
    assert ratios.pooled_ratio(p, q, 0.4, 0.3)[1] == 1 / 0.4
    assert np.isfinite(ratios.ratio_variance(p, q, 10, 10, 0.5)).all()
    for member in ("lsif", "kliep"):
        least = losses.minimum(member, p, q)
        assert least == -math.inf
        assert "outcome 1" in repr(least)
        assert math.isfinite(losses.minimum(member, p, q, 0.5))


# Comparisons and limits (R3, R9).


def test_the_bradley_terry_example():
    rates, mu = limits.PREFERENCES["bradley_terry"]
    winners, losers = limits.comparison_laws(rates, mu)
    np.testing.assert_allclose(winners, [0.645, 0.258, 0.096], atol=6e-4)
    np.testing.assert_allclose(limits.population_limit("dpo", rates, mu), [0.784, 0.173, 0.042], atol=6e-4)
    np.testing.assert_allclose(0.5 * (winners + losers), mu, rtol=1e-15)


@pytest.mark.parametrize("name", limits.PREFERENCES)
def test_limits_side_by_side(name):
    rates, mu = limits.PREFERENCES[name]
    winners, _ = limits.comparison_laws(rates, mu)
    score = rates @ mu - 0.5
    np.testing.assert_allclose(winners, 2 * mu * (0.5 + score), rtol=1e-14)
    distance = {m: tables.total_variation(limits.population_limit(m, rates, mu), winners) for m in limits.LIMITS}
    assert max(distance["sft"], distance["ddro"], distance["rdro"]) < 1e-12
    assert min(distance["dpo"], distance["nlhf"]) > 0.01
    assert distance["rlhf"] > 1e-3


def test_cycles():
    rates = limits.cyclic_rates(5, 0.8)
    assert rates[1].tolist() == pytest.approx([0.2, 0.5, 0.8, 0.8, 0.2])
    np.testing.assert_allclose(rates + rates.T, 1.0)
    np.testing.assert_allclose(rates.sum(axis=1), 2.5)  # nobody is ahead


@pytest.mark.parametrize("kl_beta", [0.3, 1.0, 4.0])
def test_consistent_references(kl_beta):
    ratio = P / Q
    for method in ("bco", "kldo"):
        reference, shift = limits.consistent_reference(method, P, Q, kl_beta=kl_beta)
        tilted = reference * np.exp(shift / kl_beta) * ratio ** (1 / kl_beta)
        np.testing.assert_allclose(tilted / tilted.sum(), P, rtol=1e-13)
        if method == "bco":
            assert tilted.sum() == pytest.approx(1.0, rel=1e-13)
    np.testing.assert_allclose(limits.consistent_reference("bco", P, Q)[0], Q, rtol=1e-14)
    assert limits.consistent_reference("bco", P, Q)[1] == pytest.approx(0.0, abs=1e-15)


def test_the_shift_of_bco_is_the_reference_s_normaliser_at_any_kl_beta():
    """0.001·log(0.9·9^−1000 + 0.1·9^1000): the reference itself is 0 at the first."""
    _, shift = limits.consistent_reference("bco", [0.9, 0.1], [0.1, 0.9], kl_beta=0.001)
    assert shift == pytest.approx(math.log(9) + 0.001 * math.log(0.1), rel=1e-14)


def test_the_page_of_methods():
    assert list(limits.UNPAIRED) == ["kto", "bco", "ddro", "rdro", "kldo"]
    for method in list(limits.UNPAIRED)[1:]:
        reference, _ = limits.consistent_reference(method, P, Q, alpha=0.3)
        np.testing.assert_allclose(limits.reached_policy(method, P, Q, reference, alpha=0.3), P, atol=1e-12)
    kto = limits.reached_policy("kto", P, Q, Q)
    np.testing.assert_allclose(kto, [1.0, 0.0, 0.0], atol=1e-15)


@given(laws, laws, laws)
def test_kto_fills_outcomes_optimally(p, q, w):
    assume(np.abs(p - q).max() > 1e-6)  # at p = q the loss is constant
    policy = limits.reached_policy("kto", p, q, w)
    assert policy.sum() == pytest.approx(1.0, rel=1e-12)
    marginal = (p - q) * w / (w + policy) ** 2  # −dloss/dπ
    used = policy > 0
    assert marginal[used] == pytest.approx(marginal[used].max(), rel=1e-9)
    assert (marginal[~used] <= marginal[used].max() * (1 + 1e-12)).all()


# Laws of motion (R4).


@pytest.mark.parametrize(("p", "d", "start"), [(0.4, 0.0, 0.0), (0.4, 0.12, 3.0), (0.3, 0.5, 2.0), (0.0, 0.3, 1.0)])
def test_flow_obeys_its_equation(p, d, start):
    times = np.array([0.5, 3.0, 40.0, 1000.0])
    found = solve_ivp(
        lambda _, s: p * expit(-s) - d * expit(s), (0, 1000), [start], "LSODA", times, rtol=1e-11, atol=1e-13
    )
    np.testing.assert_allclose(flow(times, p, d, start), found.y[0], rtol=1e-8)


@given(st.floats(0.05, 1.0), st.floats(0.0, 1.0), st.floats(-5.0, 5.0), st.floats(0.0, 1e6))
def test_flow_satisfies_the_separated_equation(p, d, start, time):
    s = float(flow(time, p, d, start))
    assert flow(0.0, p, d, start) == pytest.approx(start, abs=1e-9)
    if d == 0.0:
        assert s + math.exp(s) == pytest.approx(p * time + start + math.exp(start), rel=1e-12)
    else:
        # the speed has the sign of the distance to go, and the goal is never passed
        goal = math.log(p / d)
        assert min(start, goal) - 1e-9 <= s <= max(start, goal) + 1e-9


def test_rates_of_approach():
    alpha, p = 0.3, 0.4
    assert convergence_rate(p, alpha * p) == pytest.approx(p * alpha / (1 + alpha), rel=1e-15)
    early, late = ratios.log_ratio_cap(alpha) - flow(np.array([200.0, 230.0]), p, alpha * p)
    assert math.log(early / late) / 30.0 == pytest.approx(p * alpha / (1 + alpha), rel=1e-6)
    assert convergence_rate(0.4, 0.0) == 0.0
    drift = flow(np.array([1e6, 1e7]), 0.4, 0.0)
    assert np.diff(drift)[0] == pytest.approx(math.log(10), rel=1e-4)


def test_chosen_gradients_and_the_restoring_force():
    lr = np.linspace(-20, 20, 401)
    for alpha in (0.2, 0.7):
        step = 1e-6
        slope = (1 + alpha) * (np.logaddexp(0, lr + step) - np.logaddexp(0, lr - step)) / (2 * step) - 1
        np.testing.assert_allclose(chosen_gradient(lr, alpha), slope, atol=1e-8)
        assert chosen_gradient(ratios.log_ratio_cap(alpha), alpha) == pytest.approx(0.0, abs=1e-15)
        assert (chosen_gradient(lr[lr > ratios.log_ratio_cap(alpha) + 1e-9], alpha) > 0).all()
    assert (chosen_gradient(lr) < 0).all()


def test_a_normalised_policy_cannot_drift():
    p, q = limits.TABLES["apart"]
    log_ratios = policy_flow([10.0, 1000.0, 1e5], p, q, np.full(4, 0.25))
    np.testing.assert_allclose(np.exp(log_ratios).mean(axis=1), 1.0, rtol=1e-9)
    assert (log_ratios <= math.log(4) + 1e-9).all()
    assert flow(1e5, p[0], q[0]) > 10.0
    assert not policy_flow([0.0], p, q, np.full(4, 0.25)).any()  # it begins at the reference
    with pytest.raises(ValueError, match="the first of times = -1"):
        policy_flow([-1.0, 2.0], p, q, np.full(4, 0.25))


# Finite samples (R6, R7).


@given(laws, laws, alphas)
def test_variance_is_the_delta_method_by_finite_differences(p, q, alpha):
    for share in (0.0, alpha):

        def ratio(a, b, share=share):
            return a / (share * a + (1 - share) * b)

        step = 1e-6
        by_p = (ratio(p * (1 + step), q) - ratio(p * (1 - step), q)) / (2 * step * p)
        by_q = (ratio(p, q * (1 + step)) - ratio(p, q * (1 - step))) / (2 * step * q)
        expected = by_p**2 * p * (1 - p) / 400 + by_q**2 * q * (1 - q) / 600
        np.testing.assert_allclose(ratios.ratio_variance(p, q, 400, 600, share), expected, rtol=1e-5)


def test_published_forms_of_the_variance():
    assert ratios.ratio_variance([1.0, 0.0], [1e-310, 1.0], 10, 10).tolist() == [math.inf, 0.0]  # beyond float64
    plain = (P / Q) ** 2 * ((1 - P) / (4000 * P) + (1 - Q) / (6000 * Q))
    np.testing.assert_allclose(ratios.ratio_variance(P, Q, 4000, 6000), plain, rtol=1e-13)
    d = ratios.mixture(P, Q, 0.3)
    relative = 0.7**2 / d**4 * (Q**2 * P * (1 - P) / 4000 + P**2 * Q * (1 - Q) / 6000)
    np.testing.assert_allclose(ratios.ratio_variance(P, Q, 4000, 6000, 0.3), relative, rtol=1e-13)


@given(st.floats(0.01, 0.99), st.floats(1e-9, 0.99), alphas)
def test_relative_variance_is_bounded(p, q, alpha):
    two, other = np.array([p, 1 - p]), np.array([q, 1 - q])
    bound = ratios.relative_variance_bound(two, 30, 70, alpha)
    assert (ratios.ratio_variance(two, other, 30, 70, alpha) <= bound * (1 + 1e-12)).all()


@pytest.mark.parametrize(("x", "n_p", "n_q"), [(0.5, 1, 1e12), (0.75, 1e12, 1)])
def test_each_term_of_the_bound_is_attained(x, n_p, n_q):
    """At αp/p_α = ½ by the chosen examples' term (1/16), at ¾ by the rejected ones' (27/256), as q → 0."""
    alpha, p = 0.3, 1e-6
    q = alpha * p * (1 - x) / (x * (1 - alpha))
    laws = np.array([p, 1 - p]), np.array([q, 1 - q])
    bound = ratios.relative_variance_bound(laws[0], n_p, n_q, alpha)
    assert ratios.ratio_variance(*laws, n_p, n_q, alpha)[0] == pytest.approx(bound[0], rel=1e-5)


@given(laws, laws, alphas)
def test_rdro_never_varies_more_than_ddro(p, q, alpha):
    ddro = np.diag(estimates.policy_covariance("ddro", p, q, 30, 70))
    rdro = np.diag(estimates.policy_covariance("rdro", p, q, 30, 70, alpha))
    np.testing.assert_allclose(rdro / ddro, estimates.variance_quotient(p, q, alpha), rtol=1e-10)
    np.testing.assert_allclose(ddro, q**2 * ratios.ratio_variance(p, q, 30, 70), rtol=1e-12)
    np.testing.assert_allclose(
        rdro, ratios.mixture(p, q, alpha) ** 2 * ratios.ratio_variance(p, q, 30, 70, alpha), rtol=1e-10
    )
    assert (np.diag(estimates.policy_covariance("sft", p, q, 30, 70)) < ddro).all()


@given(laws, laws, alphas)
def test_normalised_covariances_sum_to_nothing_and_obey_cramer_rao(p, q, alpha):
    bound = estimates.efficient_covariance(p, q, 30, 70, alpha)
    sft = estimates.multinomial_covariance(p, 30)
    for covariance in (
        estimates.policy_covariance("rdro", p, q, 30, 70, alpha, normalised=True),
        estimates.policy_covariance("ddro", p, q, 30, 70, normalised=True),
    ):
        np.testing.assert_allclose(covariance.sum(axis=0), 0.0, atol=1e-12 * np.abs(covariance).max())
    rdro = estimates.policy_covariance("rdro", p, q, 30, 70, alpha, normalised=True)
    for worse in (rdro, sft):
        assert np.linalg.eigvalsh(worse - bound).min() > -1e-10 * np.abs(worse).max()
    ddro = estimates.policy_covariance("ddro", p, q, 30, 70, normalised=True)
    assert np.linalg.eigvalsh(ddro - sft).min() > -1e-10 * np.abs(ddro).max()


@pytest.mark.parametrize(("method", "alpha"), [("ddro", None), ("rdro", 0.3)])
def test_normalised_covariance_is_the_response_of_the_trained_policy(method, alpha):
    """Finite differences of the constrained optimum in both empirical laws, reference held fixed."""
    reference, step = (Q if alpha is None else ratios.mixture(P, Q, alpha)), 1e-4
    moves = step * (np.eye(3) - 1 / 3)  # towards one outcome, from all alike

    def response(move_p, move_q):
        ahead, behind = (
            constrained_optimum(P + s * move_p, Q + s * move_q, reference, alpha=alpha).policy for s in (1, -1)
        )
        return (ahead - behind) / (2 * step)

    by_p = np.column_stack([response(move, 0 * move) for move in moves])
    by_q = np.column_stack([response(0 * move, move) for move in moves])
    expected = (
        by_p @ estimates.multinomial_covariance(P, 30) @ by_p.T
        + by_q @ estimates.multinomial_covariance(Q, 70) @ by_q.T
    )
    found = estimates.policy_covariance(method, P, Q, 30, 70, alpha, normalised=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


def test_efficient_covariance_inverts_the_fisher_information():
    """Second differences of n₊ Σ p⁺ log π + n₋ Σ p⁻ log(p_α − απ), the expected log-likelihood, along Σδ = 0."""
    alpha, n_p, n_q = 0.3, 30, 70
    mix = ratios.mixture(P, Q, alpha)
    tangent = np.array([[1.0, -1.0, 0.0], [1.0, 1.0, -2.0]]).T / [math.sqrt(2), math.sqrt(6)]

    def likelihood(move: np.ndarray) -> float:
        policy = P + tangent @ move
        return float(n_p * P @ np.log(policy) + n_q * Q @ np.log(mix - alpha * policy))

    step = 1e-4 * np.eye(2)
    information = np.array(
        [
            [(likelihood(a - b) + likelihood(b - a) - likelihood(a + b) - likelihood(-a - b)) / 4e-8 for a in step]
            for b in step
        ]
    )
    expected = tangent @ np.linalg.inv(information) @ tangent.T
    np.testing.assert_allclose(estimates.efficient_covariance(P, Q, n_p, n_q, alpha), expected, rtol=1e-5, atol=1e-9)


def test_log_softmax_policies_reach_the_ratio():
    """A policy is a ratio: lr = log π − log π_ref at the minimiser gives back p⁺, for either loss."""
    assert losses.ddro_loss(np.log(P) - np.log(Q), P, Q) == pytest.approx(losses.minimum("logistic", P, Q), rel=1e-14)
    logits = np.log(P) + 3.0
    lr = log_softmax(logits) - np.log(ratios.mixture(P, Q, 0.3))
    assert losses.rdro_loss(lr, P, Q, 0.3) == pytest.approx(losses.minimum("logistic", P, Q, 0.3), rel=1e-14)
