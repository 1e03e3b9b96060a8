"""The same checks on models of several sizes: the rows of each size, and the quantities that are compared.

A size is a folder of rows whose stamps say how large the model was. A folder that does not say, or says two things, is
left out and named: a comparison across sizes needs the size. A `Quantity` condenses checks into one number per seed,
the distance from the prediction where the check is an equality; a seed counts if it has every declared setting, so that
no size is judged by fewer settings than another.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures.style import GREY, LOOKS, Drawing, finish, panels
from llm_validation.claims.settings import SAFETY_LOSSES, SIZES
from llm_validation.claims.table import find_check, llm_checks
from llm_validation.recorded import MODELS, in_place
from simulate.rows.pool import pool
from simulate.rows.reach import HOME
from simulate.rows.store import Results, Row
from theory.claim import Check, setting_key
from theory.claims import CLAIMS


@dataclass(frozen=True)
class Place:
    """Where the rows of one size are looked for.

    device    CPU or GPU
    folders   under llm_validation/results; the first that has rows is taken, of a GPU's both: one's own rows stand in
              the place of those recorded
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
    Place("small", "GPU", ("gpu", "reference-gpu"), 30_000_000, MODELS["gpu"].commands[-1]),
    Place("base", "GPU", ("gpu-base", "reference-gpu-base"), 95_000_000, MODELS["gpu_base"].commands[-1]),
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


def read_sizes(profile: str, root: Path = HOME) -> tuple[list[Size], list[str]]:
    """The sizes that have rows, small to large, and a message for every folder that is left out or guessed about."""
    found, messages = list[Size](), list[str]()
    for place in PLACES[profile]:
        folders = [root / "llm_validation" / "results" / name for name in place.folders]
        folders = [folder for folder in folders if (folder / "rows.csv").exists()]
        if not folders:
            continue
        try:
            size, notes = read_size(place, folders if place.device == "GPU" else folders[:1])
        except ValueError as error:
            messages.append(f"{error}; left out of the comparison across sizes")
            continue
        found.append(size)
        messages += notes
    return sorted(found, key=lambda size: size.parameters), messages


def read_size(place: Place, folders: Sequence[Path]) -> tuple[Size, list[str]]:
    """The rows of folders, a setting's from the first that has it, and what had to be guessed.

    ValueError names a folder that is not of the place's size.
    """
    folder, results = folders[0], [Results(folder) for folder in folders]
    held = [list(result.rows.values()) for result in results]
    rows = {row.cell: row for row in reduce(lambda own, recorded: in_place(recorded, own), held)}
    configs = [stamp.get("config") for result in results for stamp in result.stamps.values()]
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
    return Size(place.size, place.device, parameters, rows, _excess(record)), notes


def _size_name(config: Mapping[str, Any]) -> str | None:
    """A stamp's size. Without an entry of its own it is the pretraining's, unless the model came from elsewhere."""
    if "size" in config:
        return str(config["size"])
    pretrained = isinstance(config.get("base"), list)  # a path or a name stands for a model of the user's
    pretraining = config.get("pretraining")
    return str(pretraining["size"]) if pretrained and isinstance(pretraining, dict) and "size" in pretraining else None


def _pretraining(folder: Path) -> dict[str, Any]:
    path = folder / "pretraining" / "pretraining.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


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

    @cached_property
    def cells(self) -> tuple[tuple[str, Check, str, float], ...]:
        """Claim, check, setting and prediction of everything it covers."""
        checks = [(claim_id, find_check(claim_id, name)) for claim_id, name in self.checks]
        return tuple(
            (claim_id, check, setting_key(setting), check.predict(setting))
            for claim_id, check in checks
            for setting in check.settings
            if all(setting.get(key) in values for key, values in self.where.items())
        )

    def targets(self) -> list[float]:
        """What the checks ask of it: resolutions of equalities, bounds, and the values that orderings exceed."""
        distance = self.goal == "smaller"
        found = {c.resolution if distance and c.kind == "equality" else value for _, c, _, value in self.cells}
        return sorted(found)

    def at(self, size: Size) -> Point | None:
        """Mean over the seeds that have every declared setting; None where no seed has."""
        if not self.checks:
            return size.excess
        per_seed = [_condensed(self, size, seed, self.cells) for seed in size.seeds]
        complete = [found for found in per_seed if found is not None]
        if not complete:
            return None
        shared = any(check.shared for _, check, _, _ in self.cells)
        return Point(*pool(*map(list, zip(*complete, strict=True)), shared=shared), len(complete))


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
    return tuple((claim.id, check.name) for claim in CLAIMS for check in llm_checks(claim.id) if check.name in names)


# --- what is compared ------------------------------------------------------------------------------------------------

