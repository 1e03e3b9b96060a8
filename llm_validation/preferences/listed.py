"""Objectives on the responses that the data list for a prompt: PRO-S, NLHF on their win rates, RLHF on their rewards.

    pro_scalar   the loss of the table on the N distinct responses of a prompt, with signals w = μ̂ŝ of their feedback:
                 pairs (share of comparisons won) or numbers (less the prompt's mean)
    nlhf         the regularised game on the listed responses. With M the share of comparisons that a response won of
                 another and π̄_ref the reference renormalised on the listed responses,

                     max over π̄ of min over π̄' of π̄ᵀMπ̄' − kl_beta·KL(π̄‖π̄_ref) + kl_beta·KL(π̄'‖π̄_ref)

                 has one equilibrium, log π̄*/π̄_ref = Mπ̄*/kl_beta + const (`theory.policy.nash.nlhf_regularized`).
                 The model is trained on the squares of what its log-ratios differ from that, whose only minimum on the
                 list is π̄*; with one comparison of two responses this is IPO's margin of 1/(2·kl_beta) (arXiv
                 2310.12036). Like every loss of pairs it leaves open what the listed responses have together.
    rlhf         max over π̄ of  Σ_y π̄(y) r(y) − kl_beta·KL(π̄‖π̄_ref), whose optimum is π̄_ref·e^{r/kl_beta}/Z. The sum is
                 over all listed responses, so its gradient is exact: nothing is sampled.

Shapes: P prompts, N examples in all, n responses of a prompt, B prompts of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llm_validation.losses.options import check_options
from llm_validation.losses.table import LOSSES
from llm_validation.preferences.data import Batch, Example, Index, Preferences, feedback_of, prompt_batches
from llm_validation.preferences.objectives import Objective, PreferenceTraining, check_above, check_feedback
from theory.policy.nash import nlhf_regularized
from theory.proximal.existence import binary_threshold, separation
from theory.proximal.feedback import empirical_scores, feedback_scores
from theory.validate import Array

#: Weight of KL in the regularised game where none is given, as in DPO.
KL_BETA = 0.1


@dataclass(frozen=True, eq=False)
class Listed:
    """The distinct responses of a prompt, in order of appearance, and what was said of them.

    judged   (K, 2) of pairs: winner, loser; else (K,) the response of each feedback (K,)
    """

    responses: tuple[Example, ...]
    judged: Index
    feedback: Array


def listed(data: Preferences) -> list[Listed]:
    """Every prompt's responses, prompts in order of appearance."""
    rows: dict[tuple[int, ...], list[tuple[Any, ...]]] = {}
    if data.paired:
        for pair in zip(data.chosen, data.rejected, strict=True):
            rows.setdefault(pair[0].prompt, []).append(pair)
    else:
        for example, value in zip(data.examples, feedback_of(data), strict=True):
            rows.setdefault(example.prompt, []).append((example, value))
    return [_of_prompt(own, paired=data.paired) for own in rows.values()]


def _of_prompt(rows: Sequence[tuple[Any, ...]], *, paired: bool) -> Listed:
    places: dict[tuple[int, ...], int] = {}
    found: list[Example] = []
    judged = []
    for row in rows:
        for example in row if paired else row[:1]:
            if example.completion not in places:
                places[example.completion] = len(found)
                found.append(example)
            judged.append(places[example.completion])
    table = np.array(judged, dtype=np.int64)
    feedback = np.zeros(0) if paired else np.array([value for _, value in rows], dtype=float)
    return Listed(tuple(found), table.reshape(-1, 2) if paired else table, feedback)


@dataclass(eq=False, kw_only=True)
class ListedObjective(Objective):
    """Examples (N,) of an unpaired data set, the prompt (N,) and the value (N,) of each."""

    prompt: Index
    values: Tensor

    def epoch(self, config: PreferenceTraining, epoch: int) -> list[Batch]:
        return prompt_batches(self.prompt, len(self.data.chosen), config.batch, config.seed, epoch)

    def __call__(
        self, policy: Sequence[Tensor], reference: Sequence[Tensor], other: Tensor | None, batch: Batch
    ) -> Tensor:
        logs, before = torch.cat(list(policy)), torch.cat(list(reference))
        rows = self.rows(batch)
        values, prompts = self.values[torch.as_tensor(rows)].to(logs), len(np.unique(self.prompt[rows]))
        parts = [
            len(places) / prompts * self.function(*(side[places] for side in (logs, before, values)), **self.options)
            for places in _by_size(self.prompt[rows])
        ]
        return torch.stack(parts).sum()


