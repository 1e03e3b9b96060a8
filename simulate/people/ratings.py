"""Real people: files of ratings or rankings, users × items, read into a population of Bradley–Terry users.

A file is csv or csv.gz with a header, one row per user. Item columns hold numbers; other columns are recognised
because most of their cells are not numbers, or named by the caller. Nothing is dropped, clipped or filled in
unless the caller says so: a bad cell is a ValueError that names its line, a missing one an error that says how many
there are and what the choices are.

Ratings become utilities by min–max of the rating scale, per file; ranks become utilities linearly (Borda).
"""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from theory.bradley_terry import Population
from theory.validate import Array, check_bt_beta

RatingKind = Literal["ratings", "rankings"]
Missing = Literal["drop", "pairs"]


@dataclass(frozen=True, eq=False)
class RatedItems:
    """Utilities of real users: `utilities` (users, items) in [0,1], NaN where the user did not rate the item.

    Fields beside it say what was done with the file: `items` (names), `ignored` (columns left out as not numeric),
    `dropped` (users left out because of missing cells), `scale` (the ratings that became 0 and 1).
    """

    name: str
    utilities: Array
    items: tuple[str, ...]
    ignored: tuple[str, ...]
    dropped: int
    scale: tuple[float, float]

    @property
    def complete(self) -> bool:
        """Whether every user rated every item."""
        return not bool(np.isnan(self.utilities).any())

    def population(self) -> Population:
        """The population whose types are the users; ValueError if cells are missing."""
        if not self.complete:
            raise ValueError(f"{self.name} has missing cells: it is a set of rated pairs, not a population")
        return Population(self.utilities)

    def pair_table(self, bt_beta: float) -> PairTable:
        """What every user would answer on every pair; computed once, weighed many times (bootstrap)."""
        beta = check_bt_beta(bt_beta)
        U = self.utilities
        x, y = np.triu_indices(U.shape[1], k=1)
        both = ~np.isnan(U[:, x] - U[:, y])
        margins = 0.5 * np.tanh(0.5 * beta * np.where(both, U[:, x] - U[:, y], 0.0))
        return PairTable(self.name, self.items, margins, both)

    def average_utility(self, weights: Array) -> Array:
        """u(x) over the users who rated x, (A,)."""
        rated = ~np.isnan(self.utilities)
        return (weights @ np.where(rated, self.utilities, 0.0)) / (weights @ rated)


@dataclass(frozen=True, eq=False)
class PairTable:
    """Answers of users to pairs x < y: `margins` (users, pairs) = σ(β(U_x − U_y)) − ½, 0 where `both` is False."""

    name: str
    items: tuple[str, ...]
    margins: Array
    both: NDArray[np.bool_]

    def win_rates(self, weights: Array) -> Array:
        """P(x≻y) over the users who rated both, (A, A); weights (users,) nonnegative, e.g. a bootstrap's.

        ValueError names a pair that no user of positive weight rated both items of.
        """
        A = len(self.items)
        x, y = np.triu_indices(A, k=1)
        mass = weights @ self.both
        if not mass.all():
            pair = int(np.flatnonzero(mass == 0)[0])
            raise ValueError(f"{self.name}: no user rated both {self.items[x[pair]]!r} and {self.items[y[pair]]!r}")
        rates = np.full((A, A), 0.5)
        rates[x, y] += (weights @ self.margins) / mass
        rates[y, x] -= (weights @ self.margins) / mass
        return rates


