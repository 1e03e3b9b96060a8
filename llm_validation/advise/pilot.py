"""The pilot: every method trained for a few steps from the same weights, and what it moved on held-out examples.

The trainer is `align`'s. The examples of a run are as many as fit: the clock is asked before every run and at every
step, and what was not done is said. Every run sees the same examples in the same order.

Shapes: C chosen and R rejected held-out examples, O answers of the reference's own, K answers of the policy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from llm_validation.advise.trunk import TrunkOnce, piloted
from llm_validation.preferences.data import Example, Preferences, epoch_batches
from llm_validation.preferences.objectives import PreferenceTraining
from llm_validation.preferences.sequences import CompletionForward, completion_forward, log_probabilities
from llm_validation.preferences.trace import Watch, answers, split
from llm_validation.preferences.train import Reference, check_reference, train_on_preferences
from llm_validation.training.loop import TrainingDiverged, trainable
from llm_validation.training.parts import choose_part
from simulate.montecarlo import generator
from theory.validate import Array

#: A step costs so many forward passes, an answer so many passes over a text; what estimates of time are multiplied by.
_STEP, _ANSWER, _SAFE = 3.0, 4.0, 1.3
#: Shares of the time for the reference's numbers on held-out examples, its answers, and the answers of all policies.
_HELD, _OWN, _KL = 0.15, 0.08, 0.2
#: Answers at least.
_FEW = 4


@dataclass(frozen=True)
class PilotPlan:
    """What a pilot does.

    methods  names of losses;  rates  peak learning rates, tried in turn
    part     what is trained: all, top:K or lora:R
    held     share of prompts held out;  answers, tokens  of the model's own, as in `Watch`
    """

    methods: tuple[str, ...]
    rates: tuple[float, ...] = (1e-4, 1e-3)
    part: str = "top:2"
    epochs: int = 1
    batch: int = 8
    held: float = 0.2
    answers: int = 24
    tokens: int = 24
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Tried:
    """A method at a rate: log π − log π_ref of held-out chosen (C,), rejected (R,), the reference's answers (O,).

    kl  (K,) the same of answers that it writes itself, `written`
    """

    method: str
    rate: float
    steps: int
    seconds: float
    chosen: Array
    rejected: Array
    off: Array
    kl: Array
    written: tuple[Example, ...] = ()


@dataclass(frozen=True, eq=False)
class Pilot:
    """What was tried, what was not and why, on which examples.

    trained_on, held  the examples;  batch  per step
    own               the reference's own answers to held-out prompts
    reference         log π_ref of held chosen, held rejected and own answers
    """

    trained_on: Preferences
    held: Preferences
    plan: PilotPlan
    batch: int
    own: tuple[Example, ...]
    reference: tuple[Array, Array, Array]
    tried: tuple[Tried, ...]
    left: tuple[str, ...]
    seconds: float


class _OutOfTime(Exception):
    """The clock ran out in the middle of a run."""


def run_pilot(
    model: Any, data: Preferences, plan: PilotPlan, end: tuple[int, ...], context: int, deadline: float,
    say: Callable[[str], None] = lambda _: None,
) -> Pilot:  # fmt: skip
    """Train every method of the plan before `deadline`, a reading of time.monotonic(); the model ends as it began.

    end      tokens that end an answer;  context  longest text in tokens
    ValueError where nothing can be held out.
    """
    started = time.monotonic()
    train, held = split(data, plan.held, plan.seed)
    choose_part(model, plan.part, plan.seed)
    run = _Runs(model, plan, held, end, context, deadline)
    run.begin(train)
    for rate in plan.rates:
        for method in plan.methods:
            say(f"{method} at rate {rate:g}")
            run.attempt(method, rate)
    assert run.trained_on is not None
    return Pilot(
        run.trained_on, run.held, plan, run.batch, run.own, run.reference, tuple(run.tried), tuple(run.left),
        time.monotonic() - started,
    )  # fmt: skip


@dataclass(eq=False)
class _Runs:
    """The runs of a pilot on their way."""

    model: Any
    plan: PilotPlan
    held: Preferences
    end: tuple[int, ...]
    context: int
    deadline: float
    tried: list[Tried] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    slowest: float = 0.0
    trained_on: Preferences | None = None

    def begin(self, train: Preferences) -> None:
        """What all runs share: the reference's numbers, its own answers, and how many examples fit into the time."""
        self.model.eval()
        self.start = [weight.detach().clone() for weight in trainable(self.model)]
        self.runs = piloted(self.model, self.plan.part, self.held.chosen, self.held.rejected)
        self.forward = completion_forward(self.runs, self.held.chosen, self.held.rejected, share=False)
        first = self.held.examples[: self.plan.batch]
        cold, warm = (self._seconds(first) / len(first) for _ in range(2))
        left = (self.deadline - time.monotonic()) / _SAFE
        self.held = self._part(self.held, _HELD * left / cold, "were measured on", "held out")
        self.watch = self._watch(_OWN * left / (_ANSWER * cold))
        self.own = self._answers("reference", _OWN * left)
        self.reference = self._measured()
        runs = len(self.plan.methods)
        self.watch = self._watch(_KL * left / (runs * (_ANSWER + 2.0) * cold))
        texts = len(self.held.examples) + len(self.own)
        left = (self.deadline - time.monotonic()) / _SAFE
        left -= runs * (warm * texts + cold * (_ANSWER + 2.0) * self.watch.answers)
        seen = left / (cold + runs * warm * _STEP * self.plan.epochs)
        self.trained_on = self._part(train, max(0.0, seen), "were trained on", "left for training")
        self.batch = _batch_of(self.trained_on, self.plan.batch)
        if isinstance(self.runs, TrunkOnce):
            self.runs.announce(self.trained_on.examples)
        chosen, rejected = (self._tensor(side) for side in (self.trained_on.chosen, self.trained_on.rejected))
        self.shared = Reference(chosen, rejected, torch.zeros(0, device=self.forward.device))
        config = self._config(self.plan.rates[0])
        batches = epoch_batches(self.trained_on, config.batch, config.seed, 0)[:1]
        check_reference(self.runs, self.trained_on, self.forward, self.shared, batches)

    def _seconds(self, examples: Sequence[Example]) -> float:
        """How long it takes to run these."""
        began = time.monotonic()
        self._logs(examples)
        return time.monotonic() - began

    def _part(self, data: Preferences, texts: float, did: str, are: str) -> Preferences:
        """As much of the data as is affordable, so many texts; what is left out is said."""
        part = _some(data, texts // 2 if data.paired else texts, self.plan)
        if len(part.examples) < len(data.examples):
            what = "pairs" if data.paired else "examples"
            some, whole = (len(d.chosen) if d.paired else len(d.examples) for d in (part, data))
            self.left.append(f"{some} of the {whole} {what} that are {are} {did}: the time allows no more")
        return part

    def _watch(self, affordable: float) -> Watch:
        """Prompts whose answers are written, as many as are affordable."""
        count = max(_FEW, int(min(affordable, self.plan.answers)))
        return Watch(self.held, self.end, answers=count, tokens=self.plan.tokens)

    def attempt(self, method: str, rate: float) -> None:
        """One run, or a sentence why not."""
        name = f"{method} at rate {rate:g}"
        if time.monotonic() + self.slowest * _SAFE > self.deadline:
            self.left.append(f"{name} was not run: the time was over")
            return
        assert self.trained_on is not None
        began = time.monotonic()

        def on_step(step: int, steps: int, loss: float) -> None:
            if time.monotonic() > self.deadline:
                raise _OutOfTime(f"{name} was stopped after {step + 1} of {steps} steps: the time was over")

        try:
            run = train_on_preferences(
                self.runs, self.trained_on, method, self._config(rate), context=self.context, on_step=on_step,
                reference=self.shared,
            )  # fmt: skip
            chosen, rejected, off = (now - before for now, before in zip(self._measured(), self.reference, strict=True))
            kl, written = self._kl(name)
        except (_OutOfTime, TrainingDiverged) as error:
            self.left.append(str(error))
        except ValueError as error:
            self.left.append(f"{name} was not run: {error}")
        else:
            seconds = time.monotonic() - began
            self.slowest = max(self.slowest, seconds)
            self.tried.append(Tried(method, rate, len(run.loss), seconds, chosen, rejected, off, kl, written))
        finally:
            self._put(self.start)

    def _config(self, rate: float) -> PreferenceTraining:
        return PreferenceTraining(
            seed=self.plan.seed, epochs=self.plan.epochs, batch=self.batch, rate=rate, share=False,
            portion=self.plan.batch if self.batch > self.plan.batch else None,
        )  # fmt: skip

    def _measured(self) -> tuple[Array, Array, Array]:
        return self._logs(self.held.chosen), self._logs(self.held.rejected), self._logs(self.own)

    def _kl(self, name: str) -> tuple[Array, tuple[Example, ...]]:
        """Log-ratios of answers that the policy writes now (their mean is KL(π‖π_ref) of first tokens), and these."""
        written = self._answers(name, self.deadline - time.monotonic())
        now, trained = self._logs(written), [weight.detach().clone() for weight in trainable(self.model)]
        self._put(self.start)
        before = self._logs(written)
        self._put(trained)
        return now - before, written

    def _answers(self, name: str, seconds: float) -> tuple[Example, ...]:
        """Answers to the watch's prompts, a few at a time until the seconds are over; the first few always."""
        began, found = time.monotonic(), list[Example]()
        prompts = list(dict.fromkeys(example.prompt for example in self.held.examples))[: self.watch.answers]
        for at in range(0, len(prompts), self.plan.batch):
            some = set(prompts[at : at + self.plan.batch])
            sides = (tuple(e for e in self.held.examples if e.prompt in some),) * 2
            watch = replace(self.watch, held=Preferences(self.held.source, *sides, paired=False))
            found += answers(self.model, watch, self.plan.seed, f"{name} {at}" if at else name, self.context)
            if time.monotonic() - began > seconds:
                break
        return tuple(found)

    @torch.no_grad()
    def _put(self, values: Sequence[torch.Tensor]) -> None:
        for weight, value in zip(trainable(self.model), values, strict=True):
            weight.copy_(value)

    def _logs(self, examples: Sequence[Example]) -> Array:
        found: Array = self._tensor(examples).double().cpu().numpy()
        return found

    def _tensor(self, examples: Sequence[Example]) -> torch.Tensor:
        if isinstance(self.runs, TrunkOnce):
            self.runs.announce(examples)
        forward: CompletionForward = self.forward
        return log_probabilities(self.runs, forward, examples, self.plan.batch)


def _some(data: Preferences, count: float, plan: PilotPlan) -> Preferences:
    """At most `count` of the pairs, or of the examples in the classes' own proportion; at least a batch."""
    size = len(data.chosen) if data.paired else len(data.examples)
    count = max(plan.batch, int(min(count, size)))
    if count >= size:
        return data
    draw = generator(plan.seed, "pilot")
    if data.paired:
        rows = draw.permutation(size)[:count]
        return Preferences(
            data.source, tuple(data.chosen[i] for i in rows), tuple(data.rejected[i] for i in rows), paired=True
        )
    sides = []
    for side in (data.chosen, data.rejected):
        rows = draw.permutation(len(side))[: max(1, round(count * len(side) / size))]
        sides.append(tuple(side[i] for i in rows))
    chosen, rejected = sides
    return Preferences(data.source, chosen, rejected, paired=False)


def _batch_of(data: Preferences, batch: int) -> int:
    """The plan's batch, or where one class is rare the smallest in which no batch lacks it."""
    if data.paired:
        return batch
    least = min(len(data.chosen), len(data.rejected))
    return max(batch, 2, -(-len(data.examples) // least))
