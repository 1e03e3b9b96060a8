"""The people of D17: a file's users, or the survey that comes with the package where no file is given."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from simulate.people.data import People
from simulate.people.readers import read_people
from theory.markup import one_line

#: Favourability of 14 Star Wars characters, 762 people. FiveThirtyEight (2014), CC BY 4.0; the file says more.
SURVEY = Path(__file__).with_name("starwars.csv.gz")
#: Its name in rows.
SURVEY_NAME = "starwars"
#: Options that say how a file is read, as `read_people` names them.
OF_A_FILE = (
    "kind", "items", "id", "na", "long", "scale", "missing", "min_raters", "per_user_scale", "header", "separator",
    "encoding",
)  # fmt: skip


def survey_people() -> People:
    """The people of the survey who rated all 14 characters.

    Returns
    -------
    People

    References
    ----------
    FiveThirtyEight, "America's Favorite Star Wars Movies (And Least Favorite Characters)" (2014), CC BY 4.0.

    Examples
    --------
    >>> from simulate.people import survey_people
    >>> people = survey_people()
    >>> people.n_users, people.n_items, people.rated.items[:2]
    (514, 14, ('Han Solo', 'Luke Skywalker'))
    """
    found = read_people(SURVEY, kind="ratings", scale=(1.0, 5.0), missing="drop")
    return People(SURVEY_NAME, found.rated, found.notes)


def read_by(people: People, about: Mapping[str, str | int], betas: Sequence[float]) -> str:
    """A digest of what rows of a population depend on: its users, what the rows say of them, and every bt_beta."""
    said = json.dumps([people.digest, dict(about), list(betas)])
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def chosen_people(options: argparse.Namespace) -> tuple[People, dict[str, str | int]]:
    """The population of D17 and what its rows say about it; says on stderr what was taken for what.

    A file's rows say a digest of its utilities: other content or other options are another population, whatever the
    file is called. ValueError for an option that needs a file, FileNotFoundError.
    """
    given = {name: getattr(options, name) for name in OF_A_FILE if getattr(options, name) not in (None, False, 0)}
    if options.ratings is None:
        if given:
            raise ValueError(f"--{next(iter(given)).replace('_', '-')} needs --ratings FILE")
        return survey_people(), {"population": SURVEY_NAME}
    if "long" in given:
        given["long"] = given["long"] or True
    people = read_people(options.ratings, **given)
    if not people.name.isprintable():
        raise ValueError(f"{people.name!r}: rows carry the file's name, and this one cannot be printed: rename it")
    if people.n_users < 2:
        raise ValueError(f"{options.ratings} has one user: the bootstrap over users needs two")
    print(one_line(f"{people.name}: {people.n_users} users, {people.n_items} items"), file=sys.stderr)
    for note in people.notes:
        print(f"  {one_line(note)}", file=sys.stderr)
    about: dict[str, str | int] = {"population": people.name, "data": people.digest, "items": people.n_items}
    if options.missing:
        about["missing"] = options.missing
    if options.per_user_scale:
        about["scale"] = "per user"
    return people, about
