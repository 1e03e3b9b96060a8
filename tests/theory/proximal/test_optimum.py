"""PRO's scores, losses and optimum against independent solvers."""

from __future__ import annotations

import itertools
import math
import time
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from tests.oracles.pro_losses import labelled_rewards, pro_binary_loss, pro_pairwise_loss, pro_scalar_loss
from tests.oracles.proximal_tables import SEEDS, THIRDS, optimality_residual, random_table
from theory.numerics import log1mexp
from theory.proximal import optimum
from theory.proximal.closed_forms import pair_log_ratio
from theory.proximal.examples import LABELS
from theory.proximal.existence import existence_threshold
from theory.proximal.feedback import (
    empirical_scores,
    feedback_scores,
    log_remaining_mass,
    mixture_weights,
    population_scores,
)
from theory.proximal.losses import dpo_loss, edpo_loss, kl_bernoulli_half
from theory.proximal.optimum import hyper_optimum, proximal_log_ratio, proximal_optimum, solve_rewards
from theory.solution import CertificateError

# Scores.


def test_one_pair_has_scores_of_a_quarter():
    scores, empirical = empirical_scores(3, [(0, 1)])
    assert scores.tolist() == [0.25, -0.25, 0.0]
    assert empirical.tolist() == [0.5, 0.5, 0.0]


def test_disjoint_pairs_share_one_table():
    """Two disjoint pairs: w = ±1/32 in the table; the average of the one-pair losses has ±1/16."""
    scores, empirical = empirical_scores(4, [(0, 1), (2, 3)])
    assert (scores * empirical).tolist() == [1 / 32, -1 / 32, 1 / 32, -1 / 32]
    alone = np.prod(empirical_scores(2, [(0, 1)]), axis=0)
    assert (alone / 2).tolist() == [1 / 16, -1 / 16]


@given(SEEDS, st.integers(2, 7), st.integers(1, 30))
def test_empirical_scores_are_their_definition(seed, n, comparisons):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, n, comparisons)
    pairs = np.column_stack([first, (first + rng.integers(1, n, comparisons)) % n])
    wins = np.zeros((n, n))
    for winner, loser in pairs:
        wins[winner, loser] += 1
    p = np.full((n, n), 0.5)
    for x, y in itertools.permutations(range(n), 2):
        if wins[x, y] + wins[y, x]:
            p[x, y] = wins[x, y] / (wins[x, y] + wins[y, x])
    mu = (wins + wins.T).sum(axis=1) / (2 * comparisons)
    scores, empirical = empirical_scores(n, pairs)
    np.testing.assert_allclose(empirical, mu, atol=1e-15)
    np.testing.assert_allclose(scores, p @ mu - 0.5, atol=1e-15)
    assert abs(scores @ empirical) < 1e-15  # P2
    assert np.abs(scores).max() <= 0.5


def test_feedback_scores_are_centred_means():
    scores, empirical = feedback_scores(4, [0, 0, 2], [1.0, 0.0, 0.0])
    np.testing.assert_allclose(scores, [1 / 6, 0, -1 / 3, 0], atol=1e-16)
    np.testing.assert_allclose(empirical, [2 / 3, 0, 1 / 3, 0])


def test_population_scores_are_centred_borda_scores():
    P = np.array([[0.5, 0.8, 0.6], [0.2, 0.5, 0.3], [0.4, 0.7, 0.5]])
    mu = np.array([0.2, 0.3, 0.5])
    scores = population_scores(P, mu)
    assert scores[0] == pytest.approx(0.2 * 0.5 + 0.3 * 0.8 + 0.5 * 0.6 - 0.5)
    assert scores @ mu == pytest.approx(0.0, abs=1e-16)


# Losses.


def test_kl_bernoulli_half_in_fifty_digits():
    for delta in [*np.logspace(-9, 2.5, 60), 1.999, 2.0, 2.001]:
        with localcontext() as context:
            context.prec = 50
            x = Decimal(float(delta)) / 2
            exact = float(((x.exp() + (-x).exp()) / 2).ln())
        assert float(kl_bernoulli_half(delta)) == pytest.approx(exact, rel=4e-15, abs=0)
        assert kl_bernoulli_half(delta) == kl_bernoulli_half(-delta)
    assert float(kl_bernoulli_half(0.0)) == 0.0
    assert float(kl_bernoulli_half(1e6)) == pytest.approx(5e5 - math.log(2))


