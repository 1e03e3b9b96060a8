"""Degenerate and faint games: integer margins, several equilibria, utilities down to 1e-12, gaps that mislead."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import cvxpy as cp
import numpy as np
import pytest
from scipy.special import xlogy

from tests.oracles.games import dirichlet, exploitability, penalty_gap, random_game
from theory.bradley_terry import Population
from theory.distortion.factors import linear_factor
from theory.distortion.measure import distortion
from theory.policy.kl_ball import kl
from theory.policy.lottery import exact_lotteries
from theory.policy.nash import maximal_lottery, nlhf, nlhf_regularized
from theory.policy.rewards import rlhf
from theory.solution import CertificateError, Solution, certified

#: An election of five alternatives and ten voters on which the central path stops early.
MARGINS = np.array([[0, 0, -5, 5, 5], [0, 0, 3, -3, -2], [5, -3, 0, 0, -5], [-5, 3, 0, 0, -3], [-5, 2, 5, 3, 0]])

#: Nine alternatives on which HiGHS goes round for ever: sign and 1 + digits of the margins above the diagonal, 0 a tie.
ENDLESS = """-4 9 0 3 -4 3 0 0 -9 0 9 10 -8 1 -6 0 -4 -6 0 0 6 -10 -5 -4 0 -9 6 -5 9 4 0 10 3 -5 2 0"""


def integer_game(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    size, largest = int(rng.integers(3, 12)), int(rng.integers(1, 4))
    upper = np.triu(rng.integers(-largest, largest + 1, (size, size)), 1)
    return 0.5 + (upper - upper.T) / (2 * largest)


def test_small_integer_margins_have_their_lottery() -> None:
    solution = maximal_lottery(0.5 + MARGINS / 10)
    np.testing.assert_allclose(solution.policy, np.array([12, 20, 2.5, 2.5, 0]) / 37, atol=1e-15)
    assert "linear program" in solution.status


def test_integer_games_never_fail() -> None:
    for seed in range(60):
        P = integer_game(seed)
        for order in (np.arange(P.shape[0]), np.random.default_rng(seed).permutation(P.shape[0])):
            game = P[np.ix_(order, order)]
            assert exploitability(game, maximal_lottery(game).policy) <= 1e-10


@pytest.mark.parametrize("seed", range(25))
def test_the_lottery_of_maximum_entropy(seed: int) -> None:
    """Against cvxpy, and the same whatever the order of the alternatives."""
    P = integer_game(seed)
    solution = maximal_lottery(P, choice="max_entropy")
    assert exploitability(P, solution.policy) <= 1e-10
    pi = cp.Variable(P.shape[0], nonneg=True)
    program = cp.Problem(cp.Maximize(cp.sum(cp.entr(pi))), [cp.sum(pi) == 1, pi @ (P - 0.5) >= 0])
    best = program.solve(solver="CLARABEL")
    entropy = -kl(solution.policy, np.full(P.shape[0], 1 / P.shape[0])) + math.log(P.shape[0])
    assert entropy == pytest.approx(best, abs=2e-5)  # CLARABEL stops near 1e-6
    np.testing.assert_allclose(solution.policy, pi.value, atol=5e-3)
    order = np.random.default_rng(seed).permutation(P.shape[0])
    turned = maximal_lottery(P[np.ix_(order, order)], choice="max_entropy").policy
    np.testing.assert_allclose(turned, solution.policy[order], atol=1e-10)


def test_maximum_entropy_by_hand() -> None:
    """Clones share their class, ties all of it, a Condorcet winner keeps it; a density has one lottery anyway."""
    cycle = 0.5 + np.array([[0.0, 0.3, -0.3], [-0.3, 0.0, 0.3], [0.3, -0.3, 0.0]])
    cloned = maximal_lottery(np.kron(np.ones((2, 2)), cycle), choice="max_entropy").policy
    np.testing.assert_allclose(cloned, 1 / 6, atol=1e-14)
    np.testing.assert_allclose(maximal_lottery(np.full((7, 7), 0.5), choice="max_entropy").policy, 1 / 7, atol=1e-15)
    P = random_game(9, 4)
    np.testing.assert_allclose(maximal_lottery(P, choice="max_entropy").policy, maximal_lottery(P).policy, atol=1e-9)
    # a and b tie and beat c by 0.2 and 0.4: half of each, though both are Condorcet winners in the weak sense
    weak = 0.5 + np.array([[0.0, 0.0, 0.2], [0.0, 0.0, 0.4], [-0.2, -0.4, 0.0]])
    np.testing.assert_allclose(maximal_lottery(weak, choice="max_entropy").policy, [0.5, 0.5, 0.0], atol=1e-14)
    with pytest.raises(ValueError, match="choice = 'best'"):
        maximal_lottery(P, choice="best")  # type: ignore[arg-type]


# --- margins of very different size, in integers


def pfaffian(M: list[list[Fraction]]) -> Fraction:
    """By expansion along the first row: the square root of the determinant of an antisymmetric matrix."""
    if not M:
        return Fraction(1)
    rest = [[i for i in range(1, len(M)) if i != j] for j in range(len(M))]
    terms = (
        (-1) ** (j + 1) * M[0][j] * pfaffian([[M[a][b] for b in rest[j]] for a in rest[j]]) for j in range(1, len(M))
    )
    return sum(terms, Fraction(0))


def lottery_by_supports(P: np.ndarray) -> list[float] | None:
    """Every odd support tried: π_i ∝ ± Pf(M without i) leaves it indifferent. None if no equilibrium is strict."""
    A = P.shape[0]
    M = [[(Fraction(float(P[x, y])) - Fraction(float(P[y, x]))) / 2 for y in range(A)] for x in range(A)]
    for support in (list(s) for size in range(1, A + 1, 2) for s in itertools.combinations(range(A), size)):
        others = [[x for x in support if x != i] for i in support]
        part = [(-1) ** k * pfaffian([[M[a][b] for b in o] for a in o]) for k, o in enumerate(others)]
        total = sum(part)
        if total and all(value / total > 0 for value in part):
            policy = dict(zip(support, (value / total for value in part), strict=True))
            gains = (sum(policy[y] * M[x][y] for y in support) for x in range(A) if x not in policy)
            if all(gain < 0 for gain in gains):
                return [float(policy.get(x, 0)) for x in range(A)]
    return None


@pytest.mark.parametrize("digits", [5, 9, 14])
def test_margins_of_every_size_have_their_lottery(digits: int) -> None:
    rng = np.random.default_rng(digits)
    exactly = 0
    for _ in range(15):
        size = int(rng.choice([3, 5, 7]))
        upper = np.triu(10.0 ** rng.uniform(-digits, 0, (size, size)) * rng.choice([-0.5, 0.5], (size, size)), 1)
        P = 0.5 + upper - upper.T
        (found,) = exact_lotteries(P)
        np.testing.assert_allclose(found, lottery_by_supports(P), rtol=1e-14)
        solution = maximal_lottery(P, choice="max_entropy")
        assert exploitability(P, solution.policy) <= 1e-9
        exactly += "in integers" in solution.status
    assert exactly > 0


def solved(rows: list[list[Fraction]]) -> list[Fraction] | None:
    """Of k equations (k + 1 entries each, the last the right side), by elimination; None where they are dependent."""
    rows, size = [row[:] for row in rows], len(rows)
    for at in range(size):
        pivot = next((k for k in range(at, size) if rows[k][at]), None)
        if pivot is None:
            return None
        rows[at], rows[pivot] = rows[pivot], rows[at]
        for k in range(size):
            if k != at:
                factor = rows[k][at] / rows[at][at]
                rows[k] = [value - factor * held for value, held in zip(rows[k], rows[at], strict=True)]
    return [rows[k][-1] / rows[k][k] for k in range(size)]


def vertices_by_hand(P: np.ndarray) -> set[tuple[float, ...]]:
    """Of π ≥ 0, πᵀM ≥ 0, Σπ = 1: every choice of A − 1 of the inequalities, taken for equations."""
    A = P.shape[0]
    M = [[(Fraction(float(P[x, y])) - Fraction(float(P[y, x]))) / 2 for y in range(A)] for x in range(A)]
    sides = [[Fraction(x == y) for x in range(A)] for y in range(A)] + [[M[x][y] for x in range(A)] for y in range(A)]
    found = set()
    for chosen in itertools.combinations(sides, A - 1):
        point = solved([[*side, Fraction(0)] for side in chosen] + [[Fraction(1)] * (A + 1)])
        if point and all(sum(a * x for a, x in zip(side, point, strict=True)) >= 0 for side in sides):
            found.add(tuple(map(float, point)))
    return found


def tied_game(seed: int, largest: int = 5) -> np.ndarray:
    """Margins of 1e-9 to 1, a third of them 0: several lotteries, which float64 does not tell from others."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(3, largest + 1))
    upper = np.triu(10.0 ** -rng.integers(0, 10, (size, size)) * rng.choice([-0.5, 0.0, 0.5], (size, size)), 1)
    return 0.5 + upper - upper.T


