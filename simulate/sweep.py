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

import inspect
import json
import math
import os
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulate.distortion.methods import ON_FAMILIES
from simulate.experiments import EXPERIMENTS, MEASUREMENTS, cell
from simulate.montecarlo import Experiment, Experiments
from simulate.numbers import Parser, a_path, count, not_negative
from simulate.populations import FAMILIES
from simulate.profiles import PROFILES
from simulate.rows.backends import add_on, check_minutes
from simulate.rows.grid import Execution, Job, Outcome, in_time, outcomes_of, progress, stamped
from simulate.rows.reach import ROOT
from simulate.rows.store import ROWS, Stamp, locked, make_stamp, replace_file
from theory.claim import Value, setting_key
from theory.validate import check_bt_beta, check_whole, check_word

if TYPE_CHECKING:
    import pyarrow

#: Everything that a sweep can measure: `claim.check`, measurements beside the claims, `methods.METHOD`.
MEASURED: Experiments = EXPERIMENTS | {key: measure for key, (measure, _) in MEASUREMENTS.items()} | ON_FAMILIES
#: Cells that are measured and written together.
IN_A_PART = 100
#: Most values of an axis, most seeds, most cells of a sweep, and the largest seed, which stands in 64 bits.
MOST, MOST_CELLS, MOST_SEED = 10**6, 10**9, 2**63 - 1
#: Settings of every measurement that has them: what makes a value one, so that a wrong one is found before work.
RANGES: dict[str, Callable[[Any], object]] = {
    "bt_beta": check_bt_beta,
    "n_types": partial(check_whole, "n_types", most=10**6),
    "n_alternatives": partial(check_whole, "n_alternatives", most=10**4),
    "family": partial(check_word, "family", words=FAMILIES),
}
#: What the folder holds, beside the parts: readers of parquet pass over names that begin with an underscore.
MANIFEST = "_sweep.json"


@dataclass(frozen=True)
class Grid:
    """One measurement at all combinations of its axes: name of a setting → its values, in the signature's order."""

    key: str
    axes: Mapping[str, tuple[Value, ...]]

    @property
    def size(self) -> int:
        """How many settings it has."""
        return math.prod(map(len, self.axes.values()))

    def cells(self, seeds: Sequence[int], start: int, stop: int) -> Iterator[tuple[dict[str, Value], int]]:
        """The setting and the seed of cells start … stop − 1; the seed varies fastest."""
        for values, seed in islice(product(product(*self.axes.values()), seeds), start, stop):
            yield dict(zip(self.axes, values, strict=True)), seed


@dataclass(frozen=True)
class Part:
    """Cells start … stop − 1 of a grid, and where they are written."""

    grid: Grid
    start: int
    stop: int

    @property
    def path(self) -> Path:
        """Relative to the folder; claim and check are columns by their place in it."""
        claim, check = self.grid.key.split(".")
        return Path(f"claim={claim}", f"check={check}", f"part-{self.start:08d}.parquet")


@dataclass(frozen=True)
class Sweep:
    """Grids, each at all seeds, with the work of a profile."""

    profile: str
    seeds: tuple[int, ...]
    grids: tuple[Grid, ...]

    @property
    def size(self) -> int:
        """How many cells it has."""
        return len(self.seeds) * sum(grid.size for grid in self.grids)

    @property
    def parts(self) -> list[Part]:
        """All parts, in order."""
        sizes = [(grid, len(self.seeds) * grid.size) for grid in self.grids]
        return [Part(grid, at, min(at + IN_A_PART, n)) for grid, n in sizes for at in range(0, n, IN_A_PART)]

    def jobs(self, part: Part) -> list[Job]:
        """The cells of a part."""
        key, profile, jobs = part.grid.key, PROFILES[self.profile], []
        for setting, seed in part.grid.cells(self.seeds, part.start, part.stop):
            bound = partial(MEASURED[key], **setting)
            jobs.append(cell(key, setting, seed, (key, setting_key(setting)), bound, profile))
        return jobs


# Reading a file


def read_sweep(path: Path) -> Sweep:
    """The sweep that a TOML file describes.

    Raises
    ------
    ValueError
        Names the file and the key that is unknown, missing or of the wrong kind.
    OSError
        A file that cannot be read.
    """
    try:
        return _sweep(tomllib.loads(path.read_bytes().decode("utf-8-sig")))
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from None


