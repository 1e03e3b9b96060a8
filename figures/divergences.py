"""Figures of the divergence claims. Each function takes result rows and returns a figure; curves are theory's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from figures.style import LOOKS, PAGE, Drawing, finish, line, panels, points, select
from simulate.rows.store import Row
from theory.claim import parse_setting
from theory.divergences import predictions as predict
from theory.divergences.examples import fixed_instance
from theory.divergences.policies import aligned_policy
from theory.divergences.safety_data import data_gap, example_pair, example_safety
from theory.divergences.samples import minibatch_threshold
from theory.divergences.separation import expected_silhouette

#: Losses of `estimated_against_exact` and the divergence that each stands for.
ESTIMATES = {
    "kldo": "KLDO: KL",
    "reverse_kl": "FDO: reverse KL",
    "dpo": "DPO: JS of pairs",
    "bco": "BCO: JS",
    "kto": "KTO: TV",
    "hellinger": "Hellinger: $H^2$",
    "pearson": r"FDO: $\chi^2(D^+\|D^-)$",
    "neyman": r"FDO: $\chi^2(D^-\|D^+)$",
}


def measured(ax: Axes, look: int, rows: Sequence[Row], x: Sequence[float], label: str | None = None) -> None:
    """Rows at given positions, with their 95 % intervals."""
    colour, _, marker = LOOKS[look % len(LOOKS)]
    values = np.array([row.estimate for row in rows])
    errors = [[max(0.0, row.estimate - row.low) for row in rows], [max(0.0, row.high - row.estimate) for row in rows]]
    ax.errorbar(x, values, yerr=errors, color=colour, marker=marker, linestyle="none", label=label, capsize=2, zorder=3)


def estimated_against_exact(rows: Sequence[Row]) -> Figure:
    """Divergence read off the minimised loss on samples against the exact one; bias of the minimum, times n."""
    figure, (left, right) = panels(2, PAGE, 4.2)
    exact = []
    for look, (name, label) in enumerate(ESTIMATES.items()):
        mine = select(rows, "V9", "estimate", name=name)
        x = [predict.exact_divergence(name, float(parse_setting(row.setting)["separation"])) for row in mine]
        exact += x
        measured(left, look, mine, x, label)
    ends = [0.6 * min(exact, default=0.01), 1.7 * max(exact, default=10.0)]
    line(left, 7, ends, ends)
    left.set_xscale("log")
    left.set_yscale("log")
    finish(left, "exact divergence", "estimated divergence", "the loss minimised on samples", legend=2)

    biases = [-predict.scaled_bias(name, 1) for name in predict.SMOOTH]
    ends = [0.8 * min(biases), 1.25 * max(biases)]
    for look, name in enumerate(ESTIMATES):
        for size, filled in ((1000, False), (4000, True)):
            for row in select(rows, "V9", "bias", name=name, n=size):
                colour, _, marker = LOOKS[look]
                predicted = -predict.scaled_bias(name, size)
                face = colour if filled else "none"
                error = [[max(0.0, row.estimate - row.low)], [max(0.0, row.high - row.estimate)]]
                right.errorbar(
                    predicted, -row.estimate, yerr=error, color=colour, marker=marker, markerfacecolor=face, capsize=2
                )
    line(right, 7, ends, ends)
    right.set_xscale("log")
    right.set_yscale("log")
    _ticks(right.xaxis, 2, 5, 10, 20, 50)
    _ticks(right.yaxis, 2, 5, 10, 20, 50)
    finish(
        right, r"predicted $-n\cdot$bias", r"measured $-n\cdot$bias", "open: $n = 1000$, filled: $n = 4000$", legend=0
    )
    return figure


def minibatches(rows: Sequence[Row]) -> Figure:
    """KLDO's log-mean-exp in minibatches: bias of the value, with and without leave-one-out, and of the optimum."""
    figure, (left, right) = panels(2, PAGE, 3.4)
    sizes = np.unique(np.geomspace(1, 700, 60).astype(int))
    biases = [-predict.mean_exp_bias(int(B)) / B for B in sizes]
    line(left, 0, sizes, biases, r"$\mathrm{Var}(e^r)/(2B(\mathrm{E}e^r)^2)$")
    few = np.arange(1, 17)
    line(left, 1, few, [-predict.exact_mean_exp_bias(int(B)) for B in few], "exact, all batches listed")
    large = sizes[sizes >= 8]
    line(left, 2, large, [abs(predict.one_out_bias(int(B))) / B**2 for B in large], "leave-one-out, first term")
    small = select(rows, "V9", "small_batches")
    measured(left, 0, [_scaled(row, -1.0) for row in small], _positions(small, "batch"), "log-mean-exp")
    scaled = select(rows, "V9", "log_mean_exp")
    batches = _positions(scaled, "batch")
    measured(left, 0, [_scaled(row, -1.0 / B) for row, B in zip(scaled, batches, strict=True)], batches)
    left_out = select(rows, "V9", "leave_one_out")
    batches = _positions(left_out, "batch")
    measured(
        left, 2, [_scaled(row, 1.0 / B**2) for row, B in zip(left_out, batches, strict=True)], batches, "leave-one-out"
    )
    left.set_xscale("log")
    left.set_yscale("log")
    finish(
        left, "rejected responses per batch $B$", "|bias|", r"bias of $\log\frac{1}{B}\sum e^{r}$ (downwards)", legend=2
    )

    sizes = np.array([3, 4, 5, 6, 8, 12, 16, 24, 32])
    line(right, 0, sizes, [predict.minibatch_range(int(B)) for B in sizes], "optimum of minibatch KLDO")
    points(right, 0, select(rows, "V9", "minibatch_optimum"), "batch", "trained on minibatches")
    right.axhline(predict.reward_range("kldo", 4, 1.0), color=LOOKS[1][0], linestyle="--", label=r"$\log R$")
    right.axvline(
        minibatch_threshold(*example_pair(4, 1.0)), color=LOOKS[7][0], linestyle=":", label="$B^*$: none to its left"
    )
    right.set_xscale("log")
    _ticks(right.xaxis, 3, 4, 6, 8, 16, 32)
    finish(right, "rejected responses per batch $B$", "range of the rewards", "where minibatch KLDO leads", legend=2)
    return figure


