"""The veto process one electorate at a time, each rate an adaptive integral (`bottom_choice`) of its own."""

from __future__ import annotations

import numpy as np

from theory.bradley_terry import Population
from theory.social_choice.places import bottom_choice


def exit_times(scores: np.ndarray, population: Population, bt_beta: float) -> np.ndarray:
    """The share of the users done when each alternative is out; 1 for the winners. No exact ties of exits."""
    scores, standing, times, elapsed = scores.copy(), scores > 0, np.ones(scores.size), 0.0
    times[~standing] = 0.0
    while standing.sum() > 1:
        rates = bottom_choice(population, bt_beta, standing)
        lifetime = np.where(standing, scores / np.where(standing, rates, 1.0), np.inf)
        first = int(lifetime.argmin())
        elapsed += lifetime[first]
        scores = scores - lifetime[first] * rates
        standing[first] = False
        times[first] = elapsed
    return times
