"""Has each loss an optimum on these data, is it the only one, and does it say where absolute likelihoods end?

Over free rewards of all labelled responses, each with the trainer's default options. R = D⁺/D⁻ is the ratio of how
often a response is chosen and rejected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from llm_validation.advise.findings import PAIR_ALPHA
from llm_validation.losses.options import THRESHOLDS
from llm_validation.preferences.data import Preferences
from llm_validation.preferences.graphs import dpo_attained_on, laws
from llm_validation.preferences.listed import listed, listed_threshold, win_rates
from llm_validation.preferences.objectives import binary_scores_threshold
from theory.divergences.samples import minibatch_threshold

#: α that the losses of scores are trained with by default.
SCORE_ALPHA = 2.5
#: What losses of differences do not determine.
BLIND = "blind to what all labelled likelihoods do together"


@dataclass(frozen=True)
class Optimum:
    """exists: the minimum is attained; unique: at one place; levels: it fixes absolute likelihoods; `claim`: why."""

    method: str
    exists: bool
    unique: bool
    levels: bool
    why: str
    claim: str


def optima(data: Preferences, batch: int) -> list[Optimum]:
    """A line per loss that the data can train and of which a claim says something; batch pairs, or examples, a step."""
    chosen, rejected = laws(data)
    one_class = int(((chosen > 0) != (rejected > 0)).sum())
    lost = int(((chosen == 0) & (rejected > 0)).sum())
    both = one_class == 0
    seen = "every response is in both classes: r = log R" if both else (
        f"{one_class} responses are in one class only, where log R is infinite: rewards grow without end")  # fmt: skip
    least = minibatch_threshold(chosen, rejected)
    batches = -(-len(data.chosen if data.paired else data.examples) // batch)
    per_batch = len(data.rejected) / batches
    same = bool(np.allclose(chosen, rejected))
    needs = f"needs more than {least:.4g} rejected responses a batch, has {per_batch:.4g} on average"
    if math.isinf(least):
        needs = "a chosen response that is never rejected: no batch is large enough"
    return [
        *(_of_pairs(data) if data.paired else []),
        *_of_scores(data),
        Optimum("kto", same, False, False, "its infimum lies at r = ±∞, by the sign of R − 1", "V2"),
        Optimum("bco", both, both, both, seen, "V3"),
        Optimum("kldo", per_batch > least, per_batch > least, False,
                f"{needs}; {BLIND}", "V9"),
        Optimum("fdo", both, both, False, f"{seen}; up to its constant", "V5"),
        Optimum("ddro", both, both, both, seen, "R4"),
        Optimum("rdro", lost == 0, lost == 0, lost == 0,
                f"capped at log 1/α; {lost} responses are never chosen and fall without end", "R4"),
    ]  # fmt: skip


def _of_pairs(data: Preferences) -> list[Optimum]:
    attained, prompts = dpo_attained_on(data)
    alpha, least = PAIR_ALPHA, THRESHOLDS["pro_pairwise"][0]
    return [
        Optimum(
            "dpo", attained == prompts, False, False, f"attained on {attained} of {prompts} prompts; {BLIND}", "P5"
        ),
        Optimum("ipo", True, False, False, f"squares are least somewhere; {BLIND}", "P5"),
        _nlhf(data),
        Optimum("pro_pairwise", alpha > least, True, True, f"α = {alpha:g}, threshold {least:g} a pair", "P7"),
    ]


def _nlhf(data: Preferences) -> Optimum:
    try:
        for group in listed(data):
            win_rates(group, data)
    except ValueError as error:
        return Optimum("nlhf", False, False, False, str(error), "P5")
    return Optimum("nlhf", True, False, False, f"one equilibrium on the responses of a prompt; {BLIND}", "P5")


def _of_scores(data: Preferences) -> list[Optimum]:
    found = []
    for name, claim, (least, where) in (("pro_binary", "P10", binary_scores_threshold(data)),
                                       ("pro_scalar", "P7", listed_threshold(data))):  # fmt: skip
        above = least < SCORE_ALPHA
        why = f"α = {SCORE_ALPHA:g}, threshold {least:.4g}, which {where} sets"
        found.append(Optimum(name, above, above, above, why, claim))
    if not data.paired and max(len(group.responses) for group in listed(data)) > 1:
        found.append(Optimum("rlhf", True, False, False, f"π_ref·exp(score/kl_beta) on the listed responses; {BLIND}",
                             "D12"))  # fmt: skip
    return found
