"""Equilibria of the win-rate game against cvxpy, linear programming, closed forms and their own certificates.

Certificates are recomputed here from the definitions, by routes that the solvers do not share: a maximum over
columns for lotteries, the dual function of the ball (a scalar convex problem) for NLHF.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from tests.bad_input import bad_input_is_named
from tests.oracles.games import (
    GAP,
    assert_solves_ball,
    bradley_terry_mixture,
    complement,
    dirichlet,
    exploitability,
    lottery_by_program,
    random_game,
)
from theory.policy.equilibrium import Game, _central, _crossover
from theory.policy.kl_ball import KLBall, kl, kl_from_log
from theory.policy.nash import maximal_lottery, nlhf, nlhf_cvxpy, nlhf_regularized
from theory.policy.support import _only_lottery
from theory.solution import CertificateError

# --- maximal lotteries


@pytest.mark.parametrize(
    "P", [random_game(n, n) for n in (2, 3, 7, 20, 45, 130)] + [bradley_terry_mixture(n, n, 20.0) for n in (3, 40, 200)]
)
def test_lottery_equals_linear_program(P: np.ndarray) -> None:
    expected, solution = lottery_by_program(P), maximal_lottery(P)
    assert exploitability(P, solution.policy) <= GAP
    assert solution.value == pytest.approx(-exploitability(P, expected), abs=1e-8)
    np.testing.assert_allclose(solution.policy, expected, atol=1e-6)  # drawn from a density: one equilibrium


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


def test_small_dense_lottery_uses_the_interior_point() -> None:
    P = random_game(61, 4)
    solution = maximal_lottery(P)
    assert exploitability(P, solution.policy) <= 1e-15  # the support is solved exactly, not to the path's 1e-12
    assert "interior point" in solution.status
    assert np.count_nonzero(solution.policy) % 2 == 1  # a nondegenerate antisymmetric game has odd support


@pytest.mark.parametrize("tau", [math.inf, 2.0])
@pytest.mark.parametrize(("size", "seed"), [(128, 0), (201, 1), (301, 4), (500, 2)])
def test_dense_lottery_is_found_on_its_support(size: int, seed: int, tau: float) -> None:
    """The same lottery as the central path's, whichever way, free or in a ball that holds it."""
    P = random_game(size, seed)
    solution = nlhf(P, log_reference=np.full(size, -math.log(size)), tau=tau)
    assert "regret matching" in solution.status
    assert exploitability(P, solution.policy) <= 1e-14
    path = _central(Game(P, KLBall(np.zeros(size))), 1e-14)
    np.testing.assert_allclose(solution.policy, path, atol=1e-11)


def test_dense_lottery_with_ties_is_left_to_the_central_path() -> None:
    """Of a game with many lotteries the one of the central path is returned, as of any smaller one: clones alike."""
    P = np.kron(np.ones((2, 2)), random_game(101, 4))
    solution = maximal_lottery(P)
    assert "interior point" in solution.status
    np.testing.assert_allclose(solution.policy[:101], solution.policy[101:], atol=1e-12)
    tied = random_game(201, 1)
    tied[-1], tied[:, -1] = tied[0], tied[:, 0]
    tied[[0, -1, 0, -1], [-1, 0, 0, -1]] = 0.5  # two clones that are both played
    assert maximal_lottery(tied[:-1, :-1]).policy[0] > 1e-4
    assert "interior point" in maximal_lottery(tied).status


def test_a_support_that_nothing_leaves_indifferent_ends_as_a_law() -> None:
    """Of two one always wins: what comes nearest to indifference sums to 8/9."""
    even = np.full(2, 0.5)
    point = SimpleNamespace(pi=even, s=np.zeros(2), policy=lambda: even, complementarity=lambda: 0.0)
    game = Game(np.array([[0.5, 1.0], [0.0, 0.5]]), KLBall(np.zeros(2)))
    np.testing.assert_allclose(_crossover(game, point), even, rtol=1e-12)


