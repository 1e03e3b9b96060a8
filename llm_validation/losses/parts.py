"""What the losses are made of: their line in the table, reductions of a batch, and functions that keep their digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

LOG2 = math.log(2.0)
Number = float | Tensor


@dataclass(frozen=True)
class LossEntry:
    """One line of the table: the function, its feedback, how it reduces a batch, source, and declared departures."""

    function: Callable[..., Tensor]
    feedback: Literal["pairs", "unpaired", "binary", "scalar"]
    reduction: str
    source: str
    departure: str = ""


def expect(values: Tensor, weight: Tensor | None, what: str) -> Tensor:
    """The batch mean, or Σ weight·values; an empty class is an error, never a NaN."""
    require(values, what)
    return values.mean() if weight is None else (weight * values).sum()


def two_classes(
    chosen: Tensor, rejected: Tensor, chosen_weight: Tensor | None, rejected_weight: Tensor | None
) -> Tensor:
    """E₊[chosen] + E₋[rejected], each by `expect`."""
    return expect(chosen, chosen_weight, "chosen") + expect(rejected, rejected_weight, "rejected")


def require(values: Tensor, what: str) -> None:
    """ValueError for an empty batch of what is named."""
    if values.numel() == 0:
        raise ValueError(f"the batch has no {what}: their mean does not exist")


def kl_bernoulli_half(delta: Tensor) -> Tensor:
    """klB(δ) = KL(Bernoulli(½) ‖ Bernoulli(σ(δ))) = log cosh(δ/2) ≥ 0, elementwise, nats."""
    return -0.5 * logsigmoid(delta) - 0.5 * logsigmoid(-delta) - LOG2


def log1mexp(x: Tensor) -> Tensor:
    """log(1 − eˣ) for x < 0, without cancellation on either side of −log 2; −inf at 0, where nothing is left."""
    near = x > -LOG2
    # the branch that is not taken gets a harmless argument, or its gradient would be NaN
    close = torch.log(-torch.expm1(torch.where(near, x, torch.full_like(x, -1.0))))
    far = torch.log1p(-torch.exp(torch.where(near, torch.full_like(x, -1.0), x)))
    return torch.where(near, close, far)
