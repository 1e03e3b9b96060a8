"""People as data: users by items in [0, 1], what they would answer on every pair, and how cells become utilities.

Ratings become utilities by min–max of the rating scale, per file or per user; ranks linearly (Borda), tied ranks by
their mean; votes −1/0/1 as ratings of that scale; comparisons by the share that an item won of those it was in.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.stats import rankdata

from theory.bradley_terry import Population
from theory.numerics import centred_sigmoid
from theory.validate import Array, check_bt_beta

#: Numbers of users × pairs in memory at a time.
AT_A_TIME = 2**23


@dataclass(frozen=True, eq=False)
class RatedItems:
    """Utilities of real users: `utilities` (users, items) in [0,1], NaN where the user did not rate the item.

    Fields beside it say what was done with the file: `items` (names), `ignored` (columns that are no items),
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

    def compared(self, weights: Array | None = None) -> NDArray[np.bool_]:
        """(A, A): which pairs somebody of positive weight rated both items of; an item with itself if it was rated."""
        rated = (~np.isnan(self.utilities)).astype(np.float64)
        return np.asarray(rated.T @ (rated if weights is None else rated * (weights > 0)[:, None]) > 0)

    def unrated_pairs(self) -> tuple[tuple[str, str], ...]:
        """Pairs of items that nobody rated both of."""
        x, y = np.nonzero(np.triu(~self.compared(), k=1))
        return tuple((self.items[i], self.items[j]) for i, j in zip(x, y, strict=True))

    def unlinked(self) -> tuple[str, str] | None:
        """Two items that no chain of rated pairs links; None where the graph of rated pairs is connected."""
        pieces, label = connected_components(self.compared(), directed=False)
        return None if pieces == 1 else (self.items[0], self.items[int((label != label[0]).argmax())])

    def win_rates(self, weights: Array, bt_beta: float) -> Array:
        """P(x≻y) over the users who rated both, (R, A, A), for each row of weights (R, users); ½ where nobody did."""
        beta, U = check_bt_beta(bt_beta), self.utilities
        A = U.shape[1]
        x, y = np.triu_indices(A, k=1)
        margins, mass = np.zeros((len(weights), x.size)), np.zeros((len(weights), x.size))
        block = max(1, AT_A_TIME // max(1, x.size))
        for at in range(0, len(U), block):
            gaps = U[at : at + block, x] - U[at : at + block, y]
            if not self.complete:
                both = ~np.isnan(gaps)
                mass += weights[:, at : at + block] @ both.astype(np.float64)
                gaps = np.where(both, gaps, 0.0)
            margins += weights[:, at : at + block] @ centred_sigmoid(beta * gaps)
        if self.complete:
            mass += weights.sum(axis=1, keepdims=True)
        margins = np.divide(margins, mass, out=np.zeros_like(margins), where=mass > 0)
        margins = np.clip(margins, -0.5, 0.5)  # two sums round differently: where all agree it may be past one
        rates = np.full((len(weights), A, A), 0.5)
        rates[:, x, y] += margins
        rates[:, y, x] -= margins
        return rates

    def average_utilities(self, weights: Array) -> Array:
        """u(x) over the users who rated x, (R, A), for each row of weights (R, users); NaN where nobody did."""
        rated = ~np.isnan(self.utilities)
        raters = weights @ rated.astype(np.float64)
        total = weights @ np.where(rated, self.utilities, 0.0)
        return np.divide(total, raters, out=np.full_like(total, np.nan), where=raters > 0)


@dataclass(frozen=True, eq=False)
class People:
    """Users by items, and what was taken for what when their file was read."""

    name: str
    rated: RatedItems
    notes: tuple[str, ...] = ()

    @property
    def n_users(self) -> int:
        return self.rated.utilities.shape[0]

    @property
    def n_items(self) -> int:
        return self.rated.utilities.shape[1]

    @property
    def digest(self) -> str:
        """Of the utilities and the names of items: a row depends on them, whatever the file is called."""
        named = "\0".join(self.rated.items).encode()
        return hashlib.sha256(named + b"\0" + self.rated.utilities.tobytes()).hexdigest()[:12]


@dataclass(frozen=True, eq=False)
class Cells:
    """Numbers read from a file, before they are utilities: `values` (users, items), NaN where there is none.

    lines  the line of the file that each user begins on, for messages
    """

    path: Path
    values: Array
    lines: NDArray[np.int64]
    items: tuple[str, ...]

    def place(self, row: int, column: int | None = None) -> str:
        """Where in the file a user stands, or a number of theirs: what a refusal begins with."""
        line = f"{self.path}, line {self.lines[row]}"
        return line if column is None else f"{line}, column {self.items[column]!r}"

    def keep(self, users: NDArray[np.bool_]) -> Cells:
        return Cells(self.path, self.values[users], self.lines[users], self.items)


def from_ratings(cells: Cells, scale: tuple[float, float] | None, per_user: bool) -> tuple[Array, tuple[float, float]]:
    """Utilities by min–max of the scale (None: of the file), and the scale; per_user: each user's own."""
    values, path = cells.values, cells.path
    low, high = (float(np.nanmin(values)), float(np.nanmax(values))) if scale is None else scale
    if not (low < high and math.isfinite(high - low)):
        raise ValueError(f"{path}: the rating scale ({low:g}, {high:g}) is empty, or too wide for float64")
    outside = (values < low) | (values > high)
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise ValueError(
            f"{cells.place(row, column)}: rating {values[row, column]:g} is outside the scale [{low:g}, {high:g}]"
        )
    if not per_user:
        return (values - low) / (high - low), (low, high)
    least = np.nanmin(values, axis=1, keepdims=True)
    most = np.nanmax(values, axis=1, keepdims=True)
    flat = np.flatnonzero((most == least)[:, 0])
    if flat.size:
        raise ValueError(f"{cells.place(flat[0])}: all ratings are equal, the user has no scale of their own")
    return (values - least) / (most - least), (low, high)


def from_votes(cells: Cells) -> Array:
    """Utilities of votes −1, 0, 1: 0, ½, 1."""
    bad = ~np.isin(cells.values, (-1.0, 0.0, 1.0)) & ~np.isnan(cells.values)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(f"{cells.place(row, column)}: {cells.values[row, column]:g} is not a vote (−1, 0 or 1)")
    return (cells.values + 1.0) / 2.0


def check_rankings(cells: Cells) -> None:
    """ValueError names the first line that is no ranking.

    A row's ranks are 1 … k of the items that it ranks; tied items share a rank, counted on from it (1 2 2 4), after it
    (1 3 3 4), or not at all (1 2 2 3), or have their mean (1 2.5 2.5 4).
    """
    _, first = np.unique(cells.values, axis=0, return_index=True)
    for row in np.sort(first):
        own = cells.values[row][~np.isnan(cells.values[row])]
        if not any(np.array_equal(own, rankdata(own, method)) for method in ("average", "min", "max", "dense")):
            raise ValueError(f"{cells.place(row)}: not a ranking of {own.size} items (1 … "
                             f"{own.size}, each once, or tied)")  # fmt: skip


def from_rankings(cells: Cells) -> tuple[Array, int, int]:
    """Utilities (A − rank)/(A − 1), and how many rankings have ties, and are truncated.

    Ranks are counted again among the items that there are: an order of some of the items is an order too.
    """
    A = len(cells.items)
    different, back = np.unique(cells.values, axis=0, return_inverse=True)
    utilities = (A - rankdata(different, axis=1, nan_policy="omit")) / (A - 1)
    utilities = utilities[back.ravel()]
    tied = [len(np.unique(row[~np.isnan(row)])) < (~np.isnan(row)).sum() for row in utilities]
    return utilities, sum(tied), int(np.isnan(utilities).any(axis=1).sum())
