"""One look for every figure: sizes, a palette that survives grey printing, and how a figure is saved.

Lines differ in colour and in dash, points in colour and in marker, so that nothing hangs on colour alone. Theory is
always a line, simulation always a filled point with its 95 % interval, a language model an open point.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from numpy.typing import ArrayLike

from figures.layout import arrange
from simulate.rows.store import Row
from theory.claim import parse_setting
from theory.markup import mathtext, one_line

BLACK, GREY = "#000000", "#7F7F7F"
#: Okabe–Ito colours ordered by lightness, dark to light, each with its dash and marker.
LOOKS: tuple[tuple[str, str | tuple[int, tuple[int, ...]], str], ...] = (
    (BLACK, "-", "o"),
    ("#0072B2", "--", "s"),
    ("#D55E00", "-.", "^"),
    ("#009E73", ":", "D"),
    ("#CC79A7", (0, (5, 1, 1, 1, 1, 1)), "v"),
    ("#E69F00", (0, (8, 2)), "P"),
    ("#56B4E9", (0, (2, 1)), "X"),
    (GREY, (0, (1, 2)), "*"),
)

#: Half the width of a page's text, and all of it, inches: printed as they are.
COLUMN, PAGE = 3.2, 6.5
#: Characters of a name from outside that a panel's title has room for.
LONGEST_NAME = 24
#: What an interval is.
BARS = "Bars: 95 % intervals of what was simulated, one standard error either way of trained models."
#: Kinds of file, and those that are written unless asked otherwise.
FORMATS, USUAL = ("pdf", "png", "svg"), ("pdf", "png")

SETTINGS: dict[Any, Any] = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 9,  # an exponent is 0.7 times as large, and nothing may be below 6 points
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8.6,
    "xtick.labelsize": 8.6,
    "ytick.labelsize": 8.6,
    "legend.columnspacing": 1.2,
    "legend.labelspacing": 0.3,
    "legend.handlelength": 1.8,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "legend.frameon": False,
    "savefig.dpi": 200,
    "figure.dpi": 200,  # figures are laid out as PNG is drawn: text is measured once for both
    "pdf.fonttype": 42,  # real fonts in the PDF, not outlines
    "svg.hashsalt": "figures",
}

#: A line of a style file and the comment behind it: matplotlib lets a # stand between double quotes.
COMMENT = re.compile(r'^((?:"[^"]*"|[^"#])*)#.*$')

#: Where a row stands along the axis that is not its value's: an entry of its setting, or a function of the row.
Place = str | Callable[[Row], float]


@dataclass(frozen=True)
class Drawing:
    """A figure: what draws it (None: not enough to draw it from), and the claims it shows; none for all.

    of_sizes  it is drawn from sizes of model (`figures.sizes.Size`) in place of rows
    """

    draw: Callable[[Sequence[Any]], Figure | None]
    claims: tuple[str, ...]
    of_sizes: bool = False

    def shown(self, rows: Sequence[Row]) -> list[Row]:
        """The rows of its claims."""
        return [row for row in rows if not self.claims or row.claim in self.claims]

    def figure(self, source: Sequence[Any]) -> Figure | None:
        """What is drawn of these rows, a panel without any saying so; None where all are."""
        figure = self.draw(source)
        empty = [ax for ax in figure.axes if not np.isfinite(ax.dataLim.get_points()).all()] if figure else []
        for ax in empty:  # lines across a panel are no rows
            ax.text(0.5, 0.5, "no rows", transform=ax.transAxes, ha="center", va="center", color=GREY)
        return figure if figure and len(empty) < len(figure.axes) else None


def look(style: Mapping[str, Any] | None = None) -> AbstractContextManager[None]:
    """The one look, as a context, a user's `style` over it; the caller's matplotlib settings stay as they are."""
    return matplotlib.rc_context({**SETTINGS, **(style or {})})  # type: ignore[dict-item]


def read_style(path: Path) -> dict[str, Any]:
    """The settings of a matplotlib style file; ValueError names the line that is none, OSError a missing file."""
    found: dict[str, Any] = {}
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        name, colon, value = (part.strip() for part in COMMENT.sub(r"\1", text).partition(":"))
        if name and (not colon or name not in matplotlib.rcParams):
            raise ValueError(f"{path}, line {number}: {name!r} is no setting of matplotlib")
        if name:
            try:
                found[name] = dict(matplotlib.RcParams({name: value.strip('"')}))[name]  # type: ignore[index]
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {' '.join(str(error).split())}") from error
    return found


def panels(number: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels; where they stand is decided when it is saved (`figures.layout.arrange`)."""
    figure = Figure(figsize=(COLUMN if number == 1 else PAGE, 3.0))
    FigureCanvasAgg(figure)  # files only: figures are drawn where there is no screen
    return figure, list(figure.subplots(1, number, squeeze=False)[0])


