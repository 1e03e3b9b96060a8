"""Where the panels of a figure stand: measured, so that nothing is cut off, overlaps, or hides data, at any width.

Panels go side by side while each keeps `PANEL` inches, else below one another; legends go below their panels, in as
many columns as fit; text that does not fit breaks between words; a figure is as high as what it holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter

#: The least width of a panel beside another, the gap between panels and the margin around all, inches.
PANEL, GAP, MARGIN = 2.05, 0.14, 0.03
#: More panels than these may be narrower.
MANY, NARROW = 9, 1.55
#: The height of a panel over its width, its least and its greatest height, and the height of a category, inches.
SHAPE, LEAST, GREATEST, CATEGORY = 0.72, 1.3, 2.1, 0.17
#: More panels than these are no higher than they have to be.
FEW = 4
#: The most columns of a legend, and the part of a panel's width that names of categories may take.
COLUMNS, NAMES = 4, 0.45
#: By how many inches something reaches beyond the axes: left, below, right, above.
Side = tuple[float, float, float, float]
#: A word: no space, but those of a formula.
WORD = re.compile(r"(?:\\.|\$(?:\\.|[^$\\])*\$|[^\s$\\])+")


def arrange(figure: Figure, width: float) -> None:
    """Place the panels and legends of a figure that is to be so many inches wide; its height follows."""
    figure.set_layout_engine("none")
    axes = figure.axes
    n_rows = -(-len(axes) // min(len(axes), max(1, int(width / max(map(_least, axes))))))
    n_columns = -(-len(axes) // n_rows)
    rows = [axes[i : i + n_columns] for i in range(0, len(axes), n_columns)]
    cell = (width - 2 * MARGIN - (n_columns - 1) * GAP) / n_columns
    figure.set_size_inches(width, 10.0)
    _explain_once(axes)
    for ax in axes:
        ax.set_position((0.4, 0.4, 0.7 * cell / width, _height(ax, 0.7 * cell) / 10.0))
        _hold_title(ax)
        _break_names(ax.yaxis, NAMES * cell)
        _break([ax.yaxis.label], _height(ax, 0.7 * cell) + 0.1)
    for row in rows:
        _name_once(row)
    wide = _widths(rows, cell)[1]
    letters = iter("abcdefghijklmnopqrstuvwxyz" if len(axes) > 1 else "")
    for row in rows:
        high = max(_height(ax, inches) for ax, inches in zip(row, wide, strict=False))
        for ax, inches in zip(row, wide, strict=False):
            ax.set_position((0.4, 0.4, inches / width, high / 10.0))
            _fill(ax, next(letters, ""), inches, cell)
    _place(figure, rows, cell)


def _fill(ax: Axes, letter: str, width: float, cell: float) -> None:
    """Break what is written at a panel of this size so that it fits; its legend in as many columns as the cell has."""
    ax.set_title(letter, loc="left", fontweight="bold")
    _break([ax.title], width - (0.3 if letter else 0.0))
    _break([ax.xaxis.label], width)
    for axis in (ax.xaxis, ax.yaxis):
        _thin(axis)
    if (old := ax.get_legend()) is not None:
        handles, labels = ax.get_legend_handles_labels()
        for columns in range(_most_columns(old, cell), 0, -1):
            legend = ax.legend(
                handles, labels, loc="upper center", ncols=columns, borderaxespad=0.0, title=old.get_title().get_text()
            )
            legend.set_in_layout(False)
            if _extent(legend)[0] <= cell:
                return
        beside = _extent(legend)[0] - max(_inches(ax, _box(text).width) for text in legend.get_texts())
        _break(legend.get_texts(), cell - beside)


def _hold_title(ax: Axes) -> None:
    """Keep the title right above its panel: matplotlib would measure all ticks again to see what stands there.

    It may where something does: another panel in this one, or the power of ten that all numbers along y have.
    """
    ax.yaxis.get_majorticklabels()  # which finds that power
    if not ax.child_axes and not ax.yaxis.get_major_formatter().get_offset():
        ax.set_title(ax.get_title(), y=1.0)


def _most_columns(legend: Legend, room: float) -> int:
    """No more columns of this legend fit into so many inches: the longest texts alone, and what is beside each."""
    texts = legend.get_texts()
    size = float(texts[0].get_fontsize()) / 72.0
    long = [_inches(text, _box(text).width) + (legend.handlelength + legend.handletextpad) * size for text in texts]
    for columns in range(min(COLUMNS, len(texts)), 1, -1):
        wide = sum(max(column) for column in np.array_split(long, columns))
        if wide + (columns - 1) * legend.columnspacing * size <= room:
            return columns
    return 1


def _widths(rows: Sequence[Sequence[Axes]], cell: float) -> tuple[list[float], list[float], list[list[Side]]]:
    """Per column, where panels begin in their cells and how wide they are, by what is written beside them now."""
    sides = [[_overhang(ax) for ax in row] for row in rows]
    columns = [list(filter(None, column)) for column in zip_longest(*sides)]
    left, right = ([max(side[i] for side in column) for column in columns] for i in (0, 2))
    return left, [cell - before - after for before, after in zip(left, right, strict=True)], sides


def _place(figure: Figure, rows: Sequence[Sequence[Axes]], cell: float) -> None:
    """Set the figure's height, and the positions of panels and legends, row by row from the top."""
    width = figure.get_figwidth()
    left, wide, sides = _widths(rows, cell)  # again: at its real size an axis may have other numbers
    below, above = ([max(side[i] for side in row) for row in sides] for i in (1, 3))
    keys = [max(_extent(ax.get_legend())[1] for ax in row) for row in rows]
    shared = sum(_extent(legend)[1] + GAP for legend in figure.legends)
    heights = [_inches(row[0], row[0].bbox.height) for row in rows]
    total = (
        sum(map(sum, (below, above, keys, heights))) + GAP * (len(rows) - 1) + GAP / 2 * len(rows) + 2 * MARGIN + shared
    )
    figure.set_size_inches(width, total)
    for legend in figure.legends:
        legend.set_bbox_to_anchor((0.5, 1.0 - MARGIN / total), transform=figure.transFigure)
    top = total - MARGIN - shared
    for i, row in enumerate(rows):
        bottom = top - above[i] - heights[i]
        under = bottom - below[i] - GAP / 2
        for column, ax in enumerate(row):
            start = MARGIN + column * (cell + GAP)
            inches = wide[column]
            ax.set_position(((start + left[column]) / width, bottom / total, inches / width, heights[i] / total))
            if (key := ax.get_legend()) is not None:
                half = _extent(key)[0] / 2
                middle = max(start + half, min(start + left[column] + inches / 2, start + cell - half))
                key.set_bbox_to_anchor((middle / width, under / total), transform=figure.transFigure)
        top = under - keys[i] - GAP


