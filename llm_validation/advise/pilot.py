"""The pilot: every method trained for a few steps from the same weights, and what it moved on held-out examples.

The trainer is `align`'s. What runs share is done once: the pass of the frozen blocks over all texts, the reference's
numbers and its answers. The time left is divided evenly over the methods left, those of cheap steps first; a run whose
part is over stops there and is measured, and how many of its steps it did is said. Every run sees the same examples in
the same order.

Shapes: C chosen and R rejected held-out examples, O answers of the reference's own, K answers of the policy.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from llm_validation.advise.accuracy import Accuracy, Groups
from llm_validation.advise.trunk import TrunkOnce, piloted
from llm_validation.preferences.data import Example, Preferences, epoch_batches, mismatched
from llm_validation.preferences.objectives import SHIFTS, PreferenceTraining
from llm_validation.preferences.report import below_zero
from llm_validation.preferences.sequences import CompletionForward, completion_forward, divergences, log_probabilities
from llm_validation.preferences.trace import Mean, Watch, answers, copy_into, prompt_groups, put, split
from llm_validation.preferences.train import Reference, check_reference, train_on_preferences
from llm_validation.training.loop import TrainingDiverged, trainable
from llm_validation.training.parts import choose_part
from simulate.montecarlo import generator
from theory.validate import Array

#: An answer costs so many passes over a text, and with its KL so many times what writing it did; what estimates of
#: time are multiplied by.
_ANSWER, _CHECKED, _SAFE = 4.0, 1.5, 1.3
#: Shares of the time for the reference's numbers on held-out examples and its answers; of what is left then, for the
#: first pass over the training examples and for the answers of all policies.
_HELD, _OWN, _FIRST, _KL = 0.15, 0.08, 0.45, 0.25
#: Times what measuring takes that a run has at least: where the time is short, fewer are run, the first of them.
_LEAST = 2.0
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
class PilotRun:
    """A method at a rate: log π − log π_ref of held-out chosen (C,), rejected (R,), the reference's answers (O,).

    steps, planned  those that its time allowed, of so many
    seconds, first  of training until the last step was done, and until the first was; measuring and writing not counted
    written, kl  answers it writes itself (K,), and KL(π‖π_ref) of what may come next, summed over the tokens of each
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
    planned: int | None = None
    first: float = 0.0


@dataclass(frozen=True, eq=False)
class Pilot:
    """What was tried, what was not and why, on which examples.

    trained_on, held  the examples;  batch  per step
    own               the reference's own answers to held-out prompts
    reference         log π_ref of held chosen, held rejected and own answers
    begun             held chosen and rejected examples of these prompts, cut as long as an answer may be, and log π_ref
    texts             how many examples there were to train on, and held out; pairs count twice
    """

    trained_on: Preferences
    held: Preferences
    plan: PilotPlan
    batch: int
    own: tuple[Example, ...]
    reference: tuple[Array, Array, Array]
    begun: tuple[tuple[tuple[Example, ...], Array], ...]
    texts: tuple[int, int]
    tried: tuple[PilotRun, ...]
    left: tuple[str, ...]
    seconds: float

    @property
    def groups(self) -> Groups:
        """Of the held-out examples, by prompt."""
        return prompt_groups(self.held)

    def right(self, run: PilotRun) -> Accuracy:
        """How right a run is on them."""
        return Accuracy.of(run.chosen, run.rejected, self.held.paired, self.groups)

    def moved(self, run: PilotRun) -> tuple[Mean, Mean]:
        """By how much chosen and rejected moved."""
        one, other = self.groups or (None, None)
        return Mean.of(run.chosen, one), Mean.of(run.rejected, other)

    def fell(self, run: PilotRun) -> bool:
        """Did the chosen fall, beyond noise?"""
        return below_zero(self.moved(run)[0])


class NoTime(ValueError):
    """The time was over before the first method."""


class _PartOver(Exception):
    """The part of the time that a run has is over."""


