"""Figures of the divergence claims, from rows; curves come from theory/."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, partial
from typing import get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import style
from figures.model_points import along, in_a_row, mark, of_models, targets
from figures.style import Drawing, finish, line, panels, points, select
from llm_validation.claims.settings import FITTED_BETA, MINIBATCHED, SAFETY_LOSSES
from llm_validation.claims.table import find_check
from simulate.rows.store import Row
from theory.claim import parse_setting
from theory.divergences import predictions as predict
from theory.divergences.examples import fixed_instance
from theory.divergences.pairing import pairing_cost
from theory.divergences.policies import aligned_policy, fixed_constant_optimum
from theory.divergences.safety_data import data_gap, example_pair, example_safety
from theory.divergences.samples import minibatch_threshold
from theory.divergences.separation import expected_silhouette
from theory.policy.kl_estimators import Estimator

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
WEIGHT = r"weight $\kappa$ of the log-ratio"


def _exact(name: str, row: Row) -> float:
    """The divergence that a loss estimates, at a row's separation."""
    return predict.exact_divergence(name, style.entry("separation")(row))


def estimated_against_exact(rows: Sequence[Row]) -> Figure:
    """Divergence read off the minimised loss on samples over the exact one; bias of the minimum over the predicted."""
    figure, (left, right) = panels(2)
    for look, (name, label) in enumerate(ESTIMATES.items()):
        place = partial(_exact, name)
        mine = [style.scaled([row], 1.0 / place(row))[0] for row in select(rows, "V9", "estimate", name=name)]
        points(left, look, mine, place, label)
    left.axhline(1.0, color=style.BLACK, linewidth=0.8)
    finish(left, "exact divergence", "estimated over exact", "the loss minimised on samples", log="x")

    smooth = list(predict.SMOOTH)
    for look, (size, shift) in enumerate(((1000, 0.15), (4000, -0.15)), start=1):
        for i, name in enumerate(smooth):
            bias = select(rows, "V9", "bias", name=name, n=size)
            relative = style.scaled(bias, 1.0 / predict.scaled_bias(name, size))
            points(right, look, relative, style.fixed(shift - i), None if i else f"$n = {size}$", across=True)
    right.axvline(1.0, color=style.BLACK, linewidth=0.8)
    style.categories(right, [ESTIMATES[name] for name in smooth])
    finish(right, "estimated bias over predicted", "", "bias of the minimum")
    return figure


def minibatches(rows: Sequence[Row]) -> Figure:
    """KLDO's log-mean-exp in minibatches: bias of the value, with and without leave-one-out, and of the optimum."""
    figure, (left, right) = panels(2)
    sizes = np.unique(np.geomspace(1, 700, 60).astype(int))
    line(left, 0, sizes, lambda B: -predict.mean_exp_bias(B) / B, r"$\mathrm{Var}(e^r)/(2B(\mathrm{E}e^r)^2)$")
    line(left, 1, np.arange(1, 17), lambda B: -predict.exact_mean_exp_bias(B), "exact, all batches listed")
    line(left, 2, sizes[sizes >= 8], lambda B: abs(predict.one_out_bias(B)) / B**2, "leave-one-out, first term")
    batch = style.entry("batch")
    points(left, 0, style.scaled(select(rows, "V9", "small_batches"), -1.0), batch, "log-mean-exp")
    points(left, 0, style.scaled(select(rows, "V9", "log_mean_exp"), lambda row: -1.0 / batch(row)), batch)
    points(
        left, 2, style.scaled(select(rows, "V9", "leave_one_out"), lambda row: batch(row) ** -2), batch, "leave-one-out"
    )
    title = r"bias of $\log\frac{1}{B}\sum e^{r}$ (downwards)"
    finish(left, "rejected responses per batch $B$", "|bias|", title, log="xy")

    line(right, 0, [3, 4, 5, 6, 8, 12, 16, 24, 32], predict.minibatch_range, "optimum of minibatch KLDO")
    points(right, 0, select(rows, "V9", "minibatch_optimum"), "batch", "trained on minibatches")
    right.axhline(predict.reward_range("kldo", 4, 1.0), color=style.LOOKS[1][0], linestyle="--", label=r"$\log R$")
    right.axvline(
        minibatch_threshold(*example_pair(4, 1.0)), color=style.GREY, linestyle=":", label="$B^*$: none to its left"
    )
    title = "where minibatch KLDO leads"
    finish(right, "rejected responses per batch $B$", "range of the rewards", title, log="x")
    style.ticks(right.xaxis, 3, 4, 6, 8, 16, 32)
    return figure


