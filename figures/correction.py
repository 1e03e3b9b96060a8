"""Figures of the correction claims, from rows; curves come from theory/."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import style
from figures.model_points import in_a_row, mark, of_models, pooled
from figures.style import Drawing
from llm_validation.claims.settings import UPSTREAMS
from llm_validation.recorded import MODELS
from simulate.rows.store import Row
from theory.correction import bootstrap, composition, examples, predictions, repetition
from theory.correction import users as correction_users
from theory.correction.copying import copying_left

#: Correctors whose rounds are drawn; for "aligner" the utility crosses its limit, which a logarithm hides.
SHOWN = ("copying", "resample", "overcorrect", "line")
Habit = Literal["favourite", "step"]


def rounds(rows: Sequence[Row]) -> Figure:
    """Utility after k rounds, and its distance from the limit: straight lines of slope log|λ₂|."""
    figure, (left, right) = style.panels(2)
    k = np.arange(17)
    for look, name in enumerate(SHOWN):
        r = examples.ROUNDS[name]
        limit = float(repetition.limit_law(r.kernel, r.policy) @ r.utilities)
        predicted = repetition.rounds(r.policy, r.kernel, r.utilities, int(k[-1]))
        rate = repetition.convergence_rate(r.kernel)
        mine = style.select(rows, "A4", "utility", corrector=name)
        style.line(left, look, k, predicted, name)
        style.points(left, look, mine, "k")
        style.line(right, look, k, np.abs(predicted - limit), rf"{name}, $|\lambda_2| = {rate:.3g}$")
        style.dots(right, look, [(style.entry("k")(row), abs(row.estimate - limit)) for row in mine])
    style.finish(left, "rounds of correction $k$", r"utility $u(\pi K^k)$")
    style.finish(right, "rounds of correction $k$", "distance from the limit", log="y")
    right.set_ylim(5e-6, 2.0)
    return figure


def floors(rows: Sequence[Row]) -> Figure:
    """What SFT and the Aligner can reach on the same corrections, against the edit rate."""
    figure, (ax,) = style.panels()
    rates = np.linspace(0.001, 0.75, 150)
    floors_at = [examples.edit_floors(float(rate)) for rate in rates]
    curves = (
        ("sft", "sft", "SFT, $H(C|X)$"),
        ("aligner", "aligner", "Aligner, $H(C|X,O)$"),
        ("gain", "difference", "difference, $I(C;O|X)$"),
    )
    for look, (kind, check, label) in enumerate(curves):
        style.line(ax, look, rates, [getattr(f, kind) for f in floors_at], label)
        style.points(ax, look, style.select(rows, "A1", check), "edit_rate")
    style.finish(ax, "share of tokens that a correction edits", "loss floor (nats)")
    return figure


def gains(rows: Sequence[Row]) -> Figure:
    """Gain on upstream policies, predicted (dashes) and estimated, against how good they are; the errors of it."""
    figure, (left, right) = style.panels(2)
    for look, (name, policy) in enumerate(examples.UPSTREAM.items()):
        utility = float(policy @ examples.UTILITIES)
        predicted = composition.gain(policy, examples.CORRECTOR, examples.UTILITIES)
        mine = style.select(rows, "A3", "gain", upstream=name)
        left.plot([utility - 0.03, utility + 0.03], [predicted] * 2, color=style.BLACK, linewidth=1.0, zorder=4)
        style.points(left, look, mine, style.fixed(utility))
        left.annotate(name, (utility, predicted), (0, 7), textcoords="offset points", ha="center")
        errors = style.scaled([row for row in mine if row.stderr > 0.0], 1.0, -predicted)
        style.points(right, look, style.scaled(errors, lambda row: 1.0 / row.stderr), style.fixed(-look), across=True)
    left.axhline(0.0, color=style.GREY, linewidth=0.6)
    left.margins(0.12)
    right.axvline(0.0, color=style.BLACK, linewidth=0.8)
    style.categories(right, list(examples.UPSTREAM))
    style.finish(left, r"utility of the upstream policy $u(\pi)$", "gain", "one corrector: better ones gain less")
    style.finish(right, "estimated less predicted gain, standard errors", "", "95 % intervals")
    return figure


def copying(rows: Sequence[Row]) -> Figure:
    """Unchanged answers against the share of identity pairs, and how a warm-up is forgotten."""
    figure, (left, right) = style.panels(2)
    shares = np.linspace(0.0, 0.95, 60)
    pairs = [(laws, upstream) for laws in examples.IDENTITY_LAWS for upstream in ("weak", "expert")]
    for look, (laws, upstream) in enumerate(pairs):
        curve = [predictions.unchanged(float(q), laws, upstream) for q in shares]
        style.line(left, look, shares, curve, f"{upstream} upstream, {laws} laws")
        style.points(left, look, style.select(rows, "A5", "unchanged", laws=laws, upstream=upstream), "share")
    style.finish(left, "share of identity pairs $q$", "unchanged answers", "joint training")
    times = np.geomspace(0.3, 300.0, 120)
    for look, copy in enumerate((0.3, 0.0)):
        left_over = copying_left(copy, examples.N_EDITS, examples.WARM_UP, times)
        style.line(right, look, times, left_over, f"$K(o|o) = {copy:g}$")
        forgotten = style.select(rows, "A5", "forgotten", copy=copy)
        style.points(right, look, [row for row in forgotten if style.entry("time")(row) > 0], "time")
    title = "after a warm-up on identity pairs"
    style.finish(right, "time on corrections alone", "probability of copying", title, log="x")
    return figure


def bootstrapping(rows: Sequence[Row]) -> Figure:
    """Where DPO ends on the pairs of a reversible corrector, against its weight; one round and all rounds beside it."""
    figure, (ax,) = style.panels()
    p = examples.PAIRS["reversible"]
    ends = {
        r"upstream $\pi$": p.policy,
        r"SFT, DDRO: $\pi K$": p.policy @ p.kernel,
        r"all rounds: $\nu$": repetition.limit_law(p.kernel),
    }
    weights = np.linspace(0.3, 3.0, 100)
    for look, (label, law) in enumerate(ends.items(), start=1):
        style.line(ax, look, weights[[0, -1]], [law[0], law[0]], label)
    dpo = lambda beta: bootstrap.dpo_limit(p.policy, p.kernel, beta)[0]
    style.line(ax, 0, weights, dpo, r"DPO: $\pi^{1-1/\kappa}\nu^{1/\kappa}$")
    style.points(ax, 0, style.select(rows, "A6", "dpo", pairs="reversible", answer=0), "kl_beta", "DPO, trained")
    style.finish(ax, r"DPO's weight $\kappa$", "probability of the first answer")
    return figure


def users(rows: Sequence[Row]) -> Figure:
    """Distortion by who corrects, with its suprema; and small edits against favourites on a line."""
    figure, (left, right) = style.panels(2)
    shares, uniform = np.linspace(0.015, 0.95, 200), np.full(4, 0.25)
    minority = shares[shares <= 0.5]
    habits: tuple[Habit, ...] = get_args(Habit)
    for look, habit in enumerate(habits):
        style.line(left, look, shares, [predictions.who_corrects(habit, float(c)) for c in shares], habit)
        worst = [correction_users.worst_distortion(habit, uniform, [float(c), 1 - float(c)]) for c in minority]
        style.line(left, look + 2, minority, worst, f"{habit}, supremum")
        style.points(left, look, style.select(rows, "A7", "who", habit=habit), "minority")
    label = "share of the corrections that the minority makes"
    style.finish(left, label, "distortion", "a minority with much at stake", log="y")

    edits = style.select(rows, "A7", "edits")
    n_answers = int(style.entry("n_answers")(edits[0])) if edits else 9
    k = np.arange(41)
    style.line(right, 0, k, lambda j: predictions.edits_after(n_answers, j), "edits, one place at a time")
    style.points(right, 0, edits, "k")
    ends = (predictions.edits_settle("uniform", n_answers), predictions.favourites_on_a_line(n_answers))
    for look, (value, label) in enumerate(
        zip(ends, ("edits, in the end", "favourites, any number of rounds"), strict=True)
    ):
        style.line(right, look + 1, k[[0, -1]], [value, value], label)
    style.finish(right, "rounds of correction $k$", "distortion", "favourites evenly on a line")
    return figure


# --- trained language models -----------------------------------------------------------------------------------------

LEARNERS = {"aligner": "Aligner, $H(C|X,O)$", "sft": "SFT, $H(C|X)$"}
BOOTSTRAPPED = ("ddro", "rdro", "dpo")
ON_MODELS = ("A1", "A2", "A3", "A4", "A5", "A6")


def trained_floors(ax: Axes, rows: Sequence[Row]) -> None:
    """Held-out losses over the entropies that are their floors, less one."""
    for place, method in enumerate(LEARNERS):
        floors = {(row.setting, row.seed): row.estimate for row in style.select(rows, "A1", "floor", method=method)}
        mine = [row for row in style.select(rows, "A1", "loss", method=method) if (row.setting, row.seed) in floors]
        over = [replace(row, estimate=100.0 * (row.estimate / floors[row.setting, row.seed] - 1.0),
                        stderr=100.0 * row.stderr / floors[row.setting, row.seed]) for row in mine]  # fmt: skip
        mark(ax, 1, over, style.fixed(-place), across=True)
    ax.axvline(0.0, color=style.BLACK, linewidth=0.8)
    style.categories(ax, list(LEARNERS.values()))
    style.finish(ax, "held-out loss over its floor, less one (%)", "", "losses at their floors")


def trained_gains(ax: Axes, rows: Sequence[Row]) -> None:
    """Gain of mean utility on upstream models that the Aligner never saw: sampled against predicted."""
    ends: list[float] = []
    for look, upstream in enumerate(UPSTREAMS):
        for model in MODELS:
            for predicted in pooled(style.select(rows, "A3", "predicted_gain", upstream=upstream, model=model)):
                ends.append(predicted.estimate)
                sampled = style.select(rows, "A3", "sampled_gain", upstream=upstream, model=model)
                mark(ax, look, sampled, style.fixed(predicted.estimate), upstream)
    if ends:
        ax.plot([min(ends), max(ends)], [min(ends), max(ends)], color=style.BLACK, linewidth=0.8)
    style.finish(ax, "predicted gain", "sampled gain", "unseen upstream models")


def trained_rounds(ax: Axes, rows: Sequence[Row]) -> None:
    """Errors of mean utility after k rounds: from the process's kernel, and from the trained one."""
    shown = {"llm_utility": "from the process's kernel", "llm_utility_measured": "from the trained kernel"}
    for look, (check, name) in enumerate(shown.items()):
        beside = lambda row, shift=0.16 * (look - 0.5): shift + style.entry("k")(row)
        mark(ax, look, style.select(rows, "A4", check), beside, name)
    ax.axhline(0.0, color=style.BLACK, linewidth=0.8)
    ax.set_xticks([1, 2, 4])
    style.finish(ax, "rounds of correction", "utility, less predicted", "mean utility after rounds")


