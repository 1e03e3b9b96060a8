"""Figures of the density-ratio claims. Each function takes result rows and returns a figure; curves are theory's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from figures.style import LOOKS, PAGE, Drawing, finish, line, panels, points, select
from simulate.rows.store import Row
from theory.density_ratio import predictions as predict
from theory.density_ratio.flow import flow, policy_flow
from theory.density_ratio.limits import LIMITS, PREFERENCES, TABLES
from theory.density_ratio.losses import log_ratio_cap, pooled_ratio, ratio_variance, relative_ratio


def variance_and_cap(rows: Sequence[Row]) -> Figure:
    """Variance of the estimated ratio as p⁻ → 0, and the largest ratio against α, DDRO beside RDRO."""
    figure, (left, right) = panels(2, PAGE, 3.2)
    rejected = np.geomspace(3e-6, 0.6, 200)
    for look, alpha in enumerate((0.0, 0.1, 0.3)):
        variances = [ratio_variance([0.4, 0.6], [q, 1.0 - q], 1, 1, alpha)[0] for q in rejected]
        line(left, look, rejected, variances, "DDRO" if alpha == 0 else rf"RDRO, $\alpha = {alpha:g}$")
        points(left, look, select(rows, "R6", "rare", alpha=alpha), "rejected")
    left.set_xscale("log")
    left.set_yscale("log")
    finish(left, r"$p^-(y)$, at $p^+(y) = 0.4$", r"$n\,\mathrm{Var}\,\hat\rho(y)$", "variance of the ratio", legend=3)

    alphas = np.linspace(0.08, 0.95, 100)
    line(right, 1, alphas, [math.exp(log_ratio_cap(float(a))) for a in alphas], r"cap $1/\alpha$ of RDRO")
    for look, q in ((3, 0.04), (4, 0.004)):
        ratios = [relative_ratio([0.4, 0.6], [q, 1.0 - q], float(a))[0] for a in alphas]
        line(right, look, alphas, ratios, rf"RDRO, $p^+/p^- = {0.4 / q:g}$")
        right.axhline(0.4 / q, color=LOOKS[look][0], linewidth=0.8, alpha=0.6)
    points(right, 1, select(rows, "R2", "cap"), "alpha", "largest found")
    right.set_yscale("log")
    finish(right, r"$\alpha$", r"$\rho(y)$ (horizontal: DDRO)", "largest ratio", legend=2)
    return figure


def drift_and_cap(rows: Sequence[Row]) -> Figure:
    """Log-ratio of a never rejected response over training time: free, and of a normalised policy."""
    figure, (left, right) = panels(2, PAGE, 3.2)
    times = np.geomspace(0.5, 2e5, 200)
    for look, method in enumerate(("ddro", "rdro")):
        for dash, rejected in enumerate((0.0, 0.02)):
            below = rejected if method == "ddro" else 0.3 * 0.4 + 0.7 * rejected
            line(left, 2 * look + dash, times, flow(times, 0.4, below), rf"{method.upper()}, $p^- = {rejected:g}$")
            points(left, 2 * look + dash, select(rows, "R4", "flow", method=method, rejected=rejected), "time")
    left.axhline(log_ratio_cap(0.3), color=LOOKS[7][0], linewidth=0.8)
    left.set_xscale("log")
    finish(left, "time (1 / learning rate)", r"$\log\rho(y)$", r"free; horizontal: $\log(1/\alpha)$", legend=2)

    times = np.geomspace(0.5, 300.0, 80)
    for look, (table, label) in enumerate((("partly_apart", "four responses"), ("opposite", "two responses"))):
        p, q = TABLES[table]
        for dash, method in enumerate(("ddro", "rdro")):
            d = q if method == "ddro" else 0.3 * p + 0.7 * q
            path = policy_flow(times, p, d, np.full(p.size, 1.0 / p.size))[:, 0]
            line(right, 2 * look + dash, times, path, f"{method.upper()}, {label}")
            points(right, 2 * look + dash, select(rows, "R4", "simplex", method=method, table=table), "time")
        right.axhline(math.log(p.size), color=LOOKS[7][0], linewidth=0.8)
    right.set_xscale("log")
    finish(right, "time (1 / learning rate)", r"$\log\pi(y)/\pi_{\mathrm{ref}}(y)$",
           r"normalised; horizontal: $-\log\pi_{\mathrm{ref}}(y)$", legend=1)  # fmt: skip
    return figure


def pooled_bias(rows: Sequence[Row]) -> Figure:
    """What averaging a batch does: the policy's distance from p⁺ over α and the chosen fraction, and the ratio."""
    figure, (left, right) = panels(2, PAGE, 3.2)
    fractions = np.linspace(0.1, 0.9, 81)
    for look, alpha in enumerate((0.2, 0.3, 0.5, 0.7)):
        curve = [predict.pooled_distance("six", alpha, float(a)) for a in fractions]
        line(left, look, fractions, curve, rf"$\alpha = {alpha:g}$")
        points(left, look, select(rows, "R5", "policy", alpha=alpha), "chosen_fraction")
    left.axvline(0.5, color=LOOKS[7][0], linewidth=0.8)
    left.set_ylim(bottom=0.0)
    finish(left, "share $a$ of chosen examples", r"TV$(\pi, p^+)$", r"pooled RDRO from $p_\alpha$", legend=4)

    alphas, (p, q) = np.linspace(0.05, 0.95, 120), (np.array([0.5, 0.5]), np.array([0.2, 0.8]))
    line(right, 0, alphas, [relative_ratio(p, q, float(a))[0] for a in alphas], r"class means: $p^+/p_\alpha$")
    line(right, 1, alphas, [pooled_ratio(p, q, float(a), float(a))[0] for a in alphas], r"pooled, $a = \alpha$")
    points(right, 0, select(rows, "R5", "ratio", reduction="class_mean"), "alpha")
    points(right, 1, select(rows, "R5", "ratio", reduction="pooled"), "alpha")
    finish(right, r"$\alpha$", r"$\rho(y)$", r"ratio at $p^+ = .5$, $p^- = .2$", legend=2)
    return figure


