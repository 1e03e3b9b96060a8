"""The audit: its interval contains the truth, and both ends are checked by routes that it does not share.

Upper end: the dual inequality is evaluated again at random types and on a grid, and a fine-grid linear
program bounds the supremum from below. Lower end: the witness is checked from its definition.
"""

from __future__ import annotations

import math
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.special import expit

from tests.oracles import strategies
from theory.bradley_terry import Population
from theory.distortion.audit.averages import MomentCertificate, lemma_cuts, moment_bound, separate, support
from theory.distortion.audit.ball import first_simplex, simplex_bound
from theory.distortion.audit.boxes import TypeCertificate, supremum
from theory.distortion.audit.interval import audit
from theory.distortion.audit.observed import from_counts, from_win_rates, user_half_width
from theory.distortion.audit.progress import Audit
from theory.distortion.factors import borda_factor, borda_lower_factor, linear_factor
from theory.distortion.instances import borda_instance, condorcet_instance
from theory.policy.kl_ball import KLBall, kl, maximize_in_kl_ball

#: What A ≤ 3 reaches; the measured gaps are about 2e-6 (see the module's last padding stage).
CLOSED = 1e-4


def population(rng: np.random.Generator, types: int, alternatives: int) -> Population:
    return Population(rng.random((types, alternatives)), rng.dirichlet(np.ones(types)))


def true_distortion(users: Population, policy: np.ndarray, reference=None, tau=math.inf) -> float:
    u = users.average_utility
    return float(u @ maximize_in_kl_ball(u, reference, tau)) / float(u @ policy)


def relative_gap(result: Audit) -> float:
    return 0.0 if result.lower == result.upper else result.upper / result.lower - 1.0


def maximal_lottery(P: np.ndarray) -> np.ndarray:
    """max v with πᵀ(P − ½) ≥ v for every column."""
    A = P.shape[0]
    result = linprog(
        np.r_[np.zeros(A), -1.0], A_ub=np.c_[-(P - 0.5).T, np.ones(A)], b_ub=np.zeros(A),
        A_eq=np.r_[np.ones(A), 0.0][None, :], b_eq=[1.0], bounds=[(0, None)] * A + [(None, None)],
    )  # fmt: skip
    pi = np.maximum(result.x[:A], 0.0)
    return pi / pi.sum()


def grid_supremum(P: np.ndarray, policy: np.ndarray, bt_beta: float, levels: int) -> float:
    """The audit's program on a plain grid of types, by linprog: a lower estimate of the supremum (A = 2)."""
    steps = np.linspace(0.0, 1.0, levels)
    U = np.array(list(product(steps, steps)))
    gap = expit(bt_beta * (U[:, 0] - U[:, 1])) - P[0, 1]
    best = 0.0
    for x in range(2):
        result = linprog(-U[:, x], A_eq=np.array([gap, U @ policy]), b_eq=[0.0, 1.0])
        best = max(best, -result.fun)
    return best


def dual_function(certificate: TypeCertificate, U: np.ndarray) -> np.ndarray:
    """F(U), written out pair by pair from the definition."""
    o = certificate.observed
    total = U @ certificate.benchmark - certificate.ratio * (U @ certificate.policy)
    for x, y, low, high, lam in zip(o.first, o.second, o.low, o.high, certificate.multipliers, strict=True):
        total = total + lam * (expit(o.bt_beta * (U[:, x] - U[:, y])) - (low if lam > 0 else high))
    return total


def check_witness(result: Audit, P: np.ndarray, policy: np.ndarray, bt_beta: float, reference=None, tau=math.inf):
    assert result.witness is not None
    U, w = result.witness.utilities, result.witness.weights
    rates = np.einsum("v,vxy->xy", w, expit(bt_beta * (U[:, :, None] - U[:, None, :])))
    assert np.abs(rates - P).max() < 1e-13  # polished; the solver alone leaves about 1e-10
    assert true_distortion(result.witness, policy, reference, tau) == pytest.approx(result.lower, rel=1e-8)


