"""Figures of Best-of-N and Speculative Rejection on a trained language model: B1–B10, from rows.

The rewards are those of a trained reward model, in standard deviations above the mean of the model's own texts. Lines
join predictions that were made from the measured reward law and v(t); points are what the engine returned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.model_points import entry, mark, of_models, pooled
from figures.style import LOOKS, PAGE, Drawing, finish, panels, select
from llm_validation.recorded import MODELS
from simulate.rows.store import Row
from theory.claim import parse_setting

METHODS = {"best_of_n": "Best-of-N", "speculative": "Speculative Rejection"}


def _cost(rows: Sequence[Row], method: str, cost: str, model: str) -> dict[int, float]:
    """Mean cost of a group of N rows, by N."""
    found = pooled(select(rows, "B10", cost, method=method, model=model))
    return {int(parse_setting(row.setting)["n"]): row.estimate for row in found}


def _by(costs: dict[int, float]) -> Callable[[Row], float]:
    """Place a row at the cost of its N."""
    return lambda row: costs[int(parse_setting(row.setting)["n"])]


def _beside(shift: float) -> Callable[[Row], float]:
    """Place a row at its N, a little to the side on a log scale."""
    return lambda row: shift * float(parse_setting(row.setting)["n"])


def reward_against(ax: Axes, rows: Sequence[Row], cost: str, label: str) -> None:
    """Mean reward of both methods against one cost per returned response: predicted lines, measured points."""
    for look, (method, name) in enumerate(METHODS.items()):
        for model in MODELS:
            place = _by(_cost(rows, method, cost, model))
            predicted = pooled(select(rows, "B10", "predicted_reward", method=method, model=model))
            points = sorted((place(row), row.estimate) for row in predicted)
            if points:
                colour, dash, _ = LOOKS[look]
                ax.plot(*zip(*points, strict=True), color=colour, linestyle=dash, zorder=2)
                mark(ax, look, select(rows, "B10", "reward", method=method, model=model), place, name)
    ax.set_xscale("log")
    finish(ax, label, "reward (standard deviations)", legend=1)


def information(ax: Axes, rows: Sequence[Row]) -> None:
    """Explained variance of partial scores, decision by decision."""
    mark(ax, 0, select(rows, "B10", "explained_variance"), entry("decision"), "$v(t)$", joined=True)
    ax.set_xticks([1, 2, 3])
    ax.set_ylim(0.0, 1.0)
    finish(ax, "decision", "explained share of the variance", legend=1)


def errors(ax: Axes, rows: Sequence[Row]) -> None:
    """Measured minus predicted mean reward by N, from v(t) and from the measured joint law."""
    shown = (
        ("B3", "llm_reward", "Best-of-N"),
        ("B4", "llm_reward", "rejection, from $v(t)$"),
        ("B4", "llm_reward_law", "rejection, joint law"),
    )
    for look, (claim, check, name) in enumerate(shown):
        mark(ax, look, select(rows, claim, check), _beside(1.0 + 0.08 * (look - 1)), name)
    ax.axhline(0.0, color="#000000", linewidth=0.8)
    ax.set_xscale("log", base=2)
    finish(ax, "N", "reward, measured − predicted (sd)", legend=1)


def best_of_n_on_models(rows: Sequence[Row]) -> Figure | None:
    """Reward against tokens, seconds and memory, what partial scores reveal, and the errors of predictions."""
    mine = of_models(rows, [f"B{i}" for i in range(1, 11)])
    if not select(mine, "B10", "reward"):
        return None
    figure, (tokens, seconds, peak, shares, error) = panels(5, PAGE * 1.6, 3.0)
    reward_against(tokens, mine, "tokens", "tokens generated")
    reward_against(seconds, mine, "seconds", "seconds")
    reward_against(peak, mine, "peak", "cached tokens at most")
    information(shares, mine)
    errors(error, mine)
    return figure


FIGURES = {"language_model_best_of_n": Drawing(best_of_n_on_models, tuple(f"B{i}" for i in range(1, 11)))}
