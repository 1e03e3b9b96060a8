"""Maximal lotteries of degenerate games: a vertex by linear programming, and the lottery of maximum entropy.

Both in float64 first. Where margins of very different size defeat that, by the simplex method in integers, exactly: it
walks through all vertices, and the lottery of maximum entropy is a mixture of them.

The equilibria of the free game M = P − ½ (A, A) are the polytope {π ≥ 0, Σπ = 1, πᵀM ≥ 0}. With B the alternatives
that some equilibrium plays, every equilibrium leaves B indifferent, (πᵀM)(y) = 0 for y in B (its own equilibria play
y). Small integer margins make it degenerate: an alternative that no equilibrium plays may be as good as those played.

Shapes: A alternatives; policies are (A,); P is (A, A).
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations, islice

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import bisect, linprog
from scipy.special import softmax, xlogy

from theory.solution import LP_OPTIONS, CertificateError
from theory.validate import Array

#: The size from which HiGHS's entries and payoffs are not zero.
NONZERO = 1e-7
#: Singular values and payoffs of this size, beside entries of M of order one, are zero.
ROUNDING = 1e-13
MAX_STEPS = 200
#: Alternatives up to which a game is solved in integers, of some thousand digits then; steps for each of them.
LARGEST_EXACT, EXACT_STEPS = 64, 20
#: Steps of HiGHS for each alternative: it goes round for ever on some margins of very different size.
HIGHS_STEPS = 100
#: Bases of equilibria that are looked through, and by how much a mixture of vertices may miss the largest entropy.
MOST_BASES, MIXED = 2000, 1e-14
#: Integers over a denominator, constraints and last the reduced costs; which column each constraint holds; the former.
Tableau = tuple[NDArray[np.object_], NDArray[np.intp], int]


def vertex_lotteries(P: Array) -> Iterator[Array]:
    """A vertex by HiGHS, the same solved again on its support and its tight payoffs, and one found in integers."""
    yield from _float_vertices(P)
    yield from islice(exact_lotteries(P), 1)


def exact_lotteries(P: Array) -> Iterator[Array]:
    """The vertices of the equilibria of the game ½(P − Pᵀ), each once; none for too large a game.

    From one optimal basis of the program to the next, over columns whose reduced cost is 0. CertificateError beyond
    `MOST_BASES` of them.
    """
    tableau = _optimum(P)
    if tableau is None:
        return
    ahead, bases, vertices = [tableau], {frozenset(tableau[1].tolist())}, set()
    while ahead:
        tableau = ahead.pop()
        entries, basis, _ = tableau
        if (vertex := _vertex(tableau)) not in vertices:
            vertices.add(vertex)
            yield np.array([float(share) for share in vertex])
        for column in np.setdiff1d(np.flatnonzero(entries[-1, :-1] == 0), basis).tolist():
            row = _leaving(entries, column)
            after = frozenset({*basis.tolist(), column} - {int(basis[row])})
            if after not in bases:
                bases.add(after)
                ahead.append(_pivoted(tableau, row, column))
        if len(bases) > MOST_BASES:
            raise CertificateError(f"maximum entropy: the lotteries have more than {MOST_BASES} bases")


def _optimum(P: Array) -> Tableau | None:
    """max Σx over x ≥ 0 with (c + M)x ≤ 1, c > max|M|, by the simplex method: x/Σx is an equilibrium.

    The tableau's denominator is the last pivot, which divides all that a step computes. None: too large, or no end.
    """
    A = P.shape[0]
    if A > LARGEST_EXACT:
        return None
    unit = max(x.as_integer_ratio()[1] for x in P.ravel().tolist())
    whole = np.array([[int(Fraction(x) * unit) for x in row] for row in P.tolist()], dtype=object)
    margins = whole - whole.T
    identity = np.array([[int(x == y) for x in range(A)] for y in range(A)], dtype=object)
    ones = np.full((A, 1), 1, dtype=object)
    entries = np.vstack(
        [
            np.hstack([margins + (1 + int(np.abs(margins).max())), identity, ones]),
            np.array([-1] * A + [0] * (A + 1), dtype=object),
        ]
    )
    tableau: Tableau = entries, np.arange(A, 2 * A), 1
    for _ in range(EXACT_STEPS * A):
        column = int(tableau[0][-1, :-1].argmin())
        if tableau[0][-1, column] >= 0:
            return tableau
        tableau = _pivoted(tableau, _leaving(tableau[0], column), column)
    return None


def _leaving(entries: NDArray[np.object_], column: int) -> int:
    """The constraint that lets go of its column first as this one rises; of ties, the first in lexicographic order.

    So nothing cycles, and ties do not multiply the bases: those met are of a polytope without ties, close to this one.
    """
    A = len(entries) - 1
    rows = [row for row in range(A) if entries[row, column] > 0]
    for compared in (-1, *range(A, 2 * A)):
        ratios = [Fraction(int(entries[row, compared]), int(entries[row, column])) for row in rows]
        rows = [row for row, ratio in zip(rows, ratios, strict=True) if ratio == min(ratios)]
        if len(rows) == 1:
            break
    return rows[0]


def _pivoted(tableau: Tableau, row: int, column: int) -> Tableau:
    """The tableau in which the constraint holds this column."""
    entries, basis, denominator = tableau
    pivot = entries[row, column]
    after = (pivot * entries - np.outer(entries[:, column], entries[row])) // denominator
    after[row] = entries[row]
    held = basis.copy()
    held[row] = column
    return after, held, pivot


def _vertex(tableau: Tableau) -> tuple[Fraction, ...]:
    """x/Σx."""
    entries, basis, _ = tableau
    x = np.zeros(2 * basis.size, dtype=object)
    x[basis] = entries[:-1, -1]
    total = int(x[: basis.size].sum())
    return tuple(Fraction(int(value), total) for value in x[: basis.size])


def _float_vertices(P: Array) -> Iterator[Array]:
    A = P.shape[0]
    found = linprog(
        np.append(np.zeros(A), -1.0),
        A_ub=np.hstack([0.5 - P.T, np.ones((A, 1))]),
        b_ub=np.zeros(A),
        A_eq=np.append(np.ones(A), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0.0, None)] * A + [(None, None)],
        options=LP_OPTIONS | {"maxiter": HIGHS_STEPS * A},
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
    """The lottery of maximum entropy; where float64 does not find it, the only one there is, or a mixture of all
    vertices, in integers."""
    try:
        policy, lost = _flattest_lottery(P, target), ""
        if float(np.max(policy @ (0.5 - P))) <= target:
            return policy, "maximum entropy"
    except CertificateError as error:
        policy, lost = None, str(error)
    vertices = list(exact_lotteries(P))
    if len(vertices) == 1:
        return vertices[0], "the only lottery, in integers"
    if vertices:
        return _most_mixed(np.array(vertices)), f"maximum entropy, of {len(vertices)} vertices in integers"
    if policy is None:
        raise CertificateError(lost)
    return policy, "maximum entropy"


def _most_mixed(vertices: Array) -> Array:
    """The mixture (A,) of vertices (k, A) of largest entropy: weight is moved between two of them, pair by pair."""
    weights = np.full(len(vertices), 1.0 / len(vertices))
    for _ in range(MAX_STEPS):
        for first, second in combinations(range(len(vertices)), 2):
            total, step = weights[first] + weights[second], vertices[first] - vertices[second]
            weights[[first, second]] = 0.0, total
            without = weights @ vertices

            def slope(weight: float, step: Array = step, without: Array = without) -> float:
                return -float(xlogy(step, without + weight * step).sum())

            if slope(0.0) <= 0.0:
                continue
            moved = total if slope(total) >= 0.0 else float(bisect(slope, 0.0, total, xtol=1e-18, maxiter=MAX_STEPS))
            weights[[first, second]] = moved, total - moved
        policy = weights @ vertices
        gains = -xlogy(vertices, policy).sum(axis=1)
        if gains.max() - weights @ gains <= MIXED:
            break
    return policy / policy.sum()


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
    met: set[frozenset[int]] = set()
    while frozenset(active) not in met and len(met) < MAX_STEPS:  # a set met again comes again for ever
        met.add(frozenset(active))
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
        options=LP_OPTIONS | {"maxiter": HIGHS_STEPS * A},
    )
    if not found.success:
        raise CertificateError(f"maximum entropy: HiGHS stopped without a point: {found.message}")
    played = np.flatnonzero(found.x[:A] > 0.5)
    if played.size == 0:
        raise CertificateError("maximum entropy: HiGHS found no alternative that an equilibrium plays")
    return played


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
