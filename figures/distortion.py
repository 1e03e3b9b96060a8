"""Figures of the distortion claims, from rows; curves come from theory/.

A prediction for a trained model starts from the reference and the comparisons that were really drawn, so it has rows of
its own (`predicted`) or follows from a row (`trained` is distortion over prediction, less one).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import style
from figures.distortion_few import TEMPERATURE, few_alternatives, proportional, regimes
from figures.model_points import mark, model_of, of_models, pooled
from figures.style import Drawing, finish, line, panels, points, select
from llm_validation.claims.settings import INSTANCE_BETAS, INSTANCES, PEOPLE_METHODS
from llm_validation.claims.table import find_check
from llm_validation.recorded import MODELS
from simulate.rows.populations import by_population
from simulate.rows.store import Row
from theory.claim import parse_setting
from theory.distortion import factors
from theory.distortion.audit.interval import audit
from theory.distortion.ball_claims import linear_factor_over
from theory.distortion.ball_instances import ipo_factor
from theory.distortion.claims import rlhf_in_a_ball
from theory.distortion.instance import Instance
from theory.distortion.instances import borda_instance
from theory.distortion.measure import distortion
from theory.distortion.methods import METHODS
from theory.distortion.penalty_claims import correlated_ratio
from theory.policy.nash import maximal_lottery
from theory.social_choice.pairwise import borda
from theory.validate import Array


def factors_against_beta(rows: Sequence[Row]) -> Figure:
    """Distortion against bt_beta: the constants as curves, every rule's worst estimate as points."""
    figure, (left, right) = panels(2)
    betas, tail = np.geomspace(0.2, 22.0, 200), np.linspace(5.0, 20.0, 100)
    L, K = factors.linear_factor, factors.borda_factor
    lower = max(1.0 - factors.borda_lower_factor(b) / K(b) for b in betas.tolist())  # no line of its own
    line(left, 0, betas, lambda b: 1.0, "$L$: lottery, NLHF (tight)")
    known = rf"$K^*$: Borda, Copeland, RLHF (tight); $C$, known before, is at most {100 * lower:.1f} % lower"
    line(left, 1, betas, lambda b: K(b) / L(b), known)
    line(left, 3, betas, lambda b: 2.0, "$2L$: Borda, Copeland, at most")
    line(left, 4, betas, L, "$L^2$: Borda, at most")
    shown = (("D3", 0, "lottery on I3", 1.0), ("D4", 1, "Borda on I5", 0.96), ("D6", 2, "Copeland on I5", 1.04))
    for claim, look, name, apart in shown:
        relative = style.scaled(select(rows, claim, "attained"), lambda row: 1.0 / L(style.entry("bt_beta")(row)))
        points(left, look, relative, style.entry("bt_beta", apart), name)
    left.set_ylim(0.9, 2.6)
    finish(left, TEMPERATURE, "worst-case distortion over $L$", "bounds, and instances that attain them", log="x")
    style.ticks(left.xaxis, 0.2, 0.5, 1, 2, 5, 10, 20)

    line(right, 0, betas, L, "$L$")
    line(right, 1, betas, K, "$K^*$")
    line(right, 5, tail, lambda b: math.exp(b) / (44 * b), r"$e^\beta/(44\beta)$: RLHF in a ball, at least")
    line(right, 6, tail, lambda b: rlhf_in_a_ball(b, 1e-9), r"$e^\beta/(10\beta)$: RLHF on I6")
    points(right, 6, select(rows, "D8", "sampled"), "bt_beta", "RLHF on I6, sampled")
    points(right, 0, select(rows, "D9", "on_I6"), "bt_beta", "NLHF on I6")
    points(right, 2, select(rows, "D7", "plurality", n_alternatives=1000), "bt_beta", "plurality, $A = 1000$")
    veto = select(rows, "D7", "veto", n_alternatives=1000, rule="plain")
    points(right, 3, veto, style.entry("bt_beta", 0.93), "plurality veto, $A = 1000$")
    dictator = select(rows, "D7", "random_dictator", n_alternatives=100)
    points(right, 4, dictator, "bt_beta", "random dictator, $A = 100$")
    finish(right, TEMPERATURE, "distortion", "every rule on its worst instance", log="y")
    return figure


