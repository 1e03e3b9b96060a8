"""Verdicts while a run goes on: a claim is judged, and its line printed, as soon as its last row is there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from simulate.rows.compare import check_of
from simulate.rows.grid import Job, is_done
from simulate.rows.pool import judge
from simulate.rows.store import Results, Row, read_rows
from theory.claim import Verdict, combine
from theory.claims import find_claim


def judged(rows: Iterable[Row]) -> list[Verdict]:
    """The verdict at every setting that a check of its claim judges, its seeds pooled as the ledger pools them."""
    places: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        places[row.check, row.setting].append(row)
    checks = ((check_of(own[0]), own) for own in places.values())
    return [judge(check, own) for check, own in checks if check is not None]


def announcing(jobs: Sequence[Job], folder: Path) -> Callable[[Job, Sequence[Row]], None]:
    """To be told of every job done: prints the verdict of a claim when all of its `jobs` are in the folder."""
    missing: dict[str, set[str]] = defaultdict(set)
    results = Results(folder)
    for job in jobs:
        if not is_done(job, results):
            missing[_claim(job)].add(job.key)

    def told(job: Job, rows: Sequence[Row]) -> None:
        claim = find_claim(_claim(job))
        missing[claim.id].discard(job.key)
        if not missing[claim.id]:
            verdicts = judged(row for row in read_rows(folder) if row.claim == claim.id)
            said = (
                f"{combine(verdicts):12s} {len(verdicts):3d} settings"
                if verdicts
                else "measured, and judged by no check"
            )
            tqdm.write(f"{claim.id:4s} {said}  {claim.statement}")

    return told


def _claim(job: Job) -> str:
    """A simulated job is named by `claim.check` and its setting."""
    return job.name.split(".")[0]