def kinds_of_data(rows: Sequence[Row]) -> Figure:
    """What compliance–refusal data separate more than preference data, against how often refusals answer after all."""
    figure, axes = panels(3, PAGE, 2.8)
    names = {"kl": "KL", "jensen_shannon": "JS", "total_variation": "TV"}
    for look, (ax, (name, label)) in enumerate(zip(axes, names.items(), strict=True)):
        overlaps = np.linspace(0.01 if name == "kl" else 0.0, 0.95, 80)
        line(ax, look, overlaps, [data_gap(example_safety(float(x)), name) for x in overlaps], "theory")
        mine = [row for row in (*select(rows, "V10", "sampled", generator=name), *select(rows, "V10", "disjoint",
                generator=name)) if math.isfinite(row.estimate)]  # fmt: skip
        points(ax, look, mine, "overlap", "sampled")
        ax.axhline(0.0, color=LOOKS[7][0], linewidth=0.8)
        finish(ax, "overlap of refusals", r"$D_{\mathrm{CR}} - D_{\mathrm{pref}}$" if look == 0 else "",
               label, legend=2)  # fmt: skip
    return figure


def fixed_constants(rows: Sequence[Row]) -> Figure:
    """π/π_ref against R: a curve h(R) if the constant is fitted, no function of R if it is fixed."""
    figure, (left, right) = panels(2, PAGE, 3.2)
    p, q, reference = fixed_instance("two ratios")
    ratios = p / q
    for look, name in enumerate(("hellinger", "bco", "kl")):
        mine = select(rows, "V7", "fixed", name=name, instance="two ratios")
        outcomes = [int(parse_setting(row.setting)["outcome"]) for row in mine]
        shift = 0.03 * (look - 1)
        measured(
            left,
            look,
            mine,
            [ratios[i] + shift for i in outcomes],
            {"kl": "KL-FDO", "bco": "BCO"}.get(name, "Hellinger"),
        )
    aligned = aligned_policy("kldo", p, q, reference, 1.0).policy / reference
    order = np.argsort(ratios)
    line(left, 7, ratios[order], aligned[order], r"constant fitted: $\propto h(R)$")
    finish(
        left, r"$R = D^+/D^-$", r"$\pi/\pi_{\mathrm{ref}}$", r"constant fixed at 0, $\beta_{\mathrm{KL}} = 1$", legend=2
    )

    p, q, reference = fixed_instance("far branch")
    betas = np.concatenate([np.linspace(0.25, 0.47, 10), np.linspace(0.472, 0.5, 15), np.linspace(0.52, 0.9, 10)])
    for look, outcome in enumerate((0, 2)):
        curve = [predict.fixed_ratio("bco", "far branch", outcome, float(b)) * reference[outcome] for b in betas]
        line(right, look, betas, curve, rf"$\pi(y_{outcome})$, $R = {p[outcome] / q[outcome]:.2f}$")
        mine = select(rows, "V7", "branches", name="bco", outcome=outcome)
        measured(right, look, [_scaled(row, reference[outcome]) for row in mine], _positions(mine, "kl_beta"))
    finish(right, r"$\beta_{\mathrm{KL}}$", r"$\pi$", "BCO, constant fixed: the optimum jumps", legend=2)
    return figure


