"""Figures of the density-ratio claims, from rows; curves come from theory/."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import style
from figures.model_points import in_a_row, mark, of_models, targets
from figures.style import Drawing
from llm_validation.claims.settings import RDRO_ALPHA
from simulate.rows.store import Row
from theory.density_ratio import predictions as predict
from theory.density_ratio.flow import flow, policy_flow
from theory.density_ratio.limits import LIMITS, PREFERENCES, TABLES
from theory.density_ratio.ratios import log_ratio_cap, pooled_ratio, ratio_variance, relative_ratio
from theory.density_ratio.reference_claims import estimated_distance
from theory.density_ratio.welfare import consistency_factor

TO_PLUS = r"TV$(\pi, p^+)$"
METHODS = ("ddro", "rdro")


def variance_and_cap(rows: Sequence[Row]) -> Figure:
    """Variance of the estimated ratio as p⁻ → 0, and the largest ratio against α, DDRO beside RDRO."""
    figure, (left, right) = style.panels(2)
    rejected = np.geomspace(3e-6, 0.6, 200)
    for look, alpha in enumerate((0.0, 0.1, 0.3)):
        variances = [ratio_variance([0.4, 0.6], [q, 1.0 - q], 1, 1, alpha)[0] for q in rejected]
        style.line(left, look, rejected, variances, "DDRO" if alpha == 0 else rf"RDRO, $\alpha = {alpha:g}$")
        style.points(left, look, style.select(rows, "R6", "rare", alpha=alpha), "rejected")
    label = r"$n\,\mathrm{Var}\,\hat\rho(y)$"
    style.finish(left, r"$p^-(y)$, at $p^+(y) = 0.4$", label, "variance of the ratio", log="xy")

    alphas = np.linspace(0.08, 0.95, 100)
    style.line(right, 1, alphas, lambda a: math.exp(log_ratio_cap(a)), r"cap $1/\alpha$ of RDRO")
    for look, q in ((3, 0.04), (4, 0.004)):
        ratios = [relative_ratio([0.4, 0.6], [q, 1.0 - q], float(a))[0] for a in alphas]
        style.line(right, look, alphas, ratios, rf"RDRO, $p^+/p^- = {0.4 / q:g}$")
        right.axhline(0.4 / q, color=style.LOOKS[look][0], linewidth=0.8, alpha=0.6)
    style.points(right, 1, style.select(rows, "R2", "cap"), "alpha", "largest found")
    style.finish(right, r"$\alpha$", r"$\rho(y)$ (horizontal: DDRO)", "largest ratio", log="y")
    return figure


def drift_and_cap(rows: Sequence[Row]) -> Figure:
    """Log-ratio of a never rejected response over training time: free, and of a normalised policy."""
    figure, (left, right) = style.panels(2)
    times = np.geomspace(0.5, 2e5, 200)
    for look, method in enumerate(METHODS):
        for dash, rejected in enumerate((0.0, 0.02)):
            below = rejected if method == "ddro" else 0.3 * 0.4 + 0.7 * rejected
            style.line(
                left, 2 * look + dash, times, flow(times, 0.4, below), rf"{method.upper()}, $p^- = {rejected:g}$"
            )
            style.points(
                left, 2 * look + dash, style.select(rows, "R4", "flow", method=method, rejected=rejected), "time"
            )
    left.axhline(log_ratio_cap(0.3), color=style.GREY, linewidth=0.8)
    title = r"free; horizontal: $\log(1/\alpha)$"
    style.finish(left, "time (1 / learning rate)", r"$\log\rho(y)$", title, log="x")

    times = np.geomspace(0.5, 300.0, 80)
    for look, (table, label) in enumerate((("partly_apart", "four responses"), ("opposite", "two responses"))):
        p, q = TABLES[table]
        for dash, method in enumerate(METHODS):
            d = q if method == "ddro" else 0.3 * p + 0.7 * q
            path = policy_flow(times, p, d, np.full(p.size, 1.0 / p.size))[:, 0]
            style.line(right, 2 * look + dash, times, path, f"{method.upper()}, {label}")
            style.points(
                right, 2 * look + dash, style.select(rows, "R4", "simplex", method=method, table=table), "time"
            )
        right.axhline(math.log(p.size), color=style.GREY, linewidth=0.8)
    ratio, title = r"$\log\pi(y)/\pi_{\mathrm{ref}}(y)$", r"normalised; horizontal: $-\log\pi_{\mathrm{ref}}(y)$"
    style.finish(right, "time (1 / learning rate)", ratio, title, log="x")
    return figure


def pooled_bias(rows: Sequence[Row]) -> Figure:
    """What averaging a batch does: the policy's distance from p⁺ over α and the chosen fraction, and the ratio."""
    figure, (left, right) = style.panels(2)
    fractions = np.linspace(0.1, 0.9, 81)
    for look, alpha in enumerate((0.2, 0.3, 0.5, 0.7)):
        curve = [predict.pooled_distance("six", alpha, float(a)) for a in fractions]
        style.line(left, look, fractions, curve, rf"$\alpha = {alpha:g}$")
        style.points(left, look, style.select(rows, "R5", "policy", alpha=alpha), "chosen_fraction")
    left.axvline(0.5, color=style.GREY, linewidth=0.8)
    left.set_ylim(bottom=0.0)
    style.finish(left, "share $a$ of chosen examples", TO_PLUS, r"pooled RDRO from $p_\alpha$")

    alphas, (p, q) = np.linspace(0.05, 0.95, 120), (np.array([0.5, 0.5]), np.array([0.2, 0.8]))
    style.line(right, 0, alphas, lambda a: relative_ratio(p, q, a)[0], r"class means: $p^+/p_\alpha$")
    style.line(right, 1, alphas, lambda a: pooled_ratio(p, q, a, a)[0], r"pooled, $a = \alpha$")
    for look, reduction in enumerate(("class_mean", "pooled")):
        style.points(right, look, style.select(rows, "R5", "ratio", reduction=reduction), "alpha")
    style.finish(right, r"$\alpha$", r"$\rho(y)$", r"ratio at $p^+ = 0.5$, $p^- = 0.2$")
    return figure


