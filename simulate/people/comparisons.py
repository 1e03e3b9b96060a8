"""Files of comparisons as counts for the audit: logs of answers, tables of wins, square tables.

    log      a row per answer: user (may be missing), a, b, winner
    wins     a row per pair and direction: winner, loser, count
    square   a row and a column per item: how often the row's item beat the column's

A tie is no answer of a Bradley–Terry user; it is refused unless the caller leaves ties out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simulate.people.logs import COUNT, LEFT, RIGHT, USER, WINNER, how_often, judged, one_of, whole_counts
from simulate.people.table import Table, alike, listed, read_table
from theory.distortion.audit.observed import users_of
from theory.validate import Array

Index = NDArray[np.int64]
LOSER = re.compile(r"(loser|rejected)", re.I)
NO_USERS = "no column of users: every answer is taken to be of a user of its own"


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Who won against whom.

    items          names (A,)
    winner, loser  (N,) items by number, and count (N,): how often
    user           (N,) numbers of users, None where the file does not say who answered
    notes          what was taken for what
    """

    items: tuple[str, ...]
    winner: Index
    loser: Index
    count: Index
    user: Index | None
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> Array:
        """(A, A) how often x beat y."""
        table = np.zeros((len(self.items), len(self.items)))
        np.add.at(table, (self.winner, self.loser), self.count)
        return table

    @property
    def n_users(self) -> int | None:
        """How many users the audit may take to have answered; None where nobody answered twice, or none is named."""
        if self.user is None:
            return None
        return users_of(int(self.count.sum()), int(np.bincount(self.user, weights=self.count).max()))


def read_comparisons(
    path: Path | str,
    *,
    columns: Sequence[str] | None = None,
    drop_ties: bool = False,
    header: bool | None = None,
    separator: str | None = None,
    encoding: str | None = None,
) -> Comparisons:
    """Read a log of answers, a table of wins, or a square table.

    Parameters
    ----------
    path : str or Path
        Separated values, .gz or not.
    columns : sequence of str, optional
        Of a log, by name: user, a, b, winner, or a, b, winner. None: told from the header.
    drop_ties : bool
        Leave out ties, which are counted in the notes.
    header, separator, encoding
        As in `read_people`.

    Returns
    -------
    Comparisons

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        One sentence that names the file, the line and the column.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "log.csv"
    ...     _ = path.write_text("user,a,b,winner\\n1,tea,milk,tea\\n1,milk,tea,milk\\n2,tea,milk,a\\n")
    ...     found = read_comparisons(path)
    >>> found.items, found.counts.tolist(), found.n_users
    (('milk', 'tea'), [[0.0, 1.0], [2.0, 0.0]], 2)
    """
    table = read_table(Path(path), encoding=encoding, separator=separator, header=header)
    winner, loser, left, right = (_of(table, pattern) for pattern in (WINNER, LOSER, LEFT, RIGHT))
    if columns is not None:
        if len(columns) not in (3, 4):
            raise ValueError(f"columns = {tuple(columns)} must name user, a, b, winner, or a, b, winner")
        table.require(columns)
        left, right, winner = columns[-3:]
    if winner and ((left and right) or loser):
        user = one_of(table, USER) if columns is None else columns[0] if len(columns) == 4 else None
        count = one_of(table, COUNT)
        count = None if count in (user, *(columns or ())) else count
        if left and right:
            return _log(table, user, left, right, winner, count, drop_ties)
        assert loser is not None
        return _wins(table, user, winner, loser, count)
    if len(table.header) == len(table.lines) + 1 and set(table.header[1:]) == set(table.cells[table.header[0]]):
        return _square(table)
    raise ValueError(
        f"{table.path} has columns {listed(table.header)}: comparisons are a log (user, a, b, winner), a table of wins "
        "(winner, loser, count), or a square table of wins; name a log's columns with --long"
    )


def _of(table: Table, pattern: re.Pattern[str]) -> str | None:
    """The one column that a pattern matches; None where it is none or several."""
    found = [name for name in table.header if pattern.fullmatch(name)]
    return found[0] if len(found) == 1 else None


def _log(
    table: Table, user: str | None, left: str, right: str, winner: str, count: str | None, drop_ties: bool
) -> Comparisons:
    table.require_filled([user] if user else [])
    first, tie = judged(table, left, right, winner)
    if tie.any() and not drop_ties:
        raise ValueError(
            f"{table.place(int(tie.argmax()))}: {int(tie.sum())} comparisons are ties, which no win rate counts; "
            "leave them out with --drop-ties"
        )
    a, b = (table.cells[name][~tie] for name in (left, right))
    won = first[~tie]
    notes = [*table.notes, *_used("a log of answers", table, (user, left, right, winner, count))]
    notes += [f"{int(tie.sum())} ties left out"] if tie.any() else []
    who = None if user is None else table.cells[user][~tie]
    return _made(table, a.where(won, b), b.where(won, a), how_often(table, count)[~tie], who, notes)


def _wins(table: Table, user: str | None, winner: str, loser: str, count: str | None) -> Comparisons:
    times = how_often(table, count)
    table.require_filled([winner, loser, *([user] if user else [])])
    same = table.cells[winner].eq(table.cells[loser]).to_numpy()
    if same.any():
        raise ValueError(f"{table.place(int(same.argmax()))}: an item is compared with itself")
    notes = [*table.notes, *_used("wins", table, (user, winner, loser, count))]
    who = None if user is None else table.cells[user]
    return _made(table, table.cells[winner], table.cells[loser], times, who, notes)


def _square(table: Table) -> Comparisons:
    rows, names = table.cells[table.header[0]].tolist(), table.header[1:]
    wins = table.numbers(names, ())
    own = np.array([[row == name for name in names] for row in rows])
    bad = ~own & ~whole_counts(wins)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(f"{table.place(row, names[column])}: not a number of wins")
    if (wins[own & ~np.isnan(wins)] != 0).any():
        raise ValueError(f"{table.path}: an item has wins against itself")
    x, y = np.nonzero(~own & (wins > 0))
    notes = [*table.notes, "a square table: the row's item beat the column's"]
    notes += [NO_USERS]
    won, lost = pd.Series([rows[i] for i in x], dtype=str), pd.Series([names[j] for j in y], dtype=str)
    return _made(table, won, lost, wins[x, y], None, notes)


def _used(what: str, table: Table, columns: Sequence[str | None]) -> list[str]:
    """What was read from which columns, user first and count last, and which say nothing."""
    used, rest = [name for name in columns if name], [name for name in table.header if name not in columns]
    notes = [f"{what}: columns {', '.join(used)}" + ("" if columns[-1] else "; every line is one answer")]
    notes += [f"columns not used: {', '.join(rest)}"] if rest else []
    return notes if columns[0] else [*notes, NO_USERS]


def _made(
    table: Table, winner: pd.Series, loser: pd.Series, count: Array, user: pd.Series | None, notes: list[str]
) -> Comparisons:
    if not count.sum() > 0:
        raise ValueError(f"{table.path} holds no comparison")
    both, items = pd.factorize(pd.concat([winner, loser], ignore_index=True), sort=True)
    notes = [*notes, *alike("items", list(items))]
    who = None if user is None else np.asarray(pd.factorize(user)[0], dtype=np.int64)
    places = np.asarray(both, dtype=np.int64)
    n = len(winner)
    return Comparisons(
        tuple(map(str, items)), places[:n], places[n:], np.asarray(count, dtype=np.int64), who, tuple(notes)
    )
