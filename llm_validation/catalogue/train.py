"""One training loop for everything that is trained on a catalogue: an objective of the exact log-policy, minimised.

An objective maps (step, log π) to a loss. It holds the data; the loop holds the optimiser: AdamW without decay, cosine
schedule after a short warm-up, gradient clipping, and a guard that stops at the first loss that is no number.

Shapes: P prompts, A responses and off, S recorded steps (of one seed) or seeds (of a stack).
"""

from __future__ import annotations

import copy
import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from llm_validation.catalogue.passes import Passes, PolicyReader, Reader, RewardReader, Stacked
from llm_validation.catalogue.trie import PrefixTrie
from llm_validation.model.sharding import reshard, shard, whole
from theory.validate import Array

Objective = Callable[[int, Tensor], Tensor]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    steps    optimiser steps
    rate     peak learning rate; it falls to a hundredth along a cosine
    warmup   steps of linear warm-up
    clip     largest gradient norm, over all parameters
    record   every so many steps the policy is recorded
    """

    steps: int = 400
    rate: float = 1e-3
    warmup: int = 10
    clip: float = 1.0
    record: int = 20

    def slower(self, factor: float) -> Schedule:
        """The same schedule at `factor` times the rate."""
        return replace(self, rate=factor * self.rate)

    def longer(self, factor: int) -> Schedule:
        """The same schedule over `factor` times the steps."""
        return replace(self, steps=factor * self.steps, record=factor * self.record)

    def rate_at(self, step: int) -> float:
        """Learning rate of a step (from 0)."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        share = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * share)))


@dataclass(frozen=True, eq=False)
class Trained:
    """What a run leaves: the exact log-policy along the way, and at its end.

    step           (S,) recorded steps; the first is 0, the reference
    path           (S, P, A + 1) log π, float64; of a reward model (S, P, A), its rewards
    loss           (S,) and grad_norm (S,): the objective and its gradient before clipping, at those steps
    extra          the trained extra parameters, in their order
    tokens         positions of the prefix tree through forward and backward, over all steps
    seconds        of training; of the whole stack where seeds are trained side by side
    """

    step: Array
    path: Array
    loss: Array
    grad_norm: Array
    extra: tuple[Array, ...]
    tokens: int
    seconds: float

    @property
    def log_policy(self) -> Array:
        """(P, A + 1) at the end."""
        return self.path[-1]

    @property
    def policy(self) -> Array:
        """(P, A + 1) at the end, normalised (float32 leaves about 1e-6)."""
        mass = np.exp(self.log_policy)
        return mass / mass.sum(axis=1, keepdims=True)


class TrainingDiverged(RuntimeError):
    """A loss or gradient that is no number: the run stops here, and says where."""


@dataclass(frozen=True, eq=False)
class Task:
    """One training on one catalogue.

    model       trained in place
    objective   (step, outputs) → loss; outputs are log π (P, A + 1), or the rewards (P, A) of a reward model
    extra, extra_rate  free constants of a loss (BCO's δ, KTO's z₀), with their own learning rate
    head        (H,) of a reward model on `model`'s hidden states; None: the model's policy is trained
    """

    model: Any
    trie: PrefixTrie
    objective: Objective
    schedule: Schedule
    extra: tuple[Tensor, ...] = ()
    extra_rate: float = 0.02
    name: str = "training"
    head: Tensor | None = None

    @property
    def reader(self) -> Any:
        """The module that maps trees to outputs."""
        return PolicyReader(self.model) if self.head is None else RewardReader(self.model.base_model, self.head)

    @property
    def shape(self) -> tuple[Any, ...]:
        """Tasks in which this is equal can be trained side by side."""
        sizes = tuple((name, parameter.shape) for name, parameter in self.model.named_parameters())
        kind = (type(self.model), self.schedule, self.head is None, len(self.extra), self.extra_rate)
        return (*kind, self.trie.n_prompts, self.trie.tokens.device, sizes)


#: What trains a task: `train_one`, or a place in a stack (`side_by_side`).
Trainer = Callable[[Task], Trained]


def train_one(task: Task) -> Trained:
    """Train a task by itself."""
    return train_side_by_side([task])[0]


def train(
    model: Any,
    trie: PrefixTrie,
    objective: Objective,
    schedule: Schedule,
    *,
    extra: Sequence[Tensor] = (),
    extra_rate: float = 0.02,
    name: str = "training",
) -> Trained:
    """Minimise `objective(step, log π)` over the model's weights (in place) and over `extra` parameters.

    TrainingDiverged names the run, the step and what was not finite; the weights before it are those on disk that
    the run started from. Too little memory: see `tree_passes.Passes`.
    """
    return train_side_by_side([Task(model, trie, objective, schedule, tuple(extra), extra_rate, name)])[0]


def train_side_by_side(tasks: Sequence[Task]) -> list[Trained]:
    """Train one task, or several of equal `shape` (the seeds of one run) as one stack; the same numbers up to rounding.

    Weights, gradient norms and losses stay each seed's own. ValueError if the shapes differ.
    """
    first = tasks[0]
    if any(task.shape != first.shape for task in tasks[1:]):
        raise ValueError(f"{first.name}: tasks of different shapes cannot be trained side by side")
    readers = [task.reader for task in tasks]
    stack = Stacked(readers) if len(tasks) > 1 else None
    trained = _minimise(stack or readers[0], readers, tasks)
    if stack is not None:
        stack.write_back()
    del stack
    _free_graphs(first.trie.tokens.device)
    return trained


