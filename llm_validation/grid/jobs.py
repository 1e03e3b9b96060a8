"""The grid of jobs: what is to be run, what is done already, and rows that survive a kill.

A job is one run of one catalogue at one seed, and leaves several rows. A finished job is written down in `jobs.json`
after its rows are on disk; a rerun skips it. A kill loses the jobs that were under way and nothing else, and since
everything random is named by (seed, words), running them again gives the same rows.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import joblib
import torch
from tqdm import tqdm

from llm_validation.catalogue.stacked_seeds import run_stacked
from llm_validation.catalogue.train import Trainer, train_one
from llm_validation.model.model import use_tensor_cores
from simulate.rows.measurement import Measurement
from simulate.rows.store import Results, Row, replace_file
from theory.claim import setting_key

#: In a results folder: job → fingerprint of the code that ran it.
FINISHED = "jobs.json"


@dataclass(frozen=True)
class Job:
    """One unit of work: its name and seed (together unique in the grid), and the function that measures.

    measure  is given the trainer of its trainings
    work     its expected seconds
    trains   does it train on a catalogue, by that trainer?
    """

    name: str
    seed: int
    measure: Callable[[Trainer], list[Measurement]]
    work: float = 1.0
    trains: bool = True

    @property
    def key(self) -> str:
        return f"{self.name} seed {self.seed}"


@dataclass(frozen=True)
class Done:
    """What a job returned, and how long it took; `seconds` of a job that ran side by side with others: its part."""

    name: str
    seed: int
    measured: list[Measurement]
    seconds: float

    @property
    def key(self) -> str:
        return f"{self.name} seed {self.seed}"


def always(_: float) -> bool:
    """No deadline."""
    return True


@dataclass(frozen=True)
class Pace:
    """How jobs are run.

    workers       jobs at a time, each in a process
    side_by_side  all seeds of a name as one stack instead, one name after another
    trainer       what trains a job that is not side by side with others
    may_start     asked before each job, with its expected seconds: is there time?
    keep          False where another process writes down what is done
    """

    workers: int = 1
    side_by_side: bool = False
    trainer: Trainer = train_one
    may_start: Callable[[float], bool] = always
    keep: bool = True


def run_jobs(
    jobs: Sequence[Job],
    folder: Path,
    stamp: dict[str, object],
    pace: Pace,
    *,
    label: str = "llm_validation",
    again: bool = False,
) -> int:
    """Run the jobs that `folder` does not hold yet, saving after each; how many are left undone.

    again     run them whether or not they are written down as done (a checkpoint they left is gone)
    A job that fails stops the run with its name; what was finished is on disk. What may be in the folder already is
    `results_folder`'s business.
    """
    results, finished = Results(folder), read_finished(folder)
    code = str(stamp["fingerprint"])
    stamp_id = hashlib.sha256(json.dumps(stamp, sort_keys=True).encode()).hexdigest()[:12]
    results.drop_stale(code)
    finished = {key: value for key, value in finished.items() if value == code}
    todo = [job for job in jobs if again or job.key not in finished]
    units = by_name(todo) if pace.side_by_side else [[job] for job in todo]
    started = 0

    def due() -> Iterator[Callable[[], list[Done | Exception]]]:
        nonlocal started
        for unit in units:
            if not pace.may_start(sum(job.work for job in unit)):
                return
            started += len(unit)
            yield joblib.delayed(_measure)(unit, pace.trainer)

    workers = 1 if pace.side_by_side else max(1, min(pace.workers, len(units)))
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", pre_dispatch="n_jobs")
    with tqdm(total=len(todo), desc=f"{label} → {folder.name}", unit="job", disable=not todo) as bar:
        for outcomes in parallel(due()):
            for done in [outcome for outcome in outcomes if isinstance(outcome, Done)]:
                if pace.keep:
                    results.add(rows_of(done, stamp_id), stamp_id, stamp)
                    finished[done.key] = code
                    replace_file(folder / FINISHED, json.dumps(finished, indent=1, sort_keys=True) + "\n")
                bar.set_postfix_str(done.key, refresh=False)
                bar.update()
            for error in [outcome for outcome in outcomes if isinstance(outcome, Exception)]:
                raise error
    return len(todo) - started


def by_name(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs, those of one name together: the seeds of a run."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.name, []).append(job)
    return list(groups.values())


def read_finished(folder: Path) -> dict[str, str]:
    """The jobs that a folder holds, and the code that ran them."""
    path = folder / FINISHED
    return json.loads(path.read_text()) if path.exists() else {}


def rows_of(done: Done, stamp_id: str) -> list[Row]:
    """A job's measured numbers as result rows; its seconds are shared out evenly."""
    share = round(done.seconds / max(1, len(done.measured)), 3)
    return [
        Row(m.claim, m.check, setting_key(m.setting), done.seed, m.estimate.value, m.estimate.stderr, m.estimate.n,
            m.estimate.low, m.estimate.high, share, m.estimate.witness, stamp_id)
        for m in done.measured
    ]  # fmt: skip


def _measure(jobs: Sequence[Job], trainer: Trainer) -> list[Done | Exception]:
    """In a worker: one job, or the seeds of one name side by side; a failed one leaves the others' results.

    One thread per process where the environment says so, since jobs are what runs in parallel.
    """
    if os.environ.get("OMP_NUM_THREADS") == "1":
        torch.set_num_threads(1)
    use_tensor_cores()
    began = time.perf_counter()
    outcomes = [_attempt(jobs[0], trainer)] if len(jobs) == 1 else run_stacked([partial(_attempt, job) for job in jobs])
    seconds = (time.perf_counter() - began) / len(jobs)
    return [
        outcome if isinstance(outcome, Exception) else Done(job.name, job.seed, outcome, seconds)
        for job, outcome in zip(jobs, outcomes, strict=True)
    ]


def _attempt(job: Job, trainer: Trainer) -> list[Measurement] | Exception:
    try:
        return job.measure(trainer)
    except Exception as error:
        error.add_note(f"in job {job.key}")
        return error
