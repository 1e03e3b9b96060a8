"""The same checks on models of several sizes: the rows of each size, and the quantities that are compared.

A size is a folder of rows whose stamps say how large the model was. A folder that does not say, or says two things, is
left out and named: a comparison across sizes needs the size. A `Quantity` condenses checks into one number per seed,
the distance from the prediction where the check is an equality; a seed counts if it has every declared setting, so that
no size is judged by fewer settings than another.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from llm_validation.recorded import MODELS, pool
from simulate.rows.store import ROOT, Results, Row
from theory.claim import Check, setting_key
from theory.claims import CLAIMS, find_claim


@dataclass(frozen=True)
class Place:
    """Where the rows of one size are looked for.

    device    CPU or GPU
    folders   under llm_validation/results; the first that has rows is taken
    about     parameters, embeddings included, for folders whose stamps do not say
    command   what makes rows of that size
    """

    size: str
    device: Literal["CPU", "GPU"]
    folders: tuple[str, ...]
    about: int
    command: str


_RUN = "python -m llm_validation"
CPU_PLACES = (
    Place("micro", "CPU", ("cpu-micro", "reference-micro"), 80_000, f"{_RUN} --size micro"),
    Place("tiny", "CPU", ("cpu", "reference"), 380_000, _RUN),
    Place("mini", "CPU", ("cpu-mini", "reference-mini"), 1_900_000, f"{_RUN} --size mini"),
)
GPU_PLACES = (
    Place("small", "GPU", ("gpu",), 30_000_000, MODELS["gpu"].commands[-1]),
    Place("base", "GPU", ("gpu-base",), 95_000_000, MODELS["gpu_base"].commands[-1]),
)
#: profile → the sizes that are looked for, small to large.
PLACES = {
    "smoke": (Place("smoke", "CPU", ("smoke",), 40_000, f"{_RUN} --profile smoke"),),
    "cpu": (*CPU_PLACES, *GPU_PLACES),
    "gpu": GPU_PLACES,
}


@dataclass(frozen=True)
class Point:
    """One quantity at one size: mean over seeds and its standard error."""

    value: float
    stderr: float
    seeds: int


@dataclass(frozen=True, eq=False)
class Size:
    """A size that has rows.

    parameters  of the model, embeddings included
    rows        by (claim, check, setting, seed)
    excess      of the pretraining's held-out loss over the entropy of its language, relative; None if not recorded
    """

    name: str
    device: Literal["CPU", "GPU"]
    parameters: int
    rows: Mapping[tuple[str, str, str, int], Row]
    excess: Point | None = None

    @property
    def seeds(self) -> list[int]:
        """The seeds that have rows."""
        return sorted({row.seed for row in self.rows.values()})


def read_sizes(profile: str, root: Path = ROOT) -> tuple[list[Size], list[str]]:
    """The sizes that have rows, small to large, and a message for every folder that is left out or guessed about."""
    found, messages = list[Size](), list[str]()
    for place in PLACES[profile]:
        folders = [root / "llm_validation" / "results" / name for name in place.folders]
        folder = next((folder for folder in folders if (folder / "rows.csv").exists()), None)
        if folder is None:
            continue
        try:
            size, notes = read_size(place, folder)
        except ValueError as error:
            messages.append(f"{error}; left out of the comparison across sizes")
            continue
        found.append(size)
        messages += notes
    return sorted(found, key=lambda size: size.parameters), messages


def read_size(place: Place, folder: Path) -> tuple[Size, list[str]]:
    """The rows of one folder, and what had to be guessed. ValueError names a folder that is not of the place's size."""
    results = Results(folder)
    configs = [stamp.get("config") for stamp in results.stamps.values()]
    known = [config if isinstance(config, dict) else {} for config in configs]
    names = {_size_name(config) for config in known}
    if not names or None in names:
        raise ValueError(f"{folder}: a stamp does not say which size the model has")
    if names != {place.size}:
        raise ValueError(f"{folder}: rows of size {', '.join(sorted(map(str, names)))} where {place.size} belongs")
    record = _pretraining(folder)
    stated = {int(n) for config in known if (n := config.get("parameters") or record.get("parameters"))}
    if len(stated) > 1:
        raise ValueError(f"{folder}: stamps of models with {' and '.join(map(str, sorted(stated)))} parameters")
    notes = [] if stated else [f"{folder}: no stamp says how many parameters there are; taken as about {place.about}"]
    parameters = stated.pop() if stated else place.about
    return Size(place.size, place.device, parameters, results.rows, _excess(record)), notes


