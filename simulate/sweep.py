"""Sweeps: a grid over settings of checks, families of populations and seeds, measured into a folder of parquet files.

    profile = "smoke"
    seeds = 20                      # 0 … 19; or a list, [3, 7]
    [D9.on_I6]                      # a check of a claim: each of its settings is a value, a list or a range
    bt_beta = { from = 1.0, to = 10.0, count = 500 }
    [methods.borda]                 # a method's distortion on random populations of a family
    family = ["uniform", "sparse"]
    n_types = [2, 5]
    n_alternatives = 4
    bt_beta = [1.0, 5.0]

A cell's draws are named by its check, setting and seed, as everywhere: where a sweep and `python -m simulate` measure
the same cell, they give the same number. Cells are measured and written a part at a time; a part is there as a whole or
not at all, so that a run that was killed goes on with the parts that are missing. `pandas.read_parquet(folder)` reads
them all: a column per setting beside `estimate` ± `stderr`.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulate import grids
from simulate.grids import MEASURED, Grid, Part, Sweep, read_sweep
from simulate.numbers import Parser, a_path, carried_out, count, not_negative
from simulate.profiles import PROFILES
from simulate.rows.backends import add_on, check_minutes
from simulate.rows.grid import Execution, Job, Outcome, in_time, outcomes_of, progress, stamped
from simulate.rows.reach import HOME
from simulate.rows.store import ROWS, SWEEP, Stamp, locked, make_stamp, read_json, replace_file

if TYPE_CHECKING:
    import pyarrow

#: What ends a file of parquet: one that a copy cut off has another end.
END = b"PAR1"


# Running and writing


def run_sweep(sweep: Sweep, folder: Path, how: Execution) -> int:
    """Measure the parts that `folder` does not hold, each written as it is done; how many cells are left undone.

    Raises
    ------
    ValueError
        A folder that holds another sweep, or rows of other code; a cell that fails, by name.
    """
    _refuse_rows(folder)
    stamp = make_stamp(sweep.profile, asdict(PROFILES[sweep.profile]))
    with locked(folder):
        held = check_sweep(sweep, folder)
        stamps = {grid.key: stamped(stamp, _first_job(sweep, grid)) for grid in sweep.grids}
        _note(sweep, folder, stamps)
        todo = [part for part in sweep.parts if (part.grid.key, part.start) not in held]
        left = sum(part.stop - part.start for part in todo)
        schema = _schema(sweep.grids)
        bar = progress(left, f"sweep → {folder.name}", "cell")
        # of tasks: the folder's name keeps them from readers of parquet
        running = outcomes_of(map(sweep.jobs, todo), how, len(todo), folder / "_tasks", stamp)
        with bar, closing(running):
            for number, outcomes in running:
                part = todo[number]
                _write(part, sweep.seeds, outcomes, stamps[part.grid.key][0], folder, schema)
                left -= len(outcomes)
                bar.update(len(outcomes))
    return left


def check_sweep(sweep: Sweep, folder: Path) -> Collection[tuple[str, int]]:
    """Which parts of a sweep a folder holds: key of the grid, and first cell; those that are cut off do not count.

    ValueError where it holds something else, which the sweep would be mixed with.
    """
    there = {(f"{path.parts[-3][6:]}.{path.parts[-2][6:]}", int(path.stem[5:])): path
             for path in folder.glob("claim=*/check=*/part-*.parquet") if path.stem[5:].isdecimal()}  # fmt: skip
    if there and not (folder / SWEEP).exists():
        raise ValueError(f"{folder} holds parts of a sweep without {SWEEP}, which says of which one: choose another "
                         "--results folder")  # fmt: skip
    if (folder / SWEEP).exists():
        old = read_json(folder / SWEEP)
        for field, value in _noted(sweep).items():
            if old.get(field) != value:
                raise ValueError(f"{folder} holds a sweep of other {field}: choose another --results folder")
    broken = [path for path in there.values() if not _ends(path)]
    for path in broken:
        print(f"{path} is cut off, and its cells are measured again", file=sys.stderr)
    return {at for at, path in there.items() if path not in broken}


def _refuse_rows(folder: Path) -> None:
    if (folder / ROWS).exists():
        raise ValueError(f"{folder} holds the rows of a run: choose another --results folder")


def _ends(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(END)))
        return file.read() == END


def _noted(sweep: Sweep) -> dict[str, Any]:
    """What sweeps of one folder agree in."""
    axes = {grid.key: {name: list(values) for name, values in grid.axes.items()} for grid in sweep.grids}
    code = {grid.key: _first_job(sweep, grid).stamp["fingerprint"] for grid in sweep.grids}
    return {"profile": sweep.profile, "seeds": list(sweep.seeds), "grids": axes, "cells": grids.IN_A_PART, "code": code}


def _note(sweep: Sweep, folder: Path, stamps: Mapping[str, tuple[str, Stamp]]) -> None:
    """Write down what the folder holds, and the stamps of this run beside those of runs before."""
    old = read_json(folder / SWEEP).get("stamps", {})
    noted = {**_noted(sweep), "stamps": old | dict(stamps.values())}
    replace_file(folder / SWEEP, json.dumps(noted, indent=1))


def _first_job(sweep: Sweep, grid: Grid) -> Job:
    return sweep.jobs(Part(grid, 0, 1))[0]


def _schema(grids: Sequence[Grid]) -> pyarrow.Schema:
    """One for all parts: a setting is a number where it is one in all grids, else a word.

    Whole numbers are `int64` where the setting is one, whatever the values: sweeps side by side have one schema.
    """
    import pyarrow as pa

    kinds: dict[str, set[type]] = {}
    for grid in grids:
        parameters = inspect.signature(MEASURED[grid.key]).parameters
        for name, values in grid.axes.items():
            real = name in parameters and parameters[name].annotation == "float"
            kinds.setdefault(name, set()).update({float} if real else map(type, values))
    columns = {name: "string" if str in found else "int64" if found == {int} else "float64"
               for name, found in kinds.items()}  # fmt: skip
    columns = {"seed": "int64", **columns, "estimate": "float64", "stderr": "float64", "replicates": "int64",
               "interval_low": "float64", "interval_high": "float64", "seconds": "float64", "witness": "string",
               "stamp": "string"}  # fmt: skip
    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns.items()])


def _write(
    part: Part, seeds: Sequence[int], outcomes: Sequence[Outcome], stamp_id: str, folder: Path, schema: pyarrow.Schema
) -> None:
    """Write a part; ValueError for the first cell of it that failed."""
    import pyarrow as pa
    import pyarrow.parquet

    types = {field.name: {pa.string(): str, pa.float64(): float}.get(field.type, int) for field in schema}
    records = []
    for (setting, seed), outcome in zip(part.grid.cells(seeds, part.start, part.stop), outcomes, strict=True):
        if isinstance(outcome, Exception):
            kind = "" if isinstance(outcome, ValueError) else f"{type(outcome).__name__}: "
            raise ValueError(f"{kind}{outcome} ({' '.join(outcome.__notes__)})") from outcome
        ((measured,), seconds) = outcome
        e = measured.estimate
        records.append({
            **{name: types[name](value) for name, value in setting.items()},
            "seed": seed, "estimate": float(e.value), "stderr": float(e.stderr), "replicates": int(e.n),
            "interval_low": float(e.low), "interval_high": float(e.high), "seconds": seconds, "witness": e.witness,
            "stamp": stamp_id,
        })  # fmt: skip
    buffer = pa.BufferOutputStream()
    pyarrow.parquet.write_table(pa.Table.from_pylist(records, schema), buffer)
    path = folder / part.path
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, buffer.getvalue().to_pybytes())


# Command line


def sweep_main(arguments: Sequence[str]) -> int:
    """`sweep FILE.toml`; returns the exit status."""
    parser = Parser(prog="python -m simulate sweep", description="Measure a grid of settings and seeds, into parquet.")
    parser.add_argument("file", type=a_path, metavar="FILE.toml")
    parser.add_argument("--plan", action="store_true", help="say how many cells there are, and stop")
    parser.add_argument("--results", type=a_path, help="folder for rows; simulate/results/sweep-FILE by default")
    parser.add_argument("--jobs", type=count, default=os.cpu_count() or 1, help="parts measured at a time")
    parser.add_argument("--minutes", type=not_negative, help="start no new part after so many minutes")
    add_on(parser)
    options = parser.parse_args(arguments)
    return carried_out(parser.prog, lambda: _sweep(options))


def _sweep(options: argparse.Namespace) -> None:
    folder = options.results or HOME / "simulate" / "results" / f"sweep-{options.file.stem}"
    deadline = None if options.minutes is None else time.monotonic() + 60.0 * options.minutes
    sweep = read_sweep(options.file)
    if options.plan:
        _print_plan(sweep, folder)
        return
    _require_pyarrow()
    check_minutes(options.on, options.minutes)
    left = run_sweep(sweep, folder, Execution(options.jobs, may_start=in_time(deadline), on=options.on))
    if left:
        print(f"stopped after {options.minutes:g} minutes: {left} cells are left; run again to go on")
    print(f"{sweep.size - left} of {sweep.size} cells in {folder}: pandas.read_parquet({str(folder)!r})")


def _print_plan(sweep: Sweep, folder: Path) -> None:
    for grid in sweep.grids:
        axes = [f"{len(values)} {name}" for name, values in grid.axes.items()]
        lengths = " × ".join([*axes, f"{len(sweep.seeds)} seeds"])
        print(f"{grid.key:24s} {grid.size * len(sweep.seeds):9d} cells  {lengths}")
    sizes = {grid.key: grid.size * len(sweep.seeds) for grid in sweep.grids}
    _refuse_rows(folder)
    there = sum(min(grids.IN_A_PART, sizes[key] - start) for key, start in check_sweep(sweep, folder))
    print(f"{'together':24s} {sweep.size:9d} cells, {there} of them in {folder}")


def _require_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise ValueError("a sweep needs the package pyarrow: pip install 'alignment-theory[sweep]'") from None
