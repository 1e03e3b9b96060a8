"""Findings from preference data alone: what is there, and which losses have an optimum on it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from llm_validation.advise.accuracy import Accuracy
from llm_validation.preferences.data import Preferences, feedback_of
from llm_validation.preferences.graphs import dpo_attained_on, laws, response_numbers
from llm_validation.preferences.listed import listed, listed_threshold
from llm_validation.preferences.objectives import binary_scores_threshold
from llm_validation.preferences.report import CHANCE
from llm_validation.preferences.shown import interval_of
from llm_validation.preferences.trace import Mean, prompt_groups
from theory.divergences.samples import minibatch_threshold
from theory.proximal.existence import existence_threshold, flat_directions
from theory.proximal.feedback import empirical_scores, mixture_weights
from theory.validate import Array

#: α that the losses of pairs are trained with by default.
PAIR_ALPHA = 2.25
#: Share η of labelled responses in the regulariser of PRO-P: one pair and H, evenly (P9).
LABELLED_SHARE = 2.0 / 3.0


@dataclass(frozen=True)
class Finding:
    """A line of the report: a number, or a sentence (value None).

    error  a standard error, None where the value is exact;  claim  a claim's id
    interval  of 95 %, of a share
    """

    name: str
    text: str
    value: float | None
    error: float | None = None
    claim: str | None = None
    interval: tuple[float, float] | None = None


def share_line(name: str, text: str, right: Accuracy, claim: str | None = None) -> Finding:
    """How right something is."""
    return Finding(name, text, right.mean.value, _known(right.mean.stderr), claim, right.interval)


def kind(data: Preferences) -> str:
    """What the data are: a ranked list is known by the many pairs of its line."""
    if not data.paired:
        return "binary labels" if data.examples[0].score is None else "scores"
    return "ranked lists" if max(Counter(e.line for e in data.chosen).values()) > 1 else "pairs"


def counts(data: Preferences) -> list[Finding]:
    """Kind, counts, duplicates, conflicts and lengths."""
    what = "pairs" if data.paired else "examples"
    sides = (data.chosen, data.rejected)
    keys = [[(e.prompt, e.completion) for e in side] for side in sides]
    said = list(zip(*keys, strict=True)) if data.paired else [(k, label) for label in (0, 1) for k in keys[label]]
    seen = set(said)
    both = {p for p in seen if p[::-1] in seen} if data.paired else set(keys[0]) & set(keys[1])
    conflicts = len(both) // 2 if data.paired else len(both)
    lengths = [np.array([len(e.completion) for e in side], float) for side in sides]
    groups = prompt_groups(data)
    means = [Mean.of(side, groups and groups[k]) for k, side in enumerate(lengths)]
    gap = Mean.sum(lengths[0], -lengths[1], groups)
    if data.paired:
        gap = Mean.of(lengths[0] - lengths[1], groups and groups[0])
    longer = Accuracy.of(lengths[0], lengths[1], data.paired, groups)
    rule = "how often the longer response is the chosen one"
    if longer.by_chance < CHANCE:
        rule += ": length alone tells chosen from rejected, and a method may learn just that"
    return [
        Finding("chosen", f"chosen completions; the file holds {kind(data)}", len(data.chosen)),
        Finding("rejected", "rejected completions", len(data.rejected)),
        Finding("prompts", "different prompts", len({e.prompt for e in data.examples})),
        *_of_kind(data),
        *_per_prompt(data),
        Finding("duplicates", f"{what} that repeat an earlier one", len(said) - len(seen)),
        Finding("conflicts", "judgements that the data also hold the other way round", conflicts),
        *(Finding(f"length_{name}", f"tokens of a {name} completion, mean; from {own.min():.0f} to {own.max():.0f}",
                  mean.value, _known(mean.stderr))
          for name, own, mean in zip(("chosen", "rejected"), lengths, means, strict=True)),
        Finding("length", "tokens by which chosen are longer than rejected, mean", gap.value, _known(gap.stderr)),
        share_line("length_rule", rule, longer),
        noise(data),
    ]  # fmt: skip


def _of_kind(data: Preferences) -> list[Finding]:
    """What lists and scores have besides."""
    if kind(data) == "ranked lists":
        pairs = np.array(list(Counter(e.line for e in data.chosen).values()), float)
        size = Mean.of(0.5 + np.sqrt(0.25 + 2.0 * pairs))  # K with K(K − 1)/2 pairs
        return [
            Finding("lists", "ranked lists; every two responses of one are a pair, and pairs of one prompt count "
                    "as one where errors are estimated", pairs.size),
            Finding("listed", "responses in a list, mean", size.value, _known(size.stderr)),
        ]  # fmt: skip
    if kind(data) != "scores":
        return []
    scores = np.array(feedback_of(data))
    groups = prompt_groups(data)
    mean = Mean.of(scores, groups and np.concatenate(groups))
    return [
        Finding("score", f"score, mean; from {scores.min():.6g} to {scores.max():.6g}, {np.unique(scores).size} "
                "different values. Chosen is what lies above the mean: of its prompt, or of all where a prompt has one",
                mean.value, _known(mean.stderr)),
        Finding("score_spread", "score, standard deviation", float(scores.std(ddof=1)) if scores.size > 1 else 0.0),
    ]  # fmt: skip


def _per_prompt(data: Preferences) -> list[Finding]:
    """How unevenly prompts are judged, and how unevenly each."""
    judged = Counter(e.prompt for e in (data.chosen if data.paired else data.examples))
    most = max(judged.values())
    found = [Finding("judged_most", f"judgements of the prompt that has most, of {judged.total()}", most)]
    if data.paired or most == 1:
        return found
    chosen = Counter(e.prompt for e in data.chosen)
    several = [prompt for prompt, n in judged.items() if n > 1]
    shares = np.array([chosen[prompt] / judged[prompt] for prompt in several])
    share = Mean.of(shares)
    return [
        *found,
        Finding("chosen_share", f"share of a prompt's responses that are chosen, mean of {len(several)} prompts with "
                f"several, from {shares.min():.3g} to {shares.max():.3g}", share.value, _known(share.stderr)),
        Finding("one_class", f"prompts of these {len(several)} whose responses are all chosen or all rejected: within "
                "them there is nothing to tell", int(((shares == 0) | (shares == 1)).sum())),
    ]  # fmt: skip


def _known(error: float) -> float | None:
    """None for the error of a single value."""
    return error if math.isfinite(error) else None


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
    apart_share = float(apart.sum() / pairs.sum())
    error = math.sqrt(float(((apart - apart_share * pairs) ** 2).sum())) / float(pairs.sum())
    text = f"label noise: share of labels that are flipped, from {told} {what} judged more than once"
    low, high = (_flipped(end) for end in interval_of(Mean(apart_share, error, told), told))
    if apart_share >= 0.5:
        text += "; they disagree at least as often as coins"
        return Finding("noise", text, 0.5, error, interval=(low, high))
    error /= 2.0 * math.sqrt(1.0 - 2.0 * apart_share)
    return Finding("noise", text, _flipped(apart_share), error, interval=(low, high))


def _flipped(apart: float) -> float:
    """The ε at which two judgements differ so often: 2ε(1 − ε)."""
    return 0.5 * (1.0 - math.sqrt(max(0.0, 1.0 - 2.0 * apart)))


def existence(data: Preferences) -> list[Finding]:
    """DPO's and PRO's optima prompt by prompt, and KLDO's smallest batch."""
    found = [
        Finding("kldo", "KLDO has a minimum only above this number of rejected responses per batch (inf: at none)",
                minibatch_threshold(*laws(data)), claim="V9")
    ]  # fmt: skip
    if not data.paired:
        return [*scored_thresholds(data), *found]
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
        *_per_prompt_alpha(np.array(thresholds)),
        *found,
    ]  # fmt: skip