def _size_name(config: Mapping[str, Any]) -> str | None:
    """A stamp's size. Without an entry of its own it is the pretraining's, unless the model came from elsewhere."""
    if "size" in config:
        return str(config["size"])
    pretrained = isinstance(config.get("base"), list)  # a path or a name stands for a model of the user's
    pretraining = config.get("pretraining")
    return str(pretraining["size"]) if pretrained and isinstance(pretraining, dict) and "size" in pretraining else None


def _pretraining(folder: Path) -> dict[str, Any]:
    path = folder / "pretraining" / "pretraining.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def _excess(record: Mapping[str, Any]) -> Point | None:
    """held_out/entropy − 1 of a pretraining's record; None without one, or for documents of unknown entropy."""
    entropy = record.get("entropy")
    if entropy is None or "held_out" not in record:
        return None
    return Point(record["held_out"] / entropy - 1.0, record.get("stderr", 0.0) / entropy, 1)


@dataclass(frozen=True, eq=False)
class Quantity:
    """One number per size and seed, made of checks.

    name    in macros, one word
    label   in tables;  short  in legends;  panel  the title of the panel that shows it
    checks  (claim, check) whose declared settings it covers; none for the pretraining's excess
    goal    smaller: distances from the prediction; larger: differences and speed-ups themselves; one: ratios themselves
    over    mean or largest over the settings
    where   entries of a setting and the values they may have
    """

    name: str
    label: str
    short: str
    panel: str
    checks: tuple[tuple[str, str], ...]
    goal: Literal["smaller", "larger", "one"] = "smaller"
    over: Literal["mean", "largest"] = "mean"
    where: Mapping[str, tuple[float | str, ...]] = field(default_factory=dict)

    def cells(self) -> Iterator[tuple[str, Check, str, float]]:
        """Claim, check, setting and prediction of everything it covers."""
        for claim_id, name in self.checks:
            check = find_claim(claim_id).check(name)
            for setting in check.settings:
                if all(setting.get(key) in values for key, values in self.where.items()):
                    yield claim_id, check, setting_key(setting), check.predict(setting)

    def targets(self) -> list[float]:
        """What the checks ask of it: resolutions of equalities, bounds, and the values that orderings exceed."""
        distance = self.goal == "smaller"
        found = {c.resolution if distance and c.kind == "equality" else value for _, c, _, value in self.cells()}
        return sorted(found)

    def at(self, size: Size) -> Point | None:
        """Mean over the seeds that have every declared setting; None where no seed has."""
        if not self.checks:
            return size.excess
        cells = list(self.cells())
        per_seed = [_condensed(self, size, seed, cells) for seed in size.seeds]
        complete = [found for found in per_seed if found is not None]
        if not complete:
            return None
        return Point(*pool(*map(list, zip(*complete, strict=True))), len(complete))


def _condensed(
    quantity: Quantity, size: Size, seed: int, cells: Sequence[tuple[str, Check, str, float]]
) -> tuple[float, float] | None:
    """Value and standard error of one seed."""
    rows = [size.rows.get((claim, check.name, setting, seed)) for claim, check, setting, _ in cells]
    measured = [row for row in rows if row is not None]
    if len(measured) < len(cells):
        return None
    values, errors = list[float](), list[float]()
    for row, (_, check, _, predicted) in zip(measured, cells, strict=True):
        unit = abs(predicted) if quantity.goal == "smaller" and check.relative else 1.0
        distance = quantity.goal == "smaller" and check.kind == "equality"
        values.append(abs(row.estimate - predicted) / unit if distance else row.estimate)
        errors.append(row.stderr / unit)
    if quantity.over == "largest":
        worst = int(np.argmax(values))
        return values[worst], errors[worst]
    return float(np.mean(values)), math.sqrt(sum(error**2 for error in errors)) / len(errors)


def checks_named(*names: str) -> tuple[tuple[str, str], ...]:
    """Every claim's check on a language model that has one of these names."""
    return tuple((claim.id, check.name) for claim in CLAIMS for check in claim.llm_checks if check.name in names)
