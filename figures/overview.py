"""Everything in one figure: how far what was simulated and trained lies from what was predicted, claim by claim."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.model_points import model_of
from figures.style import BLACK, LOOKS, Drawing, dots, finish, named, panels, ticks
from llm_validation.claims.table import trained_checks
from llm_validation.recorded import MODELS
from simulate.rows.pool import pooled
from simulate.rows.store import Row
from theory.claim import Check, Claim, parse_setting
from theory.claims import CLAIMS, find_claim

#: The topics by the names that they have in text.
TITLES = {
    "distortion": "distortion", "proximal": "PRO", "divergences": "divergences", "density_ratio": "density ratios",
    "correction": "correction", "best_of_n": "Best-of-N",
}  # fmt: skip
#: Errors beyond so many resolutions stand at the edge.
EDGE = 30.0
#: How far the checks of a claim are spread about its place.
SPREAD = 0.35


def error(check: Check, predicted: float, estimate: float) -> float:
    """(estimate − predicted)/resolution; of a bound or an ordering by how much it is broken, 0 where it is kept."""
    off = estimate - predicted
    if check.kind == "upper bound":
        off = max(0.0, off)
    elif check.kind in ("lower bound", "ordering"):
        off = min(0.0, off)
    room = check.tolerance(predicted)
    relative = off / room if room > 0.0 else math.copysign(math.inf, off) if off else 0.0
    return float(np.clip(relative, -EDGE, EDGE))


@cache
def _checks(claim_id: str) -> dict[str, Check]:
    """The checks of a claim that something measures, on tables and on trained models, by name."""
    checks = (*find_claim(claim_id).checks, *trained_checks(claim_id))
    return {check.name: check for check in checks if check.kind != "cited"}


@cache
def _predicted(claim_id: str, check: str, setting: str) -> float:
    return _checks(claim_id)[check].predict(parse_setting(setting))


def errors(claim: Claim, rows: Sequence[Row]) -> list[tuple[float, float, str | None]]:
    """(place about the claim's, error, model or None for simulation) of every setting that has rows, seeds pooled."""
    checks = _checks(claim.id)
    places = dict(zip(checks, np.linspace(-SPREAD, SPREAD, len(checks)) if len(checks) > 1 else [0.0], strict=True))
    seeds: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.claim == claim.id and row.check in checks:
            seeds[row.check, row.setting].append(row)
    found = []
    for (name, place), own in seeds.items():
        model = model_of(own[0])
        setting = place.removesuffix(f"model={model}").removesuffix(";") if model else place
        predicted = _predicted(claim.id, name, setting)
        off = error(checks[name], predicted, pooled(checks[name], predicted, own).estimate)
        if not math.isnan(off):
            found.append((float(places[name]), off, model))
    return found


def _topic(ax: Axes, claims: Sequence[Claim], rows: Sequence[Row]) -> None:
    """A strip for every check of a topic's claims; simulation filled, trained models open."""
    found = [(i + x, off, model) for i, claim in enumerate(claims) for x, off, model in errors(claim, rows)]
    ax.axhspan(-1.0, 1.0, color=BLACK, alpha=0.06, linewidth=0)
    ax.axhline(0.0, color=BLACK, linewidth=0.6)
    dots(ax, 0, [(x, off) for x, off, model in found if model is None], "simulated", markersize=2.2)
    for look, (name, model) in enumerate(MODELS.items(), start=1):
        looks = {"marker": model.marker or LOOKS[look][2], "markersize": 4.0, "markerfacecolor": "none", "zorder": 4}
        mine = [(x, off) for x, off, of in found if of == name]
        dots(ax, look, mine, f"language model{model.suffix}", **looks)
    ax.set_yscale("symlog", linthresh=1.0, linscale=2.0)
    largest = max([1.0, *(abs(off) for _, off, _ in found)])
    ax.set_ylim(-1.4 * largest, 1.4 * largest)
    ticks(ax.yaxis, *(value for value in (-10.0, -1.0, 0.0, 1.0, 10.0) if abs(value) <= largest))
    named(ax.xaxis, {float(i): claim.id for i, claim in enumerate(claims)})
    ax.tick_params(axis="x", labelrotation=90, labelsize=7.0)
    ax.set_xlim(-0.6, len(claims) - 0.4)
    finish(ax, "", "error over resolution", TITLES[claims[0].topic])


def every_claim(rows: Sequence[Row]) -> Figure | None:
    """Measured minus predicted over the resolution of each check, claim by claim, at ±30 if more; None without rows."""
    topics: dict[str, list[Claim]] = {}
    measured = {row.claim for row in rows}
    for claim in CLAIMS:
        if claim.id in measured:
            topics.setdefault(claim.topic, []).append(claim)
    if not topics:
        return None
    figure, axes = panels(len(topics))
    for ax, claims in zip(axes, topics.values(), strict=True):
        _topic(ax, claims, rows)
    return figure


#: name of the file → what draws it; it shows all claims, and is drawn where none is asked for
FIGURES = {"overview": Drawing(every_claim, ())}
