"""Which models can write and score from a cache: those that read on from it as they read a whole text.

An attention layer's cache holds what the layer would compute again, if the model takes the places of its tokens from
whoever calls it: some count them themselves, padding included. A recurrence holds a state, and models differ in what
they do with it: some start again when several tokens come at once, some keep it where no cache sees it, some return to
an empty one. Rotary positions that are rescaled at a length make cached keys wrong when a text crosses it.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

import numpy as np
import torch

from llm_validation.generation.cache import forward, new_cache, select_rows
from llm_validation.model.checks import DEVICE, FAILS, in_a_line

#: Largest difference of an output, relative to the largest output: TF32 products round to 10 bits.
SAME_OUTPUT = 0.01
#: Models that have passed: how one reads does not depend on its weights.
_PASSED: WeakSet[Any] = WeakSet()


@torch.inference_mode()
def check_cache(model: Any) -> None:
    """ValueError for a model that does not read on from a cache as it reads a whole text.

    Two texts, one padded, change places in the cache and get a token more; the outputs are compared with those without
    a cache. Asked once of a model.
    """
    if model in _PASSED:
        return
    name, device = type(model).__name__, next(model.parameters()).device
    mask = torch.tensor([[1] * 5, [0] * 2 + [1] * 3], device=device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    try:
        cache, most = new_cache(model), int(model.get_input_embeddings().num_embeddings)
        tokens = torch.arange(1, 6, device=device)[None].repeat(2, 1) % most
        tokens[1] = tokens[1].flip(0)
        forward(model, tokens[:, :4], cache, positions[:, :4], mask[:, :4])
        select_rows(cache, np.array([1, 0]), device)
        found = forward(model, tokens[:, 4:].flip(0), cache, positions[:, 4:].flip(0), mask.flip(0))[:, -1]
    except DEVICE:
        raise
    except FAILS as error:
        why = in_a_line(error.__cause__ or error)
        raise ValueError(f"{name} keeps its state in a way that rows cannot share: {why}") from error
    right = torch.cat([_whole(model, tokens[1:, 2:]), _whole(model, tokens[:1])])
    if not float((found - right).abs().max()) <= SAME_OUTPUT * float(right.abs().max()):
        raise ValueError(
            f"{name} does not read on from a cache as it reads a whole text: it cannot write or score here"
        )
    _PASSED.add(model)


def _whole(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """What the model says (1, V or hidden) after a text (1, t), without a cache."""
    output = model(input_ids=tokens, use_cache=False)
    last: torch.Tensor = (output.logits if "logits" in output else output.last_hidden_state)[:, -1]
    return last


def check_positions(config: Any, shortest: int, longest: int) -> None:
    """ValueError if some lengths are below and some beyond the one at which the model rescales its positions.

    shortest, longest  tokens of the texts that are read from one cache, or in one batch
    """
    ropes = getattr(config.get_text_config(decoder=True), "rope_parameters", None) or {}
    kinds = [rope for rope in (ropes, *ropes.values()) if isinstance(rope, dict) and "rope_type" in rope]
    for border in [rope["original_max_position_embeddings"] for rope in kinds if rope["rope_type"] == "longrope"]:
        if shortest <= border < longest:
            raise ValueError(
                f"a text of {longest} tokens goes beyond {border}, where this model's longrope factors change for all "
                f"its positions: texts of one run must all stay within {border} tokens or all begin beyond"
            )
