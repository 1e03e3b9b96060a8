"""What training moves: log-ratios of chosen, rejected and the model's own answers, on a held-out split.

A loss falls whatever becomes of the chosen responses; this measures what becomes of them. At the start, every few
steps and at the end, on prompts that are not trained on:

    chosen, rejected  mean of log π(y|x) − log π_ref(y|x) over the held-out examples
    off               the same for answers that the reference wrote itself before the first step: everything else
    margin, accuracy  of pairs: chosen less rejected, and how often it is positive (a tie counts half)
    kl                KL(π‖π_ref) of the first tokens of answers, over answers that the policy writes at that step

All in nats, each with the standard error over examples; over prompts where several examples share one.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llm_validation.generation.decode import best_of_n
from llm_validation.generation.engine import Sampling
from llm_validation.generation.scorers import no_score
from llm_validation.generation.uniforms import decoding_seed
from llm_validation.model.model import autocast
from llm_validation.preferences.data import Example, Index, Preferences
from llm_validation.preferences.sequences import CompletionForward, divergences, log_probabilities
from llm_validation.training.loop import trainable
from simulate.montecarlo import generator
from theory.validate import Array


@dataclass(frozen=True)
class Mean:
    """A mean with its standard error, and of how many; `groups` of them where not all are independent, else 0."""

    value: float
    stderr: float
    n: int
    groups: int = 0

    @property
    def dof(self) -> int:
        """Degrees of freedom of the standard error, at least one."""
        return max((self.groups or self.n) - 1, 1)

    @classmethod
    def of(cls, values: Array, groups: Index | None = None) -> Mean:
        """Of independent values (n,), or of values of which those of one group depend on one another."""
        mean, units = float(np.mean(values)), 0 if groups is None else np.unique(groups).size
        return cls(mean, _error((values - mean) / values.size, groups), int(values.size), units)

    @classmethod
    def sum(cls, one: Array, other: Array, groups: tuple[Index, Index] | None = None) -> Mean:
        """The mean of one (m,) plus that of the other (n,); what a side of a single group varies by is not known.

        The error of both is known no better than that of the side of fewer groups, or values: it has its degrees of
        freedom. Where labels are rare, all prompts but a few say nothing of theirs.
        """
        means = [float(np.mean(side)) for side in (one, other)]
        away = [(side - mean) / side.size for side, mean in zip((one, other), means, strict=True)]
        n = min(one.size, other.size)
        if groups is not None:
            both, fewest = np.concatenate(groups), min(np.unique(side).size for side in groups)
            error = _error(np.concatenate(away), both) if fewest > 1 else math.nan
            return cls(sum(means), error, n, fewest)
        return cls(sum(means), math.hypot(*(_error(side, None) for side in away)), n)


def _error(influence: Array, groups: Index | None) -> float:
    """Of a sum of influences (n,) that is 0, from what its independent groups differ; nan for a single one."""
    if groups is not None:
        influence = np.bincount(np.unique(groups, return_inverse=True)[1], weights=influence).astype(float)
    n = influence.size
    return math.sqrt(n / (n - 1) * float(influence @ influence)) if n > 1 else math.nan


def prompt_groups(data: Preferences) -> tuple[Index, Index] | None:
    """Numbers of the prompts of chosen (C,) and rejected (R,); None where no two judgements share one.

    Where all share one they are told apart by their completions: a judgement that is there twice is one.
    """
    names: Sequence[Sequence[Hashable]] = [[e.question for e in side] for side in (data.chosen, data.rejected)]
    if len(set().union(*names)) == 1:
        said = [[e.completion for e in side] for side in (data.chosen, data.rejected)]
        names = [list(zip(*said, strict=True))] * 2 if data.paired else said
    one, other = _numbered(names)
    judgements = one.size if data.paired else one.size + other.size
    return None if np.unique(np.concatenate([one, other])).size == judgements else (one, other)


def _numbered(names: Sequence[Sequence[Hashable]]) -> list[Index]:
    """Equal names get equal numbers, in order of appearance."""
    numbers: dict[Hashable, int] = {}
    return [np.array([numbers.setdefault(n, len(numbers)) for n in side], dtype=np.int64) for side in names]


def question_groups(examples: Sequence[Example]) -> Index | None:
    """Numbers of what was asked (N,); None where no two examples share it, or all do."""
    asked = [example.question for example in examples]
    numbers = {question: k for k, question in enumerate(dict.fromkeys(asked))}
    return None if len(numbers) in (1, len(asked)) else np.array([numbers[q] for q in asked], dtype=np.int64)


@dataclass(frozen=True)
class Moved:
    """Where a training is after `step` steps; None where there is no such number (accuracy of unpaired data)."""

    step: int
    chosen: Mean
    rejected: Mean
    off: Mean
    margin: Mean
    accuracy: Mean | None
    kl: Mean


@dataclass(frozen=True)
class Watch:
    """What is watched, and how often.

    held     examples that are not trained on
    end      tokens that end an answer of the model's own
    every    steps between two measurements; None: ten times in the run
    answers  prompts whose answers the model writes, at most;  tokens  most tokens of an answer
    """

    held: Preferences
    end: tuple[int, ...]
    every: int | None = None
    answers: int = 32
    tokens: int = 32

    def __post_init__(self) -> None:
        for name in ("every", "answers", "tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} = {value} must be at least 1")


class NothingToHoldOut(ValueError):
    """All examples have one prompt, or one of the two parts would lack a class."""


def split(data: Preferences, share: float, seed: int) -> tuple[Preferences, Preferences]:
    """(training, held-out) examples, the share `share` of the prompts held out and at least one; no prompt is in both.

    ValueError for another share; NothingToHoldOut where there is one prompt, or one part would lack a class.
    """
    if not 0.0 < share < 1.0:
        raise ValueError(f"held_out = {share} must be in (0, 1)")
    prompts: list[Any] = sorted({example.question for example in data.examples})
    if len(prompts) < 2:
        raise NothingToHoldOut(
            f"{data.source}: all examples have one prompt, and none is left to hold out (held-out 0 holds out none)"
        )
    order = generator(seed, "held out").permutation(len(prompts))
    count = min(len(prompts) - 1, max(1, round(share * len(prompts))))
    held = {prompts[i] for i in order[:count]}

    def part(name: str, inside: bool) -> Preferences:
        chosen, rejected = (
            tuple(e for e in side if (e.question in held) is inside) for side in (data.chosen, data.rejected)
        )
        if not (chosen and rejected):
            lacks = f"{data.source} ({name}) has no {'rejected' if chosen else 'chosen'} examples"
            raise NothingToHoldOut(
                f"{lacks}: every loss here needs both classes (another --seed, or more --held-out, may hold out others)"
            )
        return replace(data, source=f"{data.source} ({name})", chosen=chosen, rejected=rejected)

    return part("training prompts", False), part("held-out prompts", True)


@dataclass(frozen=True, eq=False)
class Tracer:
    """Measures a model that is being trained; made while the model still is the reference.

    weights    of the reference, those that are trained;  own  its answers
    reference  log π_ref of chosen, rejected and own answers;  batch  examples run at a time
    """

    model: Any
    forward: CompletionForward
    watch: Watch
    batch: int
    seed: int
    context: int
    weights: tuple[Tensor, ...]
    own: tuple[Example, ...]
    reference: tuple[Array, Array, Array]

    @classmethod
    def of(cls, model: Any, forward: CompletionForward, watch: Watch, *, batch: int, seed: int, context: int) -> Tracer:
        weights = tuple(weight.detach().clone() for weight in trainable(model))
        own = answers(model, watch, seed, "reference", context)
        first, second, third = (
            _logs(model, forward, side, batch) for side in (watch.held.chosen, watch.held.rejected, own)
        )
        return cls(model, forward, watch, batch, seed, context, weights, own, (first, second, third))

    def __call__(self, step: int) -> Moved:
        """Where the model is now."""
        held = self.watch.held
        chosen, rejected, off = (
            _logs(self.model, self.forward, side, self.batch) - before
            for side, before in zip((held.chosen, held.rejected, self.own), self.reference, strict=True)
        )
        groups = prompt_groups(held)
        if held.paired:
            margins, pairs = chosen - rejected, groups and groups[0]
            margin, accuracy = Mean.of(margins, pairs), Mean.of(np.heaviside(margins, 0.5), pairs)
        else:
            margin, accuracy = Mean.sum(chosen, -rejected, groups), None
        up, down = (Mean.of(side, groups and groups[k]) for k, side in enumerate((chosen, rejected)))
        return Moved(step, up, down, Mean.of(off, question_groups(self.own)), margin, accuracy, self._kl(step))

    def _kl(self, step: int) -> Mean:
        """KL(π‖π_ref) of the first tokens of answers, from answers that the policy writes now."""
        written = answers(self.model, self.watch, self.seed, str(step), self.context)
        reference = partial(put, trainable(self.model), self.weights)
        found = divergences(self.model, self.forward, written, self.batch, reference).double().cpu().numpy()
        return Mean.of(found, question_groups(written))


def answers(model: Any, watch: Watch, seed: int, name: str, context: int) -> tuple[Example, ...]:
    """An answer of the model's own to every held-out prompt, `watch.answers` of them at most; ended or cut off."""
    asked = {example.prompt: example.asked for example in watch.held.examples}
    prompts = list(asked)[: watch.answers]
    length = min(watch.tokens, context - max(map(len, prompts)))
    draws = decoding_seed(seed, "answers", name)
    with autocast(next(model.parameters()).device):
        outcome = best_of_n(model, prompts, 1, no_score, Sampling(length, watch.end), seed=draws)
    rows = zip(prompts, outcome.written, strict=True)
    return tuple(Example(prompt, tokens, 0, asked=asked[prompt]) for prompt, tokens in rows)


def _logs(model: Any, forward: CompletionForward, examples: Sequence[Example], batch: int) -> Array:
    found: Array = log_probabilities(model, forward, examples, batch).double().cpu().numpy()
    return found


@torch.no_grad()
def copy_into(weights: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Other values in the weights."""
    for weight, value in zip(weights, values, strict=True):
        weight.copy_(value)


@contextlib.contextmanager
def put(weights: Sequence[Tensor], values: Sequence[Tensor]) -> Iterator[None]:
    """Other values in the weights for as long as the block runs."""
    now = [weight.detach().clone() for weight in weights]
    try:
        copy_into(weights, values)
        yield
    finally:
        copy_into(weights, now)
