"""Closed forms of PRO against minimisers, DPO alone, and descent on features."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from tests.oracles.pro_losses import pro_binary_loss, pro_scalar_loss
from tests.oracles.proximal_tables import THIRDS, optimality_residual, random_table
from theory.proximal.closed_forms import (
    binary_log_ratio,
    pair_log_ratio,
    paper_binary_gap,
    scalar_log_ratio,
    zero_hyper_binary_gap,
)
from theory.proximal.descent import dpo_pair_limit, likelihood_path, loss_gradient
from theory.proximal.examples import COUPLED
from theory.proximal.existence import binary_threshold, dpo_attained, flat_directions, imbalance_scores
from theory.proximal.losses import kl_bernoulli_half, regulariser
from theory.proximal.optimum import proximal_log_ratio, solve_rewards

# Closed forms.


def test_published_values():
    assert pair_log_ratio(9 / 4) == pytest.approx(0.7563076126, abs=1e-10)
    assert binary_log_ratio(0.5, 2.5) == pytest.approx(0.8472979, abs=1e-7)
    assert binary_log_ratio(-0.5, 2.5) == -binary_log_ratio(0.5, 2.5)
    assert paper_binary_gap(0.5, 2.5, 0.1, 0.3) == pytest.approx(0.197, abs=5e-4)


@pytest.mark.parametrize("alpha", [1.125 * (1 + 1e-9), 1.13, 1.5, 2.2499, 2.2501, 9 / 4, 30.0, 1e5])
def test_pair_log_ratio_is_the_optimum(alpha):
    t = pair_log_ratio(alpha)
    r, _ = solve_rewards(np.array([1.0, -1.0, 0.0]) / 8, THIRDS, alpha)
    assert r[0] - r[2] == pytest.approx(t, rel=1e-6 if alpha < 1.126 else 1e-12)
    assert 0.5 * (math.tanh(t) + math.tanh(t / 2)) == pytest.approx(9 / (8 * alpha), rel=1e-13)


@pytest.mark.parametrize("alpha", [30.0, 1e5, 0.9e12, 1.3e12, 1e20])
def test_pair_log_ratio_keeps_its_digits_where_it_is_small(alpha):
    """t = (4/3)e + (16/27)e³ + O(e⁵), e = 9/(8α), from ½(tanh t + tanh(t/2)) = ¾t − (3/16)t³ + O(t⁵)."""
    e = 9 / (8 * alpha)
    assert pair_log_ratio(alpha) == pytest.approx(4 / 3 * e + 16 / 27 * e**3, rel=e**4 + 1e-14, abs=0.0)


@pytest.mark.parametrize("score", [0.5, -0.5, 0.01, 100 / 101, -1 / 101])
@pytest.mark.parametrize("alpha", [2.0, 2.5, 40.0])
def test_binary_log_ratio_minimises_its_loss(score, alpha):
    gap = binary_log_ratio(score, alpha)
    assert 1 / (1 + math.exp(-gap)) == pytest.approx(0.5 + score / alpha, rel=1e-14)
    assert float(scalar_log_ratio([score], alpha)[0]) == pytest.approx(gap, rel=1e-9)
    reference, kl_beta = 0.3, 0.5

    def loss(logit):  # of π(y)
        return pro_binary_loss(-math.log1p(math.exp(-logit)), math.log(reference), score, alpha, kl_beta)

    found = minimize_scalar(loss, bounds=(-30, 30), method="bounded", options={"xatol": 1e-10})
    trained = kl_beta * (found.x - math.log(reference / (1 - reference)))
    assert trained == pytest.approx(gap, abs=1e-5)


@pytest.mark.parametrize("score", [0.5, -0.5])
@pytest.mark.parametrize("reference", [1e-12, 0.01, 0.3, 0.9])
def test_the_printed_form_is_another_objective(score, reference):
    alpha, kl_beta = 2.5, 0.1
    gap = paper_binary_gap(score, alpha, kl_beta, reference)
    odds = math.log(reference / (1 - reference)) + gap / kl_beta  # of π(y)
    rest = 1 / (1 + math.exp(odds))
    assert gap == pytest.approx(math.log((alpha + 2 * score * rest) / (alpha - 2 * score * rest)), abs=1e-12)
    r_y = kl_beta * (-math.log1p(math.exp(-odds)) - math.log(reference))
    r_h = kl_beta * math.log(rest / (1 - reference))

    def printed(shift):
        y = odds + shift
        own = kl_beta * (-math.log1p(math.exp(-y)) - math.log(reference))
        return -score * own + alpha * float(kl_bernoulli_half(gap + kl_beta * shift))

    assert r_y - r_h == pytest.approx(gap, abs=1e-12)
    assert printed(0.0) < min(printed(1e-2), printed(-1e-2))
    if reference == 1e-12:
        assert gap == pytest.approx(binary_log_ratio(score, alpha), abs=1e-4)


@pytest.mark.parametrize(
    ("alpha", "kl_beta", "reference"),
    [
        *product([1.02, 1.1, 2.5], [0.01, 0.1, 1.0], [0.2, 0.9, 0.98, 0.999, 1 - 1e-9]),
        (1.01, 0.84, 0.765),  # both minima near the maximum between them
    ],
)
def test_the_printed_form_of_a_rejected_response_is_minimised_globally(alpha, kl_beta, reference):
    """The loss as a function of log π(H)/π(y) may have two local minima: all of them are looked at, on a fine grid."""
    gap = paper_binary_gap(-0.5, alpha, kl_beta, reference)
    prior = math.log(reference) - math.log1p(-reference)
    deepest = 2 * math.atanh(1 / alpha)

    def loss(g):
        own = kl_beta * (-np.logaddexp(0.0, -(prior + g / kl_beta)) + math.log1p(math.exp(-prior)))
        return 0.5 * own + alpha * kl_bernoulli_half(g)

    grid = np.concatenate([np.linspace(-deepest - 0.1, 0.1, 4001), kl_beta * (np.linspace(-30, 30, 4001) - prior)])
    assert loss(np.array([gap]))[0] <= loss(grid).min() + 1e-12


def test_the_printed_form_leaves_a_likely_rejected_response_alone():
    assert paper_binary_gap(-0.5, 2.5, 0.1, 0.9) == pytest.approx(binary_log_ratio(-0.5, 2.5), abs=2e-3)
    assert abs(paper_binary_gap(-0.5, 2.5, 0.1, 0.99)) < 0.01
    for kl_beta in (1e-12, 1e-17, 1e-300):  # π*(y) → 0: the printed form is P10; → 1: σ(gap) − ½ = ½(1 − π*(y))/α
        gap = paper_binary_gap(0.5, 2.5, kl_beta, 0.3)
        assert gap / 4 == pytest.approx(0.2 / (1.0 + 3 / 7 * math.exp(gap / kl_beta)), rel=1e-9)
        assert paper_binary_gap(-0.5, 2.5, kl_beta, 0.3) == pytest.approx(binary_log_ratio(-0.5, 2.5), rel=1e-11)


def test_the_shortcut_by_hand():
    r_h = 0.1 * math.log((1 - 0.3 * math.exp(-8.472978603872)) / 0.7)
    assert zero_hyper_binary_gap(-0.5, 2.5, 0.1, 0.3) == pytest.approx(binary_log_ratio(-0.5, 2.5) - r_h, rel=1e-11)


def test_scalar_scores_are_edpo_with_uniform_weights():
    scores = np.array([0.4, -0.1, -0.2])
    gaps = scalar_log_ratio(scores, 2.0)
    r = np.append(gaps, 0.0)
    assert optimality_residual(r, np.append(scores, -scores.sum()) / 3, np.full(4, 0.25), 8 / 3 * 2.0) < 1e-12
    logs, refs = np.log([0.3, 0.2, 0.1]), np.log([0.25, 0.25, 0.2])
    steps = [pro_scalar_loss(logs + h * np.eye(3)[0], refs, scores, 2.0, 0.7) for h in (1e-6, -1e-6)]
    assert math.isfinite((steps[0] - steps[1]) / 2e-6)


def test_imbalance():
    assert imbalance_scores(1) == (0.5, -0.5)
    positive, negative = imbalance_scores(100)
    assert positive + 100 * negative == pytest.approx(0.0, abs=1e-15)
    assert binary_threshold(positive) == pytest.approx(200 / 101)


# DPO alone, and descent.


def test_what_dpo_cannot_see():
    assert flat_directions(5, [(0, 1), (3, 2)]).max() + 1 == 3
    assert flat_directions(4, [(0, 1), (1, 2), (3, 0)]).max() == 0
    assert not dpo_attained(3, [(0, 1)])
    assert dpo_attained(3, [(0, 1), (1, 0)])
    assert dpo_attained(3, [(0, 1), (1, 2), (2, 0)])
    assert not dpo_attained(4, [(0, 1), (1, 2), (2, 0), (3, 0)])


def test_descent_is_the_gradient_of_the_loss():
    rng = np.random.default_rng(4)
    scores, empirical, mu = random_table(4, 5)
    w, r, step = scores * empirical, rng.normal(size=5), 1e-5
    value = lambda x: -(w @ x) + regulariser(x, mu, 1.7)
    numeric = [(value(r + step * e) - value(r - step * e)) / (2 * step) for e in np.eye(5)]
    np.testing.assert_allclose(loss_gradient(r, w, mu, 1.7), numeric, atol=1e-9)


def test_pro_ends_at_its_optimum_whatever_the_features():
    c = COUPLED
    signal = np.array([1.0, -1.0, 0.0]) / 8
    target = proximal_log_ratio(np.log(c.reference), signal, THIRDS, c.alpha, c.kl_beta)
    for kernel in (np.eye(3), c.kernel):
        path = likelihood_path(np.log(c.reference), signal, THIRDS, c.alpha, c.kl_beta, kernel, c.rate, 12_000)
        np.testing.assert_allclose(path[-1], target, atol=1e-8)
    assert target[0] > 0 > target[1]
    dpo = likelihood_path(np.log(c.reference), signal, [0.5, 0.5, 0.0], 1.0, c.kl_beta, c.kernel, c.rate, 300)
    assert (np.diff(dpo[:, :2], axis=0) < 0).all()  # chosen and rejected fall at every step
    assert (np.diff(dpo[:, 0] - dpo[:, 1]) > 0).all()  # while the margin grows


def test_dpo_pair_limit_keeps_the_margin_and_the_sum():
    start, ref = np.log([0.05, 0.15, 0.8]), np.log([0.2, 0.3, 0.5])
    end = dpo_pair_limit(start, ref, 0.75, 0.5)
    r = 0.5 * (end - ref)
    assert r[0] - r[1] == pytest.approx(math.log(3))
    assert np.logaddexp.reduce(end) == pytest.approx(0.0, abs=1e-15)
    assert (end[0] + end[1]) / 2 - end[2] == pytest.approx((start[0] + start[1]) / 2 - start[2])