def kinds_of_data(rows: Sequence[Row]) -> Figure:
    """What compliance–refusal data separate more than preference data, against how often refusals answer after all."""
    figure, axes = panels(3)
    names = {"kl": "KL", "jensen_shannon": "JS", "total_variation": "TV"}
    for look, (ax, (name, label)) in enumerate(zip(axes, names.items(), strict=True)):
        overlaps = np.linspace(0.01 if name == "kl" else 0.0, 0.95, 80)
        line(ax, look, overlaps, [data_gap(example_safety(float(x)), name) for x in overlaps], "theory")
        mine = [row for check in ("sampled", "disjoint") for row in select(rows, "V10", check, generator=name)]
        points(ax, look, [row for row in mine if math.isfinite(row.estimate)], "overlap", "sampled")
        ax.axhline(0.0, color=style.GREY, linewidth=0.8)
        gap = r"$D_{\mathrm{CR}} - D_{\mathrm{pref}}$" if look == 0 else ""
        finish(ax, "overlap of refusals", gap, label)
    return figure


@cache
def _far_branch(kl_beta: float) -> tuple[float, ...]:
    """π/π_ref of BCO with its constant fixed, at every outcome."""
    p, q, reference = fixed_instance("far branch")
    return tuple(fixed_constant_optimum("bco", p, q, reference, kl_beta).policy / reference)


_silhouette = cache(expected_silhouette)


def fixed_constants(rows: Sequence[Row]) -> Figure:
    """π/π_ref against R: a curve h(R) if the constant is fitted, no function of R if it is fixed."""
    figure, (left, right) = panels(2)
    p, q, reference = fixed_instance("two ratios")
    ratios = p / q
    for look, (name, label) in enumerate({"hellinger": "Hellinger", "bco": "BCO", "kl": "KL-FDO"}.items()):
        mine = select(rows, "V7", "fixed", name=name, instance="two ratios")
        place = lambda row, x=ratios, shift=0.03 * (look - 1): float(x[int(style.entry("outcome")(row))]) + shift
        points(left, look, mine, place, label)
    aligned = aligned_policy("kldo", p, q, reference, 1.0).policy / reference
    order = np.argsort(ratios)
    line(left, 7, ratios[order], aligned[order], r"constant fitted: $\propto h(R)$")
    title = r"constant fixed at 0, $\kappa = 1$"
    finish(left, r"$R = D^+/D^-$", r"$\pi/\pi_{\mathrm{ref}}$", title)

    p, q, reference = fixed_instance("far branch")
    betas = [0.25, 0.3, 0.35, 0.4, 0.44, *np.linspace(0.47, 0.5, 11).round(3).tolist(), 0.52, 0.6, 0.7, 0.8, 0.9]
    for look, outcome in enumerate((0, 2)):
        mass = float(reference[outcome])
        curve = [mass * _far_branch(b)[outcome] for b in betas]
        line(right, look, betas, curve, rf"$\pi(y_{outcome})$, $R = {p[outcome] / q[outcome]:.2f}$")
        points(right, look, style.scaled(select(rows, "V7", "branches", name="bco", outcome=outcome), mass), "kl_beta")
    finish(right, WEIGHT, r"$\pi$", "BCO, constant fixed: the optimum jumps")
    return figure


