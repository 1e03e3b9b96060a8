"""Findings from preference data alone: what is there, and which losses have an optimum on it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from llm_validation.advise.accuracy import CHANCE, Right
from llm_validation.preferences.data import Preferences
from llm_validation.preferences.graphs import dpo_attained_on, laws, response_numbers
from llm_validation.preferences.listed import listed
from theory.divergences.samples import minibatch_threshold
from theory.proximal.existence import binary_threshold, existence_threshold, flat_directions, imbalance_scores
from theory.proximal.feedback import empirical_scores, mixture_weights

#: Share η of labelled responses in the regulariser of PRO-P: one pair and H, evenly (P9).
LABELLED_SHARE = 2.0 / 3.0


@dataclass(frozen=True)
class Finding:
    """A line of the report: a number, or a sentence (value None).

    error  a standard error, None where the value is exact;  claim  a claim's id
    """

    name: str
    text: str
    value: float | None
    error: float | None = None
    claim: str | None = None


def counts(data: Preferences) -> list[Finding]:
    """Kind, counts, duplicates, conflicts and lengths."""
    kind = "pairs" if data.paired else "labelled examples"
    sides = (data.chosen, data.rejected)
    keys = [[(e.prompt, e.completion) for e in side] for side in sides]
    what = list(zip(*keys, strict=True)) if data.paired else [(k, label) for label in (0, 1) for k in keys[label]]
    seen = set(what)
    both = {p for p in seen if p[::-1] in seen} if data.paired else set(keys[0]) & set(keys[1])
    conflicts = len(both) // 2 if data.paired else len(both)
    lengths = [np.array([len(e.completion) for e in side], float) for side in sides]
    gap = lengths[0].mean() - lengths[1].mean()
    if data.paired:
        error = _error(lengths[0] - lengths[1])
    else:
        error = None if None in (own := [_error(x) for x in lengths]) else float(np.hypot(*own))  # type: ignore[arg-type]
    prompts = len({e.prompt for e in data.examples})
    longer = Right.of(lengths[0], lengths[1], data.paired)
    rule = "how often the longer response is the chosen one"
    if longer.by_chance < CHANCE:
        rule += ": length alone tells chosen from rejected, and a method may learn just that"
    return [
        Finding("chosen", f"chosen examples ({kind})", len(data.chosen)),
        Finding("rejected", f"rejected examples ({kind})", len(data.rejected)),
        Finding("prompts", "different prompts", prompts),
        Finding("duplicates", f"{kind} that repeat an earlier one", len(what) - len(seen)),
        Finding("conflicts", "judgements that the data also hold the other way round", conflicts),
        Finding("length", "tokens by which chosen are longer than rejected, mean", float(gap), error),
        Finding("length_rule", rule, longer.mean.value, longer.mean.stderr),
        noise(data),
    ]


def noise(data: Preferences) -> Finding:
    """Share of labels that are noise, from judgements of the same pair (of the same response, without pairs).

    Two judgements of one thing disagree with probability 2ε(1 − ε) where labels are flipped with probability ε; things
    judged more often count by their pairs of judgements, and are the units of the error (delta method).
    """
    one, other = response_numbers(data)
    if data.paired:
        things = np.minimum(one, other) * (int(max(one.max(), other.max())) + 1) + np.maximum(one, other)
        labels = one < other
    else:
        things = np.concatenate([one, other])
        labels = np.arange(things.size) < one.size
    place = np.unique(things, return_inverse=True)[1]
    n, yes = np.bincount(place), np.bincount(place, weights=labels)
    pairs, apart = n * (n - 1) / 2.0, yes * (n - yes)
    told = int((pairs > 0).sum())
    what = "pairs" if data.paired else "responses"
    if told < 2:
        return Finding("noise", f"{what} judged more than once: fewer than two, so label noise cannot be told from the "
                       "data alone", told)  # fmt: skip
    share = float(apart.sum() / pairs.sum())
    error = math.sqrt(float(((apart - share * pairs) ** 2).sum())) / float(pairs.sum())
    text = f"label noise: share of labels that are flipped, from {told} {what} judged more than once"
    if share >= 0.5:
        return Finding("noise", f"{text}; they disagree at least as often as coins", 0.5, error)
    root = math.sqrt(1.0 - 2.0 * share)
    return Finding("noise", text, 0.5 * (1.0 - root), error / root / 2.0)


def _error(values: np.ndarray) -> float | None:
    """Standard error of a mean; None of a single value."""
    return float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else None


def imbalance(chosen: int, rejected: int) -> Finding:
    """PRO-B's threshold for centred labels of these two classes."""
    threshold = binary_threshold(max(map(abs, imbalance_scores(rejected / chosen))))
    return Finding("pro_binary", f"PRO-B has an optimum only above this α, at {chosen} : {rejected} labels",
                   threshold, claim="P13")  # fmt: skip


def existence(data: Preferences) -> list[Finding]:
    """DPO's and PRO's optima prompt by prompt, and KLDO's smallest batch."""
    found = [
        Finding("kldo", "KLDO has a minimum only above this number of rejected responses per batch (inf: at none)",
                minibatch_threshold(*laws(data)), claim="V9")
    ]  # fmt: skip
    if not data.paired:
        return [imbalance(len(data.chosen), len(data.rejected)), *found]
    attained, P = dpo_attained_on(data)
    flat, thresholds = 0, []
    for group in listed(data):
        K, rows = len(group.responses), group.judged
        flat += int(flat_directions(K + 1, rows).max())  # response K stands for all that is unlabelled
        scores, empirical = empirical_scores(K + 1, rows)
        weights = mixture_weights(empirical, LABELLED_SHARE, np.eye(K + 1)[K])
        thresholds.append(existence_threshold(scores, empirical, weights))
    return [
        Finding("dpo", f"prompts of {P} on which DPO attains an optimum; on the others margins grow without end",
                attained, claim="P5"),
        Finding("flat", "directions of the reward that DPO's loss does not see: they move likelihood between labelled "
                "and other responses freely", flat, claim="P5"),
        Finding("pro", "PRO has an optimum on every prompt only above this α (η = 2/3)", max(thresholds), claim="P7"),
        *found,
    ]  # fmt: skip
