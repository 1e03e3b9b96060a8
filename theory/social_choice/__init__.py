"""Voting rules: on win rates (Borda, Copeland, lotteries, population-proportional) and on rankings (plurality, veto …).

Every rule gives a policy (A,); ties are split evenly.

Examples
--------
The majority favours one response that the minority finds worthless:

>>> from theory.bradley_terry import Population
>>> users = Population([[0.0, 0.9, 0.8], [1.0, 0.7, 0.6]], weights=[0.45, 0.55])
>>> P = users.win_rates(bt_beta=10.0)
>>> borda(P), copeland(P), plurality(users, bt_beta=10.0)
(array([0., 1., 0.]), array([1., 0., 0.]), array([1., 0., 0.]))
>>> users.average_utility, random_dictator(users, bt_beta=10.0).round(3)
(array([0.55, 0.79, 0.69]), array([0.515, 0.355, 0.13 ]))
"""

from __future__ import annotations

from theory.policy.nash import maximal_lottery
from theory.social_choice.pairwise import borda, borda_scores, copeland, copeland_scores, welfare_optimum
from theory.social_choice.rankings import plurality, plurality_veto, pruned_plurality_veto, random_dictator, veto
from theory.social_choice.shares import proportional, proportional_scores, share_bounds
from theory.social_choice.ties import winners

__all__ = [
    "borda",
    "borda_scores",
    "copeland",
    "copeland_scores",
    "maximal_lottery",
    "plurality",
    "plurality_veto",
    "proportional",
    "proportional_scores",
    "pruned_plurality_veto",
    "random_dictator",
    "share_bounds",
    "veto",
    "welfare_optimum",
    "winners",
]