# -- the interval ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bt_beta", [1.0, 5.0, 10.0])
@pytest.mark.parametrize(("types", "alternatives"), [(1, 2), (20, 2), (1, 3), (3, 3), (40, 3)])
def test_interval_contains_the_truth_and_closes(bt_beta, types, alternatives):
    rng = np.random.default_rng([int(bt_beta), types, alternatives])
    users = population(rng, types, alternatives)
    P = users.win_rates(bt_beta)
    for policy in (rng.dirichlet(np.ones(alternatives)), np.eye(alternatives)[int(P.sum(axis=1).argmax())]):
        result = audit(P, policy, bt_beta)
        truth = true_distortion(users, policy)
        assert result.lower >= truth * (1 - CLOSED)
        assert result.upper >= truth
        assert result.lower <= result.upper
        assert result.upper == min(result.bounds.values())
        check_witness(result, P, policy, bt_beta)
        assert relative_gap(result) < CLOSED


@settings(max_examples=15)
@given(strategies.populations(max_alternatives=3), st.floats(0.3, 12.0), st.data())
def test_lower_is_at_most_upper_and_both_frame_the_truth(users, bt_beta, data):
    A = users.utilities.shape[1]
    policy = data.draw(strategies.distributions(A))
    result = audit(users.win_rates(bt_beta), policy, bt_beta)
    assert 1.0 <= result.lower <= result.upper
    assert result.upper >= true_distortion(users, policy) * (1 - 1e-12)


def test_four_and_five_alternatives_close():
    rng = np.random.default_rng(4)
    for A in (4, 5):
        users = population(rng, 12, A)
        P, policy = users.win_rates(5.0), rng.dirichlet(np.ones(A))
        result = audit(P, policy, 5.0)
        assert result.method == "types"
        assert result.bounds["types"] <= result.bounds["pairs"] <= result.bounds["lemma"] * (1 + 1e-9)
        assert relative_gap(result) < CLOSED
        assert result.lower <= true_distortion(result.witness, policy) * (1 + 1e-12)


def test_ten_alternatives_have_a_witness_and_a_subset_proof():
    rng = np.random.default_rng(10)
    users = population(rng, 20, 10)
    P = users.win_rates(5.0)
    winner = np.eye(10)[int(P.sum(axis=1).argmax())]
    result = audit(P, winner, 5.0)
    check_witness(result, P, winner, 5.0)
    assert result.bounds["subset"] <= result.bounds["pairs"]
    assert true_distortion(users, winner) <= result.upper


@pytest.mark.parametrize("bt_beta", [1.0, 10.0])
def test_two_alternatives_agree_with_a_fine_grid(bt_beta):
    rng = np.random.default_rng(2)
    P = population(rng, 7, 2).win_rates(bt_beta)
    policy = np.array([0.3, 0.7])
    result = audit(P, policy, bt_beta)
    brute = grid_supremum(P, policy, bt_beta, levels=161)
    # The grid is a restriction (below the supremum); its error is first order in the step 1/160.
    assert brute <= result.upper * (1 + 1e-9)
    assert brute == pytest.approx(result.lower, rel=1e-2)


def test_coin_flips_have_a_closed_form():
    # All win rates ½, uniform policy: the supremum is 1/(1/A + (1 − 1/A)/L(β)) (proof of Theorem 3; spec D2).
    for A, bt_beta in product((2, 3, 6), (1.0, 10.0)):
        result = audit(np.full((A, A), 0.5), np.full(A, 1 / A), bt_beta)
        exact = 1.0 / (1.0 / A + (1.0 - 1.0 / A) / linear_factor(bt_beta))
        assert result.lower == pytest.approx(exact, rel=1e-5)
        assert result.upper == pytest.approx(exact, rel=1e-5)
        assert result.lower <= exact * (1 + 1e-9) <= result.upper * (1 + 2e-9)


