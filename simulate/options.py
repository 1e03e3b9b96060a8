"""The command-line options that name real people's ratings (D17), shared by the stages that run on them."""

from __future__ import annotations

import argparse
from pathlib import Path


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
