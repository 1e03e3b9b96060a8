"""What the audit knows: win rates, or an interval for each, of the pairs of alternatives that were compared.

    P(x≻y) = E σ(bt_beta (U_x − U_y)) ∈ [low[x,y], high[x,y]]      for every compared pair

Exact win rates give low = high; counts give intervals that hold together with the stated confidence; a pair
that was never compared carries no constraint. Shapes: A alternatives, p compared pairs (first < second), N
types.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv
from scipy.stats import hypergeom

from theory.numerics import centred_sigmoid
from theory.validate import Array, check_between, check_square, check_whole

#: Answers per user beyond which `user_half_width` uses the plain bound only.
MAX_PER_USER = 100_000
#: Most answers of one kind: beyond it they are not counted exactly.
LARGEST_COUNT = 1e15


@dataclass(frozen=True, eq=False)
class Observed:
    """Intervals for the win rates of the compared pairs.

    size           A
    bt_beta        the users' temperature
    first, second  (p,) integers, first < second
    low, high      (p,) interval of P(first ≻ second)
    """

    size: int
    bt_beta: float
    first: np.ndarray
    second: np.ndarray
    low: Array
    high: Array

    def margins(self, U: Array) -> Array:
        """σ(bt_beta (U_first − U_second)) − ½ of types U (N, A), shape (N, p); odd in floating point too."""
        return centred_sigmoid(self.bt_beta * (U[:, self.first] - U[:, self.second]))

    def ordered(self) -> tuple[np.ndarray, np.ndarray, Array]:
        """The pairs in both orders, x (2p,) and y (2p,), and the largest P(x≻y) − ½ (2p,) of each."""
        x, y = np.r_[self.first, self.second], np.r_[self.second, self.first]
        return x, y, np.r_[self.high - 0.5, 0.5 - self.low]

    def violation(self, P: Array) -> float:
        """Largest distance of a win-rate matrix (A, A) from the intervals; 0 without compared pairs."""
        values = P[self.first, self.second]
        return float(np.maximum(self.low - values, values - self.high).max(initial=0.0))

    def restrict(self, alternatives: np.ndarray) -> Observed:
        """What is known of a subset of the alternatives, renumbered in the given (ascending) order."""
        position = np.full(self.size, -1)
        position[alternatives] = np.arange(alternatives.size)
        keep = (position[self.first] >= 0) & (position[self.second] >= 0)
        pairs = position[self.first[keep]], position[self.second[keep]]
        return Observed(alternatives.size, self.bt_beta, *pairs, self.low[keep], self.high[keep])

    def pair_name(self, pair: int) -> str:
        """`P(x≻y) in [low, high]` of one pair, for error messages."""
        x, y, low, high = self.first[pair], self.second[pair], self.low[pair], self.high[pair]
        return f"win_rates[{x}, {y}] = {low}" if low == high else f"win_rates[{x}, {y}] in [{low:.6g}, {high:.6g}]"


def ratio_bound(ratio: float, excess: float, floor: float) -> float:
    """Bound of q·u/π·u where q·u − ratio·π·u ≤ excess and π·u ≥ floor: ratio + excess⁺/floor, which may be inf."""
    if excess <= 0:
        return ratio
    return ratio + excess / floor if floor > 0 else math.inf


def from_win_rates(P: Array, bt_beta: float) -> Observed:
    """Exact win rates (A, A), P(x≻y) + P(y≻x) = 1: every interval is a point."""
    first, second = np.triu_indices(P.shape[0], 1)
    values = P[first, second]
    return Observed(P.shape[0], bt_beta, first, second, values, values)


def from_counts(counts: ArrayLike, bt_beta: float, n_users: int | None, confidence: float) -> Observed:
    """Simultaneous confidence intervals for the win rates of all compared pairs.

    counts[x, y]  how often x beat y, a nonnegative integer, (A, A); the diagonal says nothing about win rates
    n_users       users who gave the answers; None, or at least the number of comparisons: one answer per user
    confidence    in (0, 1): the probability that every interval covers; a union bound spreads 1 − confidence
                  evenly over the compared pairs

    One answer per user: the wins of a pair are binomial, and the interval is Clopper–Pearson's. Several
    answers per user: see `user_half_width`. ValueError names an entry of `counts` that is not a count, and a
    bad n_users.
    """
    table = check_square("counts", counts)
    bad = (table < 0) | (table != np.floor(table))
    if bad.any():
        x, y = np.argwhere(bad)[0]
        raise ValueError(f"counts[{x}, {y}] = {table[x, y]} is not a nonnegative integer")
    check_between("confidence", confidence, ends="()")
    if table.max() > LARGEST_COUNT:
        x, y = np.unravel_index(int(table.argmax()), table.shape)
        raise ValueError(f"counts[{x}, {y}] = {table[x, y]:g} must be at most {LARGEST_COUNT:g}")
    if n_users is not None:
        n_users = check_whole("n_users", n_users)
    first, second = np.triu_indices(table.shape[0], 1)
    compared = table[first, second] + table[second, first] > 0
    first, second = first[compared], second[compared]
    wins, losses = table[first, second], table[second, first]
    n = wins + losses
    risk = (1.0 - confidence) / max(1, n.size)
    total = int(table.sum())
    if n_users is None or n_users >= total:
        # Clopper–Pearson; the beta quantiles are written so that no wins give 0 and no losses 1 exactly.
        low = np.where(wins > 0, betaincinv(np.maximum(wins, 1), losses + 1, risk / 2), 0.0)
        high = np.where(losses > 0, betaincinv(wins + 1, np.maximum(losses, 1), 1 - risk / 2), 1.0)
    else:
        width = np.array([user_half_width(int(m), total, int(n_users), risk) for m in n])
        low, high = np.maximum(0.0, wins / n - width), np.minimum(1.0, wins / n + width)
    return Observed(table.shape[0], bt_beta, first, second, low, high)


def users_of(total: int, most: int) -> int | None:
    """The largest n_users at which ⌈total/n_users⌉ is at least `most`, what the busiest user answered.

    So the bound of `user_half_width` holds for users of unequal zeal; None where nobody answered twice.
    """
    return None if most <= 1 else max(1, -(-total // (most - 1)) - 1)


def user_half_width(n: int, total: int, n_users: int, risk: float) -> float:
    """Half width t of an interval wins/n ± t for one pair's win rate when users answer several comparisons.

    Assumptions: users are independent draws from the population; each answers at most d = ⌈total/n_users⌉
    comparisons; the pairs are drawn independently from one law, whoever answers. Then the win rate is covered
    with probability at least 1 − risk.

    Proof. Let k_i be the number of the pair's n comparisons that user i answers. Given (k_i), the wins are a
    sum of independent terms in [0, k_i] with mean k_i·P, so Hoeffding gives
    Pr(|wins/n − P| ≥ t) ≤ 2 exp(−2n²t²/Σk_i²). Always Σk_i² ≤ d·n. Given n, the n comparisons are a uniform
    subset of the `total` slots, so the k_i are hypergeometric and negatively associated. With
    X_i = k_i(k_i − 1) ∈ [0, d(d−1)], Σk_i² = n + ΣX_i, and Bernstein's inequality for negatively associated
    terms bounds ΣX_i with probability 1 − risk/2; the other half of the risk goes to Hoeffding. The smaller
    of the two widths is chosen from n and total alone, hence not by the answers. D14's uniform bound is valid
    as well, but vacuous at practical sizes.

    n: comparisons of the pair, ≥ 1; total: all comparisons; n_users < total; risk in (0, 1).
    """
    d = -(-total // n_users)
    plain = d * n * np.log(2 / risk)
    if d > MAX_PER_USER:
        return float(np.sqrt(plain / 2) / n)
    k = np.arange(min(d, n) + 1)
    share = hypergeom.pmf(k, total, n, d)
    X = k * (k - 1.0)
    log_term = np.log(2 / risk)
    excess = n_users * share @ X + np.sqrt(2 * n_users * (share @ X**2) * log_term) + d * (d - 1) * log_term / 3
    spread = (n + excess) * np.log(4 / risk)
    return float(np.sqrt(min(plain, spread) / 2) / n)