def several_prompts(rows: Sequence[Row]) -> Figure:
    """The gap that normalisation leaves to global KLDO: measured, and its bound."""
    figure, axes = panels(2, PAGE, 2.9)
    betas = np.geomspace(0.3, 4.0, 40)
    for ax, shared in zip(axes, ("no", "yes"), strict=True):
        for look, n in enumerate((2, 3)):
            bounds = [predict.prompts_bound(n, float(b), shared) for b in betas]
            line(ax, look, betas, bounds, rf"bound $\log \mathrm{{E}}_+e^{{c_x}} - \mathrm{{E}}_+c_x$, {n} prompts")
            points(ax, look, select(rows, "V8", "gap", n_prompts=n, shared=shared), "kl_beta", f"gap, {n} prompts")
        ax.set_xscale("log")
        _ticks(ax.xaxis, 0.3, 0.5, 1, 2, 4)
        title = "$D^+$ and $D^-$ share the prompt law" if shared == "yes" else "prompt laws differ"
        finish(ax, r"$\beta_{\mathrm{KL}}$", r"loss $+\,\mathrm{KL}(D^+\|D^-)$", title, legend=1)
    return figure


def separation_metrics(rows: Sequence[Row]) -> Figure:
    """Separation of representations: silhouette, and what principal axes keep of the Bhattacharyya distance."""
    figure, (left, right) = panels(2, PAGE, 3.0)
    shifts = np.linspace(0.0, 4.0, 25)
    for look, d in enumerate((1, 2, 8)):
        line(left, look, shifts, [expected_silhouette(float(s), d) for s in shifts], f"{d} dimension{'s' * (d > 1)}")
        points(left, look, select(rows, "V11", "silhouette", dimension=d), "separation")
    finish(left, r"Mahalanobis distance $\delta$", "silhouette", "two spherical Gaussians", legend=3)

    variances = np.concatenate([np.linspace(0.1, 1.7, 30), np.linspace(1.8, 6.0, 30)])
    line(right, 0, variances, [predict.distance_before_pca(float(v)) for v in variances], "all coordinates")
    line(right, 1, variances, [predict.distance_after_pca(float(v)) for v in variances], "two principal axes")
    points(right, 1, select(rows, "V11", "after_pca"), "class_axis", "sampled")
    right.set_ylim(-0.1, 5.0)
    finish(right, "variance along the class axis", "Bhattacharyya distance", "means three units apart", legend=3)
    return figure


def _ticks(axis: Axis, *values: float) -> None:
    """Plain numbers on a logarithmic axis of less than two decades."""
    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _positions(rows: Sequence[Row], entry: str) -> list[float]:
    return [float(parse_setting(row.setting)[entry]) for row in rows]


def _scaled(row: Row, factor: float) -> Row:
    """The row with its estimate and interval multiplied."""
    ends = sorted((factor * row.low, factor * row.high))
    return replace(row, estimate=factor * row.estimate, stderr=abs(factor) * row.stderr, low=ends[0], high=ends[1])


#: name of the file → what draws it, and the claims it shows
FIGURES: dict[str, Drawing] = {
    "divergences_estimates": Drawing(estimated_against_exact, ("V1", "V2", "V3", "V4", "V5", "V6", "V9")),
    "divergences_minibatch": Drawing(minibatches, ("V9",)),
    "divergences_data": Drawing(kinds_of_data, ("V10",)),
    "divergences_fixed": Drawing(fixed_constants, ("V7",)),
    "divergences_prompts": Drawing(several_prompts, ("V8",)),
    "divergences_separation": Drawing(separation_metrics, ("V11",)),
}
