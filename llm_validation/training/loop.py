"""The optimiser loop of everything that is trained here: AdamW, a learning rate per step, a clip, a guard.

    for each batch:  gradient → its norm, clipped → finite? → AdamW at the step's rate → on_step

What a batch is and how its gradient comes about (in one pass, in portions, over the seeds of a stack) is the caller's;
the loop holds the optimiser. It stops with `TrainingDiverged` at the first loss or gradient that is no number, before
the weights are touched, and after the last step if a weight is none.

Shapes: S seeds that are trained as one stack, else 1.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from llm_validation.model.sharding import whole
from llm_validation.training.memory import TooLittleMemory
from llm_validation.training.schedule import Schedule

Batch = TypeVar("Batch")
#: (step, batch) ↦ losses (S,), without graph; their gradient is left in the weights, which come without one.
Gradient = Callable[[int, Batch], Tensor]


class TrainingDiverged(RuntimeError):
    """A loss, gradient or weight that is no number: the run stops here, and says where."""


@dataclass
class History:
    """How far a training is: losses (S,) and gradient norms (S,) of every step, before it; `seconds` of the steps.

    One that goes on from a checkpoint begins with the losses of the steps before, and has the norms of the new ones.
    """

    losses: list[list[float]] = field(default_factory=list)
    norms: list[list[float]] = field(default_factory=list)
    seconds: float = 0.0

    def loss(self, last: int = 0) -> list[float]:
        """Of the first seed, or the only one: at all steps, or the `last` ones."""
        return [first for first, *_ in self.losses[-last:]]


def adamw(
    module: nn.Module, schedule: Schedule, *, seeds: int = 1, extra: Sequence[Tensor] = (), extra_rate: float = 0.0
) -> torch.optim.AdamW:
    """AdamW for a module's weights and for `extra` constants; `scale` is what a group's rate is of the schedule's."""
    weights, vector = trainable(module), 1 if seeds == 1 else 2
    groups = [
        {"params": [w for w in weights if w.ndim > vector], "scale": 1.0, "weight_decay": schedule.weight_decay},
        {"params": [w for w in weights if w.ndim <= vector], "scale": 1.0},
        {"params": list(extra), "scale": extra_rate / schedule.rate},
    ]
    fused = weights[0].device.type in ("cpu", "cuda")
    return torch.optim.AdamW(groups, lr=schedule.rate, betas=(0.9, schedule.beta2), weight_decay=0.0, fused=fused)


def descent(module: nn.Module, schedule: Schedule, momentum: float) -> torch.optim.SGD:
    """Gradient descent with Nesterov's momentum, on all seeds of a stack alike."""
    groups = [{"params": trainable(module), "scale": 1.0}]
    return torch.optim.SGD(groups, schedule.rate, momentum=momentum, nesterov=True, fused=True)


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """The weights that have a gradient."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def of_loss(loss: Callable[[Batch], Tensor]) -> Gradient[Batch]:
    """The gradient of a loss that is computed in one pass."""

    def gradient(step: int, batch: Batch) -> Tensor:
        value = loss(batch)
        value.backward()
        return value.detach()

    return gradient


def minimise(
    module: nn.Module,
    batches: Iterable[Batch],
    gradient: Gradient[Batch],
    schedule: Schedule,
    *,
    name: str,
    optimiser: torch.optim.Optimizer | None = None,
    seeds: int = 1,
    history: History | None = None,
    on_step: Callable[[int, History], object] | None = None,
    guard: Callable[[Batch], str] = lambda _: "",
) -> History:
    """Descend `gradient` over a batch per step, `module`'s weights being changed in place.

    optimiser  of `adamw`, made by a caller that saves or loads it, or has constants besides the weights
    seeds      S; for several the first dimension of every weight is the seed, and each has its own norm and clip
    history    of the steps before, where a run goes on: it is added to, and returned
    on_step    called after each step; what it raises stops the run, and True ends it
    guard      words on a batch: which it is, and where the last good weights are
    TrainingDiverged says `name`, the seed, the step, and what is no number; TooLittleMemory if the optimiser's
    moments do not fit the device.
    """
    weights, history = trainable(module), History() if history is None else history
    optimiser = adamw(module, schedule) if optimiser is None else optimiser
    for step, batch in zip(range(len(history.losses), schedule.steps), batches, strict=False):
        started = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        losses = gradient(step, batch).reshape(seeds)
        values, norms = torch.stack([losses, clip_norms(weights, schedule.clip, seeds)]).tolist()  # one transfer
        for what, found in (("loss", values), ("gradient norm", norms)):
            require_finite(name, found, f"step {step} of {schedule.steps} has {what}", partial(guard, batch))
        _update(optimiser, schedule.rate_at(step), f"{name}: step {step}")
        history.losses.append(values)
        history.norms.append(norms)
        history.seconds += time.perf_counter() - started
        if on_step is not None and on_step(step, history) is True:
            break
    optimiser.zero_grad(set_to_none=True)
    done = len(history.losses)
    require_finite(name, norms_of(weights, seeds).tolist(), f"after {done} steps the norm of the weights is")
    return history


def require_finite(name: str, values: Sequence[float], what: str, guard: Callable[[], str] = str) -> None:
    """TrainingDiverged at the first of the seeds' values that is no number: NAME: WHAT VALUE; GUARD."""
    for seed, value in enumerate(values):
        if not math.isfinite(value):
            which = f" (seed {seed} of {len(values)} stacked)" if len(values) > 1 else ""
            raise TrainingDiverged(f"{name}{which}: {what} {value}; {guard()}".removesuffix("; "))


def _update(optimiser: torch.optim.Optimizer, rate: float, what: str) -> None:
    """The optimiser's step. It is not repeated: when memory runs out in it, part of the state may be there already."""
    for group in optimiser.param_groups:
        group["lr"] = group["scale"] * rate
    try:
        optimiser.step()
    except torch.OutOfMemoryError as error:
        count = sum(p.numel() for group in optimiser.param_groups for p in group["params"])
        raise TooLittleMemory(
            f"{what}: weights, gradients and both moments of {count} parameters do not fit in the device's "
            f"memory; choose a smaller model, or shard it over several processes ({error})"
        ) from error


@torch.no_grad()
def norms_of(tensors: Sequence[Tensor], seeds: int) -> Tensor:
    """The norm (S,) of every seed over all tensors; S > 1 is their first dimension."""
    if seeds == 1:
        return whole(torch.nn.utils.get_total_norm(tensors))[None]
    parts = [torch.linalg.vector_norm(tensor.reshape(seeds, -1), dim=1) for tensor in tensors]
    return torch.linalg.vector_norm(torch.stack(parts), dim=0)


@torch.no_grad()
def clip_norms(weights: Sequence[Tensor], clip: float, seeds: int) -> Tensor:
    """The gradient norm (S,) of every seed, whose gradients are scaled down to norm `clip` where it is larger."""
    if seeds == 1:
        return whole(torch.nn.utils.clip_grad_norm_(weights, clip))[None]
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    norms = norms_of(gradients, seeds)
    if math.isinf(clip):
        return norms
    factors = (clip / (norms + 1e-6)).clamp(max=1.0)  # as torch's clip_grad_norm_ has it
    for gradient in gradients:
        gradient.mul_(factors.view(-1, *[1] * (gradient.ndim - 1)))
    return norms
