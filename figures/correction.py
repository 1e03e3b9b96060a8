"""Figures of the correction claims. Each function takes result rows and returns a figure; curves come from theory/."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.style import LOOKS, PAGE, Drawing, finish, line, panels, points, select
from simulate.rows.store import Row
from theory.claim import parse_setting
from theory.correction import bootstrap, composition, predictions, repetition
from theory.correction import users as correction_users
from theory.correction.examples import (
    CORRECTOR,
    IDENTITY_LAWS,
    N_EDITS,
    PAIRS,
    ROUNDS,
    UPSTREAM,
    UTILITIES,
    WARM_UP,
    edit_floors,
)

#: Correctors whose rounds are drawn; for "aligner" the utility crosses its limit, which a logarithm hides.
SHOWN = ("copying", "resample", "overcorrect", "line")


def rounds(rows: Sequence[Row]) -> Figure:
    """Utility after k rounds, and its distance from the limit: straight lines of slope log|λ₂|."""
    figure, (left, right) = panels(2, PAGE, 3.2)
    k = np.arange(17)
    for look, name in enumerate(SHOWN):
        r = ROUNDS[name]
        limit = float(repetition.limit_law(r.kernel, r.policy) @ r.utilities)
        predicted = repetition.rounds(r.policy, r.kernel, r.utilities, int(k[-1]))
        rate = repetition.convergence_rate(r.kernel)
        found = select(rows, "A4", "utility", corrector=name)
        line(left, look, k, predicted, name)
        points(left, look, found, "k")
        line(right, look, k, np.abs(predicted - limit), rf"{name}, $|\lambda_2| = {rate:.3g}$")
        _bare_points(right, look, [(_of(row, "k"), abs(row.estimate - limit)) for row in found])
    finish(left, "rounds of correction $k$", r"utility $u(\pi K^k)$", legend=4)
    right.set_yscale("log")
    right.set_ylim(1e-5, 2.0)
    finish(right, "rounds of correction $k$", "distance from the limit", legend=2)
    return figure


def _of(row: Row, name: str) -> float:
    return float(parse_setting(row.setting)[name])


def _bare_points(ax: Axes, look: int, places: Sequence[tuple[float, float]]) -> None:
    """Measured points in a transformed unit, without intervals (which are smaller than the marker)."""
    if places:
        colour, _, marker = LOOKS[look]
        ax.plot(*zip(*places, strict=True), color=colour, marker=marker, linestyle="none", zorder=3)


def floors(rows: Sequence[Row]) -> Figure:
    """What SFT and the Aligner can reach on the same corrections, against the edit rate."""
    figure, (ax,) = panels(height=3.2)
    rates = np.linspace(0.001, 0.75, 150)
    found = [edit_floors(float(rate)) for rate in rates]
    for look, (kind, check, label) in enumerate(
        [("sft", "sft", "SFT, $H(C|X)$"), ("aligner", "aligner", "Aligner, $H(C|X,O)$"),
         ("gain", "difference", "difference, $I(C;O|X)$")]
    ):  # fmt: skip
        line(ax, look, rates, [getattr(f, kind) for f in found], label)
        points(ax, look, select(rows, "A1", check), "edit_rate")
    finish(ax, "share of tokens that a correction edits", "loss floor (nats)", legend=1)
    return figure


def gains(rows: Sequence[Row]) -> Figure:
    """Predicted against measured gain on upstream policies, and the gain against how good they are already."""
    figure, (left, right) = panels(2, PAGE, 3.2)
    predicted = {name: composition.gain(policy, CORRECTOR, UTILITIES) for name, policy in UPSTREAM.items()}
    ends = [min(predicted.values()), max(predicted.values())]
    line(left, 7, ends, ends)
    for look, (name, policy) in enumerate(UPSTREAM.items()):
        measured = [row.estimate for row in select(rows, "A3", "gain", upstream=name)]
        _bare_points(left, look, [(predicted[name], value) for value in measured])
        _bare_points(right, look, [(float(policy @ UTILITIES), value) for value in measured])
        right.annotate(name, (float(policy @ UTILITIES), predicted[name]), (4, 4), textcoords="offset points")
    for ax in (left, right):
        ax.axhline(0.0, color="#7F7F7F", linewidth=0.6)
    finish(left, "predicted gain", "measured gain", "one corrector, six upstream policies", legend=0)
    finish(right, r"utility of the upstream policy $u(\pi)$", "measured gain", "better ones gain less", legend=0)
    return figure


def copying(rows: Sequence[Row]) -> Figure:
    """Unchanged answers against the share of identity pairs, and how a warm-up is forgotten."""
    figure, (left, right) = panels(2, PAGE, 3.2)
    shares = np.linspace(0.0, 0.95, 60)
    look = 0
    for laws in IDENTITY_LAWS:
        for upstream in ("weak", "expert"):
            curve = [predictions.unchanged(float(q), laws, upstream) for q in shares]
            line(left, look, shares, curve, f"{upstream} upstream, {laws} laws")
            points(left, look, select(rows, "A5", "unchanged", laws=laws, upstream=upstream), "share")
            look += 1
    finish(left, "share of identity pairs $q$", "unchanged answers", "joint training", legend=2)
    times = np.geomspace(0.3, 300.0, 120)
    for look, copy in enumerate((0.3, 0.0)):
        left_over = composition.copying_left(copy, N_EDITS, WARM_UP, times)
        line(right, look, times, left_over, f"$K(o|o) = {copy:g}$")
        points(right, look, [r for r in select(rows, "A5", "forgotten", copy=copy) if _of(r, "time") > 0], "time")
    right.set_xscale("log")
    finish(right, "time on corrections alone", "probability of copying", "after a warm-up on identity pairs", legend=2)
    return figure


def bootstrapping(rows: Sequence[Row]) -> Figure:
    """Where DPO ends on the pairs of a reversible corrector, against its weight; one round and all rounds beside it."""
    figure, (ax,) = panels(height=3.2)
    p = PAIRS["reversible"]
    ends = {
        r"upstream $\pi$": p.policy,
        r"SFT, DDRO: $\pi K$": p.policy @ p.kernel,
        r"all rounds: $\nu$": repetition.limit_law(p.kernel),
    }
    weights = np.linspace(0.3, 3.0, 100)
    dpo = [bootstrap.dpo_limit(p.policy, p.kernel, float(beta))[0] for beta in weights]
    for look, (label, law) in enumerate(ends.items(), start=1):
        line(ax, look, weights[[0, -1]], [law[0], law[0]], label)
    line(ax, 0, weights, dpo, r"DPO: $\pi^{1-1/\beta}\nu^{1/\beta}$")
    points(ax, 0, select(rows, "A6", "dpo", pairs="reversible", answer=0), "kl_beta", "DPO, trained")
    finish(ax, r"DPO's weight $\beta$", "probability of the first answer", legend=2)
    return figure


def users(rows: Sequence[Row]) -> Figure:
    """Distortion by who corrects, with its suprema; and small edits against favourites on a line."""
    figure, (left, right) = panels(2, PAGE, 3.4)
    shares = np.linspace(0.015, 0.95, 200)
    uniform = np.full(4, 0.25)
    for look, habit in enumerate(("favourite", "step")):
        curve = [predictions.who_corrects(habit, float(c)) for c in shares]
        minority = shares[shares <= 0.5]
        worst = [correction_users.worst_distortion(habit, uniform, [c, 1 - c]) for c in minority]  # type: ignore[arg-type]
        line(left, look, shares, curve, habit)
        line(left, look + 2, minority, worst, f"{habit}, supremum")
        points(left, look, select(rows, "A7", "who", habit=habit), "minority")
    left.set_yscale("log")
    finish(left, "share of the corrections that the minority makes", "distortion", "a minority with much at stake",
           legend=2)  # fmt: skip
    found = select(rows, "A7", "edits")
    n_answers = int(_of(found[0], "n_answers")) if found else 9
    k = np.arange(41)
    line(right, 0, k, [predictions.edits_after(n_answers, int(j)) for j in k], "edits, one place at a time")
    points(right, 0, found, "k")
    settled = predictions.edits_settle("uniform", n_answers)
    favourites = predictions.favourites_on_a_line(n_answers)
    line(right, 1, k[[0, -1]], [settled, settled], "edits, in the end")
    line(right, 2, k[[0, -1]], [favourites, favourites], "favourites, any number of rounds")
    finish(right, "rounds of correction $k$", "distortion", "favourites evenly on a line", legend=1)
    return figure


#: name of the file → what draws it, and the claims it shows
FIGURES: dict[str, Drawing] = {
    "correction_rounds": Drawing(rounds, ("A4",)),
    "correction_floors": Drawing(floors, ("A1",)),
    "correction_gains": Drawing(gains, ("A3",)),
    "correction_copying": Drawing(copying, ("A5",)),
    "correction_bootstrapping": Drawing(bootstrapping, ("A6",)),
    "correction_users": Drawing(users, ("A7",)),
}
