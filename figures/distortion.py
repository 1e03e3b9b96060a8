"""Figures of the distortion claims. Each function takes result rows and returns a figure; curves come from theory/."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure

from figures.style import LOOKS, PAGE, Drawing, finish, line, panels, points, select
from simulate.rows.store import Row
from theory.claim import parse_setting
from theory.distortion import factors
from theory.distortion.audit.interval import audit
from theory.distortion.claims import correlated_ratio, rlhf_in_a_ball
from theory.distortion.instances import Instance, borda_instance
from theory.distortion.measure import distortion
from theory.distortion.methods import METHODS
from theory.policy.nash import maximal_lottery
from theory.social_choice.pairwise import borda
from theory.validate import Array


def factors_against_beta(rows: Sequence[Row]) -> Figure:
    """Distortion against bt_beta: the constants as curves, every rule's worst measured value as points."""
    figure, (left, right) = panels(2, PAGE, 3.9)
    betas = np.linspace(0.2, 22.0, 200)
    curves: list[tuple[str, Callable[[float], float]]] = [
        ("$L$: lottery, NLHF (tight)", factors.linear_factor),
        ("$K^*$: Borda, Copeland, RLHF (tight)", factors.borda_factor),
        ("$C$: Borda, at least", factors.borda_lower_factor),
        ("$2L$: Borda, Copeland, at most", lambda b: 2 * factors.linear_factor(b)),
        ("$L^2$: Borda, at most", lambda b: factors.linear_factor(b) ** 2),
    ]
    for look, (label, curve) in enumerate(curves):
        line(left, look, betas, [curve(float(b)) for b in betas], label)
    points(left, 0, select(rows, "D3", "attained"), "bt_beta", "lottery on I3")
    points(left, 1, select(rows, "D4", "attained"), "bt_beta", "Borda on I5")
    points(left, 2, select(rows, "D6", "attained"), "bt_beta", "Copeland on I5")
    left.set_ylim(0, 26)
    finish(
        left, r"users' temperature $\beta$", "worst-case distortion", "bounds, and instances that attain them", legend=2
    )

    tail = np.linspace(5.0, 20.0, 100)
    line(right, 0, betas, [factors.linear_factor(float(b)) for b in betas], "$L$")
    line(right, 1, betas, [factors.borda_factor(float(b)) for b in betas], "$K^*$")
    line(right, 5, tail, [math.exp(b) / (44 * b) for b in tail], r"$e^\beta/(44\beta)$: RLHF in a ball, at least")
    line(right, 6, tail, [rlhf_in_a_ball(float(b), 1e-9) for b in tail], r"$e^\beta/(10\beta)$: RLHF on I6")
    points(right, 6, select(rows, "D8", "sampled"), "bt_beta", "RLHF on I6, sampled")
    points(right, 0, select(rows, "D9", "on_I6"), "bt_beta", "NLHF on I6")
    points(right, 2, select(rows, "D7", "plurality", n_alternatives=1000), "bt_beta", "plurality, $A = 1000$")
    points(right, 3, select(rows, "D7", "veto", n_alternatives=1000, rule="plain"), "bt_beta",
           "plurality veto, $A = 1000$")  # fmt: skip
    points(right, 4, select(rows, "D7", "random_dictator", n_alternatives=100), "bt_beta", "random dictator, $A = 100$")
    right.set_yscale("log")
    finish(right, r"users' temperature $\beta$", "distortion", "every rule on its worst instance", legend=2)
    return figure


def search_for_violations(rows: Sequence[Row]) -> Figure:
    """What an adversary that searches populations finds, beside the bound it cannot pass."""
    figure, axes = panels(3, PAGE, 2.6)
    betas = np.linspace(0.5, 21.0, 100)
    searches: list[tuple[str, str, Callable[[float], float], str]] = [
        ("D3", "maximal lottery", factors.linear_factor, "$L$"),
        ("D4", "Borda", factors.borda_factor, "$K^*$"),
        ("D6", "Copeland", factors.borda_factor, "$K^*$"),
    ]
    for ax, (claim, rule, bound, name) in zip(axes, searches, strict=True):
        line(ax, 0, betas, [bound(float(b)) for b in betas], name)
        points(ax, 1, select(rows, claim, "bound"), "bt_beta", "worst found")
        finish(ax, r"$\beta$", "distortion", rule, legend=2)
    return figure