def _free_graphs(device: torch.device) -> None:
    """A module with CUDA graphs is a reference cycle, and holds weights, gradients and the graphs' own memory."""
    if device.type == "cuda":
        gc.collect()


def train_sharded(task: Task) -> Trained:
    """Train a task with its model divided among all processes, which call this together; each ends with whole weights.

    Every process passes the whole catalogue: what is divided is memory, not work.
    """
    divided = replace(task, model=copy.deepcopy(task.model), head=None if task.head is None else task.head.clone())
    reader = divided.reader
    shard(reader, divided.model.base_model)
    trained = _minimise(reader, [reader], [divided], alone=False)[0]
    reshard(reader)
    with torch.no_grad():
        own = dict(task.reader.named_parameters())
        for name, part in reader.named_parameters():
            own[name].copy_(whole(part.detach()))
    return trained


def _minimise(
    module: nn.Module, readers: Sequence[Reader], tasks: Sequence[Task], *, alone: bool = True
) -> list[Trained]:
    """The loop, over a module that reads the trees of all tasks at once; not `alone`: other processes take part."""
    schedule = tasks[0].schedule
    passes = Passes(module, readers, [task.trie for task in tasks], tasks[0].name, alone=alone)
    if alone:
        passes.capture()
    weights = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimiser = _adamw(weights, tasks)

    def evaluate(step: int, *, gradient: bool = True) -> tuple[list[Tensor], Tensor]:
        found = zip(readers, passes.forward(gradient=gradient), tasks, strict=True)
        outputs = [reader.finish(own, task.trie) for reader, own, task in found]
        return outputs, torch.stack([task.objective(step, own) for task, own in zip(tasks, outputs, strict=True)])

    records: list[_Record] = []
    started = time.perf_counter()
    for step in range(schedule.steps):
        outputs, losses = evaluate(step)
        optimiser.zero_grad(set_to_none=True)
        losses.sum().backward()
        passes.backward()
        norms = clip_norms(weights, schedule.clip, len(tasks))
        _require_finite(tasks, step, losses.detach(), norms)
        for group in optimiser.param_groups:
            group["lr"] = group["scale"] * schedule.rate_at(step)
        if step % schedule.record == 0:
            records.append(_Record.of(step, outputs, losses, norms))
        optimiser.step()
    seconds = time.perf_counter() - started
    with torch.no_grad():
        outputs, losses = evaluate(schedule.steps, gradient=False)
    records.append(_Record.of(schedule.steps, outputs, losses, torch.full_like(losses, math.nan)))
    optimiser.zero_grad(set_to_none=True)  # a graph's gradients are part of its memory
    return [_trained(task, seed, records, seconds) for seed, task in enumerate(tasks)]


def _adamw(weights: Sequence[Tensor], tasks: Sequence[Task]) -> torch.optim.AdamW:
    """AdamW without decay; `scale` is what a group's learning rate is of the schedule's."""
    rate = tasks[0].schedule.rate
    extra = [value for task in tasks for value in task.extra]
    groups = [{"params": list(weights), "scale": 1.0}, {"params": extra, "scale": tasks[0].extra_rate / rate}]
    return torch.optim.AdamW(groups, lr=rate, weight_decay=0.0, fused=True)


@torch.no_grad()
def clip_norms(weights: Sequence[Tensor], clip: float, seeds: int) -> Tensor:
    """The gradient norm (S,) of every seed, whose gradients are scaled down to norm `clip` where it is larger.

    seeds  S; for several, the first dimension of every weight
    """
    if seeds == 1:
        return whole(torch.nn.utils.clip_grad_norm_(weights, clip))[None]
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    parts = [torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients]
    norms = torch.linalg.vector_norm(torch.stack(parts), dim=0)
    factors = (clip / (norms + 1e-6)).clamp(max=1.0)  # as torch's clip_grad_norm_ has it
    for gradient in gradients:
        gradient.mul_(factors.view(-1, *[1] * (gradient.ndim - 1)))
    return norms


def _require_finite(tasks: Sequence[Task], step: int, losses: Tensor, norms: Tensor) -> None:
    if torch.isfinite(losses + norms).all():
        return
    seed = int((~torch.isfinite(losses + norms)).nonzero()[0])
    task = tasks[seed]
    which = f" (seed {seed} of {len(tasks)} side by side)" if len(tasks) > 1 else ""
    raise TrainingDiverged(
        f"{task.name}{which}: step {step} of {task.schedule.steps} has loss {losses[seed].item()} and gradient norm "
        f"{norms[seed].item()} (the whole catalogue is the batch); the last good weights are the reference checkpoint's"
    )


@dataclass(frozen=True, eq=False)
class _Record:
    """A recorded step: outputs, loss and gradient norm of every seed."""

    step: int
    outputs: list[Array]
    losses: list[float]
    norms: list[float]

    @staticmethod
    def of(step: int, outputs: Sequence[Tensor], losses: Tensor, norms: Tensor) -> _Record:
        arrays = [own.detach().double().cpu().numpy() for own in outputs]
        return _Record(step, arrays, losses.detach().tolist(), norms.tolist())


def _trained(task: Task, seed: int, records: Sequence[_Record], seconds: float) -> Trained:
    tokens = task.trie.tokens.numel() * task.schedule.steps
    return Trained(
        step=np.array([record.step for record in records], float),
        path=np.stack([record.outputs[seed] for record in records]),
        loss=np.array([record.losses[seed] for record in records]),
        grad_norm=np.array([record.norms[seed] for record in records]),
        extra=tuple(value.detach().double().cpu().numpy() for value in task.extra),
        tokens=tokens,
        seconds=seconds,
    )
