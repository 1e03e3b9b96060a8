"""Figures of Best-of-N and Speculative Rejection, from rows; curves come from theory/.

On a trained model the rewards are those of a trained reward model, in standard deviations above the mean of the model's
own texts, and lines join predictions that were made from the model's law of rewards, of Speculative Rejection from
the joint law of its scores and rewards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import rel_entr

from figures.model_points import in_a_row, mark, of_models, pooled
from figures.style import BLACK, GREY, Drawing, entry, finish, line, panels, points, scaled, select, ticks
from llm_validation.recorded import MODELS
from simulate.rows.store import Row
from theory.best_of_n import cost, order_statistics, processes, rejection, schedule
from theory.best_of_n.evolution import survivor_counts
from theory.best_of_n.examples import (
    FAULTY,
    FULL,
    GOOD,
    PROXY_TABLE,
    SCHEDULES,
    full_times,
    keep_of,
    rare_table,
    vector,
)
from theory.best_of_n.faulty_proxy import FaultyProxy
from theory.best_of_n.law import best_of_n_law
from theory.best_of_n.pessimism import pessimistic_policy
from theory.best_of_n.pessimism_claims import limit_truth, rare_best_of_n, rare_regret, table_truth
from theory.best_of_n.predictions import profile_reward, profile_speedup
from theory.best_of_n.proxy import soft_best_of_n_law
from theory.best_of_n.proxy_claims import gamma_survival, regular_survival, soft_truth

KEEP, LENGTH, BUDGET = float(FULL["keep"]), int(FULL["length"]), int(FULL["budget"])


@cache
def _speedup(n: int, area: float) -> float:
    """Of keeping a half while the budget is full."""
    return profile_speedup(n, area, KEEP, LENGTH, BUDGET)


@cache
def _reward(n: int, area: float) -> float:
    return profile_reward(n, area, KEEP, LENGTH, BUDGET)


@cache
def _information(n: int, area: float) -> tuple[float, float]:
    """n^{1−v} rows at the times at which keeping a half would fill the budget: mean reward, and responses spent."""
    times = full_times(n, KEEP, LENGTH, BUDGET)
    v = cost.power_profile(times / LENGTH, area)
    counts = schedule.information_schedule(n, v)
    reward = rejection.expected_reward(processes.gaussian_process(v), counts)
    return reward, cost.schedule_cost(counts, times, LENGTH).generated / LENGTH


def _information_speedup(n: int, area: float) -> float:
    reward, responses = _information(n, area)
    return order_statistics.equivalent_n(reward) / responses


def speedup_phases(rows: Sequence[Row]) -> Figure:
    """Speed-up against what a partial response reveals: two schedules, and the phase diagram of keeping a half."""
    figure, (left, right) = panels(2)
    areas = np.linspace(0.15, 0.95, 9)
    for look, n in enumerate((64, 256, 1024)):
        fixed = [_speedup(n, float(area)) for area in areas]
        line(left, look, areas, fixed, rf"keep $\frac{{1}}{{2}}$, $n = {n}$")
        points(left, look, select(rows, "B6", "speedup", n=n), "area")
    points(left, 2, select(rows, "B6", "area"), "target", across=True)  # the inverse question
    line(left, 5, areas, lambda area: _information_speedup(256, area), "keep $n^{1-v}$, $n = 256$")
    left.axhline(1.0, color=GREY, linewidth=0.8)
    finish(left, r"area $\int_0^1 v$ under the explained variance", "speed-up at equal reward", log="y")

    sizes = 2 ** np.arange(3, 11)
    areas = areas[::2]
    table = [[_speedup(int(n), float(area)) for area in areas] for n in sizes]
    right.set_yscale("log", base=2)
    levels = [0.5, 1, 2, 4, 8, 16, 32, 64]
    shades = right.contourf(areas, sizes, table, [0.0, *levels, 128], cmap="Greys", norm="symlog", alpha=0.6)
    lines = right.contour(areas, sizes, table, levels, colors=BLACK, linewidths=0.8)
    right.clabel(lines, levels[:-1], fmt="%g")  # the last lies in a corner
    shades.set_rasterized(True)
    finish(
        right, r"area $\int_0^1 v$", "rows $n$", r"speed-up, keep $\frac{1}{2}$, budget of two responses", legend=False
    )
    return figure


def survivor_laws(rows: Sequence[Row]) -> Figure:
    """Left: law of the survivors' scores, decision by decision. Right: mean best reward for few rows."""
    figure, (left, right) = panels(2)
    v = vector(SCHEDULES[0]["v"])
    process = processes.gaussian_process(v)
    counts = survivor_counts(int(SCHEDULES[0]["n"]), keep_of(SCHEDULES[0]["keep"]), v.size)
    names = [f"survivors of decision {j}" for j in range(1, v.size + 1)] + ["their final reward"]
    for look, name in enumerate(names):
        below = np.cumsum(rejection.survivor_law(process, counts, look + 1))
        shown = np.abs(process.nodes) <= 3.5
        line(left, look, process.nodes[shown], below[shown], name)
        points(left, look, select(rows, "B4", "survivors", decision=look + 1), "score")
    left.set_xlim(-0.5, 3.5)
    words = ", ".join(f"{x:g}" for x in v)
    finish(left, "score", "share at most", f"$n = {counts[0]}$, $v = ({words})$, half kept")

    sizes = np.unique(np.geomspace(2, 128, 25).astype(int))
    line(right, 0, sizes, lambda n: rejection.speculative_reward(n, v, KEEP), "exact law")
    closure = lambda n: rejection.speculative_reward(n, v, KEEP, closure=True)
    line(right, 1, sizes, closure, r"closure, $N\to\infty$")
    line(right, 7, sizes, order_statistics.expected_max, "Best-of-N")
    points(right, 0, select(rows, "B4", "process", process="linear"), "n", "simulated")
    few = [row for row in select(rows, "B3", "normal") if entry("n")(row) <= 128]
    points(right, 7, few, "n", "Best-of-N, simulated")
    right.set_xscale("log", base=2)
    finish(right, "rows $n$", "mean best reward", "the same schedule for few rows")
    return figure