def line(ax: Axes, look: int, x: ArrayLike, y: ArrayLike | Callable[..., Any], label: str | None = None) -> None:
    """A theory curve: its values, or the function of x that gives them."""
    colour, dash, _ = LOOKS[look % len(LOOKS)]
    values = [y(place) for place in np.asarray(x).tolist()] if callable(y) else y
    ax.plot(x, values, color=colour, linestyle=dash, label=label, zorder=2)


def points(
    ax: Axes, look: int, rows: Sequence[Row], place: Place, label: str | None = None, *, across: bool = False
) -> None:
    """Rows at their places with their 95 % intervals, `across`: value along x; nothing without rows."""
    colour, _, marker = LOOKS[look % len(LOOKS)]
    below = [max(0.0, row.estimate - row.low) for row in rows]
    above = [max(0.0, row.high - row.estimate) for row in rows]
    intervals(
        ax, rows, place, [below, above], across=across, color=colour, marker=marker, label=label, linestyle="none"
    )


def intervals(ax: Axes, rows: Sequence[Row], place: Place, errors: Any, *, across: bool, **looks: Any) -> None:
    """Estimates of rows at their places with these error bars, in this look; nothing without rows."""
    if rows:
        at = entry(place) if isinstance(place, str) else place
        places, values = [at(row) for row in rows], [row.estimate for row in rows]
        along = {"x": values, "y": places, "xerr": errors} if across else {"x": places, "y": values, "yerr": errors}
        ax.errorbar(**along, **looks, capsize=2, elinewidth=0.8, zorder=3)


def dots(ax: Axes, look: int, places: Sequence[tuple[float, float]], label: str | None = None, **looks: Any) -> None:
    """Points without intervals: in a transformed unit, or smaller than the marker; nothing without places."""
    colour, _, marker = LOOKS[look % len(LOOKS)]
    if places:
        x, y = zip(*places, strict=True)
        ax.plot(x, y, linestyle="none", label=label, **{"color": colour, "marker": marker, "zorder": 3, **looks})


def entry(name: str, factor: float = 1.0) -> Callable[[Row], float]:
    """Place a row at one entry of its setting, times a factor that sets apart what would coincide."""
    return lambda row: factor * float(parse_setting(row.setting)[name])


def fixed(value: float) -> Callable[[Row], float]:
    """Place every row at one value."""
    return lambda _: value


def text(row: Row, name: str) -> str:
    """One entry of a row's setting, as text."""
    return str(parse_setting(row.setting)[name])


def scaled(rows: Sequence[Row], factor: float | Callable[[Row], float], plus: float = 0.0) -> list[Row]:
    """The rows in another unit: estimate and interval times a factor, each row's own where it is a function, and
    `plus` more; errors times its size."""
    found = []
    for row in rows:
        times = factor(row) if callable(factor) else factor
        low, high = sorted((times * row.low + plus, times * row.high + plus))
        estimate, stderr = times * row.estimate + plus, abs(times) * row.stderr
        found.append(replace(row, estimate=estimate, stderr=stderr, low=low, high=high))
    return found


def categories(ax: Axes, names: Sequence[str]) -> None:
    """Names along y, the first on top at 0, the next at −1; said once where panels beside one another have the same."""
    named(ax.yaxis, {-float(i): name for i, name in enumerate(names)})
    ax.set_ylim(0.6 - len(names), 0.6)
    ax.grid(axis="y", visible=False)


def named(axis: Axis, names: Mapping[float, str]) -> None:
    """Names at places along an axis."""
    axis.set_major_locator(FixedLocator(list(names)))
    axis.set_major_formatter(FixedFormatter(list(names.values())))


def ticks(axis: Axis, *values: float) -> None:
    """Plain numbers on a logarithmic axis of few decades."""
    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_major_formatter(FuncFormatter(_plain))
    axis.set_minor_locator(NullLocator())


def _plain(value: float, _: object) -> str:
    return f"{value:g}".replace("-", "−")