def distance_constants(rows: Sequence[Row]) -> Figure:
    """√n·E TV(π̂, p⁺): SFT, DDRO and RDRO with their references known exactly, and the bound of that knowledge."""
    figure, axes = panels(2, PAGE, 3.2)
    alphas = np.linspace(0.03, 0.8, 78)
    free, trained = predict.free_distance, predict.trained_distance
    left = axes[0]
    curves = (("sft", "SFT"), ("ddro", "DDRO"), ("rdro", "RDRO"))
    for ax, table in zip(axes, ("three", "rare"), strict=True):
        for look, (method, label) in enumerate(curves):
            line(ax, look, alphas, [free(method, table, float(a)) for a in alphas], label)
        points(ax, 2, select(rows, "R7", "constant", method="rdro", table=table), "alpha")
        line(ax, 4, alphas, [trained("mle", table, float(a)) for a in alphas], r"bound, $p_\alpha$ known")
        ax.set_ylim(bottom=0.0)
        finish(ax, r"$\alpha$", r"$\sqrt{n}\;\mathrm{E\,TV}(\hat\pi, p^+)$", f"table “{table}”", legend=2)
    line(left, 3, alphas, [trained("rdro", "three", float(a)) for a in alphas], "RDRO, normalised")
    points(left, 3, select(rows, "R7", "trained", method="rdro"), "alpha")
    points(left, 4, select(rows, "R7", "trained", method="mle"), "alpha")
    finish(left, r"$\alpha$", r"$\sqrt{n}\;\mathrm{E\,TV}(\hat\pi, p^+)$", "table “three”", legend=2)
    return figure


def limits_of_methods(rows: Sequence[Row]) -> Figure:
    """Distance from the winners' law of what each method converges to, per kind of preference."""
    figure, axes = panels(len(PREFERENCES), PAGE, 2.2)
    for ax, preferences in zip(axes, PREFERENCES, strict=True):
        for position, method in enumerate(reversed(LIMITS)):
            value = predict.distance_of_limit(preferences, method)
            ax.plot([0.0, value], [position, position], color=LOOKS[0][0], linewidth=1.2)
            for row in select(rows, "R3", "limit", preferences=preferences, method=method):
                ax.plot(row.estimate, position, marker=LOOKS[1][2], color=LOOKS[1][0])
        ax.set_yticks(
            range(len(LIMITS)), [m.upper() for m in reversed(LIMITS)] if ax is axes[0] else [""] * len(LIMITS)
        )
        finish(ax, r"TV$(\pi, p^+)$", "", preferences.replace("_", " "), legend=0)
    return figure


def other_references(rows: Sequence[Row]) -> Figure:
    """Where DDRO, RDRO and their Bregman members end from the reference share·p⁺ + (1−share)·p⁻."""
    figure, axes = panels(2, PAGE, 3.2)
    shares = np.linspace(0.0, 0.95, 77)
    for ax, method in zip(axes, ("ddro", "rdro"), strict=True):
        for look, member in enumerate(("logistic", "lsif", "kliep")):
            curve = [predict.misspecified_distance(method, member, "six", float(s)) for s in shares]
            line(ax, look, shares, curve, member if member == "logistic" else member.upper())
            points(ax, look, select(rows, "R8", "distance", method=method, member=member, table="six"), "share")
        ax.set_ylim(bottom=0.0)
        finish(ax, r"share of $p^+$ in the reference", r"TV$(\pi, p^+)$",
               "DDRO" if method == "ddro" else r"RDRO, $\alpha = 0.3$", legend=3)  # fmt: skip
    return figure


#: name of the file → what draws it, and the claims it shows
FIGURES: dict[str, Drawing] = {
    "density_ratio_variance": Drawing(variance_and_cap, ("R2", "R6")),
    "density_ratio_drift": Drawing(drift_and_cap, ("R4",)),
    "density_ratio_pooled": Drawing(pooled_bias, ("R5",)),
    "density_ratio_constants": Drawing(distance_constants, ("R7",)),
    "density_ratio_limits": Drawing(limits_of_methods, ("R3",)),
    "density_ratio_references": Drawing(other_references, ("R8",)),
}