def run_pilot(
    model: Any, data: Preferences, plan: PilotPlan, end: tuple[int, ...], context: int, deadline: float,
    say: Callable[[str], None] = lambda _: None,
) -> Pilot:  # fmt: skip
    """Train every method of the plan before `deadline`, a reading of time.monotonic(); the model ends as it began.

    end      tokens that end an answer;  context  longest text in tokens
    ValueError where nothing can be held out; NoTime where the time does not reach for what all methods share.
    """
    started = time.monotonic()
    train, held = split(data, plan.held, plan.seed)
    choose_part(model, plan.part, plan.seed)
    run = _Runs(model, plan, held, end, context, deadline)
    run.begin(train)
    methods = sorted(plan.methods, key=_passes)
    for rate in plan.rates:
        for k, method in enumerate(methods):
            say(run.attempt(method, rate, len(methods) - k))
    assert run.trained_on is not None
    if run.late:
        run.left.append(f"{named(run.late)} not run: the time was over")
    return Pilot(
        run.trained_on, run.held, plan, run.batch, run.own, run.reference, run.begun,
        (len(train.examples), len(held.examples)), tuple(run.tried), tuple(run.left), time.monotonic() - started,
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
    tried: list[PilotRun] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    late: list[tuple[str, float]] = field(default_factory=list)
    measuring: float = 0.0
    trained_on: Preferences | None = None

    def begin(self, train: Preferences) -> None:
        """What all runs share: the reference's numbers, its own answers, and how many examples fit into the time."""
        self._in_time()
        self.model.eval()
        self.start = [weight.detach().clone() for weight in trainable(self.model)]
        self.runs = piloted(self.model, self.plan.part, self.held.chosen, self.held.rejected)
        self.forward = completion_forward(self.runs, self.held.chosen, self.held.rejected, share=False)
        first = self.held.examples[: self.plan.batch]
        began = time.monotonic()
        self._logs(first)
        cold = (time.monotonic() - began) / len(first)
        left = (self.deadline - time.monotonic()) / _SAFE
        self.held = self._part(self.held, _HELD * left / cold)
        self.watch = self._watch(_OWN * left / (_ANSWER * cold))
        self._in_time()
        began = time.monotonic()
        self.own = self._answers("reference", _OWN * left)
        answer = _CHECKED * (time.monotonic() - began) / len(self.own)  # cold passes say little of it
        self._in_time()
        began = time.monotonic()
        self.reference = self._measured()
        # by what the pass took and not by the first batch: the machine may have got busier
        text = (time.monotonic() - began) / sum(map(len, self.reference))
        self.begun = tuple(
            (some, self._logs(some)) for some in map(self._begun, (self.held.chosen, self.held.rejected))
        )
        runs, left = len(self.plan.methods), max(0.0, self.deadline - time.monotonic()) / _SAFE
        self.watch = self._watch(_KL * left / (runs * answer))
        self.trained_on = some = self._part(train, _FIRST * left / text)
        self.batch = batch_of(some, self.plan.batch)
        self._in_time()
        chosen, rejected = (self._tensor(side) for side in (some.chosen, some.rejected))
        self.shared = Reference(chosen, rejected, torch.zeros(0, device=self.forward.device))
        self._in_time()
        config = self._config(self.plan.rates[0])
        batches = epoch_batches(some, config.batch, config.seed, 0)[:1]
        check_reference(self.runs, some, self.forward, self.shared, batches)
        began = time.monotonic()
        self._measured()
        self.measuring = time.monotonic() - began + answer * self.watch.answers

    def _in_time(self) -> None:
        """NoTime where the time is over: what all methods share has been begun, and leads to nothing now."""
        if time.monotonic() > self.deadline:
            raise NoTime("the time was over before the first method (more --minutes, or a smaller model)")

    def _part(self, data: Preferences, texts: float) -> Preferences:
        """As much of the data as is affordable, so many texts."""
        return _some(data, texts // 2 if data.paired else texts, self.plan)

    def _begun(self, side: Sequence[Example]) -> tuple[Example, ...]:
        """Examples of the prompts that have an answer of the reference's own, cut as its answers are."""
        prompts, longest = {e.prompt for e in self.own}, max(len(e.completion) for e in self.own)
        return tuple(replace(e, completion=e.completion[:longest]) for e in side if e.prompt in prompts)

    def _watch(self, affordable: float) -> Watch:
        """Prompts whose answers are written, as many as are affordable."""
        count = max(_FEW, int(min(affordable, self.plan.answers)))
        return Watch(self.held, self.end, answers=count, tokens=self.plan.tokens)

    def attempt(self, method: str, rate: float, left: int) -> str:
        """One run of `left` that share the time left; what became of it."""
        name, began = f"{method} at rate {rate:g}", time.monotonic()
        time_left = max(0.0, self.deadline - began)
        part = time_left / max(1.0, min(left, time_left / (_LEAST * self.measuring + 1e-9)))
        if part <= self.measuring:
            self.late.append((method, rate))
            return f"{name} was not run: the time left does not reach"
        assert self.trained_on is not None
        until, done, ended = began + part - self.measuring, [0, 0], list[float]()

        def on_step(step: int, steps: int, loss: float) -> None:
            done[:] = step + 1, steps
            ended.append(time.monotonic())
            if ended[-1] > until:
                raise _PartOver

        try:
            if _passes(method) and isinstance(self.runs, TrunkOnce):
                self.runs.announce(mismatched(self.trained_on, self.context, self.plan.seed))
            with contextlib.suppress(_PartOver):
                train_on_preferences(
                    self.runs, self.trained_on, method, self._config(rate), context=self.context, on_step=on_step,
                    reference=self.shared,
                )  # fmt: skip
            trained = time.monotonic()
            chosen, rejected, off = (now - before for now, before in zip(self._measured(), self.reference, strict=True))
            kl, written = self._kl(name)
        except TrainingDiverged as error:
            return self._leave(str(error))
        except ValueError as error:
            return self._leave(f"{name} was not run: {error}")
        finally:
            copy_into(trainable(self.model), self.start)
        self.measuring = time.monotonic() - trained
        first, seconds = ended[0] - began, ended[-1] - began
        self.tried.append(PilotRun(method, rate, done[0], seconds, chosen, rejected, off, kl, written, done[1], first))
        return f"{name}: {done[0]} of {done[1]} steps in {time.monotonic() - began:.0f} seconds"

    def _leave(self, sentence: str) -> str:
        self.left.append(sentence)
        return sentence

    def _config(self, rate: float) -> PreferenceTraining:
        return PreferenceTraining(
            seed=self.plan.seed, epochs=self.plan.epochs, batch=self.batch, rate=rate, share=False,
            portion=self.plan.batch if self.batch > self.plan.batch else None,
        )  # fmt: skip

    def _measured(self) -> tuple[Array, Array, Array]:
        return self._logs(self.held.chosen), self._logs(self.held.rejected), self._logs(self.own)

    def _kl(self, name: str) -> tuple[Array, tuple[Example, ...]]:
        """KL(π‖π_ref) of answers that the policy writes now, and these."""
        written = self._answers(name, self.deadline - time.monotonic())
        if isinstance(self.runs, TrunkOnce):
            self.runs.announce(written)
        reference = partial(put, trainable(self.model), self.start)
        found = divergences(self.runs, self.forward, written, self.plan.batch, reference)
        return found.double().cpu().numpy(), written

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

    def _logs(self, examples: Sequence[Example]) -> Array:
        found: Array = self._tensor(examples).double().cpu().numpy()
        return found

    def _tensor(self, examples: Sequence[Example]) -> torch.Tensor:
        if isinstance(self.runs, TrunkOnce):
            self.runs.announce(examples)
        forward: CompletionForward = self.forward
        return log_probabilities(self.runs, forward, examples, self.plan.batch)


def named(runs: Sequence[tuple[str, float]]) -> str:
    """Methods by their rates."""
    rates: dict[float, list[str]] = {}
    for method, rate in runs:
        rates.setdefault(rate, []).append(method)
    return "; ".join(f"{', '.join(methods)} at rate {rate:g}" for rate, methods in rates.items())


def _passes(method: str) -> int:
    """How dear a step is: passes over its texts beside the step's own."""
    return int(SHIFTS.get(method) == "mismatched")


def _some(data: Preferences, count: float, plan: PilotPlan) -> Preferences:
    """Whole prompts with about `count` of the pairs, or examples; at least a batch, and some of each class."""
    size = len(data.chosen) if data.paired else len(data.examples)
    count = max(plan.batch, int(min(count, size)))
    if count >= size:
        return data
    prompts = sorted({example.prompt for example in data.examples})
    rows: dict[tuple[int, ...], list[int]] = {prompt: [0, 0] for prompt in prompts}
    for side, examples in enumerate((data.chosen, data.rejected)):
        for example in examples:
            rows[example.prompt][side] += 1
    taken, seen = set(), [0, 0]
    for i in generator(plan.seed, "pilot").permutation(len(prompts)):
        own = rows[prompts[i]]
        lacking = any(have == 0 and more > 0 for have, more in zip(seen, own, strict=True))
        if seen[0] + (0 if data.paired else seen[1]) < count or lacking:
            taken.add(prompts[i])
            seen = [have + more for have, more in zip(seen, own, strict=True)]
    chosen, rejected = (tuple(e for e in side if e.prompt in taken) for side in (data.chosen, data.rejected))
    return replace(data, chosen=chosen, rejected=rejected)


def batch_of(data: Preferences, batch: int) -> int:
    """The plan's batch, or where one class is rare the smallest in which no batch lacks it."""
    if data.paired:
        return batch
    least = min(len(data.chosen), len(data.rejected))
    return max(batch, 2, -(-len(data.examples) // least))
