"""Figure of model sizes: does a prediction hold better or worse as the model grows? Small multiples, from rows."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures.model_points import GREY
from figures.size_quantities import QUANTITIES
from figures.sizes import Point, Quantity, Size
from figures.style import LOOKS, PAGE, Drawing, finish
from llm_validation.recorded import MODELS

COLUMNS = 4
#: Markers of the sizes that a GPU trains; a size without one here is drawn with its line's.
MARKERS = {"small": MODELS["gpu"], "base": MODELS["gpu_base"]}


def measured(quantity: Quantity, sizes: Sequence[Size]) -> list[tuple[Size, Point]]:
    """The sizes at which a quantity has a number, small to large."""
    found = ((size, quantity.at(size)) for size in sizes)
    return [(size, point) for size, point in found if point is not None]


def against_parameters(ax: Axes, look: int, quantity: Quantity, sizes: Sequence[Size]) -> None:
    """One quantity: an open point per size with one standard error either way, and a thin line through them."""
    colour, dash, own = LOOKS[look % len(LOOKS)]
    points = measured(quantity, sizes)
    if not points:
        return
    ax.plot([size.parameters for size, _ in points], [point.value for _, point in points], color=colour,
            linestyle=dash, linewidth=0.6, zorder=2)  # fmt: skip
    for size, point in points:
        model = MARKERS.get(size.name)
        ax.errorbar(
            size.parameters, point.value, yerr=point.stderr, color=colour, linestyle="none", markerfacecolor="white",
            marker=(model.marker if model else None) or own, markersize=5.0 * (model.scale if model else 1.0),
            capsize=2, elinewidth=0.8, zorder=3,
        )  # fmt: skip
    # drawn empty, so that the legend shows the marker of the line and not that of its last size
    ax.plot([], [], color=colour, linestyle=dash, linewidth=0.6, marker=own, markerfacecolor="white",
            label=quantity.short)  # fmt: skip


def panel(ax: Axes, title: str, sizes: Sequence[Size]) -> None:
    """The quantities of one panel, and what the checks ask of them as grey lines."""
    mine = [quantity for quantity in QUANTITIES if quantity.panel == title]
    for look, quantity in enumerate(mine):
        against_parameters(ax, look, quantity, sizes)
    ax.set_xscale("log")
    if all(quantity.goal == "smaller" for quantity in mine):
        values = [point.value for quantity in mine for _, point in measured(quantity, sizes)]
        if values and min(values) > 0.0:  # an exact zero, or an excess within its noise, has no place on a log axis
            ax.set_yscale("log")
    for target in sorted({target for quantity in mine for target in quantity.targets()}):
        ax.axhline(target, color=GREY, linewidth=1.0, zorder=1)
    finish(ax, "parameters", "", title)


def predictions_across_sizes(sizes: Sequence[Size]) -> Figure | None:
    """Every quantity against the number of parameters; None where fewer than two sizes have rows."""
    titles = [
        title
        for title in dict.fromkeys(quantity.panel for quantity in QUANTITIES)
        if any(measured(quantity, sizes) for quantity in QUANTITIES if quantity.panel == title)
    ]
    if len(sizes) < 2 or not titles:
        return None
    rows = -(-len(titles) // COLUMNS)
    figure, grid = plt.subplots(rows, COLUMNS, figsize=(PAGE * 1.3, 2.7 * rows), squeeze=False)
    for ax, title in zip(grid.flat, titles, strict=False):
        panel(ax, title, sizes)
    for ax in grid.flat[len(titles) :]:
        ax.remove()
    _marker_legend(figure, sizes)
    return figure


def _marker_legend(figure: Figure, sizes: Sequence[Size]) -> None:
    """Above all panels: the markers of the sizes that have one of their own."""
    shown = [(size.name, MARKERS[size.name]) for size in sizes if size.name in MARKERS]
    handles = [
        Line2D([], [], color=GREY, marker=model.marker or "o", markersize=5.0 * model.scale, markerfacecolor="white",
               linestyle="none", label=f"{name}, on a GPU")
        for name, model in shown
    ]  # fmt: skip
    if handles:
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))


#: name of the file → what draws it from sizes, and the claims it shows
FIGURES: dict[str, Drawing[Size]] = {
    "language_model_sizes": Drawing(
        predictions_across_sizes, tuple(dict.fromkeys(claim for q in QUANTITIES for claim, _ in q.checks))
    )
}
