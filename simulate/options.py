"""The command-line options that name real people's files (D17), shared by the stages that run on them."""

from __future__ import annotations

import argparse

from simulate.numbers import a_path, finite, positive, seed

#: What a file of people says: numbers, orders, votes −1/0/1, comparisons.
KINDS = ("ratings", "rankings", "votes", "pairs")


def add_people_options(parser: argparse.ArgumentParser) -> None:
    """The group "real people (D17)"."""
    people = parser.add_argument_group("real people (D17)")
    people.add_argument("--ratings", type=a_path, help="a table, .gz or not, or a PrefLib file; the survey that comes "
                        "with the package by default")  # fmt: skip
    people.add_argument("--kind", choices=KINDS, help="ratings, if nothing says otherwise")
    people.add_argument("--items", nargs="+", metavar="ITEM", help="item columns; the numeric ones by default")
    people.add_argument("--id", metavar="COLUMN", help="the column that names users")
    people.add_argument("--long", nargs="*", metavar="COLUMN", help="a line per user and item: the columns for user, "
                        "item and rating (pairs: user, a, b, winner); none: by their names")  # fmt: skip
    people.add_argument("--na", nargs="+", metavar="MARK", help="cells that stand for a missing value, say 99")
    people.add_argument("--scale", type=finite, nargs=2, metavar=("MIN", "MAX"), help="the rating scale")
    people.add_argument("--per-user-scale", action="store_true", help="min–max each user's ratings, not the file's")
    people.add_argument("--missing", choices=("drop", "pairs"), help="leave out users with gaps, or use rated pairs")
    people.add_argument("--min-raters", type=seed, default=0, metavar="N", help="leave out items with fewer raters")
    people.add_argument("--header", type=yes_or_no, metavar="yes|no", help="is the first line a header?")
    people.add_argument("--separator", metavar="MARK", help="comma, semicolon, tab, bar, or the character itself")
    people.add_argument("--encoding", help="of the file, say latin-1")
    people.add_argument("--bt-beta", type=positive, nargs="+", metavar="β", help="how sharply they choose")


def yes_or_no(text: str) -> bool:
    """True for yes, False for no."""
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"{text!r} must be yes or no")
    return text == "yes"
