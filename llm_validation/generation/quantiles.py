"""Tokens from logits and quantiles: inverse distribution functions, summed in float64.

Shapes: B rows, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Entries of the distribution functions that `sample` holds at a time: on a CPU those that stay in its cache, on a GPU
#: a share of its memory.
ENTRIES = {"cpu": 1 << 18, "cuda": 1 << 26}


def sample(logits: Tensor, temperature: float, u: Tensor, top_p: float = 1.0) -> Tensor:
    """Tokens (B,) at the quantiles u (B,) of softmax(logits/temperature), cut to top_p; V where the logits are NaN.

    The first token whose cumulative probability exceeds u: never one of probability zero. Some rows at a time, which
    changes none of them.
    """
    rows = max(1, ENTRIES.get(logits.device.type, ENTRIES["cpu"]) // logits.shape[1])
    parts = zip(logits.split(rows), u.split(rows), strict=True)
    return torch.cat([_sample(some, temperature, own, top_p) for some, own in parts])


def _sample(logits: Tensor, temperature: float, u: Tensor, top_p: float) -> Tensor:
    law = torch.softmax(logits.float() / temperature, dim=-1)
    if top_p < 1.0:
        masses, order = law.sort(dim=-1, descending=True, stable=True)
        before = masses.cumsum(dim=-1, dtype=torch.float64) - masses
        law = law.masked_fill(torch.zeros_like(law, dtype=torch.bool).scatter_(-1, order, before >= top_p), 0.0)
    cumulative = law.cumsum(dim=-1, dtype=torch.float64)
    return torch.searchsorted(cumulative, (u * cumulative[:, -1])[:, None], right=True)[:, 0]
