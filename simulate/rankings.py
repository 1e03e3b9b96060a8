"""Voters who rank: Plackett–Luce rankings drawn one by one, and Plurality Veto as it is played with real voters.

theory/plackett_luce.py has the population limits; this file plays the finite games that they are limits of.
"""

from __future__ import annotations

import numpy as np

from theory.bradley_terry import Population
from theory.validate import Array, check_bt_beta


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
