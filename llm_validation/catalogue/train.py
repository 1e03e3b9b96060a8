"""Training on a catalogue: an objective of the exact log-policy, minimised by `llm_validation.training.loop`.

An objective maps (step, log π) to a loss, and holds the data. The batch is the whole catalogue in every step.

Shapes: P prompts, A responses and off, S recorded steps (of one seed) or seeds (of a stack).
"""

from __future__ import annotations

import copy
import gc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from llm_validation.catalogue.passes import Passes, PolicyReader, Reader, RewardReader, Stacked
from llm_validation.catalogue.trie import PrefixTrie
from llm_validation.model.sharding import reshard, shard, whole
from llm_validation.training.loop import History, adamw, descent, minimise, require_finite
from llm_validation.training.schedule import Schedule
from theory.validate import Array

Objective = Callable[[int, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Trained:
    """What a run leaves: the exact log-policy along the way, and at its end.

    step           (S,) recorded steps; the first is 0, the reference
    path           (S, P, A + 1) log π, float64; of a reward model (S, P, A), its rewards
    loss           (S,) and grad_norm (S,): the objective and its gradient before clipping, at those steps
    extra          the trained extra parameters, in their order
    tokens         positions of the prefix tree through forward and backward, over all steps
    seconds        of training; of the whole stack where seeds are trained as one stack
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


@dataclass(frozen=True, eq=False)
class Task:
    """One training on one catalogue.

    model       trained in place
    objective   (step, outputs) → loss; outputs are log π (P, A + 1), or the rewards (P, A) of a reward model
    extra, extra_rate  free constants of a loss (BCO's δ, KTO's z₀), with their own learning rate
    momentum    Nesterov's, of gradient descent; None: AdamW
    stop_below  training ends after the first step that finds the loss, of all seeds of a stack, below it
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
    momentum: float | None = None
    stop_below: float = -math.inf

    @property
    def reader(self) -> Any:
        """The module that maps trees to outputs."""
        return PolicyReader(self.model) if self.head is None else RewardReader(self.model.base_model, self.head)

    @property
    def shape(self) -> tuple[Any, ...]:
        """Tasks in which this is equal can be trained as one stack."""
        sizes = tuple((name, parameter.shape) for name, parameter in self.model.named_parameters())
        kind = (type(self.model), self.schedule, self.head is None, len(self.extra), self.extra_rate, self.momentum)
        return (*kind, self.stop_below, self.trie.n_prompts, self.trie.tokens.device, sizes)


#: What trains a task: `train_one`, or a place in a stack (`stacked_seeds`).
Trainer = Callable[[Task], Trained]


def train_one(task: Task) -> Trained:
    """Train a task by itself."""
    return train_stacked([task])[0]


def train_stacked(tasks: Sequence[Task]) -> list[Trained]:
    """Train one task, or several of equal `shape` (the seeds of one run) as one stack; the same numbers up to rounding.

    Weights, gradient norms and losses stay each seed's own. ValueError if the shapes differ.
    """
    first = tasks[0]
    if any(task.shape != first.shape for task in tasks[1:]):
        raise ValueError(f"{first.name}: tasks of different shapes cannot be stacked")
    readers = [task.reader for task in tasks]
    stack = Stacked(readers) if len(tasks) > 1 else None
    trained = minimise_tasks(stack or readers[0], readers, tasks)
    if stack is not None:
        stack.write_back()
    del stack
    if first.trie.tokens.device.type == "cuda":
        gc.collect()  # a module with CUDA graphs is a reference cycle, and holds weights, gradients and graphs' memory
    return trained


def train_sharded(task: Task) -> Trained:
    """Train a task with its model divided among all processes, which call this together; each ends with whole weights.

    Every process passes the whole catalogue: what is divided is memory, not work.
    """
    divided = replace(task, model=copy.deepcopy(task.model), head=None if task.head is None else task.head.clone())
    reader = divided.reader
    shard(reader, divided.model.base_model)
    trained = minimise_tasks(reader, [reader], [divided], alone=False)[0]
    reshard(reader)
    with torch.no_grad():
        own = dict(task.reader.named_parameters())
        for name, part in reader.named_parameters():
            own[name].copy_(whole(part.detach()))
    return trained


def minimise_tasks(
    module: nn.Module, readers: Sequence[Reader], tasks: Sequence[Task], *, alone: bool = True
) -> list[Trained]:
    """Train a module that reads the trees of all tasks at once; not `alone`: other processes take part."""
    first, schedule, seeds = tasks[0], tasks[0].schedule, len(tasks)
    passes = Passes(module, readers, [task.trie for task in tasks], first.name, alone=alone)
    if alone:
        passes.capture()
    outputs: list[Tensor] = []
    paths: list[list[Array]] = []  # (S, seeds) of laws

    def evaluate(step: int, *, gradient: bool) -> Tensor:
        found = zip(readers, passes.forward(gradient=gradient), tasks, strict=True)
        outputs[:] = [reader.finish(own, task.trie) for reader, own, task in found]
        return torch.stack([task.objective(step, own) for task, own in zip(tasks, outputs, strict=True)])

    def gradient(step: int, _: None) -> Tensor:
        losses = evaluate(step, gradient=True)
        losses.sum().backward()
        passes.backward()
        return losses.detach()

    def record() -> None:
        paths.append([own.detach().double().cpu().numpy() for own in outputs])

    def after_step(step: int, history: History) -> bool:
        if step % schedule.record == 0:
            record()
        return bool(max(history.losses[-1]) < first.stop_below)

    history = minimise(
        module, repeat(None), gradient, schedule, name=first.name, optimiser=_optimiser(module, tasks), seeds=seeds,
        on_step=after_step,
        guard=lambda _: "the whole catalogue is the batch, and the last good weights are the reference checkpoint's",
    )  # fmt: skip
    done = len(history.losses)
    with torch.no_grad():
        last = evaluate(done, gradient=False).tolist()
    require_finite(first.name, last, f"after {done} steps the loss is")
    record()
    return _results(tasks, history, last, paths)


def _results(
    tasks: Sequence[Task], history: History, last: list[float], paths: Sequence[Sequence[Array]]
) -> list[Trained]:
    """What a run leaves to each task: the losses and norms at the recorded steps, and the `last` loss after them."""
    done, record = len(history.losses), tasks[0].schedule.record
    steps = np.append(np.arange(0, done, record), done)
    losses, norms = np.array([*history.losses, last]), np.array([*history.norms, [math.nan] * len(tasks)])
    return [
        Trained(
            step=steps.astype(float),
            path=np.stack([own[seed] for own in paths]),
            loss=losses[steps, seed],
            grad_norm=norms[steps, seed],
            extra=tuple(value.detach().double().cpu().numpy() for value in task.extra),
            tokens=task.trie.tokens.numel() * done,
            seconds=history.seconds,
        )
        for seed, task in enumerate(tasks)
    ]


def _optimiser(module: nn.Module, tasks: Sequence[Task]) -> torch.optim.Optimizer:
    """What all tasks are trained with."""
    first, extra = tasks[0], [value for task in tasks for value in task.extra]
    if first.momentum is not None:
        return descent(module, first.schedule, first.momentum)
    return adamw(module, first.schedule, seeds=len(tasks), extra=extra, extra_rate=first.extra_rate)
