"""Figures of PRO on trained language models: P5, P9, P10, P12, P13. Curves come from theory/, points from rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.model_points import GREY, entry, mark, model_legend, of_models, pooled, scaled
from figures.style import LOOKS, PAGE, Drawing, finish, line, panels, points, select
from llm_validation.recorded import MODELS
from simulate.rows.store import Row
from theory.language_model_settings import IMBALANCE_RUNS, PAIR_RUNS
from theory.proximal.closed_forms import binary_log_ratio, pair_log_ratio
from theory.proximal.existence import binary_threshold, imbalance_scores

#: (alpha, kl_beta) of the pair whose likelihoods along training have rows.
PATH_RUN = PAIR_RUNS[1]
RESPONSES = ("chosen", "rejected", "H")


def _gaps(ax: Axes, rows: Sequence[Row]) -> None:
    """r(y) − r(H) of the optimum against α: one pair, one response, and one positive among many negatives."""
    negatives = IMBALANCE_RUNS[0][0]
    score, _ = imbalance_scores(negatives)
    curves: tuple[tuple[str, float, Callable[[float], float]], ...] = (
        ("one pair", 9 / 8, pair_log_ratio),
        ("one response", 1.0, lambda alpha: binary_log_ratio(0.5, alpha)),
        (f"$1:{negatives:g}$", binary_threshold(score), lambda alpha: binary_log_ratio(score, alpha)),
    )
    for look, (label, threshold, curve) in enumerate(curves):
        alphas = threshold * (1.0 + np.geomspace(0.004, 20.0 / threshold - 1.0, 200))
        line(ax, look, alphas, [curve(float(a)) for a in alphas], label)
    one_pair = select(rows, "P9", "trained", response=0)
    one_response = scaled(select(rows, "P10", "trained"), lambda row: math.copysign(1.0, entry("score")(row)))
    imbalanced = scaled(select(rows, "P13", "trained"), entry("kl_beta"))
    for look, mine in enumerate((one_pair, one_response, imbalanced)):  # rings around what simulation says
        mark(ax, look, mine, entry("alpha"), size=7.0)
    points(ax, 0, select(rows, "P9", "gap", response=0, kl_beta=1.0), "alpha")
    points(ax, 1, select(rows, "P10", "gap", score=0.5), "alpha")
    ax.plot([], [], color=GREY, marker="o", linestyle="none", label="tables")
    model_legend(ax, one_pair + one_response + imbalanced)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    finish(ax, r"$\alpha$", r"$|r(y)-r(H)|$", "rewards of the optimum", legend=1)


def _levels(ax: Axes, rows: Sequence[Row], method: str) -> None:
    """log π/π_ref along training; under PRO, lines where theory puts the pair, r/β above and below the measured H."""
    for look, response in enumerate(RESPONSES):
        mine = select(rows, "P12", "trained_path", method=method, response=response)
        mark(ax, look, mine, entry("step"), "$H$" if response == "H" else response, joined=True)
    ax.axhline(0.0, color="#7F7F7F", linewidth=0.6)
    last = _last_level(rows, method, "H")
    if method == "pro" and last is not None:
        alpha, kl_beta = PATH_RUN
        for look, sign in ((0, 1.0), (1, -1.0)):
            ax.axhline(last + sign * pair_log_ratio(alpha) / kl_beta, color=LOOKS[look][0], linestyle="--")
        ax.plot([], [], color="#000000", linestyle="--", label=r"predicted, $\pm r^*/\beta$ from $H$")


def _last_level(rows: Sequence[Row], method: str, response: str) -> float | None:
    """Mean over seeds of the last recorded log π/π_ref, of the first model that has rows."""
    for model in MODELS:
        mine = pooled(select(rows, "P12", "trained_path", method=method, response=response, model=model))
        if mine:
            return max(mine, key=entry("step")).estimate
    return None


def rewards_and_levels(rows: Sequence[Row]) -> Figure | None:
    """Left: rewards against α, theory, tables and models. Then likelihoods along training, PRO and DPO on one pair."""
    if not of_models(rows, ("P9", "P10", "P12", "P13")):
        return None
    figure, axes = panels(3, PAGE, 3.6)
    _gaps(axes[0], rows)
    for ax, method, title in zip(axes[1:], ("pro", "dpo"), ("PRO-P", "DPO, the same pair"), strict=True):
        _levels(ax, rows, method)
        finish(ax, "step", r"$\log\,\pi_t/\pi_{\mathrm{ref}}$ (nats)", title, legend=1)
    return figure


#: name of the file → what draws it, and the claims it shows
FIGURES: dict[str, Drawing] = {
    "language_model_proximal": Drawing(rewards_and_levels, ("P5", "P9", "P10", "P12", "P13"))
}
