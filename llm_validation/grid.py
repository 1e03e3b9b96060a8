"""The grid of jobs: what is to be run, what is done already, and rows that survive a kill.

A job is one run of one catalogue at one seed, and leaves several rows. A finished job is written down in `jobs.json`
after its rows are on disk; a rerun skips it. A kill loses the jobs that were under way and nothing else, and since
everything random is named by (seed, words), running them again gives the same rows.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import torch
from tqdm import tqdm

from llm_validation.measured import Measured
from simulate.montecarlo import Z95
from simulate.rows import Results, Row, replace_file
from theory.judgement import setting_key

#: In a results folder: job → fingerprint of the code that ran it.
FINISHED = "jobs.json"


@dataclass(frozen=True)
class Job:
    """One unit of work: its name (unique in the grid), its seed, and the function that measures."""

    name: str
    seed: int
    measure: Callable[[], list[Measured]]

    @property
    def key(self) -> str:
        return f"{self.name} seed {self.seed}"


@dataclass(frozen=True)
class Done:
    """What a job returned, how long it took."""

    job: str
    seed: int
    measured: list[Measured]
    seconds: float


def run_jobs(
    jobs: Sequence[Job],
    folder: Path,
    stamp: dict[str, object],
    workers: int,
    *,
    deadline: float | None = None,
    label: str = "llm_validation",
    again: bool = False,
) -> int:
    """Run the jobs that `folder` does not hold yet, `workers` at a time, saving after each; how many are left undone.

    deadline  a value of time.monotonic() after which no new job is started
    again     run them whether or not they are written down as done (a checkpoint they left is gone)
    A job that fails stops the run with its name; what was finished is on disk.
    """
    results, finished = Results(folder), read_finished(folder)
    code = str(stamp["fingerprint"])
    stale = results.drop_stale(code)
    finished = {key: value for key, value in finished.items() if value == code}
    if stale:
        print(f"{stale} rows in {folder} were made by other code and are computed again", file=sys.stderr)
    stamp_id = hashlib.sha256(json.dumps(stamp, sort_keys=True).encode()).hexdigest()[:12]
    todo = [job for job in jobs if again or job.key not in finished]
    started = 0

    def due() -> Iterator[Callable[[], Done]]:
        nonlocal started
        for job in todo:
            if deadline is not None and time.monotonic() > deadline:
                return
            started += 1
            yield joblib.delayed(_measure)(job)

    parallel = joblib.Parallel(
        n_jobs=max(1, min(workers, len(todo))), return_as="generator_unordered", pre_dispatch="n_jobs"
    )
    bar = tqdm(total=len(todo), desc=f"{label} → {folder.name}", unit="job", disable=not todo)
    for done in parallel(due()):
        results.add(rows_of(done, stamp_id), stamp_id, stamp)
        finished[f"{done.job} seed {done.seed}"] = code
        replace_file(folder / FINISHED, json.dumps(finished, indent=1, sort_keys=True) + "\n")
        bar.set_postfix_str(f"{done.job} {done.seconds:.0f} s")
        bar.update()
    bar.close()
    return len(todo) - started


def read_finished(folder: Path) -> dict[str, str]:
    """The jobs that a folder holds, and the code that ran them."""
    path = folder / FINISHED
    return json.loads(path.read_text()) if path.exists() else {}


def rows_of(done: Done, stamp_id: str) -> list[Row]:
    """A job's measured numbers as result rows; its seconds are shared out evenly."""
    share = round(done.seconds / max(1, len(done.measured)), 3)
    return [
        Row(m.claim, m.check, setting_key(m.setting), done.seed, float(m.value), float(m.stderr), m.n,
            m.value - Z95 * m.stderr, m.value + Z95 * m.stderr, share, m.note, stamp_id)
        for m in done.measured
    ]  # fmt: skip


def _measure(job: Job) -> Done:
    """In a worker: one thread per process, since jobs are what runs in parallel."""
    if os.environ.get("OMP_NUM_THREADS") == "1":
        torch.set_num_threads(1)
    began = time.perf_counter()
    try:
        measured = job.measure()
    except Exception as error:
        error.add_note(f"in job {job.key}")
        raise
    return Done(job.name, job.seed, measured, time.perf_counter() - began)