def _explain_once(axes: Sequence[Axes]) -> None:
    """Leave out a legend that says what that of an earlier panel says."""
    said: list[set[tuple[str, str]]] = []
    for ax in axes:
        if (legend := ax.get_legend()) is not None:
            keys = zip(legend.get_texts(), legend.legend_handles, strict=True)
            looks = {(text.get_text(), str(_colour(key))) for text, key in keys}
            if looks in said:
                legend.remove()
            said.append(looks)


def _colour(handle: Any) -> Any:
    """Of a line, or of the bar of an interval."""
    return handle.get_color() if hasattr(handle, "get_color") else handle


def _name_once(row: Sequence[Axes]) -> None:
    """Show the categories of panels beside one another once, at the first, where they are the same."""
    for ax in row:
        ax.tick_params(
            axis="y", labelleft=ax is row[0] or not _categories(ax) or _categories(ax) != _categories(row[0])
        )


def _categories(ax: Axes) -> list[str]:
    """The names along y; none where y has numbers."""
    return list(getattr(ax.yaxis.get_major_formatter(), "seq", ()))


def _siblings(ax: Axes) -> int:
    """Panels of the figure that a panel stands in."""
    figure = ax.get_figure(root=True)
    return len(figure.axes) if figure else 1


def _least(ax: Axes) -> float:
    """The least width of a panel beside another, inches: upright names along x need a line's height each."""
    names = getattr(ax.xaxis.get_major_formatter(), "seq", ())
    return max(NARROW if _siblings(ax) > MANY else PANEL, 0.5 + 0.1 * len(names))


def _height(ax: Axes, width: float) -> float:
    """What a panel's height is to be, inches."""
    lines = sum(1.3 + name.count("\n") for name in _categories(ax))
    most = GREATEST if _siblings(ax) <= FEW else LEAST
    return max(LEAST, min(most, SHAPE * width), CATEGORY * lines)


def _thin(axis: Axis) -> None:
    """Leave out every second number while numbers overlap; names stay."""
    if getattr(axis.get_major_formatter(), "seq", ()):
        return
    for _ in range(5):
        ends = sorted(axis.get_view_interval())
        shown = [place for place in axis.get_majorticklocs() if ends[0] <= place <= ends[1]]
        labels = [*axis.get_majorticklabels(), *axis.get_minorticklabels()]
        if not overlapping([_box(label) for label in labels if label.get_text() and label.get_visible()]):
            return
        if any(label.get_text() for label in axis.get_minorticklabels()):
            axis.set_minor_formatter(NullFormatter())
        else:
            axis.set_major_locator(FixedLocator(shown[::2]))


def overlapping(boxes: Sequence[Any]) -> bool:
    """Whether two of these boxes overlap."""
    return any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def _break(texts: Iterable[Text], room: float) -> None:
    """Break lines between words where a text is longer than so many inches along its direction."""
    for text in texts:
        words, lines = WORD.findall(text.get_text()), list[str]()
        if not words:
            continue
        lines.append(words[0])
        for word in words[1:]:
            text.set_text(f"{lines[-1]} {word}")
            box = _box(text)
            if _inches(text, box.height if text.get_rotation() == 90.0 else box.width) <= room:
                lines[-1] = text.get_text()
            else:
                lines.append(word)
        text.set_text("\n".join(lines))


def _break_names(axis: Axis, room: float) -> None:
    """Break the names along an axis that are longer than so many inches."""
    if getattr(axis.get_major_formatter(), "seq", ()):
        labels = axis.get_majorticklabels()
        _break(labels, room)
        axis.set_major_formatter(FixedFormatter([label.get_text() for label in labels]))


def _overhang(ax: Axes) -> Side:
    """By how much what is written at the axes, but the legend, reaches beyond them."""
    box, own = ax.get_tightbbox(_renderer(ax), for_layout_only=True), ax.bbox
    assert box is not None
    beyond = (own.x0 - box.x0, own.y0 - box.y0, box.x1 - own.x1, box.y1 - own.y1)
    left, below, right, above = (max(0.0, _inches(ax, pixels)) for pixels in beyond)
    return left, below, right, above


def _extent(legend: Legend | None) -> tuple[float, float]:
    """Width and height of a legend, inches; 0 for none."""
    if legend is None:
        return 0.0, 0.0
    box = _box(legend)
    return _inches(legend, box.width), _inches(legend, box.height)


def _box(artist: Any) -> Any:
    return artist.get_window_extent(_renderer(artist))


def _renderer(artist: Any) -> Any:
    return artist.get_figure(root=True).canvas.get_renderer()


def _inches(artist: Any, pixels: float) -> float:
    return float(pixels) / float(artist.get_figure(root=True).dpi)
