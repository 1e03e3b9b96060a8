"""One look for every figure: sizes, a palette that survives grey printing, and how a figure is saved.

Lines differ in colour and in dash, points in colour and in marker, so that nothing hangs on colour alone. Theory is
always a line, simulation always a filled point with its 95 % interval, a language model an open point.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import matplotlib

matplotlib.use("Agg")  # files only: figures are drawn where there is no screen

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from simulate.rows.store import Row
from theory.claim import parse_setting

#: Okabe–Ito colours ordered by lightness, dark to light, each with its dash and marker.
LOOKS: tuple[tuple[str, str | tuple[int, tuple[int, ...]], str], ...] = (
    ("#000000", "-", "o"),
    ("#0072B2", "--", "s"),
    ("#D55E00", "-.", "^"),
    ("#009E73", ":", "D"),
    ("#CC79A7", (0, (5, 1, 1, 1, 1, 1)), "v"),
    ("#E69F00", (0, (8, 2)), "P"),
    ("#56B4E9", (0, (2, 1)), "X"),
    ("#7F7F7F", (0, (1, 2)), "*"),
)

#: Width of a text column and of a page, inches.
COLUMN, PAGE = 3.4, 7.0

SETTINGS: dict[Any, Any] = {
    "font.family": "serif",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # real fonts in the PDF, not outlines
    "svg.hashsalt": "figures",
}


#: What a figure is drawn from: result rows, or sizes of model with the rows of each.
Source = TypeVar("Source")


@dataclass(frozen=True)
class Drawing(Generic[Source]):
    """A figure: the function that draws it (None: not enough to draw it from), and the claims it shows."""

    draw: Callable[[Sequence[Source]], Figure | None]
    claims: tuple[str, ...]


def look() -> AbstractContextManager[None]:
    """The one look, as a context: draw and save inside it; the caller's own matplotlib settings stay as they are."""
    return plt.rc_context(SETTINGS)


def panels(columns: int = 1, width: float = COLUMN, height: float = 2.6) -> tuple[Figure, list[Axes]]:
    """A row of axes."""
    figure, axes = plt.subplots(1, columns, figsize=(width, height), squeeze=False)
    return figure, list(axes[0])


def line(ax: Axes, look: int, x: ArrayLike, y: ArrayLike, label: str | None = None) -> None:
    """A theory curve."""
    colour, dash, _ = LOOKS[look % len(LOOKS)]
    ax.plot(x, y, color=colour, linestyle=dash, label=label, zorder=2)


def points(ax: Axes, look: int, rows: Sequence[Row], x: str, label: str | None = None, *, filled: bool = True) -> None:
    """Measured rows against one entry of their setting, with their 95 % intervals; nothing without rows."""
    if not rows:
        return
    colour, _, marker = LOOKS[look % len(LOOKS)]
    ordered = sorted(rows, key=lambda row: float(parse_setting(row.setting)[x]))
    positions = [float(parse_setting(row.setting)[x]) for row in ordered]
    values = [row.estimate for row in ordered]
    below = [max(0.0, row.estimate - row.low) for row in ordered]
    above = [max(0.0, row.high - row.estimate) for row in ordered]
    face = colour if filled else "none"
    ax.errorbar(
        positions, values, yerr=[below, above], color=colour, marker=marker, markerfacecolor=face, linestyle="none",
        label=label, capsize=2, elinewidth=0.8, zorder=3,
    )  # fmt: skip


def finish(ax: Axes, xlabel: str, ylabel: str, title: str = "", *, legend: int = 1) -> None:
    """Labels, title, and the legend below the panel in `legend` columns (0: none), where it hides nothing."""
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.set_title(title)
    if legend and ax.get_legend_handles_labels()[1]:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=legend)


def save(figure: Figure, name: str, folder: Path, script: str) -> list[Path]:
    """NAME.pdf and NAME.png in `folder`, the drawing script named in their metadata; the figure is closed."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.pdf", folder / f"{name}.png"]
    # no dates in the files: the same rows give the same bytes
    figure.savefig(paths[0], metadata={"Title": name, "Creator": script, "CreationDate": None})
    figure.savefig(paths[1], metadata={"Title": name, "Software": script})
    plt.close(figure)
    return paths


def select(rows: Sequence[Row], claim: str, check: str, **setting: float | str) -> list[Row]:
    """Rows of one check whose setting has these entries."""
    return [
        row
        for row in rows
        if (row.claim, row.check) == (claim, check)
        and all(_equal(parse_setting(row.setting).get(key), value) for key, value in setting.items())
    ]


def _equal(found: float | str | None, wanted: float | str) -> bool:
    if isinstance(found, str) or isinstance(wanted, str) or found is None:
        return found == wanted
    return math.isclose(found, wanted)
