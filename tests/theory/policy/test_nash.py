"""Equilibria of the win-rate game against cvxpy, linear programming, closed forms and their own certificates.

Certificates are recomputed here from the definitions, by routes that the solvers do not share: a maximum over
columns for lotteries, the dual function of the ball (a scalar convex problem) for NLHF.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize_scalar
from scipy.special import logsumexp

from theory.policy.kl_ball import kl, kl_from_log
from theory.policy.nash import maximal_lottery, nlhf, nlhf_cvxpy, nlhf_regularized
from theory.solution import CertificateError

GAP = 1e-9


def random_game(size: int, seed: int) -> np.ndarray:
    """Independent uniform win rates: equilibria on about half of the alternatives."""
    return complement(np.random.default_rng(seed).random((size, size)))


def bradley_terry_mixture(size: int, seed: int, bt_beta: float = 5.0, users: int = 10) -> np.ndarray:
    rng = np.random.default_rng(seed)
    utilities, weights = rng.random((users, size)), rng.dirichlet(np.ones(users))
    P = np.zeros((size, size))
    for u, w in zip(utilities, weights, strict=True):
        P += w / (1.0 + np.exp(-bt_beta * (u[:, None] - u[None, :])))
    return complement(P)


def complement(P: np.ndarray) -> np.ndarray:
    upper = np.triu(P, 1)
    return upper + np.tril(1.0 - upper.T, -1) + 0.5 * np.eye(P.shape[0])


def dirichlet(size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(size, 2.0))


def exploitability(P: np.ndarray, policy: np.ndarray) -> float:
    return float(np.max((P - 0.5) @ policy))


def ball_exploitability(P: np.ndarray, policy: np.ndarray, log_ref: np.ndarray, tau: float) -> float:
    """max of π'ᵀMπ over the ball as the least λ·tau + λ·log Σ π_ref e^{Mπ/λ}: an upper bound at any λ."""
    values = (P - 0.5) @ policy
    shifted = values - values.max()

    def dual(log_weight: float) -> float:
        weight = math.exp(log_weight)
        return weight * tau + weight * float(logsumexp(log_ref + shifted / weight))

    grid = np.linspace(-30.0, 15.0, 181)
    start = grid[int(np.argmin([dual(x) for x in grid]))]
    best = minimize_scalar(dual, bounds=(start - 0.3, start + 0.3), method="bounded", options={"xatol": 1e-9})
    return float(min(best.fun, 0.0) + values.max())


def assert_solves_ball(P: np.ndarray, log_ref: np.ndarray, tau: float, policy: np.ndarray, gap: float = 1e-8) -> None:
    """Feasible, and of dual gap at most `gap`; the default allows for the scalar search, good to 1e-9."""
    assert policy.min() >= 0
    assert policy.sum() == pytest.approx(1.0, abs=1e-12)
    assert kl_from_log(policy, log_ref) <= tau + 1e-10
    assert ball_exploitability(P, policy, log_ref, tau) <= gap


# --- maximal lotteries


@pytest.mark.parametrize(
    "P", [random_game(n, n) for n in (2, 3, 7, 20, 45, 130)] + [bradley_terry_mixture(n, n, 20.0) for n in (3, 40, 200)]
)
def test_lottery_equals_linear_program(P: np.ndarray) -> None:
    size = P.shape[0]
    program = linprog(
        np.r_[np.zeros(size), -1.0],
        A_ub=np.hstack([0.5 - P.T, np.ones((size, 1))]),
        b_ub=np.zeros(size),
        A_eq=np.r_[np.ones(size), 0.0][None],
        b_eq=[1.0],
        bounds=[(0, None)] * size + [(None, None)],
    )
    solution = maximal_lottery(P)
    assert exploitability(P, solution.policy) <= GAP
    assert solution.value == pytest.approx(program.x[-1], abs=1e-8)
    # Games drawn from a density have one equilibrium; HiGHS's feasibility is 1e-7.
    np.testing.assert_allclose(solution.policy, program.x[:-1], atol=1e-6)


@pytest.mark.parametrize("a", [0.5, 0.9, 1.0])
@pytest.mark.parametrize("b", [0.6, 1.0])
@pytest.mark.parametrize("c", [0.51, 0.7])
def test_rock_paper_scissors(a: float, b: float, c: float) -> None:
    """x beats y by a, y beats z by b, z beats x by c: each is played as often as the margin of the others."""
    P = np.array([[0.5, 0.5 + a / 2, 0.5 - c / 2], [0.5 - a / 2, 0.5, 0.5 + b / 2], [0.5 + c / 2, 0.5 - b / 2, 0.5]])
    np.testing.assert_allclose(maximal_lottery(P).policy, np.array([b, c, a]) / (a + b + c), atol=1e-12)


