"""Jobs, and the one rule by which they are run, kept and resumed: of simulations and of language models alike.

A job is one unit of work at one seed and yields rows: a cell of a simulation one, a run of a language model many. It is
done if its folder holds it with the code that its measuring modules reach now.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import joblib
from tqdm import tqdm

from simulate.rows.backends import AHEAD, Backend, Call, check_worker, engine
from simulate.rows.measurement import Measurement
from simulate.rows.reach import defining, fingerprint
from simulate.rows.store import Results, Row, Stamp
from theory.claim import setting_key


@dataclass(frozen=True)
class Job:
    """One unit of work: its name and seed (together unique in a folder), and the function that measures.

    modules  whose reach is the code of its rows; by default the one that `measure` is written in
    inputs   a digest of data that it reads
    work     its expected seconds, 0 if they are not known
    trains   does it train on a catalogue?
    cell     the one that it answers, where it is a single one that is known before
    """

    name: str
    seed: int
    measure: Callable[..., Iterable[Measurement]]
    modules: tuple[str, ...] = ()
    inputs: str = ""
    work: float = 0.0
    trains: bool = True
    cell: tuple[str, str, str, int] | None = None

    @property
    def key(self) -> str:
        return f"{self.name} seed {self.seed}"

    @cached_property
    def stamp(self) -> dict[str, Any]:
        """The part of its rows' stamp that is its own."""
        modules = self.modules or (defining(self.measure),)
        return {"modules": list(modules), "fingerprint": fingerprint(*modules)}

    @property
    def code(self) -> str:
        """What its rows depend on: another code, and it is to be run again."""
        return f"{self.stamp['fingerprint']} {self.inputs}".strip()


def is_done(job: Job, results: Results) -> bool:
    """Does a folder hold the job by the code that is here, and the row of its cell, which may have been taken out?"""
    return results.jobs.get(job.key) == job.code and (job.cell is None or job.cell in results.rows)


#: What a job yielded with its seconds, or how it failed.
Outcome = tuple[list[Measurement], float] | Exception


def always(_: float) -> bool:
    """No deadline."""
    return True


def in_time(deadline: float | None, whole: float = 0.0) -> Callable[[float], bool]:
    """Asked before each job, with its expected seconds: may it start?

    deadline  a value of time.monotonic(); None: always
    whole     seconds of the whole slice: what takes more than half of one may start at any time, for it would find no
              better
    """

    def ask(seconds: float) -> bool:
        assert deadline is not None
        left = deadline - time.monotonic()
        return left >= 0.0 and (seconds <= left or seconds > whole / 2)

    return always if deadline is None else ask


def attempt(job: Job, *arguments: object) -> Outcome:
    """What a job yields, or its error with a note that names it."""
    began = time.perf_counter()
    try:
        return list(job.measure(*arguments)), time.perf_counter() - began
    except Exception as error:
        error.add_note(f"in job {job.key}")
        return error


def one_by_one(jobs: Sequence[Job]) -> list[Outcome]:
    """The outcomes of jobs that are run together, here one after another."""
    return [attempt(job) for job in jobs]


@dataclass(frozen=True)
class Execution:
    """How jobs are run.

    workers    jobs at a time, each in a process
    by_name    all seeds of a name together in one of them
    together   what runs the jobs that are run together, or the single one, in a worker
    may_start  asked before each job, with its expected seconds: is there time?
    keep       False where another process writes down what is done
    on_rows    told the rows of every job that is done
    on         where the workers are: this machine, or a cluster
    """

    workers: int = 1
    by_name: bool = False
    together: Callable[[Sequence[Job]], list[Outcome]] = one_by_one
    may_start: Callable[[float], bool] = always
    keep: bool = True
    on_rows: Callable[[Job, Sequence[Row]], None] = lambda job, rows: None
    on: Backend = field(default_factory=Backend)


