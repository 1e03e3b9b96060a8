"""Training any causal language model on preferences in token batches, with any loss of `llm_validation.losses`.

The reference is the model as it is when training begins; its log-probabilities are computed once, before the first
step, and no second model is kept. The model stays in evaluation mode (no dropout), so that at step 0 policy and
reference are the same. AdamW without decay, cosine schedule, gradient clipping, bf16 autocast on a GPU.

Shapes: C chosen and R rejected examples of the data set, S steps.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from llm_validation.losses.options import check_options
from llm_validation.losses.table import LOSSES
from llm_validation.losses.unpaired import kto_reference_point
from llm_validation.model.model import autocast
from llm_validation.preferences.data import Example, Index, Preferences, epoch_batches, mismatched
from llm_validation.preferences.resume import Checkpoint, Course
from llm_validation.preferences.sequences import CompletionForward, Layout, completion_forward, log_probabilities
from llm_validation.preferences.trace import Moved, Tracer, Watch
from llm_validation.training.loop import adamw, minimise, of_loss
from llm_validation.training.schedule import Schedule
from theory.validate import Array

Loss = Callable[..., Tensor]
Shift = Literal["zero", "mismatched", "running_mean"]
#: What the public trainers put in place of a loss's constant; every other loss has shift zero.
SHIFTS: dict[str, Shift] = {"kto": "mismatched", "bco": "running_mean"}


Batch = tuple[Index, Index]
#: How far policy and reference may be apart at step 0, nats per 100 of a text's own: float32, and bf16 on a GPU.
_AGREE = (1e-4, 5e-2)


@dataclass(frozen=True)
class PreferenceTraining:
    """How to train.

    seed     names the order of batches and the mismatched completions
    epochs   passes over the data
    batch    pairs, or examples of both classes, per step
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


@dataclass(frozen=True, eq=False)
class PreferenceRun:
    """What a run leaves besides the model.

    loss, grad_norm    (S,) of every batch, the norm before clipping
    tokens_per_second  tokens of the batches' examples (prompt, completion and end; no padding, mismatched
                       completions not counted), per second of training
    seconds            of training; reference_seconds of the passes for the reference before it
    layout             how the model was run: `llm_validation.preferences.sequences`
    trace              what moved, where it was watched: before the first step first, after the last one last
    """

    loss: Array
    grad_norm: Array
    tokens_per_second: float
    seconds: float
    reference_seconds: float
    layout: Layout
    trace: tuple[Moved, ...] = ()


@dataclass(frozen=True, eq=False)
class _Reference:
    """Reference log-probabilities of chosen (C,), rejected (R,) and mismatched (C + R,) examples; the last may be 0."""

    chosen: Tensor
    rejected: Tensor
    other: Tensor