@pytest.mark.parametrize("size", [2, 5, 60, 300])
def test_condorcet_winner(size: int) -> None:
    P = random_game(size, 0)
    P[1, :], P[:, 1] = 0.5 + 1e-3, 0.5 - 1e-3
    P[1, 1] = 0.5
    assert maximal_lottery(P).policy[1] == 1.0


@pytest.mark.parametrize("size", [1, 2, 50, 400])
def test_ties_give_the_uniform_lottery(size: int) -> None:
    P = np.full((size, size), 0.5)
    solution = maximal_lottery(P)
    np.testing.assert_allclose(solution.policy, 1.0 / size, atol=1e-15)
    assert abs(solution.gap) <= 1e-15


def test_unbeaten_alternatives_share_the_lottery() -> None:
    """Two alternatives that tie and lose to none: their average, whatever cycles lie below."""
    P = random_game(40, 0)
    P[[3, 9], :], P[:, [3, 9]] = 0.5 + 1e-4, 0.5 - 1e-4
    P[np.ix_([3, 9], [3, 9])] = 0.5
    policy = maximal_lottery(P).policy
    assert policy[3] == policy[9] == 0.5


@pytest.mark.parametrize(("size", "clones"), [(3, 2), (7, 30), (40, 6)])
def test_clones_keep_the_mass_of_their_class(size: int, clones: int) -> None:
    P = random_game(size, 5)
    cloned = np.kron(np.ones((clones, clones)), P)
    policy = maximal_lottery(cloned).policy
    assert exploitability(cloned, policy) <= GAP
    merged = policy.reshape(clones, size).sum(axis=0)
    np.testing.assert_allclose(merged, maximal_lottery(P).policy, atol=1e-6)


def test_sparse_lottery_in_a_large_game() -> None:
    """A planted cycle of three that beats 600 others: found on its support, exact zeros elsewhere."""
    P = random_game(603, 3)
    P[:3, 3:], P[3:, :3] = 0.9, 0.1
    P[:3, :3] = [[0.5, 1.0, 0.0], [0.0, 0.5, 1.0], [1.0, 0.0, 0.5]]
    solution = maximal_lottery(P)
    np.testing.assert_allclose(solution.policy[:3], 1 / 3, atol=1e-12)
    assert np.count_nonzero(solution.policy) == 3
    assert "growing support" in solution.status


def test_dense_lottery_uses_the_interior_point() -> None:
    P = random_game(301, 4)
    solution = maximal_lottery(P)
    assert exploitability(P, solution.policy) <= 1e-15  # the support is solved exactly, not to the path's 1e-12
    assert "interior point" in solution.status
    assert np.count_nonzero(solution.policy) % 2 == 1  # a nondegenerate antisymmetric game has odd support


# --- NLHF in the ball


@pytest.mark.parametrize("tau", [1e-3, 0.1, 0.5, 1.2, 3.0])
@pytest.mark.parametrize("size", [3, 30])
@pytest.mark.parametrize("make", [random_game, bradley_terry_mixture])
def test_nlhf_equals_cvxpy(make, size: int, tau: float) -> None:
    P, ref = make(size, size), dirichlet(size, 1)
    solution, oracle = nlhf(P, ref, tau), nlhf_cvxpy(P, ref, tau)
    assert_solves_ball(P, np.log(ref), tau, solution.policy)
    assert_solves_ball(P, np.log(ref), tau, oracle.policy, gap=1e-6)
    assert solution.gap <= GAP
    # CLARABEL stops at a gap between 1e-9 and 3e-7, where the policy is within the square root of that.
    np.testing.assert_allclose(solution.policy, oracle.policy, atol=2e-4)


@pytest.mark.parametrize("size", [2, 3, 50, 200])
@pytest.mark.parametrize("tau", [1e-12, 1e-6, 1e-2, 0.3, 0.8, 4.0])
@pytest.mark.parametrize("make", [random_game, bradley_terry_mixture])
def test_nlhf_is_certified_by_the_dual(make, size: int, tau: float) -> None:
    P, log_ref = make(size, 7), np.log(dirichlet(size, 2))
    solution = nlhf(P, log_reference=log_ref, tau=tau)
    assert_solves_ball(P, log_ref, tau, solution.policy)
    assert solution.value == -solution.gap


