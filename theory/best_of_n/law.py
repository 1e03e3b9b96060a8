"""Best-of-N: its law, its win rate, its KL to the base policy, and its reward, for finite and mixed reward laws.

Draw N responses from π and keep the one of highest reward, ties at random. With F(y) the probability that one
draw's reward is at most y's, and F₋(y) that it is lower,

    π_N(reward level of y) = F^N − F₋^N                   split inside a level as π splits it            (B1)
    win rate against π     = Σ_levels (F^N − F₋^N)(F₋ + ties·p),  p = F − F₋                              (B1)
    KL(π_N‖π)              = Σ_levels (F^N − F₋^N) log((F^N − F₋^N)/p) ≤ log N − (N − 1)/N                (B2)

N/(N + 1) and log N − (N − 1)/N are the values without atoms; for N ≥ 2 every atom lowers both strictly, the win
rate with ties = ½ or less. A reward law that is neither finite nor continuous enters by its atoms: the intervals
(F₋, F) of quantile levels they cover.

Sources: the law and the bound are folklore of Best-of-N, with the gap of the bound as in Beirami et al.
(arXiv 2401.01879); the exact value for mixed laws is ours. Shapes: A responses, L levels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy

from theory.policy.kl_ball import kl_terms
from theory.validate import Array, as_numbers, as_vector, check_between, check_distribution, check_whole


@dataclass(frozen=True, eq=False)
class _Levels:
    """Reward levels from low to high: `of` (A,) the level of each response; log F, log F₋ and mass p of each (L,)."""

    of: NDArray[np.intp]
    mass: Array
    log_upper: Array
    log_lower: Array

    def log_best(self, n: int) -> Array:
        """log(F^n − F₋^n) (L,); −inf for a level without mass."""
        held = self.mass > 0
        share = np.divide(self.mass, np.exp(self.log_upper), out=np.zeros_like(self.mass), where=held)  # 1 − F₋/F
        with np.errstate(divide="ignore", over="ignore"):  # F₋ = 0, no mass, or n beyond numbers: −∞
            below = n * np.log1p(-np.minimum(share, 1.0))
            return n * np.where(held, self.log_upper, 0.0) + np.log(-np.expm1(below))


def _levels(policy: ArrayLike, rewards: ArrayLike) -> _Levels:
    pi = check_distribution("policy", policy)
    values, of = np.unique(as_vector("rewards", rewards, pi.size), return_inverse=True)
    mass: Array = np.bincount(of, pi, values.size).astype(np.float64)
    below = np.concatenate(([0.0], np.cumsum(mass)[:-1]))
    above = np.concatenate((np.cumsum(mass[::-1])[::-1][1:], [0.0]))
    # whichever tail is short gives F to full precision
    return _Levels(of, mass, _log_share(below + mass, above), _log_share(below, above + mass))


def _log_share(below: Array, above: Array) -> Array:
    """log of the probability `below`, by the complement where that is smaller; −inf where nothing is below."""
    with np.errstate(divide="ignore"):
        return np.where(above < 0.5, np.log1p(-np.minimum(above, 0.5)), np.log(below))


def best_of_n_law(policy: ArrayLike, rewards: ArrayLike, n: int) -> Array:
    """π_N: the law of the best of n draws from `policy`, ties inside a reward level in proportion to it (B1).

    Parameters
    ----------
    policy : array_like, (A,)
        Probabilities, zeros allowed.
    rewards : array_like, (A,)
        Finite.
    n : int
        Draws, ≥ 1; n = 1 gives `policy` back.

    Returns
    -------
    ndarray, (A,)

    Raises
    ------
    ValueError
        What is not a law, a reward that is not finite, n that is not whole or < 1.

    References
    ----------
    Folklore; Beirami et al. (arXiv 2401.01879).

    Examples
    --------
    >>> from theory.best_of_n import best_of_n_law
    >>> best_of_n_law([0.5, 0.25, 0.25], rewards=[0.0, 1.0, 1.0], n=2)
    array([0.25 , 0.375, 0.375])
    """
    levels = _levels(policy, rewards)
    best = np.exp(levels.log_best(check_whole("n", n)))
    ratio = np.divide(best, levels.mass, out=np.zeros_like(best), where=levels.mass > 0)
    return as_vector("policy", policy) * ratio[levels.of]


def best_of_n_reward(policy: ArrayLike, rewards: ArrayLike, n: int) -> float:
    """Expected reward of Best-of-N on a table, Σ_y π_N(y) r(y) (B3).

    Parameters
    ----------
    policy, rewards, n
        As in `best_of_n_law`.

    Returns
    -------
    float
        In the unit of the rewards.

    Raises
    ------
    ValueError
        As `best_of_n_law`.

    References
    ----------
    Folklore; Beirami et al. (arXiv 2401.01879).

    Examples
    --------
    >>> from theory.best_of_n import best_of_n_reward
    >>> best_of_n_reward([0.5, 0.25, 0.25], rewards=[0.0, 1.0, 1.0], n=2)
    0.75
    """
    return float(best_of_n_law(policy, rewards, n) @ as_vector("rewards", rewards))


def win_rate(n: int, policy: ArrayLike | None = None, rewards: ArrayLike | None = None, ties: float = 0.5) -> float:
    """Probability that Best-of-N beats one draw of π: n/(n + 1), or Σ_levels (F^n − F₋^n)(F₋ + ties·p) on a table (B1).

    Parameters
    ----------
    n : int
        Draws, ≥ 1.
    policy, rewards : array_like, (A,), optional
        The table; without both the reward law is continuous.
    ties : float
        Credit for equal rewards, in [0, 1]: 0 is the strict win rate, ½ makes n = 1 worth ½.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        n not whole or < 1, ties outside [0, 1], one of policy and rewards without the other, what is not a law.

    References
    ----------
    Folklore; Beirami et al. (arXiv 2401.01879).

    Examples
    --------
    >>> from theory.best_of_n import win_rate
    >>> win_rate(3), win_rate(3, policy=[0.5, 0.5], rewards=[0.0, 1.0])
    (0.75, 0.6875)
    """
    n = check_whole("n", n)
    credit = check_between("ties", ties)
    if policy is None and rewards is None:
        return n / (n + 1)
    if policy is None or rewards is None:
        raise ValueError(f"give policy and rewards or neither; {'policy' if policy is None else 'rewards'} is missing")
    levels = _levels(policy, rewards)
    return float(np.exp(levels.log_best(n)) @ (np.exp(levels.log_lower) + credit * levels.mass))


def kl_bound(n: int) -> float:
    """log n − (n − 1)/n: KL(π_N‖π) of a reward law without atoms, and the upper bound for every other (B2).

    Parameters
    ----------
    n : int
        Draws, ≥ 1.

    Returns
    -------
    float
        Nats.

    Raises
    ------
    ValueError
        n not whole or < 1.

    References
    ----------
    Folklore; Beirami et al. (arXiv 2401.01879).

    Examples
    --------
    >>> from theory.best_of_n import kl_bound
    >>> round(kl_bound(16), 6)
    1.835089
    """
    n = check_whole("n", n)
    return math.log(n) - (n - 1) / n


def best_of_n_kl(policy: ArrayLike, rewards: ArrayLike, n: int) -> float:
    """KL(π_N‖π) = Σ_levels q log(q/p), q = F^n − F₋^n: exact for a table, at most `kl_bound` (B2).

    Parameters
    ----------
    policy, rewards, n
        As in `best_of_n_law`.

    Returns
    -------
    float
        Nats.

    Raises
    ------
    ValueError
        As `best_of_n_law`.

    References
    ----------
    Beirami et al. (arXiv 2401.01879).

    Examples
    --------
    >>> from theory.best_of_n import best_of_n_kl, kl_bound
    >>> round(best_of_n_kl([0.5, 0.5], rewards=[0.0, 1.0], n=2), 6), round(kl_bound(2), 6)
    (0.130812, 0.193147)
    """
    levels = _levels(policy, rewards)
    log_best = levels.log_best(check_whole("n", n))
    held = levels.mass > 0
    return float(levels.mass[held] @ kl_terms(log_best[held] - np.log(levels.mass[held])))


def kl_with_atoms(n: int, atoms: ArrayLike) -> float:
    """KL(π_N‖π) in nats for a reward law with these atoms and otherwise continuous: the bound less a gap per atom.

    atoms: (L, 2), the pairs (F₋, F) of P(R < r) and P(R ≤ r) at each atom r; disjoint intervals of [0, 1].

    At the quantile level u the continuous law has dπ_N/dπ = n u^{n−1}; an atom replaces it by its average over
    [F₋, F]. The gap is ∫ n u^{n−1} log(n u^{n−1}) du − q log(q/p) over the atom, q = F^n − F₋^n, p = F − F₋:
    positive for n ≥ 2 by Jensen, so the bound is attained if and only if there is no atom.
    """
    n = check_whole("n", n)
    intervals = _check_atoms(atoms)
    gap = _log_moment(n, intervals[:, 1]) - _log_moment(n, intervals[:, 0])
    q = _power_difference(n, intervals)
    gap -= xlogy(q, q) - xlogy(q, intervals[:, 1] - intervals[:, 0])
    return kl_bound(n) - float(gap.sum())


def win_rate_with_atoms(n: int, atoms: ArrayLike, ties: float = 0.5) -> float:
    """As `win_rate` for a reward law with these atoms (see `kl_with_atoms`) and otherwise continuous."""
    n = check_whole("n", n)
    intervals = _check_atoms(atoms)
    continuous = n / (n + 1) * (intervals[:, 1] ** (n + 1) - intervals[:, 0] ** (n + 1))
    credit = intervals[:, 0] + check_between("ties", ties) * (intervals[:, 1] - intervals[:, 0])
    return n / (n + 1) - float((continuous - _power_difference(n, intervals) * credit).sum())


def _log_moment(n: int, u: Array) -> Array:
    """∫₀^u n s^{n−1} log(n s^{n−1}) ds = u^n (log n + (n − 1)(log u − 1/n))."""
    return u**n * (math.log(n) - (n - 1) / n) + (n - 1) * xlogy(u**n, u)


def _power_difference(n: int, intervals: Array) -> Array:
    """F^n − F₋^n."""
    return intervals[:, 1] ** n - intervals[:, 0] ** n


def _check_atoms(atoms: ArrayLike) -> Array:
    """(L, 2) intervals 0 ≤ F₋ < F ≤ 1 that do not overlap, in ascending order; ValueError names the first that does."""
    intervals = as_numbers("atoms", atoms)
    if intervals.size and (intervals.ndim != 2 or intervals.shape[1] != 2):
        raise ValueError(f"atoms must be pairs (F-, F), shape (L, 2), got shape {intervals.shape}")
    intervals = intervals.reshape(-1, 2)
    previous = 0.0
    for i, (low, high) in enumerate(intervals):
        if not 0.0 <= low < high <= 1.0:
            raise ValueError(f"atoms[{i}] = ({low}, {high}) must satisfy 0 <= F- < F <= 1")
        if low < previous:
            raise ValueError(f"atoms[{i}] = ({low}, {high}) overlaps or precedes the atom before it")
        previous = high
    return intervals
