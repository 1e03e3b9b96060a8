"""Figures of the proximal claims, from rows; curves come from theory/."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure

from figures import style
from figures.model_points import mark, model_legend, of_models, pooled
from figures.style import Drawing
from llm_validation.claims.settings import IMBALANCE_RUNS, PAIR_RUNS
from llm_validation.recorded import MODELS
from simulate.rows.store import Row
from theory.proximal import existence as thresholds
from theory.proximal.claims import coupled_path, imbalanced_threshold, one_pair_threshold
from theory.proximal.closed_forms import binary_log_ratio, pair_log_ratio, paper_binary_gap, zero_hyper_binary_gap
from theory.proximal.displacement import displaced_share
from theory.proximal.displacement_claims import RIVALS
from theory.proximal.examples import COMPARISONS
from theory.proximal.feedback import empirical_scores, mixture_weights
from theory.proximal.held_out import held_out_ratio
from theory.proximal.reproducibility import run_range, start_spread
from theory.proximal.settings import SHORTCUT, STEPS

LOG_RATIO, REWARD = r"$\log\,\pi_t/\pi_{\mathrm{ref}}$ (nats)", r"$r^*(y)-r^*(H)$"


def likelihoods(rows: Sequence[Row]) -> Figure:
    """Log-likelihood of chosen, rejected and third response along training, the same features under DPO and PRO."""
    figure, axes = style.panels(2)
    steps = np.arange(1, max(STEPS) + 1)
    methods = (("dpo", "P5", "DPO"), ("pro", "P12", "PRO-P, same features and data"))
    for ax, (method, claim, title) in zip(axes, methods, strict=True):
        path = coupled_path(method, max(STEPS))
        for response, name in enumerate(("chosen", "rejected", "unlabelled")):
            style.line(ax, response, steps, path[1:, response], name)
            style.points(ax, response, style.select(rows, claim, "path", response=response), "step")
        ax.axhline(0.0, color=style.GREY, linewidth=0.6)
        style.finish(ax, "step", LOG_RATIO, title, log="x")
    return figure


def _ratio_map(negatives: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """r*(y) − r*(H) of a positive response over (alphas, negatives); NaN where there is no optimum."""
    ratio = np.full((alphas.size, negatives.size), np.nan)
    for j, n in enumerate(negatives):
        score, _ = thresholds.imbalance_scores(float(n))
        for i in np.flatnonzero(alphas > thresholds.binary_threshold(score)):
            ratio[i, j] = binary_log_ratio(score, float(alphas[i]))
    return ratio


def existence(rows: Sequence[Row]) -> Figure:
    """Where an optimum exists: over α and the imbalance of binary labels, and over α and η for one pair."""
    figure, (left, right) = style.panels(2)
    negatives, alphas = np.geomspace(1.0, 200.0, 160), np.linspace(0.6, 4.0, 170)
    levels = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0]
    ratio, norm = _ratio_map(negatives, alphas), BoundaryNorm(levels, 200)
    shades = left.pcolormesh(negatives, alphas, ratio, cmap="Greys", norm=norm, rasterized=True, zorder=0)
    figure.colorbar(shades, cax=left.inset_axes((1.03, 0.0, 0.05, 1.0)), label=f"{REWARD} of a positive response")
    style.line(left, 1, negatives, imbalanced_threshold, r"$\alpha^*=2n/(n+1)$")
    style.points(left, 1, style.select(rows, "P13", "threshold", kl_beta=0.1), "negatives", "bisection")
    left.text(0.05, 0.06, "no optimum", transform=left.transAxes)
    left.grid(visible=False)
    style.finish(left, "negatives per positive $n$", r"$\alpha$", "binary feedback, centred", log="x")

    shares = np.linspace(0.25, 0.99, 120)
    scores, empirical = empirical_scores(3, [(0, 1)])
    weights = [mixture_weights(empirical, float(share), [0.0, 0.0, 1.0]) for share in shares]
    style.line(right, 0, shares, one_pair_threshold, r"$\alpha^*$, exact")
    style.line(right, 1, shares, thresholds.mixture_threshold, r"$1/\eta^2$")
    style.line(right, 2, shares, [thresholds.paper_threshold(scores, empirical, mu) for mu in weights], r"$\alpha_0$")
    style.points(right, 0, style.select(rows, "P7", "one_pair"), "share", "all subsets")
    style.finish(right, r"$\eta$, share of $\mu$ on the pair", r"$\alpha$", "one pair and $H$", log="y")
    return figure


def closed_forms(rows: Sequence[Row]) -> Figure:
    """Rewards of the optimum against α, and what the printed form and r(H) = 0 do to them."""
    figure, (left, right) = style.panels(2)
    alphas = np.geomspace(1.01, 20.0, 200)
    style.line(left, 0, alphas, lambda a: binary_log_ratio(0.5, a), "one response, $s=1/2$")
    style.line(left, 1, alphas[alphas > 1.126], pair_log_ratio, "winner of one pair")
    style.points(left, 0, style.select(rows, "P10", "gap", score=0.5), "alpha", "PRO-B, trained")
    style.points(left, 1, style.select(rows, "P9", "gap", response=0, kl_beta=1.0), "alpha", "PRO-P, trained")
    style.finish(left, r"$\alpha$", REWARD, "", log="xy")

    references = np.geomspace(1e-6, 0.99, 400)
    alpha, kl_beta = SHORTCUT
    style.line(right, 0, references, [binary_log_ratio(0.5, alpha)] * references.size, "shift-invariant form")
    style.line(right, 1, references, lambda p: paper_binary_gap(0.5, alpha, kl_beta, p), "printed form")
    limit = math.exp(-binary_log_ratio(0.5, alpha) / kl_beta)  # beyond it r(H) = 0 asks for π(y) > 1
    style.line(
        right, 2, references[references < limit], lambda p: zero_hyper_binary_gap(0.5, alpha, kl_beta, p), "$r(H)=0$"
    )
    style.points(right, 1, style.select(rows, "P10", "printed", score=0.5), "reference", "trained")
    style.points(right, 2, style.select(rows, "P10", "zero_hyper", score=0.5), "reference", "trained")
    right.axvline(limit, color=style.LOOKS[2][0], linewidth=0.6)
    right.set_ylim(0.0, 1.2)
    title = rf"$s=1/2,\ \alpha={alpha:g},\ \kappa={kl_beta:g}$"
    style.finish(right, r"$\pi_{\mathrm{ref}}(y)$", REWARD, title, log="x")
    return figure


def irreproducible(rows: Sequence[Row]) -> Figure:
    """Where runs of one loss end: by start, by rate and length (P14), and on prompts that nobody trained on (P15)."""
    figure, (left, middle, right) = style.panels(3)
    for look, method in enumerate(("dpo", "pro")):
        apart, name = 0.15 - 0.3 * look, f"{method.upper()}, trained"
        place = lambda row, shift=apart: shift - list(COMPARISONS).index(style.text(row, "data"))
        style.points(left, look, style.select(rows, "P14", "start", method=method), place, name, across=True)
        style.dots(
            middle,
            look,
            [(row.estimate, apart - style.entry("response")(row)) for row in style.select(rows, "P14", method)],
        )
        style.dots(right, look, _held_out(rows, method), zorder=3 + look)
    for i, data in enumerate(COMPARISONS):
        predicted = [start_spread("dpo", data)] * 2, [-i - 0.1, 0.4 - i]
        left.plot(*predicted, color=style.LOOKS[2][0], linewidth=1.2, label="predicted" if i == 0 else None)
    for response in (0, 1):
        middle.plot(
            [run_range(response)] * 2, [-response - 0.1, 0.4 - response], color=style.LOOKS[2][0], linewidth=1.2
        )
    right.axline((0.0, 0.0), slope=1.0, color=style.LOOKS[2][0], linewidth=1.2, zorder=2)
    style.categories(left, [data.replace("_", " ") for data in COMPARISONS])
    style.categories(middle, ("chosen", "rejected"))
    style.finish(left, "movement of the end", "", "starts, moved by 1")
    style.finish(middle, r"range of $\log\,\pi/\pi_{\mathrm{ref}}$ (nats)", "", "rates and lengths", log="x")
    style.finish(right, "predicted (nats)", r"$\log\,\pi/\pi_{\mathrm{ref}}$ (nats)", "held-out prompts")
    return figure


def displacement(rows: Sequence[Row]) -> Figure:
    """Two accounts of the chosen response's fall: what the band sees at the reference, and who ranks the pairs."""
    figure, (left, middle, right) = style.panels(3)
    sizes = np.unique(np.geomspace(3, 64, 24).round())
    for look, (when, own) in enumerate(itertools.product(("start", "end"), (0.0, 0.5))):
        at = f"{when}, $c={own:g}$"
        style.line(left, look, sizes, partial(displaced_share, when, shared=2, own=own), at)
        style.points(left, look, style.select(rows, "P16", "displaced", method="dpo", when=when, own=own), "n")
    for look, rival in enumerate(RIVALS, 1):
        style.points(
            middle, look, style.scaled(style.select(rows, "P16", "ahead", rival=rival), -1.0, 1.0), "margin", rival
        )
    style.line(middle, 0, (1.0, 100.0), (1.0, 1.0), "path")
    names = ("path", *RIVALS[:-1])
    for look, name in enumerate(names):
        mark(right, look, style.select(rows, "P16", "trained_rank", account=name), style.fixed(-look), across=True)
    right.axvline(0.0, color=style.GREY, linewidth=0.6)
    right.set_xlim(-1.1, 1.1)
    style.categories(right, names)
    style.finish(left, "responses $n$", "share that falls", "random pairs", log="x")
    style.finish(middle, "margin (nats)", "rank correlation", "random pairs, trained", log="x")
    style.finish(right, "rank correlation", "", "trained transformer")
    return figure