def _few_decades(axis: Axis) -> None:
    """Plain numbers 1, 2, 5, 10… on a logarithmic axis of less than two decades."""
    low, high = sorted(axis.get_view_interval())
    if high < 100.0 * low:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(_plain))
        axis.set_minor_formatter(NullFormatter())


def finish(ax: Axes, xlabel: str, ylabel: str, title: str = "", *, legend: bool = True, log: str = "") -> None:
    """Labels, title, logarithmic axes ("x", "y", "xy"), and a legend of what has a label."""
    if "x" in log and ax.get_xscale() == "linear":
        ax.set_xscale("log")
    if "y" in log:
        ax.set_yscale("log")
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.set_title(title)
    for axis in (ax.xaxis, ax.yaxis):
        if axis.axis_name in log:
            _few_decades(axis)
    if legend and ax.get_legend_handles_labels()[1]:
        ax.legend(loc="upper center").set_in_layout(False)  # `arrange` puts it below the panel


def name(ax: Axes, text: str, before: str = "") -> None:
    """A name from outside as the panel's title, its middle left out where it is long; the caption has all of it."""
    half = (LONGEST_NAME - len(before)) // 2
    ax.set_title(before + mathtext(text if len(text) <= 2 * half else f"{text[:half]}…{text[1 - half :]}"))
    ax.set_label(before + one_line(text))


def save(
    figure: Figure, name: str, folder: Path, script: str, formats: Sequence[str] = USUAL, width: float | None = None
) -> list[Path]:
    """NAME.pdf, NAME.png… in `folder`, the drawing script named in their metadata.

    width  inches; the figure's own without
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrange(figure, width or figure.get_figwidth())
    paths = [folder / f"{name}.{kind}" for kind in formats]
    # no dates in the files: the same rows give the same bytes
    metadata: dict[str, dict[str, Any]] = {
        "pdf": {"Title": name, "Creator": script, "CreationDate": None},
        "png": {"Title": name, "Software": script},
        "svg": {"Title": name, "Creator": script, "Date": None},
    }
    for kind, path in zip(formats, paths, strict=True):
        figure.savefig(path, metadata=metadata[kind])
    return paths


def caption(drawing: Drawing, figure: Figure, rows: Sequence[Row]) -> str:
    """What a figure shows (its function's first line), its panels, and the seeds and sizes of all rows of its claims,
    of which it may show a part."""
    said = (drawing.draw.__doc__ or "").splitlines()[0].partition("; None ")[0].rstrip(".")
    if len(figure.axes) > 1:
        said += f". {'; '.join(map(_panel, figure.axes))}"
    mine = [row for row in rows if row.claim in drawing.claims or not drawing.claims]
    if not mine:
        return f"{said}. Claims {', '.join(drawing.claims)}; no rows."
    bars = any(isinstance(drawn, ErrorbarContainer) for ax in figure.axes for drawn in ax.containers)
    return f"{said}. {BARS if bars else ''}".rstrip() + f" {_rows_said(mine, drawing.claims)}"


def _panel(ax: Axes) -> str:
    """A panel's letter and name, or what it has along its axes."""
    name = str(ax.get_label()) or ax.get_title() or f"{ax.get_ylabel()} against {ax.get_xlabel()}"
    return f"({ax.get_title(loc='left')}) {' '.join(name.split())}"


def _rows_said(rows: Sequence[Row], claims: Sequence[str]) -> str:
    """Claims, seeds and sizes of rows."""
    seeds, sizes = sorted({row.seed for row in rows}), [row.n for row in rows]
    size = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
    there = {row.claim for row in rows}
    of = ", ".join(claim for claim in claims if claim in there) or "all claims"
    return f"All rows of {of}, drawn or not: seeds {', '.join(map(str, seeds))}; n = {size} a row."


def select(rows: Sequence[Row], claim: str, check: str, **setting: float | str) -> list[Row]:
    """Rows of one check whose setting has these entries."""
    mine = [row for row in rows if (row.claim, row.check) == (claim, check)]
    return [row for row in mine if _has(parse_setting(row.setting), setting)]


def _has(setting: dict[str, float | str], entries: dict[str, float | str]) -> bool:
    for key, asked in entries.items():
        value = setting.get(key)
        if value is None or isinstance(value, str) or isinstance(asked, str):
            if value != asked:
                return False
        elif not math.isclose(value, asked):
            return False
    return True
