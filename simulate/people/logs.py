"""Logs of comparisons, and the names that columns of logs and of long tables go by."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simulate.people.data import Cells
from simulate.people.table import Table, listed, shown
from theory.validate import Array

#: Names that the columns of a pairwise log and of a long table go by.
USER = re.compile(r"(user|rater|voter|judge|annotator|worker|respondent|customer|reviewer)([_ ]?(id|name))?", re.I)
ITEM = re.compile(
    r"(item|movie|film|product|book|song|response|model|alternative|joke|business)([_ ]?(id|name))?", re.I
)
RATING = re.compile(r"(rating|rate|score|stars|value|preference|vote|rank)s?", re.I)
LEFT, RIGHT = re.compile(r"(\w+_)?(a|left|first|1)", re.I), re.compile(r"(\w+_)?(b|right|second|2)", re.I)
WINNER = re.compile(r"(winner|chosen|preferred|choice)", re.I)
COUNT = re.compile(r"(counts?|n|num|number|wins|times|freq|frequency|weight)", re.I)
#: Largest number of times that a comparison was made.
MOST = 1e12


def one_of(table: Table, pattern: re.Pattern[str]) -> str | None:
    """The one column that a pattern matches, None where there is none; ValueError where there are several."""
    found = [name for name in table.header if pattern.fullmatch(name)]
    if len(found) > 1:
        raise ValueError(f"{table.path}: columns {listed(found)} may say the same: name a log's columns with --long, "
                         "or leave out the others")  # fmt: skip
    return found[0] if found else None


def named_by(table: Table, patterns: Sequence[re.Pattern[str]], wanted: str) -> tuple[str, ...]:
    """The one column that each pattern matches; ValueError where it is none or several."""
    found = [[name for name in table.header if pattern.fullmatch(name)] for pattern in patterns]
    if any(len(names) != 1 for names in found):
        raise ValueError(f"{table.path} has columns {listed(table.header)}: name those for {wanted}, --long …")
    return tuple(names[0] for names in found)


def how_often(table: Table, count: str | None) -> Array:
    """How often each row's comparison was made, 1 where no column says; ValueError for what is no number of times."""
    if count is None:
        return np.ones(len(table.lines))
    times = table.numbers([count], ())[:, 0]
    bad = ~whole_counts(times)
    if bad.any():
        raise ValueError(f"{table.place(int(bad.argmax()), count)}: is not a number of times")
    return times


def whole_counts(values: Array) -> NDArray[np.bool_]:
    """Which are whole numbers of times that float64 can add up exactly."""
    return np.asarray((values >= 0) & (values == np.floor(values)) & (values <= MOST))


def read_log(table: Table, long: tuple[str, ...] | bool | None) -> tuple[Cells, tuple[str, ...]]:
    """A row per comparison; a cell is the share that an item won of the user's comparisons it was in, a tie half."""
    wanted = "user, a, b and winner"
    columns = long if isinstance(long, tuple) else named_by(table, (USER, LEFT, RIGHT, WINNER), wanted)
    table.require(columns)
    user, a, b, winner = columns
    table.require_filled([user])
    first, tie = judged(table, a, b, winner)
    left, right = table.cells[a], table.cells[b]
    share = np.where(tie, 0.5, first.astype(float))
    users, people = pd.factorize(table.cells[user])
    both, items = pd.factorize(pd.concat([left, right], ignore_index=True))
    wins, met = np.zeros((len(people), len(items))), np.zeros((len(people), len(items)))
    count = one_of(table, COUNT)
    times = how_often(table, None if count in columns else count)
    for place, points in ((both[: len(left)], share), (both[len(left) :], 1.0 - share)):
        np.add.at(wins, (users, place), times * points)
        np.add.at(met, (users, place), times)
    values = np.divide(wins, met, out=np.full(wins.shape, np.nan), where=met > 0)
    lines = table.lines[np.unique(users, return_index=True)[1]]
    return Cells(table.path, values, lines, tuple(map(str, items))), (*columns, *([count] if count else []))


def judged(table: Table, a: str, b: str, winner: str) -> tuple[np.ndarray, np.ndarray]:
    """(did the left one win?, is it a tie?) of every comparison; ValueError for a winner that is neither.

    A winner is an item, or a word for a side or a tie, which an item's own name is not.
    """
    table.require_filled([a, b])
    left, right, won = (table.cells[name] for name in (a, b, winner))
    word = ~won.str.lower().isin({*left.str.lower(), *right.str.lower()})
    first = (won.eq(left) | (won.isin([a, "a", "A", "left"]) & word)).to_numpy()
    second = (won.eq(right) | (won.isin([b, "b", "B", "right"]) & word)).to_numpy()
    tie = (won.str.fullmatch(r"(tie|draw|equal)( \(.*\))?", case=False) & word).to_numpy(dtype=bool)
    for bad, what in ((left.eq(right).to_numpy(), "an item is compared with itself"),
                      (~(first | second | tie), "the winner is neither of the two, nor `tie`")):  # fmt: skip
        if bad.any():
            row = int(bad.argmax())
            raise ValueError(f"{table.place(row, winner)}: {shown(won.iloc[row])}: {what}")
    return first, tie