def test_a_game_on_which_a_solver_never_ends() -> None:
    digits = np.array(ENDLESS.split(), dtype=int)
    upper = np.zeros((9, 9))
    upper[np.triu_indices(9, 1)] = 0.5 * np.sign(digits) * 10.0 ** (1 - np.abs(digits))
    P = 0.5 + upper - upper.T
    assert exploitability(P, maximal_lottery(P, choice="max_entropy").policy) <= 1e-9


def test_all_vertices_in_integers() -> None:
    games = [game for game in map(integer_game, range(40)) if game.shape[0] <= 5]
    several = 0
    for P in [*games, *map(tied_game, range(20))]:
        found = [tuple(vertex) for vertex in exact_lotteries(P)]
        assert len(set(found)) == len(found)
        assert set(found) == vertices_by_hand(P)
        assert (len(found) == 1) == (lottery_by_supports(P) is not None)
        several += len(found) > 1
    assert several > 10
    assert len(list(exact_lotteries(np.full((20, 20), 0.5)))) == 20
    assert list(exact_lotteries(np.full((65, 65), 0.5))) == []


def test_several_lotteries_of_margins_of_every_size_are_mixed() -> None:
    """No vertex has a cross-entropy above the entropy: the condition of first order for the largest."""
    mixed = 0
    for seed in (34, 60, 63, 153, 166, 172, 183):
        P = tied_game(seed)
        solution = maximal_lottery(P, choice="max_entropy")
        assert exploitability(P, solution.policy) <= 1e-9
        if "vertices in integers" in solution.status:
            entropy = -float(xlogy(solution.policy, solution.policy).sum())
            vertices = np.array(sorted(vertices_by_hand(P)))
            assert (-xlogy(vertices, solution.policy).sum(axis=1)).max() <= entropy + 1e-12
            mixed += 1
    assert mixed == 6  # and of 34 HiGHS says that none is played