def several_prompts(rows: Sequence[Row]) -> Figure:
    """The gap that normalisation leaves to global KLDO: estimated, and its bound."""
    figure, axes = panels(2)
    betas = np.geomspace(0.3, 4.0, 40)
    titles = {"no": "prompt laws differ", "yes": "$D^+$ and $D^-$ share the prompt law"}
    for ax, (shared, title) in zip(axes, titles.items(), strict=True):
        for look, n in enumerate((2, 3)):
            bounds = [predict.prompts_bound(n, float(b), shared) for b in betas]
            line(ax, look, betas, bounds, rf"bound $\log \mathrm{{E}}_+\exp c_x - \mathrm{{E}}_+c_x$, {n} prompts")
            points(ax, look, select(rows, "V8", "gap", n_prompts=n, shared=shared), "kl_beta", f"gap, {n} prompts")
        finish(ax, WEIGHT, r"loss $+\,\mathrm{KL}(D^+\|D^-)$", title, log="x")
        style.ticks(ax.xaxis, 0.3, 0.5, 1, 2, 4)
    return figure


def separation_metrics(rows: Sequence[Row]) -> Figure:
    """Separation of representations: silhouette, and what principal axes keep of the Bhattacharyya distance."""
    figure, (left, right) = panels(2)
    shifts = np.linspace(0.0, 4.0, 17)
    for look, d in enumerate((1, 2, 8)):
        line(left, look, shifts, [_silhouette(float(s), d) for s in shifts], f"{d} dimension{'s' * (d > 1)}")
        points(left, look, select(rows, "V11", "silhouette", dimension=d), "separation")
    finish(left, r"Mahalanobis distance $\delta$", "silhouette", "two spherical Gaussians")

    variances = np.concatenate([np.linspace(0.1, 1.7499, 30), np.linspace(1.7501, 6.0, 30)])
    line(right, 0, variances, predict.distance_before_pca, "all coordinates")
    line(right, 1, variances, predict.distance_after_pca, "two principal axes")
    points(right, 1, select(rows, "V11", "after_pca"), "class_axis", "sampled")
    right.set_ylim(-0.1, 5.0)
    finish(right, "variance along the class axis", "Bhattacharyya distance", "means three units apart")
    return figure


def kl_estimators(rows: Sequence[Row]) -> Figure:
    """Where k1, k2 and k3 lead: the gradient in one logit, as a reward and as a loss."""
    figure, axes = panels(2)
    uses = (("as_reward", predict.gradient_as_reward), ("as_loss", predict.gradient_as_loss))
    separations = np.linspace(0.0, 2.5, 40)
    for ax, (check, gradient) in zip(axes, uses, strict=True):
        for look, estimator in enumerate(get_args(Estimator)):
            line(ax, look, separations, [gradient(estimator, float(s), 0) for s in separations], f"$k_{look + 1}$")
            points(ax, look, select(rows, "V13", check, estimator=estimator, outcome=0), "separation")
        finish(ax, "separation", "gradient in one logit", check.replace("_", " a "))
    return figure


# --- trained language models -----------------------------------------------------------------------------------------

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


def held_out(ax: Axes, rows: Sequence[Row]) -> None:
    """Per loss: what held-out draws read off the trained model minus the exact divergence, in units of the resolution.

    Beside it the loss minimised on tables, minus the predicted minimum, in the same units.
    """
    ax.axvspan(-1.0, 1.0, color=style.BLACK, alpha=0.06, linewidth=0)
    ax.axvline(0.0, color=style.BLACK, linewidth=1.0, label="exact")
    tables: list[tuple[float, float]] = []
    held: list[Row] = []
    for i, (name, (claim, _)) in enumerate(LOSSES.items()):
        per_unit, minimum = 1.0 / find_check(claim, "held_out").resolution, find_check(claim, "minimum")
        held += style.scaled(select(rows, claim, "held_out", name=name), per_unit)
        tables += [(per_unit * (row.estimate - minimum.predict(parse_setting(row.setting))), 0.15 - i)
                   for row in select(rows, claim, "minimum", name=name)]  # fmt: skip
    mark(ax, 1, held, along("name", list(LOSSES), -0.15), "held-out draws", across=True)
    style.dots(ax, 0, tables, "minimised on tables")
    ax.set_xlim(-1.3, 1.3)
    style.categories(ax, [label for _, label in LOSSES.values()])
    finish(ax, "error over resolution", "", "estimated minus exact")


