"""Voting rules in the population limit, from win rates (tournament rules) or from Plackett–Luce rankings.

Every rule is a function to a policy (A,): a deterministic rule puts its mass on its winner, split evenly among
alternatives whose scores lie within `tie_tolerance` of the best. The same functions serve finite samples: hand
them empirical win rates.

| rule | input | file |
|---|---|---|
| borda, copeland, welfare_optimum | win rates, average utilities | here |
| maximal_lottery | win rates | theory/games.py |
| plurality, veto, plurality_veto, pruned_plurality_veto, random_dictator | population | theory/plackett_luce.py |

Source: Gölz, Haghtalab, Yang (arXiv 2505.23749); Alipour, Goyal (arXiv 2602.11152).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from theory.social_choice.ties import TIE_TOLERANCE, winners
from theory.validate import Array, check_distribution, check_multiplicity, check_win_rates


def borda_scores(win_rates: ArrayLike, mu: ArrayLike | None = None) -> Array:
    """Borda score of x: Σ_y μ(y) P(x≻y), with y = x counted at P = ½; (A,) in [0, 1].

    mu: the law opponents are drawn from, (A,); uniform by default. On an instance whose identical alternatives
    are collapsed into classes, mu holds the class masses.
    """
    P = check_win_rates(win_rates)
    A = P.shape[0]
    weights = np.full(A, 1.0 / A) if mu is None else check_distribution("mu", mu, A)
    return P @ weights


def borda(win_rates: ArrayLike, mu: ArrayLike | None = None, *, tie_tolerance: float = TIE_TOLERANCE) -> Array:
    """Borda's rule: the alternative that wins most often against an opponent drawn from mu. Policy (A,).

    Its distortion is at most `theory.distortion.borda_factor` on every population and for every mu, and that is the
    supremum over both (D4); for one fixed mu the supremum may be lower (at A = 2, where Borda is majority rule).
    """
    return winners(borda_scores(win_rates, mu), tie_tolerance)


def copeland_scores(win_rates: ArrayLike, *, tie_tolerance: float = TIE_TOLERANCE) -> Array:
    """Copeland score of x: the number of y ≠ x with P(x≻y) > ½, ties counted ½; (A,)."""
    margins = check_win_rates(win_rates) - 0.5
    wins = (margins > tie_tolerance).sum(axis=1)
    ties = (np.abs(margins) <= tie_tolerance).sum(axis=1) - 1  # x ties with itself
    return wins + 0.5 * ties


def copeland(
    win_rates: ArrayLike, *, multiplicity: ArrayLike | None = None, tie_tolerance: float = TIE_TOLERANCE
) -> Array:
    """Copeland's rule: the alternative with the most pairwise wins (a tie counts ½). Policy (A,).

    The score counts alternatives, so a collapsed instance (`multiplicity` with an entry ≠ 1) is a ValueError.
    """
    P = check_win_rates(win_rates)
    check_multiplicity(multiplicity, P.shape[0], "copeland")
    return winners(copeland_scores(P, tie_tolerance=tie_tolerance), tie_tolerance)


def welfare_optimum(average_utility: ArrayLike, *, tie_tolerance: float = TIE_TOLERANCE) -> Array:
    """The benchmark: the alternative of highest average utility u(x). Policy (A,)."""
    return winners(average_utility, tie_tolerance)
