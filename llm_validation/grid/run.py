"""The command that trains: its set-up, its plan, then pretraining, references, and runs, size after size.

Each stage does what is not done yet and stops in time; a run that was stopped goes on where it stopped.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from joblib.externals.loky import get_reusable_executor

from llm_validation.catalogue.train import train_one, train_sharded
from llm_validation.grid.jobs import train_together
from llm_validation.grid.plan import DEVICE, make_plan, render
from llm_validation.grid.processes import Share, share, wait_for_everyone
from llm_validation.model.content import content_digest
from llm_validation.model.model import device, use_tensor_cores
from llm_validation.model.sharding import shards_wanted
from llm_validation.pretraining.base_model import OutOfTime, base_folder, pretrained
from llm_validation.profiles import SIZES_OF, Profile, folder_name, profile_at
from llm_validation.runs import table
from llm_validation.runs.best_of_n_scorer import FIT
from llm_validation.runs.people import check_people
from llm_validation.runs.run import Context, Run
from llm_validation.text.corpus import read_documents
from llm_validation.training.device import measure_rates
from simulate.people.population import chosen_people
from simulate.rows.backends import Backend, check_minutes
from simulate.rows.grid import Execution, Job, in_time, run_jobs
from simulate.rows.merge import check_folder
from simulate.rows.reach import HOME, fingerprint
from simulate.rows.store import Results, locked, make_stamp

#: Versions that a stamp notes.
PACKAGES = ("numpy", "scipy", "torch", "transformers", "tokenizers", "accelerate", "safetensors")
#: Most processes that use one GPU at a time.
ON_A_GPU = 5


@dataclass(frozen=True, eq=False)
class Setup:
    """All that is decided before anything is trained.

    context       what all jobs share;  profile  its name
    given         the base model was given and is not to be pretrained
    runs          that were asked for;  documents  to pretrain on, or None for the generated language
    stamp         what rows note of the run
    deadline      a value of time.monotonic(), or None;  whole  seconds from the start to there
    mine          this process's place among several
    stacked       the seeds of a run as one stack;  processes  jobs at a time otherwise;  on  which machines
    """

    context: Context
    profile: str
    given: bool
    runs: list[Run]
    documents: Sequence[str] | None
    stamp: dict[str, Any]
    deadline: float | None
    whole: float
    mine: Share
    stacked: bool
    processes: int
    on: Backend


def run_sizes(options: argparse.Namespace, started: float) -> None:
    """All sizes that were asked for, one after another, or what there is time for since `started`.

    ValueError, FileNotFoundError or OSError for input that cannot be used.
    """
    if options.model and options.size:
        raise ValueError("--size is of a model to be pretrained, and --model gives one")
    sizes = [None] if options.model else list(options.size or SIZES_OF.get(options.profile, [None]))
    for size in sizes:
        folder = options.results or HOME / "llm_validation" / "results" / folder_name(options.profile, size)
        setup = make_setup(options, size, folder / str(size) if options.results and len(sizes) > 1 else folder, started)
        seconds = show_plan(setup, options.minutes or None) if setup.mine.rank == 0 else {}
        if options.plan:
            continue
        try:
            with locked(setup.context.folder, drop_stale=True) if setup.mine.rank == 0 else nullcontext():
                left = run(setup, seconds)
        except OutOfTime as stopped:
            print(f"stopped after {options.minutes} minutes: {stopped}; run again to go on")
            return
        if left:
            print(f"stopped after {options.minutes} minutes: {left} jobs or more are left; run again to go on")
        print(f"rows in {setup.context.folder}, {time.monotonic() - started:.0f} s")
        if left:
            return


def make_setup(options: argparse.Namespace, size: str | None, folder: Path, started: float) -> Setup:
    """Everything that can be wrong with the input is found here."""
    use_tensor_cores()
    profile, runs = _profile(options, size), table.runs_of(options.claims)
    for run in runs:  # of the code as it is now: an edit during the run changes no fingerprint
        fingerprint(*table.code_of(run))
    check_minutes(options.on, options.minutes)
    mine, where = share(divided=shards_wanted(options.shard)), device()
    if not options.on.is_local and mine.size > 1:
        raise ValueError(f"--on {options.on.kind} is for one process, and a launcher started {mine.size}")
    people, about = chosen_people(options)
    check_people(people)
    documents = read_documents(options.corpus, options.field) if options.corpus else None
    content = content_digest(options.model) if options.model else ""
    on_gpu = where.type == "cuda"
    stamp = _stamp(options, profile, content, torch.cuda.get_device_name(where) if on_gpu else None)
    recompute = options.profile != "gpu" if options.recompute is None else options.recompute
    check_folder(folder, stamp, recompute=recompute)
    base = Path(options.model) if options.model else base_folder(folder, documents)
    fits = fingerprint(table.FITS), fingerprint(*table.code_of(FIT))
    stacked = on_gpu if options.stack_seeds is None else options.stack_seeds
    at_a_time = min(options.jobs, ON_A_GPU) if on_gpu else options.jobs
    return Setup(
        context=Context(base, folder, profile, people, about, where, measure_rates(where), *fits, mine.writes, content),
        profile=options.profile,
        given=options.model is not None,
        runs=runs,
        documents=documents,
        stamp=stamp,
        deadline=None if options.minutes is None else started + 60.0 * options.minutes,
        whole=60.0 * (options.minutes or 0.0),
        mine=mine,
        stacked=stacked and not mine.divided,
        processes=1 if mine.divided else at_a_time,
        on=options.on,
    )


def _stamp(options: argparse.Namespace, profile: Profile, content: str, gpu: str | None) -> dict[str, Any]:
    """What all rows note: the model that they start from, and the profile."""
    config = {
        "base": options.model or [str(path) for path in options.corpus or ["generated language"]],
        "size": "given" if options.model else profile.pretraining.size,
        **({"content": content} if content else {}),
        **asdict(profile),
    }
    return make_stamp(options.profile, config, packages=PACKAGES, device=gpu, commit=options.commit)


def _profile(options: argparse.Namespace, size: str | None) -> Profile:
    profile = profile_at(options.profile, size)
    if options.pretrain_steps is not None:
        profile = replace(profile, pretraining=replace(profile.pretraining, steps=options.pretrain_steps))
    if options.bt_beta:
        profile = replace(profile, betas=tuple(options.bt_beta))
    if options.seeds is not None:
        if options.seeds < 1:
            raise ValueError(f"--seeds {options.seeds} must be at least 1")
        profile = replace(profile, seeds=options.seeds)
    return profile


def show_plan(setup: Setup, minutes: float | None) -> dict[str, float]:
    """Print the device, the model and the plan; the known seconds of jobs by key."""
    context, rates = setup.context, setup.context.rates
    assert rates is not None
    print(f"{rates.name}: {rates.flops / 1e12:.3g} TFLOP/s in {rates.dtype}, {rates.copy / 1e9:.3g} GB/s copied")
    if setup.profile == "gpu" and context.device.type != "cuda":
        print("there is no GPU here: profile gpu is meant for one, and the plan says how long this machine would take")
    print(f"model {context.base}" if setup.given else f"size {context.profile.pretraining.size}")
    done = table.done(context, setup.runs, Results(context.folder))
    cells = make_plan(context, setup.profile, setup.runs, done, pretrains=not setup.given)
    print(render(cells, 1 if setup.mine.divided else setup.mine.size * setup.processes, minutes), flush=True)
    return {cell.key: cell.seconds for cell in cells if cell.seconds is not None}


def run(setup: Setup, seconds: Mapping[str, float]) -> int:
    """Do what is left; how many jobs are not done in the end. OutOfTime if pretraining was not finished.

    seconds  of a job by its key, to start only what ends in time; one of unknown length is started
    """
    context, mine, folder = setup.context, setup.mine, setup.context.folder
    if mine.rank == 0 and context.rates is not None:
        context.rates.save(folder / DEVICE)
    if not setup.given:
        pretrained(
            context.profile.pretraining,
            setup.documents,
            folder,
            deadline=setup.deadline,
            shard=mine.divided,
            reports=mine.rank == 0,
            rates=context.rates,
        )
    wait_for_everyone()
    parameters = table.check_catalogues(context, setup.runs)
    stamp = {**setup.stamp, "config": {**setup.stamp["config"], "parameters": parameters}}
    left = 0
    for label, list_jobs in (("references", partial(table.fits, noted=Results(folder).jobs)), ("runs", table.jobs)):
        todo = [replace(job, work=seconds.get(job.key, 0.0)) for job in list_jobs(context, setup.runs)]
        left += _stage(setup, stamp, todo, label)
    return left + _waiting(setup, {job.key for job in todo})


def _waiting(setup: Setup, listed: Collection[str]) -> int:
    """How many jobs could not start, since there was no time for the fit that they start from. ValueError if there was:
    it is not as this run would have made it."""
    every = table.jobs(setup.context, setup.runs, fitted_only=False)
    waiting = [job.key for job in every if job.key not in listed]
    if waiting and setup.deadline is None:
        raise ValueError(f"{waiting[0]} cannot start: what it starts from was fitted otherwise meanwhile; run again")
    return len(waiting)


def _stage(setup: Setup, stamp: dict[str, Any], todo: Sequence[Job], label: str) -> int:
    """This process's part of some jobs, and then wait for the others' parts; how many are left.

    References that are not there are fitted again, whatever is written down. Processes divide a list that each has made
    before any of them changes what is there.
    """
    wait_for_everyone()
    left, folder = 0, setup.context.folder
    for part, how in _executions(setup, setup.mine.of(todo, by_name=setup.stacked)):
        if part:
            left += run_jobs(part, folder, stamp, how, label=label, again=label == "references")
            _free_device(setup, how)
    wait_for_everyone()
    return left


def _free_device(setup: Setup, how: Execution) -> None:
    """Give back a GPU's memory: what this process keeps for later, and processes that wait for more jobs."""
    if setup.context.device.type == "cuda":
        if how.workers > 1:
            get_reusable_executor().shutdown(wait=True)
        gc.collect()
        torch.cuda.empty_cache()


def _executions(setup: Setup, own: Sequence[Job]) -> list[tuple[list[Job], Execution]]:
    """How jobs are run, in some processes, each of which leaves a GPU idle half of the time: on a CPU all of them; on a
    GPU first the timed ones, then others that generate freely, then those on a catalogue, stacked."""
    how = Execution(
        setup.processes,
        together=partial(train_together, trainer=train_sharded if setup.mine.divided else train_one),
        may_start=setup.mine.in_time(setup.deadline, setup.whole),
        keep=setup.mine.writes,
        on=setup.on,
    )
    if setup.mine.divided:  # all processes ask together about what they train together; the first alone about the rest
        alone = replace(how, may_start=in_time(setup.deadline, setup.whole))
        return [([job for job in own if job.trains], how), ([job for job in own if not job.trains], alone)]
    if not setup.stacked:
        return [(list(own), how)]
    timed = {run.name for run in setup.runs if run.timed}
    return [
        ([job for job in own if job.name in timed], replace(how, on=Backend())),
        ([job for job in own if not job.trains and job.name not in timed], how),
        ([job for job in own if job.trains], replace(how, by_name=True)),
    ]
