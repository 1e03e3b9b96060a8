"""The sizes of model side by side: does a prediction hold better or worse as the model grows?

A trend is the slope over log10(parameters), weighted by the errors over seeds and with its error inflated where sizes
scatter by more than those say (`simulate.montecarlo.slope`). Distances from a prediction are compared as log10, where
a slope is the exponent of a power of the parameters. What a size has no rows for is `not run`, and part of no trend.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from figures.sizes import PLACES, QUANTITIES, Place, Point, Quantity, Size
from paper.latex import LEFT, definition, number, plus_minus, rounded, table
from paper.markdown import table as markdown_table
from simulate.montecarlo import slope
from theory.claim import half_width
from theory.markup import latex

Word = Literal["better", "worse", "no trend", "—"]
#: Fewest sizes that a slope with an error can be drawn through.
FEWEST = 3


@dataclass(frozen=True)
class Trend:
    """Change per tenfold parameters, of log10 of the quantity or of the quantity; `—` where there are too few sizes."""

    slope: float
    stderr: float
    logarithmic: bool
    word: Word


NO_TREND_KNOWN = Trend(math.nan, math.nan, False, "—")


@dataclass(frozen=True)
class SizeRow:
    """One quantity: a point per size that is looked for, None where it has no rows, and the trend."""

    quantity: Quantity
    points: tuple[Point | None, ...]
    trend: Trend


@dataclass(frozen=True)
class SizeTable:
    """The sizes looked for, those that have rows, and a row per quantity."""

    places: tuple[Place, ...]
    sizes: dict[str, Size]
    rows: tuple[SizeRow, ...]


def size_table(profile: str, sizes: Sequence[Size]) -> SizeTable:
    """Every quantity at every size that a profile looks for, from the sizes that have rows."""
    places, known = PLACES[profile], {size.name: size for size in sizes}
    rows = []
    for quantity in QUANTITIES:
        points = tuple(quantity.at(known[place.size]) if place.size in known else None for place in places)
        measured = [(known[p.size].parameters, point) for p, point in zip(places, points, strict=True) if point]
        rows.append(SizeRow(quantity, points, trend(quantity, measured)))
    return SizeTable(places, known, tuple(rows))


def trend(quantity: Quantity, points: Sequence[tuple[int, Point]]) -> Trend:
    """Better or worse per tenfold parameters, from (parameters, point) of each size that has rows."""
    values = [abs(point.value - 1.0) if quantity.goal == "one" else point.value for _, point in points]
    errors = [point.stderr for _, point in points]
    if len({parameters for parameters, _ in points}) < FEWEST or not all(map(math.isfinite, values)):
        return NO_TREND_KNOWN
    logarithmic = quantity.goal == "smaller" and min(values) > 0.0
    if logarithmic:
        errors = [error / value / math.log(10.0) for value, error in zip(values, errors, strict=True)]
        values = [math.log10(value) for value in values]
    x = [math.log10(parameters) for parameters, _ in points]
    known = errors if all(error > 0.0 for error in errors) else None  # one without, and there is the scatter alone
    found = slope(x, values, known)
    if abs(found.value) <= half_width(found.stderr, _freedom(found.stderr, x, known, points)):
        return Trend(found.value, found.stderr, logarithmic, "no trend")
    good = found.value > 0.0 if quantity.goal == "larger" else found.value < 0.0
    return Trend(found.value, found.stderr, logarithmic, "better" if good else "worse")


def _freedom(
    stderr: float, x: Sequence[float], errors: Sequence[float] | None, points: Sequence[tuple[int, Point]]
) -> float:
    """Degrees of freedom of a slope's error: of the sizes' scatter about the line where that is what it is, else those
    of the errors over seeds; one seed's own error is over what it was measured on, which is much."""
    if errors is None or stderr > slope(x, [0.0] * len(x), errors).stderr:
        return len(x) - 2
    return sum(point.seeds - 1 if point.seeds > 1 else math.inf for _, point in points)


def _cell(point: Point | None) -> str:
    return "not run" if point is None else plus_minus(point.value, point.stderr, 3, 1)


