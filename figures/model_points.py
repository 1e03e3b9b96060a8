"""Rows of trained language models in figures: where they come from, pooled over seeds, drawn as open points.

The models of the ledger (`llm_validation.recorded`) have rows of the same checks; here each row says in its setting
which model it is of, so that one sequence of rows holds all of them, beside those of simulation, and
`select(rows, …, model="gpu")` tells them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.style import BLACK, GREY, LOOKS, Place, entry, intervals, panels, text
from llm_validation.claims.table import trained_checks
from llm_validation.claims.targets import MEAN, WORST
from llm_validation.recorded import MODELS, recorded_rows
from simulate.rows.pool import pool
from simulate.rows.store import Results, Row, read_rows
from theory.claim import parse_setting
from theory.claims import find_claim


def tagged(rows: Sequence[Row], model: str) -> list[Row]:
    """The rows, each naming its model as the last entry of its setting."""
    return [replace(row, setting=";".join(filter(None, (row.setting, f"model={model}")))) for row in rows]


def language_model_rows(profile: str, folder: Path | None = None) -> list[Row]:
    """Rows of llm_validation/results: those of a profile (or of a folder), and the recorded ones of GPUs if any."""
    if folder is not None:
        configs = [stamp.get("config") for stamp in Results(folder).stamps.values()]
        real = any(isinstance(config, dict) and config.get("base") == "smollm2" for config in configs)
        return tagged(read_rows(folder), "smollm2" if real else "llm")
    return [row for model in MODELS for row in tagged(recorded_rows(model, profile), model)]


def model_of(row: Row) -> str | None:
    """The model a row is of; None for a row of simulation."""
    model = parse_setting(row.setting).get("model")
    return model if isinstance(model, str) and model in MODELS else None


def of_models(rows: Sequence[Row], claims: Sequence[str]) -> list[Row]:
    """The rows of trained models among these claims': without any, a figure is not drawn."""
    return [row for row in rows if row.claim in claims and model_of(row) is not None]


@cache
def seeds_share(claim: str, name: str) -> bool:
    """Do the seeds of what is measured by this name share their draws? What no check judges says nothing of it."""
    return any(check.shared for check in (*find_claim(claim).checks, *trained_checks(claim)) if check.name == name)


def pooled(rows: Sequence[Row]) -> list[Row]:
    """One row per claim, check and setting: the mean over seeds and, as its interval, one standard error either way.

    `simulate.rows.pool.pool` says what the standard error is, also where seeds share what they drew.
    """
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.claim, row.check, row.setting), []).append(row)
    found = []
    for group in groups.values():
        shared = seeds_share(group[0].claim, group[0].check)
        mean, error = pool([row.estimate for row in group], [row.stderr for row in group], shared=shared)
        found.append(replace(group[0], estimate=mean, stderr=error, n=len(group), low=mean - error, high=mean + error))
    return found


def mark(
    ax: Axes, look: int, rows: Sequence[Row], place: Place, label: str | None = None, *,
    across: bool = False, joined: bool = False, size: float = 5.0,
) -> None:  # fmt: skip
    """Rows of trained models as open points at their places, seeds pooled, each model with its marker.

    across  the estimate along x and the place along y;  joined  points of a model joined by a thin line
    """
    at = entry(place) if isinstance(place, str) else place
    colour, dash, marker = LOOKS[look % len(LOOKS)]
    for name, model in MODELS.items():
        mine = sorted(pooled([row for row in rows if model_of(row) == name]), key=at)
        intervals(
            ax, mine, at, [row.stderr for row in mine], across=across, color=colour, marker=model.marker or marker,
            markerfacecolor="white", markersize=size * model.scale, linestyle=dash if joined else "none",
            linewidth=0.6, label=None if label is None else label + model.suffix,
        )  # fmt: skip


def model_legend(ax: Axes, rows: Sequence[Row]) -> None:
    """Entries, in grey, for the open points of each model that has rows: for panels whose colours mean other things."""
    for name, model in MODELS.items():
        if any(model_of(row) == name for row in rows):
            ax.plot([], [], color=GREY, marker=model.marker or "o", markerfacecolor="white",
                    linestyle="none", label=f"language model{model.suffix}")  # fmt: skip


def along(name: str, order: Sequence[str], shift: float = 0.0) -> Callable[[Row], float]:
    """Place a row at the category of `figures.style.categories` that an entry of its setting names."""
    return lambda row: shift - list(order).index(text(row, name))


def targets(ax: Axes, also: str = "") -> None:
    """A logarithmic axis of total variations along x, with what the checks ask of their mean and of the worst."""
    ax.axvline(MEAN, color=BLACK, linewidth=0.8, label="target, mean")
    ax.axvline(WORST, color=BLACK, linewidth=0.8, linestyle=":", label=f"target, worst{also}")
    ax.set_xscale("log")
    ax.set_xticks([1e-6, 1e-4, 1e-2])
    ax.minorticks_off()


def in_a_row(rows: Sequence[Row], draws: Sequence[Callable[[Axes, Sequence[Row]], None]]) -> Figure | None:
    """A panel for each function, all from the same rows; None without rows."""
    if not rows:
        return None
    figure, axes = panels(len(draws))
    for ax, draw in zip(axes, draws, strict=True):
        draw(ax, rows)
    return figure
