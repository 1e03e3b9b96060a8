"""The plan of a run, before it starts: what is to be done, what is done already, and how long the rest should take.

Work is counted (`plan_work`), what a piece of it takes is measured on the device (`plan_calibration`), and the product
is the estimate. It knows nothing of drawing data, predictions of catalogue runs, and files, which take a few per cent;
of a reference fit that needs more than one round; and of what else the machine does.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llm_validation import generation_effort
from llm_validation.catalogue.texts import encode_catalogue
from llm_validation.grid.plan_calibration import Bench, Kept, Line, lines_for
from llm_validation.grid.plan_work import Work, best_of_n_work, correction_work, fit_work, pretraining_work, run_work
from llm_validation.model.checkpoint import read_state
from llm_validation.model.model import Loaded, build
from llm_validation.pretraining.report import RECORD
from llm_validation.runs.catalogues import DESIGNS, Context, fitted
from llm_validation.text.corpus import train_tokenizer
from llm_validation.text.language import STORIES
from simulate.montecarlo import generator

#: Texts from which the tokenizer of a model that is not there yet is trained.
TEXTS = 2000


@dataclass(frozen=True)
class Stage:
    """One stage: its cells (jobs, or the one pretraining), how many are done, and minutes for those that are not."""

    name: str
    cells: int
    done: int
    minutes: float


@dataclass(frozen=True)
class Plan:
    """All stages in their order, with minutes of wall-clock time.

    workers       jobs at a time, in processes: the estimate of all jobs is that of one process over `workers`, as if
                  each had a core of its own and all ended together. Pretraining is one process
    side_by_side  seeds of a run that are trained as one stack
    seconds       of every cell by its key, in one process: what is left of it
    """

    stages: tuple[Stage, ...]
    workers: int = 1
    side_by_side: int = 1
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def minutes(self) -> float:
        return sum(stage.minutes for stage in self.stages)


def make_plan(
    context: Context,
    profile_name: str,
    wanted: Mapping[str, Sequence[str]],
    loaded: Loaded | None,
    done: Collection[str],
    *,
    documents: Sequence[str] | None = None,
    workers: int = 1,
    side_by_side: int = 1,
    kept: Kept | None = None,
) -> Plan:
    """Count what is left, and measure on `context.device` how long a piece of it takes.

    context       as the jobs will have it; `base` need not be there yet
    wanted        design → runs (`which_runs.runs_of`)
    loaded        the base model; None: it is to be pretrained, on `documents` or on the generated language, and a fresh
                  one of its size stands in. A checkpoint beside `context.base` counts as steps that are done
    done          keys of finished jobs, such as "density_ratio seed 0"; of the code that will run
    workers, side_by_side  see `Plan`
    kept          where an earlier slice left its measurements; what is missing is measured and kept there
    ValueError for workers or side_by_side below 1, and for catalogues that do not fit the model.
    """
    for name, value in (("workers", workers), ("side_by_side", side_by_side)):
        if value < 1:
            raise ValueError(f"{name} = {value} must be at least 1")
    bench = _bench(context, profile_name, loaded, documents, side_by_side)
    cells = _cells(context, wanted, bench, done, pretrained=loaded is not None, language=documents is None)
    kinds = {work.kind for stage in cells.values() for works in stage.values() for work in works if work.times}
    lines = lines_for(bench, kinds, kept)
    seconds = {key: expected_seconds(works, lines) for stage in cells.values() for key, works in stage.items()}
    stages = []
    for name, stage in cells.items():
        minutes = sum(seconds[key] for key in stage) / 60 / (1 if name == "pretraining" else workers)
        stages.append(Stage(name, len(stage), sum(not works for works in stage.values()), minutes))
    return Plan(tuple(stages), workers, side_by_side, seconds)


def expected_seconds(works: Sequence[Work], lines: Mapping[str, Line]) -> float:
    """Σ times · seconds of a piece. KeyError for a kind that was not measured."""
    return sum(work.times * lines[work.kind].at(work.size) for work in works if work.times)


def _bench(
    context: Context, profile_name: str, loaded: Loaded | None, documents: Sequence[str] | None, side_by_side: int
) -> Bench:
    config = context.profile.pretraining
    if loaded is None:
        texts = STORIES.sample(generator(0, "plan"), TEXTS) if documents is None else documents[:TEXTS]
        tokenizer: Any = train_tokenizer(texts, config.vocab_size)
        model: Any = build(config.size, len(tokenizer), config.context, seed=0).eval()
    else:
        tokenizer, model = loaded.tokenizer, copy.deepcopy(loaded.model)
    generation = generation_effort.context(context.base, profile_name)
    base = None if loaded is None else context.base
    return Bench(model.to(context.device), tokenizer, config, generation, side_by_side, base)


def _cells(
    context: Context,
    wanted: Mapping[str, Sequence[str]],
    bench: Bench,
    done: Collection[str],
    *,
    pretrained: bool,
    language: bool,
) -> dict[str, dict[str, list[Work]]]:
    """Stage → cell → what is left of it: nothing where it is done."""
    profile, seeds = context.profile, range(context.profile.seeds)
    stages: dict[str, dict[str, list[Work]]] = {"pretraining": {}, "references": {}}
    if not pretrained:
        before = _steps_done(context)
        stages["pretraining"]["base"] = pretraining_work(profile.pretraining, before, language=language)
    elif (context.base / RECORD).is_file():
        stages["pretraining"]["base"] = []
    for design, runs in wanted.items():
        if design in DESIGNS:
            prompts, width = _packed(context, design, bench)
            for seed in seeds:
                there = fitted(context, design, seed)
                stages["references"][f"{design} reference seed {seed}"] = (
                    [] if there else fit_work(profile, prompts, width)
                )
            work = {run: run_work(run, profile, width) for run in runs}
        else:
            work = {run: _generation_work(run, bench) for run in runs}
        keys = {f"{run} seed {seed}": work[run] for run in runs for seed in seeds}
        stages[design] = {key: [] if key in done else works for key, works in keys.items()}
    return {name: cells for name, cells in stages.items() if cells}


def _steps_done(context: Context) -> int:
    """Steps of an unfinished pretraining."""
    checkpoint = context.base.with_name(context.base.name + ".checkpoint")
    return len(read_state(checkpoint)["losses"]) if checkpoint.is_dir() else 0


def _packed(context: Context, design: str, bench: Bench) -> tuple[int, int]:
    """(prompts, positions of a packed prompt) of a design's catalogue."""
    texts = DESIGNS[design].catalogue(context, generator(0, design, "texts"))
    prompts, width = encode_catalogue(texts, bench.tokenizer, bench.room).trie().tokens.shape
    return prompts, width


