"""Figures of the Aligner on a trained language model: A1–A6, from rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.model_points import categories, mark, of_models, pooled
from figures.style import PAGE, Drawing, finish, panels, select
from llm_validation.recorded import MODELS
from simulate.rows.store import Row
from theory.claim import parse_setting
from theory.language_model_generation_claims import UPSTREAMS

LEARNERS = {"aligner": "Aligner, H(C|X,O)", "sft": "SFT, H(C|X)"}
PAIRS = ("ddro", "rdro", "dpo")


def _at(place: float) -> Callable[[Row], float]:
    return lambda _: place


def _beside(shift: float) -> Callable[[Row], float]:
    """Place a row at its number of rounds, a little to the side."""
    return lambda row: shift + float(parse_setting(row.setting)["k"])


def floors(ax: Axes, rows: Sequence[Row]) -> None:
    """Held-out losses and the entropies that are their floors; the gap between the two is I(C;O|X)."""
    for place, method in enumerate(LEARNERS):
        for floor in pooled(select(rows, "A1", "floor", method=method)):
            ax.plot([floor.estimate] * 2, [-place - 0.3, -place + 0.3], color="#000000", linewidth=1.2)
        losses = select(rows, "A1", "loss", method=method)
        mark(ax, 1, losses, _at(-float(place)), "held-out loss" if place == 0 else None, across=True)
    categories(ax, list(LEARNERS.values()))
    finish(ax, "nats per correction", "", "lines: entropy floors", legend=1)


def gains(ax: Axes, rows: Sequence[Row]) -> None:
    """Gain of mean utility on upstream models that the Aligner never saw: sampled against predicted."""
    ends: list[float] = []
    for look, upstream in enumerate(UPSTREAMS):
        for model in MODELS:
            predicted = pooled(select(rows, "A3", "predicted_gain", upstream=upstream, model=model))
            if predicted:
                ends.append(predicted[0].estimate)
                sampled = select(rows, "A3", "sampled_gain", upstream=upstream, model=model)
                mark(ax, look, sampled, _at(predicted[0].estimate), upstream)
    if ends:
        ax.plot([min(ends), max(ends)], [min(ends), max(ends)], color="#000000", linewidth=0.8)
    finish(ax, "predicted gain", "sampled gain of mean utility", "unseen upstream models", legend=2)


def rounds(ax: Axes, rows: Sequence[Row]) -> None:
    """Errors of mean utility after k rounds: from the process's kernel, and from the trained one."""
    shown = {"llm_utility": "from the process's kernel", "llm_utility_measured": "from the trained kernel"}
    for look, (check, name) in enumerate(shown.items()):
        mark(ax, look, select(rows, "A4", check), _beside(0.06 * (look - 0.5)), name)
    ax.axhline(0.0, color="#000000", linewidth=0.8)
    ax.set_xticks([1, 2, 4])
    finish(ax, "rounds of correction", "mean utility, measured − predicted", legend=1)


def pairs(ax: Axes, rows: Sequence[Row]) -> None:
    """Bootstrapping by pairs: distance to each method's limit, and to one corrected round πK."""
    shown = {"llm_pairs_limit": "to the method's limit", "llm_pairs_composed": r"to $\pi K$"}
    for look, (check, name) in enumerate(shown.items()):
        for place, method in enumerate(PAIRS):
            label = name if place == 0 else None
            mark(ax, look, select(rows, "A6", check, method=method), _at(-float(place)), label, across=True)
    ax.set_xscale("log")
    categories(ax, [method.upper() for method in PAIRS])
    finish(ax, "total variation", "", r"trained on pairs $c \succ o$", legend=1)


def correction_on_models(rows: Sequence[Row]) -> Figure | None:
    """Losses at their floors, gains on unseen upstream models, rounds, and bootstrapping by pairs."""
    mine = of_models(rows, [f"A{i}" for i in range(1, 7)])
    if not select(mine, "A1", "loss"):
        return None
    figure, axes = panels(4, PAGE * 1.3, 3.0)
    for draw, ax in zip((floors, gains, rounds, pairs), axes, strict=True):
        draw(ax, mine)
    return figure


FIGURES = {"language_model_correction": Drawing(correction_on_models, tuple(f"A{i}" for i in range(1, 7)))}
