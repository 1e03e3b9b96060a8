"""A module's forward and backward pass as CUDA graphs: one launch in place of hundreds, where a small model is bound by
launches. Taken only if it gives what the module itself gives; anything else is said and left."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

#: Most that a graph's outputs may differ from the module's own, and its gradients relative to their norm: the same
#: kernels, so rounding at most.
TOLERANCE = 1e-2


class _Plain(nn.Module):
    """A module around another: `make_graphed_callables` replaces the forward of what it is given."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.train(inner.training)

    def forward(self, *inputs: Tensor) -> Tensor:
        outputs: Tensor = self.inner(*inputs)
        return outputs


def graphed(module: nn.Module, inputs: Sequence[Tensor], name: str) -> Callable[..., Tensor] | None:
    """`module` on inputs of these very shapes, as graphs; None where the device or the model refuses, or they differ.

    Its weights and inputs must stay where they are in memory; outputs and gradients are overwritten by the next call.
    name  of the training, for messages on stderr
    """
    device, refused = inputs[0].device, ""
    stream = torch.cuda.current_stream(device)
    try:
        replay = cast(
            Callable[..., Tensor], torch.cuda.make_graphed_callables(_Plain(module), cast(tuple[Tensor, ...], inputs))
        )
        apart = _apart(module, replay, inputs)
    except (RuntimeError, AssertionError) as error:  # an OutOfMemoryError is a RuntimeError
        refused = (str(error) or type(error).__name__).splitlines()[0]
    if not refused and apart <= TOLERANCE:
        return replay
    torch.cuda.set_stream(stream)  # a capture that fails does not leave its own
    torch.cuda.synchronize(device)
    module.zero_grad(set_to_none=True)
    why = f"no CUDA graph ({refused})" if refused else f"a CUDA graph is {apart:.2g} off"
    print(f"{name}: {why}; going on without", file=sys.stderr)
    replay = None  # type: ignore[assignment]
    gc.collect()
    torch.cuda.empty_cache()
    return None


def _apart(module: nn.Module, replay: Callable[..., Tensor], inputs: Sequence[Tensor]) -> float:
    """How far the graphs are from the module: the largest of differences of outputs and relative ones of gradients."""
    weights = [parameter for parameter in module.parameters() if parameter.requires_grad]
    own = module(*inputs)
    probe = torch.arange(own.numel(), device=own.device, dtype=own.dtype).cos().view_as(own)
    expected = torch.autograd.grad(own, weights, probe)
    found = replay(*inputs)
    gradients = torch.autograd.grad(found, weights, probe)
    relative = [(g - w).norm() / w.norm().clamp(min=1e-12) for g, w in zip(gradients, expected, strict=True)]
    return max(float((found - own).detach().abs().max()), float(torch.stack(relative).max()))