@pytest.mark.parametrize("bt_beta", [2.0, 5.0, 10.0])
def test_borda_winner_on_its_worst_instance(bt_beta):
    instance = borda_instance(bt_beta, 1e-3)
    result = audit(instance.win_rates, [0.0, 0.0, 1.0], bt_beta)
    # The data are only ε-close to the limit; Borda's factor holds for all of them with this μ.
    assert borda_lower_factor(bt_beta) * 0.99 <= result.lower <= result.upper <= borda_factor(bt_beta) * 1.001
    assert relative_gap(result) < CLOSED


@pytest.mark.parametrize("alternatives", [2, 3, 5, 15])
def test_maximal_lottery_is_never_above_the_linear_factor(alternatives):
    rng = np.random.default_rng(alternatives)
    for bt_beta in (1.0, 8.0):
        P = population(rng, 6, alternatives).win_rates(bt_beta)
        observed = from_win_rates(P, bt_beta)
        lottery = maximal_lottery(P)
        if alternatives <= 5:
            assert audit(P, lottery, bt_beta).upper <= linear_factor(bt_beta) + 1e-9
        else:  # the averages alone, as in Corollary 4
            cuts = lemma_cuts(observed)
            ratios = [moment_bound(lottery, q, cuts, 1e-3)[0].bound for q in np.eye(alternatives)]
            assert max(ratios) <= linear_factor(bt_beta) * (1 + 1e-6)
    half = np.full((alternatives, alternatives), 0.5)
    assert audit(half, maximal_lottery(half), 5.0).upper <= linear_factor(5.0) + 1e-9


def test_a_policy_that_may_be_worthless():
    users = Population([[0.0, 1.0], [0.2, 0.1]], [0.9, 0.1])
    result = audit(users.win_rates(5.0), [1.0, 0.0], 5.0)
    assert result.lower == result.upper == math.inf
    assert result.gap == 0.0
    assert result.witness is not None
    assert result.witness.average_utility[0] == 0.0 < result.witness.average_utility[1]
    assert np.abs(result.witness.win_rates(5.0) - users.win_rates(5.0)).max() < 1e-9


# -- certificates ------------------------------------------------------------------------------------------


def test_certificates_hold_at_random_types_and_on_a_grid():
    rng = np.random.default_rng(11)
    P = population(rng, 9, 3).win_rates(6.0)
    policy = rng.dirichlet(np.ones(3))
    result = audit(P, policy, 6.0)
    grid = np.array(list(product(np.linspace(0, 1, 41), repeat=3)))
    U = np.concatenate([grid, rng.random((100_000, 3)), rng.random((50_000, 3)) ** 8])
    assert len(result.certificate) == 3
    assert max(c.bound for c in result.certificate) == pytest.approx(result.upper, rel=1e-12)
    proved = [c for c in result.certificate if isinstance(c, TypeCertificate)]
    assert proved
    for certificate in proved:
        values = dual_function(certificate, U)
        assert np.allclose(values, certificate.values(U), atol=1e-12)
        assert values.max() <= max(certificate.supremum, 0.0) + 1e-12
    # With intervals the multiplier's sign decides which end counts.
    counts = np.rint(4000 * P).astype(int)
    np.fill_diagonal(counts, 0)
    loose = [c for c in audit(None, policy, 6.0, counts=counts).certificate if isinstance(c, TypeCertificate)]
    assert loose
    for certificate in loose:
        assert np.allclose(dual_function(certificate, U), certificate.values(U), atol=1e-12)
        assert certificate.values(U).max() <= max(certificate.supremum, 0.0) + 1e-12
    # And it can fail: a ratio below the witness's distortion has a type with F > 0, found by both routes.
    best = max(proved, key=lambda c: c.bound)
    wrong = TypeCertificate(
        best.alternatives, best.observed, best.benchmark, policy, 0.99 * result.lower, best.multipliers, 0.0
    )
    assert dual_function(wrong, U).max() > 0
    assert supremum(wrong, 100_000).bound > 0


