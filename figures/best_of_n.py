"""Figures of claims B3–B6. Each function takes result rows and returns a figure; curves come from theory/."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.style import LOOKS, PAGE, Drawing, finish, line, panels, points, select
from simulate.rows.store import Row
from theory.best_of_n import cost, order_statistics, processes, rejection
from theory.best_of_n import schedule as speculative_schedule
from theory.best_of_n.evolution import survivor_counts
from theory.best_of_n.rejection_claims import (
    FULL,
    SCHEDULES,
    full_times,
    keep_of,
    profile_reward,
    profile_speedup,
    vector,
)
from theory.claim import parse_setting

KEEP, LENGTH, BUDGET = float(FULL["keep"]), int(FULL["length"]), int(FULL["budget"])


def _measured(ax: Axes, look: int, x: Sequence[float], rows: Sequence[Row], label: str | None = None) -> None:
    """Rows at abscissas that their settings imply but do not state."""
    if not rows:
        return
    colour, _, marker = LOOKS[look % len(LOOKS)]
    errors = [[row.estimate - row.low for row in rows], [row.high - row.estimate for row in rows]]
    ax.errorbar(
        x, [row.estimate for row in rows], yerr=errors, color=colour, marker=marker, linestyle="none", label=label,
        capsize=2, elinewidth=0.8, zorder=3,
    )  # fmt: skip


def _information(n: int, area: float) -> tuple[float, float]:
    """n^{1−v} rows at the times at which keeping a half would fill the budget: mean reward, and responses spent."""
    times = full_times(n, KEEP, LENGTH, BUDGET)
    v = cost.power_profile(times / LENGTH, area)
    counts = speculative_schedule.information_schedule(n, v)
    reward = rejection.expected_reward(processes.gaussian_process(v), counts)
    return reward, cost.schedule_cost(counts, times, LENGTH).generated / LENGTH


def _information_speedup(n: int, area: float) -> float:
    reward, responses = _information(n, area)
    return order_statistics.equivalent_n(reward) / responses


def speedup_phases(rows: Sequence[Row]) -> Figure:
    """Speed-up against what a partial response reveals: two schedules, and the phase diagram of keeping a half."""
    figure, (left, right) = panels(2, PAGE, 3.9)
    areas = np.linspace(0.15, 0.95, 13)
    for look, n in enumerate((64, 256, 1024)):
        fixed = [profile_speedup(n, float(area), KEEP, LENGTH, BUDGET) for area in areas]
        line(left, look, areas, fixed, rf"keep $\frac{{1}}{{2}}$, $n = {n}$")
        points(left, look, select(rows, "B6", "speedup", n=n), "area")
    colour, _, marker = LOOKS[2]
    for row in select(rows, "B6", "area"):  # the inverse question: measured along the abscissa
        reach = [[row.estimate - row.low], [row.high - row.estimate]]
        target = float(parse_setting(row.setting)["target"])
        left.errorbar(row.estimate, target, xerr=reach, color=colour, marker=marker, capsize=2, elinewidth=0.8)
    line(left, 5, areas, [_information_speedup(256, float(area)) for area in areas], "keep $n^{1-v}$, $n = 256$")
    left.axhline(1.0, color="#7F7F7F", linewidth=0.8)
    left.set_yscale("log")
    finish(left, r"area $\int_0^1 v$ under the explained variance", "speed-up at equal reward", legend=2)

    sizes = 2 ** np.arange(3, 11)
    areas = areas[::2]
    table = [[profile_speedup(int(n), float(area), KEEP, LENGTH, BUDGET) for area in areas] for n in sizes]
    levels = [0.5, 1, 2, 4, 8, 16, 32, 64]
    shades = right.contourf(areas, sizes, table, [0.0, *levels, 128], cmap="Greys", norm="symlog", alpha=0.6)
    lines = right.contour(areas, sizes, table, levels, colors="#000000", linewidths=0.8)
    right.clabel(lines, fmt="%g")
    shades.set_rasterized(True)
    right.set_yscale("log", base=2)
    finish(right, r"area $\int_0^1 v$", "rows $n$", r"speed-up, keep $\frac{1}{2}$, budget of two responses", legend=0)
    return figure


def survivor_laws(rows: Sequence[Row]) -> Figure:
    """Left: law of the survivors' scores, decision by decision. Right: mean best reward for few rows."""
    figure, (left, right) = panels(2, PAGE, 3.6)
    schedule = SCHEDULES[0]
    v = vector(schedule["v"])
    process = processes.gaussian_process(v)
    counts = survivor_counts(int(schedule["n"]), keep_of(schedule["keep"]), v.size)
    names = [f"survivors of decision {j}" for j in range(1, v.size + 1)] + ["their final reward"]
    for look, name in enumerate(names):
        below = np.cumsum(rejection.survivor_law(process, counts, look + 1))
        shown = np.abs(process.nodes) <= 3.5
        line(left, look, process.nodes[shown], below[shown], name)
        points(left, look, select(rows, "B4", "survivors", decision=look + 1), "score")
    left.set_xlim(-0.5, 3.5)
    words = ", ".join(f"{x:g}" for x in v)
    finish(left, "score", "share at most", f"$n = {counts[0]}$, $v = ({words})$, half kept", legend=2)

    sizes = np.unique(np.geomspace(2, 128, 25).astype(int))
    line(right, 0, sizes, [rejection.speculative_reward(int(n), v, KEEP) for n in sizes], "exact law")
    line(right, 1, sizes, [rejection.speculative_reward(int(n), v, KEEP, closure=True) for n in sizes],
         r"closure, $N\to\infty$")  # fmt: skip
    line(right, 7, sizes, [order_statistics.expected_max(int(n)) for n in sizes], "Best-of-N")
    points(right, 0, select(rows, "B4", "process", process="linear"), "n", "simulated")
    points(right, 7, [row for row in select(rows, "B3", "normal") if int(parse_setting(row.setting)["n"]) <= 128], "n",
           "Best-of-N, simulated")  # fmt: skip
    right.set_xscale("log", base=2)
    finish(right, "rows $n$", "mean best reward", "the same schedule for few rows", legend=2)
    return figure