def _sweep(content: dict[str, Any]) -> Sweep:
    profile, seeds = content.pop("profile", None), content.pop("seeds", None)
    if not isinstance(profile, str) or profile not in PROFILES:
        raise ValueError(f"profile = {profile!r} must be one of {', '.join(sorted(PROFILES))}")
    chosen = seeds if isinstance(seeds, list) else range(seeds) if type(seeds) is int and seeds <= MOST else []
    whole = all(type(seed) is int and 0 <= seed <= MOST_SEED for seed in chosen)
    if not chosen or not whole or len(set(chosen)) < len(chosen):
        raise ValueError(f"seeds = {seeds!r} must be their number, 1 to {MOST}, or a list of different ones, "
                         "each ≥ 0 and of 64 bits")  # fmt: skip
    grids = []
    for claim, checks in content.items():
        known = sorted(key.split(".")[1] for key in MEASURED if key.split(".")[0] == claim)
        if not known:
            table = isinstance(checks, dict)
            raise ValueError(
                f"[{claim}] is no claim with checks on a grid" if table
                else f"unknown key {claim!r}: there are profile, seeds and tables [CLAIM.CHECK], [methods.METHOD]"
            )  # fmt: skip
        for check, settings in checks.items() if isinstance(checks, dict) and checks else [("", None)]:
            if check not in known or not isinstance(settings, dict):
                raise ValueError(f"{claim}.{check} must be a table [{claim}.CHECK], CHECK one of {', '.join(known)}")
            grids.append(_grid(f"{claim}.{check}", settings))
    if not grids:
        raise ValueError("there is no table [CLAIM.CHECK] or [methods.METHOD], so nothing to measure")
    sweep = Sweep(profile, tuple(chosen), tuple(grids))
    if sweep.size > MOST_CELLS:
        raise ValueError(f"{sweep.size} cells are more than the {MOST_CELLS} that a sweep has room for")
    return sweep


def _grid(key: str, settings: dict[str, Any]) -> Grid:
    taken = _taken(MEASURED[key])
    for name in settings:
        if name not in taken:
            raise ValueError(f"[{key}] takes no {name!r}, only {', '.join(taken) or 'seeds'}")
    missing = [name for name, required in taken.items() if required and name not in settings]
    if missing:
        raise ValueError(f"[{key}] needs {missing[0]!r}")
    axes = {name: _axis(f"[{key}] {name}", settings[name]) for name in taken if name in settings}
    for name in axes.keys() & RANGES.keys():
        for value in axes[name]:
            try:
                RANGES[name](value)
            except ValueError as error:
                raise ValueError(f"[{key}] {error}") from None
    kinds = {name: p.annotation for name, p in inspect.signature(MEASURED[key]).parameters.items()}
    return Grid(key, {name: _of_kind(f"[{key}] {name}", str(kinds[name]), axes[name]) for name in axes})


def _taken(measure: Experiment) -> dict[str, bool]:
    """Names of the settings that a measurement takes, and whether it needs them."""
    parameters = inspect.signature(measure).parameters
    return {name: p.default is p.empty for name, p in parameters.items() if name not in ("rng", "profile")}


def _axis(where: str, given: Any) -> tuple[Value, ...]:
    if isinstance(given, dict):
        given = _range(where, given)
    values = given if isinstance(given, list) else [given]
    for value in values:
        if type(value) not in (int, float, str) or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(f"{where} holds {value!r}, which is neither a finite number nor a word")
    keys = [setting_key({"": value}) for value in values]
    if not keys or len(set(keys)) < len(keys):
        raise ValueError(f"{where} = {given!r} " + ("holds a value twice" if keys else "holds no value"))
    return tuple(values)


def _of_kind(where: str, kind: str, values: tuple[Value, ...]) -> tuple[Value, ...]:
    """Whole numbers where a setting is one: 2.0, which a range holds, is 2. ValueError for a word or a part of one."""
    if kind not in ("int", "float"):
        return values
    for value in values:
        if isinstance(value, str) or (kind == "int" and value != int(value)):
            raise ValueError(f"{where} = {value!r} must be a {'whole ' if kind == 'int' else ''}number")
    return tuple(int(value) for value in values) if kind == "int" else values


def _range(where: str, given: dict[str, Any]) -> list[float]:
    """`count` numbers at equal distances, both ends among them."""
    if set(given) != {"from", "to", "count"}:
        raise ValueError(f"{where} must be a range {{ from, to, count }}, got {', '.join(given) or 'nothing'}")
    first, last, n = given["from"], given["to"], given["count"]
    numbers = all(type(end) in (int, float) and abs(end) <= sys.float_info.max for end in (first, last))
    if not numbers or first >= last or type(n) is not int or not 2 <= n <= MOST:
        raise ValueError(f"{where} must go from a number to a larger one with a count of 2 to {MOST}")
    return [float(first + (last - first) * (i / (n - 1))) for i in range(n)]