def search_for_violations(rows: Sequence[Row]) -> Figure:
    """What an adversary that searches populations finds, beside the bound it cannot pass."""
    figure, axes = panels(3)
    searches = (
        ("D3", "maximal lottery", factors.linear_factor, "$L$"),
        ("D4", "Borda", factors.borda_factor, "$K^*$"),
        ("D6", "Copeland", factors.borda_factor, "$K^*$"),
    )
    for ax, (claim, rule, bound, name) in zip(axes, searches, strict=True):
        line(ax, 0, np.linspace(0.5, 21.0, 100), bound, name)
        points(ax, 1, select(rows, claim, "bound"), "bt_beta", "worst found")
        finish(ax, TEMPERATURE, "distortion", rule)
    return figure


def rlhf_against_nlhf(rows: Sequence[Row]) -> Figure:
    """RLHF and NLHF on I6 in the same ball: e^β against a constant."""
    figure, (ax,) = panels()
    betas = np.linspace(5.0, 30.0, 120)
    line(ax, 0, betas, lambda b: rlhf_in_a_ball(b, 1e-17), r"RLHF, limit $e^\beta/(10\beta)$")
    line(ax, 1, betas, factors.linear_factor, "NLHF, bound $L$")
    line(ax, 3, betas[betas >= 10], lambda b: math.exp(b) / (44 * b), r"$e^\beta/(44\beta)$")
    points(ax, 0, select(rows, "D8", "limit"), "bt_beta", "RLHF")
    points(ax, 1, select(rows, "D9", "on_I6"), "bt_beta", "NLHF")
    finish(ax, TEMPERATURE, "distortion on I6", r"KL budget $\tau = 1$ nat", log="y")
    return figure


def in_every_ball(rows: Sequence[Row]) -> Figure:
    """What IPO and RLHF lose in a ball, with pairs from the reference or not; what every method loses at any budget."""
    figure, (left, right) = panels(2)
    betas = np.linspace(1.0, 12.0, 100)
    line(left, 2, betas, ipo_factor, r"$\cosh^2(\beta/2)$: IPO, any pairs (tight); RLHF, at least")
    line(left, 1, betas, factors.borda_factor, "$K^*$: IPO, pairs from the reference (tight)")
    line(left, 3, betas[betas >= 10], lambda b: math.exp(b) / (44 * b), r"$e^\beta/(44\beta)$: RLHF, known before")
    points(left, 2, select(rows, "D18", "mismatch_limit", method="ipo"), "bt_beta", "IPO")
    points(left, 5, select(rows, "D18", "mismatch_limit", method="rlhf"), style.entry("bt_beta", 1.03), "RLHF")
    points(left, 1, select(rows, "D18", "attained"), "bt_beta", "IPO on I5, sampled")
    finish(left, TEMPERATURE, "distortion in the ball", "mismatch is what is exponential", log="y")
    for look, beta in enumerate((2.0, 5.0, 10.0)):
        line(right, look, [0.005, 2.0], [linear_factor_over(beta, 1.03)] * 2, rf"$L/\xi$, $\beta = {beta:g}$")
        apart: tuple[tuple[str, str, dict[str, str], float], ...] = (
            ("D9", "attained", {}, 1.0),
            ("D19", "rules", {"method": "rlhf"}, 1.15),
            ("D19", "rules", {"method": "ipo"}, 1.3),
        )
        for shape, (claim, check, at, shift) in enumerate(apart, start=3):
            name = ("NLHF", "RLHF", "IPO")[shape - 3] if look == 0 else None
            points(right, shape, select(rows, claim, check, bt_beta=beta, **at), style.entry("tau", shift), name)
    finish(right, r"KL budget $\tau$ (nats)", "distortion", "every budget, every method", log="x")
    return figure


