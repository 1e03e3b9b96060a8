"""Kills, full disks and torn files: what was finished is kept, and the run ends with the same rows.

Run from the repository root:  python tests/benchmarks/kills.py [--kills 20] [--seed 0] [--stage simulate]

Each stage runs its smoke profile once as it is, with two workers. Then, in another folder, it is started again and
again and killed (SIGKILL, no clean-up) at random moments, at last left to finish; once under a limit on the size of
files (a disk that is full); once after its newest file was torn in the middle; and twice at the same time. Every time
the rows must be those of the first run to the last bit, none missing, none twice.
"""

from __future__ import annotations

import argparse
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
            fields = stat.read_text().rsplit(")", 1)[1].split()
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


def check(stage: str, kills: int, rng: random.Random) -> list[str]:
    """All trials of one stage; what went wrong."""
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        whole_folder, broken = Path(scratch) / "whole", Path(scratch) / "broken"
        began = time.monotonic()
        if start(stage, whole_folder).wait() != 0:
            return [f"{stage} does not run at all"]
        took, whole = time.monotonic() - began, rows(whole_folder)
        before: Counter[Key] = Counter()
        trial = 0
        while trial < kills:  # in turn by the clock and by rows, for imports take most of a short run
            left = len(whole) - len(before)
            done, seconds = (rng.randrange(1, left + 1), rng.uniform(0, 0.2)) if trial % 2 else (0, rng.random() * took)
            running, count = killed(stage, broken, done, seconds, 30.0 + took)
            now = rows(broken)
            if before - now:
                wrong.append(f"{stage}: kill {trial + 1} lost {len(before - now)} finished rows")
            before = now
            if running:
                trial += 1
                moment = f"{done} more rows and {seconds:.2f} s" if done else f"{seconds:.2f} s"
                print(
                    f"{stage}: kill {trial} of {kills} after {moment}: {count} of {sum(whole.values())} rows",
                    flush=True,
                )
            elif not done:
                took *= 0.9  # it had ended: no kill, and runs are faster now
            if now == whole:
                shutil.rmtree(broken)
                before = Counter()
        full = start(stage, broken, largest_file=2000)
        _, said = full.communicate()
        print(f"{stage}: on a full disk status {full.returncode}: {said.strip().splitlines()[-1:]}", flush=True)
        pair = [start(stage, broken) for _ in range(2)]
        statuses = sorted(process.wait() for process in pair)
        print(f"{stage}: two at once end with statuses {statuses}", flush=True)
        start(stage, broken).wait()
        found = same(rows(broken), whole)
        wrong += [f"{stage}: after kills, a full disk and two at once: {found}"] * bool(found)
        torn = tear(broken)
        process = start(stage, broken)
        _, said = process.communicate()
        print(f"{stage}: with {torn} torn, status {process.returncode} {said.strip().splitlines()[-1:]}", flush=True)
        found = same(rows(broken), whole) if process.returncode == 0 else ""
        wrong += [f"{stage}: after a torn {torn}: {found}"] * bool(found)
    return wrong


def main() -> int:
    """Command line; exit status 1 if a row was lost, doubled or changed."""
    parser = argparse.ArgumentParser(description="Kill runs at random moments and compare their rows.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stage", nargs="*", choices=sorted(STAGES), default=sorted(STAGES, reverse=True))
    options = parser.parse_args()
    rng = random.Random(options.seed)
    wrong = [line for stage in options.stage for line in check(stage, options.kills, rng)]
    print("\n".join(wrong) or "every row as it was: none lost, none doubled, none changed")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
