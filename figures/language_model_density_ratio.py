"""Figures of DDRO and RDRO on trained language models: R1–R5, R8. Lines are theory's, points from rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.model_points import categories, entry, mark, of_models
from figures.style import PAGE, Drawing, finish, panels, select
from simulate.rows.store import Row
from theory.density_ratio.losses import log_ratio_cap
from theory.language_model_claims import MEAN, WORST
from theory.language_model_settings import RDRO_ALPHA


def _at(y: float) -> Callable[[Row], float]:
    return lambda _: y


def never_rejected(ax: Axes, rows: Sequence[Row]) -> None:
    """Log-ratio of a response that was never rejected, along training."""
    for look, method in enumerate(("ddro", "rdro")):
        mark(ax, look, select(rows, "R4", "trained_path", method=method), entry("step"), method.upper(), joined=True)
    ax.axhline(log_ratio_cap(RDRO_ALPHA), color="#7F7F7F", linewidth=1.2, label=r"cap $\log(1/\alpha)$ of RDRO")
    finish(ax, "step", r"$\log\,\pi(y)/\pi_{\mathrm{ref}}(y)$ (nats)", "a response never rejected", legend=1)


def distances(ax: Axes, rows: Sequence[Row]) -> None:
    """Total variations per method: to p⁺ where the reference is right, to the constrained optimum on all prompts."""
    names = ("DDRO", "RDRO", "RDRO, pooled", "DPO")
    families: tuple[tuple[str, int, float, list[tuple[str, str, dict[str, str], int]]], ...] = (
        (r"to $p^+$", 0, 0.24, [("R1", "to_plus", {}, 0), ("R2", "to_plus", {}, 1)]),
        (r"to $p^+$, cyclic preferences", 2, 0.08,
         [("R3", "trained", {"method": "ddro"}, 0), ("R3", "trained", {"method": "rdro"}, 1)]),
        ("to the optimum, mean", 1, -0.08,
         [("R1", "mean_tv", {}, 0), ("R2", "mean_tv", {}, 1), ("R5", "mean_tv", {}, 2), ("R3", "dpo_tv", {}, 3)]),
        ("to the optimum, worst", 3, -0.24,
         [("R1", "worst_tv", {}, 0), ("R2", "worst_tv", {}, 1), ("R5", "worst_tv", {}, 2)]),
    )  # fmt: skip
    for label, look, shift, members in families:
        for first, (claim, check, setting, place) in enumerate(members):
            mark(ax, look, select(rows, claim, check, **setting), _at(shift - place),
                 None if first else label, across=True)  # fmt: skip
    ax.axvline(MEAN, color="#000000", linewidth=0.8)
    ax.axvline(WORST, color="#000000", linewidth=0.8, linestyle=":")
    ax.set_xscale("log")
    ax.set_xticks([1e-6, 1e-4, 1e-2])
    ax.minorticks_off()
    categories(ax, names)
    finish(ax, "total variation", "", "lines: targets, mean and worst", legend=1)


def biases(ax: Axes, rows: Sequence[Row]) -> None:
    """What goes wrong as predicted: how much farther from p⁺ pooled batches and DPO end than RDRO."""
    names = ("pooled batches", "DPO on cyclic\npreferences")
    mark(ax, 2, select(rows, "R5", "trained_bias"), _at(0.0), "less RDRO's", across=True)
    mark(ax, 2, select(rows, "R3", "dpo_away"), _at(-1.0), across=True)
    ax.axvline(0.0, color="#000000", linewidth=1.0)
    ax.set_xlim(left=-0.02)
    categories(ax, names)
    finish(ax, r"excess of TV to $p^+$", "", "predicted positive", legend=1)


def ratios(rows: Sequence[Row]) -> Figure | None:
    """The cap of RDRO, distances of policies, and the biases that theory predicts."""
    if not of_models(rows, ("R1", "R2", "R3", "R4", "R5")):
        return None
    figure, axes = panels(3, PAGE, 3.6)
    for ax, draw in zip(axes, (never_rejected, distances, biases), strict=True):
        draw(ax, rows)
    return figure


#: name of the file → what draws it, and the claims it shows
FIGURES: dict[str, Drawing] = {"language_model_density_ratio": Drawing(ratios, ("R1", "R2", "R3", "R4", "R5"))}