def test_a_support_is_refused_where_it_has_not_the_only_lottery() -> None:
    """Clones outside of the support, both clones in it, an alternative too many or too few."""
    P = random_game(101, 4)
    lottery = maximal_lottery(P).policy
    support = np.flatnonzero(lottery)
    np.testing.assert_allclose(_only_lottery(P, support), lottery, atol=1e-12)
    cloned = np.kron(np.ones((2, 2)), P)
    assert _only_lottery(cloned, support) is None  # its clones do not lose
    assert _only_lottery(cloned, np.concatenate([support, support[:2] + 101])) is None  # singular
    assert _only_lottery(P, support[2:]) is None  # someone outside gains, or an entry is negative
    outside = np.flatnonzero(lottery == 0.0)
    wider = np.sort(np.append(support, outside[:2]))
    assert _only_lottery(P[np.ix_(wider, wider)], np.arange(wider.size)) is None  # nobody is outside, entries < 0


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
        (dense, 2.0, "support by regret matching and elimination; KL constraint inactive"),
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


@pytest.mark.parametrize(
    ("tau", "active", "expected"),
    [(1e-320, True, (0.3, 0.3, 0.4)), (1e-30, True, (0.3, 0.3, 0.4)), (1e8, False, (0.4, 0.4, 0.2)),
     (1e300, False, (0.4, 0.4, 0.2))],
)  # fmt: skip
def test_budgets_below_rounding_and_beyond_every_policy(tau: float, active: bool, expected) -> None:
    """Beyond log 1/.3 the ball holds every policy and the lottery is exact; a budget of 1e-320 still binds."""
    P = np.array([[0.5, 0.6, 0.3], [0.4, 0.5, 0.7], [0.7, 0.3, 0.5]])
    solution = nlhf(P, [0.3, 0.3, 0.4], tau)
    np.testing.assert_allclose(solution.policy, expected, atol=1e-12)
    assert solution.status.endswith("constraint active" if active else "inactive")


# --- errors


P3, THIRDS = random_game(3, 0), np.full(3, 1 / 3)
test_bad_input_is_named = bad_input_is_named(
    (lambda: maximal_lottery(P3 + 0.01 * np.outer([1, 0, 0], [0, 0, 1])), r"win_rates\[0, 2\]"),
    (lambda: nlhf(np.array([[0.5, 0.1], [1.9, 0.5]]), [0.5, 0.5], 0.1), r"win_rates\[1, 0\]"),
    (lambda: nlhf(P3, THIRDS, -1), "tau = -1"),
    (lambda: nlhf(P3, tau=1.0), "needs reference"),
    (lambda: nlhf(P3, [0.5, 0.0, 0.5], 1.0), r"reference\[1\] = 0"),
    (lambda: nlhf(P3, THIRDS, 1.0, log_reference=np.log(THIRDS)), "not both"),
    (lambda: nlhf_regularized(P3, THIRDS, 0.0), "weight"),
    (lambda: nlhf_regularized(P3, THIRDS, 5e-324), "weight = 5e-324 must lie between"),
    (lambda: nlhf_regularized(P3, None, 1.0), "needs reference"),
    (lambda: maximal_lottery(P3, tolerance=0.0), "tolerance"),
    (lambda: nlhf_cvxpy(P3, THIRDS, math.inf), "tau"),
)


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


def test_a_game_on_some_alternatives_has_the_budget_that_is_left():
    """KL(π‖π_ref) = KL(π‖π_ref on the support) − log π_ref(support), for policies on the support."""
    reference, support = np.array([0.1, 0.2, 0.3, 0.4]), np.array([1, 3])
    game = Game(random_game(4, 0), KLBall(np.log(reference), 0.8))
    part = game.on(support)
    assert part is not None
    policy = np.array([0.0, 0.7, 0.0, 0.3])
    left = part.ball.tau - part.ball.distance(policy[support])
    assert left == pytest.approx(0.8 - kl(policy, reference), abs=1e-14)
    np.testing.assert_array_equal(part.P, game.P[[1, 3]][:, [1, 3]])
    assert Game(game.P, KLBall(np.log(reference), 0.5)).on(support) is None  # 0.6 of the mass is more than 0.5 away