@pytest.mark.parametrize("size", [4, 45, 160])
@pytest.mark.parametrize("offset", [-1e-2, -1e-4, -1e-6, -1e-9, 0.0, 1e-9, 1e-6, 1e-2])
def test_nlhf_around_the_threshold_of_activity(size: int, offset: float) -> None:
    """tau just below, at and just above the KL of the lottery, where the multiplier goes to 0."""
    P, log_ref = random_game(size, 2), np.log(dirichlet(size, 3))
    lottery = maximal_lottery(P).policy
    tau = kl_from_log(lottery, log_ref) * (1.0 + offset)
    policy = nlhf(P, log_reference=log_ref, tau=tau).policy
    assert_solves_ball(P, log_ref, tau, policy)
    if offset >= 0:
        np.testing.assert_allclose(policy, lottery, atol=1e-4)


def test_nlhf_limits() -> None:
    P, ref = random_game(9, 1), dirichlet(9, 1)
    np.testing.assert_array_equal(nlhf(P).policy, maximal_lottery(P).policy)
    np.testing.assert_array_equal(nlhf(P, ref, math.inf).policy, maximal_lottery(P).policy)
    np.testing.assert_allclose(nlhf(P, ref, 0.0).policy, ref, rtol=1e-14)


@pytest.mark.parametrize("tau", [1e-6, 0.2, 50.0])
def test_all_ties_leave_every_policy_an_equilibrium(tau: float) -> None:
    ref = dirichlet(40, 1)
    solution = nlhf(np.full((40, 40), 0.5), ref, tau)
    assert abs(solution.gap) <= 1e-15
    assert kl(solution.policy, ref) <= tau


def test_equilibrium_inside_the_ball_although_another_is_outside() -> None:
    """Two clones of a Condorcet winner, one far from the reference: the ball reaches the near one only."""
    P = np.array([[0.5, 0.5, 0.9], [0.5, 0.5, 0.9], [0.1, 0.1, 0.5]])
    log_ref = np.array([-300.0, 0.0, 0.0]) - math.log(2)
    log_ref[1:] += math.log1p(-math.exp(log_ref[0]))
    for tau in (0.7, 1.0, 5.0):  # log 2 = 0.693 reaches the second alternative
        solution = nlhf(P, log_reference=log_ref, tau=tau)
        assert_solves_ball(P, log_ref, tau, solution.policy)
        assert solution.policy[2] <= 1e-8


@pytest.mark.parametrize("tau", [1e-6, 0.1, 0.5, 0.69, 1.0])
def test_references_below_underflow(tau: float) -> None:
    """Three classes as in instance I6, the third of log-reference −2·10⁹; a beats b, b beats c, c beats a."""
    log_ref = np.array([-math.log(2), -math.log(2), -2e9])
    P = np.array([[0.5, 0.6, 0.3], [0.4, 0.5, 0.9], [0.7, 0.1, 0.5]])
    solution = nlhf(P, log_reference=log_ref, tau=tau)
    assert kl_from_log(solution.policy, log_ref) <= tau + 1e-10
    assert solution.gap <= GAP
    assert solution.policy[2] <= (tau + 1.0) / 2e9
    # Without c it is a game of two: all the mass on a, or as much as KL(a, 1 − a) ≤ tau allows.
    two = nlhf(P[:2, :2], [0.5, 0.5], tau).policy
    np.testing.assert_allclose(solution.policy[:2], two, atol=1e-7)
    expected_kl = math.log(2) + sum(p * math.log(p) for p in two if p > 0)
    assert expected_kl == pytest.approx(min(tau, math.log(2)), rel=1e-7)


@pytest.mark.parametrize("tau", [1e-8, 1e-5, 1e-2])
def test_lottery_at_a_distance_of_1e8_nats(tau: float) -> None:
    """All alternatives but one have log-references down to −3·10⁸: shares of 1e-17 keep the policy in the ball."""
    log_ref = -np.linspace(0.0, 3e8, 40)
    P = complement(0.5 + 1e-9 * (np.random.default_rng(8).random((40, 40)) - 0.5))
    policy = nlhf(P, log_reference=log_ref, tau=tau).policy
    assert kl_from_log(policy, log_ref) <= tau + 1e-12


def test_methods_by_regime() -> None:
    """Newton where the ball binds well, a support where the game is sparse, the interior point for what is left."""
    log_ref = np.full(300, -math.log(300))
    mixture, dense = bradley_terry_mixture(300, 1), random_game(300, 1)
    sparse = random_game(300, 1)
    sparse[:9, 9:] = 0.4 + 0.6 * sparse[:9, 9:]
    sparse = complement(sparse)
    edge = kl_from_log(maximal_lottery(sparse).policy, log_ref)
    for P, tau, method in [
        (mixture, 0.5, "Newton on the response map; KL constraint active"),
        (dense, 0.5, "Newton on the response map; KL constraint active"),
        (dense, 2.0, "interior point; KL constraint inactive"),
        (sparse, 0.9995 * edge, "growing support; KL constraint active"),
        (sparse, 1.1 * edge, "growing support; KL constraint inactive"),
    ]:
        solution = nlhf(P, log_reference=log_ref, tau=tau)
        assert solution.status == method
        assert_solves_ball(P, log_ref, tau, solution.policy)


