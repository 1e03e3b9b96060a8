"""Voting rules in the population limit, from win rates (tournament rules) or from Plackett–Luce rankings.

Every rule is a function to a policy (A,): a deterministic rule puts its mass on its winner, split evenly among
alternatives whose scores lie within `tie_tolerance` of the best. The same functions serve finite samples: hand
them empirical win rates.

| rule | input | file |
|---|---|---|
| borda, copeland, welfare_optimum | win rates, average utilities | here |
| maximal_lottery | win rates | policy/nash.py |
| proportional | win rates | shares.py |
| plurality, veto, plurality_veto, pruned_plurality_veto, random_dictator | population | rankings.py |

Source: Gölz, Haghtalab, Yang (arXiv 2505.23749); Alipour, Goyal (arXiv 2602.11152).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from theory.social_choice.ties import TIE_TOLERANCE, winners
from theory.validate import Array, as_vector, check_distribution, check_multiplicity, check_nonnegative, check_win_rates


def borda_scores(win_rates: ArrayLike, mu: ArrayLike | None = None) -> Array:
    """Borda score of x: Σ_y μ(y) P(x≻y), with y = x counted at P = ½.

    Parameters
    ----------
    win_rates : array_like, (A, A)
        P(x≻y) in [0, 1], P(x≻y) + P(y≻x) = 1.
    mu : array_like, (A,), optional
        Law that opponents are drawn from (class masses on a collapsed instance); uniform by default.

    Returns
    -------
    ndarray, (A,)
        Scores in [0, 1].

    Raises
    ------
    ValueError
        Malformed input; the message names the entry.

    References
    ----------
    Gölz, Haghtalab, Yang (arXiv 2505.23749), section 2.

    Examples
    --------
    >>> from theory.social_choice import borda_scores
    >>> P = [[0.5, 0.6, 0.55], [0.4, 0.5, 0.9], [0.45, 0.1, 0.5]]
    >>> borda_scores(P).round(4)
    array([0.55, 0.6 , 0.35])
    """
    P = check_win_rates(win_rates)
    A = P.shape[0]
    weights = np.full(A, 1.0 / A) if mu is None else check_distribution("mu", mu, A)
    return P @ weights


def borda(win_rates: ArrayLike, mu: ArrayLike | None = None, *, tie_tolerance: float = TIE_TOLERANCE) -> Array:
    """Borda's rule: the alternative that wins most often against an opponent drawn from mu.

    Its distortion is at most `theory.distortion.borda_factor` on every population and for every mu, and that is the
    supremum over both (D4); for one fixed mu the supremum may be lower (at A = 2, where Borda is majority rule).

    Parameters
    ----------
    win_rates : array_like, (A, A)
        P(x≻y) in [0, 1], P(x≻y) + P(y≻x) = 1.
    mu : array_like, (A,), optional
        Law that opponents are drawn from (class masses on a collapsed instance); uniform by default.
    tie_tolerance : float
        Scores this close to the best share the win.

    Returns
    -------
    ndarray, (A,)
        The policy.

    Raises
    ------
    ValueError
        Malformed input; the message names the entry.

    References
    ----------
    Gölz, Haghtalab, Yang (arXiv 2505.23749), Theorem 5; exact factor ours.

    Examples
    --------
    >>> from theory.social_choice import borda
    >>> P = [[0.5, 0.6, 0.55], [0.4, 0.5, 0.9], [0.45, 0.1, 0.5]]
    >>> borda(P), borda(P, mu=[0.0, 0.0, 1.0])
    (array([0., 1., 0.]), array([0., 1., 0.]))
    """
    return winners(borda_scores(win_rates, mu), tie_tolerance)


def copeland_scores(win_rates: ArrayLike, *, tie_tolerance: float = TIE_TOLERANCE) -> Array:
    """Copeland score of x: the number of y ≠ x with P(x≻y) > ½, ties counted ½.

    Parameters
    ----------
    win_rates : array_like, (A, A)
        P(x≻y) in [0, 1], P(x≻y) + P(y≻x) = 1.
    tie_tolerance : float
        Margins up to this are ties.

    Returns
    -------
    ndarray, (A,)
        Scores in [0, A − 1].

    Raises
    ------
    ValueError
        Malformed input; the message names the entry.

    References
    ----------
    Copeland (1951).

    Examples
    --------
    >>> from theory.social_choice import copeland_scores
    >>> P = [[0.5, 0.6, 0.55], [0.4, 0.5, 0.9], [0.45, 0.1, 0.5]]
    >>> copeland_scores(P)
    array([2., 1., 0.])
    """
    margins = check_win_rates(win_rates) - 0.5
    np.fill_diagonal(margins, 0.0)  # x ties with itself, which is taken off below
    tie_tolerance = check_nonnegative("tie_tolerance", tie_tolerance)
    wins = (margins > tie_tolerance).sum(axis=1)
    ties = (np.abs(margins) <= tie_tolerance).sum(axis=1) - 1
    return wins + 0.5 * ties


def copeland(
    win_rates: ArrayLike, *, multiplicity: ArrayLike | None = None, tie_tolerance: float = TIE_TOLERANCE
) -> Array:
    """Copeland's rule: the alternative with the most pairwise wins, a tie counting ½.

    Parameters
    ----------
    win_rates : array_like, (A, A)
        P(x≻y) in [0, 1], P(x≻y) + P(y≻x) = 1.
    multiplicity : array_like, (A,), optional
        Identical alternatives per class; any entry but 1 is refused.
    tie_tolerance : float
        Scores this close to the best share the win.

    Returns
    -------
    ndarray, (A,)
        The policy.

    Raises
    ------
    ValueError
        Malformed input, or a collapsed instance: the score counts alternatives.

    References
    ----------
    Copeland (1951); Gölz, Haghtalab, Yang (arXiv 2505.23749), Theorem 5.

    Examples
    --------
    >>> from theory.social_choice import copeland
    >>> P = [[0.5, 0.6, 0.55], [0.4, 0.5, 0.9], [0.45, 0.1, 0.5]]
    >>> copeland(P)
    array([1., 0., 0.])
    """
    P = check_win_rates(win_rates)
    check_multiplicity(multiplicity, P.shape[0], "copeland")
    return winners(copeland_scores(P, tie_tolerance=tie_tolerance), tie_tolerance)


def welfare_optimum(average_utility: ArrayLike, *, tie_tolerance: float = TIE_TOLERANCE) -> Array:
    """The benchmark: the alternative of highest average utility u(x).

    Parameters
    ----------
    average_utility : array_like, (A,)
        u, finite.
    tie_tolerance : float
        Scores this close to the best share the win.

    Returns
    -------
    ndarray, (A,)
        The policy.

    Raises
    ------
    ValueError
        Malformed input; the message names the entry.

    References
    ----------
    Gölz, Haghtalab, Yang (arXiv 2505.23749), section 2.

    Examples
    --------
    >>> from theory.social_choice import welfare_optimum
    >>> welfare_optimum([0.2, 0.8, 0.8])
    array([0. , 0.5, 0.5])
    """
    return winners(as_vector("average_utility", average_utility), tie_tolerance)
