"""Are the users of one kind? A permutation test on who answered what, and how they would divide.

Users of one kind with equal win rates answer every pair independently, so within a pair it does not matter who gave
which answer: the answers may be dealt again among those who gave them. Users of several kinds answer several pairs
alike. With r[i, j] the sum of user i's answers on pair j, each less the pair's mean,

    T = Σ_{j≠k} (Σ_i r[i, j] r[i, k])²

is large then, and the share of deals with a T at least as large is an exact p-value. How users divide is told by the
signs of their answers along the leading eigenvector of those products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theory.validate import Array

Index = NDArray[np.int64]
#: Largest table of users and pairs.
MOST_CELLS = 10**8


@dataclass(frozen=True, eq=False)
class Kinds:
    """p_value of "one kind"; users and pairs that tell; side (users,): ±1, 0 where a user's answers say nothing.

    lean  (pairs,) the leading eigenvector: on which pairs the two sides differ, and which way
    """

    p_value: float
    n_users: int
    n_pairs: int
    side: Array
    lean: Array

    @property
    def share(self) -> float:
        """Of the larger side, of those that are on one."""
        return float(max((self.side > 0).sum(), (self.side < 0).sum()) / max(1, (self.side != 0).sum()))


def kinds_of_users(user: Index, pair: Index, won: Array, rng: np.random.Generator, deals: int = 999) -> Kinds | None:
    """The test on N answers; None where no two pairs were answered by two users each, or no user answered two of them,
    or there are more than `MOST_CELLS` users × pairs.

    A user who answered one pair alone is in no product of two: their answers are dealt, and are not in the table.

    user, pair  (N,) numbers from 0;  won  (N,) 1 where the pair's first alternative won, else 0
    """
    answered = np.unique(np.stack([pair, user]), axis=1)[0]
    telling = np.bincount(answered, minlength=int(pair.max()) + 1) > 1
    keep = telling[pair]
    if telling.sum() < 2:
        return None
    user, pair = (np.unique(values[keep], return_inverse=True)[1] for values in (user, pair))
    answers = np.asarray(won, dtype=np.float64)[keep]
    users, pairs = int(user.max()) + 1, int(pair.max()) + 1
    centred = answers - (np.bincount(pair, answers) / np.bincount(pair))[pair]
    several = np.bincount(np.unique(user * pairs + pair) // pairs, minlength=users) > 1
    rows = int(several.sum())
    if not 0 < rows * pairs <= MOST_CELLS:
        return None
    inside = several[user]
    cell = (np.cumsum(several) - 1)[user[inside]] * pairs + pair[inside]

    def table(values: Array) -> Array:
        sums = np.bincount(cell, values[inside], minlength=rows * pairs)
        return np.asarray(sums.reshape(rows, pairs), dtype=np.float64)

    def statistic(values: Array) -> float:
        R = table(values)
        products = R @ R.T if rows < pairs else R.T @ R
        return float((products**2).sum() - ((R**2).sum(axis=0) ** 2).sum())

    order, found = np.argsort(pair, kind="stable"), statistic(centred)
    beyond = 0
    dealt = np.empty_like(centred)
    for _ in range(deals):
        dealt[order] = centred[np.lexsort((rng.random(pair.size), pair))]
        beyond += statistic(dealt) >= found * (1.0 - 1e-12)
    R = table(centred)
    products = R.T @ R
    np.fill_diagonal(products, 0.0)
    lean = np.linalg.eigh(products)[1][:, -1]
    side = np.sign(np.round(np.bincount(user, centred * lean[pair], minlength=users), 12))
    return Kinds((1 + beyond) / (1 + deals), users, pairs, side, lean)
