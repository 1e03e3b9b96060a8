"""The plan of a run, before it starts: what is to be done, what is done already, and how long the rest should take.

Seconds are those that recorded rows of the same profile and size took, in the results folder itself or in one of the
reference folders, times the ratio of the two devices' rates of matrix products. Where nothing was recorded the plan
says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llm_validation.model.checkpoint import read_state
from llm_validation.pretraining.base_model import REPORT
from llm_validation.pretraining.report import RECORD
from llm_validation.runs.catalogues import fitted
from llm_validation.runs.declared import holds
from llm_validation.runs.run import Context, Run
from llm_validation.runs.table import first_fits, fit_of, is_kept
from llm_validation.training.device import DeviceRates
from simulate.rows.reach import HOME
from simulate.rows.store import Row, read_rows
from theory.claim import parse_setting

#: In a results folder: what the device can do at most, measured in the same run.
DEVICE = "device.json"


@dataclass(frozen=True)
class Cell:
    """A job, or the pretraining: its stage, whether it is done, and its seconds on this device, None if unknown."""

    stage: str
    key: str
    done: bool
    seconds: float | None


def make_plan(
    context: Context, profile: str, runs: Sequence[Run], done: Collection[str], *, pretrains: bool
) -> list[Cell]:
    """All cells of the runs; `done` are keys of finished jobs, and `pretrains` says that no base model is given."""
    seconds, seeds = _recorded(context, profile), range(context.profile.seeds)
    cells = []
    if pretrains:
        left, whole = _left_of_pretraining(context), seconds(None)
        cells.append(Cell("pretraining", "base", not left, None if whole is None else left * whole))
    for fit in first_fits(runs):
        cells.append(Cell("references", f"{fit.name} seed 0", is_kept(context, fit), seconds(fit)))
    for catalogue in dict.fromkeys(run.catalogue for run in runs if run.catalogue):
        fit, took = fit_of(catalogue), seconds(fit_of(catalogue))
        cells += [Cell("references", f"{fit.name} seed {s}", fitted(context, catalogue, s), took) for s in seeds]
    for run in runs:
        keys, took = [f"{run.name} seed {seed}" for seed in seeds], seconds(run)
        cells += [Cell(run.catalogue or "generation", key, key in done, took) for key in keys]
    return cells


def _left_of_pretraining(context: Context) -> float:
    """The part of the steps that is not done."""
    if context.base.is_dir():
        return 0.0
    checkpoint = context.base.with_name(context.base.name + ".checkpoint")
    steps = len(read_state(checkpoint)["losses"]) if checkpoint.is_dir() else 0
    return 1.0 - steps / context.profile.pretraining.steps


@dataclass(frozen=True, eq=False)
class _Recording:
    """A folder with rows of this profile and size: how many times faster its device is, and what it noted."""

    faster: float
    report: Path
    rows: list[Row]

    def seconds(self, run: Run | None) -> float | None:
        """Of one job of a run, of pretraining for no run; None where it has neither."""
        if run is None:
            noted = json.loads(self.report.read_text(encoding="utf-8")) if self.report.exists() else None
            return None if noted is None else self.faster * float(noted["seconds"])
        own = [row for row in self.rows if holds(run, f"{row.claim}.{row.check}", parse_setting(row.setting))]
        return self.faster * sum(row.seconds for row in own) / len({row.seed for row in own}) if own else None


def _recorded(context: Context, profile: str) -> Callable[[Run | None], float | None]:
    """run → recorded seconds of one of its jobs, None if there are none; those of pretraining for no run."""
    folders = (context.folder, *sorted((HOME / "llm_validation" / "results").glob("reference*")))
    found = [recording for folder in folders if (recording := _recording(folder, context, profile)) is not None]
    return lambda run: next((spent for one in found if (spent := one.seconds(run)) is not None), None)


def _recording(folder: Path, context: Context, profile: str) -> _Recording | None:
    stamps, device = folder / "stamps.json", folder / DEVICE
    if context.rates is None or not stamps.exists() or not device.exists():
        return None
    made = json.loads(stamps.read_text(encoding="utf-8")).values()
    if (profile, context.profile.pretraining.size) not in ((m["profile"], m["config"]["size"]) for m in made):
        return None
    faster = DeviceRates.load(device).flops / context.rates.flops
    return _Recording(faster, folder / REPORT / RECORD, read_rows(folder))


def render(cells: Iterable[Cell], workers: int = 1, minutes: float | None = None) -> str:
    """The plan as a table of stages with the minutes left, `workers` jobs being done at a time, and how many slices of
    `minutes` that will take. ValueError for minutes that are not positive."""
    if minutes is not None and not minutes > 0.0:
        raise ValueError(f"minutes = {minutes} must be > 0")
    stages: dict[str, list[Cell]] = {}
    for cell in cells:
        stages.setdefault(cell.stage, []).append(cell)
    rows: list[tuple[str, ...]] = [("stage", "cells", "done", "minutes left")]
    total = 0.0
    for name, own in stages.items():
        seconds = sum((math.nan if cell.seconds is None else cell.seconds) for cell in own if not cell.done)
        left = seconds / 60 / (1 if name == "pretraining" else workers)
        rows.append((name, str(len(own)), str(sum(cell.done for cell in own)), _shown(left)))
        total += left
    rows.append(("total", *(str(sum(int(row[column]) for row in rows[1:])) for column in (1, 2)), _shown(total)))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join([row[0].ljust(widths[0]), *(row[c].rjust(widths[c]) for c in (1, 2, 3))]) for row in rows]
    if minutes is not None and not math.isnan(total):
        lines.append(f"slices of {minutes:g} minutes: {math.ceil(total / minutes)}")
    return "\n".join(lines)


def _shown(minutes: float) -> str:
    return "unknown" if math.isnan(minutes) else f"{minutes:.1f}" if minutes < 100 else f"{minutes:.0f}"