# --- faint games


@pytest.mark.parametrize("size", [1.0, 1e-3, 1e-6, 1e-9, 1e-10, 1e-12])
def test_the_certificate_shrinks_with_the_payoffs(size: float) -> None:
    """An absolute gap of 1e-9 says nothing at utilities of 1e-10: policies of distortion 2.9 > L(1) = 1.082 passed."""
    rng = np.random.default_rng(0)
    for _ in range(12):
        users = Population(rng.random((3, 6)) ** 3)
        faint = Population(size * users.utilities)
        P, ref = faint.win_rates(1.0), rng.dirichlet(np.ones(6))
        for tau in (math.inf, 2.0, 0.05):
            reference = ref if tau < math.inf else None
            solution = nlhf(P, reference, tau)
            assert distortion(faint, solution.policy, reference, tau) <= linear_factor(1.0) + 1e-9
            assert abs(solution.gap) <= 1e-6 * float(np.abs(P - 0.5).max())
        regularised = nlhf_regularized(P, ref, 0.3 * size)
        assert penalty_gap(P, regularised.policy, ref, 0.3 * size) <= 1e-9 * size + 1e-16
        if size >= 1e-9:  # RLHF is linear in faint utilities as well; below, win rates have lost the digits
            uniform = np.full((6, 6), 1 / 36)
            policy = rlhf(P, uniform, ref, 0.05)
            assert distortion(faint, policy, ref, 0.05) <= linear_factor(1.0) * (1.0 + 1e-3)
            assert kl(policy, ref) == pytest.approx(0.05, rel=1e-6)


