"""One run, from base model to rows: the plan, then pretraining, references, open generation, and runs on catalogues.

Each stage does what is not done yet and stops in time; a run that was stopped goes on where it stopped.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from joblib.externals.loky import get_reusable_executor

from llm_validation.catalogue.train import train_one, train_sharded
from llm_validation.generation_effort import Context as GenerationContext
from llm_validation.grid.jobs import Job, Pace, read_finished, run_jobs
from llm_validation.grid.plan import Plan, make_plan, render
from llm_validation.grid.plan_calibration import Kept
from llm_validation.grid.processes import Share, bring_together, wait_for_everyone
from llm_validation.model.model import load
from llm_validation.pretraining.base_model import pretrained
from llm_validation.runs import table
from llm_validation.runs.catalogues import Context
from llm_validation.training.device import DeviceRates
from llm_validation.training.device import save as save_rates

#: In a results folder: what the device can do at most, measured in the same run; what pieces of work take on it.
DEVICE, CALIBRATION = "device.json", "calibration.json"
#: Runs whose rows hold seconds: on a GPU nothing else runs beside them.
TIMED = ("best_of_n",)


@dataclass(frozen=True, eq=False)
class Setup:
    """All that is decided before anything is trained.

    context       what all jobs share;  generation  the same for open generation
    profile       its name
    given         the base model was given and is not to be pretrained
    wanted        design → names of runs;  documents  to pretrain on, or None for the generated language
    stamp         what rows note of the run
    rates         of the device
    deadline      a value of time.monotonic(), or None;  whole  seconds from the start to there
    mine          this process's place among several
    side_by_side  seeds of a run as one stack;  processes  jobs at a time otherwise
    """

    context: Context
    generation: GenerationContext
    profile: str
    given: bool
    wanted: table.Wanted
    documents: Sequence[str] | None
    stamp: dict[str, Any]
    rates: DeviceRates
    deadline: float | None
    whole: float
    mine: Share
    side_by_side: bool
    processes: int


def show_plan(setup: Setup, minutes: float | None) -> Plan:
    """Print the device, its rates and the plan, which is returned; keep the rates beside the rows."""
    rates, context = setup.rates, setup.context
    context.folder.mkdir(parents=True, exist_ok=True)
    save_rates(rates, context.folder / DEVICE)
    print(f"{rates.name}: {rates.flops / 1e12:.3g} TFLOP/s in {rates.dtype}, {rates.copy / 1e9:.3g} GB/s copied")
    if setup.profile == "gpu" and context.device.type != "cuda":
        print("there is no GPU here: profile gpu is meant for one, and the plan says how long this machine would take")
    loaded = load(context.base) if setup.given or context.base.is_dir() else None
    done = [key for key, code in read_finished(context.folder).items() if code == context.code]
    together = context.profile.seeds if setup.side_by_side else 1
    plan = make_plan(
        context,
        setup.profile,
        setup.wanted,
        loaded,
        done,
        documents=setup.documents,
        workers=(1 if setup.side_by_side else setup.processes) * (1 if setup.mine.divided else setup.mine.size),
        side_by_side=together,
        kept=Kept(context.folder / CALIBRATION, f"code {context.code}, {rates.name}, {together} side by side"),
    )
    print(render(plan, minutes), flush=True)
    return plan


def run(setup: Setup, expected: Mapping[str, float]) -> int:
    """Do what is left; how many jobs are not done in the end. OutOfTime if pretraining was not finished.

    expected  seconds of a job by its key, to start only what ends in time
    """
    context, mine, folder = setup.context, setup.mine, setup.context.folder
    if not setup.given:
        pretrained(
            context.profile.pretraining,
            setup.documents,
            folder,
            deadline=setup.deadline,
            shard=mine.divided,
            reports=mine.rank == 0,
            rates=setup.rates,
        )
    wait_for_everyone()
    parameters = table.check_catalogues(context, setup.wanted)
    stamp = {**setup.stamp, "config": {**setup.stamp["config"], "parameters": parameters}}

    def weighed(found: list[Job]) -> list[Job]:
        return [replace(job, work=expected.get(job.key) or 1.0) for job in found]

    left = _stage(setup, stamp, weighed(table.fits(context, setup.wanted)), "references", again=True)
    left += _stage(setup, stamp, weighed(table.runs(context, setup.wanted, setup.generation)), "runs")
    if mine.size > 1 and mine.rank == 0 and not mine.divided:
        bring_together(folder, mine.size)
    return left


def _stage(setup: Setup, stamp: dict[str, Any], todo: Sequence[Job], label: str, *, again: bool = False) -> int:
    """This process's part of some jobs, and then wait for the others' parts; how many are left."""
    mine = setup.mine
    rows, own = mine.folder(setup.context.folder), mine.of(todo, by_name=setup.side_by_side)
    left = 0
    for part, pace in _paces(setup, own):
        if part:
            left += run_jobs(part, rows, stamp, pace, label=label, again=again)
            _free_device(setup, pace)
    wait_for_everyone()
    return left


def _free_device(setup: Setup, pace: Pace) -> None:
    """Give back a GPU's memory: what this process keeps for later, and processes that wait for more jobs."""
    if setup.context.device.type == "cuda":
        if pace.workers > 1:
            get_reusable_executor().shutdown(wait=True)
        gc.collect()
        torch.cuda.empty_cache()


def _paces(setup: Setup, own: Sequence[Job]) -> list[tuple[list[Job], Pace]]:
    """How jobs are run: on a CPU all in some processes; on a GPU those that train on a catalogue side by side, the
    timed ones alone, and other generation in some processes, each of which leaves the device idle half of the time."""
    pace = Pace(
        setup.processes,
        trainer=train_sharded if setup.mine.divided else train_one,
        may_start=setup.mine.in_time(setup.deadline, setup.whole),
        keep=setup.mine.writes,
    )
    if not setup.side_by_side:
        return [(list(own), pace)]
    timed = [job for job in own if job.name in TIMED]
    free = [job for job in own if not job.trains and job.name not in TIMED]
    return [
        (timed, replace(pace, workers=1)),
        (free, pace),
        ([job for job in own if job.trains], replace(pace, side_by_side=True)),
    ]
