"""The sections of the report that come of a model: the reference, what moved, divergences, cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import lambertw

from llm_validation.advise.accuracy import Accuracy, Groups, difference
from llm_validation.advise.divergence import LEVEL, Bound, bounds, read_across
from llm_validation.advise.findings import Finding, share_line
from llm_validation.advise.optima import Optimum
from llm_validation.advise.pilot import Pilot, PilotRun
from llm_validation.advise.recommend import Advice
from llm_validation.advise.report import Grid
from llm_validation.preferences.data import Example, Preferences
from llm_validation.preferences.report import CHANCE, told
from llm_validation.preferences.shown import exact, share_of, shown
from llm_validation.preferences.trace import Mean
from theory.best_of_n.law import win_rate
from theory.validate import Array

#: A reference is far from the data where its own answers are surely more often than so more likely than chosen ones.
FAR = 0.75
#: Prompts from which on a share of them is said.
FEW = 4


def table_of_optima(known: Sequence[Optimum]) -> Grid:
    """Method × (exists, unique, absolute levels determined)."""
    columns = ("method", "an optimum exists", "unique", "absolute levels determined", "why", "claim")
    word = {True: "yes", False: "no"}
    rows = ((o.method, word[o.exists], word[o.unique], word[o.levels], o.why, o.claim) for o in known)
    return Grid(columns, tuple(rows))


def cut(data: Preferences, context: int, pilot: Pilot | None = None) -> list[Finding]:
    """What the minutes left of the data, and the longest text: none is cut."""
    longest = max(map(len, data.examples))
    found = [Finding("longest", "tokens of the longest text, prompt and completion; none was cut, and one beyond the "
                     f"context of {context} would have been refused", longest)]  # fmt: skip
    if pilot is None:
        return found
    what, each = ("pairs", 2) if data.paired else ("examples", 1)
    for name, did, part, whole in (("cut_training", "trained on in the pilot", pilot.trained_on, pilot.texts[0]),
                                   ("cut_held", "held out and measured on", pilot.held, pilot.texts[1])):  # fmt: skip
        left = whole - len(part.examples)
        said = f"the other {left // each} were cut to stay within the minutes" if left else "none was cut"
        found.append(Finding(name, f"{what} {did}, of {whole // each}; {said}", len(part.examples) // each))
    return found


def reference_lines(
    sides: Sequence[tuple[str, Sequence[Example], Array]], paired: bool, groups: Groups = None,
    begun: Sequence[tuple[Sequence[Example], Array]] = (),
) -> list[Finding]:  # fmt: skip
    """Where the reference stands: log π_ref (nats) of chosen, rejected and, where they were written, own answers.

    sides  (name, examples, log π_ref) of chosen, of rejected, and of own answers;  groups  of the former two, by prompt
    begun  (examples, log π_ref) of chosen and rejected that are cut as the own answers are
    """
    found, rates = [], {}
    for (name, examples, logs), own in zip(sides, (*(groups or (None, None)), None), strict=False):
        rates[name] = _rates(examples, logs)
        for what, key, values in (("a text", name, logs), ("a token", f"{name}_token", rates[name])):
            mean = Mean.of(values, own)
            text = f"log-probability of {name} completions under the model, nats {what}, mean of {mean.n}"
            found.append(Finding(f"reference_{key}", text, mean.value, mean.stderr))
    chosen, rejected = rates["chosen"], rates["rejected"]
    gap = Mean.of(rejected - chosen, groups and groups[0]) if paired else Mean.sum(-chosen, rejected, groups)
    said = "log-probability a token, rejected less chosen: "
    if told(gap):
        said += f"the model is nearer to the {'rejected' if gap.value > 0 else 'chosen'}; DDRO needs it to be p⁻"
    else:
        said += "which of them the model is nearer to cannot be told"
    found.append(Finding("reference_side", said, gap.value, gap.stderr, "R1"))
    return found + (_nearness(sides[2], begun) if begun else [])


def _rates(examples: Sequence[Example], logs: Array) -> Array:
    """Log-probabilities a token."""
    rates: Array = logs / np.array([len(e.completion) for e in examples])
    return rates


def _nearness(
    own: tuple[str, Sequence[Example], Array], begun: Sequence[tuple[Sequence[Example], Array]]
) -> list[Finding]:
    """How near π_ref is to p⁺, p⁻ and p_α, by how likely it finds draws of them beside its own to the same prompt."""
    written = dict(zip((e.prompt for e in own[1]), _rates(own[1], own[2]), strict=True))
    above = [_above(written, examples, _rates(examples, logs)) for examples, logs in begun]
    both = sorted(above[0].keys() & above[1].keys())
    mixed = {prompt: 0.5 * (above[0][prompt] + above[1][prompt]) for prompt in both}
    found = []
    for name, values, text, claim in (
        ("far", above[0], "a chosen completion", None),
        ("minus", above[1], "a rejected one; 0.5 if the model were p⁻, from which DDRO ends at p⁺", "R1"),
        ("alpha", mixed, "either, evenly; 0.5 if the model were p_α, α = ½, from which RDRO ends at p⁺", "R2"),
    ):
        if len(values) < FEW:
            continue
        right = Accuracy(np.array(list(values.values())), None)
        said = "how often an answer of the model's own is more likely to it, a token of its beginning, than " + text
        found.append(share_line(f"reference_{name}", said, right, claim))
        least = _distance(right.interval)
        if claim and least > 0:
            found.append(Finding(f"distance_{name}", "so with confidence 95 % the total variation between them is at "
                                 "least this: from such a reference the method ends at the policy of least loss, which "
                                 "is not p⁺", least, claim="R8"))  # fmt: skip
    if found and found[0].name == "reference_far" and found[0].interval and found[0].interval[0] > FAR:
        said = "the model is far from the data: fine-tune it on the chosen completions first"
        found.append(Finding("fine_tune", said, None, claim="R7"))
    return found


def _above(written: Mapping[tuple[int, ...], float], examples: Sequence[Example], rates: Array) -> dict[Any, float]:
    """prompt → share of its examples that the reference finds less likely, a token, than its own answer; a tie half."""
    shares: dict[tuple[int, ...], list[float]] = {}
    for example, rate in zip(examples, rates, strict=True):
        shares.setdefault(example.prompt, []).append(np.heaviside(written[example.prompt] - rate, 0.5))
    return {prompt: float(np.mean(values)) for prompt, values in shares.items()}


def _distance(interval: tuple[float, float]) -> float:
    """Least total variation d at which a draw of one law beats one of the other so often: |a − ½| ≤ (1 − (1 − d)²)/2.

    With probability (1 − d)² both draws are of what the laws have in common, and each is as often above.
    """
    low, high = interval
    away = max(low - 0.5, 0.5 - high, 0.0)
    return 1.0 - math.sqrt(1.0 - 2.0 * away)


def displacement(pilot: Pilot) -> tuple[list[Finding], Grid]:
    """What every method moved, as a table and in the sentences that it allows; what was not done."""
    columns = (
        "method", "rate", "steps", "chosen", "rejected", "own answers", "accuracy [95 %]", "KL from the reference"
    )  # fmt: skip
    rows = []
    for run in pilot.tried:
        right = pilot.right(run)
        cells = [shown(mean, "+") for mean in (*pilot.moved(run), Mean.of(run.off))]
        cells += [share_of(right.mean.value, right.interval), shown(Mean.of(run.kl))]
        steps = f"{run.steps} of {run.planned}" if run.planned else str(run.steps)
        rows.append((run.method, f"{run.rate:g}", steps, *cells))
    what = f"{len(pilot.held.chosen)} chosen and {len(pilot.held.rejected)} rejected held-out examples"
    found = [
        Finding("held_out", f"change of log π, nats a text, on {what} and {len(pilot.own)} answers that the reference "
                f"wrote; {_amount(pilot.trained_on)} trained on, {pilot.plan.part}; seconds in all",
                pilot.seconds),
    ]  # fmt: skip
    if short := [run for run in pilot.tried if run.planned and run.steps < run.planned]:
        each = ", ".join(f"{run.method} at rate {run.rate:g} {run.steps} of {run.planned}" for run in short)
        found.append(Finding("short", f"stopped where their part of the time was over, steps: {each}", len(short)))
    found += [_fell(run, pilot.moved(run)[0]) for run in pilot.tried if pilot.fell(run)]
    found += [Finding("left_out", f"not done: {sentence}", None) for sentence in pilot.left]
    return found + _length_rule(pilot), Grid(columns, tuple(rows))


def _fell(run: PilotRun, mean: Mean) -> Finding:
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
    rule = Accuracy.of(longer, shorter, pilot.held.paired, pilot.groups)
    best = max(map(pilot.right, pilot.tried), key=lambda right: right.mean.value)
    if not (rule.mean.value > 0.5 and rule.by_chance < CHANCE):
        return []
    gap, chance = difference(best, rule)
    word = "is told apart from" if chance < CHANCE else "cannot be told apart from"
    other = int((best.chosen != rule.chosen).sum())
    return [Finding("beats_length", f"accuracy of the best method less that of the rule 'the longer one is chosen': it "
                    f"{word} that rule on these examples, of which it decides {other} differently", gap.value,
                    gap.stderr)]  # fmt: skip


def divergence_lines(pilot: Pilot) -> tuple[list[Finding], Grid | None]:
    """D⁺‖D⁻ from held-out losses, a method a row; what the largest bounds say of one another."""
    rows, best = [], None
    for run in pilot.tried:
        # the largest of several bounds is as sure as all of them together
        found = bounds(
            run.chosen, run.rejected, pilot.held.paired, pilot.plan.seed, pilot.groups, LEVEL / len(pilot.tried)
        )
        if found:
            rows.append((run.method, f"{run.rate:g}", *(shown(bound.mean) for bound in found)))
            if best is None or _sure(found) > _sure(best[1]):
                best = run, found
    if best is None:
        return [
            Finding("divergence", "too few held-out examples to read a divergence from losses", None, claim="V9")
        ], None
    run, found = best
    lines = [_divergence(run.method, bound) for bound in found]
    across = [Finding("across", f"with confidence 97.5 %, {text}, at least", value, claim="V5")
              for text, value in read_across(found) if value > 0]  # fmt: skip
    if not across:
        said = f"with confidence 97.5 % nothing can be said of them from {_amount(pilot.held)} held out: those are too "
        across = [Finding("across", said + "few, or chosen and rejected too much alike", None, claim="V5")]
    return lines + across, Grid(("rewards of", "rate", "JS", "TV", "KL", "H²"), tuple(rows))


def _sure(found: Sequence[Bound]) -> tuple[float, float]:
    """What is sure of TV, and of JS."""
    low = {bound.divergence: bound.low for bound in found}
    return low["TV"], low["JS"]


def _divergence(method: str, bound: Bound) -> Finding:
    """A line on the estimate, and what is sure of it."""
    said = f"{bound.divergence} of chosen and rejected is at least what this estimates, from held-out losses at the "
    said += f"rewards of {method}; below 0 it says nothing"
    if math.isnan(bound.mean.stderr):
        said += "; all examples say the same, so how far it may be off is not known"
    if bound.low > 0:
        said += f"; with confidence 97.5 % at least {exact(bound.low)}"
    return Finding(f"divergence_{bound.divergence}", said, bound.mean.value, bound.mean.stderr, bound.claim)


def _amount(data: Preferences) -> str:
    """How many pairs, or examples."""
    return f"{len(data.chosen)} pairs" if data.paired else f"{len(data.examples)} examples"


def cost(pilot: Pilot, advice: Advice, priced: list[Finding] | None = None) -> list[Finding]:
    """What training costs, from the pilot's own seconds, and Best-of-N: `priced` by a reward, else by its KL."""
    run = advice.best
    if run is None:
        return [Finding("cost", "nothing is recommended, so nothing is priced", None, claim="B6")]
    found = _training(pilot, run)
    if priced is not None:
        return found + priced
    kl = Mean.of(run.kl)
    n = max(1, math.floor(_same_kl(kl.value)))
    found += [
        Finding("best_of_n", "no reward was given, so v(t) cannot be measured and Speculative Rejection not priced. "
                f"Best-of-N at no more KL than {run.method} ({shown(kl)} nats, {pilot.plan.tokens} tokens at most): "
                "this N, and as many times the tokens of an answer", n, claim="B2"),
        Finding("win_rate", "win rate of that Best-of-N against one answer, by a reward without ties", win_rate(n),
                claim="B1"),
    ]  # fmt: skip
    return found


def _training(pilot: Pilot, run: PilotRun) -> list[Finding]:
    """Seconds of a step and of all the steps that were planned; what came before the first one is counted once."""
    planned, what = run.planned or run.steps, "pairs" if pilot.trained_on.paired else "examples"
    step = (run.seconds - run.first) / (run.steps - 1) if run.steps > 1 else run.seconds
    whole = run.first + (planned - 1) * step
    did = "all of them done" if run.steps == planned else f"{run.steps} of them done, the others reckoned from these"
    return [
        Finding("seconds_step", f"seconds of training a step of {run.method} took in the pilot, {pilot.batch} {what} "
                "each; frozen blocks are run once for all methods", step),
        Finding("seconds", f"seconds of training that {planned} steps of {run.method} over {_amount(pilot.trained_on)} "
                f"take there; {did}", whole),
    ]  # fmt: skip


def _same_kl(kl: float) -> float:
    """The N ≥ 1 at which log N − (N − 1)/N reaches `kl`, at most 2³⁰: x = 1/N solves x·e^{−x} = e^{−(1 + kl)}."""
    if kl < 1e-12:
        return 1.0
    return float(1.0 / max(2.0**-30, -lambertw(-math.exp(-1.0 - kl)).real))
