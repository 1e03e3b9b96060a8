"""What a training on preferences minimises, batch by batch: a loss of the table, with its options and its shift.

An objective is called with the log-probabilities of a batch's chosen and rejected examples and their numbers, says
which batches an epoch has (`plan`), and may look at the reference first (`at`). Those of listed responses and of
corrections are in `llm_validation.preferences.listed` and `llm_validation.aligner.texts`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from llm_validation.losses.options import check_options
from llm_validation.losses.table import LOSSES, find_loss
from llm_validation.losses.unpaired import kto_reference_point
from llm_validation.preferences.data import (
    Batch,
    Index,
    Preferences,
    centred,
    epoch_batches,
    example_batches,
    feedback_of,
)
from theory.proximal.existence import binary_threshold

Loss = Callable[..., Tensor]
Shift = Literal["zero", "mismatched", "running_mean"]
#: What the public trainers put in place of a loss's constant; every other loss has shift zero.
SHIFTS: dict[str, Shift] = {"kto": "mismatched", "bco": "running_mean"}
#: Methods that labelled examples cannot train.
OF_PAIRS = frozenset(name for name, entry in LOSSES.items() if entry.feedback == "pairs") | {"nlhf"}


@dataclass(frozen=True)
class PreferenceTraining:
    """How to train.

    seed     names the order of batches and the mismatched completions
    epochs   passes over the data
    batch    pairs, examples of both classes, or prompts of listed responses (PRO-S, NLHF, RLHF), per step
    rate     peak learning rate; linear warm-up over the share `warmup` of all steps, then a cosine to a hundredth
    clip     largest gradient norm, over all parameters
    shift    the constant of a loss that has one: "zero"; "mismatched", KTO's z₀ (one more pass without gradient, over
             prompts with completions of other prompts); "running_mean" of all rewards so far, BCO's δ. None: as
             published for the loss
    share    pairs share one pass over their prompt, where the model allows it. It needs a mask of (length)² numbers
             per pair: switch it off for contexts of many thousand tokens
    portion  pairs, or examples, that are run at a time. The gradient is the whole batch's, for every loss: one pass
             without gradient gives log-probabilities, the loss their derivatives, a second pass those of the weights
    class_weights  of chosen and rejected in an unpaired loss, in place of 1 and 1
    anyway   train with options below a loss's threshold
    """

    seed: int
    epochs: int = 1
    batch: int = 16
    rate: float = 5e-6
    warmup: float = 0.1
    clip: float = 1.0
    shift: Shift | None = None
    share: bool = True
    portion: int | None = None
    class_weights: tuple[float, float] | None = None
    anyway: bool = False

    def __post_init__(self) -> None:
        portion, weights = self.portion, self.class_weights or (1.0, 1.0)
        bad = {
            "epochs": self.epochs < 1,
            "rate": not 0 < self.rate < math.inf,
            "portion": portion is not None and portion < 1,
            "class_weights": not all(0 < w < math.inf for w in weights),
            "warmup": not 0 <= self.warmup < 1,
        }
        for name in (name for name, wrong in {**bad, "clip": not self.clip > 0}.items() if wrong):
            raise ValueError(f"{name} = {getattr(self, name)} is out of range")


@dataclass(eq=False, kw_only=True)
class Objective:
    """A function of four sides and its options; the running mean is its only state."""

    data: Preferences
    function: Loss
    options: dict[str, Any] = field(default_factory=dict)
    shift: Shift = "zero"
    kl_beta: float = 1.0
    class_weights: tuple[float, float] | None = None
    total: float = 0.0
    count: int = 0

    def plan(self, config: PreferenceTraining) -> list[Batch]:
        """The batches of all epochs."""
        return [rows for epoch in range(config.epochs) for rows in self.epoch(config, epoch)]

    def epoch(self, config: PreferenceTraining, epoch: int) -> list[Batch]:
        """The batches of one epoch."""
        return epoch_batches(self.data, config.batch, config.seed, epoch)

    def rows(self, batch: Batch) -> Index:
        """Numbers of the batch's examples among all (N,), the chosen ones first."""
        return np.concatenate([batch[0], len(self.data.chosen) + batch[1]])

    def at(self, chosen: Tensor, rejected: Tensor) -> None:
        """Look at the reference's log-probabilities of all examples; most objectives need not."""

    def __call__(
        self, policy: Sequence[Tensor], reference: Sequence[Tensor], other: Tensor | None, batch: Batch
    ) -> Tensor:
        """The loss of a batch; `other` are log-ratios of mismatched pairs."""
        options = self.options
        if self.class_weights:
            names = zip(("chosen_weight", "rejected_weight"), policy, self.class_weights, strict=True)
            options = options | {name: torch.full_like(logs, w / len(logs)).detach() for name, logs, w in names}
        if self.shift == "zero":
            return self.function(*policy, *reference, **options)
        if self.shift == "mismatched":
            assert other is not None
            shift = kto_reference_point(other, self.kl_beta)
        else:  # every reward so far counts alike, those of this batch included
            ratios = torch.cat([p.detach() - q for p, q in zip(policy, reference, strict=True)])
            self.total, self.count = self.total + self.kl_beta * float(ratios.sum()), self.count + ratios.numel()
            shift = torch.full((), self.total / self.count, device=ratios.device)
        return self.function(*policy, *reference, chosen_shift=shift, rejected_shift=shift, **options)