def test_sparse_game_near_the_threshold_in_a_large_game() -> None:
    """The ball of a sparse game, the multiplier small: solved on a growing support."""
    P = random_game(400, 3)
    P[:9, 9:] = 0.4 + 0.6 * P[:9, 9:]
    P = complement(P)
    log_ref = np.log(dirichlet(400, 0))
    threshold = kl_from_log(maximal_lottery(P).policy, log_ref)
    for share in (0.9, 0.995, 1.005):
        solution = nlhf(P, log_reference=log_ref, tau=share * threshold)
        assert_solves_ball(P, log_ref, share * threshold, solution.policy)
        assert solution.status.endswith("inactive" if share > 1 else "constraint active")


# --- the penalty form, and Proposition 14


@pytest.mark.parametrize("weight", [1e-6, 1e-3, 0.03, 0.3, 10.0, 1e4])
@pytest.mark.parametrize("size", [2, 11, 150])
@pytest.mark.parametrize("make", [random_game, bradley_terry_mixture])
def test_regularized_gap_and_fixed_point(make, size: int, weight: float) -> None:
    P, ref = make(size, 3), dirichlet(size, 4)
    solution = nlhf_regularized(P, ref, weight)
    values = (P - 0.5) @ solution.policy
    gap = weight * (float(logsumexp(np.log(ref) + values / weight)) + kl(solution.policy, ref))
    assert gap <= 1e-8 * max(1.0, weight)
    assert solution.gap == pytest.approx(gap, abs=1e-12 * max(1.0, weight))
    logits = np.log(ref) + values / weight
    fixed_point = np.exp(logits - logits.max())
    if weight >= 0.03:  # gap ≥ weight·KL(π‖fixed point) ≥ 2·weight·(total variation)²
        np.testing.assert_allclose(solution.policy, fixed_point / fixed_point.sum(), atol=1e-4)


def test_regularized_game_of_two_has_a_closed_form() -> None:
    """P(a≻b) = ½ + m: (Mπ)_a − (Mπ)_b = m whatever π is, so π(a)/π(b) = ref(a)/ref(b)·e^{m/weight}."""
    P = np.array([[0.5, 0.8], [0.2, 0.5]])
    odds = (0.3 / 0.7) * math.exp(0.3 / 0.25)
    assert nlhf_regularized(P, [0.3, 0.7], 0.25).policy[0] == pytest.approx(odds / (1 + odds), rel=1e-9)


@pytest.mark.parametrize("weight", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("make", [random_game, bradley_terry_mixture])
def test_regularized_solves_the_ball_of_its_own_radius(make, weight: float) -> None:
    """Proposition 14, weight → tau."""
    P, ref = make(25, 5), dirichlet(25, 6)
    regularized = nlhf_regularized(P, ref, weight, tolerance=1e-13).policy
    tau = kl(regularized, ref)
    assert ball_exploitability(P, regularized, np.log(ref), tau) <= 1e-8
    np.testing.assert_allclose(nlhf(P, ref, tau, tolerance=1e-12).policy, regularized, atol=1e-6)


@pytest.mark.parametrize("tau", [0.05, 0.4])
@pytest.mark.parametrize("make", [random_game, bradley_terry_mixture])
def test_active_ball_is_regularized_with_some_weight(make, tau: float) -> None:
    """Proposition 14, tau → weight: log π/π_ref is affine in Mπ, and its slope is 1/weight."""
    P, ref = make(25, 5), dirichlet(25, 6)
    policy = nlhf(P, ref, tau, tolerance=1e-13).policy
    slope = np.polyfit((P - 0.5) @ policy, np.log(policy / ref), 1)[0]
    np.testing.assert_allclose(nlhf_regularized(P, ref, 1 / slope, tolerance=1e-13).policy, policy, atol=1e-6)


def test_inactive_ball_is_weight_zero() -> None:
    """Proposition 14, the end of the family: as the weight falls the policies approach the lottery."""
    P, ref = random_game(25, 5), dirichlet(25, 6)
    lottery = maximal_lottery(P).policy
    np.testing.assert_allclose(nlhf(P, ref, kl(lottery, ref) + 0.1).policy, lottery, atol=1e-6)
    distances = [np.abs(nlhf_regularized(P, ref, w).policy - lottery).sum() for w in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)]
    assert all(np.diff(distances) < 0)
    assert distances[-1] < 1e-2