def reward_against_compute(rows: Sequence[Row]) -> Figure:
    """Mean best reward against generated tokens, in responses: Best-of-N and Speculative Rejection."""
    figure, (ax,) = panels()
    line(ax, 0, np.geomspace(1.0, 1100.0, 60), order_statistics.expected_max, "Best-of-N")
    points(ax, 0, select(rows, "B3", "normal"), "n")
    sizes = [2**k for k in range(2, 11)]
    spent = [_responses(n) for n in sizes]
    for look, (area, name) in enumerate(((0.8, "early-revealing"), (0.3, "late-revealing")), start=1):
        line(ax, look, spent, [_reward(n, area) for n in sizes], f"keep half, {name}")
        points(ax, look, select(rows, "B6", "reward", area=area), lambda row: _responses(int(entry("n")(row))))
        rewards, responses = zip(*(_information(n, area) for n in sizes), strict=True)
        line(ax, look + 2, responses, rewards, f"keep $n^{{1-v}}$, {name}")
    finish(ax, "generated tokens, in responses", "mean best reward", log="x")
    return figure


def _responses(n: int) -> float:
    """Tokens of the schedule that keeps the budget full, in responses."""
    times = full_times(n, KEEP, LENGTH, BUDGET)
    return cost.speculative_tokens(n, times, KEEP, LENGTH) / LENGTH


# --- trained language models -----------------------------------------------------------------------------------------

METHODS = {"best_of_n": "Best-of-N", "speculative": "Speculative Rejection"}
ON_MODELS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9", "B10")


def reward_against(cost: str, label: str) -> Callable[[Axes, Sequence[Row]], None]:
    """Mean reward of both methods against one cost per returned response: predicted lines, rows as points."""

    def draw(ax: Axes, rows: Sequence[Row]) -> None:
        for look, (method, name) in enumerate(METHODS.items()):
            for model in MODELS:
                mine = {"method": method, "model": model}
                costs = {entry("n")(row): row.estimate for row in pooled(select(rows, "B10", cost, **mine))}
                place = lambda row, costs=costs: costs[entry("n")(row)]
                predicted = pooled(select(rows, "B10", "predicted_reward", **mine))
                if predicted:
                    costs_in_order, rewards = zip(*sorted((place(row), row.estimate) for row in predicted), strict=True)
                    line(ax, look, costs_in_order, rewards)
                    mark(ax, look, select(rows, "B10", "reward", **mine), place, name)
        finish(ax, label, "reward (sd)", f"by {cost}", log="x")

    return draw


def information(ax: Axes, rows: Sequence[Row]) -> None:
    """Explained variance of partial scores, decision by decision."""
    mark(ax, 0, select(rows, "B10", "explained_variance"), "decision", joined=True)
    ax.set_xticks([1, 2, 3])
    ax.set_ylim(0.0, 1.0)
    finish(ax, "decision", "$v(t)$", "variance explained")