@given(SEEDS, st.integers(2, 6), st.floats(0.05, 2.0))
def test_dpo_is_twice_edpo(seed, n, kl_beta):
    """P1: L_DPO − 2·L_eDPO − log 2 is the same number at every policy; at the reference L_DPO is log 2."""
    rng = np.random.default_rng(seed)
    P = np.triu(rng.random((n, n)), 1)
    P = P + np.tril(1 - P.T, -1) + 0.5 * np.eye(n)
    mu, reference = rng.dirichlet(np.ones(n) * 3), rng.dirichlet(np.ones(n) * 3)
    scores = population_scores(P, mu)
    constants = []
    for _ in range(3):
        pi = rng.dirichlet(np.ones(n) * 3)
        twice = 2 * edpo_loss(pi, reference, scores, mu, mu, 1.0, kl_beta)
        constants.append(dpo_loss(pi, reference, P, mu, kl_beta) - twice - math.log(2))
    expected = 2 * kl_beta * (mu * scores) @ np.log(reference)
    np.testing.assert_allclose(constants, expected, atol=1e-12)
    assert dpo_loss(reference, reference, P, mu, kl_beta) == pytest.approx(math.log(2))
    log_form = dpo_loss(pi, None, P, mu, kl_beta, log_reference=np.log(reference))
    assert log_form == pytest.approx(dpo_loss(pi, reference, P, mu, kl_beta), abs=1e-13)


def test_pro_losses_are_edpo_over_y_h():
    rng = np.random.default_rng(3)
    reference, kl_beta = np.array([0.3, 0.2, 0.5]), 0.4
    scores, empirical = empirical_scores(3, [(0, 1)])
    constants = []
    for pi in rng.dirichlet(np.full(3, 2.0), size=4):
        full = edpo_loss(pi, reference, scores, empirical, THIRDS, 2.25, kl_beta)
        assert type(edpo_loss(pi, reference, scores, empirical, THIRDS, 2.25, np.array(kl_beta))) is float
        constants.append(full - pro_pairwise_loss(np.log(pi[:2]), np.log(reference[:2]), 2.25, kl_beta))
    assert np.ptp(constants) < 1e-14
    # P8 by hand at α = 9/4
    pi = np.array([0.5, 0.1, 0.4])
    r = kl_beta * np.log(pi / reference)
    split = -0.25 * math.log(1 / (1 + math.exp(r[1] - r[0]))) - 0.25 * math.log(2)
    split += 0.25 * float(kl_bernoulli_half(r[:2] - r[2]).sum())
    assert pro_pairwise_loss(np.log(pi[:2]), np.log(reference[:2]), 2.25, kl_beta) == pytest.approx(split, abs=1e-14)
    # one scored response: PRO-S is PRO-B
    assert pro_scalar_loss([-1.0], [-2.0], [0.5], 2.0, 0.3) == pytest.approx(pro_binary_loss(-1.0, -2.0, 0.5, 2.0, 0.3))


def test_the_hyper_response_is_exact_and_its_shortcut_is_not():
    """r(H) = kl_beta·log((1 − Σπ)/(1 − Σπ_ref)) to the last digit, from 1 − Σ near 0 to Σ near 0."""
    for log_p in (-1e-12, -1e-3, -0.7, -30.0, -700.0):
        with localcontext() as context:
            context.prec = 360
            exact = float((1 - Decimal(log_p).exp()).ln())
        assert float(log1mexp(log_p)) == pytest.approx(exact, rel=2e-15, abs=0)
    _, r_h = labelled_rewards([math.log(0.9)], [math.log(0.3)], 0.1)
    assert r_h == pytest.approx(0.1 * math.log(0.1 / 0.7), rel=1e-14)
    assert labelled_rewards([math.log(0.9)], [math.log(0.3)], 0.1, "zero")[1] == 0.0
    exact, short = (pro_binary_loss(math.log(0.9), math.log(0.3), 0.5, 2.5, 0.1, hyper) for hyper in ("exact", "zero"))
    assert abs(exact - short) > 0.05
    # on sequences of −200 nats both say the same
    tiny = [pro_binary_loss(-200.0, -201.0, 0.5, 2.5, 0.1, hyper) for hyper in ("exact", "zero")]
    assert tiny[0] == tiny[1]
    assert log_remaining_mass("p", [-1e-14, -40.0]) < -30


# The optimum.


