"""The file of a sweep: grids over settings of checks, families of populations and seeds."""

from __future__ import annotations

import inspect
import math
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from simulate.distortion.methods import ON_FAMILIES
from simulate.experiments import EXPERIMENTS, MEASUREMENTS, cell
from simulate.montecarlo import Experiment, Experiments
from simulate.populations import FAMILIES
from simulate.profiles import PROFILES
from simulate.rows.grid import Job
from theory.claim import Value, setting_key
from theory.validate import check_bt_beta, check_whole, check_word

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
        for cell_number in range(start, stop):
            place, seed = divmod(cell_number, len(seeds))
            values: list[Value] = []
            for axis in list(self.axes.values())[::-1]:
                place, at = divmod(place, len(axis))
                values.insert(0, axis[at])
            yield dict(zip(self.axes, values, strict=True)), seeds[seed]


@dataclass(frozen=True, slots=True)
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
    except FileNotFoundError:
        raise FileNotFoundError(f"no such file of grids: {path}") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from None


def _sweep(content: dict[str, Any]) -> Sweep:
    for name in ("profile", "seeds"):
        if name not in content:
            raise ValueError(f"it holds no {name}, only {', '.join(content) or 'nothing'}")
    profile, seeds = content.pop("profile"), content.pop("seeds")
    if not isinstance(profile, str) or profile not in PROFILES:
        raise ValueError(f"profile = {profile!r} must be one of {', '.join(sorted(PROFILES))}")
    sweep = Sweep(profile, _seeds(seeds), tuple(_grids(content)))
    if not sweep.grids:
        raise ValueError("there is no table [CLAIM.CHECK] or [methods.METHOD], so nothing to measure")
    if sweep.size > MOST_CELLS:
        raise ValueError(f"{sweep.size} cells are more than the {MOST_CELLS} that a sweep has room for")
    return sweep


def _seeds(given: Any) -> tuple[int, ...]:
    """0 … n − 1 of a number, or those of a list."""
    chosen = given if isinstance(given, list) else range(given) if type(given) is int and given <= MOST else []
    whole = all(type(seed) is int and 0 <= seed <= MOST_SEED for seed in chosen)
    if not chosen or not whole or len(set(chosen)) < len(chosen):
        raise ValueError(f"seeds = {given!r} must be their number, 1 to {MOST}, or a list of different ones, "
                         "each ≥ 0 and of 64 bits")  # fmt: skip
    return tuple(chosen)


def _grids(tables: dict[str, Any]) -> Iterator[Grid]:
    """A grid of every table [CLAIM.CHECK]."""
    for claim, checks in tables.items():
        known = sorted(key.split(".")[1] for key in MEASURED if key.split(".")[0] == claim)
        if not known and isinstance(checks, dict):
            raise ValueError(f"[{claim}] is no claim with checks on a grid")
        if not known:
            there = "profile, seeds and tables [CLAIM.CHECK], [methods.METHOD]"
            raise ValueError(f"unknown key {claim!r}: there are {there}")
        for check, settings in checks.items() if isinstance(checks, dict) and checks else [("", None)]:
            if check not in known or not isinstance(settings, dict):
                place = f"{claim}.{check}" if check else claim
                raise ValueError(f"{place} must be a table [{claim}.CHECK], CHECK one of {', '.join(known)}")
            yield _grid(f"{claim}.{check}", settings)


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
        if type(value) not in (int, float, str) or not (isinstance(value, str) or abs(value) <= sys.float_info.max):
            raise ValueError(f"{where} holds {value!r}, which is neither a finite number nor a word")
    keys = [setting_key({where: value}) for value in values]
    if not keys or len(set(keys)) < len(keys):
        raise ValueError(f"{where} = {given!r} " + ("holds a value twice" if keys else "holds no value"))
    return tuple(values)


def _of_kind(where: str, kind: str, values: tuple[Value, ...]) -> tuple[Value, ...]:
    """Whole numbers where a setting is one: 2.0, which a range holds, is 2. ValueError for a word or a part of one."""
    for value in values:
        if kind in ("int", "float") and (isinstance(value, str) or (kind == "int" and value != int(value))):
            raise ValueError(f"{where} = {value!r} must be a {'whole ' if kind == 'int' else ''}number")
        if kind != "float" and not isinstance(value, str) and value == int(value) and abs(value) > MOST_SEED:
            raise ValueError(f"{where} = {value!r} is a whole number of more than 64 bits")
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
