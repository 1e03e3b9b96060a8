"""Which pair to ask users about next: the question whose answers are expected to raise what a policy guarantees most.

A certified upper bound on the distortion says that the policy keeps at least 1/bound of the best average utility,
whoever the users are. More answers on a pair narrow its confidence interval, and the bound falls. How far depends on
the answers, so it is computed at `QUANTILES` of their predictive law: m answers whose win rate is drawn from the
posterior of the uniform prior, Beta(wins + 1, losses + 1).

The bound is the cheap one, the lesser of `game` and `lemma` (averages.py): linear programs alone, of the same kind
before and after, so that what is compared is the data; `audit` proves more. Pairs that were never compared are
candidates too; they take their part of the union bound.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import betabinom

from theory.distortion.audit.averages import floor_utility, game_bound, lemma_cuts, moment_bound
from theory.distortion.audit.observed import from_counts, users_of
from theory.policy.kl_ball import KLBall
from theory.validate import Array, check_bt_beta, check_distribution, check_square, check_whole

#: Points of equal mass at which an outcome is looked at.
QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
#: Most answers that one question stands for.
MOST_ANSWERS = 10**6


@dataclass(frozen=True)
class Question:
    """A pair, and the share of the best average utility that is guaranteed after `answers` more answers on it.

    now       before;  expected, worst  mean and least over the outcomes looked at
    """

    first: int
    second: int
    now: float
    expected: float
    worst: float


def next_questions(
    counts: ArrayLike,
    policy: ArrayLike,
    bt_beta: float,
    *,
    answers: int = 100,
    n_users: int | None = None,
    confidence: float = 0.95,
) -> tuple[Question, ...]:
    """Every pair as the next question, the most telling first (by what is expected, then by the worst).

    Parameters
    ----------
    counts : array_like of int, (A, A)
        How often x beat y.
    policy : array_like, (A,)
        Probabilities.
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.
    answers : int
        How many more answers, of other users, one question stands for, ≥ 1.
    n_users : int, optional
        As in `audit`.
    confidence : float
        In (0, 1).

    Returns
    -------
    tuple of Question
        A(A − 1)/2 of them. An outcome that no population with this bt_beta makes likely is left out of the means.

    Raises
    ------
    ValueError
        Malformed input, or counts that no population with this bt_beta produces.

    References
    ----------
    Ours (D16).

    Examples
    --------
    >>> from theory.distortion.audit.questions import next_questions
    >>> counts = [[0, 80, 30], [20, 0, 60], [30, 40, 0]]
    >>> best = next_questions(counts, [0.7, 0.0, 0.3], 3.0, answers=200)[0]
    >>> best.first, best.second, best.expected > best.now
    (0, 2, True)
    """
    table = check_square("counts", counts)
    m = check_whole("answers", answers, 1, MOST_ANSWERS)
    beta, pi = check_bt_beta(bt_beta), check_distribution("policy", policy)
    now = _guarantee(table, pi, beta, n_users, confidence)
    if now is None:
        raise ValueError(f"no population with bt_beta = {bt_beta} makes these counts likely")
    # the busiest user has answered as much as before, however many others answer once
    total = int(table.sum())
    users = None if n_users is None else users_of(total + m, -(-total // int(n_users)))
    found = []
    for x, y in itertools.combinations(range(pi.size), 2):
        wins = betabinom.ppf(QUANTILES, m, table[x, y] + 1, table[y, x] + 1)
        after = [_with_answers(table, x, y, k, m - k) for k in wins]
        shares = [s for s in (_guarantee(C, pi, beta, users, confidence) for C in after) if s is not None]
        if shares:
            found.append(Question(x, y, now, float(np.mean(shares)), min(shares)))
    return tuple(sorted(found, key=lambda q: (-q.expected, -q.worst, q.first, q.second)))


def _guarantee(counts: Array, policy: Array, bt_beta: float, n_users: int | None, confidence: float) -> float | None:
    """1/bound, 0 where nothing bounds the distortion; None for data that no population produces."""
    observed = from_counts(counts, bt_beta, n_users, confidence)
    if observed.size != policy.size:
        raise ValueError(f"policy has {policy.size} entries, the data are about {observed.size} alternatives")
    cuts = lemma_cuts(observed)
    floor, averages = floor_utility(policy, cuts)
    if averages is None and math.isinf(floor):
        return None
    lemma = max(moment_bound(policy, e, cuts, floor)[0].bound for e in np.eye(policy.size))
    ball = KLBall.around(policy.size, None, None, math.inf)
    return 1.0 / min(lemma, game_bound(observed, policy, ball, floor))


def _with_answers(counts: Array, x: int, y: int, wins: float, losses: float) -> Array:
    after = counts.copy()
    after[x, y] += wins
    after[y, x] += losses
    return after
