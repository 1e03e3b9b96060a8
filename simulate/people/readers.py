"""Files of people as utilities: ratings wide or long, rankings, votes, pairwise logs, PrefLib.

    wide     a row per user, a column per item: ratings, ranks (1 is best) or votes (−1, 0, 1)
    long     a row per user and item: user, item, rating
    pairs    a row per comparison: user, a, b, winner
    PrefLib  .soc, .soi, .toc, .toi

Nothing is dropped, clipped, filled in or guessed in silence. What was taken for an item, an id, a missing value, a
scale and a header stands in `People.notes`, with counts; a column that may be an id, a table that may be long, a number
that may stand for a missing value are refused until the caller says what they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from simulate.options import KINDS
from simulate.people.data import Cells, People, RatedItems, check_rankings, from_rankings, from_ratings, from_votes
from simulate.people.logs import ITEM, RATING, USER, WINNER, named_by, read_log
from simulate.people.preflib import is_preflib, read_preflib
from simulate.people.suspects import refuse_rankings, refuse_suspects
from simulate.people.table import Table, alike, check_text, listed, read_table, shown
from theory.validate import as_numbers, check_flag, check_whole, check_word

Kind = Literal["ratings", "rankings", "votes", "pairs"]
Missing = Literal["drop", "pairs"]


@dataclass(frozen=True)
class Reading:
    """What the caller said of a file; None where it is to be told from the file, see `read_people`."""

    kind: Kind | None
    items: tuple[str, ...] | None
    id: str | None
    na: tuple[str, ...]
    long: tuple[str, ...] | bool | None
    scale: tuple[float, float] | None
    missing: Missing | None
    min_raters: int
    per_user_scale: bool


def read_people(
    path: Path | str,
    kind: Kind | None = None,
    items: Sequence[str] | None = None,
    id: str | None = None,
    na: Sequence[str] | str | None = None,
    long: Sequence[str] | bool | None = None,
    scale: tuple[float, float] | None = None,
    *,
    missing: Missing | None = None,
    min_raters: int = 0,
    per_user_scale: bool = False,
    header: bool | None = None,
    separator: str | None = None,
    encoding: str | None = None,
) -> People:
    """Read a file of people's ratings, rankings, votes or comparisons.

    Parameters
    ----------
    path : str or Path
        Separated values, .gz or not, or a PrefLib file (.soc, .soi, .toc, .toi).
    kind : {"ratings", "rankings", "votes", "pairs"}, optional
        Ratings: higher is better, utility (rating − min)/(max − min). Rankings: a cell is a rank, 1 best, utility
        (A − rank)/(A − 1), tied ranks at their mean. Votes: −1, 0, 1. Pairs: comparisons, utility the share won.
        None: PrefLib files are rankings, a column `winner` makes pairs, all of −1, 0, 1 votes, else ratings; rows that
        may be rankings are refused.
    items : sequence of str, optional
        The items: columns, or names in a long table. None: every column most of whose cells are numbers.
    id : str, optional
        The column that names users.
    na : str or sequence of str, optional
        Cells that stand for a missing value, beside empty ones: "99".
    long : sequence of str or True, optional
        A long table: its columns for user, item and rating (a pairwise log's: user, a, b, winner); True: by name.
    scale : (float, float), optional
        The rating scale (min, max); None: the smallest and largest rating in the file.
    missing : {"drop", "pairs"}, optional
        None: a missing cell is an error. "drop": leave out users with missing cells. "pairs": keep them, and use the
        pairs both of whose items a user rated, which must link all items.
    min_raters : int
        Leave out items that fewer users rated.
    per_user_scale : bool
        Min–max per user instead of per file (a user who rates everything alike is then an error).
    header : bool, optional
        Is the first line a header? None: yes, unless it holds numbers alone, which is refused.
    separator, encoding : str, optional
        None: told from the file, or refused.

    Returns
    -------
    People
        Utilities (users, items), names, and in `notes` what was taken for what.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        One sentence that names the file, line (the header is line 1) and column, and the option that settles it.

    References
    ----------
    PrefLib: Mattei, Walsh (ADT 2013).

    Examples
    --------
    See `simulate.people`.
    """
    path = Path(path)
    how = _checked(kind, items, id, na, long, scale, missing, min_raters, per_user_scale)
    ignored: tuple[str, ...] = ()
    if is_preflib(path):
        tables = {"id": id, "na": na, "long": long, "header": header is not None, "separator": separator}
        _refuse_given(path, {"kind": kind not in (None, "rankings"), **tables}, "a PrefLib file")
        cells, notes = read_preflib(path, encoding)
        kind = "rankings"
    else:
        table = read_table(path, encoding=encoding, separator=separator, header=header)
        cells, ignored, kind, notes = _from_table(table, how)
    cells = _chosen(cells, how)
    cells, few = _enough_raters(cells, how.min_raters)
    cells, dropped, gaps = _handle_missing(cells, how.missing)
    utilities, used, said = _utilities(cells, kind, how)
    rated = RatedItems(path.name, utilities, cells.items, ignored, dropped, used)
    return People(path.name, rated, (*notes, *said, *few, *gaps, *_described(rated)))


def _checked(
    kind: Kind | None, items: Sequence[str] | None, id: str | None, na: Sequence[str] | str | None,
    long: Sequence[str] | bool | None, scale: tuple[float, float] | None, missing: Missing | None, min_raters: int,
    per_user_scale: bool,
) -> Reading:  # fmt: skip
    """What the caller said, ValueError for what cannot be meant."""
    if kind is not None:
        check_word("kind", kind, KINDS)
    if missing is not None:
        check_word("missing", missing, ("drop", "pairs"))
    check_text("id", id)
    names = None if items is None else _words("items", items)
    if names is not None and len(set(names)) < len(names):
        raise ValueError(f"items: {shown(next(name for name in names if names.count(name) > 1))} is named twice")
    columns = None if long is None or isinstance(long, bool) else _words("long", long)
    if columns is not None and len(columns) != (4 if kind == "pairs" else 3):
        raise ValueError(f"long = {columns} must name columns for user, item and rating (pairs: user, a, b, winner)")
    marks = (na,) if isinstance(na, str) else _words("na", na or ())
    bounds = None if scale is None else as_numbers("scale", scale)
    if bounds is not None and not (bounds.shape == (2,) and np.isfinite(bounds).all() and bounds[0] < bounds[1]):
        raise ValueError(f"scale = {scale} must be two finite numbers, the smaller first")
    ends = None if bounds is None else (float(bounds[0]), float(bounds[1]))
    least, own = check_whole("min_raters", min_raters, 0), check_flag("per_user_scale", per_user_scale)
    return Reading(kind, names, id, marks, columns or bool(long) or None, ends, missing, least, own)


def _words(name: str, values: Sequence[str]) -> tuple[str, ...]:
    """Names in a list; ValueError for one name alone, which is a sequence of letters, and for what is no text."""
    if isinstance(values, str) or not isinstance(values, Sequence) or not all(isinstance(v, str) for v in values):
        raise ValueError(f"{name} = {values!r} must be a list of names")
    return tuple(values)


def _refuse_given(path: Path, given: Mapping[str, object], what: str) -> None:
    """ValueError names an option that says nothing of this form of file."""
    for name, value in given.items():
        if value:
            raise ValueError(f"{path}: {name} (--{name}) is not of {what}")


def _from_table(table: Table, how: Reading) -> tuple[Cells, tuple[str, ...], Kind, tuple[str, ...]]:
    """Cells, the columns that are no items, the kind, and what is to be said."""
    is_log = how.kind == "pairs" or (how.kind is None and not how.items and any(map(WINNER.fullmatch, table.header)))
    if is_log:
        _refuse_given(table.path, {"id": how.id, "na": how.na}, "a log")
        cells, used = read_log(table, how.long)
        numbers: tuple[str, ...] = ()
    elif how.long:
        _refuse_given(table.path, {"id": how.id}, "a long table")
        cells, used = _from_long(table, how)
        numbers = used[2:]
    else:
        cells, used = _from_wide(table, how)
        numbers = cells.items
    kind = "pairs" if is_log else how.kind or _kind_of(cells)
    if kind == "rankings":
        check_rankings(cells)
    ignored = tuple(name for name in table.header if name not in (*cells.items, *used))
    return cells, ignored, kind, (*table.notes, *_told(table, how, kind, used, numbers), *alike("items", cells.items))


def _told(table: Table, how: Reading, kind: Kind, used: tuple[str, ...], numbers: tuple[str, ...]) -> Iterator[str]:
    """What was taken for what; `used` columns say who and what, `numbers` may hold marks of missing values."""
    yield f"read as {kind}" + ("" if how.kind or kind == "ratings" else " (by its columns or cells)")
    if how.na:
        marks = sum(int(table.marked(name, how.na).sum()) for name in numbers)
        yield f"{' '.join(how.na)}: {marks} cells are missing values"
    if used:
        yield f"columns {', '.join(used)} say who and what"
        yield from alike("users", list(table.cells[used[0]].unique()))


def _kind_of(cells: Cells) -> Kind:
    """Votes or ratings; ValueError where rows may be rankings, whose best is the smallest."""
    there = cells.values[~np.isnan(cells.values)]
    refuse_rankings(cells)
    return "votes" if np.isin(there, (-1.0, 0.0, 1.0)).all() and (there < 0).any() else "ratings"


def _from_wide(table: Table, how: Reading) -> tuple[Cells, tuple[str, ...]]:
    """A row per user: item columns as named, or those most of whose cells are numbers, none of them suspect."""
    if how.id is not None:
        table.require([how.id])
        table.require_filled([how.id])
        again = table.cells[how.id].duplicated().to_numpy()
        if again.any():
            row = int(again.argmax())
            raise ValueError(
                f"{table.place(row)}: user {shown(table.cells[how.id].iloc[row])} was in a line before: "
                "a wide table has one line per user"
            )
    used = (how.id,) if how.id is not None else ()
    if how.items is not None:
        table.require([*used, *how.items])
        names = how.items
    else:
        others = [name for name in table.header if name not in used]
        values = table.numbers(others, how.na, strict=False)
        filled = [(table.cells[name].ne("") & ~table.marked(name, how.na)).sum() for name in others]
        numeric = 2 * (~np.isnan(values)).sum(axis=0) > filled
        refuse_suspects(table, others, numeric, values, scale=how.scale, na=how.na, kind=how.kind)
        names = tuple(name for name, is_number in zip(others, numeric, strict=True) if is_number)
    if len(names) < 2:
        raise ValueError(f"{table.path} has {len(names)} item columns, two are needed; name them with --items, or "
                         "the columns of a long table with --long")  # fmt: skip
    return Cells(table.path, table.numbers(names, how.na), table.lines, tuple(names)), used


def _from_long(table: Table, how: Reading) -> tuple[Cells, tuple[str, ...]]:
    """A row per user and item, pivoted; a user's line is the first that names them."""
    columns = (
        how.long if isinstance(how.long, tuple) else named_by(table, (USER, ITEM, RATING), "user, item and rating")
    )
    table.require(columns)
    user, item, rating = columns
    table.require_filled([user, item])
    values = table.numbers([rating], how.na)[:, 0]
    again = table.cells.duplicated([user, item]).to_numpy()
    if again.any():
        row = int(again.argmax())
        who, what = (shown(table.cells[name].iloc[row]) for name in (user, item))
        raise ValueError(f"{table.place(row)}: user {who} rated item {what} in a line before")
    users, people = pd.factorize(table.cells[user])
    place, items = pd.factorize(table.cells[item])
    found = np.full((len(people), len(items)), np.nan)
    found[users, place] = values
    lines = table.lines[np.unique(users, return_index=True)[1]]
    return Cells(table.path, found, lines, tuple(map(str, items))), columns


def _chosen(cells: Cells, how: Reading) -> Cells:
    """The items that were named, in that order; all where none were."""
    if how.items is None:
        return cells
    unknown = [name for name in how.items if name not in cells.items]
    if unknown:
        raise ValueError(f"{cells.path} has no item {shown(unknown[0])}; its items are {listed(cells.items)}")
    return Cells(cells.path, cells.values[:, [cells.items.index(name) for name in how.items]], cells.lines, how.items)


def _enough_raters(cells: Cells, least: int) -> tuple[Cells, tuple[str, ...]]:
    """Items that so many users rated, and users who rated one of them."""
    raters = (~np.isnan(cells.values)).sum(axis=0)
    keep = raters >= max(least, 1)
    if keep.sum() < 2:
        raise ValueError(f"{cells.path}: {int(keep.sum())} items have {max(least, 1)} raters, two are needed")
    items = tuple(name for name, kept in zip(cells.items, keep, strict=True) if kept)
    chosen = Cells(cells.path, cells.values[:, keep], cells.lines, items)
    someone = np.asarray(~np.isnan(chosen.values).all(axis=1))
    notes = []
    if not keep.all():
        out = [name for name, kept in zip(cells.items, keep, strict=True) if not kept]
        notes.append(f"{len(out)} items with fewer than {max(least, 1)} raters left out: {listed(out)}")
    if not someone.all():
        notes.append(f"{int((~someone).sum())} users without a rating left out")
    return chosen.keep(someone), tuple(notes)


def _handle_missing(cells: Cells, missing: Missing | None) -> tuple[Cells, int, tuple[str, ...]]:
    """The users kept, how many were dropped, and what is to be said; ValueError for gaps that no choice covers."""
    holes = np.isnan(cells.values)
    users, path = np.asarray(holes.any(axis=1)), cells.path
    if not users.any():
        return cells, 0, ()
    if missing is None:
        raise ValueError(
            f"{path} has {int(holes.sum())} missing cells in {int(users.sum())} of {len(users)} rows, the first in "
            f"line {cells.lines[int(users.argmax())]}; choose --missing drop (leave those users out) or "
            "--missing pairs (keep the pairs both of whose items a user rated), and items by --min-raters"
        )
    if missing == "pairs":
        return cells, 0, (f"{int(holes.sum())} missing cells: the pairs that a user rated both items of are used",)
    if users.all():
        raise ValueError(f"{path}: every user has a missing cell, --missing drop leaves none")
    return cells.keep(~users), int(users.sum()), (f"{int(users.sum())} users with missing cells left out",)


def _utilities(cells: Cells, kind: Kind, how: Reading) -> tuple[np.ndarray, tuple[float, float], tuple[str, ...]]:
    """Utilities, the cells that became 0 and 1, and what is to be said."""
    A = len(cells.items)
    if (how.scale or how.per_user_scale) and kind != "ratings":
        raise ValueError(f"{cells.path}: a scale is of ratings, this file is read as {kind}")
    if kind == "rankings":
        found, ties, short = from_rankings(cells)
        return found, (float(A), 1.0), (f"ranks 1 (best) to {A}; {ties} rankings with ties, {short} truncated",)
    if kind == "votes":
        return from_votes(cells), (-1.0, 1.0), ("votes −1, 0, 1 are utilities 0, ½, 1",)
    if kind == "pairs":
        return cells.values, (0.0, 1.0), ("a user's utility of an item is the share won of the comparisons it was in",)
    found, used = from_ratings(cells, how.scale, how.per_user_scale)
    whose = "each user's own within " if how.per_user_scale else ""
    return found, used, (f"scale {whose}{used[0]:g} to {used[1]:g} ({'as given' if how.scale else 'of the file'})",)


def _described(rated: RatedItems) -> tuple[str, ...]:
    """Items with their raters, pairs that nobody rated; ValueError where no chain of rated pairs links the items."""
    raters = (~np.isnan(rated.utilities)).sum(axis=0)
    first = ", ".join(f"{name} ({count})" for name, count in list(zip(rated.items, raters, strict=True))[:12])
    more = f" and {len(raters) - 12} more, {raters.min()} raters at least" if len(raters) > 12 else ""
    notes = [f"items (raters): {first}{more}"]
    if rated.ignored:
        notes.append(f"not items (not numeric, or not named): {', '.join(rated.ignored)}")
    if rated.complete:
        return tuple(notes)
    apart, unrated = rated.unlinked(), rated.unrated_pairs()
    if apart:
        raise ValueError(f"{rated.name}: no user rated both {apart[0]!r} and {apart[1]!r}, and no chain of users' "
                         "ratings links them: choose items with --items or --min-raters")  # fmt: skip
    if unrated:
        notes.append(f"{len(unrated)} pairs that no user rated both items of, the first {unrated[0][0]!r} and "
                     f"{unrated[0][1]!r}: only rewards fitted on the rated pairs can be had")  # fmt: skip
    return tuple(notes)
