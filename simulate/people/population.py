"""The people of D17: a file's users, or generated ones where there is no file."""

from __future__ import annotations

import argparse
import hashlib
import sys
from dataclasses import dataclass

import numpy as np

from simulate.montecarlo import generator
from simulate.people.ratings import RatedItems, read_ratings

Rng = np.random.Generator

#: Users of the stand-in population.
GENERATED_USERS = 150


@dataclass(frozen=True, eq=False)
class People:
    """Users by items, utilities (users, items) with NaN where a user did not rate an item."""

    name: str
    rated: RatedItems

    @property
    def n_users(self) -> int:
        return self.rated.utilities.shape[0]

    @property
    def n_items(self) -> int:
        return self.rated.utilities.shape[1]

    @property
    def digest(self) -> str:
        """Of the utilities: a row depends on them, whatever the file is called."""
        return hashlib.sha256(self.rated.utilities.tobytes()).hexdigest()[:12]


def generated_people(rng: Rng) -> People:
    """A stand-in for a file: 150 users × 6 items with two latent tastes, so that users disagree on what is good.

    Parameters
    ----------
    rng : numpy.random.Generator

    Returns
    -------
    People

    Examples
    --------
    >>> from simulate import generator
    >>> people = generated_people(generator(0, "example"))
    >>> people.n_users, people.n_items
    (150, 6)
    """
    tastes = rng.normal(size=(GENERATED_USERS, 2))
    features = rng.normal(size=(6, 2))
    quality = 0.5 * rng.normal(size=6)
    utilities = 1.0 / (1.0 + np.exp(-1.5 * (tastes @ features.T + quality)))
    items = tuple(f"item {i}" for i in range(1, 7))
    return People("generated", RatedItems("generated", utilities, items, (), 0, (0.0, 1.0)))


def chosen_people(options: argparse.Namespace, seed: int) -> tuple[People, dict[str, str | int]]:
    """The population of D17 and what its rows say about it; says on stderr what was read and left out.

    Without --ratings a population generated from `seed`. ValueError for an option that needs a file, FileNotFoundError.
    """
    if options.ratings is None:
        given = [name for name in ("scale", "missing", "items") if getattr(options, name)]
        if given:
            raise ValueError(f"--{given[0]} needs --ratings FILE")
        people = generated_people(generator(seed, "generated people"))
        return people, {"population": people.name}
    rated = read_ratings(
        options.ratings,
        options.kind,
        scale=tuple(options.scale) if options.scale else None,
        missing=options.missing,
        items=options.items,
        per_user_scale=options.per_user_scale,
    )
    users, items = rated.utilities.shape
    print(f"{rated.name}: {users} users, {items} items, {rated.dropped} users dropped", file=sys.stderr)
    if rated.ignored:
        print(f"not items (not numeric, or not named): {', '.join(rated.ignored)}", file=sys.stderr)
    about: dict[str, str | int] = {"population": rated.name, "items": items}
    if options.missing:
        about["missing"] = options.missing
    if options.per_user_scale:
        about["scale"] = "per user"
    return People(rated.name, rated), about
