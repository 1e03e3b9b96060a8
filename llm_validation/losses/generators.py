"""Generators of FDO in torch: link g and cost f*∘g; the same functions as those of `theory.divergences.generators`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from llm_validation.losses.parts import LOG2


def find_generator(name: str) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Link and cost of a generator; ValueError for a name that is none."""
    if name not in GENERATORS:
        raise ValueError(f"no generator {name!r}; there are {', '.join(GENERATORS)}")
    return GENERATORS[name]


def _pearson_cost(r: Tensor) -> Tensor:
    t = r.clamp(min=-2.0)  # below the slope at u = 0 the conjugate is −f(0) = −1
    return t + 0.25 * t * t


#: FDO generators: name → (link g, cost f*∘g). The same functions as `theory.divergences.generators.GENERATORS`, in
#: torch.
GENERATORS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "kl": (lambda r: r, lambda r: torch.exp(r - 1.0)),
    "reverse_kl": (lambda r: -torch.exp(-r), lambda r: r - 1.0),
    "jensen_shannon": (lambda r: 0.5 * (LOG2 + logsigmoid(r)), lambda r: -0.5 * (LOG2 + logsigmoid(-r))),
    "total_variation": (lambda r: 0.5 * torch.tanh(r), lambda r: 0.5 * torch.tanh(r)),
    "squared_hellinger": (lambda r: -torch.expm1(-0.5 * r), lambda r: torch.expm1(0.5 * r)),
    "hellinger": (lambda r: -torch.exp(-0.5 * r), lambda r: torch.exp(0.5 * r)),
    "pearson": (lambda r: r, _pearson_cost),
    "neyman": (lambda r: -torch.expm1(-2.0 * r), lambda r: -2.0 * torch.expm1(-r)),
}
