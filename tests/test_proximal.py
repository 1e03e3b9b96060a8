"""theory/proximal*.py: the optimum and its threshold against independent solvers, closed forms, log-domain sums."""

from __future__ import annotations

import itertools
import math
import time
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar

from theory import proximal_solver
from theory.convex import CertificateError
from theory.proximal import (
    binary_log_ratio,
    dpo_attained,
    dpo_loss,
    edpo_loss,
    empirical_scores,
    existence_threshold,
    feedback_scores,
    flat_directions,
    hyper_optimum,
    kl_bernoulli_half,
    merge_unlabelled,
    mixture_threshold,
    mixture_weights,
    optimality_residual,
    pair_log_ratio,
    paper_binary_gap,
    paper_threshold,
    population_scores,
    proximal_log_ratio,
    proximal_optimum,
    scalar_log_ratio,
    separation,
    solve_rewards,
    zero_hyper_binary_gap,
)
from theory.proximal_descent import dpo_pair_limit, likelihood_path, loss_gradient
from theory.proximal_examples import COUPLED, LABELS
from theory.proximal_existence import binary_threshold, imbalance_scores, recession
from theory.proximal_feedback import check_indices, log1mexp, log_remaining_mass
from theory.proximal_losses import (
    labelled_rewards,
    pro_binary_loss,
    pro_pairwise_loss,
    pro_scalar_loss,
    regulariser,
)

SEEDS = st.integers(0, 2**32 - 1)
THIRDS = np.full(3, 1 / 3)


