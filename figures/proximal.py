"""Figures of the proximal claims. Each function takes result rows and returns a figure; curves come from theory/."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure

from figures.style import LOOKS, PAGE, Drawing, finish, line, panels, points, select
from simulate.rows.store import Row
from theory.proximal.closed_forms import binary_log_ratio, pair_log_ratio, paper_binary_gap, zero_hyper_binary_gap
from theory.proximal.existence import (
    binary_threshold,
    existence_threshold,
    imbalance_scores,
    mixture_threshold,
    paper_threshold,
)
from theory.proximal.feedback import empirical_scores, mixture_weights
from theory.proximal.predictions import SHORTCUT, STEPS, coupled_path


def likelihoods(rows: Sequence[Row]) -> Figure:
    """Log-likelihood of chosen, rejected and third response along training, the same features under DPO and PRO."""
    figure, axes = panels(2, PAGE, 3.2)
    steps = np.arange(1, max(STEPS) + 1)
    for ax, method, claim, title in zip(
        axes, ("dpo", "pro"), ("P5", "P12"), ("DPO", "PRO-P, same features and data"), strict=True
    ):
        path = coupled_path(method, max(STEPS))
        for response, name in enumerate(("chosen", "rejected", "unlabelled")):
            line(ax, response, steps, path[1:, response], name)
            points(ax, response, select(rows, claim, "path", response=response), "step")
        ax.axhline(0.0, color="#7F7F7F", linewidth=0.6)
        ax.set_xscale("log")
        finish(ax, "step", r"$\log\,\pi_t/\pi_{\mathrm{ref}}$ (nats)", title, legend=3)
    return figure


def existence(rows: Sequence[Row]) -> Figure:
    """Where an optimum exists: over α and the imbalance of binary labels, and over α and η for one pair."""
    figure, (left, right) = panels(2, PAGE, 3.4)
    negatives, alphas = np.geomspace(1.0, 200.0, 160), np.linspace(0.6, 4.0, 170)
    bounds = [binary_threshold(imbalance_scores(float(n))[0]) for n in negatives]
    ratio = np.full((alphas.size, negatives.size), np.nan)
    for j, n in enumerate(negatives):
        score, _ = imbalance_scores(float(n))
        for i, alpha in enumerate(alphas):
            if alpha > bounds[j]:
                ratio[i, j] = binary_log_ratio(score, float(alpha))
    levels = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0]
    map_ = left.pcolormesh(
        negatives, alphas, ratio, cmap="Greys", norm=BoundaryNorm(levels, 200), rasterized=True, zorder=0
    )
    figure.colorbar(map_, ax=left, label=r"$r^*(y)-r^*(H)$ of a positive response")
    line(left, 1, negatives, bounds, r"$\alpha^*=2n/(n+1)$")
    points(left, 1, select(rows, "P13", "threshold", kl_beta=0.1), "negatives", "bisection")
    left.text(0.05, 0.06, "no optimum", transform=left.transAxes)
    left.set_xscale("log")
    left.grid(visible=False)
    finish(left, "negatives per positive $n$", r"$\alpha$", "binary feedback, centred", legend=2)

    shares = np.linspace(0.25, 0.99, 120)
    scores, empirical = empirical_scores(3, [(0, 1)])
    weights = [mixture_weights(empirical, float(share), [0.0, 0.0, 1.0]) for share in shares]
    line(right, 0, shares, [existence_threshold(scores, empirical, mu) for mu in weights], r"$\alpha^*$, exact")
    line(right, 1, shares, [mixture_threshold(float(share)) for share in shares], r"$1/\eta^2$")
    line(right, 2, shares, [paper_threshold(scores, empirical, mu) for mu in weights], r"$\alpha_0$")
    points(right, 0, select(rows, "P7", "one_pair"), "share", "all subsets")
    right.set_yscale("log")
    finish(right, r"$\eta$, share of $\mu$ on the pair", r"$\alpha$", "one pair and $H$", legend=2)
    return figure


def closed_forms(rows: Sequence[Row]) -> Figure:
    """Rewards of the optimum against α, and what the printed form and r(H) = 0 do to them."""
    figure, (left, right) = panels(2, PAGE, 3.4)
    alphas = np.geomspace(1.01, 20.0, 200)
    line(left, 0, alphas, [binary_log_ratio(0.5, float(a)) for a in alphas], "one response, $s=1/2$")
    pairs = alphas[alphas > 1.126]
    line(left, 1, pairs, [pair_log_ratio(float(a)) for a in pairs], "winner of one pair")
    points(left, 0, select(rows, "P10", "gap", score=0.5), "alpha", "PRO-B, trained")
    points(left, 1, select(rows, "P9", "gap", response=0, kl_beta=1.0), "alpha", "PRO-P, trained")
    left.set_xscale("log")
    left.set_yscale("log")
    finish(left, r"$\alpha$", r"$r^*(y)-r^*(H)$", "", legend=2)

    references = np.geomspace(1e-6, 0.99, 400)
    alpha, kl_beta = SHORTCUT
    line(right, 0, references, [binary_log_ratio(0.5, alpha)] * references.size, "shift-invariant form")
    printed = [paper_binary_gap(0.5, alpha, kl_beta, float(p)) for p in references]
    line(right, 1, references, printed, "printed form")
    limit = math.exp(-binary_log_ratio(0.5, alpha) / kl_beta)  # beyond it r(H) = 0 asks for π(y) > 1
    inside = references[references < limit]
    line(right, 2, inside, [zero_hyper_binary_gap(0.5, alpha, kl_beta, float(p)) for p in inside], "$r(H)=0$")
    points(right, 1, select(rows, "P10", "printed", score=0.5), "reference", "trained")
    points(right, 2, select(rows, "P10", "zero_hyper", score=0.5), "reference", "trained")
    right.axvline(limit, color=LOOKS[2][0], linewidth=0.6)
    right.set_ylim(0.0, 1.2)
    right.set_xscale("log")
    title = rf"$s=1/2,\ \alpha={alpha:g},\ \beta_{{\mathrm{{KL}}}}={kl_beta:g}$"
    finish(right, r"$\pi_{\mathrm{ref}}(y)$", r"$r^*(y)-r^*(H)$", title, legend=2)
    return figure


#: name of the file → what draws it, and the claims it shows
FIGURES: dict[str, Drawing] = {
    "proximal_likelihoods": Drawing(likelihoods, ("P5", "P12")),
    "proximal_existence": Drawing(existence, ("P7", "P13")),
    "proximal_closed_forms": Drawing(closed_forms, ("P9", "P10")),
}
