"""Maximal lotteries of degenerate games: a vertex by linear programming, and the lottery of maximum entropy.

Both in float64 first. Where margins of very different size defeat that, by the simplex method in integers, exactly.

The equilibria of the free game M = P − ½ (A, A) are the polytope {π ≥ 0, Σπ = 1, πᵀM ≥ 0}. With B the alternatives
that some equilibrium plays, every equilibrium leaves B indifferent, (πᵀM)(y) = 0 for y in B (its own equilibria play
y). Small integer margins make it degenerate: an alternative that no equilibrium plays may be as good as those played.

Shapes: A alternatives; policies are (A,); P is (A, A).
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.special import softmax

from theory.solution import LP_OPTIONS, CertificateError
from theory.validate import Array

#: The size from which HiGHS's entries and payoffs are not zero.
NONZERO = 1e-7
#: Singular values and payoffs of this size, beside entries of M of order one, are zero.
ROUNDING = 1e-13
MAX_STEPS = 200
#: Alternatives up to which a game is solved in integers, of some thousand digits then; steps for each of them.
LARGEST_EXACT, EXACT_STEPS = 64, 20


def vertex_lotteries(P: Array) -> Iterator[Array]:
    """A vertex by HiGHS, the same solved again on its support and its tight payoffs, and one found in integers."""
    yield from _float_vertices(P)
    exact = exact_lottery(P)
    if exact is not None:
        yield exact[0]


def exact_lottery(P: Array) -> tuple[Array, bool] | None:
    """A vertex of the equilibria of the game ½(P − Pᵀ), and whether it is proved to be the only equilibrium.

    max Σx over x ≥ 0 with (c + M)x ≤ 1, c > max|M|, by the simplex method: x/Σx is an equilibrium, and the only one if
    all reduced costs are positive. The tableau holds integers over one denominator, the last pivot, which divides
    all that a step computes. None: too large a game, or no end.
    """
    A = P.shape[0]
    if A > LARGEST_EXACT:
        return None
    unit = max(x.as_integer_ratio()[1] for x in P.ravel().tolist())
    whole = np.array([[int(Fraction(x) * unit) for x in row] for row in P.tolist()], dtype=object)
    margins = whole - whole.T
    identity = np.array([[int(x == y) for x in range(A)] for y in range(A)], dtype=object)
    ones = np.full((A, 1), 1, dtype=object)
    tableau = np.vstack(
        [
            np.hstack([margins + (1 + int(np.abs(margins).max())), identity, ones]),
            np.array([-1] * A + [0] * (A + 1), dtype=object),
        ]
    )
    basis, denominator = np.arange(A, 2 * A), 1
    for _ in range(EXACT_STEPS * A):
        column = int(tableau[-1, :-1].argmin())
        if tableau[-1, column] >= 0:
            x = np.zeros(2 * A, dtype=object)
            x[basis] = tableau[:-1, -1]
            total = int(x[:A].sum())
            only = bool((np.delete(tableau[-1, :-1], basis) > 0).all())
            return np.array([float(Fraction(int(value), total)) for value in x[:A]]), only
        rising = [row for row in range(A) if tableau[row, column] > 0]
        row = min(rising, key=lambda row: Fraction(int(tableau[row, -1]), int(tableau[row, column])))
        pivot, held = tableau[row, column], tableau[row].copy()
        tableau = (pivot * tableau - np.outer(tableau[:, column], held)) // denominator
        tableau[row], basis[row], denominator = held, column, pivot
    return None


def _float_vertices(P: Array) -> Iterator[Array]:
    A = P.shape[0]
    found = linprog(
        np.append(np.zeros(A), -1.0),
        A_ub=np.hstack([0.5 - P.T, np.ones((A, 1))]),
        b_ub=np.zeros(A),
        A_eq=np.append(np.ones(A), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0.0, None)] * A + [(None, None)],
        options=LP_OPTIONS,
    )
    if found.x is None:
        return
    policy = np.maximum(found.x[:-1], 0.0)
    policy /= policy.sum()
    yield policy
    support = np.flatnonzero(policy > NONZERO)
    tight = np.flatnonzero(np.abs(policy @ (P - 0.5)) < NONZERO)
    system = np.vstack([P[np.ix_(support, tight)].T - 0.5, np.ones(support.size)])
    right = np.append(np.zeros(tight.size), 1.0)
    exact = np.zeros(A)
    exact[support] = policy[support] + np.linalg.lstsq(system, right - system @ policy[support], rcond=None)[0]
    if exact.min() >= 0.0:
        yield exact / exact.sum()


def most_mixed_lottery(P: Array, target: float) -> tuple[Array, str]:
    """The lottery of maximum entropy; where float64 does not find it, the only one there is, in integers."""
    try:
        policy, lost = _flattest_lottery(P, target), ""
        if float(np.max(policy @ (0.5 - P))) <= target:
            return policy, "maximum entropy"
    except CertificateError as error:
        policy, lost = None, str(error)
    exact = exact_lottery(P)
    if exact is not None and exact[1]:
        return exact[0], "the only lottery, in integers"
    if policy is None:
        raise CertificateError(lost)
    return policy, "maximum entropy"


def _flattest_lottery(P: Array, target: float) -> Array:
    """π ∝ exp(θ-combination of the payoffs that are held at 0) on B.

    The dual min_θ log Σ_B exp(Gθ) by Newton's method; the columns of G are M's on B, in an orthonormal basis, and those
    of other alternatives that would gain, each with θ ≥ 0, taken in and let go one at a time.
    """
    M = P - 0.5
    played = _played(M)
    rows = M[played]
    basis, sizes, _ = np.linalg.svd(rows[:, played])
    held = basis[:, : int(np.sum(sizes > ROUNDING * played.size))]
    rest = np.setdiff1d(np.arange(M.shape[0]), played)
    active: list[int] = []
    for _ in range(MAX_STEPS):
        theta = _flattest(np.hstack([held, rows[:, active]]))
        part = softmax(np.hstack([held, rows[:, active]]) @ theta)
        multipliers = theta[held.shape[1] :]
        payoffs = part @ rows[:, rest]
        if multipliers.size and multipliers.min() < 0.0:
            active.pop(int(multipliers.argmin()))
        elif payoffs.size and payoffs.min() < -0.1 * target and rest[payoffs.argmin()] not in active:
            active.append(int(rest[payoffs.argmin()]))
        else:
            policy = np.zeros(M.shape[0])
            policy[played] = part
            return policy
    raise CertificateError("maximum entropy: the alternatives that are held at payoff 0 did not settle")


def _played(M: Array) -> NDArray[np.intp]:
    """B: of all z ≥ 0 with zᵀM ≥ 0, a cone, one of most entries ≥ 1."""
    A = M.shape[0]
    # z = u + w with 0 ≤ u ≤ 1 and w ≥ 0: the largest Σu has u = 1 wherever an equilibrium has mass
    found = linprog(
        np.append(-np.ones(A), np.zeros(A)),
        A_ub=-np.hstack([M.T, M.T]),
        b_ub=np.zeros(A),
        bounds=[(0.0, 1.0)] * A + [(0.0, None)] * A,
        options=LP_OPTIONS,
    )
    if found.x is None:
        raise CertificateError(f"maximum entropy: HiGHS stopped without a point: {found.message}")
    return np.flatnonzero(found.x[:A] > 0.5)


def _flattest(G: Array) -> Array:
    """argmin_θ log Σ exp(Gθ) for G (B, k) of full column rank: Newton's method with halved steps."""
    theta = np.zeros(G.shape[1])

    def value(at: Array) -> float:
        return float(np.logaddexp.reduce(G @ at))

    for _ in range(MAX_STEPS):
        part = softmax(G @ theta)
        slope = part @ G
        if np.abs(slope).max(initial=0.0) <= 1e-17:
            break
        step = -np.linalg.lstsq((G.T * part) @ G - np.outer(slope, slope), slope, rcond=1e-15)[0]
        length, here, fall = 1.0, value(theta), float(slope @ step)
        while value(theta + length * step) > here + 0.1 * length * fall + 1e-15 * abs(here) and length > 1e-12:
            length *= 0.5
        moved = theta + length * step
        if np.abs(softmax(G @ moved) @ G).max() >= np.abs(slope).max() and np.abs(slope).max() < ROUNDING:
            break  # rounding has the last word
        theta = moved
    return theta
