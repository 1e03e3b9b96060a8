"""Voting rules: on win rates (Borda, Copeland, maximal lotteries) and on rankings (plurality, veto, random
dictator)."""

from __future__ import annotations

from theory.policy.nash import maximal_lottery
from theory.social_choice.pairwise import borda, borda_scores, copeland, copeland_scores, welfare_optimum
from theory.social_choice.rankings import plurality, plurality_veto, pruned_plurality_veto, random_dictator, veto
from theory.social_choice.ties import winners

__all__ = [
    "borda",
    "borda_scores",
    "copeland",
    "copeland_scores",
    "maximal_lottery",
    "plurality",
    "plurality_veto",
    "pruned_plurality_veto",
    "random_dictator",
    "veto",
    "welfare_optimum",
    "winners",
]