def test_faint_games_are_scaled_exactly() -> None:
    """Margins over 2⁴⁰ are the same game: the same policy to the last digit, the gap over 2⁴⁰."""
    margins = np.round((random_game(8, 3) - 0.5) * 2**12) / 2**13  # few digits, so that ½ + margins/2⁴⁰ keeps them
    margins[0, 1], margins[1, 0] = 0.25, -0.25
    ref = dirichlet(8, 1)
    for solve in (maximal_lottery, lambda P: nlhf(P, ref, 0.1)):
        whole, faint = solve(0.5 + margins), solve(0.5 + margins / 2**40)
        np.testing.assert_array_equal(faint.policy, whole.policy)
        assert faint.gap == whole.gap / 2**40


def test_margins_that_cannot_be_read_are_refused() -> None:
    P = np.array([[0.5, 0.5 + 1e-10], [0.5 + 1e-11, 0.5]])
    with pytest.raises(ValueError, match=r"win_rates\[0, 1\] \+ win_rates\[1, 0\] misses 1 by 1.1e-10, too much"):
        maximal_lottery(P)


@pytest.mark.parametrize("weight", [1e4, 1e5, 1e8, 1e12, 1e15])
def test_heavy_penalties_are_certified(weight: float) -> None:
    """The gap is weight·KL to the best response, not a difference of two numbers of the size of the weight."""
    P, ref = random_game(6, 2), dirichlet(6, 2)
    solution = nlhf_regularized(P, ref, weight)
    assert 0.0 <= solution.gap <= 1e-11
    # to first order π = π_ref·(1 + (Mπ_ref − mean)/weight)
    payoffs = (P - 0.5) @ ref
    np.testing.assert_allclose(
        solution.policy, ref * (1.0 + (payoffs - ref @ payoffs) / weight), rtol=1 / weight**2 + 1e-15
    )


def test_a_negative_gap_certifies_nothing() -> None:
    half = np.array([0.5, 0.5])
    certified(Solution(half, 1e-10, -1e-10, "rounding"))
    with pytest.raises(CertificateError, match=r"gap -2.000e-09 is negative: the bound on the optimum is too weak"):
        certified(Solution(half, 2e-9, -2e-9, "weak"))
    with pytest.raises(CertificateError, match="exceeds"):
        certified(Solution(half, 0.0, math.nan, "none"))


@pytest.mark.parametrize("tau", [1e-3, 1.0, 1e6, 1e9, 1.9e9])
def test_gaps_at_a_distance_of_1e9_nats(tau: float) -> None:
    """At log π_ref = −2·10⁹ the best response used to be too weak to judge, and the gap came out negative."""
    P = np.array([[0.5, 0.6, 0.3, 0.2], [0.4, 0.5, 0.9, 0.7], [0.7, 0.1, 0.5, 0.4], [0.8, 0.3, 0.6, 0.5]])
    solution = nlhf(P, log_reference=np.array([0.0, -2e9, -1.5e9, -1e9]), tau=tau)
    assert -1e-12 <= solution.gap <= 1e-9
