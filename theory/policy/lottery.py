"""Maximal lotteries of degenerate games: a vertex by linear programming, and the lottery of maximum entropy.

The equilibria of the free game M = P − ½ (A, A) are the polytope {π ≥ 0, Σπ = 1, πᵀM ≥ 0}. With B the alternatives
that some equilibrium plays, every equilibrium leaves B indifferent, (πᵀM)(y) = 0 for y in B (its own equilibria play
y). Small integer margins make it degenerate: an alternative that no equilibrium plays may be as good as those played.

Shapes: A alternatives; policies are (A,); P is (A, A).
"""

from __future__ import annotations

from collections.abc import Iterator

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


def vertex_lotteries(P: Array) -> Iterator[Array]:
    """A vertex of the equilibria by HiGHS, then the same solved again on its support and its tight payoffs."""
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
    """The lottery of maximum entropy, π ∝ exp(θ-combination of the payoffs that are held at 0) on B.

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
            return policy, "maximum entropy"
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
