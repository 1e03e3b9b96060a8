"""The command-line options that name real people's ratings (D17), shared by the stages that run on them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from simulate.montecarlo import generator
from simulate.people.people import People, generated_people
from simulate.people.ratings import read_ratings


def add_people_options(parser: argparse.ArgumentParser, betas: list[float] | None) -> None:
    """The group "real people (D17)"; `betas` is the default of --bt-beta."""
    people = parser.add_argument_group("real people (D17)")
    people.add_argument("--ratings", type=Path, help="csv or csv.gz, one row per user, one column per item")
    people.add_argument("--kind", choices=("ratings", "rankings"), default="ratings")
    people.add_argument("--scale", type=float, nargs=2, metavar=("MIN", "MAX"), help="the rating scale")
    people.add_argument("--per-user-scale", action="store_true", help="min–max each user's ratings, not the file's")
    people.add_argument("--missing", choices=("drop", "pairs"), help="leave out users with gaps, or use rated pairs")
    people.add_argument("--items", nargs="+", metavar="COLUMN", help="item columns; the numeric ones by default")
    people.add_argument("--bt-beta", type=float, nargs="+", default=betas, metavar="β")


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