def test_moment_certificates_hold_for_random_populations():
    rng = np.random.default_rng(12)
    users = population(rng, 5, 6)
    observed = from_win_rates(users.win_rates(4.0), 4.0)
    policy, cuts = rng.dirichlet(np.ones(6)), lemma_cuts(observed)
    u = users.average_utility
    for q in np.eye(6):
        lemma, at = moment_bound(policy, q, cuts, 0.01)
        pairs, _ = moment_bound(policy, q, cuts.extend(separate(observed, at)), 0.01)
        for certificate in (lemma, pairs):
            assert isinstance(certificate, MomentCertificate)
            assert (certificate.cuts.rows @ u <= certificate.cuts.rhs + 1e-12).all()
            assert q @ u - certificate.ratio * (policy @ u) <= certificate.excess + 1e-12
            assert q @ u <= certificate.bound * (policy @ u)
        assert pairs.bound <= lemma.bound + 1e-9


def test_pair_support_is_the_maximum_over_users():
    grid = np.linspace(0.0, 1.0, 801)
    a, b = np.meshgrid(grid, grid, indexing="ij")
    for bt_beta, alpha, gamma in product((0.5, 4.0, 20.0), (0.0, 0.1, 0.6, 1.0), (0.0, 0.3, 0.9, 1.0)):
        alpha, gamma = alpha * bt_beta / 4, gamma * bt_beta / 4
        brute = (alpha * a - gamma * b - (expit(bt_beta * (a - b)) - 0.5)).max()
        exact = float(support(np.array(alpha), np.array(gamma), bt_beta))
        assert exact >= brute - 1e-14
        assert exact == pytest.approx(brute, abs=1e-5 * bt_beta)


def test_branch_and_bound_finds_the_supremum():
    rng = np.random.default_rng(13)
    observed = from_win_rates(population(rng, 4, 3).win_rates(7.0), 7.0)
    eye, policy = np.eye(3), np.array([0.2, 0.5, 0.3])
    U = np.array(list(product(np.linspace(0, 1, 101), repeat=3)))
    for ratio in (0.5, 1.5, 3.0):
        certificate = TypeCertificate(np.arange(3), observed, eye[0], policy, ratio, rng.normal(size=3), 0.0)
        best = dual_function(certificate, U).max()
        found = supremum(certificate, 20_000)
        assert found.bound >= best
        assert dual_function(certificate, found.points).max() >= best - 0.02 * abs(best) - 1e-3


# -- a KL ball ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [0.0, 0.05, 0.7, 20.0])
@pytest.mark.parametrize("alternatives", [2, 3])
def test_ball_intervals_contain_the_truth_and_close(tau, alternatives):
    rng = np.random.default_rng([alternatives, int(100 * tau)])
    users = population(rng, 10, alternatives)
    P, reference = users.win_rates(5.0), rng.dirichlet(np.full(alternatives, 3.0))
    policy = maximize_in_kl_ball(P.mean(axis=1), reference, tau)
    result = audit(P, policy, 5.0, reference=reference, tau=tau)
    assert result.lower * (1 + 1e-3) >= true_distortion(users, policy, reference, tau)
    assert result.upper >= true_distortion(users, policy, reference, tau) * (1 - 1e-12)
    assert relative_gap(result) < 1e-3
    if result.witness is not None:
        check_witness(result, P, policy, 5.0, reference, tau)
    by_log = audit(P, policy, 5.0, log_reference=np.log(reference), tau=tau)
    assert by_log.upper == pytest.approx(result.upper, rel=1e-6)


def test_ball_is_inside_its_simplex_and_under_its_bound(rng):
    reference = np.array([0.5, 0.3, 0.15, 0.05])
    ball = KLBall(np.log(reference), 0.2)
    vertices = first_simplex(ball)
    ratios = np.array([1.0, 3.0, 2.0, 5.0])
    bound, b = simplex_bound(vertices, ratios, ball)
    assert b.min() >= 0
    assert b.sum() == pytest.approx(1.0)
    draws = rng.dirichlet(reference * 20, size=4000)
    inside = np.array([q for q in draws if kl(q, reference) <= 0.2])
    coordinates = np.linalg.solve(vertices.T, inside.T)
    assert inside.shape[0] > 500
    assert coordinates.min() >= -1e-9
    assert (ratios @ coordinates).max() <= bound < ratios.max()


# -- counts ------------------------------------------------------------------------------------------------


