"""Kills, full disks and torn files: what was finished is kept, and the run ends with the same rows.

Run from the repository root:  python tests/benchmarks/kills.py [--kills 20] [--seed 0] [--stage simulate] [--table F]

Each stage runs its smoke profile once as it is, with two workers. Then, in another folder, it is started again and
again and killed (SIGKILL, no clean-up) at random moments, at last left to finish; once under a limit on the size of
files (a disk that is full); once after its newest file was torn in the middle; and twice at the same time. Every time
the rows must be those of the first run to the last bit, none missing, none twice. The table has a line for each trial.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from simulate.rows.store import read_rows

ROOT = Path(__file__).resolve().parents[2]
#: A stage's words: some claims of every kind, quick ones.
STAGES = {"simulate": ("simulate", "proximal", "correction"), "llm_validation": ("llm_validation", "P10")}
#: Seconds are the machine's, and no result.
Key = tuple[str, str, str, int, float, float, int]


def start(stage: str, folder: Path, *, largest_file: int | None = None) -> subprocess.Popen[str]:
    """The stage on a folder, in a process group of its own."""
    command = [sys.executable, "-m", *STAGES[stage], "--profile", "smoke", "--jobs", "2", "--results", str(folder)]
    limit = None if largest_file is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file,) * 2)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=limit,
    )  # fmt: skip


def rows(folder: Path) -> Counter[Key]:
    """The rows of a folder, without what the clock says."""
    return Counter((r.claim, r.check, r.setting, r.seed, r.estimate, r.stderr, r.n) for r in read_rows(folder))


def same(found: Counter[Key], whole: Counter[Key]) -> str:
    """Nothing, or what differs: rows lost, doubled or changed."""
    doubled = sum(times > 1 for times in found.values())
    return "" if found == whole else f"{len(whole - found)} lost, {len(found - whole)} new, {doubled} doubled"


def killed(stage: str, folder: Path, done: int, seconds: float, patience: float) -> tuple[bool, int]:
    """Start, wait for `done` more rows and then so many seconds, SIGKILL the parent alone. Was it running, and
    how many rows stand there then? Its workers must end by themselves: within `patience` seconds, for one that was just
    started has its imports to do before it looks for its parent."""
    process = start(stage, folder)
    while done and process.poll() is None and _rows_of_its_own(process.pid, folder) < done:
        time.sleep(0.005)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    running = process.wait() == -signal.SIGKILL
    deadline = time.monotonic() + patience
    while _alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    if _alive(process.pid):
        raise SystemExit(f"{stage}: workers outlive their parent by {patience:.0f} seconds")
    return running, sum(rows(folder).values()) if folder.exists() else 0


def _rows_of_its_own(pid: int, folder: Path) -> int:
    """Rows that a run has written so far, as whole lines in a part that bears its number; none once it is taken in."""
    try:
        lines = [line for part in folder.glob(f"parts/*-{pid}-*") for line in part.read_bytes().split(b"\n")[:-1]]
    except FileNotFoundError:
        return 0
    return sum(len(json.loads(line).get("rows", ())) for line in lines)


def _alive(group: int) -> bool:
    """Is a process of the group left that is no zombie?"""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return False


def tear(folder: Path) -> str:
    """Cut the newest file of rows in the middle; its name."""
    files = [*folder.glob("parts/*"), *folder.glob("rows.csv")]
    newest = max((path for path in files if path.is_file()), key=lambda path: path.stat().st_mtime)
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    return newest.name


@dataclass(frozen=True)
class Trial:
    """What was done to a run, what it said or where it stood, and what is wrong with its rows, if anything."""

    stage: str
    trial: str
    found: str
    rows: int
    of: int
    wrong: str = ""


def kills(stage: str, folder: Path, number: int, took: float, whole: Counter[Key], rng: random.Random) -> list[Trial]:
    """So many kills of a run that goes on where it was killed; a finished one begins anew.

    In turn by the clock and by rows, for imports take most of a short run. One that had ended before is no kill.
    """
    before: Counter[Key] = Counter()
    trials: list[Trial] = []
    while len(trials) < number:
        by_rows = bool(len(trials) % 2)
        done = rng.randrange(1, len(whole) - len(before) + 1) if by_rows else 0
        seconds = rng.uniform(0, 0.2) if by_rows else rng.random() * took
        running, count = killed(stage, folder, done, seconds, 30.0 + took)
        now = rows(folder)
        moment = f"after {done} more rows and {seconds:.2f} s" if done else f"after {seconds:.2f} s"
        lost = sum((before - now).values())
        if running or lost:
            wrong = f"{lost} finished rows lost" if lost else ""
            trials.append(told(Trial(stage, f"kill {len(trials) + 1}", moment, count, len(whole), wrong)))
        elif not done:
            took *= 0.9  # runs are faster now
        before = now
        if now == whole:
            shutil.rmtree(folder)
            before = Counter()
    return trials


def check(stage: str, number: int, rng: random.Random) -> list[Trial]:
    """All trials of one stage."""
    with tempfile.TemporaryDirectory() as scratch:
        whole_folder, broken = Path(scratch) / "whole", Path(scratch) / "broken"
        began = time.monotonic()
        if start(stage, whole_folder).wait() != 0:
            return [Trial(stage, "as it is", "does not run at all", 0, 0, "no rows")]
        took, whole = time.monotonic() - began, rows(whole_folder)
        trials = kills(stage, broken, number, took, whole, rng)

        def ended(trial: str, found: str, *, refused: bool = False) -> None:
            now = Counter[Key]() if refused else rows(broken)  # what was refused cannot be read here either
            wrong = "" if refused else same(now, whole)
            trials.append(told(Trial(stage, trial, found, sum(now.values()), len(whole), wrong)))

        full = start(stage, broken, largest_file=2000)
        said = last_line(full)
        start(stage, broken).wait()
        ended("full disk, then again", f"status {full.returncode}: {said}")
        shutil.rmtree(broken)
        pair = [start(stage, broken) for _ in range(2)]
        statuses = sorted(process.wait() for process in pair)
        start(stage, broken).wait()
        ended("two at once, then again", f"statuses {statuses}")
        torn = tear(broken)
        process = start(stage, broken)
        said = last_line(process)
        ended(f"{torn} torn", f"status {process.returncode}: {said}", refused=process.returncode != 0)
    return trials


def last_line(process: subprocess.Popen[str]) -> str:
    """What a run says in the end, without its folder."""
    _, said = process.communicate()
    lines = said.strip().splitlines()
    return lines[-1].replace(tempfile.gettempdir(), "") if lines else ""


def told(trial: Trial) -> Trial:
    print(*astuple(trial), flush=True)
    return trial


def main() -> int:
    """Command line; exit status 1 if a row was lost, doubled or changed."""
    parser = argparse.ArgumentParser(description="Kill runs at random moments and compare their rows.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stage", nargs="*", choices=sorted(STAGES), default=sorted(STAGES, reverse=True))
    parser.add_argument("--table", type=Path, metavar="FILE", help="CSV, a line for each trial")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    trials = [trial for stage in options.stage for trial in check(stage, options.kills, rng)]
    if options.table is not None:
        with options.table.open("w", newline="") as lines:
            table = csv.writer(lines, lineterminator="\n")
            table.writerows([[field.name for field in fields(Trial)], *map(astuple, trials)])
    wrong = [trial for trial in trials if trial.wrong]
    print(f"{len(trials)} trials, {len(wrong)} with rows lost, doubled or changed")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