@given(SEEDS, st.integers(2, 8), st.floats(1.05, 20.0), st.floats(0.05, 2.0))
def test_optimum_satisfies_p3_p4_and_is_normalised(seed, n, factor, kl_beta):
    scores, empirical, mu = random_table(seed, n)
    alpha = factor * existence_threshold(scores, empirical, mu)
    reference = np.random.default_rng(seed + 1).dirichlet(np.full(n, 2.0)) * 0.9 + 0.1 / n
    log_ratio = proximal_log_ratio(np.log(reference), scores * empirical, mu, alpha, kl_beta)
    assert optimality_residual(kl_beta * log_ratio, scores * empirical, mu, alpha) < 1e-11
    policy = proximal_optimum(reference, scores, empirical, mu, alpha, kl_beta)
    assert policy.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(policy, reference * np.exp(log_ratio), rtol=1e-9)
    ratio = scores * empirical / mu
    order = np.argsort(ratio)
    assert (np.diff(log_ratio[order]) >= -1e-9).all()
    unscored = log_ratio[scores * empirical == 0]
    if unscored.size:
        assert np.ptp(unscored) == 0.0


@pytest.mark.parametrize("seed", range(6))
def test_optimum_agrees_with_scipy(seed):
    """Minimise `edpo_loss` itself over logits, by Nelder–Mead's betters, from a random start."""
    scores, empirical, mu = random_table(seed, 5)
    alpha = 1.4 * existence_threshold(scores, empirical, mu)
    reference = np.random.default_rng(seed).dirichlet(np.full(5, 2.0))

    def loss(theta):
        pi = np.exp(theta - np.logaddexp.reduce(theta))
        return edpo_loss(pi / pi.sum(), reference, scores, empirical, mu, alpha, 1.0)

    found = minimize(loss, np.log(reference), method="BFGS", options={"gtol": 1e-9})
    pi = np.exp(found.x - np.logaddexp.reduce(found.x))
    policy = proximal_optimum(reference, scores, empirical, mu, alpha, 1.0)
    assert loss(np.log(policy)) <= found.fun + 1e-14
    np.testing.assert_allclose(policy, pi, atol=1e-5)


def test_optimum_agrees_with_cvxpy():
    """The convex program in r as a disciplined one: klB(δ) = logistic(δ) − δ/2 − log 2."""
    cp = pytest.importorskip("cvxpy")
    scores, empirical, mu = random_table(11, 5)
    w, alpha = scores * empirical, 1.6 * existence_threshold(scores, empirical, mu)
    r = cp.Variable(5)
    first, second = np.triu_indices(5, 1)
    delta = r[first] - r[second]
    program = -w @ r + alpha * (mu[first] * mu[second]) @ (cp.logistic(delta) - delta / 2)
    cp.Problem(cp.Minimize(program), [r[0] == 0]).solve(solver=cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12)
    ours, _ = solve_rewards(w, mu, alpha)
    np.testing.assert_allclose(ours - ours[0], r.value, atol=1e-6)


def test_p1_optimum_is_that_of_dpo():
    rng = np.random.default_rng(5)
    P = np.array([[0.5, 0.8, 0.6], [0.2, 0.5, 0.35], [0.4, 0.65, 0.5]])
    mu, reference = np.array([0.5, 0.2, 0.3]), rng.dirichlet(np.ones(3))
    policy = proximal_optimum(reference, population_scores(P, mu), mu, mu, 1.0, 0.7)
    best = dpo_loss(policy, reference, P, mu, 0.7)
    for _ in range(200):
        other = policy * np.exp(0.01 * rng.normal(size=3))
        assert dpo_loss(other / other.sum(), reference, P, mu, 0.7) > best


def merged_to_y_h(h, log_reference, *tables):
    """log π_ref and further tables over Y_H: the responses outside H in their order, then H itself, last."""
    kept = np.setdiff1d(np.arange(log_reference.size), h)
    logs = np.append(log_reference[kept], np.logaddexp.reduce(log_reference[h]))
    return logs, *(np.append(table[kept], table[h].sum()) for table in tables)


@given(SEEDS, st.floats(1.1, 5.0), st.sampled_from(["pairs", "binary", "scalar"]))
def test_p6_the_three_forms_of_the_hyper_response_agree(seed, factor, kind):
    labels = LABELS[kind]
    rng = np.random.default_rng(seed)
    reference = rng.dirichlet(np.full(7, 2.0))
    scores, empirical = labels.scores()
    y, h = labels.labelled, labels.unlabelled
    mu = mixture_weights(empirical, 0.7, np.where(empirical > 0, 0.0, 1 / h.size))
    alpha = factor * existence_threshold(scores, empirical, mu)
    dense = proximal_optimum(reference, scores, empirical, mu, alpha, 0.5)
    merged = merged_to_y_h(h, np.log(reference), scores, empirical, mu)
    over_y_h = proximal_optimum(None, *merged[1:], alpha, 0.5, log_reference=merged[0])
    np.testing.assert_allclose(over_y_h, np.append(dense[y], dense[h].sum()), atol=1e-9)
    sparse = hyper_optimum(np.log(reference[y]), scores[y], empirical[y], mu[y], alpha, 0.5)
    np.testing.assert_allclose(np.exp(sparse.log_policy), dense[y], atol=1e-9)
    assert math.exp(sparse.hyper_policy) == pytest.approx(dense[h].sum(), abs=1e-9)
    np.testing.assert_allclose(np.log(dense[h] / reference[h]), sparse.hyper_ratio, atol=1e-9)
    assert sparse.residual <= 1e-12


