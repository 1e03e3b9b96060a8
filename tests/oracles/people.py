"""Few people, for tests that need somebody."""

from __future__ import annotations

import numpy as np

from simulate.people.data import People, RatedItems


def few_people(users: int = 40, items: int = 6, seed: int = 0) -> People:
    """Two latent tastes, so that users disagree on what is good."""
    rng = np.random.default_rng(seed)
    utilities = 1.0 / (1.0 + np.exp(-1.5 * rng.normal(size=(users, 2)) @ rng.normal(size=(2, items))))
    names = tuple(f"item {i}" for i in range(1, items + 1))
    return People("few", RatedItems("few", utilities, names, (), 0, (0.0, 1.0)))