@dataclass(eq=False, kw_only=True)
class ScoredExamples(Objective):
    """PRO-B: every example with its centred feedback (N,), ±½ in a pair."""

    scores: Tensor

    def epoch(self, config: PreferenceTraining, epoch: int) -> list[Batch]:
        batches = epoch_batches if self.data.paired else example_batches
        return batches(self.data, config.batch, config.seed, epoch)

    def __call__(
        self, policy: Sequence[Tensor], reference: Sequence[Tensor], other: Tensor | None, batch: Batch
    ) -> Tensor:
        logs, before = torch.cat(list(policy)), torch.cat(list(reference))
        return self.function(logs, before, self.scores[torch.as_tensor(self.rows(batch))].to(logs), **self.options)


def scored_examples(data: Preferences) -> np.ndarray:
    """The scores (N,) that PRO-B reads: feedback less its mean (`llm_validation.preferences.data.centred`)."""
    return centred(data.examples, feedback_of(data))


def binary_scores_threshold(data: Preferences) -> tuple[float, str]:
    """PRO-B has an optimum above this α: twice the largest |score|, which is that of this line (P10, P13)."""
    scores = np.abs(scored_examples(data))
    largest = int(scores.argmax())
    return binary_threshold(float(scores[largest])), data.where(data.examples[largest])


def check_above(name: str, alpha: float, threshold: float, where: str, *, anyway: bool) -> None:
    """ValueError for an α of PRO at which these scores leave no optimum."""
    if alpha <= threshold and not anyway:
        raise ValueError(
            f"alpha = {alpha:g} for {name}: no policy is optimal at or below {threshold:.6g}, for the scores of "
            f"{where} (claims P7, P13); --anyway trains all the same"
        )


def objective_of_loss(
    loss: str | Loss, data: Preferences, options: Mapping[str, Any], config: PreferenceTraining
) -> Objective:
    """The objective of a loss of pairs, classes or examples with scores. ValueError for options it does not have."""
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", "loss")
    function = _function(loss, data) if isinstance(loss, str) else loss
    known = inspect.signature(function).parameters
    shift = check_settings(loss, function, options, config)
    beta = options.get("kl_beta", known["kl_beta"].default if "kl_beta" in known else 1.0)
    common = {"data": data, "function": function, "options": dict(options), "shift": shift, "kl_beta": beta}
    if name != "pro_binary":
        return Objective(**common, class_weights=config.class_weights)
    check_above(name, options.get("alpha", known["alpha"].default), *binary_scores_threshold(data),
                anyway=config.anyway)  # fmt: skip
    return ScoredExamples(**common, scores=torch.as_tensor(scored_examples(data), dtype=torch.float32))


def check_settings(loss: str | Loss, function: Loss, options: Mapping[str, Any], config: PreferenceTraining) -> Shift:
    """The shift that a loss is trained with. ValueError for an option, weights or a shift that it does not have."""
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", "loss")
    known = inspect.signature(function).parameters
    if unknown := sorted(options.keys() - known.keys()):
        named = [key for key, parameter in known.items() if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
        raise ValueError(f"{name} has no option {unknown[0]!r}; it has {', '.join(named) or 'none'}")
    check_options(name, options, anyway=config.anyway)
    if config.class_weights and ("chosen_weight" not in known or name == "kldo"):
        raise ValueError(f"class_weights: {name} has no weights of its classes")
    fixed = bool(options.keys() & {"chosen_shift", "rejected_shift"})
    shift = config.shift or ("zero" if fixed or not isinstance(loss, str) else SHIFTS.get(loss, "zero"))
    if shift != "zero" and (fixed or "chosen_shift" not in known):
        raise ValueError(f"shift = {shift!r}, but {name} has " + ("shifts by option" if fixed else "no shift"))
    return shift


def _function(name: str, data: Preferences) -> Loss:
    check_feedback(name, data)
    return find_loss(name).function


def check_feedback(name: str, data: Preferences) -> None:
    """ValueError for labelled examples where a method needs pairs."""
    if name in OF_PAIRS and not data.paired:
        raise ValueError(f"{name} needs pairs of chosen and rejected, and {data.source} has labelled examples")
