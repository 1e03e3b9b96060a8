"""The lottery of a dense game: its support by regret matching and elimination, then one linear system, exactly.

An equilibrium π of the free game M = P − ½ (A, A) that is the only one solves a linear system on its support B: M_BB
π_B = 0, Σπ_B = 1, and every alternative outside loses to it. Games drawn from a density have about A/2 alternatives in
B, and the central path pays some fifteen factorisations of the whole of M to tell them apart. Here:

1. Predictive regret matching⁺ with averages of weight t² (Farina, Kroer, Sandholm, AAAI 2021), one product with M a
   step, says of most alternatives whether they are in B.
2. What is surely in B, S with |S| odd, is eliminated. With N = [[M_SS, −1], [1ᵀ, 0]], the doubtful ones U and the value
   ν, indifference on S reads (π_S, ν) = N⁻¹(t·e − F π_U), F = [M_SU; 1ᵀ], e the last unit vector and t = Σπ. Since N⁻¹
   is antisymmetric, what remains is again an antisymmetric game, of U and of S as one alternative played t times:

       [[M_UU + FᵀN⁻¹F, −FᵀN⁻¹e], [(FᵀN⁻¹e)ᵀ, 0]].

   The central path of this small game decides about U.
3. Alternatives that were taken for sure and are not (π_S < 0, or a gain outside) are doubtful in the next round; with
   each round the doubtful are fewer. Two rounds are usual.

Only a policy that is proved to be the one equilibrium is returned: the system on B is well conditioned, π_B > 0, and
every other alternative loses. Ties and clones fail that, and are left to the central path.

Shapes: A alternatives; policies and payoffs are (A,); P and M are (A, A).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dgecon, dgetrf, dgetrs

from theory.validate import Array

Indices = NDArray[np.intp]
#: Win rates of a game, and a gap ↦ a policy of no larger gap.
Central = Callable[[Array, float], Array]

#: Steps of regret matching, and after how many each time it asks whether to go on.
STEPS, LOOK = 100, 10
#: The doubtful, as a share of the alternatives; after a round with fewer mistakes than FEW, half of that.
DOUBTFUL, FEW = 0.2, 0.01
MAX_ROUNDS = 8
#: Gaps of the small games, in the first round and later. In large games the first has mistakes in any case.
ROUGH, EXACT = 1e-6, 1e-15
#: A support below this share of the alternatives is cheaper to grow than to cut.
DENSE = 0.25
#: Probabilities, losses and reciprocal condition numbers above this are not zero but for rounding.
STRICT = 1e-11


def dense_lottery(P: Array, central: Central, promising: Callable[[Array], bool]) -> Array | None:
    """The lottery of P where it is the only one and found; else None.

    central    what solves the small games
    promising  the average policy so far ↦ whether it pays to go on
    """
    M, A = P - 0.5, P.shape[0]
    matched = _regret_matching(M, promising)
    if matched is None:
        return None
    score, mistaken = _score(*matched), np.zeros(A, dtype=bool)
    if np.count_nonzero(score > 0.0) < DENSE * A:
        return None
    for turn in range(MAX_ROUNDS):
        share = DOUBTFUL if turn == 0 or mistaken.mean() > FEW else 0.5 * DOUBTFUL
        sure, doubtful = _divide(score, mistaken, int(share * A))
        gap = ROUGH if turn == 0 else EXACT
        policy = _eliminate(M, sure, doubtful, central, gap)
        if policy is None:
            return None
        payoffs = M @ policy
        mistaken = payoffs >= 0.0
        mistaken[doubtful] = False
        mistaken[sure] = policy[sure] <= 0.0
        score = _score(np.maximum(policy, 0.0), np.minimum(payoffs, 0.0))
        if not mistaken.any():
            found = _only_lottery(P, np.flatnonzero(score > 0.0))
            if found is not None or gap == EXACT:
                return found
    return None


def _only_lottery(P: Array, support: Indices) -> Array | None:
    """The policy on the support that leaves it indifferent, where that is the only equilibrium; else None."""
    system = _indifference(_part(P, support, support) - 0.5)
    norm = float(np.abs(system).sum(axis=0).max())
    factors, pivots, _ = dgetrf(system, overwrite_a=True)
    if dgecon(factors, norm)[0] < STRICT:
        return None
    policy = np.zeros(P.shape[0])
    policy[support] = dgetrs(factors, pivots, np.append(np.zeros(support.size), 1.0))[0][:-1]
    if not policy[support].min() > STRICT:
        return None
    policy /= policy.sum()
    payoffs = P @ policy - 0.5
    payoffs[support] = -1.0
    return policy if payoffs.max() < -STRICT else None


def _regret_matching(M: Array, promising: Callable[[Array], bool]) -> tuple[Array, Array] | None:
    """The average policy and its payoffs; None as soon as it is not promising.

    In single precision: half the memory to read in a step, and what is said is checked by what follows.
    """
    A, single = M.shape[0], M.astype(np.float32)
    policy, regret = np.full(A, 1.0 / A, dtype=np.float32), np.zeros(A, dtype=np.float32)
    policies, payoffs = np.zeros(A), np.zeros(A)
    for t in range(1, STEPS + 1):
        gains = single @ policy
        policies += t * t * policy
        payoffs += t * t * gains
        gains -= policy @ gains
        regret = np.maximum(regret + gains, 0.0)
        ahead = np.maximum(regret + gains, 0.0)  # as if the next gains were these
        if t % LOOK == 0 and not promising(policies / policies.sum()):
            return None
        if not (total := ahead.sum()) > 0.0:
            break
        policy = ahead / total
    weight = policies.sum()
    return policies / weight, payoffs / weight


def _score(policy: Array, payoffs: Array) -> Array:
    """How surely each alternative is played, > 0, or not, < 0: its probability and its payoff, each over its size."""
    return policy / np.sqrt(np.mean(policy**2)) + payoffs / max(np.sqrt(np.mean(payoffs**2)), 1e-300)


def _divide(score: Array, mistaken: NDArray[np.bool_], count: int) -> tuple[Indices, Indices]:
    """The alternatives that are surely played, an odd number of them, and the doubtful: mistakes, then
    low scores."""
    order = np.argsort(np.where(mistaken, -1.0, np.abs(score)), kind="stable")
    doubtful, rest = order[:count], order[count:]
    sure = rest[score[rest] > 0.0]  # by score
    if sure.size % 2 == 0:
        doubtful, sure = np.append(doubtful, sure[:1]), sure[1:]
    return np.sort(sure), np.sort(doubtful)


def _eliminate(M: Array, sure: Indices, doubtful: Indices, central: Central, gap: float) -> Array | None:
    """The policy that leaves the sure indifferent and is an equilibrium among the doubtful, but for a gap; None if it
    plays no sure.

    Its entries at `sure` may be negative, and others may gain against it.
    """
    n, k = sure.size, doubtful.size
    if n < 3:
        return None
    factors, pivots, _ = dgetrf(_indifference(_part(M, sure, sure)), overwrite_a=True)
    # N (π_S, ν) = R (π_U, t)
    right = np.zeros((n + 1, k + 1), order="F")
    right[:n, :k] = -_part(M, sure, doubtful)
    right[n, :k], right[n, k] = -1.0, 1.0
    followed = dgetrs(factors, pivots, right)[0]
    small = np.zeros((k + 1, k + 1))
    small[:k] = right[:, :k].T @ followed
    small[:k, :k] += _part(M, doubtful, doubtful)
    small[k, :k] = -small[:k, k]
    small = 0.5 * (small - small.T)
    # S as one alternative gains little: counted in a unit of its own, its payoffs are as large as the others'
    unit = np.abs(small[:k, :k]).max() / max(np.abs(small[k]).max(), 1e-300)
    small[k] *= unit
    small[:, k] *= unit
    size = np.abs(small).max()
    if not 0.0 < size < np.inf:
        return None
    part = central(0.5 + small / (2.0 * size), gap)
    part[k] *= unit
    if not part[k] > 0.0:
        return None
    policy = np.zeros(M.shape[0])
    policy[doubtful] = part[:k] / part[k]
    policy[sure] = (followed @ part)[:n] / part[k]
    return policy


def _part(M: Array, rows: Indices, columns: Indices) -> Array:
    """M[np.ix_(rows, columns)], in half its time."""
    return M.take(rows, axis=0).take(columns, axis=1)


def _indifference(M: Array) -> Array:
    """[[M, −1], [1ᵀ, 0]], in the order of LAPACK."""
    n = M.shape[0]
    system = np.zeros((n + 1, n + 1), order="F")
    system[:n, :n] = M
    system[:n, n], system[n, :n] = -1.0, 1.0
    return system
