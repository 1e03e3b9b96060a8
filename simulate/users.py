"""Users who answer: win counts of n users who compare, drawn as sufficient statistics; voters who rank, one by one.

n users are types drawn from the population's weights; each answers d comparisons whose pairs are drawn
independently from the pair law. All that a rule needs is how often x beat y, and given the types those counts are
sums of independent coins: so types, pairs and wins are drawn as multinomial and binomial counts. The cost is
O(V·A²) whatever n is: 10¹² users cost what 10³ cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from theory.bradley_terry import Population, check_population
from theory.validate import Array, check_bt_beta, check_pair_weights, check_whole

Counts = NDArray[np.int64]

#: Comparisons are counted in int64; beyond this the counts would overflow.
MOST_COMPARISONS = 4 * 10**18


@lru_cache(maxsize=64)
def _upper_pairs(size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The pairs x < y of so many alternatives, as indices of rows and of columns."""
    return np.triu_indices(size, k=1)


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Win counts: wins[x, y] is how often x beat y, (A, A) int64, zero diagonal.

    Comparisons of an alternative with itself (product sampling draws them with probability μ(x)²) carry no
    information and are not in `wins`; `total` counts them too.
    """

    wins: Counts
    total: int

    @property
    def counts(self) -> Counts:
        """(A, A) how often x was compared with y, symmetric."""
        return self.wins + self.wins.T

    @property
    def unobserved(self) -> Counts:
        """(U, 2) the pairs x < y that were never compared."""
        return np.argwhere(np.triu(self.counts == 0, k=1))

    def win_rates(self, unobserved: float | None = None) -> Array:
        """Empirical P(x≻y) = wins/counts, (A, A), diagonal ½.

        unobserved: the win rate assumed for a pair that was never compared (½ says "a tie"). None: such a pair is a
        ValueError that names it, because whatever a rule makes of it is an assumption, not data.
        """
        if unobserved is None and (missing := self.unobserved).size:
            x, y = missing[0]
            raise ValueError(
                f"{len(missing)} pairs were never compared, the first is ({x}, {y}); say what to assume for them "
                "with unobserved="
            )
        if unobserved is not None and unobserved != 0.5:
            raise ValueError(f"unobserved = {unobserved}: only ½ keeps P(x≻y) + P(y≻x) = 1")
        rates = np.full(self.wins.shape, 0.5)
        upper = _upper_pairs(len(rates))
        wins, losses = self.wins[upper], self.wins.T[upper]
        # 1 − P on the lower triangle, so that the two orders add up to one exactly
        rates[upper] = np.divide(wins, wins + losses, out=np.full(wins.size, 0.5), where=wins + losses > 0)
        rates.T[upper] = 1.0 - rates[upper]
        return rates

    def pair_weights(self) -> Array:
        """Empirical law of the compared pair, (A, A), zero diagonal, sum one."""
        counts = self.counts
        return counts / counts.sum()


def sample_comparisons(
    population: Population,
    bt_beta: float,
    pair_weights: ArrayLike,
    n_users: int,
    per_user: int = 1,
    *,
    rng: np.random.Generator,
) -> Comparisons:
    """Win counts of `n_users` users who answer `per_user` comparisons each; O(V·A²) whatever n_users is.

    A user keeps one type for all of their comparisons, so with few users and many comparisons the counts are correlated
    through the types, as in reality (D14).

    Parameters
    ----------
    population : Population
        V types, A alternatives.
    bt_beta : float
        Slope of the Bradley–Terry choices, > 0.
    pair_weights : array_like, (A, A)
        Law of the compared pair, symmetric, sum 1; product or correlated.
    n_users, per_user : int
        ≥ 1, their product at most 4·10¹⁸.
    rng : numpy.random.Generator

    Returns
    -------
    Comparisons
        `.wins` (A, A), `.win_rates()`, `.pair_weights()`.

    Raises
    ------
    ValueError
        Counts outside their range, what is not a pair law.

    Examples
    --------
    >>> from simulate import generator, sample_comparisons
    >>> from theory.bradley_terry import Population
    >>> users, pairs = Population([[1.0, 0.5], [0.0, 0.5]]), [[0.25, 0.25], [0.25, 0.25]]
    >>> counts = sample_comparisons(users, 2.0, pairs, n_users=1000, rng=generator(0, "example"))
    >>> counts.total, int(counts.wins.sum())  # half of the pairs are an alternative with itself
    (1000, 493)
    """
    n_users, per_user = check_whole("n_users", n_users), check_whole("per_user", per_user)
    if n_users * per_user > MOST_COMPARISONS:
        raise ValueError(f"n_users * per_user = {n_users * per_user} exceeds {MOST_COMPARISONS} (int64 counts)")
    beta = check_bt_beta(bt_beta)
    U, weights = check_population(population).utilities, population.weights
    if weights[:-1].sum() > 1.0 + 1e-12:  # which a population may sum to, and numpy's draws may not
        weights = weights / weights.sum()
    A = U.shape[1]
    Q = check_pair_weights(pair_weights, A)
    rows, columns = _upper_pairs(A)
    pair_law = np.append(2.0 * Q[rows, columns], np.trace(Q))
    users = rng.multinomial(n_users, weights)
    asked = rng.multinomial(users * per_user, pair_law / pair_law.sum())[:, :-1]  # (V, pairs)
    first_wins = rng.binomial(asked, expit(beta * (U[:, rows] - U[:, columns])))
    wins = np.zeros((A, A), dtype=np.int64)
    wins[rows, columns] = first_wins.sum(axis=0)
    wins[columns, rows] = (asked - first_wins).sum(axis=0)
    return Comparisons(wins, n_users * per_user)


# Voters who rank: finite games, of which `theory.social_choice.rankings` has the population limits.


def sample_keys(population: Population, bt_beta: float, n_voters: int, rng: np.random.Generator) -> Array:
    """Gumbel keys (n_voters, A): sorted in decreasing order, a row is a Plackett–Luce ranking of its voter."""
    types = rng.choice(population.weights.size, size=n_voters, p=population.weights)
    U = population.utilities[types]
    return check_bt_beta(bt_beta) * U + rng.gumbel(size=U.shape)


def play_plurality_veto(keys: Array) -> int:
    """The winner of Plurality Veto (Kizilkaya, Kempe 2022) among voters with these keys (n_voters, A).

    Every alternative starts with its number of first places; alternatives with none are out. Voters, in order, take
    one point from their lowest alternative still standing; at zero it is out. The last one standing wins.
    """
    scores = np.bincount(keys.argmax(axis=1), minlength=keys.shape[1])
    standing = scores > 0
    masked = np.where(standing, keys, np.inf)
    for voter in range(keys.shape[0]):
        if standing.sum() == 1:
            break
        lowest = int(masked[voter].argmin())
        scores[lowest] -= 1
        if scores[lowest] == 0:
            standing[lowest] = False
            masked[voter + 1 :, lowest] = np.inf
    return int(np.flatnonzero(standing)[0])