def train_on_preferences(
    model: Any,
    data: Preferences,
    loss: str | Loss,
    config: PreferenceTraining,
    *,
    options: Mapping[str, Any] | None = None,
    context: int | None = None,
    on_step: Callable[[int, int, float], None] | None = None,
    watch: Watch | None = None,
    checkpoint: Checkpoint | None = None,
) -> PreferenceRun:
    """Train `model` in place on preferences, on the device it is on; `align` on the package's page.

    Parameters
    ----------
    model
        Any causal language model of transformers; as it stands it is also the reference.
    data : Preferences
        Pairs, or labelled examples of two classes; see `read_preferences`.
    loss : str or callable
        A name of `llm_validation.losses.LOSSES` with pairs or two classes, or a function of (policy_chosen,
        policy_rejected, reference_chosen, reference_rejected) like those; a function is taken to want two classes.
    config : PreferenceTraining
        Seed, epochs, batch, rate.
    options : mapping, optional
        Keyword arguments of the loss: kl_beta, alpha …
    context : int, optional
        Longest text in tokens, which mismatched completions keep to; by default the longest of the data.
    on_step : callable, optional
        Called after each step with (step, steps, loss).
    watch : Watch, optional
        Held-out examples, on which is measured what moves: `llm_validation.preferences.trace`.
    checkpoint : Checkpoint, optional
        Where the run is kept on its way; one that is there already goes on from it.

    Returns
    -------
    PreferenceRun
        Loss and gradient norm of every batch, tokens per second.

    Raises
    ------
    ValueError
        Before the first step: an unknown loss or option, pairs asked for and not there, a shift that the loss does not
        have, a class too small for the batches.
    TrainingDiverged
        Names the step, the value and the lines of the batch.

    Examples
    --------
    >>> from llm_validation import align
    >>> from llm_validation.model.model import build
    >>> chosen, rejected = Example((3,), (4, 1), line=1), Example((3,), (5, 1), line=1)
    >>> pairs = Preferences("example", (chosen,), (rejected,), paired=True)
    >>> model = build("smoke", vocab_size=16, context=32, seed=0)
    >>> run = align(model, pairs, "dpo", PreferenceTraining(seed=0, batch=1, epochs=20, rate=1e-3))
    >>> round(float(run.loss[0]), 4), bool(run.loss[-1] < 0.6)  # log 2 at the reference
    (0.6931, True)
    """
    how = _Objective.of(loss, data, dict(options or {}), config)
    plan = [rows for epoch in range(config.epochs) for rows in epoch_batches(data, config.batch, config.seed, epoch)]
    longest = max(map(len, data.examples)) if context is None else context
    others = mismatched(data, longest, config.seed) if how.shift == "mismatched" else ()
    model.eval()
    forward = completion_forward(model, data.chosen, data.rejected, share=config.share and data.paired)
    started = time.perf_counter()
    reference = _references(model, forward, data, others, min(config.batch, config.portion or config.batch))
    reference_seconds = time.perf_counter() - started
    check_reference(model, data, forward, reference, plan[: -(-len(plan) // config.epochs)])
    schedule = Schedule(len(plan), config.rate, int(config.warmup * len(plan)), config.clip)
    batch_loss = _BatchLoss(model, data, others, forward, reference, how, config.portion)
    size = config.portion or config.batch
    tracer = Tracer.of(model, forward, watch, batch=size, seed=config.seed, context=longest) if watch else None
    course = Course(model, adamw(model, schedule), how, len(plan), tracer, checkpoint, on_step)
    history = course.begin()
    minimise(
        model, plan[len(history.losses):], batch_loss.in_portions if config.portion else of_loss(batch_loss), schedule,
        name="training", optimiser=course.optimiser, history=history, on_step=course, guard=batch_loss.lines,
    )  # fmt: skip
    sizes = [np.array([len(example) for example in side]) for side in (data.chosen, data.rejected)]
    tokens = sum(int(sizes[0][chosen].sum() + sizes[1][rejected].sum()) for chosen, rejected in plan)
    losses, norms = (np.array(values)[:, 0] for values in (history.losses, history.norms))
    seconds = history.seconds
    return PreferenceRun(
        losses, norms, tokens / seconds, seconds, reference_seconds, forward.layout, tuple(course.trace)
    )


@dataclass(eq=False)
class _Objective:
    """A loss with its options and its shift; the running mean is its only state."""

    function: Loss
    options: dict[str, Any]
    shift: Shift
    kl_beta: float
    class_weights: tuple[float, float] | None = None
    total: float = 0.0
    count: int = 0

    @classmethod
    def of(cls, loss: str | Loss, data: Preferences, options: dict[str, Any], config: PreferenceTraining) -> _Objective:
        name = loss if isinstance(loss, str) else getattr(loss, "__name__", "loss")
        function = _function(loss, data) if isinstance(loss, str) else loss
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
        beta = options.get("kl_beta", known["kl_beta"].default if "kl_beta" in known else 1.0)
        return cls(function, options, shift, beta, config.class_weights)

    def __call__(self, policy: Sequence[Tensor], reference: Sequence[Tensor], other: Tensor | None) -> Tensor:
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


def _function(name: str, data: Preferences) -> Loss:
    if name not in LOSSES:
        raise ValueError(f"no loss {name!r}; there are {', '.join(trainable())}")
    if name not in trainable():
        raise ValueError(f"{name} learns from scores; losses of preferences are {', '.join(trainable())}")
    if LOSSES[name].feedback == "pairs" and not data.paired:
        raise ValueError(f"{name} needs pairs of chosen and rejected, and {data.source} has labelled examples")
    return LOSSES[name].function


def trainable() -> list[str]:
    """Names of the losses that preferences can train."""
    return [name for name, entry in LOSSES.items() if entry.feedback in ("pairs", "unpaired")]


@torch.no_grad()
def _references(
    model: Any, forward: CompletionForward, data: Preferences, others: Sequence[Example], batch: int
) -> _Reference:
    """All reference log-probabilities; texts of like length go together, so that little is padded."""
    if forward.layout == "shared":
        chosen, rejected = (torch.zeros(len(data.chosen), device=forward.device) for _ in range(2))
        order = np.argsort(
            [len(one) + len(other) for one, other in zip(data.chosen, data.rejected, strict=True)], kind="stable"
        )
        for rows in np.split(order, range(batch, len(order), batch)):
            index = torch.as_tensor(rows, device=forward.device)
            with autocast(forward.device):
                chosen[index], rejected[index] = forward(model, *_both(data, rows, rows))
    else:
        logs = log_probabilities(model, forward, data.examples, batch)
        chosen, rejected = logs[: len(data.chosen)], logs[len(data.chosen) :]
    return _Reference(chosen, rejected, log_probabilities(model, forward, others, batch))


@torch.no_grad()
def check_reference(
    model: Any, data: Preferences, forward: CompletionForward, reference: _Reference, batches: Sequence[Batch]
) -> None:
    """Policy and reference are the same before the first step, on every text of a pass, whatever its batch.

    ValueError names the text whose log-probability depends on what else is in its batch (positions that are scaled by
    the longest text, say): its log-ratio would not be 0 at the start, and mean nothing after.
    """
    for chosen, rejected in batches:
        with autocast(forward.device):
            policy = forward(model, *_both(data, chosen, rejected))
        sides = zip(policy, (reference.chosen, reference.rejected), (chosen, rejected), strict=True)
        for side, (now, all_before, rows) in zip((data.chosen, data.rejected), sides, strict=True):
            before = all_before[torch.as_tensor(rows, device=all_before.device)]
            room = _AGREE[forward.device.type == "cuda"] * (1.0 + before.abs() / 100.0)
            off = (now - before).abs() > room
            if bool(off.any()):
                k = int(off.nonzero()[0])
                raise ValueError(
                    f"{data.source}, line {side[int(rows[k])].line}: its log-probability is {float(before[k]):.4f} "
                    f"nats in one batch and {float(now[k]):.4f} in another: a {type(model).__name__} whose texts "
                    "depend on each other cannot be its own reference"
                )


def _both(data: Preferences, chosen: Index, rejected: Index) -> tuple[list[Example], list[Example]]:
    return [data.chosen[i] for i in chosen], [data.rejected[i] for i in rejected]


@dataclass(frozen=True, eq=False)
class _BatchLoss:
    """The loss of a batch of (chosen, rejected) examples."""

    model: Any
    data: Preferences
    others: Sequence[Example]
    forward: CompletionForward
    reference: _Reference
    objective: _Objective
    portion: int | None = None

    def __call__(self, batch: tuple[Index, Index]) -> Tensor:
        with autocast(self.forward.device):
            policy = self.forward(self.model, *_both(self.data, *batch))
        return self._of(policy, batch)

    def in_portions(self, step: int, batch: tuple[Index, Index]) -> Tensor:
        """The same gradient with few examples in memory at a time: see `PreferenceTraining.portion`."""
        examples = [example for side in _both(self.data, *batch) for example in side]
        places = self._portions(*map(len, batch))
        logs = torch.zeros(len(examples), device=self.forward.device)
        with torch.no_grad():
            for rows in places:
                logs[rows] = self._run(examples, rows)
        logs.requires_grad_()
        loss = self._of(logs.split([len(side) for side in batch]), batch)
        (slopes,) = torch.autograd.grad(loss, logs)
        for rows in places:
            self._run(examples, rows).backward(slopes[rows])
        return loss.detach()

    def _portions(self, chosen: int, rejected: int) -> list[Tensor]:
        """Places in the batch's examples, chosen before rejected, that are run together; pairs stay together."""
        every = torch.arange(chosen + rejected, device=self.forward.device)
        assert self.portion is not None
        if not self.data.paired:
            return list(every.split(self.portion))
        return [torch.cat([rows, chosen + rows]) for rows in every[:chosen].split(self.portion)]

    def _run(self, examples: Sequence[Example], rows: Tensor) -> Tensor:
        """Log-probabilities of a portion."""
        mine = [examples[i] for i in rows.tolist()]
        with autocast(self.forward.device):
            if not self.data.paired:
                return self.forward.rows(self.model, mine)
            return torch.cat(self.forward(self.model, mine[: len(mine) // 2], mine[len(mine) // 2 :]))

    def _of(self, policy: Sequence[Tensor], batch: tuple[Index, Index]) -> Tensor:
        """The loss of the batch, from its log-probabilities."""
        with autocast(self.forward.device):
            other = self._mismatched(*batch)
        sides = zip((self.reference.chosen, self.reference.rejected), batch, strict=True)
        reference = [logs[torch.as_tensor(rows, device=logs.device)] for logs, rows in sides]
        return self.objective(policy, reference, other)

    @torch.no_grad()
    def _mismatched(self, chosen: Index, rejected: Index) -> Tensor | None:
        """Log-ratios of the batch's prompts with completions of other prompts, without gradient."""
        if not self.others:
            return None
        rows = np.concatenate([chosen, len(self.data.chosen) + rejected])
        size = self.portion or len(rows)
        parts = np.split(rows, range(size, len(rows), size))
        logs = torch.cat([self.forward.rows(self.model, [self.others[i] for i in part]) for part in parts])
        return logs - self.reference.other[torch.as_tensor(rows, device=logs.device)]

    def lines(self, batch: tuple[Index, Index]) -> str:
        """Which lines of the file a batch is from."""
        chosen, rejected = (", ".join(str(example.line) for example in side) for side in _both(self.data, *batch))
        return (
            f"the batch: chosen of lines {chosen}, rejected of lines {rejected} of {self.data.source}. "
            "The weights are those before the step"
        )