def _held_out(rows: Sequence[Row], method: str) -> list[tuple[float, float]]:
    """(predicted, trained) log-ratio of every response of the prompts that nobody trained on."""
    where = lambda row: (int(style.entry("prompt")(row)), int(style.entry("response")(row)))
    return [
        (held_out_ratio(method, *where(row)), row.estimate) for row in style.select(rows, "P15", "ratio", method=method)
    ]


# --- trained language models -----------------------------------------------------------------------------------------

#: (alpha, kl_beta) of the pair whose likelihoods along training have rows.
PATH_RUN = PAIR_RUNS[1]


def _gaps(ax: Axes, rows: Sequence[Row]) -> None:
    """r(y) − r(H) of the optimum against α: one pair, one response, and one positive among many negatives."""
    negatives = IMBALANCE_RUNS[0][0]
    score, _ = thresholds.imbalance_scores(negatives)
    curves = (
        ("one pair", 9 / 8, pair_log_ratio),
        ("one response", 1.0, lambda alpha: binary_log_ratio(0.5, alpha)),
        (f"$1:{negatives:g}$", thresholds.binary_threshold(score), lambda alpha: binary_log_ratio(score, alpha)),
    )
    one_pair = style.select(rows, "P9", "trained", response=0)
    one_response = style.scaled(
        style.select(rows, "P10", "trained"), lambda row: math.copysign(1.0, style.entry("score")(row))
    )
    imbalanced = style.scaled(style.select(rows, "P13", "trained"), style.entry("kl_beta"))
    for look, ((label, threshold, curve), mine) in enumerate(
        zip(curves, (one_pair, one_response, imbalanced), strict=True)
    ):
        style.line(ax, look, threshold * (1.0 + np.geomspace(0.004, 20.0 / threshold - 1.0, 200)), curve, label)
        mark(ax, look, mine, "alpha", size=7.0)  # rings around what simulation says
    style.points(ax, 0, style.select(rows, "P9", "gap", response=0, kl_beta=1.0), "alpha")
    style.points(ax, 1, style.select(rows, "P10", "gap", score=0.5), "alpha")
    ax.plot([], [], color=style.GREY, marker="o", linestyle="none", label="tables")
    model_legend(ax, one_pair + one_response + imbalanced)
    style.finish(ax, r"$\alpha$", r"$|r(y)-r(H)|$", "rewards of the optimum", log="xy")
    style.ticks(ax.xaxis, 1, 2, 5, 10, 20)