def draw_counts(rng: np.random.Generator, P: np.ndarray, n: int) -> np.ndarray:
    counts = np.zeros(P.shape, dtype=int)
    for x in range(P.shape[0]):
        for y in range(x):
            counts[x, y] = rng.binomial(n, P[x, y])
            counts[y, x] = n - counts[x, y]
    return counts


def test_count_intervals_cover(rng):
    # 1000 trials at confidence 80 %: valid intervals exceed 20 % + 4 standard errors once in 30000.
    P = population(rng, 6, 4).win_rates(3.0)
    first, second = np.triu_indices(4, 1)
    missed = 0
    for _ in range(1000):
        observed = from_counts(draw_counts(rng, P, 60), 3.0, None, 0.8)
        values = P[first, second]
        missed += bool(((values < observed.low) | (values > observed.high)).any())
    assert missed <= 1000 * 0.2 + 4 * math.sqrt(1000 * 0.2 * 0.8)
    assert missed >= 30  # and they are not empty words: Clopper–Pearson with six pairs misses now and then


def test_intervals_for_users_with_several_answers_cover_where_the_binomial_does_not():
    # Two camps that answer pair (0, 1) in opposite ways, 20 answers per user, nearly copies of one.
    rng = np.random.default_rng(21)
    camps = Population([[1.0, 0.0], [0.0, 1.0]], [0.5, 0.5])
    p = expit(8.0 * np.array([1.0, -1.0]))
    users, d, trials = 30, 20, 400
    missed = {"users": 0, "binomial": 0}
    for _ in range(trials):
        types = rng.choice(2, size=users, p=camps.weights)
        wins = int(rng.binomial(d, p[types]).sum())
        counts = np.array([[0, wins], [users * d - wins, 0]])
        for name, n_users in (("users", users), ("binomial", None)):
            observed = from_counts(counts, 8.0, n_users, 0.9)
            missed[name] += not observed.low[0] <= 0.5 <= observed.high[0]
    assert missed["users"] <= 0.1 * trials
    assert missed["binomial"] > 0.4 * trials


def test_user_half_width_has_the_right_size():
    # All on one pair: no better than d copies of one answer; spread over many pairs: nearly Hoeffding.
    hoeffding = math.sqrt(math.log(2 / 0.05) / (2 * 2000))
    assert user_half_width(2000, 2000, 200, 0.05) == pytest.approx(math.sqrt(10) * hoeffding, rel=1e-12)
    spread = user_half_width(2000, 200_000, 20_000, 0.05)
    assert hoeffding < spread < 1.5 * hoeffding
    widths = [user_half_width(500, 5000, n, 0.05) for n in (50, 500, 2500)]
    assert all(a >= b for a, b in pairwise(widths))


def test_audit_of_counts_covers_and_narrows():
    rng = np.random.default_rng(31)
    users = Population([[0.9, 0.3, 0.0], [0.8, 0.0, 0.2], [0.5, 0.6, 0.1]], [0.5, 0.3, 0.2])
    P, policy = users.win_rates(5.0), np.array([0.6, 0.3, 0.1])
    exact = audit(P, policy, 5.0)
    uppers = []
    for n in (200, 20_000, 2_000_000):
        result = audit(None, policy, 5.0, counts=draw_counts(rng, P, n))
        # All intervals cover for this seed, so the exact data are among the possible ones.
        assert result.upper >= exact.lower
        assert relative_gap(result) < CLOSED
        uppers.append(result.upper)
    assert uppers[0] >= uppers[1] >= uppers[2]
    assert uppers[2] == pytest.approx(exact.upper, rel=0.02)
    counts = draw_counts(rng, P, 20_000)
    several = audit(None, policy, 5.0, counts=counts, n_users=6000)
    assert several.upper >= audit(None, policy, 5.0, counts=counts).upper


def test_one_alternative():
    result = audit([[0.5]], [1.0], 2.0)
    assert result.lower == 1.0 <= result.upper <= 1.0 + 1e-9


