"""Columns and numbers that may not be what they look like: ids, long tables, demographics, marks of missing values.

Each is refused in one sentence that names the option by which the caller settles it. Columns that the caller names as
items are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simulate.people.data import Cells, check_rankings
from simulate.people.logs import USER
from simulate.people.table import Table, shown
from theory.validate import Array

#: Names that a column of ids or times goes by.
ID_NAME = re.compile(
    r"(?i:|#|no|nr|row|index|unnamed: \d+|(.*[_ ])?id|id[_ ].*|uid|uuid|key|user|rater|voter|respondent|participant|"
    r"worker|time|date|(.*[_ ])?timestamp)|.*[a-z](Id|ID)"
)
#: Names of numbers that say something of the user.
OF_USERS = re.compile(
    r"(age|sex|gender|weight|wt|weights|income|education|race|ethnicity|religion|party|region|state|country|zip|zipcode|"
    r"postcode|year|month|wave|cohort)([_ ]?(group|code|of birth|born))?", re.I,
)  # fmt: skip
#: A number that is written another way: 3,5 or 1 200, 50 %, 4/5, 4 stars.
WRITTEN = re.compile(r"[+-]?[$€£]?\d+([.,' ]\d+)?( ?%| ?/ ?\d+| ?[*★]| ?stars?| ?points?)?", re.I)
#: Most texts beside numbers that may be marks of missing values.
FEW = 3
#: Numbers that stand for a missing value by old custom.
MARKS = (-9999.0, -999.0, -99.0, -9.0, 9.0, 99.0, 999.0, 9999.0)
#: Rows from which on all-different whole numbers in order, or in any order, are no ratings.
IN_ORDER, IN_ANY_ORDER = 5, 20


def refuse_suspects(
    table: Table, names: Sequence[str], numeric: NDArray[np.bool_], values: Array, *,
    scale: tuple[float, float] | None, na: Sequence[str], kind: str | None,
) -> None:  # fmt: skip
    """ValueError for a long table, an id among the numeric columns, a column on another scale, a mark of no value."""
    _refuse_long(table, names, values)
    for name, is_number, column in zip(names, numeric, values.T, strict=True):
        if is_number:
            _refuse_id(table, name, column[~np.isnan(column)])
        else:
            _refuse_left_out(table, name, column, na)
    if kind in (None, "ratings") and scale is None:
        _refuse_other_scale(table, [n for n, is_number in zip(names, numeric, strict=True) if is_number],
                            values[:, numeric])  # fmt: skip


def _refuse_long(table: Table, names: Sequence[str], values: Array) -> None:
    """Three to six columns, the first two of which repeat and together do not: user, item, rating."""
    rows = len(table.lines)
    if not 3 <= len(names) <= 6 or rows < 6:
        return
    first, second = (table.cells[name] for name in names[:2])
    repeats = first.nunique() <= rows / 2 and second.nunique() <= rows / 2
    grouped = (first != first.shift()).sum() == first.nunique()  # each user's rows stand together
    numbered = bool(ID_NAME.fullmatch(names[0]))
    text = bool(np.isnan(values[:, 0]).all())
    if repeats and not table.cells.duplicated(list(names[:2])).any() and (grouped or numbered or text):
        words = " ".join(f"'{name}'" if " " in name else name for name in names[:3])
        raise ValueError(
            f"{table.path} looks like a long table, a line for each user and item ({shown(names[0])} has "
            f"{first.nunique()} different values in {rows} lines): say --long {words}, or name the items with --items"
        )


def _refuse_id(table: Table, name: str, column: Array) -> None:
    whole = column.size > 0 and bool((column == np.round(column)).all())
    different = np.unique(column).size == column.size
    steps = np.diff(column)
    in_order = column.size >= IN_ORDER and bool((steps > 0).all() or (steps < 0).all())
    if OF_USERS.fullmatch(name):
        raise ValueError(f"{table.path}: column {shown(name)} may say something of the user, not of an item: name the "
                         "items with --items")  # fmt: skip
    counted = whole and different and (in_order or column.size >= IN_ANY_ORDER)
    if counted or (ID_NAME.fullmatch(name) and whole):
        raise ValueError(
            f"{table.path}: column {shown(name)} may be an id ({np.unique(column).size} different whole numbers in "
            f"{column.size} lines): say --id {name or 'COLUMN'}, or name the items with --items"
        )


def _refuse_left_out(table: Table, name: str, column: Array, na: Sequence[str]) -> None:
    """A column that would be no item though it holds numbers, or numbers written another way; users named twice."""
    text = table.cells[name]
    other = (text.ne("") & ~table.marked(name, na)).to_numpy(dtype=bool) & np.isnan(column)
    words = text[other]
    how = "or name the items with --items"
    if not words.size:
        return
    place = f"{table.place(int(other.argmax()), name)}: {shown(words.iloc[0])}"
    if 2 * words.str.fullmatch(WRITTEN).sum() > len(words):
        raise ValueError(f"{place} may be a number that is written another way: write it as 3.5, {how}")
    numbers = int((~np.isnan(column)).sum())
    if numbers and words.nunique() <= FEW:
        raise ValueError(f"{place} stands beside {numbers} numbers: say --na {words.iloc[0]!r} if it is "
                         f"a missing value, {how}")  # fmt: skip
    if USER.fullmatch(name) and words.duplicated().any():
        again = words[words.duplicated()].iloc[0]
        many = int(words.eq(again).sum())
        raise ValueError(f"{table.path}, column {shown(name)}: {shown(again)} stands {many} times, and a wide table "
                         f"has one line per user: name a long table's columns with --long, {how}")  # fmt: skip


def refuse_rankings(cells: Cells) -> None:
    """ValueError where every row may be a ranking, of all items or of some, with ties; or counts from 0, each once."""
    values = cells.values
    there = values[~np.isnan(values)]
    if len(values) < 2 or not there.size or there.max() > values.shape[1]:
        return
    from_zero, rows = there.min() == 0.0, [row[~np.isnan(row)] for row in np.unique(values, axis=0)]
    if from_zero and not (max(row.size for row in rows) > 2 and all(np.unique(row).size == row.size for row in rows)):
        return
    if not any(row.size > 1 and row.min() < row.max() for row in rows):
        return
    try:
        check_rankings(Cells(cells.path, values + from_zero, cells.lines, cells.items))
    except ValueError:
        return
    what = "each item's place counted from 0" if from_zero else "a ranking of the items in it"
    raise ValueError(
        f"{cells.path}: every row may be {what}: say whether a cell is a rank (1 is best) or a rating, --kind rankings"
        + (", with ranks written from 1, or --kind ratings" if from_zero else " or --kind ratings")
    )


def _refuse_other_scale(table: Table, names: Sequence[str], values: Array) -> None:
    """One number far from all others that marks a missing value; one column far beyond the scale of the others."""
    there = np.unique(values[~np.isnan(values)])
    for mark in (there[0], there[-1]) if there.size > 2 else ():
        others = there[there != mark]
        if mark in MARKS and min(abs(mark - others[0]), abs(mark - others[-1])) >= max(2.0, np.ptp(others)):
            count = int((values == mark).sum())
            raise ValueError(
                f"{table.path}: {mark:g} stands {count} times, far from all others ({others[0]:g} to {others[-1]:g}): "
                f"say --na {mark:g} if it is a missing value, or the scale with --scale"
            )
    if len(names) < 3:
        return
    low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    for k, name in enumerate(names):
        least, most = np.delete(low, k).min(), np.delete(high, k).max()
        if high[k] > most + (most - least) + 1 or low[k] < least - (most - least) - 1:
            raise ValueError(
                f"{table.path}: column {shown(name)} goes from {low[k]:g} to {high[k]:g}, all others from {least:g} to "
                f"{most:g}: name the items with --items, or the scale with --scale"
            )