def distance_constants(rows: Sequence[Row]) -> Figure:
    """√n·E TV(π̂, p⁺): SFT, DDRO and RDRO with their references known exactly, and the bound of that knowledge."""
    figure, axes = style.panels(2)
    alphas = np.linspace(0.03, 0.8, 78)
    free, trained = predict.free_distance, predict.trained_distance
    for ax, table in zip(axes, ("three", "rare"), strict=True):
        for look, method in enumerate(("sft", "ddro", "rdro")):
            style.line(ax, look, alphas, [free(method, table, float(a)) for a in alphas], method.upper())
        style.points(ax, 2, style.select(rows, "R7", "constant", method="rdro", table=table), "alpha")
        style.line(ax, 4, alphas, [trained("mle", table, float(a)) for a in alphas], r"bound, $p_\alpha$ known")
        if table == "three":
            style.line(ax, 3, alphas, [trained("rdro", table, float(a)) for a in alphas], "RDRO, normalised")
            style.points(ax, 3, style.select(rows, "R7", "trained", method="rdro"), "alpha")
            style.points(ax, 4, style.select(rows, "R7", "trained", method="mle"), "alpha")
        ax.set_ylim(bottom=0.0)
        style.finish(ax, r"$\alpha$", r"$\sqrt{n}\;\mathrm{E\,TV}(\hat\pi, p^+)$", f"table “{table}”")
    return figure


#: Kinds of preference by the names that they have in text.
KINDS = {"bradley_terry": "Bradley–Terry", "cycle": "cycle", "long_cycle": "long cycle"}


def limits_of_methods(rows: Sequence[Row]) -> Figure:
    """Distance from the winners' law of what each method converges to, per kind of preference."""
    figure, axes = style.panels(len(PREFERENCES))
    for ax, preferences in zip(axes, PREFERENCES, strict=True):
        for position, method in enumerate(LIMITS):
            value = predict.distance_of_limit(preferences, method)
            ax.plot([0.0, value], [-position, -position], color=style.BLACK, linewidth=1.2)
            mine = style.select(rows, "R3", "limit", preferences=preferences, method=method)
            style.dots(ax, 1, [(row.estimate, -position) for row in mine])
        style.categories(ax, [method.upper() for method in LIMITS])
        style.finish(ax, TO_PLUS, "", KINDS[preferences], legend=False)
    return figure


def other_references(rows: Sequence[Row]) -> Figure:
    """Where DDRO, RDRO and their Bregman members end from the reference share·p⁺ + (1−share)·p⁻."""
    figure, axes = style.panels(2)
    shares = np.linspace(0.0, 0.95, 77)
    titles = {"ddro": "DDRO", "rdro": r"RDRO, $\alpha = 0.3$"}
    for ax, (method, title) in zip(axes, titles.items(), strict=True):
        for look, (member, name) in enumerate({"logistic": "logistic", "lsif": "LSIF", "kliep": "KLIEP"}.items()):
            style.line(
                ax, look, shares, [predict.misspecified_distance(method, member, "six", float(s)) for s in shares], name
            )
            style.points(
                ax, look, style.select(rows, "R8", "distance", method=method, member=member, table="six"), "share"
            )
        ax.set_ylim(bottom=0.0)
        style.finish(ax, r"share of $p^+$ in the reference", TO_PLUS, title)
    return figure