def test_pairs_never_compared_say_nothing():
    result = audit(None, [0.2, 0.8], 3.0, counts=np.zeros((2, 2)))
    assert result.upper == pytest.approx(5.0, rel=1e-9)  # 1/π_min: nothing is known
    assert result.lower == pytest.approx(5.0, rel=1e-6)
    assert audit(None, [0.0, 1.0], 3.0, counts=np.zeros((2, 2))).lower == math.inf


# -- what cannot be ----------------------------------------------------------------------------------------


def cycle(p: float) -> np.ndarray:
    return np.array([[0.5, p, 1 - p], [1 - p, 0.5, p], [p, 1 - p, 0.5]])


def test_impossible_win_rates_are_refused():
    with pytest.raises(ValueError, match=r"win_rates\[0, 1\] = 0\.9 lies outside"):
        audit([[0.5, 0.9], [0.1, 0.5]], [0.5, 0.5], 1.0)
    with pytest.raises(ValueError, match="no population with bt_beta = 5"):
        audit(cycle(0.9), np.full(3, 1 / 3), 5.0)
    with pytest.raises(ValueError, match="lies outside"):
        audit(None, [0.5, 0.5], 0.5, counts=[[0, 990], [10, 0]])


def test_the_limit_of_possible_cycles_is_sharp():
    # The largest p for which a cycle of win rates p comes from some population, bracketed by the audit.
    def possible(p: float) -> bool:
        try:
            result = audit(cycle(p), np.full(3, 1 / 3), 5.0)
        except ValueError:
            return False
        return result.witness is not None

    low, high = 0.5, 0.95
    for _ in range(12):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if possible(middle) else (low, middle)
    # Independent: the largest cycle of one user's utilities, averaged over their three rotations.
    grid = np.linspace(0.0, 1.0, 201)
    x, y = np.meshgrid(grid, grid)
    single = (expit(5 * (1 - x)) + expit(5 * (x - y)) + expit(5 * (y - 1))) / 3
    assert low == pytest.approx(float(single.max()), abs=3e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": [0.5, 0.6]}, "policy sums to"),
        ({"policy": [1.2, -0.2]}, r"policy\[1\]"),
        ({"policy": [0.5, 0.25, 0.25]}, "policy has 3 entries"),
        ({"bt_beta": 0.0}, "bt_beta"),
        ({"bt_beta": math.nan}, "bt_beta"),
        ({"win_rates": [[0.5, 0.7], [0.4, 0.5]]}, r"win_rates\[0, 1\]"),
        ({"win_rates": [[0.5, math.nan], [0.4, 0.5]]}, "not finite"),
        ({"win_rates": None}, "give win_rates or counts"),
        ({"counts": [[0, 3], [4, 0]]}, "not both"),
        ({"n_users": 5}, "n_users needs counts"),
        ({"win_rates": None, "counts": [[0, -1], [4, 0]]}, r"counts\[0, 1\]"),
        ({"win_rates": None, "counts": [[0, 1.5], [4, 0]]}, r"counts\[0, 1\]"),
        ({"win_rates": None, "counts": [[0, 3], [4, 0]], "n_users": 0}, "n_users"),
        ({"win_rates": None, "counts": [[0, 3], [4, 0]], "confidence": 1.0}, "confidence"),
        ({"tau": -1.0, "reference": [0.5, 0.5]}, "tau"),
        ({"tau": 1.0}, "needs reference"),
        ({"tau": 1.0, "reference": [1.0, 0.0]}, r"reference\[1\]"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"win_rates": [[0.5, 0.7], [0.3, 0.5]], "policy": [0.5, 0.5], "bt_beta": 2.0} | change
    with pytest.raises(ValueError, match=message):
        audit(**arguments)


def test_the_condorcet_loser_of_the_hard_instance():
    instance = condorcet_instance(5.0, 4, 1e-3)
    result = audit(instance.win_rates, np.full(4, 0.25), 5.0)
    assert true_distortion(instance.population, np.full(4, 0.25)) <= result.upper
    assert result.lower >= true_distortion(instance.population, np.full(4, 0.25)) * (1 - 1e-6)
