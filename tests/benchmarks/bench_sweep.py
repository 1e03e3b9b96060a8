"""What a sweep costs besides measuring: bookkeeping a row, and how long a sweep of 100 000 small cells takes.

Run from the repository root:  python tests/benchmarks/bench_sweep.py [--cells 10000] [--jobs 2] [--csv FILE]

The grid is Borda on random populations of four families. Bookkeeping is a run by one process in which measuring gives a
constant at once: cells named and seeded, estimates made into columns, parts written and flushed to the disk. Then the
real run with `jobs` processes, measured and extended to 100 000 cells in proportion, beside what the machine has to do
meanwhile.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import pandas as pd

from simulate import sweep
from simulate.grids import Grid, Sweep
from simulate.montecarlo import Estimate
from simulate.rows.grid import Execution
from simulate.sweep import run_sweep

FAMILIES = ("uniform", "extreme", "faint", "sparse")
WHOLE = 100_000


def grid(cells: int) -> Sweep:
    """About so many cells: families × types × alternatives × bt_beta, at as many seeds as it takes."""
    axes = {"family": FAMILIES, "n_types": (1, 2, 3, 4, 5), "n_alternatives": (2, 3, 4, 5, 6),
            "bt_beta": tuple(0.5 + i / 2 for i in range(50))}  # fmt: skip
    return Sweep("smoke", tuple(range(max(1, cells // 5000))), (Grid("methods.borda", axes),))


def nothing(**setting: object) -> Estimate:
    """Measures nothing."""
    return Estimate(1.0, 0.1, 3)


def seconds_of(cells: int, jobs: int, folder: Path) -> tuple[float, float, int]:
    """Wall and this process's CPU seconds of a sweep, and its cells."""
    described = grid(cells)
    wall, cpu = time.perf_counter(), time.process_time()
    run_sweep(described, folder, Execution(jobs))
    return time.perf_counter() - wall, time.process_time() - cpu, described.size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--csv", type=Path, metavar="FILE", help="a table to add to")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        with patch.dict(sweep.MEASURED, {"methods.borda": nothing}):
            nothing.__module__ = "simulate.distortion.methods"  # whose code the stamp names
            wall, cpu, n = seconds_of(options.cells, 1, Path(folder, "nothing"))
        bookkeeping = 1e3 * wall / n
        print(f"bookkeeping: {n} rows, {1e3 * cpu / n:.3f} ms a row of CPU, {bookkeeping:.3f} ms by the clock")
        wall, cpu, n = seconds_of(options.cells, options.jobs, Path(folder, "real"))
        began = time.perf_counter()
        found = pd.read_parquet(Path(folder, "real"))
        reading = time.perf_counter() - began
    assert len(found) == n
    measuring = 1e3 * found.seconds.sum() / n / options.jobs
    print(f"measured: {n} cells with {options.jobs} jobs in {wall:.0f} s, {1e3 * wall / n:.2f} ms a cell, of which "
          f"measuring is {measuring:.2f}; read in {reading:.1f} s")  # fmt: skip
    if n < WHOLE:
        print(f"{WHOLE} cells would take {wall / n * WHOLE / 60:.1f} minutes at this load ({os.getloadavg()[0]:.1f})")
    if options.csv:
        line = {"cells": n, "jobs": options.jobs, "seconds": wall, "ms_a_cell": 1e3 * wall / n,
                "ms_measuring": measuring, "ms_bookkeeping": bookkeeping, "seconds_reading": reading,
                "load": load}  # fmt: skip
        table = pd.DataFrame([line])
        table.to_csv(options.csv, mode="a", header=not options.csv.exists(), index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