def rlhf_against_nlhf(rows: Sequence[Row]) -> Figure:
    """RLHF and NLHF on I6 in the same ball: e^β against a constant."""
    figure, (ax,) = panels(height=3.2)
    betas = np.linspace(5.0, 30.0, 120)
    line(ax, 0, betas, [rlhf_in_a_ball(float(b), 1e-17) for b in betas], r"RLHF, limit $e^\beta/(10\beta)$")
    line(ax, 1, betas, [factors.linear_factor(float(b)) for b in betas], "NLHF, bound $L$")
    line(ax, 3, betas[betas >= 10], [math.exp(b) / (44 * b) for b in betas if b >= 10], r"$e^\beta/(44\beta)$")
    points(ax, 0, select(rows, "D8", "limit"), "bt_beta", "RLHF")
    points(ax, 1, select(rows, "D9", "on_I6"), "bt_beta", "NLHF")
    ax.set_yscale("log")
    finish(ax, r"users' temperature $\beta$", "distortion on I6", r"KL budget $\tau = 1$ nat")
    return figure


def correlated_growth(rows: Sequence[Row]) -> Figure:
    """RLHF under correlated pairs: distortion against the number of alternatives."""
    figure, (ax,) = panels(height=3.2)
    sizes = np.unique(np.geomspace(3, 1000, 60).astype(int))
    for look, beta in enumerate((5.0, 10.0)):
        line(ax, look, sizes, [correlated_ratio(beta, int(A)) for A in sizes], rf"theory, $\beta = {beta:g}$")
        points(ax, look, select(rows, "D11", "chain", bt_beta=beta), "n_alternatives", rf"sampled, $\beta = {beta:g}$")
    line(ax, 3, sizes, 0.7 * np.sqrt(sizes), r"slope $\frac{1}{2}$")
    ax.set_xscale("log")
    ax.set_yscale("log")
    finish(ax, "alternatives $A$", "distortion on I9", legend=2)
    return figure


def finite_samples(rows: Sequence[Row]) -> Figure:
    """D14's fitted exponents with their 95 % intervals, beside the predictions."""
    figure, (ax,) = panels(1, PAGE, 2.0)
    wanted = [
        ("win_rates", "win rates"),
        ("local_family", "utility, worst local family"),
        ("lottery", "utility of a mixed lottery"),
    ]
    labels, position = [], 0
    for check, label in wanted:
        for row in select(rows, "D14", check):
            ax.errorbar(row.estimate, position, xerr=[[row.estimate - row.low], [row.high - row.estimate]],
                        color="#0072B2", marker="s", capsize=2)  # fmt: skip
            labels.append(f"{label} ({row.setting.replace(';', ', ')})")
            position += 1
    ax.axvline(-0.5, color="#000000", linestyle="-")
    ax.set_yticks(range(position), labels)
    ax.set_ylim(-0.6, position - 0.4)
    finish(ax, "fitted exponent of $n$ (line: predicted)", "", legend=0)
    return figure


def audit_example(rows: Sequence[Row]) -> Figure:
    """The audit's interval for Borda's winner, the lottery and the uniform policy on I5, with the truth inside."""
    figure, (ax,) = panels(height=3.2)
    betas = np.array([1.0, 2.0, 4.0, 6.0, 8.0])
    policies: list[tuple[str, Callable[[Instance], Array]]] = [
        ("Borda", lambda instance: borda(instance.win_rates, instance.mu)),
        ("lottery", lambda instance: maximal_lottery(instance.win_rates).policy),
        ("uniform", lambda instance: instance.reference),
    ]
    for look, (label, rule) in enumerate(policies, start=1):
        instances = [borda_instance(float(beta), 0.05) for beta in betas]
        intervals = [audit(i.win_rates, rule(i), i.bt_beta) for i in instances]
        truth = [distortion(i.population, rule(i)) for i in instances]
        low, high = (np.array([getattr(a, end) for a in intervals]) for end in ("lower", "upper"))
        middle, shift = (low + high) / 2, 0.15 * (look - 2)
        colour, _, marker = LOOKS[look]
        ax.errorbar(betas + shift, middle, yerr=[middle - low, high - middle], linestyle="none", color=colour,
                    capsize=3, label=f"{label}: audit")  # fmt: skip
        ax.plot(betas + shift, truth, linestyle="none", marker=marker, color=colour, label=f"{label}: truth")
    line(ax, 0, betas, [factors.linear_factor(float(b)) for b in betas], "$L$")
    finish(ax, r"users' temperature $\beta$", "distortion", "all populations with I5's win rates", legend=2)
    return figure