#: Losses of V10 whose logits do not saturate; KTO's do, and its estimates are shown apart.
UNSATURATED = tuple(name for name in SAFETY_LOSSES if name not in ("dpo", "kto"))
GROUPS = SIZES[1:]

#: Small to large within a panel; panels in the order of the claims.
QUANTITIES: tuple[Quantity, ...] = (
    Quantity("mean_tv", "total variation to the optimum, mean over prompts", "mean",
             "TV, mean over prompts", checks_named("mean_tv")),
    Quantity("mean_tv_largest", "the same, largest over methods", "largest",
             "TV, mean over prompts", checks_named("mean_tv"), over="largest"),
    Quantity("worst_tv", "total variation to the optimum at the worst prompt", "mean",
             "TV, worst prompt", checks_named("worst_tv")),
    Quantity("worst_tv_largest", "the same, largest over methods", "largest",
             "TV, worst prompt", checks_named("worst_tv"), over="largest"),
    Quantity("sampled_tv", "total variation of training on samples, mean over prompts", "on samples",
             "TV, samples and batches", checks_named("sampled_tv")),
    Quantity("minibatch_tv", "total variation of training on minibatches, mean over prompts", "on minibatches",
             "TV, samples and batches", checks_named("minibatch_tv")),
    Quantity("levels", "PRO: relative error of log-likelihood levels (P12)", "levels",
             "PRO, errors", (("P12", "levels"),)),
    Quantity("gaps", "PRO: error of rewards over the hyper response, nats (P9–P11)", "gaps",
             "PRO, errors", (("P9", "trained"), ("P10", "trained"), ("P11", "trained"))),
    Quantity("imbalance", "PRO: relative error of the imbalanced log-ratio (P13)", "imbalanced",
             "PRO, errors", (("P13", "trained"),)),
    Quantity("held_out", "divergences read off held-out draws: error (V1, V3–V6)", "all but KTO",
             "divergences, errors", tuple((f"V{i}", "held_out") for i in (1, 3, 4, 5, 6))),
    Quantity("held_out_kto", "the same for KTO (V2)", "KTO", "divergences, errors", (("V2", "held_out"),)),
    Quantity("contrast", "CR minus preference divergence, KLDO and BCO: error (V10)", "KLDO, BCO",
             "CR − preference, errors", (("V10", "trained"),), where={"name": UNSATURATED}),
    Quantity("contrast_kto", "the same for KTO (V10)", "KTO",
             "CR − preference, errors", (("V10", "trained"),), where={"name": ("kto",)}),
    Quantity("growth_cr", "growth of the log Bhattacharyya distance, CR data (V11)", "growth, CR",
             "log Bhattacharyya distance", (("V11", "grows"),), "larger", where={"data": ("cr",)}),
    Quantity("growth_preference", "the same, preference data (V11)", "growth, preference",
             "log Bhattacharyya distance", (("V11", "grows"),), "larger", where={"data": ("preference",)}),
    Quantity("separation", "CR minus preference data: log Bhattacharyya distance (V11)", "CR − preference",
             "log Bhattacharyya distance", (("V11", "cr_separates_more"),), "larger"),
    Quantity("aligner", "Aligner: held-out loss over its floor, distance from one (A1)", "Aligner",
             "Aligner, errors", (("A1", "llm_aligner"),)),
    Quantity("sft", "SFT: held-out loss over its floor, distance from one (A1)", "SFT",
             "Aligner, errors", (("A1", "llm_sft"),)),
    Quantity("information", "difference of the two losses less I(C;O|X): error, nats (A1)", "$I(C;O|X)$",
             "Aligner, errors", (("A1", "llm_difference"),)),
    Quantity("best_reward", "Best-of-N: error of the mean reward, sd (B3)", "Best-of-N",
             "rewards, errors (sd)", (("B3", "llm_reward"),)),
    Quantity("rejection_reward", "Speculative Rejection: the same, from v(t) (B4)", "from $v(t)$",
             "rewards, errors (sd)", (("B4", "llm_reward"),)),
    Quantity("rejection_reward_law", "Speculative Rejection: the same, from scores' joint law (B4)", "joint law",
             "rewards, errors (sd)", (("B4", "llm_reward_law"),)),
    *(Quantity(f"speedup_{n}", f"speed-up in tokens over its prediction, N = {n} (B6)", f"$N = {n}$",
               "speed-up over prediction", (("B6", "llm_speedup_ratio"),), "one", where={"n": (n,)}) for n in GROUPS),
    *(Quantity(f"seconds_{n}", f"speed-up in seconds, N = {n} (B10)", f"$N = {n}$",
               "speed-up in seconds", (("B10", "wall_clock_speedup"),), "larger", where={"n": (n,)}) for n in GROUPS),
    Quantity("pretraining", "pretraining: held-out loss over the language's entropy, less one", "pretraining",
             "pretraining, excess", ()),
)  # fmt: skip


