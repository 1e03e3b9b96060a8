"""What to do, with reasons: by what was measured where it can be told from noise, by claims where it cannot.

Of the methods tried, those stay that cannot be told from the most accurate one; of those, in turn, the ones whose loss
has an optimum on the data, under which held-out chosen responses did not fall, that stay nearest to the reference. A
step that would leave none, or rest on noise, is left out.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scipy.stats import norm

from llm_validation.advise.accuracy import Accuracy, difference
from llm_validation.advise.findings import Finding, share_line
from llm_validation.advise.optima import Optimum
from llm_validation.advise.pilot import Pilot, PilotRun, named
from llm_validation.preferences.report import CHANCE
from llm_validation.preferences.trace import Mean


@dataclass(frozen=True)
class Advice:
    """The method recommended, None for none, with reasons and the command to paste ("" for none)."""

    best: PilotRun | None
    reasons: tuple[Finding, ...]
    command: str


def recommend(
    pilot: Pilot, known: Sequence[Optimum], model: str, data: str, context: int | None = None
) -> Advice:  # fmt: skip
    """From a pilot and what is known of the losses' optima; model, data and context are those of the command."""
    paired = pilot.held.paired
    count, other = len(pilot.held.chosen), len(pilot.held.rejected)
    what = f"{count} held-out pairs" if paired else f"{count} chosen and {other} rejected held-out examples"
    if not pilot.tried:
        return Advice(
            None,
            (Finding("reason", "no method was tried in the time, so nothing is recommended; methods tried", 0),),
            "",
        )
    right = {run: pilot.right(run) for run in pilot.tried}
    best = max(pilot.tried, key=lambda run: right[run].mean.value)
    top = right[best]
    if not (top.mean.value > 0.5 and top.by_chance * len(pilot.tried) < CHANCE):
        runs = f"{len(pilot.tried)} run{'s' * (len(pilot.tried) > 1)}"
        said = (
            f"no method tells chosen from rejected on {what} better than chance would let the best of {runs} do: "
            "nothing is recommended. More pairs, more steps or a higher rate may tell; accuracy of "
        ) + _names([best])
        return Advice(None, (share_line("accuracy", said, top),), "")
    stay = [run for run in pilot.tried if difference(top, right[run])[1] >= CHANCE]
    out = [run for run in pilot.tried if run not in stay]
    reasons = [_level(best, stay, out, top, what)]
    exists = {optimum.method: optimum for optimum in known}
    optimum, levels = "their loss has an optimum on these data", "their optimum says where absolute likelihoods end"
    steps: list[tuple[Callable[[PilotRun], bool], Callable[[list[PilotRun]], Finding]]] = [
        (lambda run: run.method in exists and exists[run.method].exists,
         lambda runs: _by_theory(optimum, runs, exists)),
        (lambda run: not pilot.fell(run), lambda runs: _kept(runs, pilot.moved(runs[0])[0])),
        (lambda run: run.method in exists and exists[run.method].levels,
         lambda runs: _by_theory(levels, runs, exists, "P12")),
    ]  # fmt: skip
    for keeps, says in steps:
        if 0 < len(kept := [run for run in stay if keeps(run)]) < len(stay):
            stay = kept
            reasons.append(says(stay))
    if nearer := _nearest(stay):
        stay = nearer
        kl = Mean.of(stay[0].kl)
        reasons.append(Finding("reason", f"nearest to the reference: {_names(stay)}; KL of the first, nats a text",
                               kl.value, kl.stderr, "P8"))  # fmt: skip
    chosen = stay[0]
    if len(stay) > 1:
        gap = difference(right[chosen], right[stay[1]])[0]
        said = f"{_names(stay)} cannot be told apart on {what}: the command is for the first, any of them would do; "
        reasons.append(Finding("reason", said + "accuracy of the first less that of the second", gap.value, gap.stderr))
    return Advice(chosen, tuple(reasons), command(pilot, chosen, model, data, context))


def command(pilot: Pilot, run: PilotRun, model: str, data: str, context: int | None = None) -> str:
    """The command that trains on everything as the pilot did on a part, and holds out the same prompts.

    context  longest text in tokens, where it was given
    """
    plan = pilot.plan
    words = ["--method", run.method, "--model", model, "--data", data, "--out", f"aligned-{run.method}",
             "--rate", f"{run.rate:g}", "--batch", str(pilot.batch), "--epochs", str(plan.epochs),
             "--train", plan.part, "--held-out", str(plan.held), "--seed", str(plan.seed)]  # fmt: skip
    if context is not None:
        words += ["--context", str(context)]
    if run.method == "rlhf":
        words.append("--listed")
    if pilot.batch > plan.batch:
        words += ["--portion", str(plan.batch)]
    return "python -m llm_validation align " + " ".join(map(shlex.quote, words))


def _level(best: PilotRun, stay: list[PilotRun], out: list[PilotRun], accuracy: Accuracy, what: str) -> Finding:
    said = f"most accurate: {_names([best])}"
    others = [run for run in stay if run is not best]
    if others:
        said += f"; {_names(others)} cannot be told apart from it on {what}"
    if out:
        said += f"; {_names(out)} are less accurate on the same examples"
    return share_line("accuracy", said, accuracy)


def _by_theory(what: str, stay: list[PilotRun], exists: dict[str, Optimum], claim: str | None = None) -> Finding:
    entry = exists[stay[0].method]
    return Finding("reason", f"{what}: {_names(stay)} ({entry.why})", None, claim=claim or entry.claim)


def _kept(stay: list[PilotRun], moved: Mean) -> Finding:
    said = f"held-out chosen did not fall under {_names(stay)}; nats a text under the first"
    return Finding("reason", said, moved.value, moved.stderr, "P5")


def _nearest(stay: list[PilotRun]) -> list[PilotRun]:
    """Runs that cannot be told from the one of least KL; [] where that leaves all."""
    least = min(stay, key=lambda run: Mean.of(run.kl).value)
    near = [run for run in stay if run is least or not _farther(run, least)]
    return near if len(near) < len(stay) else []


def _farther(run: PilotRun, least: PilotRun) -> bool:
    one, other = Mean.of(run.kl), Mean.of(least.kl)
    error = math.hypot(one.stderr, other.stderr)
    return bool(error > 0 and norm.sf((one.value - other.value) / error) < CHANCE / 2)


def _names(runs: Sequence[PilotRun]) -> str:
    return named([(run.method, run.rate) for run in runs])