def on_policy(rows: Sequence[Row]) -> Figure:
    """D22: the worst distortion of RLHF with pairs from the reference that a search finds, per KL budget, below K*."""
    figure, (ax,) = panels()
    line(ax, 0, np.linspace(3.0, 12.0, 50), factors.borda_factor, "$K^*$")
    for look, tau in enumerate((0.1, 1.0, 10.0), start=1):
        mine = select(rows, "D22", "bound", tau=tau)
        points(ax, look, mine, style.entry("bt_beta", 0.96 + 0.02 * look), rf"found, $\tau = {tau:g}$")
    finish(ax, TEMPERATURE, "distortion", "RLHF in a ball, pairs from the reference", log="y")
    return figure


def correlated_growth(rows: Sequence[Row]) -> Figure:
    """RLHF under correlated pairs: distortion against the number of alternatives."""
    figure, (ax,) = panels()
    sizes = np.unique(np.geomspace(3, 1000, 60).astype(int))
    for look, beta in enumerate((5.0, 10.0)):
        line(ax, look, sizes, [correlated_ratio(beta, int(A)) for A in sizes], rf"theory, $\beta = {beta:g}$")
        points(ax, look, select(rows, "D11", "chain", bt_beta=beta), "n_alternatives", rf"sampled, $\beta = {beta:g}$")
    line(ax, 3, sizes, 0.7 * np.sqrt(sizes), r"slope $\frac{1}{2}$")
    finish(ax, "alternatives $A$", "distortion on I9", log="xy")
    return figure


def finite_samples(rows: Sequence[Row]) -> Figure | None:
    """D14's fitted exponents with 1.96 standard errors either way, a point a seed, beside the predictions."""
    checks = {"win_rates": "win rates", "local_family": "utility, worst family", "lottery": "utility, mixed lottery"}
    fits = [row for check in checks for row in select(rows, "D14", check)]
    if not fits:
        return None
    figure, (ax,) = panels()
    kinds = list(dict.fromkeys((row.check, row.setting) for row in fits))
    seeds = sorted({row.seed for row in fits})
    for look, seed in enumerate(seeds):
        shift = 0.22 * ((len(seeds) - 1) / 2 - look)
        place = lambda row, shift=shift: shift - kinds.index((row.check, row.setting))
        points(ax, look, [row for row in fits if row.seed == seed], place, f"seed {seed}", across=True)
    ax.axvline(-0.5, color=style.BLACK, linestyle="-", label="predicted")
    each = [parse_setting(setting).get("per_user") for _, setting in kinds]
    names = [checks[check] for check, _ in kinds]
    style.categories(ax, [f"{name}, {n:g} a user" if n else name for name, n in zip(names, each, strict=True)])
    finish(ax, "fitted exponent of $n$", "")
    return figure


#: The policies whose audit is drawn.
AUDITED: dict[str, Callable[[Instance], Array]] = {
    "Borda": lambda instance: borda(instance.win_rates, instance.mu),
    "lottery": lambda instance: maximal_lottery(instance.win_rates).policy,
    "uniform": lambda instance: instance.reference,
}


@cache
def _audited(name: str, beta: float) -> tuple[float, float]:
    """The audit's upper end for a policy on I5's win rates, and the policy's distortion on I5 itself."""
    instance = borda_instance(beta, 0.05)
    policy = AUDITED[name](instance)
    return audit(instance.win_rates, policy, beta).upper, distortion(instance.population, policy)


def audit_example(rows: Sequence[Row]) -> Figure:
    """What the audit finds from I5's win rates alone, for three policies, and their distortion on I5."""
    figure, (ax,) = panels()
    betas = [1.0, 2.5, 5.0, 8.0]
    line(ax, 0, np.linspace(1.0, 8.0, 50), factors.linear_factor, "$L$")
    for look, name in enumerate(AUDITED, start=1):
        upper, truth = zip(*(_audited(name, beta) for beta in betas), strict=True)
        line(ax, look, betas, upper, f"{name}, audit")
        style.dots(ax, look, list(zip(betas, truth, strict=True)), f"{name}, on I5")
    finish(ax, TEMPERATURE, "distortion", "worst of all populations with I5's win rates", log="y")
    return figure