def _per_prompt_alpha(least: Array) -> list[Finding]:
    """PRO's thresholds (P,) of the prompts."""
    short = int((least >= PAIR_ALPHA).sum())
    return [
        Finding("pro", f"PRO has an optimum on a prompt only above its threshold α (η = 2/3); of {least.size} "
                f"prompts the least is {least.min():.4g}, the median {np.median(least):.4g}, the largest",
                float(least.max()), claim="P7"),
        Finding("pro_short", f"prompts whose threshold is not below the default α = {PAIR_ALPHA:g}", short, claim="P7"),
    ]  # fmt: skip


def scored_thresholds(data: Preferences) -> list[Finding]:
    """PRO's thresholds for labels or scores less their means: PRO-B's by the largest, PRO-S's prompt by prompt."""
    (binary, example), (several, prompt) = binary_scores_threshold(data), listed_threshold(data)
    labels, claim = f"{len(data.chosen)} : {len(data.rejected)} labels", "P13"
    if kind(data) == "scores":
        labels, claim = "these scores", "P10"
    return [
        Finding("pro_binary", f"PRO-B has an optimum only above this α, at {labels}; {example} sets it", binary,
                claim=claim),
        Finding("pro_scalar", f"PRO-S has an optimum only above this α; the prompt of {prompt} sets it", several,
                claim="P7"),
    ]  # fmt: skip
