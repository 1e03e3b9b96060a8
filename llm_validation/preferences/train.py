"""Training any causal language model on preferences in token batches, with any loss of `llm_validation.losses`.

The reference is the model as it is when training begins; its log-probabilities are computed once, before the first
step, and no second model is kept. The model stays in evaluation mode (no dropout), so that at step 0 policy and
reference are the same. AdamW without decay, cosine schedule, gradient clipping, bf16 autocast on a GPU.

Shapes: C chosen and R rejected examples of the data set, S steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llm_validation.losses.table import LOSSES
from llm_validation.model.model import autocast
from llm_validation.preferences.data import Batch, Example, Index, Preferences, mismatched
from llm_validation.preferences.listed import nash_objective, pro_scalar_objective, rlhf_objective
from llm_validation.preferences.objectives import Loss, Objective, PreferenceTraining, objective_of_loss
from llm_validation.preferences.resume import Checkpoint, Course
from llm_validation.preferences.sequences import CompletionForward, Layout, completion_forward, log_probabilities
from llm_validation.preferences.trace import Moved, Tracer, Watch
from llm_validation.training.loop import Gradient, History, adamw, minimise, of_loss
from llm_validation.training.schedule import Schedule
from theory.validate import Array

#: How far policy and reference may be apart at step 0, nats per 100 of a text's own: float32, and bf16 on a GPU.
_AGREE = (1e-4, 5e-2)


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
class Reference:
    """Reference log-probabilities of chosen (C,), rejected (R,) and mismatched (C + R,) examples; the last may be 0."""

    chosen: Tensor
    rejected: Tensor
    other: Tensor

    def over(self, data: Preferences, listed: Preferences) -> Reference:
        """Of the same texts listed anew."""
        if listed is data:
            return self
        sides = ((data.chosen, self.chosen), (data.rejected, self.rejected))
        known = {(e.prompt, e.completion): value for side, logs in sides for e, value in zip(side, logs, strict=True)}
        one, other = (
            torch.stack([known[e.prompt, e.completion] for e in side]) if side else self.chosen[:0]
            for side in (listed.chosen, listed.rejected)
        )  # fmt: skip
        return Reference(one, other, self.other)


def train_on_preferences(
    model: Any,
    data: Preferences,
    loss: str | Loss | Objective,
    config: PreferenceTraining,
    *,
    options: Mapping[str, Any] | None = None,
    context: int | None = None,
    on_step: Callable[[int, int, float], None] | None = None,
    watch: Watch | None = None,
    checkpoint: Checkpoint | None = None,
    reference: Reference | None = None,
) -> PreferenceRun:
    """Train `model` in place on preferences, on the device it is on; `align` on the package's page.

    Parameters
    ----------
    model
        Any causal language model of transformers; as it stands it is also the reference.
    data : Preferences
        Pairs, or labelled examples of two classes; see `read_preferences`.
    loss : str or callable
        A name of `llm_validation.losses.LOSSES`, "nlhf", "rlhf" on listed scores, or a function of (policy_chosen,
        policy_rejected, reference_chosen, reference_rejected) like those losses; a function is taken to want two
        classes. Scores of PRO-S, the programs of NLHF and RLHF: `llm_validation.preferences.listed`.
    config : PreferenceTraining
        Seed, epochs, batch, rate.
    options : mapping, optional
        Keyword arguments of the loss: kl_beta, alpha …
    context : int, optional
        Longest text in tokens, which mismatched completions and answers keep to; by default the longest of the data
        and of what is watched.
    on_step : callable, optional
        Called after each step with (step, steps, loss).
    watch : Watch, optional
        Held-out examples, on which is measured what moves: `llm_validation.preferences.trace`.
    checkpoint : Checkpoint, optional
        Where the run is kept on its way; one that is there already goes on from it.
    reference : Reference, optional
        log π_ref of the examples, by a caller who has it (several runs from one model) and has checked it.

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
    how = loss if isinstance(loss, Objective) else objective_of(loss, data, dict(options or {}), config)
    known = reference and reference.over(data, how.data)
    data, plan = how.data, how.plan(config)
    texts = (*data.examples, *(watch.held.examples if watch else ()))
    longest = max(map(len, texts)) if context is None else context
    others = mismatched(data, longest, config.seed) if how.shift == "mismatched" else ()
    model.eval()
    forward = completion_forward(model, data.chosen, data.rejected, share=config.share and data.paired)
    started = time.perf_counter()
    size = config.portion or config.batch
    if known:
        reference = replace(known, other=log_probabilities(model, forward, others, size))
    else:
        reference = _references(model, forward, data, others, min(config.batch, size))
        check_reference(model, data, forward, reference, plan[: -(-len(plan) // config.epochs)])
    reference_seconds = time.perf_counter() - started
    how.at(reference.chosen, reference.rejected)
    batch_loss = _BatchLoss(model, data, others, forward, reference, how, config.portion)
    tracer = Tracer.of(model, forward, watch, batch=size, seed=config.seed, context=longest) if watch else None
    gradient = batch_loss.in_portions if config.portion else of_loss(batch_loss)
    history, trace = descend(
        model, plan, gradient, config, how, tracer, checkpoint, on_step, guard=batch_loss.lines
    )  # fmt: skip
    sizes = [np.array([len(example) for example in side]) for side in (data.chosen, data.rejected)]
    tokens = sum(int(sizes[0][chosen].sum() + sizes[1][rejected].sum()) for chosen, rejected in plan)
    return run_of(history, trace, tokens, reference_seconds, forward.layout)


def descend(
    model: Any,
    plan: Sequence[Any],
    gradient: Gradient[Any],
    config: PreferenceTraining,
    kept: Any,
    tracer: Tracer | None,
    checkpoint: Checkpoint | None,
    on_step: Callable[[int, int, float], None] | None,
    guard: Callable[[Any], str],
) -> tuple[History, Sequence[Moved]]:
    """The steps of a plan that are left, with measurements and checkpoints; `kept` has the state `total`, `count`."""
    schedule = Schedule(len(plan), config.rate, int(config.warmup * len(plan)), config.clip)
    course = Course(model, adamw(model, schedule), kept, len(plan), tracer, checkpoint, on_step)
    history = course.begin()
    minimise(
        model, plan[len(history.losses):], gradient, schedule, name="training", optimiser=course.optimiser,
        history=history, on_step=course, guard=guard,
    )  # fmt: skip
    return history, course.trace


def run_of(
    history: History, trace: Sequence[Moved], tokens: int, reference_seconds: float, layout: Layout
) -> PreferenceRun:
    """What a training did."""
    losses, norms = (np.array(values)[:, 0] for values in (history.losses, history.norms))
    seconds = history.seconds
    return PreferenceRun(losses, norms, tokens / seconds, seconds, reference_seconds, layout, tuple(trace))


def objective_of(
    loss: str | Loss, data: Preferences, options: Mapping[str, Any], config: PreferenceTraining
) -> Objective:
    """What a training on these data minimises. ValueError for a loss, an option or data that it cannot have."""
    if loss == "pro_scalar":
        return pro_scalar_objective(data, options, config)
    if loss == "nlhf":
        return nash_objective(data, options, config)
    if loss == "rlhf":
        return rlhf_objective(data, options, config)
    return objective_of_loss(loss, data, options, config)


def trainable() -> list[str]:
    """Names of the losses that preferences can train."""
    return [*LOSSES, "nlhf"]


@torch.no_grad()
def _references(
    model: Any, forward: CompletionForward, data: Preferences, others: Sequence[Example], batch: int
) -> Reference:
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
    return Reference(chosen, rejected, log_probabilities(model, forward, others, batch))


@torch.no_grad()
def check_reference(
    model: Any, data: Preferences, forward: CompletionForward, reference: Reference, batches: Sequence[Batch]
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
                    f"{data.source}, {data.where(side[int(rows[k])])}: its log-probability is {float(before[k]):.4f} "
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
    reference: Reference
    objective: Objective
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
        return self.objective(policy, reference, other, batch)

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
        chosen, rejected = (", ".join(map(self.data.where, side)) for side in _both(self.data, *batch))
        return (
            f"the batch: chosen of {chosen}, rejected of {rejected} of {self.data.source}. "
            "The weights are those before the step"
        )