def _by_size(prompt: Index) -> Iterator[Tensor]:
    """Places (B, n) of the examples of the B prompts that have n of them."""
    order = np.argsort(prompt, kind="stable")
    _, first, counts = np.unique(prompt[order], return_index=True, return_counts=True)
    for size in np.unique(counts):
        yield torch.as_tensor(order[first[counts == size][:, None] + np.arange(size)])


def _spread(data: Preferences, groups: Sequence[Listed], values: Sequence[Array]) -> tuple[Preferences, Index, Tensor]:
    """An unpaired data set of distinct responses, chosen where the value is positive; prompts and values (N,)."""
    rows = [
        (p, example, float(value))
        for p, (group, own) in enumerate(zip(groups, values, strict=True))
        for example, value in zip(group.responses, own, strict=True)
    ]
    rows.sort(key=lambda row: row[2] <= 0)  # stable: chosen first
    C = sum(value > 0 for *_, value in rows)
    examples = tuple(example for _, example, _ in rows)
    spread = replace(data, chosen=examples[:C], rejected=examples[C:], paired=False)
    values_ = torch.tensor([value for *_, value in rows], dtype=torch.float32)
    return spread, np.array([p for p, *_ in rows]), values_


# PRO-S


def signals(groups: Sequence[Listed], *, paired: bool) -> list[Array]:
    """n·w (n,) of every prompt, w = μ̂ŝ; of a prompt with one response its feedback less the mean of all."""
    if paired:
        tables = [empirical_scores(len(group.responses), group.judged) for group in groups]
    else:
        mean = float(np.mean(np.concatenate([group.feedback for group in groups])))
        tables = [
            feedback_scores(len(group.responses), group.judged, group.feedback) if len(group.responses) > 1
            else (np.array([group.feedback.mean() - mean]), np.ones(1))
            for group in groups
        ]  # fmt: skip
    return [len(scores) * scores * law for scores, law in tables]


def signal_threshold(signal: Array) -> float:
    """α* of PRO-S for signals n·w (n,) of a prompt, H among the responses (P7)."""
    n = signal.size
    if n == 1:
        return binary_threshold(float(signal[0]))
    # α times the mean over n(n+1)/2 pairs is (α_full/2)·Σ μμ' with α_full = α·2(n+1)/n and μ uniform
    full = separation(np.append(signal / n, 0.0), np.full(n + 1, 1.0 / (n + 1)))
    return full.threshold * n / (2.0 * (n + 1))


def listed_threshold(data: Preferences) -> tuple[float, str]:
    """PRO-S has an optimum above this α, which is that of the prompt on this line (`Preferences.where`)."""
    groups = listed(data)
    found = [signal_threshold(signal) for signal in signals(groups, paired=data.paired)]
    largest = int(np.argmax(found))
    return found[largest], data.where(groups[largest].responses[0])


def pro_scalar_objective(data: Preferences, options: Mapping[str, Any], config: PreferenceTraining) -> ListedObjective:
    """PRO-S. ValueError for an option it does not have, and for an α at which a prompt has no optimum."""
    _check("pro_scalar", options, {"kl_beta", "alpha", "hyper"}, config)
    check_above("pro_scalar", options.get("alpha", 2.5), *listed_threshold(data), anyway=config.anyway)
    groups = listed(data)
    spread, prompt, values = _spread(data, groups, signals(groups, paired=data.paired))
    return ListedObjective(
        data=spread, function=LOSSES["pro_scalar"].function, options=dict(options), prompt=prompt, values=values
    )


def _check(name: str, options: Mapping[str, Any], own: set[str], config: PreferenceTraining) -> None:
    if unknown := sorted(options.keys() - own):
        raise ValueError(f"{name} has no option {unknown[0]!r}; it has {', '.join(sorted(own))}")
    if config.class_weights or config.shift:
        raise ValueError(f"{name} has neither class weights nor a shift")
    check_options(name, options, anyway=config.anyway)


# NLHF