def _by_population(rows: Sequence[Row], draw: Callable[[Axes, list[Row]], None]) -> Figure | None:
    """A panel per population that has rows, with the methods along y; None without rows."""
    populations = by_population(rows)
    if not populations:
        return None
    figure, axes = panels(len(populations))
    for ax, (population, mine) in zip(axes, populations.items(), strict=True):
        style.categories(ax, [method.label for method in METHODS.values()])
        draw(ax, mine)
        style.name(ax, population)
    return figure


def people(rows: Sequence[Row]) -> Figure | None:
    """Every rule and method on populations of raters, with 95 % bootstrap intervals; None without such rows."""
    mine = [row for name in METHODS for check in (name, f"{name}_on_rated_pairs")
            for row in select(rows, "D17", check, bt_beta=5.0)]  # fmt: skip

    def draw(ax: Axes, raters: list[Row]) -> None:
        points(ax, 1, raters, lambda row: _method(row.check.removesuffix("_on_rated_pairs")), across=True)
        ax.axvline(1.0, color=style.GREY, linewidth=0.8)
        finish(ax, r"distortion at $\beta = 5$", "", legend=False)

    return _by_population(mine, draw)


def _method(name: str) -> float:
    return -float(list(METHODS).index(name))


def methods_on_samples(rows: Sequence[Row]) -> Figure | None:
    """Every rule and method on samples of the instances: few users and many; None without rows."""
    mine = [row for row in rows if row.claim == "D14" and row.check.startswith("sampled_")]
    sizes = sorted({style.entry("n_users")(row) for row in mine})

    def draw(ax: Axes, samples: list[Row]) -> None:
        for look, size in enumerate(sizes, start=1):
            of_size = [row for row in samples if style.entry("n_users")(row) == size]
            place = lambda row, shift=0.2 * (look - 1.5): _method(row.check.removeprefix("sampled_")) + shift
            label = f"$n = 10^{{{math.log10(size):.0f}}}$"
            points(ax, look, of_size, place, label, across=True)
        finish(ax, "distortion", "")

    return _by_population(mine, draw)


# --- trained language models -----------------------------------------------------------------------------------------

#: Claim and look of each method, and how far it is moved along the axis of instances.
TRAINED = {"rlhf": ("D8", 2, 0.17), "nlhf": ("D9", 1, -0.17)}
NAMES = {"rlhf": "RLHF", "nlhf": "NLHF", "dpo": "DPO"}
LABELS = {
    "I3": "Condorcet (I3)", "I5": "Borda (I5)", "I6": "KL ball (I6)", "I9": "adjacent pairs (I9)",
    "I9_product": "I9, product pairs", "random": "random users",
}  # fmt: skip


def _instance(row: Row) -> float:
    """Where a row's instance and method stand along y."""
    return TRAINED[style.text(row, "method")][2] - INSTANCES.index(style.text(row, "instance"))


def _instances() -> list[str]:
    return [f"{LABELS[n]}, $\\beta={b:g}$" for n, b in zip(INSTANCES, INSTANCE_BETAS, strict=True)]


def _bounds(ax: Axes) -> None:
    """L(β) and K*(β) on the instances where they bound NLHF and RLHF."""
    bounded = {str(setting["instance"]) for setting in find_check("D4", "trained").settings}
    instances = list(enumerate(zip(INSTANCES, INSTANCE_BETAS, strict=True)))
    lottery = [(factors.linear_factor(b), -i - 0.17) for i, (_, b) in instances]
    scores = [(factors.borda_factor(b), -i + 0.17) for i, (name, b) in instances if name in bounded]
    style.dots(ax, 1, lottery, "$L$ bounds NLHF", marker="4", markersize=8)
    style.dots(ax, 2, scores, "$K^*$ bounds RLHF", marker="4", markersize=8)


