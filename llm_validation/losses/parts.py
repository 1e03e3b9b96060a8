"""What the losses are made of: their line in the table, reductions of a batch, and functions that keep their digits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.masked import MaskedTensor
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
    if weight is None:
        return values.mean()
    check_weight(weight, values, what)
    return (weight * values).sum()


def check_weight(weight: Tensor, values: Tensor, what: str) -> None:
    """ValueError for a weight to whose shape the values would be broadcast."""
    if torch.broadcast_shapes(weight.shape, values.shape) != values.shape:
        raise ValueError(f"weight of shape {tuple(weight.shape)} for {what} of shape {tuple(values.shape)}")


def two_classes(
    chosen: Tensor, rejected: Tensor, chosen_weight: Tensor | None, rejected_weight: Tensor | None
) -> Tensor:
    """E₊[chosen] + E₋[rejected], each by `expect`."""
    return expect(chosen, chosen_weight, "chosen") + expect(rejected, rejected_weight, "rejected")


def require(values: Tensor, what: str) -> None:
    """ValueError for an empty batch of what is named."""
    if values.numel() == 0:
        raise ValueError(f"the batch has no {what}: their mean does not exist")


def check_sides(
    first: Tensor, second: Tensor, first_reference: Tensor, second_reference: Tensor, *, pairs: bool
) -> None:
    """ValueError for sides that are no real tensors, or whose shapes would be broadcast; pairs: all four are alike."""
    named = {"policy_chosen": first, "policy_rejected": second,
             "reference_chosen": first_reference, "reference_rejected": second_reference}  # fmt: skip
    check_alike("policy_chosen", "reference_chosen", named)
    check_alike("policy_rejected", "reference_rejected", named)
    if pairs:
        check_alike("policy_chosen", "policy_rejected", named)


def check_alike(one: str, other: str, named: Mapping[str, Tensor]) -> None:
    """ValueError unless both are tensors of real numbers, none masked, of one shape."""
    for name in (one, other):
        value = named[name]
        if not isinstance(value, Tensor) or isinstance(value, MaskedTensor) or not value.is_floating_point():
            kind = f"{value.dtype}" if type(value) is Tensor else type(value).__name__
            raise ValueError(f"{name} must be a tensor of real floating-point numbers without a mask, got {kind}")
    if named[one].shape != named[other].shape:
        first, second = (tuple(named[name].shape) for name in (one, other))
        raise ValueError(f"{one} has shape {first} and {other} {second}: they would be broadcast")


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