def run_jobs(
    jobs: Sequence[Job],
    folder: Path,
    stamp: Stamp,
    how: Execution | None = None,
    *,
    label: str = "simulate",
    again: bool = False,
) -> int:
    """Run the jobs that `folder` does not hold yet, noting each as it is done; how many are left undone.

    again     run them whether or not they are noted as done (a checkpoint they left is gone)
    Workers are processes of this machine, or where `how.on` says (`simulate.rows.backends`). A job that fails stops the
    run with its name; what was finished is kept. What may be in the folder is `simulate.rows.merge.check_folder`'s
    business, and that nobody else writes to it is `simulate.rows.store.locked`'s.
    """
    how, results = how or Execution(), Results(folder)
    todo = [job for job in jobs if again or not is_done(job, results)]
    if len(todo) < len(jobs):
        print(f"{len(jobs) - len(todo)} of {len(jobs)} jobs are done, {len(todo)} to go", file=sys.stderr)
    units = by_name(todo) if how.by_name else [[job] for job in todo]
    left = len(todo)
    bar = progress(len(todo), f"{label} → {folder.name}", "job")

    def note(job: Job, measured: list[Measurement], seconds: float) -> None:
        stamp_id, made = stamped(stamp, job)
        rows = rows_of(job.seed, measured, seconds, stamp_id)
        if how.keep:
            results.append(job.key, job.code, rows, stamp_id, made)
        how.on_rows(job, rows)
        bar.set_postfix_str(job.key, refresh=False)
        bar.update()

    with closing(results), bar, closing(outcomes_of(units, how, len(units), folder, stamp)) as running:
        for number, outcomes in running:
            left -= len(outcomes)
            for job, outcome in zip(units[number], outcomes, strict=True):
                if not isinstance(outcome, Exception):
                    note(job, *outcome)
            for outcome in outcomes:
                if isinstance(outcome, Exception):
                    raise outcome
    return left


def progress(total: int, what: str, unit: str) -> tqdm:
    """A bar: on a terminal as it moves, in a log one line every ten seconds; none where nothing is to be done."""
    seconds = 0.1 if sys.stderr.isatty() else 10.0
    return tqdm(total=total, desc=what, unit=unit, mininterval=seconds, disable=not total)


def outcomes_of(
    units: Iterable[list[Job]], how: Execution, most: int, folder: Path, stamp: Stamp
) -> Generator[tuple[int, list[Outcome]], None, None]:
    """Run units of jobs, those of a unit together: the number of each that there is time for, with its outcomes.

    What each worker did is printed in the end, where there were several.
    most    how many units there are;  folder  where an engine may note tasks
    """
    versions = None if how.on.is_local else stamp.get("versions", {})
    workers = max(1, min(how.on.workers or how.workers, most))

    def due() -> Iterator[Call]:
        for number, unit in enumerate(units):
            if not how.may_start(sum(job.work for job in unit)):
                return
            yield joblib.delayed(_numbered)(number, how.together, unit, versions)

    costs: dict[str, tuple[int, float]] = {}
    # a task that waits behind another would start later than it was asked whether it may
    with engine(how.on, workers, folder, AHEAD if how.may_start is always else 1) as run:
        for number, outcomes, worker, seconds in run(due()):
            done, spent = costs.get(worker, (0, 0.0))
            costs[worker] = (done + len(outcomes), spent + seconds)
            yield number, outcomes
    for worker, (done, spent) in sorted(costs.items()) if len(costs) > 1 else ():
        tqdm.write(f"{worker}: {done} jobs in {spent:.1f} s", file=sys.stderr)


def stamped(stamp: Stamp, job: Job) -> tuple[str, dict[str, Any]]:
    """The stamp of a job's rows in a run of `stamp`, with its id."""
    made = {**stamp, **job.stamp}
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:12], made


def by_name(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs, those of one name together: the seeds of a run."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.name, []).append(job)
    return list(groups.values())


def rows_of(seed: int, measured: Sequence[Measurement], seconds: float, stamp_id: str) -> list[Row]:
    """What a job yielded as result rows; its seconds are divided evenly among them."""
    each = round(seconds / max(1, len(measured)), 3)
    return [
        Row(m.claim, m.check, setting_key(m.setting), seed, float(e.value), float(e.stderr), int(e.n), float(e.low),
            float(e.high), each, e.witness, stamp_id)
        for m in measured for e in [m.estimate]
    ]  # fmt: skip


def _numbered(
    number: int, together: Callable[[Sequence[Job]], list[Outcome]], jobs: list[Job], versions: Mapping[str, str] | None
) -> tuple[int, list[Outcome], str, float]:
    """What a worker does, with its name and how long that took.

    versions  of the process that asked, where that is on another machine
    """
    began = time.perf_counter()
    outcomes = (None if versions is None else _refused(jobs, versions)) or together(jobs)
    return number, outcomes, f"{platform.node()} {os.getpid()}", time.perf_counter() - began


def _refused(jobs: list[Job], versions: Mapping[str, str]) -> list[Outcome] | None:
    """Errors in place of outcomes where this worker has other code or packages."""
    try:
        for modules, code in {(tuple(job.stamp["modules"]), job.stamp["fingerprint"]) for job in jobs}:
            check_worker(modules, code, versions)
    except ValueError as error:
        return [error for _ in jobs]
    return None