def random_table(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(ŝ, μ̂, μ) with some unlabelled responses."""
    rng = np.random.default_rng(seed)
    empirical = rng.dirichlet(np.full(n, 0.8)) * (np.arange(n) < max(2, n - 2))
    empirical /= empirical.sum()
    scores = np.where(empirical > 0, rng.normal(size=n), 0.0)
    scores = np.where(empirical > 0, scores - empirical @ scores, 0.0)
    return scores, empirical, rng.dirichlet(np.full(n, 2.0)) * 0.98 + 0.02 / n


def brute_threshold(signal: np.ndarray, weights: np.ndarray) -> float:
    best = 0.0
    for size in range(1, signal.size):
        for members in itertools.combinations(range(signal.size), size):
            S = list(members)
            best = max(best, 2 * abs(signal[S].sum()) / (weights[S].sum() * (1 - weights[S].sum())))
    return best


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
    merged = merge_unlabelled(h, np.log(reference), scores, empirical, mu)
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
    merged = merge_unlabelled([4, 6], np.log(labels.reference), scores, empirical, labels.weights())
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
    started = time.perf_counter()
    dense = proximal_optimum(reference, scores, empirical, mu, 2.0, 0.5)
    y = np.flatnonzero(empirical)
    middle = time.perf_counter()
    sparse = hyper_optimum(np.log(reference[y]), scores[y], empirical[y], mu[y], 2.0, 0.5)
    assert middle - started < 1.0
    assert time.perf_counter() - middle < 1.0
    np.testing.assert_allclose(np.exp(sparse.log_policy), dense[y], atol=1e-12)


# The threshold.


def test_one_pair_needs_nine_eighths():
    scores, empirical = empirical_scores(3, [(0, 1)])
    assert existence_threshold(scores, empirical, THIRDS) == pytest.approx(9 / 8, rel=1e-15)
    assert paper_threshold(scores, empirical, THIRDS) == pytest.approx(9 / 4, rel=1e-15)
    assert mixture_threshold(2 / 3) == pytest.approx(9 / 4, rel=1e-15)


@given(SEEDS, st.integers(2, 12))
def test_threshold_is_the_maximum_over_all_subsets(seed, n):
    scores, empirical, mu = random_table(seed, n)
    w = scores * empirical
    found = separation(w, mu)
    if n <= 9:
        expected = brute_threshold(w, mu)
    else:
        subsets = np.array(list(itertools.product((0.0, 1.0), repeat=n)))[1:-1]
        expected = float(np.max(2 * np.abs(subsets @ w) / ((subsets @ mu) * ((1 - subsets) @ mu))))
    assert found.threshold == pytest.approx(expected, rel=1e-10)
    S = found.members  # the witness attains it
    assert 2 * w[S].sum() / (mu[S].sum() * mu[~S].sum()) == pytest.approx(expected, rel=1e-10)
    assert found.threshold <= paper_threshold(scores, empirical, mu) * (1 + 1e-12)
    # recession: F∞ is 0 at α* along the witness, negative below, positive above
    assert recession(w, mu, expected, S.astype(float)) == pytest.approx(0.0, abs=1e-12)
    assert recession(w, mu, 0.99 * expected, S.astype(float)) < 0
    direction = np.random.default_rng(seed).normal(size=n)
    assert recession(w, mu, 1.001 * expected, direction) > 0


@given(SEEDS, st.integers(2, 7), st.floats(1.01, 10.0))
def test_rewards_are_bounded_by_the_margin_over_the_threshold(seed, n, factor):
    """osc(r*) ≤ α·log 2/(2c), c = min_S (α/2)μ(S)(1 − μ(S)) − w(S): F(r) ≥ c·osc(r) − (α/2) log 2 and F(0) = 0."""
    scores, empirical, mu = random_table(seed, n)
    w = scores * empirical
    alpha = factor * separation(w, mu).threshold
    subsets = np.array(list(itertools.product((0.0, 1.0), repeat=n)))[1:-1]
    margin = float(np.min(0.5 * alpha * (subsets @ mu) * ((1 - subsets) @ mu) - subsets @ w))
    r, _ = solve_rewards(w, mu, alpha)
    assert np.ptp(r) <= alpha * math.log(2) / (2 * margin) * (1 + 1e-9)


def test_threshold_splits_convergence_from_divergence():
    """Newton finds the optimum just above α*; below, the loss falls without end along the witness."""
    scores, empirical, mu = random_table(2, 6)
    w = scores * empirical
    found = separation(w, mu)
    for excess in (1e-2, 1e-4, 1e-7, 1e-10):
        r, residual = solve_rewards(w, mu, found.threshold * (1 + excess))
        assert residual <= 1e-12
        assert np.ptp(r) == pytest.approx(math.log(1 / excess), abs=6)
    d = found.members.astype(float)
    values = [-(w @ (t * d)) + regulariser(t * d, mu, 0.99 * found.threshold) for t in (0.0, 50.0, 100.0, 200.0)]
    assert values[3] < values[2] < values[1]
    assert (values[3] - values[2]) / 100 == pytest.approx(recession(w, mu, 0.99 * found.threshold, d), rel=1e-6)


@pytest.mark.parametrize("factor", [0.5, 0.999999, 1.0])
def test_at_or_below_the_threshold_the_error_states_it(factor):
    scores, empirical = empirical_scores(3, [(0, 1)])
    with pytest.raises(ValueError, match=r"alpha\* = 1\.12(5|49)"):
        proximal_optimum(THIRDS, scores, empirical, THIRDS, factor * 9 / 8 * (1 - 1e-15), 0.1)


def test_binary_feedback_can_need_the_whole_of_one_over_eta_squared():
    """One good, one bad response and H at η = ⅔: α* = 9/4 = 1/η², where pairwise scores need 9/8."""
    scores, empirical = feedback_scores(3, [0, 1], [1.0, 0.0])
    assert existence_threshold(scores, empirical, THIRDS) == pytest.approx(mixture_threshold(2 / 3), rel=1e-14)


def test_threshold_of_a_million_responses():
    rng = np.random.default_rng(0)
    n = 10**6
    empirical, mu = (x / x.sum() for x in rng.random((2, n)) + 0.01)
    scores = rng.normal(size=n)
    scores -= empirical @ scores
    started = time.perf_counter()
    threshold = existence_threshold(scores, empirical, mu)
    assert time.perf_counter() - started < 2.0
    w = scores * empirical
    for cut in np.quantile(w / mu, [0.1, 0.3, 0.5, 0.7, 0.9]):
        S = w / mu > cut
        assert 2 * abs(w[S].sum()) / (mu[S].sum() * mu[~S].sum()) <= threshold * (1 + 1e-9)


def test_a_separating_set_of_tiny_mass_loses_no_digits():
    """The last response alone separates: its w is 1e-10 of the others', which a running sum would round away."""
    w = np.array([0.3, 0.7, -0.1, -0.9 + 1e-10, -1e-10])
    mu = np.array([0.2, 0.4, 0.1, 0.3 - 1e-13, 1e-13])
    assert separation(w, mu).threshold == pytest.approx(2 * 1e-10 / (1e-13 * (1 - 1e-13)), rel=1e-12)


def test_nothing_to_separate():
    assert separation(np.zeros(4), np.full(4, 0.25)).threshold == 0.0
    assert not separation(np.zeros(4), np.full(4, 0.25)).members.any()
    assert separation([0.0], [1.0]).threshold == 0.0
    np.testing.assert_allclose(proximal_optimum([0.2, 0.8], [0, 0], [0.5, 0.5], [0.5, 0.5], 1.0, 1.0), [0.2, 0.8])


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


@pytest.mark.parametrize("alpha", [1.02, 1.1, 2.5])
@pytest.mark.parametrize("kl_beta", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("reference", [0.2, 0.9, 0.98, 0.999, 1 - 1e-9])
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


def test_the_shortcut_collapses_onto_a_likely_response():
    with pytest.raises(ValueError, match="collapses"):
        zero_hyper_binary_gap(0.5, 2.5, 0.1, 0.3)
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
    with pytest.raises(ValueError, match=r"alpha\* = 1\.98"):
        binary_log_ratio(positive, 1.9)


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


# Bad input.


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: empirical_scores(3, [(0, 3)]), r"pairs\[0, 1\] = 3 is not one of 0 … 2"),
        (lambda: empirical_scores(3, [(0, 1), (2, 2)]), r"pairs\[1\] compares response 2 with itself"),
        (lambda: empirical_scores(3, []), "pairs"),
        (lambda: empirical_scores(3, [(0.5, 1)]), "integers"),
        (lambda: empirical_scores(0, [(0, 1)]), "n_responses"),
        (lambda: feedback_scores(2, [0, 1], [1.0]), "feedback must have 2"),
        (lambda: feedback_scores(2, [0, -1], [1.0, 0.0]), r"responses\[1\] = -1"),
        (lambda: feedback_scores(2, [], []), "non-empty"),
        (lambda: feedback_scores(2, [0], [math.nan]), r"feedback\[0\]"),
        (lambda: existence_threshold([0.3, -0.2], [0.5, 0.5], [0.5, 0.5]), "not 0: centre them"),
        (lambda: existence_threshold([0.3, -0.3], [0.5, 0.4], [0.5, 0.5]), "empirical sums to"),
        (lambda: existence_threshold([0.3, -0.3], [0.5, 0.5], [0.5, 0.6]), "weights sums to"),
        (lambda: existence_threshold([0.3, -0.3, 0.0], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0]), r"weights\[2\] = 0"),
        (lambda: existence_threshold([0.3, -0.3], [0.5, 0.5], [0.2, 0.3, 0.5]), "weights must have 2"),
        (lambda: proximal_optimum([0.5, 0.4], [0.3, -0.3], [0.5, 0.5], [0.5, 0.5], 9, 1), "reference sums to"),
        (lambda: proximal_optimum([1.0, 0.0], [0.3, -0.3], [0.5, 0.5], [0.5, 0.5], 9, 1), "full support"),
        (lambda: proximal_optimum([0.5, 0.5], [0.3, -0.3], [0.5, 0.5], [0.5, 0.5], 9, 0), "kl_beta"),
        (lambda: proximal_optimum([0.5, 0.5], [0.3, -0.3], [0.5, 0.5], [0.5, 0.5], math.nan, 1), "alpha"),
        (lambda: hyper_optimum(np.log([0.7, 0.4]), [0.1, -0.1], [0.5, 0.5], [0.3, 0.3], 9, 1), "sum to 1.1"),
        (lambda: hyper_optimum(np.log([0.3, 0.4]), [0.1, -0.1], [0.5, 0.5], [0.5, 0.5], 9, 1), "leaves nothing to H"),
        (lambda: hyper_optimum(np.log([0.3, 0.4]), [0.1, -0.1], [0.5, 0.5], [0.5, 0.0], 9, 1), r"weights\[1\]"),
        (
            lambda: hyper_optimum([-1.0], [0.0], [1.0], [0.5], 9, 1, log_hyper_reference=-3.0),
            "log_hyper_reference sum to",
        ),
        (lambda: merge_unlabelled([1], np.log([0.5, 0.5]), [0.0, 0.0], [0.5, 0.5], [0.5, 0.5]), "hyper overlaps"),
        (lambda: merge_unlabelled([], np.log([0.5, 0.5]), [0.0, 0.0], [1.0, 0.0], [0.5, 0.5]), "one response or more"),
        (lambda: merge_unlabelled([1, 1], np.log([0.5, 0.5]), [0.0, 0.0], [1.0, 0.0], [0.5, 0.5]), "each once"),
        (lambda: mixture_weights([0.5, 0.5], 0.0, [0.5, 0.5]), "share"),
        (lambda: mixture_threshold(1.5), "share"),
        (lambda: imbalance_scores(0), "negatives_per_positive"),
        (lambda: pair_log_ratio(1.125), r"alpha\* = 1.125"),
        (lambda: binary_log_ratio(0.5, 1.0), r"alpha\* = 1.0"),
        (lambda: scalar_log_ratio([0.5], 0.9), r"alpha\* = 1.0"),
        (lambda: paper_binary_gap(-0.5, 1.0, 0.1, 0.3), r"alpha\* = 1.0"),
        (lambda: paper_binary_gap(0.5, 1.0, 0.1, 1.0), "reference"),
        (lambda: pro_pairwise_loss([-1.0], [-1.0], 2.0, 0.1), "winner and the loser"),
        (lambda: pro_binary_loss(-1.0, -1.0, 0.5, 2.0, 0.1, "none"), "hyper"),
        (lambda: pro_binary_loss(0.0, -1.0, 0.5, 2.0, 0.1), "leaves nothing to H"),
        (lambda: log1mexp(0.1), "log1mexp"),
        (lambda: dpo_loss([1.0, 0.0], [0.5, 0.5], np.full((2, 2), 0.5), [0.5, 0.5], 1.0), r"policy\[1\] = 0"),
        (lambda: dpo_loss([0.5, 0.5], [0.5, 0.5], np.full((3, 3), 0.5), [0.5, 0.5], 1.0), "win_rates must be 2"),
        (lambda: edpo_loss([0.5, 0.5], [0.5, 0.5], [0.0], [1.0], [1.0], 1.0, 1.0), "scores must have 2"),
        (lambda: dpo_pair_limit(np.log(THIRDS), np.log(THIRDS), 1.0, 1.0), "win_share"),
        (lambda: likelihood_path(np.log(THIRDS), np.zeros(3), THIRDS, 1, 1, np.eye(2), 1, 3), "kernel"),
        (lambda: check_indices("x", 2, ["a"]), "integers"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_one_ulp_above_the_threshold():
    scores, empirical = empirical_scores(3, [(0, 1)])
    alpha = float(np.nextafter(existence_threshold(scores, empirical, THIRDS), 2.0))
    r, residual = solve_rewards(scores * empirical, THIRDS, alpha)
    assert residual <= 1e-12
    assert r[0] - r[1] > 60


def test_a_solver_that_stops_short_says_so(monkeypatch):
    monkeypatch.setattr(proximal_solver, "MAX_STEPS", 2)
    with pytest.raises(CertificateError, match="of P3 exceeds"):
        solve_rewards(np.array([1.0, -1.0, 0.0]) / 8, THIRDS, 1.2)