# --- trained language models -----------------------------------------------------------------------------------------

ON_MODELS = ("R1", "R2", "R3", "R4", "R5")


def never_rejected(ax: Axes, rows: Sequence[Row]) -> None:
    """Log-ratio of a response that was never rejected, along training."""
    for look, method in enumerate(METHODS):
        mark(ax, look, style.select(rows, "R4", "trained_path", method=method), "step", method.upper(), joined=True)
    ax.axhline(log_ratio_cap(RDRO_ALPHA), color=style.GREY, linewidth=1.2, label=r"cap $\log(1/\alpha)$ of RDRO")
    style.finish(ax, "step", r"$\log\,\pi(y)/\pi_{\mathrm{ref}}(y)$ (nats)", "a response never rejected")


def distances(ax: Axes, rows: Sequence[Row]) -> None:
    """Total variations per method: to p⁺ where the reference is right, to the constrained optimum on all prompts."""
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
        for claim, check, setting, place in members:
            named = label if place == 0 else None
            mark(ax, look, style.select(rows, claim, check, **setting), style.fixed(shift - place), named, across=True)
    targets(ax)
    style.categories(ax, ("DDRO", "RDRO", "RDRO, pooled", "DPO"))
    style.finish(ax, "total variation", "", "distance of the policy")


def biases(ax: Axes, rows: Sequence[Row]) -> None:
    """What goes wrong as predicted: how much farther from p⁺ pooled batches and DPO end than RDRO."""
    mark(ax, 2, style.select(rows, "R5", "trained_bias"), style.fixed(0.0), "less RDRO's", across=True)
    mark(ax, 2, style.select(rows, "R3", "dpo_away"), style.fixed(-1.0), across=True)
    ax.axvline(0.0, color=style.BLACK, linewidth=1.0)
    ax.set_xlim(left=-0.02)
    style.categories(ax, ("pooled batches", "DPO on cyclic\npreferences"))
    style.finish(ax, r"excess of TV to $p^+$", "", "predicted positive")


def ratios_on_models(rows: Sequence[Row]) -> Figure | None:
    """The cap of RDRO, distances of policies, and the biases that theory predicts."""
    return in_a_row(of_models(rows, ON_MODELS), (never_rejected, distances, biases))


def estimated_references(rows: Sequence[Row]) -> Figure:
    """R10: the distance to p⁺ against α, the reference estimated from fewer, as many and more draws."""
    figure, (ax,) = style.panels()
    alphas = np.linspace(0.02, 0.995, 80)
    for look, ratio in enumerate((0.3, 1.0, 10.0)):
        style.line(ax, look, alphas, lambda a, r=ratio: estimated_distance("three", a, r), f"theory, $m = {ratio:g}n$")
        style.points(
            ax,
            look,
            style.select(rows, "R10", "constant", table="three", unlabelled=ratio),
            "alpha",
            f"$m = {ratio:g}n$",
        )
    known = [predict.free_distance("rdro", "three", float(a)) for a in alphas]
    style.line(ax, 3, alphas, known, "reference known")
    style.finish(ax, r"$\alpha$", r"$\sqrt{n}\,\mathrm{E}$ " + TO_PLUS, "RDRO, estimated reference")
    return figure


_consistency = cache(consistency_factor)


def consistency_and_welfare(rows: Sequence[Row]) -> Figure:
    """R11: what the average user loses when the policy that all methods are consistent for replaces the reference."""
    figure, (ax,) = style.panels()
    style.line(ax, 0, np.geomspace(2.0, 120.0, 16), _consistency, "two alternatives, exact")
    for look, size in enumerate((2, 3)):
        apart = style.entry("bt_beta", 0.97 + 0.06 * look)
        style.points(ax, look, style.select(rows, "R11", "worst", n_alternatives=size), apart, f"found, $A = {size}$")
    style.finish(ax, r"users' temperature $\beta$", r"largest $u(\mu)/u(p^+)$", "consistency is not welfare", log="x")
    return figure


#: name of the file → what draws it, and the claims it shows
FIGURES = {
    "density_ratio_variance": Drawing(variance_and_cap, ("R2", "R6")),
    "density_ratio_drift": Drawing(drift_and_cap, ("R4",)),
    "density_ratio_pooled": Drawing(pooled_bias, ("R5",)),
    "density_ratio_constants": Drawing(distance_constants, ("R7",)),
    "density_ratio_limits": Drawing(limits_of_methods, ("R3",)),
    "density_ratio_estimated": Drawing(estimated_references, ("R10",)),
    "density_ratio_references": Drawing(other_references, ("R8",)),
    "density_ratio_welfare": Drawing(consistency_and_welfare, ("R11",)),
    "language_model_density_ratio": Drawing(ratios_on_models, ON_MODELS),
}