def _levels(ax: Axes, rows: Sequence[Row], method: str) -> None:
    """log π/π_ref along training; under PRO, lines where theory puts the pair, r/κ above and below the model's H."""
    for look, response in enumerate(("chosen", "rejected", "H")):
        mine = style.select(rows, "P12", "trained_path", method=method, response=response)
        mark(ax, look, mine, "step", "$H$" if response == "H" else response, joined=True)
    ax.axhline(0.0, color=style.GREY, linewidth=0.6)
    last = _last_level(rows, method, "H")
    if method == "pro" and last is not None:
        alpha, kl_beta = PATH_RUN
        for look, sign in ((0, 1.0), (1, -1.0)):
            ax.axhline(last + sign * pair_log_ratio(alpha) / kl_beta, color=style.LOOKS[look][0], linestyle="--")
        ax.plot([], [], color=style.BLACK, linestyle="--", label=r"predicted, $\pm r^*/\kappa$ from $H$")


def _last_level(rows: Sequence[Row], method: str, response: str) -> float | None:
    """Mean over seeds of the last recorded log π/π_ref, of the first model that has rows."""
    for model in MODELS:
        mine = pooled(style.select(rows, "P12", "trained_path", method=method, response=response, model=model))
        if mine:
            return max(mine, key=style.entry("step")).estimate
    return None


def rewards_and_levels(rows: Sequence[Row]) -> Figure | None:
    """Left: rewards against α, theory, tables and models. Then likelihoods along training, PRO and DPO on one pair."""
    if not of_models(rows, ("P9", "P10", "P12", "P13")):
        return None
    figure, axes = style.panels(3)
    _gaps(axes[0], rows)
    for ax, method, title in zip(axes[1:], ("pro", "dpo"), ("PRO-P", "DPO, the same pair"), strict=True):
        _levels(ax, rows, method)
        style.finish(ax, "step", LOG_RATIO, title)
    return figure


#: name of the file → what draws it, and the claims it shows
FIGURES = {
    "proximal_likelihoods": Drawing(likelihoods, ("P5", "P12")),
    "proximal_existence": Drawing(existence, ("P7", "P13")),
    "proximal_closed_forms": Drawing(closed_forms, ("P9", "P10")),
    "proximal_irreproducible": Drawing(irreproducible, ("P14", "P15")),
    "proximal_displacement": Drawing(displacement, ("P16",)),
    "language_model_proximal": Drawing(rewards_and_levels, ("P5", "P9", "P10", "P12", "P13")),
}