# Running and writing


def run_sweep(sweep: Sweep, folder: Path, how: Execution) -> int:
    """Measure the parts that `folder` does not hold, each written as it is done; how many cells are left undone.

    Raises
    ------
    ValueError
        A folder that holds another sweep, or rows of other code; a cell that fails, by name.
    """
    if (folder / ROWS).exists():
        raise ValueError(f"{folder} holds the rows of a run: choose another --results folder")
    stamp = make_stamp(sweep.profile, asdict(PROFILES[sweep.profile]))
    with locked(folder):
        stamps = {grid.key: stamped(stamp, sweep.jobs(Part(grid, 0, 1))[0]) for grid in sweep.grids}
        _note(sweep, folder, stamps)
        todo = [part for part in sweep.parts if not (folder / part.path).exists()]
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


def _note(sweep: Sweep, folder: Path, stamps: Mapping[str, tuple[str, Stamp]]) -> None:
    """Write down what the folder holds; ValueError where that is something else."""
    grids = {grid.key: {name: list(values) for name, values in grid.axes.items()} for grid in sweep.grids}
    code = {key: stamp["fingerprint"] for key, (_, stamp) in stamps.items()}
    noted = {"profile": sweep.profile, "seeds": list(sweep.seeds), "grids": grids, "cells": IN_A_PART, "code": code}
    there = (folder / MANIFEST).exists()
    old: dict[str, Any] = json.loads((folder / MANIFEST).read_text()) if there else {**noted, "stamps": {}}
    for field, value in noted.items():
        if old[field] != value:
            raise ValueError(f"{folder} holds a sweep of other {field}: choose another --results folder")
    replace_file(folder / MANIFEST, json.dumps({**old, "stamps": old["stamps"] | dict(stamps.values())}, indent=1))


def _schema(grids: Sequence[Grid]) -> pyarrow.Schema:
    """One for all parts: a setting is a number where it is one in all grids, else a word."""
    import pyarrow as pa

    kinds: dict[str, set[type]] = {}
    for grid in grids:
        for name, values in grid.axes.items():
            kinds.setdefault(name, set()).update(map(type, values))
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

    words = {field.name for field in schema if field.type == pa.string()}
    records = []
    for (setting, seed), outcome in zip(part.grid.cells(seeds, part.start, part.stop), outcomes, strict=True):
        if isinstance(outcome, Exception):
            kind = "" if isinstance(outcome, ValueError) else f"{type(outcome).__name__}: "
            raise ValueError(f"{kind}{outcome} ({' '.join(outcome.__notes__)})") from outcome
        ((measured,), seconds) = outcome
        e = measured.estimate
        records.append({
            **{name: str(value) if name in words else value for name, value in setting.items()},
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
    folder = options.results or ROOT / "simulate" / "results" / f"sweep-{options.file.stem}"
    deadline = None if options.minutes is None else time.monotonic() + 60.0 * options.minutes
    try:
        sweep = read_sweep(options.file)
        if options.plan:
            return _print_plan(sweep, folder)
        _require_pyarrow()
        check_minutes(options.on, options.minutes)
        left = run_sweep(sweep, folder, Execution(options.jobs, may_start=in_time(deadline), on=options.on))
    except (ValueError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    if left:
        print(f"stopped after {options.minutes:g} minutes: {left} cells are left; run again to go on")
    print(f"{sweep.size - left} of {sweep.size} cells in {folder}: pandas.read_parquet({str(folder)!r})")
    return 0


def _print_plan(sweep: Sweep, folder: Path) -> int:
    for grid in sweep.grids:
        axes = [f"{len(values)} {name}" for name, values in grid.axes.items()]
        lengths = " × ".join([*axes, f"{len(sweep.seeds)} seeds"])
        print(f"{grid.key:24s} {grid.size * len(sweep.seeds):9d} cells  {lengths}")
    there = sum(part.stop - part.start for part in sweep.parts if (folder / part.path).exists())
    print(f"{'together':24s} {sweep.size:9d} cells, {there} of them in {folder}")
    return 0


def _require_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise ValueError("a sweep needs the package pyarrow: pip install 'alignment-theory[sweep]'") from None