def _slope(found: Trend) -> str:
    if found.word == "—":
        return "—"
    return plus_minus(found.slope, found.stderr, 3) + (" (log)" if found.logarithmic else "")


def _latex_cell(point: Point | None) -> str:
    return "---" if point is None else rounded(point.value, point.stderr, 3)


def _latex_slope(found: Trend) -> str:
    if found.word == "—":
        return "---"
    return rounded(found.slope, found.stderr, 3) + (" (log)" if found.logarithmic else "")


def _parameters(parameters: int) -> str:
    return f"{number(parameters / 1e6, 2)} M"


def _headings(found: SizeTable) -> list[str]:
    """A size's name, with its parameters and seeds where it has rows."""
    return [
        f"{place.size} ({_parameters(size.parameters)}, {len(size.seeds)} seeds)"
        if (size := found.sizes.get(place.size))
        else f"{place.size} ({place.device})"
        for place in found.places
    ]


def markdown(found: SizeTable) -> str:
    """sizes.md: a row per quantity, a column per size, the slope per tenfold parameters and what it means."""
    missing = [place for place in found.places if place.size not in found.sizes]
    head = [
        "# Sizes of model side by side",
        "",
        "Does a prediction hold better or worse as the model grows? Mean over seeds ± standard error. Slopes are per",
        "tenfold parameters, of log10 of the quantity where it says (log), of the distance from one where it is a",
        "ratio to a prediction. `no trend`: zero is in the slope's 99 % interval; `—`: fewer than three sizes, or a",
        "number is missing.",
        *(f"{place.size} is filled by `{place.command}`." for place in missing),
        "",
    ]
    rows = [[row.quantity.label, *map(_cell, row.points), _slope(row.trend), row.trend.word] for row in found.rows]
    return "\n".join([*head, *markdown_table(["quantity", *_headings(found), "slope", "trend"], rows)]) + "\n"


def latex_sizes(found: SizeTable) -> str:
    """sizes.tex: the same for the sizes that have rows; parameters and device are below the sizes in its head."""
    places = [place for place in found.places if place.size in found.sizes]
    heads = [
        ["quantity", *(place.size for place in places), "slope", "trend"],
        ["", *(latex(_parameters(found.sizes[place.size].parameters)) for place in places), "per tenfold", ""],
        ["", *(place.device for place in places), "", ""],
    ]
    rows = [
        [latex(row.quantity.label), *_cells(row, found, places), _latex_slope(row.trend), latex(row.trend.word)]
        for row in found.rows
    ]
    return table("tabular", rf"@{{}}{LEFT}{{.42\linewidth}}{'r' * len(places)}rl@{{}}", heads, rows)


def _cells(row: SizeRow, found: SizeTable, places: Sequence[Place]) -> list[str]:
    """A quantity at these places; a dash where the size has no such number."""
    points = dict(zip(found.places, row.points, strict=True))
    return [_latex_cell(points[place]) for place in places]


def latex_numbers(found: SizeTable) -> str:
    r"""Macros for prose: \ledger{sizes}{QUANTITY}{SIZE}, {slope}, {trend}; and \ledger{sizes}{count}{better} and so on.

    Counted are `sizes` with rows, `quantities`, those measured at all of the sizes (`everywhere`), and those of each
    word; `unknown` stands for —.
    """
    values = dict[str, str]()
    for row in found.rows:
        cells = {place.size: _latex_cell(point) for place, point in zip(found.places, row.points, strict=True)}
        cells |= {"slope": _latex_slope(row.trend), "trend": latex(row.trend.word)}
        values |= {f"{row.quantity.name}@{name}": cell for name, cell in cells.items()}
    words = [row.trend.word for row in found.rows]
    counts = {word: words.count(word) for word in ("better", "worse", "no trend")}
    shown = [k for k, place in enumerate(found.places) if place.size in found.sizes]
    counts["everywhere"] = sum(all(row.points[k] for k in shown) for row in found.rows)
    counts |= {"unknown": words.count("—"), "quantities": len(words), "sizes": len(found.sizes)}
    values |= {f"count@{name}": str(count) for name, count in counts.items()}
    return "\n".join(definition(f"sizes@{name}", value) for name, value in values.items()) + "\n"