def read_ratings(
    path: Path | str,
    kind: RatingKind = "ratings",
    *,
    scale: tuple[float, float] | None = None,
    missing: Missing | None = None,
    items: Sequence[str] | None = None,
    per_user_scale: bool = False,
) -> RatedItems:
    """Read a file of ratings or rankings: csv or csv.gz with a header, one row per user, one column per item.

    Parameters
    ----------
    path : str or Path
    kind : {"ratings", "rankings"}
        Ratings: higher is better, utility (rating − min)/(max − min). Rankings: a cell is a rank, 1 best, utility
        (A − rank)/(A − 1), each row a permutation of 1…A.
    scale : (float, float), optional
        The rating scale (min, max); None: the smallest and largest rating in the file.
    missing : {"drop", "pairs"}, optional
        None: a missing cell is an error. "drop": leave out users with missing cells. "pairs": keep them and use the
        pairs both of whose items a user rated.
    items : sequence of str, optional
        Names of the item columns; None: every column most of whose cells are numbers.
    per_user_scale : bool
        Min–max per user instead of per file (a user who rates everything alike is then an error).

    Returns
    -------
    RatedItems
        Utilities (users, items), names, and what was left out.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        Names the line (of the file, the header is line 1) and column.

    Examples
    --------
    See `simulate.people`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no ratings file {path}")
    if missing not in (None, "drop", "pairs"):
        raise ValueError(f"missing = {missing!r} must be 'drop' or 'pairs'")
    table = _read_cells(path)
    names, ignored = _item_columns(table, items, path)
    values = _numbers(table, names, path)
    values, lines, dropped = _handle_missing(values, table.lines, missing, path)
    if kind == "rankings":
        utilities, used = _from_rankings(values, lines, path), (float(len(names)), 1.0)
    elif kind == "ratings":
        utilities, used = _from_ratings(values, lines, names, scale, per_user_scale, path)
    else:
        raise ValueError(f"kind = {kind!r} must be 'ratings' or 'rankings'")
    return RatedItems(path.name, utilities, names, ignored, dropped, used)


@dataclass(frozen=True)
class _Table:
    """A csv file as text: `cells[row][column]`, and the line of the file that each row begins on."""

    header: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    lines: Array


def _read_cells(path: Path) -> _Table:
    """All cells as text; a row with too many or too few fields is named by its line."""
    opener = gzip.open if path.suffix == ".gz" else open
    rows: list[tuple[str, ...]] = []
    lines: list[int] = []
    with opener(path, "rt", encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream)
        header = tuple(name.strip() for name in next(reader, []))
        begins = reader.line_num + 1
        for row in reader:
            if len(row) != len(header):
                many = "fewer" if len(row) < len(header) else "more"
                raise ValueError(f"{path}, line {begins}: {many} fields than the header ({len(row)}, {len(header)})")
            rows.append(tuple(cell.strip() for cell in row))
            lines.append(begins)
            begins = reader.line_num + 1
    if not header:
        raise ValueError(f"{path} is empty")
    if len(set(header)) < len(header):
        raise ValueError(f"{path}: two columns have the same name")
    if not rows:
        raise ValueError(f"{path} has a header but no users")
    return _Table(header, tuple(rows), np.array(lines))


def _as_number(cell: str) -> float:
    """The cell's finite number, NaN if it is none."""
    try:
        value = float(cell)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _item_columns(table: _Table, items: Sequence[str] | None, path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the item columns and of the others: as given, or the columns most of whose cells are numbers."""
    if items is not None:
        unknown = [name for name in items if name not in table.header]
        if unknown:
            raise ValueError(f"{path} has no column {unknown[0]!r}; its columns are {list(table.header)}")
        names = tuple(items)
    else:
        columns = zip(table.header, zip(*table.cells, strict=True), strict=True)
        filled = {name: [cell for cell in column if cell] for name, column in columns}
        numeric = {name: sum(not math.isnan(_as_number(c)) for c in cells) for name, cells in filled.items()}
        names = tuple(name for name in table.header if 2 * numeric[name] > len(filled[name]))
    if len(names) < 2:
        raise ValueError(f"{path} has {len(names)} item columns, two are needed; name them with items")
    return names, tuple(name for name in table.header if name not in names)


def _numbers(table: _Table, names: tuple[str, ...], path: Path) -> Array:
    """(users, items) with NaN for empty cells; a cell that is neither empty nor a finite number is an error."""
    where = [table.header.index(name) for name in names]
    values = np.array([[_as_number(row[k]) for k in where] for row in table.cells])
    for row, column in np.argwhere(np.isnan(values)):
        cell = table.cells[row][where[column]]
        if cell:
            raise ValueError(
                f"{path}, line {table.lines[row]}, column {names[column]!r}: {cell!r} is not a finite number"
            )
    return values


def _handle_missing(values: Array, lines: Array, missing: Missing | None, path: Path) -> tuple[Array, Array, int]:
    """Returns the values kept, the line of each kept row, and how many users were dropped."""
    holes = np.isnan(values)
    if not holes.any():
        return values, lines, 0
    users = int(holes.any(axis=1).sum())
    if missing is None:
        raise ValueError(
            f"{path} has {int(holes.sum())} missing cells in {users} of {len(values)} rows, the first in line "
            f"{lines[int(holes.any(axis=1).argmax())]}; choose missing='drop' (leave those users out) or "
            "missing='pairs' (keep the pairs both of whose items a user rated)"
        )
    if missing == "pairs":
        return values, lines, 0
    keep = ~holes.any(axis=1)
    if not keep.any():
        raise ValueError(f"{path}: every user has a missing cell, missing='drop' leaves none")
    return values[keep], lines[keep], users


def _from_ratings(
    values: Array, lines: Array, names: tuple[str, ...], scale: tuple[float, float] | None, per_user: bool, path: Path
) -> tuple[Array, tuple[float, float]]:
    low, high = (float(np.nanmin(values)), float(np.nanmax(values))) if scale is None else scale
    if not low < high:
        raise ValueError(f"{path}: the rating scale ({low}, {high}) is empty")
    outside = (values < low) | (values > high)
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise ValueError(
            f"{path}, line {lines[row]}, column {names[column]!r}: rating {values[row, column]:g} is outside the "
            f"scale [{low:g}, {high:g}]"
        )
    if not per_user:
        return (values - low) / (high - low), (low, high)
    least = np.nanmin(values, axis=1, keepdims=True)
    most = np.nanmax(values, axis=1, keepdims=True)
    flat = np.flatnonzero((most == least)[:, 0])
    if flat.size:
        raise ValueError(f"{path}, line {lines[flat[0]]}: all ratings are equal, the user has no scale of their own")
    return (values - least) / (most - least), (low, high)


def _from_rankings(values: Array, lines: Array, path: Path) -> Array:
    A = values.shape[1]
    if np.isnan(values).any():
        raise ValueError(f"{path}: incomplete rankings cannot be read with missing='pairs'; use missing='drop'")
    bad = (np.sort(values, axis=1) != np.arange(1, A + 1)).any(axis=1)
    if bad.any():
        raise ValueError(f"{path}, line {lines[int(bad.argmax())]}: not a ranking of {A} items (1 … {A}, each once)")
    return (A - values) / (A - 1)