def people(rows: Sequence[Row]) -> Figure | None:
    """Every rule and method on populations of raters, with 95 % bootstrap intervals; None without such rows."""
    mine = [row for name in METHODS for check in (name, f"{name}_on_rated_pairs")
            for row in select(rows, "D17", check, bt_beta=5.0)]  # fmt: skip
    populations = sorted({str(parse_setting(row.setting)["population"]) for row in mine})
    if not populations:
        return None
    figure, axes = panels(len(populations), max(PAGE, 2.2 * len(populations)), 3.0)
    names = list(METHODS)
    for ax, population in zip(axes, populations, strict=True):
        for position, name in enumerate(reversed(names)):
            found = [row for row in mine if row.check.removesuffix("_on_rated_pairs") == name
                     and parse_setting(row.setting)["population"] == population]  # fmt: skip
            for row in found:
                low, high = min(row.low, row.estimate), max(row.high, row.estimate)
                ax.errorbar(row.estimate, position, xerr=[[row.estimate - low], [high - row.estimate]],
                            color="#0072B2", marker="s", capsize=2)  # fmt: skip
        ax.axvline(1.0, color="#7F7F7F", linewidth=0.8)
        labels = [METHODS[name].label for name in reversed(names)] if ax is axes[0] else []
        ax.set_yticks(range(len(names)), labels or [""] * len(names))
        finish(ax, r"distortion at $\beta = 5$", "", population, legend=0)
    return figure


def methods_on_samples(rows: Sequence[Row]) -> Figure | None:
    """Every rule and method on samples of the instances: few users (open) and many (filled); None without rows."""
    mine = [row for row in rows if row.claim == "D14" and row.check.startswith("sampled_")]
    if not mine:
        return None
    populations = sorted({str(parse_setting(row.setting)["population"]) for row in mine})
    sizes = sorted({int(parse_setting(row.setting)["n_users"]) for row in mine})
    names = list(reversed(METHODS))
    figure, axes = panels(len(populations), PAGE, 3.0)
    for ax, population in zip(axes, populations, strict=True):
        for look, size in enumerate(sizes):
            colour, _, marker = LOOKS[look + 1]
            for row in mine:
                setting = parse_setting(row.setting)
                if (setting["population"], setting["n_users"]) != (population, size):
                    continue
                position = names.index(row.check.removeprefix("sampled_")) + 0.2 * (look - 0.5)
                label = f"$n = 10^{{{math.log10(size):.0f}}}$" if row.check == "sampled_borda" else None
                ax.errorbar(row.estimate, position, xerr=1.96 * row.stderr, color=colour, marker=marker, label=label,
                            markerfacecolor=colour if look else "none", linestyle="none", capsize=2)  # fmt: skip
        ax.set_yticks(range(len(names)), [METHODS[name].label for name in names] if ax is axes[0] else [])
        finish(ax, "distortion", "", population, legend=0)
    axes[0].legend(loc="upper right", bbox_to_anchor=(0.0, -0.05))
    return figure


#: name of the file → what draws it, and the claims it shows
FIGURES: dict[str, Drawing] = {
    "distortion_factors": Drawing(factors_against_beta, ("D3", "D4", "D5", "D6", "D7", "D8")),
    "distortion_search": Drawing(search_for_violations, ("D3", "D4", "D6")),
    "distortion_rlhf_nlhf": Drawing(rlhf_against_nlhf, ("D8", "D9")),
    "distortion_correlated": Drawing(correlated_growth, ("D11",)),
    "distortion_samples": Drawing(finite_samples, ("D14",)),
    "distortion_audit": Drawing(audit_example, ("D16",)),
    "distortion_methods": Drawing(methods_on_samples, ("D14",)),
    "distortion_people": Drawing(people, ("D17",)),
}
