"""Every rule and method on a ratings file of Jester's size: 1500 users × 100 items, 200 resamples of the users.

Run from the repository root:  python tests/benchmarks/bench_people.py [--users 1500] [--items 100] [--bt-beta 5]

The file is made up: two tastes and noise, marks from −10 to 10, and beside the complete rows a tenth as many with
blanks. It goes through the command line twice, `--missing drop` (all rules) and `--missing pairs` (those that need win
rates only). Printed are seconds of the clock and of the processors, and the seconds of each method's cell.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from simulate.rows.store import read_rows

ROOT = Path(__file__).resolve().parents[2]


def ratings(users: int, items: int, path: Path) -> None:
    """Write the file; one user in eleven has blanks."""
    rng = np.random.default_rng(0)
    taste = rng.normal(size=(users + users // 10, 2)) @ rng.normal(size=(2, items))
    marks = np.clip(np.round(4.0 * taste + 3.0 * rng.normal(size=taste.shape), 2), -10.0, 10.0)
    lines = [",".join(f"joke {j + 1}" for j in range(items))]
    for row, values in enumerate(marks):
        blank = rng.random(items) < 0.3 if row >= users else np.zeros(items, dtype=bool)
        lines.append(",".join("" if gone else f"{value:g}" for value, gone in zip(values, blank, strict=True)))
    path.write_text("\n".join(lines) + "\n")


def measure(path: Path, missing: str, beta: str, folder: Path) -> tuple[float, float]:
    """Run the command; seconds of the clock, and of the processors."""
    command = [sys.executable, "-m", "simulate", "D17", "--ratings", str(path), "--missing", missing,
               "--scale", "-10", "10", "--bt-beta", beta, "--jobs", "2", "--results", str(folder)]  # fmt: skip
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = time.perf_counter() - began
    return seconds, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> int:
    """Command line; exit status 1 if a run takes more than two minutes of two processors, or Plurality Veto ten times
    Borda's."""
    parser = argparse.ArgumentParser(description="Time every rule on made-up ratings of Jester's size.")
    parser.add_argument("--users", type=int, default=1500)
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--bt-beta", default="5")
    options, slow = parser.parse_args(), False
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "jokes.csv"
        ratings(options.users, options.items, path)
        for missing in ("drop", "pairs"):
            wall, work = measure(path, missing, options.bt_beta, Path(scratch) / missing)
            cells = {row.check: row.seconds for row in read_rows(Path(scratch) / missing)}
            each = ", ".join(f"{name} {cells[name]:.1f}" for name in sorted(cells, key=lambda name: -cells[name]))
            print(f"--missing {missing}: {wall:.0f} s, {work:.0f} s of processors; {each}", flush=True)
            slow |= work > 240.0 or cells.get("plurality_veto", 0.0) > 10.0 * cells.get("borda", 1.0)
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
