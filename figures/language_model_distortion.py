"""Figures of distortion on trained language models: D3, D4, D8, D9, D17. Predictions are drawn as lines, from rows.

A prediction starts from the measured reference and the drawn comparisons, so it is a measurement's companion: it has
rows of its own (`predicted`) or follows from a row (`trained` is distortion over prediction, less one).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.model_points import categories, entry, mark, model_of, of_models, pooled, scaled
from figures.style import LOOKS, PAGE, Drawing, finish, line, panels, select
from llm_validation.recorded import MODELS
from simulate.rows.store import Row
from theory.claim import parse_setting
from theory.claims import find_claim
from theory.distortion.factors import borda_factor, linear_factor
from theory.language_model_settings import INSTANCE_BETAS, INSTANCES, PEOPLE_METHODS

#: Claim and look of each method, and how far it is moved along the axis of instances.
METHODS = {"rlhf": ("D8", 2, 0.17), "nlhf": ("D9", 1, -0.17)}
NAMES = {"rlhf": "RLHF", "nlhf": "NLHF", "dpo": "DPO"}
LABELS = {
    "I3": "Condorcet (I3)", "I5": "Borda (I5)", "I6": "KL ball (I6)", "I9": "adjacent pairs (I9)",
    "I9_product": "I9, product pairs", "random": "random users",
}  # fmt: skip


def _place(row: Row) -> float:
    """Where a row's instance and method stand along y."""
    setting = parse_setting(row.setting)
    return METHODS[str(setting["method"])][2] - INSTANCES.index(str(setting["instance"]))


def _bounds(ax: Axes) -> None:
    """L(β) and K*(β) on the instances where they bound NLHF and RLHF."""
    borda = {str(setting["instance"]) for setting in find_claim("D4").check("trained").settings}
    marks = {
        "$L$ bounds NLHF": [(linear_factor(b), -i - 0.17) for i, b in enumerate(INSTANCE_BETAS)],
        "$K^*$ bounds RLHF": [
            (borda_factor(b), -i + 0.17)
            for i, (name, b) in enumerate(zip(INSTANCES, INSTANCE_BETAS, strict=True))
            if name in borda
        ],
    }
    for (label, places), look in zip(marks.items(), (1, 2), strict=True):
        ax.plot(*zip(*places, strict=True), color=LOOKS[look][0], marker="4", markersize=8, linestyle="none",
                label=label)  # fmt: skip


def reached_and_predicted(rows: Sequence[Row]) -> Figure | None:
    """Per instance: the distortion predicted (line) and reached (point) with its bound, and by how much they differ."""
    if not select(of_models(rows, ("D8", "D9")), "D8", "reached"):
        return None
    figure, (left, right) = panels(2, PAGE, 3.6)
    for method, (claim, look, _) in METHODS.items():
        colour = LOOKS[look][0]
        for row in pooled(of_models(select(rows, claim, "predicted"), (claim,))):
            y = _place(row)
            left.plot([row.estimate] * 2, [y - 0.17, y + 0.17], color=colour, linestyle="-", linewidth=1.2)
        left.plot([], [], color=colour, label=f"{NAMES[method]}, predicted")
        mark(left, look, select(rows, claim, "reached"), _place, NAMES[method], across=True)
        excess = find_claim(claim).check("excess")
        percent = scaled(select(rows, claim, "excess"), lambda _: 100.0)
        mark(right, look, percent, _place, NAMES[method], across=True)
        right.axvspan(-100 * excess.resolution, 100 * excess.resolution, color="#000000", alpha=0.04, linewidth=0)
    _bounds(left)
    right.axvline(0.0, color="#000000", linewidth=1.0)
    categories(left, [f"{LABELS[n]}, $\\beta={b:g}$" for n, b in zip(INSTANCES, INSTANCE_BETAS, strict=True)])
    categories(right, [""] * len(INSTANCES))
    left.set_xscale("log")
    left.set_xticks([1, 1.5, 2, 3, 4, 6, 8], [f"{x:g}" for x in (1, 1.5, 2, 3, 4, 6, 8)])
    left.minorticks_off()
    finish(left, "distortion", "", "predicted, reached, bounded", legend=2)
    finish(right, "reached over predicted, less one (%)", "", "shaded: the resolution", legend=2)
    return figure


def people(rows: Sequence[Row]) -> Figure | None:
    """Distortion of models aligned to raters against bt_beta, predicted (lines) and reached; one panel per file."""
    mine = of_models(select(rows, "D17", "trained_distortion"), ("D17",))
    populations = sorted({str(parse_setting(row.setting)["population"]) for row in mine})
    if not populations:
        return None
    figure, axes = panels(len(populations), 3.4 * min(2, len(populations)), 3.2)
    for ax, population in zip(axes, populations, strict=True):
        for look, method in enumerate(PEOPLE_METHODS):
            reached = select(mine, "D17", "trained_distortion", population=population, method=method)
            for model in MODELS:
                _predicted_line(ax, look, method, rows, select(reached, "D17", "trained_distortion", model=model))
            mark(ax, look, reached, _apart(look), NAMES[method])
        ax.set_xscale("log")
        betas = sorted({entry("bt_beta")(row) for row in mine})
        ax.set_xticks(betas, [f"{beta:g}" for beta in betas])
        ax.minorticks_off()
        finish(ax, r"users' temperature $\beta$", "distortion", f"raters: {population}", legend=2)
    return figure


def _apart(look: int) -> Callable[[Row], float]:
    """A row's bt_beta moved a little, on a logarithmic axis: RLHF and DPO share a prediction."""
    return lambda row: entry("bt_beta")(row) * 1.05 ** (look - 1)


def _predicted_line(ax: Axes, look: int, method: str, rows: Sequence[Row], reached: Sequence[Row]) -> None:
    """The prediction behind rows of one method and model: distortion / (1 + excess), mean over seeds."""
    excess = {(row.setting, row.seed): row.estimate for row in select(rows, "D17", "trained")}
    found: dict[float, list[float]] = {}
    for row in reached:
        if (row.setting, row.seed) in excess:
            value = row.estimate / (1.0 + excess[row.setting, row.seed])
            found.setdefault(entry("bt_beta")(row), []).append(value)
    betas = sorted(found)
    if betas:
        line(ax, look, betas, [sum(found[b]) / len(found[b]) for b in betas],
             f"{NAMES[method]}, predicted{MODELS[str(model_of(reached[0]))].suffix}")  # fmt: skip


#: name of the file → what draws it, and the claims it shows
FIGURES: dict[str, Drawing] = {
    "language_model_distortion": Drawing(reached_and_predicted, ("D3", "D4", "D8", "D9")),
    "language_model_people": Drawing(people, ("D17",)),
}