def _generation_work(run: str, bench: Bench) -> list[Work]:
    if run == "best_of_n":
        return best_of_n_work(bench.generation.best_of_n, bench.length)
    if run == "correction":
        return correction_work(bench.generation.correction)
    raise ValueError(f"nobody counted the work of {run!r}")


# what is printed


def render(plan: Plan, minutes: float | None = None) -> str:
    """The plan as a table, with the total, and how many slices of `minutes` that will take if they are given.

    ValueError for minutes that are not positive.
    """
    if minutes is not None and not minutes > 0.0:
        raise ValueError(f"minutes = {minutes} must be > 0")
    rows = [(stage.name, str(stage.cells), str(stage.done), _shown(stage.minutes)) for stage in plan.stages]
    cells, done = (sum(getattr(stage, name) for stage in plan.stages) for name in ("cells", "done"))
    rows = [("stage", "cells", "done", "minutes left"), *rows, ("total", str(cells), str(done), _shown(plan.minutes))]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join([row[0].ljust(widths[0]), *(row[c].rjust(widths[c]) for c in (1, 2, 3))]) for row in rows]
    notes = []
    if plan.workers > 1:
        notes.append(f"{plan.workers} jobs at a time")
    if plan.side_by_side > 1:
        notes.append(f"{plan.side_by_side} seeds of a run side by side")
    if minutes is not None:
        slices = math.ceil(plan.minutes / minutes)
        notes.append(f"{slices} slice{'' if slices == 1 else 's'} of {minutes:g} minutes")
    return "\n".join([*lines, *([", ".join(notes)] if notes else [])])


def _shown(minutes: float) -> str:
    return f"{minutes:.1f}" if minutes < 100 else f"{minutes:.0f}"
