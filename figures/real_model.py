"""Figures of a model that others trained: where DPO moves each response, and how early its texts show their reward."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.model_points import along, mark, of_models
from figures.style import BLACK, GREY, Drawing, categories, dots, entry, finish, line, panels, select, text, ticks
from llm_validation.claims.real_settings import DISPLACED, REWARDS
from simulate.rows.store import Row

MODEL = "smollm2"
#: Of a response in DPO's pairs, and how it is drawn.
ROLES = {"chosen": 1, "rejected": 2, "unlabelled": 0}
#: Tokens of a whole text, and the speed-ups that the paper on Speculative Rejection reports.
LENGTH, REPORTED = 64, (16.0, 32.0)
#: What scores a text: the utility itself, or a head that was trained on comparisons by it.
SCORERS = {"truth": "utility", "proxy": "trained head"}


def _responses(ax: Axes, rows: Sequence[Row], kind: str) -> None:
    """log π/π_ref of every response, prompt by prompt, all seeds, by what the pairs say of it."""
    mine = select(rows, "P5", "real_response", pairs=kind, model=MODEL)
    for role, look in ROLES.items():
        # the roles of a prompt above one another: what coincided is told apart
        beside = lambda row, shift=0.22 * (look - 1): 1.0 + entry("prompt")(row) + shift
        places = [(row.estimate, beside(row)) for row in mine if row.witness == role]
        dots(ax, look, places, role, markersize=3.0, markerfacecolor="none", markeredgewidth=0.7)
    ax.axvline(0.0, color=BLACK, linewidth=0.8)
    ax.invert_yaxis()
    prompts = sorted({int(entry("prompt")(row)) for row in mine})
    finish(ax, r"$\log\,\pi/\pi_{\mathrm{ref}}$ (nats)", "prompt", kind)
    ax.set_yticks([1 + p for p in prompts])


def _path(ax: Axes, rows: Sequence[Row]) -> None:
    """Means of the roles along training on one pair a prompt."""
    for role, look in ROLES.items():
        mine = select(rows, "P5", "real_path", pairs=DISPLACED[0], response=role, model=MODEL)
        mark(ax, look, mine, "step", role, joined=True, size=3.0)
    ax.axhline(0.0, color=GREY, linewidth=0.6)
    finish(ax, "step", r"mean $\log\,\pi/\pi_{\mathrm{ref}}$ (nats)", f"{DISPLACED[0]}, along training")


def displacement(rows: Sequence[Row]) -> Figure | None:
    """Where DPO moves the responses of a model that others trained, one by one; None without rows."""
    if not select(of_models(rows, ("P5",)), "P5", "real_response", model=MODEL):
        return None
    figure, axes = panels(len(DISPLACED) + 1)
    for ax, kind in zip(axes, DISPLACED, strict=False):
        _responses(ax, rows, kind)
    _path(axes[-1], rows)
    return figure


def _revealed(ax: Axes, rows: Sequence[Row], reward: str) -> None:
    """v(t) by the number of tokens, a line for each utility."""
    line(ax, 7, [0, LENGTH], [0.0, 1.0], "$t/T$")
    for look, utility in enumerate(REWARDS):
        mine = select(rows, "B6", "real_explained", utility=utility, reward=reward, model=MODEL)
        mark(ax, look, mine, "tokens", utility, joined=True, size=3.5)
    ax.set_ylim(-0.03, 1.0)
    finish(ax, "$t$, tokens", "variance explained $v(t)$", f"scored by the {SCORERS[reward]}")
    ax.set_xticks([0, 16, 32, 48, 64])


def _largest(ax: Axes, rows: Sequence[Row]) -> None:
    """The largest speed-up that v(t) allows, and what the paper reports on other models."""
    for look, (reward, name) in enumerate(SCORERS.items()):
        mine = select(rows, "B6", "real_largest_speedup", reward=reward, model=MODEL)
        beside = along("utility", REWARDS, 0.12 - 0.24 * look)
        mark(ax, 1 + look, [row for row in mine if text(row, "utility") in REWARDS], beside, name, across=True)
    ax.axvspan(*REPORTED, color=GREY, alpha=0.3, linewidth=0.0, label="reported elsewhere")
    ax.axvline(1.0, color=BLACK, linewidth=0.8)
    categories(ax, REWARDS)
    finish(ax, "largest speed-up that $v(t)$ allows", "", "at equal reward", log="x")
    ax.set_xlim(0.8, 40.0)
    ticks(ax.xaxis, 1, 2, 4, 8, 16, 32)


def information(rows: Sequence[Row]) -> Figure | None:
    """How early texts of a model that others trained show their reward, and the speed-up this allows; None without
    rows."""
    if not select(of_models(rows, ("B6",)), "B6", "real_explained", model=MODEL):
        return None
    figure, (left, middle, right) = panels(3)
    _revealed(left, rows, "truth")
    _revealed(middle, rows, "proxy")
    _largest(right, rows)
    return figure


#: name of the file → what draws it, and the claims it shows
FIGURES = {
    "language_model_displacement": Drawing(displacement, ("P5",)),
    "language_model_information": Drawing(information, ("B6",)),
}