def errors(ax: Axes, rows: Sequence[Row]) -> None:
    """Estimated minus predicted mean reward by N, from v(t) and from the joint law of the rows."""
    shown = (
        ("B3", "llm_reward", "Best-of-N"),
        ("B4", "llm_reward", "rejection, from $v(t)$"),
        ("B4", "llm_reward_law", "rejection, joint law"),
    )
    for look, (claim, check, name) in enumerate(shown):
        beside = lambda row, shift=1.0 + 0.16 * (look - 1): shift * entry("n")(row)
        mark(ax, look, select(rows, claim, check), beside, name)
    ax.axhline(0.0, color=BLACK, linewidth=0.8)
    ax.set_xscale("log", base=2)
    sizes = sorted({entry("n")(row) for row in select(rows, "B3", "llm_reward")})
    finish(ax, "$N$", "reward, less predicted (sd)", "errors of the prediction")
    ticks(ax.xaxis, *sizes[:: 1 + len(sizes) // 5])  # as many as have room


def best_of_n_on_models(rows: Sequence[Row]) -> Figure | None:
    """Reward against tokens, seconds and memory, what partial scores reveal, and the errors of predictions."""
    mine = of_models(rows, ON_MODELS)
    costs = {"tokens": "tokens generated", "seconds": "seconds", "peak": "cached tokens, at most"}
    draws = (*(reward_against(cost, label) for cost, label in costs.items()), information, errors)
    return in_a_row(mine, draws) if select(mine, "B10", "reward") else None


#: Rows of the checks with regularly varying rewards.
REGULAR_ROWS = 4000


def proxies_and_tails(rows: Sequence[Row]) -> Figure:
    """Soft Best-of-N by a proxy wrong at its top; whether free rejections keep the best (regular: N = 4000)."""
    figure, (left, right) = panels(2)
    sizes = np.unique(np.geomspace(1, 1024, 40).astype(int))
    for look, temperature in enumerate((0.05, 1.0)):
        line(left, look, sizes, lambda n, t=temperature: soft_truth(int(n), t), rf"theory, $T = {temperature:g}$")
        points(
            left, look, select(rows, "B12", "soft", temperature=temperature), "n", rf"simulated, $T = {temperature:g}$"
        )
    finish(left, "$N$", "true reward", "a proxy that is wrong at its top", log="x")
    shares = np.linspace(0.02, 0.98, 97)
    for look, v in enumerate((0.3, 0.55)):
        line(right, look, shares, lambda a, v=v: gamma_survival(v, a, 2.0), rf"Gamma, $v = {v:g}$")
        points(right, look, select(rows, "B11", "gamma", v=v), "a", "simulated" if look == 0 else None)
        at_4000 = lambda a, v=v: regular_survival(v, a, REGULAR_ROWS)  # far from its limit v where a is small
        line(right, look + 2, shares, at_4000, rf"regular, $v = {v:g}$")
        points(right, look + 2, select(rows, "B11", "regular", v=v, n=REGULAR_ROWS), "a")
    line(right, 4, [0.0, 0.3, 0.3, 1.0], [1.0, 1.0, 0.0, 0.0], "Gaussian, $v = 0.3$")
    finish(right, "$a$: kept are $N^{1-a}$ of $N$", "chance that the best survives", "free rejections")
    return figure


def turning(ax: Axes, rows: Sequence[Row]) -> None:
    """True reward against N on a table whose best proxy is bad: Best-of-N, and pessimism at two weights."""
    policy, proxy, truth = (np.array(PROXY_TABLE[name]) for name in ("policy", "proxy", "truth"))
    sizes = np.unique(np.geomspace(1, 4096, 40).astype(int))
    line(ax, 7, sizes, lambda n: float(best_of_n_law(policy, proxy, n) @ truth), "Best-of-$N$")
    few = [1, 2, 4, 8, 16, 32]
    for look, beta in enumerate((0.3, 1.0)):
        truths = [*(table_truth(n, beta) for n in few), limit_truth(beta)]
        line(ax, look, [*few, 4096], truths, rf"pessimism, $\beta = {beta:g}$")
        mine = [row for check in ("table", "limit") for row in select(rows, "B13", check, chi_beta=beta)]
        points(ax, look, mine, "n", "simulated" if look == 0 else None)
    finish(ax, "$N$", "true reward", "a table", log="x")


def equal_kl_on_a_table(ax: Axes, rows: Sequence[Row]) -> None:
    """True reward against KL on the same table, of Best-of-N, its soft form and pessimism."""
    policy, proxy, truth = (np.array(PROXY_TABLE[name]) for name in ("policy", "proxy", "truth"))
    kl = lambda law: float(rel_entr(law, policy).sum())
    soft = lambda temperature: soft_best_of_n_law(policy, proxy, 512, temperature)
    best = [best_of_n_law(policy, proxy, int(n)) for n in np.unique(np.geomspace(1, 512, 40).astype(int))]
    softened = [soft(float(temperature)) for temperature in np.geomspace(0.05, 10.0, 60)]
    shrunk = [pessimistic_policy(policy, proxy, float(beta)).policy for beta in np.geomspace(0.005, 20.0, 60)]
    named = ((7, "Best-of-$N$", best), (2, "soft, $N = 512$", softened), (0, "pessimism", shrunk))
    for look, name, laws in named:
        line(ax, look, [kl(law) for law in laws], [float(law @ truth) for law in laws], name)
    points(
        ax, 2, select(rows, "B12", "soft", n=512), lambda row: kl(soft(entry("temperature")(row))), "soft, simulated"
    )
    place = lambda row: pessimistic_policy(policy, proxy, entry("chi_beta")(row)).kl
    points(ax, 0, select(rows, "B13", "limit"), place, "pessimism, simulated")
    finish(ax, "KL (nats)", "true reward", "the same table")


def equal_kl_on_a_gaussian(ax: Axes, rows: Sequence[Row]) -> None:
    """The same where one response in a hundred fools a Gaussian proxy."""
    law = FaultyProxy(share=0.01, **FAULTY)
    best = [law.best_of_n(int(n)) for n in np.unique(np.geomspace(1, 512, 40).astype(int))]
    softened = [law.soft(float(temperature)) for temperature in np.geomspace(0.45, 10.0, 60)]
    shrunk = [law.pessimism(float(beta)) for beta in np.geomspace(0.006, 20.0, 60)]
    named = ((7, "Best-of-$N$", best), (2, r"soft, $N\to\infty$", softened), (0, "pessimism", shrunk))
    for look, name, found in named:
        line(ax, look, [reached.kl for reached in found], [reached.truth for reached in found], name)
    points(
        ax,
        7,
        select(rows, "B13", "turns"),
        lambda row: law.best_of_n(int(entry("n")(row))).kl,
        "Best-of-$N$, simulated",
    )
    place = lambda row: law.pessimism(entry("chi_beta")(row)).kl
    points(ax, 0, select(rows, "B13", "faulty", share=0.01), place, "pessimism, simulated")
    finish(ax, "KL (nats)", "true reward", "a Gaussian proxy, 1 % fooled")


def regret_on_rare_tables(ax: Axes, rows: Sequence[Row]) -> None:
    """Regret where a bad response looks best: Best-of-N, pessimism at the best weight, and its bound."""
    shares, chi_square = np.geomspace(3e-5, 0.03, 30), 1.0 / GOOD - 1.0

    def regret(rare: float) -> float:
        policy, proxy, truth = rare_table(rare)
        return float(truth.max() - pessimistic_policy(policy, proxy, rare_regret(rare) / chi_square).policy @ truth)

    line(ax, 7, shares, lambda rare: 1.0 - rare_best_of_n(rare, 2.0), "Best-of-$N$")
    points(ax, 7, scaled(select(rows, "B13", "falls", draws=2), -1.0, 1.0), "rare", "Best-of-$N$, simulated")
    line(ax, 1, shares, rare_regret, r"bound $\varepsilon\sqrt{\chi^2}$")
    line(ax, 0, shares, regret, "pessimism")
    points(ax, 0, select(rows, "B13", "holds"), "rare", "pessimism, simulated")
    finish(ax, "probability of the bad response", "regret", "$N = 2$ over that probability", log="xy")


def pessimism_at_inference(rows: Sequence[Row]) -> Figure:
    """Best-of-N, which turns as N grows, and pessimism, which does not; both at equal KL; the bound on the regret."""
    draws = (turning, equal_kl_on_a_table, equal_kl_on_a_gaussian, regret_on_rare_tables)
    figure, axes = panels(len(draws))
    for ax, draw in zip(axes, draws, strict=True):
        draw(ax, rows)
    return figure


#: name of the file → what draws it, and the claims it shows
FIGURES = {
    "best_of_n_phases": Drawing(speedup_phases, ("B6",)),
    "best_of_n_survivors": Drawing(survivor_laws, ("B3", "B4")),
    "best_of_n_compute": Drawing(reward_against_compute, ("B3", "B6")),
    "best_of_n_proxies": Drawing(proxies_and_tails, ("B11", "B12")),
    "best_of_n_pessimism": Drawing(pessimism_at_inference, ("B12", "B13")),
    "language_model_best_of_n": Drawing(best_of_n_on_models, ON_MODELS),
}