# --- any small game

win_rate = st.one_of(st.sampled_from([0.0, 0.5, 0.5, 0.75, 1.0]), st.floats(0.0, 1.0))


@st.composite
def games(draw: st.DrawFn) -> np.ndarray:
    size = draw(st.integers(1, 7))
    rows = draw(st.lists(st.lists(win_rate, min_size=size, max_size=size), min_size=size, max_size=size))
    return complement(np.array(rows))


@given(games())
def test_any_lottery_is_certified(P: np.ndarray) -> None:
    solution = maximal_lottery(P)
    assert solution.policy.min() >= 0
    assert solution.policy.sum() == pytest.approx(1.0, abs=1e-12)
    assert exploitability(P, solution.policy) <= GAP
    assert solution.gap == pytest.approx(exploitability(P, solution.policy), abs=1e-14)


@given(games(), st.floats(-14.0, 3.0), st.floats(0.0, 200.0))
def test_any_ball_is_certified(P: np.ndarray, log_tau: float, depth: float) -> None:
    """References from uniform to e^{-200}, tau from 1e-6 to 20."""
    size = P.shape[0]
    log_ref = -depth * np.arange(size) / size
    log_ref = log_ref - float(logsumexp(log_ref))
    tau = math.exp(log_tau)
    assert_solves_ball(P, log_ref, tau, nlhf(P, log_reference=log_ref, tau=tau).policy)


@given(games(), st.floats(-14.0, 5.0))
def test_any_penalty_is_certified(P: np.ndarray, log_weight: float) -> None:
    size, weight = P.shape[0], math.exp(log_weight)
    ref = dirichlet(size, size)
    policy = nlhf_regularized(P, ref, weight).policy
    values = (P - 0.5) @ policy
    gap = weight * (float(logsumexp(np.log(ref) + values / weight)) + kl(policy, ref))
    assert gap <= 1e-9 + 1e-13 * weight


# --- errors


def test_bad_input_is_named() -> None:
    P, ref = random_game(3, 0), np.full(3, 1 / 3)
    broken = P.copy()
    broken[0, 2] += 0.01
    with pytest.raises(ValueError, match=r"win_rates\[0, 2\]"):
        maximal_lottery(broken)
    with pytest.raises(ValueError, match=r"win_rates\[1, 0\]"):
        nlhf(np.array([[0.5, 0.1], [1.9, 0.5]]), [0.5, 0.5], 0.1)
    with pytest.raises(ValueError, match="tau = -1"):
        nlhf(P, ref, -1)
    with pytest.raises(ValueError, match="needs reference"):
        nlhf(P, tau=1.0)
    with pytest.raises(ValueError, match=r"reference\[1\] = 0"):
        nlhf(P, [0.5, 0.0, 0.5], 1.0)
    with pytest.raises(ValueError, match="not both"):
        nlhf(P, ref, 1.0, log_reference=np.log(ref))
    with pytest.raises(ValueError, match="weight"):
        nlhf_regularized(P, ref, 0.0)
    with pytest.raises(ValueError, match="needs reference"):
        nlhf_regularized(P, None, 1.0)
    with pytest.raises(ValueError, match="tolerance"):
        maximal_lottery(P, tolerance=0.0)
    with pytest.raises(ValueError, match="tau"):
        nlhf_cvxpy(P, ref, math.inf)


def test_missing_certificate_is_an_error() -> None:
    P, ref = random_game(6, 3), dirichlet(6, 3)
    raised = []
    for size in range(41, 81, 4):  # rounding leaves a gap of exactly 0 in some games, which ones depends on the machine
        try:
            maximal_lottery(random_game(size, 3), tolerance=1e-30)
        except CertificateError as error:
            raised.append(str(error))
    assert raised
    assert all("exceeds the certificate" in text for text in raised)
    with pytest.raises(CertificateError):
        nlhf_cvxpy(P, ref, 0.3, tolerance=1e-13)


def test_a_wrong_answer_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gap is recomputed from the policy: a search that ends at the reference is found out."""
    P, ref = random_game(6, 3), dirichlet(6, 3)
    monkeypatch.setattr(
        "theory.policy.nash.equilibrium", lambda game, target: (np.exp(game.ball.log_reference), "wrong")
    )
    for solve in (lambda: maximal_lottery(P), lambda: nlhf(P, ref, 0.3), lambda: nlhf_regularized(P, ref, 0.1)):
        with pytest.raises(CertificateError, match="wrong"):
            solve()
