"""DPO and IPO with a KL penalty: the likelihood maximised numerically on I6, sums of log-odds on I9 by loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from theory.distortion.instances import correlated_instance, rlhf_instance
from theory.distortion.penalty_claims import correlated_ratio, dpo_on_chain, dpo_on_i6, identity_gap


@pytest.mark.parametrize("bt_beta", [1.5, 3.0, 5.0, 6.5])  # at the first two b is worth more than a
@pytest.mark.parametrize("kl_beta", [0.02, 0.5])
def test_dpo_on_i6_is_at_the_maximum_of_its_likelihood(bt_beta, kl_beta):
    """Over the rewards of a and b, those of N clones of c at 0; then one coin for a or b, and the better side of it."""
    i = rlhf_instance(bt_beta)
    U, w, clones = i.population.utilities, i.population.weights, i.multiplicity[2]
    wins = lambda x, y: w @ expit(bt_beta * (U[:, x] - U[:, y]))
    pairs = ((0, 2, clones), (1, 2, clones), (0, 1, 1.0))

    def loss(rewards):
        r, total, slope = np.append(rewards, 0.0), 0.0, np.zeros(3)
        for x, y, copies in pairs:
            p, gap = wins(x, y), r[x] - r[y]
            total += copies * (p * np.logaddexp(0, -gap) + (1 - p) * np.logaddexp(0, gap))
            slope[x] += copies * (expit(gap) - p)
            slope[y] -= copies * (expit(gap) - p)
        return total / clones, slope[:2] / clones

    rewards = minimize(loss, np.zeros(2), jac=True, method="BFGS", options={"gtol": 1e-13}).x
    p = expit((rewards[1] - rewards[0]) / kl_beta)
    a, b = w @ U[:, :2]
    expected = max(p * a + (1 - p) * b, (1 - p) * a + p * b) / ((1 - p) * a + p * b)
    assert dpo_on_i6(bt_beta, kl_beta) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kl_beta", [0.1, 2.0])
def test_dpo_on_the_chain_adds_up_the_odds_of_its_steps(kl_beta):
    i = correlated_instance(4.0, 5, 0.01)
    U, u, reward, odds = i.population.utilities, i.population.average_utility, 0.0, [1.0]
    for t in range(4):
        p = sum(1.0 / (1.0 + math.exp(-4.0 * (v[t + 1] - v[t]))) for v in U) / 3.0
        reward += math.log(p / (1.0 - p))
        odds.append(math.exp(reward / kl_beta))
    expected = u.max() * sum(odds) / sum(x * o for x, o in zip(u, odds, strict=True))
    assert dpo_on_chain(4.0, 5, kl_beta) == pytest.approx(expected, rel=1e-12)
    assert correlated_ratio(4.0, 5) == pytest.approx(max(u) / u[4], rel=1e-12)


def test_a_step_of_the_chain_is_as_faint_as_can_be():
    """The gain of two users in log-odds, from what one drops: t + 1 wins with barely more than ½."""
    i = correlated_instance(4.0, 12, 0.01)
    U = i.population.utilities
    assert U[:, 0].tolist() == [1 / 3] * 3
    for t in range(11):
        top = int(U[:, t].argmax())
        drop = math.exp(4.0 * U[top, t])
        gain = math.log((math.sqrt(drop) + 1.0) ** 3 / (2.0 * (drop + 3.0))) / 4.0
        expected = U[:, t] + gain
        expected[top] = 0.0
        np.testing.assert_allclose(U[:, t + 1], expected, rtol=1e-12)
        assert 0.5 < i.win_rates[t + 1, t] < 0.55
    pairs = i.pair_weights
    np.testing.assert_allclose(np.diag(pairs, 1), 0.99 / 22, rtol=1e-14)
    np.testing.assert_allclose(pairs[0, 2:], 0.01 / 110, rtol=1e-14)
    assert pairs.sum() == pytest.approx(1.0, abs=1e-14)
    assert i.tau == pytest.approx(math.log(12))


def test_the_gap_of_ipo():
    assert identity_gap(0.9, 0.1) == pytest.approx(4.0, rel=1e-14)
