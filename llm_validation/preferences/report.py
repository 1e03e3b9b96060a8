"""What a training moved, in sentences: each a number with its error, or a claim by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import t

from llm_validation.losses.options import THRESHOLDS
from llm_validation.preferences.data import Preferences
from llm_validation.preferences.graphs import dpo_attained_on, laws
from llm_validation.preferences.listed import KL_BETA, listed, listed_threshold
from llm_validation.preferences.objectives import binary_scores_threshold
from llm_validation.preferences.shown import accuracy_of, plus_minus, shown
from llm_validation.preferences.trace import Mean, Moved
from theory.divergences.samples import minibatch_threshold
from theory.proximal.closed_forms import pair_log_ratio

#: method → (α at or below which no policy is optimal on these data, the line of the scores that set it).
SCORE_THRESHOLDS = {"pro_binary": binary_scores_threshold, "pro_scalar": listed_threshold}
#: Things are told apart where chance would do it less often than this.
CHANCE = 0.01


def report(
    trace: Sequence[Moved], method: str, options: Mapping[str, Any], data: Preferences, held: Preferences
) -> list[str]:
    """Sentences on the first and the last measurement of a run.

    options  of the loss, all that are not its defaults left out;  data  what was trained on;  held  what was measured
    """
    start, end = trace[0], trace[-1]
    said = [
        f"chosen {_change(end.chosen)}, rejected {_change(end.rejected)}, the model's own answers {_change(end.off)} "
        f"(log π, {end.chosen.n} and {end.rejected.n} examples of {held.source}, {end.off.n} answers)",
        f"margin {shown(end.margin)} nats"
        + (f", accuracy {accuracy_of(end.accuracy, held)}" if end.accuracy else "")
        + f"; KL from the reference {shown(end.kl)} nats, of {start.kl.n} answers' first tokens",
    ]
    if below_zero(end.chosen) and data.paired and method == "dpo":
        said.append(
            "the chosen fell although the loss did too: DPO's loss does not change when all labelled likelihoods fall "
            "together, so it does not determine where they end (claim P5); pro_pairwise does (claim P7)"
        )
    elif below_zero(end.chosen):
        said.append("the chosen fell; where their likelihood went is measured on rejected and own answers alone")
    return [*said, *threshold(method, options, data)]


def threshold(method: str, options: Mapping[str, Any], data: Preferences) -> list[str]:
    """Has the loss a minimum with these options on these data? One sentence, where a claim says so."""
    if method == "dpo" and data.paired:
        attained, prompts = dpo_attained_on(data)
        if attained < prompts:
            short = prompts - attained
            return [f"on {short} of {prompts} prompts some responses win every comparison with the others: "
                    "DPO has no optimum there, and margins grow for as long as it is trained (claim P5)"]  # fmt: skip
    if method == "pro_pairwise":
        alpha, least = options.get("alpha", 2.25), THRESHOLDS[method][0]
        if alpha <= least:
            return [f"alpha = {alpha:g} is not above the threshold {least:g}: no policy is optimal (claim P7)"]
        return [f"alpha = {alpha:g} is above the threshold {least:g}, so an optimum exists (claim P7): on one pair, "
                f"rewards of chosen and rejected at ± {pair_log_ratio(alpha):.3g} from that of everything else "
                "(claim P9)"]  # fmt: skip
    if method in SCORE_THRESHOLDS:
        alpha, (least, where) = options.get("alpha", 2.5), SCORE_THRESHOLDS[method](data)
        side = "above" if alpha > least else "not above"
        said = "an optimum exists" if alpha > least else "no policy is optimal"
        return [f"alpha = {alpha:g} is {side} the threshold {least:.4g}, which the scores of {where} set: {said} "
                "(claims P7, P13)"]  # fmt: skip
    if method == "nlhf":
        groups = listed(data)
        once = sum(len(group.judged) == 1 for group in groups)
        return [f"on {once} of {len(groups)} prompts the win rate rests on one comparison, where the equilibrium's "
                f"margin is that of IPO, {0.5 / options.get('kl_beta', KL_BETA):.3g} nats; what the listed responses "
                "have together is left open, as by every loss of pairs (claim P5)"]  # fmt: skip
    if method in ("kldo", "kto"):
        chosen, rejected = laws(data)
        if method == "kldo" and math.isinf(minibatch_threshold(chosen, rejected)):
            return ["a response is in one class only: KLDO has no minimum, whatever the batch (claim V9)"]
        if method == "kto" and not np.allclose(chosen, rejected):
            return ["KTO's infimum is approached as rewards go to ±∞, and not attained (claim V2)"]
    return []


def below_zero(mean: Mean) -> bool:
    """Beyond noise."""
    return mean.value < 0 and told(mean)


def told(mean: Mean) -> bool:
    """Is it told from 0, as by chance one time in a hundred (Student's t)?"""
    return bool(abs(mean.value) > t.ppf(1.0 - CHANCE / 2.0, mean.dof) * mean.stderr)


def _change(mean: Mean) -> str:
    if not told(mean):
        return f"cannot be told from where it was ({shown(mean, '+')} nats)"
    return f"{'rose' if mean.value > 0 else 'fell'} by {plus_minus(abs(mean.value), mean.stderr)} nats"