def trained_pairs(ax: Axes, rows: Sequence[Row]) -> None:
    """Bootstrapping by pairs: distance to each method's limit, and to one corrected round πK."""
    shown = {"llm_pairs_limit": "to the method's limit", "llm_pairs_composed": r"to $\pi K$"}
    for look, (check, name) in enumerate(shown.items()):
        for place, method in enumerate(BOOTSTRAPPED):
            label = name if place == 0 else None
            beside = style.fixed(0.15 - 0.3 * look - place)  # where pairs are right the limit is πK itself
            mark(ax, look, style.select(rows, "A6", check, method=method), beside, label, across=True)
    style.categories(ax, [method.upper() for method in BOOTSTRAPPED])
    style.finish(ax, "total variation", "", r"trained on pairs $c \succ o$", log="x")


def correction_on_models(rows: Sequence[Row]) -> Figure | None:
    """Losses at their floors, gains on unseen upstream models, rounds, and bootstrapping by pairs."""
    mine = of_models(rows, ON_MODELS)
    draws = (trained_floors, trained_gains, trained_rounds, trained_pairs)
    return in_a_row(mine, draws) if style.select(mine, "A1", "loss") else None


#: name of the file → what draws it, and the claims it shows
FIGURES = {
    "correction_rounds": Drawing(rounds, ("A4",)),
    "correction_floors": Drawing(floors, ("A1",)),
    "correction_gains": Drawing(gains, ("A3",)),
    "correction_copying": Drawing(copying, ("A5",)),
    "correction_bootstrapping": Drawing(bootstrapping, ("A6",)),
    "correction_users": Drawing(users, ("A7",)),
    "language_model_correction": Drawing(correction_on_models, ON_MODELS),
}