def distances(ax: Axes, rows: Sequence[Row]) -> None:
    """Total variation to the plug-in optimum per loss and way of training: open mean over prompts, cross the worst."""
    names = list(dict.fromkeys([*(name for name in FITTED_BETA if name != "kto"), *MINIBATCHED]))
    fitted, fixed = {"constant": "fitted"}, {"constant": "fixed"}
    ways: tuple[tuple[str, int, float, str, str, dict[str, str]], ...] = (
        ("constant fitted", 1, 0.22, "mean_tv", "worst_tv", fitted),
        ("constant fixed", 3, 0.0, "mean_tv", "worst_tv", fixed),
        ("minibatches", 2, -0.22, "minibatch_tv", "minibatch_worst", {}),
    )
    for label, look, shift, mean, worst, setting in ways:
        place = along("name", names, shift)
        mark(ax, look, select(rows, "V7", mean, **setting), place, label, across=True)
        crosses = [(row.estimate, place(row)) for row in of_models(select(rows, "V7", worst, **setting), ("V7",))]
        style.dots(ax, look, crosses, marker="x", markersize=3)
    ax.plot([], [], color=style.GREY, marker="x", markersize=3, linestyle="none", label="worst prompt, per seed")
    targets(ax, "; minibatches")
    ax.set_xlim(left=1e-7)
    style.categories(ax, [SHORT[name] for name in names])
    finish(ax, "total variation", "", "to the plug-in optimum")


def separation(ax: Axes, rows: Sequence[Row]) -> None:
    """Growth of the log Bhattacharyya distance between safe and marked prompts, per loss and kind of data."""
    kinds = (("cr", "compliance–refusal", 0, 0.15), ("preference", "preference", 2, -0.15))
    for kind, label, look, shift in kinds:
        place = along("name", list(SAFETY_LOSSES), shift)
        mark(ax, look, select(rows, "V11", "grows", data=kind), place, label, across=True)
    ax.axvline(0.0, color=style.BLACK, linewidth=1.0)
    style.categories(ax, [SHORT[name] for name in SAFETY_LOSSES])
    finish(ax, r"$\Delta\log$ Bhattacharyya distance", "", "aligned minus reference")


def cost_of_pairs(rows: Sequence[Row]) -> Figure:
    """V14: the variance of DPO's log R over the unpaired one, against the separation of the classes."""
    figure, (ax,) = panels()
    separations = np.linspace(0.0, 4.0, 60)
    for look, size in enumerate((3, 5)):
        label = f"{size} outcomes"
        line(ax, look, separations, lambda s, A=size: pairing_cost(*example_pair(A, s)).mean(), f"theory, {label}")
        points(ax, look, select(rows, "V14", "cost", n_outcomes=size), "separation", f"DPO, {label}")
    points(ax, 2, select(rows, "V14", "unpaired", n_outcomes=5), "separation", "unpaired")
    finish(ax, "separation of the classes", "variance over the unpaired one", "what pairing costs")
    return figure


ON_MODELS = ("V1", "V2", "V3", "V4", "V5", "V6", "V7", "V11")


def estimates_and_policies(rows: Sequence[Row]) -> Figure | None:
    """Divergences read off held-out draws; the policies' distance from their optima; separation of prompts."""
    mine = rows if of_models(rows, ON_MODELS) else ()  # with those of tables, which stand beside them
    return in_a_row(mine, (held_out, distances, separation))


#: name of the file → what draws it, and the claims it shows
FIGURES = {
    "divergences_estimates": Drawing(estimated_against_exact, ("V1", "V2", "V3", "V4", "V5", "V6", "V9")),
    "divergences_minibatch": Drawing(minibatches, ("V9",)),
    "divergences_data": Drawing(kinds_of_data, ("V10",)),
    "divergences_fixed": Drawing(fixed_constants, ("V7",)),
    "divergences_prompts": Drawing(several_prompts, ("V8",)),
    "divergences_pairing": Drawing(cost_of_pairs, ("V14",)),
    "divergences_separation": Drawing(separation_metrics, ("V11",)),
    "divergences_kl_estimators": Drawing(kl_estimators, ("V13",)),
    "language_model_divergences": Drawing(estimates_and_policies, ON_MODELS),
}
