"""Figures of divergence estimators on trained language models: V1–V7, V11. Lines are theory's, points from rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.model_points import categories, mark, of_models
from figures.style import LOOKS, PAGE, Drawing, finish, panels, select
from simulate.rows.store import Row
from theory.claim import parse_setting
from theory.claims import find_claim
from theory.language_model_claims import MEAN, WORST
from theory.language_model_settings import FITTED_BETA, MINIBATCHED, SAFETY_LOSSES

#: Claim and label of every loss that stands for a divergence.
LOSSES = {
    "kldo": ("V1", "KLDO: KL"),
    "kto": ("V2", "KTO: TV"),
    "bco": ("V3", "BCO: JS"),
    "dpo": ("V4", "DPO: JS of pairs"),
    "kl": ("V5", "FDO: KL"),
    "jensen_shannon": ("V5", "FDO: JS"),
    "pearson": ("V5", r"FDO: $\chi^2$"),
    "hellinger": ("V6", "Hellinger"),
}
SHORT = {"kldo": "KLDO", "kto": "KTO", "bco": "BCO", "dpo": "DPO", "ddro": "DDRO", "rdro": "RDRO", "kl": "FDO, KL",
         "jensen_shannon": "FDO, JS", "pearson": r"FDO, $\chi^2$", "hellinger": "Hellinger"}  # fmt: skip


def _placed(names: Sequence[str], shift: float = 0.0) -> Callable[[Row], float]:
    return lambda row: shift - list(names).index(str(parse_setting(row.setting)["name"]))


def held_out(ax: Axes, rows: Sequence[Row]) -> None:
    """Per loss: what held-out draws read off the trained model minus the exact divergence, in units of the resolution.

    Beside it the loss minimised on tables, minus the predicted minimum, in the same units.
    """
    names = list(LOSSES)
    ax.axvspan(-1.0, 1.0, color="#000000", alpha=0.06, linewidth=0)
    ax.axvline(0.0, color="#000000", linewidth=1.0, label="exact")
    tables: list[tuple[float, float]] = []
    held: list[Row] = []
    for i, (name, (claim, _)) in enumerate(LOSSES.items()):
        per_unit, minimum = 1.0 / find_claim(claim).check("held_out").resolution, find_claim(claim).check("minimum")
        held += [replace(row, estimate=per_unit * row.estimate, stderr=per_unit * row.stderr)
                 for row in select(rows, claim, "held_out", name=name)]  # fmt: skip
        tables += [(per_unit * (row.estimate - minimum.predict(parse_setting(row.setting))), 0.15 - i)
                   for row in select(rows, claim, "minimum", name=name)]  # fmt: skip
    mark(ax, 1, held, _placed(names, -0.15), "held-out draws", across=True)
    if tables:
        ax.plot(*zip(*tables, strict=True), color=LOOKS[0][0], marker=LOOKS[0][2], linestyle="none",
                label="minimised on tables")  # fmt: skip
    ax.set_xlim(-1.3, 1.3)
    categories(ax, [label for _, label in LOSSES.values()])
    finish(ax, "error over resolution", "", "estimated minus exact", legend=1)


def distances(ax: Axes, rows: Sequence[Row]) -> None:
    """Total variation to the plug-in optimum per loss and way of training: open mean over prompts, cross the worst."""
    names = list(dict.fromkeys([*(name for name in FITTED_BETA if name != "kto"), *MINIBATCHED]))
    ways = (
        ("constant fitted", 1, 0.22, select(rows, "V7", "mean_tv", constant="fitted"),
         select(rows, "V7", "worst_tv", constant="fitted")),
        ("constant fixed", 3, 0.0, select(rows, "V7", "mean_tv", constant="fixed"),
         select(rows, "V7", "worst_tv", constant="fixed")),
        ("minibatches", 2, -0.22, select(rows, "V7", "minibatch_tv"), select(rows, "V7", "minibatch_worst")),
    )  # fmt: skip
    for label, look, shift, means, worst in ways:
        place = _placed(names, shift)
        mark(ax, look, means, place, label, across=True)
        for row in of_models(worst, ("V7",)):
            ax.plot(row.estimate, place(row), color=LOOKS[look][0], marker="x", markersize=3, linestyle="none")
    ax.plot([], [], color="#7F7F7F", marker="x", markersize=3, linestyle="none", label="worst prompt, per seed")
    ax.axvline(MEAN, color="#000000", linewidth=0.8, label="target, mean")
    ax.axvline(WORST, color="#000000", linewidth=0.8, linestyle=":", label="target, worst; minibatches")
    ax.set_xscale("log")
    ax.set_xlim(left=1e-7)
    ax.set_xticks([1e-6, 1e-4, 1e-2])
    ax.minorticks_off()
    categories(ax, [SHORT[name] for name in names])
    finish(ax, "total variation", "", "to the plug-in optimum", legend=1)


def separation(ax: Axes, rows: Sequence[Row]) -> None:
    """Growth of the log Bhattacharyya distance between safe and marked prompts, per loss and kind of data."""
    kinds = (("cr", "compliance–refusal", 0, 0.15), ("preference", "preference", 2, -0.15))
    for kind, label, look, shift in kinds:
        mark(ax, look, select(rows, "V11", "grows", data=kind), _placed(SAFETY_LOSSES, shift), label, across=True)
    ax.axvline(0.0, color="#000000", linewidth=1.0)
    categories(ax, [SHORT[name] for name in SAFETY_LOSSES])
    finish(ax, r"$\Delta\log$ Bhattacharyya distance", "", "aligned minus reference", legend=1)


def estimates_and_policies(rows: Sequence[Row]) -> Figure | None:
    """Divergences read off held-out draws; the policies' distance from their optima; separation of prompts."""
    if not of_models(rows, ("V1", "V2", "V3", "V4", "V5", "V6", "V7", "V11")):
        return None
    figure, axes = panels(3, PAGE, 4.4)
    for ax, draw in zip(axes, (held_out, distances, separation), strict=True):
        draw(ax, rows)
    return figure


#: name of the file → what draws it, and the claims it shows
FIGURES: dict[str, Drawing] = {
    "language_model_divergences": Drawing(estimates_and_policies, ("V1", "V2", "V3", "V4", "V5", "V6", "V7", "V11"))
}