def reached_and_predicted(rows: Sequence[Row]) -> Figure | None:
    """Per instance: the distortion predicted (line) and reached (point) with its bound, and by how much they differ."""
    if not select(of_models(rows, ("D8", "D9")), "D8", "reached"):
        return None
    figure, (left, right) = panels(2)
    for method, (claim, look, _) in TRAINED.items():
        colour = style.LOOKS[look][0]
        for row in pooled(of_models(select(rows, claim, "predicted"), (claim,))):
            y = _instance(row)
            left.plot([row.estimate] * 2, [y - 0.17, y + 0.17], color=colour, linestyle="-", linewidth=1.2)
        left.plot([], [], color=colour, label=f"{NAMES[method]}, predicted")
        mark(left, look, select(rows, claim, "reached"), _instance, NAMES[method], across=True)
        mark(right, look, style.scaled(select(rows, claim, "excess"), 100.0), _instance, NAMES[method], across=True)
        resolution = 100 * find_check(claim, "excess").resolution
        right.axvspan(-resolution, resolution, color=style.BLACK, alpha=0.04, linewidth=0)
    _bounds(left)
    right.axvline(0.0, color=style.BLACK, linewidth=1.0)
    style.categories(left, _instances())
    style.categories(right, _instances())
    finish(left, "distortion", "", "predicted, reached, bounded", log="x")
    style.ticks(left.xaxis, 1, 1.5, 2, 3, 4, 6, 8)
    finish(right, "reached over predicted, less one (%)", "", "shaded: the resolution")
    return figure


def trained_on_people(rows: Sequence[Row]) -> Figure | None:
    """Distortion of models aligned to raters against bt_beta, predicted (lines) and reached; one panel per file."""
    mine = of_models(select(rows, "D17", "trained_distortion"), ("D17",))
    populations = by_population(mine)
    if not populations:
        return None
    figure, axes = panels(len(populations))
    for ax, (population, own) in zip(axes, populations.items(), strict=True):
        for look, method in enumerate(PEOPLE_METHODS):
            reached = select(own, "D17", "trained_distortion", method=method)
            for model in MODELS:
                _predicted_line(ax, look, method, rows, select(reached, "D17", "trained_distortion", model=model))
            apart = 1.05 ** (look - 1)  # RLHF and DPO share a prediction
            mark(ax, look, reached, style.entry("bt_beta", apart), NAMES[method])
        finish(ax, TEMPERATURE, "distortion", log="x")
        style.name(ax, population, "raters: ")
        style.ticks(ax.xaxis, *sorted({style.entry("bt_beta")(row) for row in mine}))
    return figure


def _predicted_line(ax: Axes, look: int, method: str, rows: Sequence[Row], reached: Sequence[Row]) -> None:
    """The prediction behind rows of one method and model: distortion / (1 + excess), mean over seeds."""
    excess = {(row.setting, row.seed): row.estimate for row in select(rows, "D17", "trained")}
    found: dict[float, list[float]] = {}
    for row in reached:
        if (row.setting, row.seed) in excess:
            value = row.estimate / (1.0 + excess[row.setting, row.seed])
            found.setdefault(style.entry("bt_beta")(row), []).append(value)
    if found:
        label = f"{NAMES[method]}, predicted{MODELS[str(model_of(reached[0]))].suffix}"
        line(ax, look, sorted(found), [float(np.mean(found[b])) for b in sorted(found)], label)


#: name of the file → what draws it, and the claims it shows
FIGURES = {
    "distortion_factors": Drawing(factors_against_beta, ("D3", "D4", "D5", "D6", "D7", "D8", "D9")),
    "distortion_search": Drawing(search_for_violations, ("D3", "D4", "D6")),
    "distortion_rlhf_nlhf": Drawing(rlhf_against_nlhf, ("D8", "D9")),
    "distortion_every_ball": Drawing(in_every_ball, ("D9", "D18", "D19")),
    "distortion_on_policy": Drawing(on_policy, ("D22",)),
    "distortion_few": Drawing(few_alternatives, ("D20", "D21")),
    "distortion_regimes": Drawing(regimes, ("D23", "D24", "D25")),
    "distortion_proportional": Drawing(proportional, ("D26",)),
    "distortion_correlated": Drawing(correlated_growth, ("D11",)),
    "distortion_samples": Drawing(finite_samples, ("D14",)),
    "distortion_audit": Drawing(audit_example, ("D16",)),
    "distortion_methods": Drawing(methods_on_samples, ("D14",)),
    "distortion_people": Drawing(people, ("D17",)),
    "language_model_distortion": Drawing(reached_and_predicted, ("D3", "D4", "D8", "D9")),
    "language_model_people": Drawing(trained_on_people, ("D17",)),
}