# --- the figure ------------------------------------------------------------------------------------------------------

#: Markers of the sizes that a GPU trains; a size without one here is drawn with its line's.
MARKERS = {"small": MODELS["gpu"], "base": MODELS["gpu_base"]}
#: By what factor the quantities of a panel stand apart along x, so that no interval hides another; sizes are 3 apart.
APART = 1.25


def estimates(quantity: Quantity, sizes: Sequence[Size]) -> list[tuple[Size, Point]]:
    """The sizes at which a quantity has a number, small to large."""
    found = ((size, quantity.at(size)) for size in sizes)
    return [(size, point) for size, point in found if point is not None]


def against_parameters(ax: Axes, look: int, quantity: Quantity, sizes: Sequence[Size], beside: float = 1.0) -> None:
    """One quantity: an open point per size with one standard error either way, and a thin line through them.

    beside  the factor by which it is moved along x
    """
    colour, dash, own = LOOKS[look % len(LOOKS)]
    points = estimates(quantity, sizes)
    if not points:
        return
    ax.plot([beside * size.parameters for size, _ in points], [point.value for _, point in points], color=colour,
            linestyle=dash, linewidth=0.6, zorder=2)  # fmt: skip
    for size, point in points:
        model, place = MARKERS.get(size.name), beside * size.parameters
        ax.errorbar(
            place, point.value, yerr=point.stderr, color=colour, linestyle="none", markerfacecolor="white",
            marker=(model.marker if model else None) or own, markersize=5.0 * (model.scale if model else 1.0),
            capsize=2, elinewidth=0.8, zorder=3,
        )  # fmt: skip
    # drawn empty, so that the legend shows the marker of the line and not that of its last size
    ax.plot([], [], color=colour, linestyle=dash, linewidth=0.6, marker=own, markerfacecolor="white",
            label=quantity.short)  # fmt: skip


def panel(ax: Axes, title: str, sizes: Sequence[Size]) -> None:
    """The quantities of one panel, and what the checks ask of them as grey lines."""
    mine = [quantity for quantity in QUANTITIES if quantity.panel == title]
    for look, quantity in enumerate(mine):
        against_parameters(ax, look, quantity, sizes, APART ** (look - (len(mine) - 1) / 2))
    ax.set_xscale("log")
    ax.set_xlim(
        0.6 * sizes[0].parameters, 1.7 * sizes[-1].parameters
    )  # of all panels, though a size may have no number
    values = [point.value for quantity in mine for _, point in estimates(quantity, sizes)]
    # an exact zero, or an excess within its noise, has no place on a log axis
    decades = all(quantity.goal == "smaller" for quantity in mine) and min(values) > 0.0
    for target in sorted({target for quantity in mine for target in quantity.targets()}):
        ax.axhline(target, color=GREY, linewidth=1.0, zorder=1)
    finish(ax, "parameters", "", title, log="y" if decades else "")


def predictions_across_sizes(sizes: Sequence[Size]) -> Figure | None:
    """Every quantity against the number of parameters; None where fewer than two sizes have rows."""
    titles = [
        title
        for title in dict.fromkeys(quantity.panel for quantity in QUANTITIES)
        if any(estimates(quantity, sizes) for quantity in QUANTITIES if quantity.panel == title)
    ]
    if len(sizes) < 2 or not titles:
        return None
    figure, axes = panels(len(titles))
    for ax, title in zip(axes, titles, strict=True):
        panel(ax, title, sizes)
    _marker_legend(figure, sizes)
    return figure


def _marker_legend(figure: Figure, sizes: Sequence[Size]) -> None:
    """Above all panels: the markers of the sizes that have one of their own, and what the grey lines are."""
    shown = [(size.name, MARKERS[size.name]) for size in sizes if size.name in MARKERS]
    handles = [
        Line2D([], [], color=GREY, marker=model.marker or "o", markersize=5.0 * model.scale, markerfacecolor="white",
               linestyle="none", label=f"{name}, on a GPU")
        for name, model in shown
    ]  # fmt: skip
    asked = Line2D([], [], color=GREY, linewidth=1.0, label="asked for")
    figure.legend(handles=[*handles, asked], loc="upper center", ncols=1 + len(handles))


#: name of the file → what draws it from sizes, and the claims it shows
FIGURES = {
    "language_model_sizes": Drawing(
        predictions_across_sizes,
        tuple(dict.fromkeys(claim for q in QUANTITIES for claim, _ in q.checks)),
        of_sizes=True,
    )
}
