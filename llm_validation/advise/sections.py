"""The sections of the report that come of a model: the reference, what moved, divergences, cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from llm_validation.advise.accuracy import CHANCE, Groups, Right, difference
from llm_validation.advise.divergence import bounds, read_across
from llm_validation.advise.findings import Finding
from llm_validation.advise.optima import Optimum
from llm_validation.advise.pilot import Pilot, Tried
from llm_validation.advise.recommend import Advice
from llm_validation.advise.report import Grid
from llm_validation.preferences.data import Example
from llm_validation.preferences.report import SURE
from llm_validation.preferences.trace import Mean
from theory.best_of_n.law import win_rate
from theory.validate import Array

#: A reference is far from the data where its own answers are more likely, a token, than so large a share of chosen.
FAR = 0.9


def table_of_optima(known: Sequence[Optimum]) -> Grid:
    """Method × (exists, unique, absolute levels determined)."""
    columns = ("method", "an optimum exists", "unique", "absolute levels determined", "why", "claim")
    word = {True: "yes", False: "no"}
    rows = ((o.method, word[o.exists], word[o.unique], word[o.levels], o.why, o.claim) for o in known)
    return Grid(columns, tuple(rows))


def reference_lines(
    sides: Sequence[tuple[str, Sequence[Example], Array]], paired: bool, groups: Groups = None
) -> list[Finding]:
    """Where the reference stands: log π_ref (nats) of chosen, rejected and, where they were written, own answers.

    sides  (name, examples, log π_ref) of chosen, of rejected, and of own answers;  groups  of the former two, by prompt
    """
    found, rates = [], {}
    for (name, examples, logs), own in zip(sides, (*(groups or (None, None)), None), strict=False):
        rates[name] = logs / np.array([len(e.completion) for e in examples])
        for what, key, values in (("a text", name, logs), ("a token", f"{name}_token", rates[name])):
            mean = Mean.of(values, own)
            text = f"log-probability of {name} completions under the model, nats {what}, mean of {mean.n}"
            found.append(Finding(f"reference_{key}", text, mean.value, mean.stderr))
    chosen, rejected = rates["chosen"], rates["rejected"]
    gap = Mean.of(rejected - chosen, groups and groups[0]) if paired else Mean.sum(-chosen, rejected, groups)
    said = "log-probability a token, rejected less chosen: "
    if abs(gap.value) > SURE * gap.stderr:
        said += f"the model is nearer to the {'rejected' if gap.value > 0 else 'chosen'}; DDRO needs it to be p⁻"
    else:
        said += "which of them the model is nearer to cannot be told"
    found.append(Finding("reference_side", said, gap.value, gap.stderr, "R1"))
    if "own" in rates:
        above = Right.of(rates["own"], chosen, paired=False).mean
        text = "how often an answer of the model's own is more likely, a token, than a chosen completion"
        found.append(Finding("reference_far", text, above.value, above.stderr))
        if above.value - SURE * above.stderr > FAR:
            said = "the model is far from the data: fine-tune it on the chosen completions first"
            found.append(Finding("fine_tune", said, None, claim="R7"))
    return found


def displacement(pilot: Pilot) -> tuple[list[Finding], Grid]:
    """What every method moved, as a table and in the sentences that it allows; what was not done."""
    columns = ("method", "rate", "steps", "chosen", "rejected", "own answers", "accuracy", "KL from the reference")
    rows = []
    for run in pilot.tried:
        means = (*pilot.moved(run), Mean.of(run.off), pilot.right(run).mean, Mean.of(run.kl))
        cells = [shown(mean) for mean in means]
        steps = f"{run.steps} of {run.planned}" if run.planned else str(run.steps)
        rows.append((run.method, f"{run.rate:g}", steps, *cells))
    what = f"{len(pilot.held.chosen)} chosen and {len(pilot.held.rejected)} rejected held-out examples"
    found = [
        Finding("held_out", f"change of log π, nats a text, on {what} and {len(pilot.own)} answers that the reference "
                f"wrote; {len(pilot.trained_on.examples)} examples trained on, {pilot.plan.part}; seconds in all",
                pilot.seconds),
    ]  # fmt: skip
    if short := [run for run in pilot.tried if run.planned and run.steps < run.planned]:
        told = ", ".join(f"{run.method} at rate {run.rate:g} {run.steps} of {run.planned}" for run in short)
        found.append(Finding("short", f"stopped where their part of the time was over, steps: {told}", len(short)))
    found += [_fell(run, pilot.moved(run)[0]) for run in pilot.tried if pilot.fell(run)]
    found += [Finding("left_out", f"not done: {sentence}", None) for sentence in pilot.left]
    return found + _length_rule(pilot), Grid(columns, tuple(rows))


def _fell(run: Tried, mean: Mean) -> Finding:
    why = "; its loss does not see what all labelled likelihoods do together" if run.method == "dpo" else ""
    return Finding("fell", f"{run.method} at rate {run.rate:g}: held-out chosen fell{why}", mean.value, mean.stderr,
                   "P5" if run.method == "dpo" else None)  # fmt: skip


def _length_rule(pilot: Pilot) -> list[Finding]:
    """Is the most accurate method better than the rule "the longer one"?"""
    if not pilot.tried:
        return []
    longer, shorter = (
        np.array([len(e.completion) for e in side], float) for side in (pilot.held.chosen, pilot.held.rejected)
    )
    rule = Right.of(longer, shorter, pilot.held.paired, pilot.groups)
    best = max(map(pilot.right, pilot.tried), key=lambda right: right.mean.value)
    if not (rule.mean.value > 0.5 and rule.by_chance < CHANCE):
        return []
    gap, chance = difference(best, rule)
    told = "is told apart from" if chance < CHANCE else "cannot be told apart from"
    return [Finding("beats_length", f"accuracy of the best method less that of the rule 'the longer one is chosen': it "
                    f"{told} that rule on these examples", gap.value, gap.stderr)]  # fmt: skip


def divergence_lines(pilot: Pilot) -> tuple[list[Finding], Grid | None]:
    """D⁺‖D⁻ from held-out losses, a method a row; what the largest bounds say of one another."""
    rows, best = [], None
    for run in pilot.tried:
        found = bounds(run.chosen, run.rejected, pilot.held.paired, pilot.plan.seed, pilot.groups)
        if found:
            rows.append((run.method, f"{run.rate:g}", *(shown(bound.mean) for bound in found)))
            if best is None or found[0].low > best[1][0].low:
                best = run, found
    if best is None:
        return [
            Finding("divergence", "too few held-out examples to read a divergence from losses", None, claim="V9")
        ], None
    run, found = best
    lines = [
        Finding(f"divergence_{bound.divergence}", f"{bound.divergence} of chosen and rejected is at least this, from "
                f"held-out losses at the rewards of {run.method}", bound.mean.value, bound.mean.stderr, bound.claim)
        for bound in found
    ]  # fmt: skip
    lines += [Finding("across", f"with confidence 97.5 %, {text}, at least", value, claim="V5")
              for text, value in read_across(found)]  # fmt: skip
    return lines, Grid(("rewards of", "rate", "JS", "TV", "KL", "H²"), tuple(rows))


def cost(pilot: Pilot, advice: Advice, priced: list[Finding] | None = None) -> list[Finding]:
    """What training costs, from the pilot's own seconds, and Best-of-N: `priced` by a reward, else by its KL."""
    run = advice.best
    if run is None:
        return [Finding("cost", "nothing is recommended, so nothing is priced", None, claim="B6")]
    found = [Finding("seconds", f"seconds of {run.method} on {len(pilot.trained_on.examples)} examples", run.seconds)]
    if priced is not None:
        return found + priced
    kl = Mean.of(run.kl)
    n = max(1, math.floor(_same_kl(max(kl.value, 0.0))))
    found += [
        Finding("best_of_n", "no reward was given, so v(t) cannot be measured and Speculative Rejection not priced. "
                f"Best-of-N at no more KL than {run.method} ({shown(kl)} nats, {pilot.plan.tokens} tokens at most): "
                "this N, and as many times the tokens of an answer", n, claim="B2"),
        Finding("win_rate", "win rate of that Best-of-N against one answer, by a reward without ties", win_rate(n),
                claim="B1"),
    ]  # fmt: skip
    return found


def _same_kl(kl: float) -> float:
    """The N at which log N − (N − 1)/N reaches `kl`."""
    low, high = 1.0, 2.0
    while math.log(high) - 1.0 + 1.0 / high < kl and high < 1e9:
        high *= 2.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if math.log(middle) - 1.0 + 1.0 / middle <= kl else (low, middle)
    return low


def shown(mean: Mean) -> str:
    """A mean with its error in a cell."""
    return f"{mean.value:.3g} ± {mean.stderr:.2g}" if math.isfinite(mean.stderr) else f"{mean.value:.3g}"
