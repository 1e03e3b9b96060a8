"""Rows of trained language models in figures: where they come from, pooled over seeds, drawn as open points.

The models of the ledger (`llm_validation.recorded`) have rows of the same checks; here each row says in its setting
which model
it is of, so that one sequence of rows holds all of them, beside those of simulation, and `select(rows, …, model="gpu")`
tells them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.axes import Axes

from figures.style import LOOKS
from llm_validation.recorded import MODELS, pool, recorded_rows
from simulate.rows.store import Row, read_rows
from theory.claim import parse_setting

GREY = "#7F7F7F"


def tagged(rows: Sequence[Row], model: str) -> list[Row]:
    """The rows, each naming its model as the last entry of its setting."""
    return [replace(row, setting=";".join(filter(None, (row.setting, f"model={model}")))) for row in rows]


def language_model_rows(profile: str, folder: Path | None = None) -> list[Row]:
    """Rows of llm_validation/results: those of a profile (or of a folder), and the recorded ones of GPUs if any."""
    if folder is not None:
        return tagged(read_rows(folder), "llm")
    return [row for model in MODELS for row in tagged(recorded_rows(model, profile), model)]


def pooled(rows: Sequence[Row]) -> list[Row]:
    """One row per claim, check and setting: the mean over seeds and, as its interval, one standard error either way.

    `llm_validation.recorded.pool` says what the standard error is.
    """
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.claim, row.check, row.setting), []).append(row)
    found = []
    for group in groups.values():
        mean, error = pool([row.estimate for row in group], [row.stderr for row in group])
        found.append(replace(group[0], estimate=mean, stderr=error, n=len(group), low=mean - error, high=mean + error))
    return found


def scaled(rows: Sequence[Row], factor: Callable[[Row], float]) -> list[Row]:
    """The rows in another unit: each times its own factor."""
    return [replace(row, estimate=factor(row) * row.estimate, stderr=abs(factor(row)) * row.stderr) for row in rows]


def entry(name: str) -> Callable[[Row], float]:
    """Place a row at one entry of its setting."""
    return lambda row: float(parse_setting(row.setting)[name])


def mark(
    ax: Axes,
    look: int,
    rows: Sequence[Row],
    place: Callable[[Row], float],
    label: str | None = None,
    *,
    across: bool = False,
    joined: bool = False,
    size: float = 5.0,
) -> None:
    """Rows of trained models as open points at their places, seeds pooled, each model with its marker.

    across  the measured value along x and the place along y;  joined  points of a model joined by a thin line
    """
    for name, model in MODELS.items():
        mine = sorted(pooled([row for row in rows if model_of(row) == name]), key=place)
        if not mine:
            continue
        colour, dash, marker = LOOKS[look % len(LOOKS)]
        places, values, errors = [place(r) for r in mine], [r.estimate for r in mine], [r.stderr for r in mine]
        x, y = (values, places) if across else (places, values)
        ax.errorbar(
            x, y, xerr=errors if across else None, yerr=None if across else errors, color=colour,
            marker=model.marker or marker, markerfacecolor="white", markersize=size * model.scale,
            linestyle=dash if joined else "none", linewidth=0.6, capsize=2, elinewidth=0.8, zorder=3,
            label=None if label is None else label + model.suffix,
        )  # fmt: skip


def model_legend(ax: Axes, rows: Sequence[Row]) -> None:
    """Entries, in grey, for the open points of each model that has rows: for panels whose colours mean other things."""
    for name, model in MODELS.items():
        if any(model_of(row) == name for row in rows):
            ax.plot([], [], color=GREY, marker=model.marker or "o", markerfacecolor="white",
                    linestyle="none", label=f"language model{model.suffix}")  # fmt: skip


def model_of(row: Row) -> str | None:
    """The model a row is of; None for a row of simulation."""
    found = parse_setting(row.setting).get("model")
    return found if isinstance(found, str) and found in MODELS else None


def categories(ax: Axes, names: Sequence[str]) -> None:
    """Names along y, the first on top."""
    ax.set_yticks([-float(i) for i in range(len(names))], list(names))
    ax.set_ylim(0.6 - len(names), 0.6)
    ax.grid(axis="y", visible=False)


def of_models(rows: Sequence[Row], claims: Sequence[str]) -> list[Row]:
    """The rows of trained models among these claims': without any, a figure is not drawn."""
    return [row for row in rows if row.claim in claims and model_of(row) is not None]
