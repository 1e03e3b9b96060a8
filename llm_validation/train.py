"""One training loop for everything that is trained on a catalogue: an objective of the exact log-policy, minimised.

An objective maps (step, log π) to a loss. It holds the data; the loop holds the optimiser: AdamW without decay, cosine
schedule after a short warm-up, gradient clipping, and a guard that stops at the first loss that is no number.

Shapes: P prompts, A responses and off, S recorded steps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llm_validation.model import autocast
from llm_validation.prefix_trie import PrefixTrie, log_policy
from theory.checks import Array

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
    path           (S, P, A + 1) log π, float64
    loss           (S,) and grad_norm (S,): the objective and its gradient before clipping, at those steps
    extra          the trained extra parameters, in their order
    tokens_per_second  positions of the prefix tree through forward and backward, per second
    """

    step: Array
    path: Array
    loss: Array
    grad_norm: Array
    extra: tuple[Array, ...]
    tokens_per_second: float

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

    extra, extra_rate  free constants of a loss (BCO's δ, KTO's z₀), with their own learning rate
    TrainingDiverged names the run, the step and what was not finite; the weights before it are those on disk that
    the run started from.
    """
    device = trie.tokens.device
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(
        [{"params": weights, "scale": 1.0}, {"params": list(extra), "scale": extra_rate / schedule.rate}],
        lr=schedule.rate,
        weight_decay=0.0,
        fused=True,
    )
    recorded: list[tuple[int, Array, float, float]] = []
    started = time.perf_counter()
    for step in range(schedule.steps):
        with autocast(device):
            logs = log_policy(model, trie)
        loss = objective(step, logs)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(weights, schedule.clip)
        if not torch.isfinite(loss + norm):
            raise TrainingDiverged(
                f"{name}: step {step} of {schedule.steps} has loss {loss.item()} and gradient norm {norm.item()} "
                "(the whole catalogue is the batch); the last good weights are the reference checkpoint's"
            )
        for group in optimiser.param_groups:
            group["lr"] = group["scale"] * schedule.rate_at(step)
        if step % schedule.record == 0:
            recorded.append((step, logs.detach().double().cpu().numpy(), float(loss.detach()), float(norm)))
        optimiser.step()
    seconds = time.perf_counter() - started
    with torch.no_grad(), autocast(device):
        logs = log_policy(model, trie)
        last = float(objective(schedule.steps, logs))
    recorded.append((schedule.steps, logs.double().cpu().numpy(), last, math.nan))
    columns = list(zip(*recorded, strict=True))
    return Trained(
        step=np.array(columns[0], float),
        path=np.stack(columns[1]),
        loss=np.array(columns[2]),
        grad_norm=np.array(columns[3]),
        extra=tuple(value.detach().double().cpu().numpy() for value in extra),
        tokens_per_second=trie.tokens.numel() * schedule.steps / seconds,
    )