def test_a_part_of_the_unlabelled_may_be_merged():
    labels = LABELS["pairs"]
    scores, empirical = labels.scores()
    dense = proximal_optimum(labels.reference, scores, empirical, labels.weights(), 3.0, 1.0)
    merged = merged_to_y_h([4, 6], np.log(labels.reference), scores, empirical, labels.weights())
    policy = proximal_optimum(None, *merged[1:], 3.0, 1.0, log_reference=merged[0])
    np.testing.assert_allclose(policy, [*dense[[0, 1, 2, 3, 5]], dense[4] + dense[6]], atol=1e-12)


def test_sequences_of_hundreds_of_nats():
    """Likelihoods as a language model has them: the optimum in log-domain, nothing lost to underflow."""
    optimum = hyper_optimum([-820.0, -790.0], [0.25, -0.25], [0.5, 0.5], [1 / 3, 1 / 3], 2.25, 0.01)
    t = pair_log_ratio(2.25) / 0.01
    np.testing.assert_allclose(optimum.log_ratio, [t, -t], atol=1e-9)
    assert optimum.hyper_ratio == pytest.approx(0.0, abs=1e-12)
    # a known log π_ref(H) is taken as it is
    known = hyper_optimum([-1e-9], [0.0], [1.0], [0.5], 2.25, 1.0, log_hyper_reference=math.log(1e-9))
    assert known.hyper_policy == pytest.approx(math.log(1e-9))


def test_ten_to_the_five_responses_in_under_a_second():
    rng = np.random.default_rng(0)
    n = 10**5
    first = rng.integers(0, 200, 400)
    pairs = np.column_stack([first, (first + rng.integers(1, 200, 400)) % 200])
    reference = rng.dirichlet(np.ones(n))
    scores, empirical = empirical_scores(n, pairs)
    rest = np.where(empirical > 0, 0.0, reference)
    mu = mixture_weights(empirical, 0.8, rest / rest.sum())
    proximal_optimum(reference, scores, empirical, mu, 2.0, 0.5)
    started = time.process_time()
    dense = proximal_optimum(reference, scores, empirical, mu, 2.0, 0.5)
    y = np.flatnonzero(empirical)
    middle = time.process_time()
    sparse = hyper_optimum(np.log(reference[y]), scores[y], empirical[y], mu[y], 2.0, 0.5)
    assert middle - started < 1.0
    assert time.process_time() - middle < 1.0
    np.testing.assert_allclose(np.exp(sparse.log_policy), dense[y], atol=1e-12)


def test_one_ulp_above_the_threshold():
    scores, empirical = empirical_scores(3, [(0, 1)])
    alpha = float(np.nextafter(existence_threshold(scores, empirical, THIRDS), 2.0))
    r, residual = solve_rewards(scores * empirical, THIRDS, alpha)
    assert residual <= 1e-12
    assert r[0] - r[1] > 60


@pytest.mark.parametrize("steps", [2, 10])  # residuals 0.17 and 2e-8
def test_a_solver_that_stops_short_says_so(monkeypatch, steps):
    monkeypatch.setattr(optimum, "MAX_STEPS", steps)
    with pytest.raises(CertificateError, match="of P3 exceeds"):
        solve_rewards(np.array([1.0, -1.0, 0.0]) / 8, THIRDS, 1.2)


@pytest.mark.parametrize("kl_beta", [1e-6, 1e-12, 1e-16])
def test_policies_of_a_small_kl_beta_sum_to_one_and_split_ties_by_the_reference(kl_beta):
    signal, uniform, reference = np.array([0.1, 0.1, -0.2]), np.full(3, 1 / 3), np.array([0.3, 0.5, 0.2])
    log_ratio = proximal_log_ratio(np.log(reference), signal, uniform, 10.0, kl_beta)
    np.testing.assert_allclose(reference * np.exp(log_ratio), [0.375, 0.625, 0.0], rtol=1e-13)
    sparse = hyper_optimum(np.log([0.3, 0.5]), [0.25, -0.25], [0.5, 0.5], [0.4, 0.4], 10.0, kl_beta)
    assert math.exp(sparse.log_policy[0]) == pytest.approx(1.0, abs=1e-13)
