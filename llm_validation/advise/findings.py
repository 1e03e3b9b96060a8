"""Findings from preference data alone: what is there, and which losses have an optimum on it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from llm_validation.preferences.data import Preferences
from theory.divergences.samples import minibatch_threshold
from theory.proximal.existence import (
    binary_threshold,
    dpo_attained,
    existence_threshold,
    flat_directions,
    imbalance_scores,
)
from theory.proximal.feedback import empirical_scores, mixture_weights

#: Share η of labelled responses in the regulariser of PRO-P: one pair and H, evenly (P9).
LABELLED_SHARE = 2.0 / 3.0


@dataclass(frozen=True)
class Finding:
    """A line of the report. `error` is a standard error, None where the value is exact; `claim` a claim's id."""

    name: str
    text: str
    value: float
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
    return [
        Finding("chosen", f"chosen examples ({kind})", len(data.chosen)),
        Finding("rejected", f"rejected examples ({kind})", len(data.rejected)),
        Finding("prompts", "different prompts", prompts),
        Finding("duplicates", f"{kind} that repeat an earlier one", len(what) - len(seen)),
        Finding("conflicts", "judgements that the data also hold the other way round", conflicts),
        Finding("length", "tokens by which chosen are longer than rejected, mean", float(gap), error),
    ]


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
    index: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
    places = [[index.setdefault((e.prompt, e.completion), len(index)) for e in s] for s in (data.chosen, data.rejected)]
    laws = [np.bincount(side, minlength=len(index)) / len(side) for side in places]
    found = [
        Finding("kldo", "KLDO has a minimum only above this number of rejected responses per batch (inf: at none)",
                minibatch_threshold(*laws), claim="V9")
    ]  # fmt: skip
    if not data.paired:
        return [imbalance(len(data.chosen), len(data.rejected)), *found]
    pairs: dict[tuple[int, ...], list[tuple[int, int]]] = defaultdict(list)
    for example, winner, loser in zip(data.chosen, *places, strict=True):
        pairs[example.prompt].append((winner, loser))
    attained, flat, thresholds = 0, 0, []
    for table in pairs.values():
        names, local = np.unique(table, return_inverse=True)
        K, rows = len(names), local.reshape(-1, 2)
        attained += dpo_attained(K, rows)
        flat += int(flat_directions(K + 1, rows).max())  # response K stands for all that is unlabelled
        scores, empirical = empirical_scores(K + 1, rows)
        weights = mixture_weights(empirical, LABELLED_SHARE, np.eye(K + 1)[K])
        thresholds.append(existence_threshold(scores, empirical, weights))
    P = len(pairs)
    return [
        Finding("dpo", f"prompts of {P} on which DPO attains an optimum; on the others margins grow without end",
                attained, claim="P5"),
        Finding("flat", "directions of the reward that DPO's loss does not see: they move likelihood between labelled "
                "and other responses freely", flat, claim="P5"),
        Finding("pro", "PRO has an optimum on every prompt only above this α (η = 2/3)", max(thresholds), claim="P7"),
        *found,
    ]  # fmt: skip