def reward_against_compute(rows: Sequence[Row]) -> Figure:
    """Mean best reward against generated tokens, in responses: Best-of-N and Speculative Rejection."""
    figure, (ax,) = panels(height=3.4)
    spent = np.geomspace(1.0, 1100.0, 60)
    line(ax, 0, spent, [order_statistics.expected_max(float(n)) for n in spent], "Best-of-N")
    points(ax, 0, select(rows, "B3", "normal"), "n")
    sizes = 2 ** np.arange(2, 11)
    for look, (area, name) in enumerate(((0.8, "early-revealing"), (0.3, "late-revealing")), start=1):
        line(ax, look, [_responses(int(n)) for n in sizes],
             [profile_reward(int(n), area, KEEP, LENGTH, BUDGET) for n in sizes], f"keep half, {name}")  # fmt: skip
        measured = sorted(select(rows, "B6", "reward", area=area), key=lambda row: row.setting)
        _measured(ax, look, [_responses(int(parse_setting(row.setting)["n"])) for row in measured], measured)
    for look, (area, name) in enumerate(((0.8, "early-revealing"), (0.3, "late-revealing")), start=3):
        found = [_information(int(n), area) for n in sizes]
        line(ax, look, [spent for _, spent in found], [reward for reward, _ in found], f"keep $n^{{1-v}}$, {name}")
    ax.set_xscale("log")
    finish(ax, "generated tokens, in responses", "mean best reward", legend=2)
    return figure


def _responses(n: int) -> float:
    """Tokens of the schedule that keeps the budget full, in responses."""
    times = full_times(n, KEEP, LENGTH, BUDGET)
    return cost.speculative_tokens(n, times, KEEP, LENGTH) / LENGTH


#: name of the file → what draws it, and the claims it shows
FIGURES: dict[str, Drawing] = {
    "best_of_n_phases": Drawing(speedup_phases, ("B6",)),
    "best_of_n_survivors": Drawing(survivor_laws, ("B3", "B4")),
    "best_of_n_compute": Drawing(reward_against_compute, ("B3", "B6")),
}