def win_rates(group: Listed, data: Preferences) -> Array:
    """M (n, n): the share of comparisons won. ValueError names two responses that were never compared."""
    n = len(group.responses)
    wins = np.zeros((n, n))
    np.add.at(wins, (group.judged[:, 0], group.judged[:, 1]), 1.0)
    met = wins + wins.T
    np.fill_diagonal(met, 1.0)
    if (met == 0).any():
        one, other = (data.where(group.responses[i]) for i in np.argwhere(met == 0)[0])
        raise ValueError(
            f"{data.source}, {one} and {other}: two responses to one prompt that were never compared, and NLHF needs "
            "the win rate of every pair"
        )
    rates = wins / met
    np.fill_diagonal(rates, 0.5)
    return rates


@dataclass(eq=False, kw_only=True)
class NashObjective(ListedObjective):
    """Log-ratios of listed responses towards the equilibrium of the regularised game on them.

    rates   (n, n) of every prompt;  places (N,) row of each example in it
    """

    rates: list[Array]
    places: Index

    def at(self, chosen: Tensor, rejected: Tensor) -> None:
        """Solve the game of every prompt at the reference: `values` are log π̄*/π̄_ref."""
        logs = torch.cat([chosen, rejected]).double().cpu().numpy()
        for p, rates in enumerate(self.rates):
            own = np.flatnonzero(self.prompt == p)
            places = self.places[own]
            log_reference = np.empty(own.size)
            log_reference[places] = logs[own]
            log_reference -= np.logaddexp.reduce(log_reference)
            policy = nlhf_regularized(rates, None, self.kl_beta, log_reference=log_reference).policy
            self.values[torch.as_tensor(own)] = torch.as_tensor((rates @ policy / self.kl_beta)[places]).float()


def log_ratio_errors(policy: Tensor, reference: Tensor, values: Tensor) -> Tensor:
    """Half the mean square of what differences of log-ratios (B, n) are off: the variance within a prompt."""
    return torch.var(policy - reference - values, dim=1).mean()


def nash_objective(data: Preferences, options: Mapping[str, Any], config: PreferenceTraining) -> NashObjective:
    """NLHF on pairs. ValueError for labelled examples, an option it does not have, responses never compared."""
    _check("nlhf", options, {"kl_beta"}, config)
    check_feedback("nlhf", data)
    groups = listed(data)
    rates = [win_rates(group, data) for group in groups]
    spread, prompt, _ = _spread(data, groups, [table.mean(axis=1) - 0.5 for table in rates])
    order = {id(e): i for group in groups for i, e in enumerate(group.responses)}
    places = np.array([order[id(e)] for e in spread.examples])
    return NashObjective(
        data=spread, function=log_ratio_errors, kl_beta=float(options.get("kl_beta", KL_BETA)), prompt=prompt,
        values=torch.zeros(len(places)), rates=rates, places=places,
    )  # fmt: skip


# RLHF


def missed_reward(policy: Tensor, reference: Tensor, values: Tensor, *, kl_beta: float = KL_BETA) -> Tensor:
    """Minus the mean over prompts of E[r] − kl_beta·KL(π̄‖π̄_ref), from logs and rewards (B, n) of listed responses."""
    logs, before = torch.log_softmax(policy, dim=1), torch.log_softmax(reference, dim=1)
    return -(logs.exp() * (values - kl_beta * (logs - before))).sum(dim=1).mean()


def given_scores(group: Listed) -> Array:
    """Rewards (n,) of responses: the mean of what the file gives each."""
    n = len(group.responses)
    counts = np.bincount(group.judged, minlength=n)
    return np.asarray(np.bincount(group.judged, weights=group.feedback, minlength=n) / counts)


def rlhf_objective(
    data: Preferences, options: Mapping[str, Any], config: PreferenceTraining,
    rewards: Callable[[Listed], Array] = given_scores,
) -> ListedObjective:  # fmt: skip
    """RLHF on listed responses. ValueError for an option it does not have, and where no prompt lists two responses.

    rewards  (n,) of a prompt's responses; by default the scores of the file, which pairs have not
    """
    _check("rlhf", options, {"kl_beta"}, config)
    if data.paired and rewards is given_scores:
        raise ValueError(f"rlhf needs a reward, and {data.source} has pairs: a reward model is trained on them first")
    groups = listed(data)
    if max(len(group.responses) for group in groups) < 2:
        raise ValueError(f"rlhf on listed responses: {data.source} lists one response to every prompt")
    own = [np.asarray(rewards(group)) for group in groups]
    spread, prompt, values = _spread(data, groups, [r - r.mean() for r in own])  # a prompt's constant changes nothing
    return ListedObjective(data=spread, function=missed_reward, options=dict(options), prompt=prompt, values=values)
