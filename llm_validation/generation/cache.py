"""The key-value cache of a decoding batch: room to grow in blocks, rows that can be selected, one forward call.

A `DynamicCache` of transformers concatenates: every new token copies the whole cache, which at small models costs
more than the model. `GrowingLayer` holds room for up to `BLOCK` further tokens and writes into it. Layers of other
kinds (sliding windows) are left as transformers makes them.

Shapes: B rows, L cached tokens, t new tokens, V vocabulary.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer, LinearAttentionCacheLayerMixin

from llm_validation.model.checks import DEVICE, FAILS, in_a_line

Rows = NDArray[np.intp]

#: Tokens by which the memory of a cache grows at a time: copies cost 1/BLOCK of what concatenation costs.
BLOCK = 32


class GrowingLayer(DynamicLayer):
    """One layer's keys and values (B, heads, L, head size): views of buffers with room for more tokens."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append the new tokens' states and return all states.

        Under autocast rotary positions leave keys in float32 and values in bf16, and attention rounds both to bf16:
        kept as values are, keys need half the memory and are not rounded again at every step.
        """
        key_states = key_states.to(value_states.dtype)
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.key_room, self.value_room = key_states[:, :, :0], value_states[:, :, :0]
            self._show(0)
        held = self.get_seq_length()
        needed = held + key_states.shape[2]
        if needed > self.key_room.shape[2]:
            self.key_room = _grown(self.key_room[:, :, :held], needed)
            self.value_room = _grown(self.value_room[:, :, :held], needed)
        self.key_room[:, :, held:needed] = key_states
        self.value_room[:, :, held:needed] = value_states
        return self._show(needed)

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens; their number comes negative, as transformers has it."""
        if self.is_initialized and tokens_to_remove:
            self._show(self.get_seq_length() + tokens_to_remove)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Every row `repeats` times."""
        if self.is_initialized:
            self.batch_select_indices(torch.arange(len(self.key_room), device=self.device).repeat_interleave(repeats))

    def batch_select_indices(self, indices: Tensor) -> None:
        """Rows `indices`, in that order, repeated where they repeat; the memory of the others is freed."""
        if self.is_initialized:
            held = self.get_seq_length()
            self.keys = self.values = None  # a view keeps its buffer alive
            self.key_room = self.key_room.index_select(0, indices)
            self.value_room = self.value_room.index_select(0, indices)
            self._show(held)

    def _show(self, held: int) -> tuple[Tensor, Tensor]:
        keys, values = self.key_room[:, :, :held], self.value_room[:, :, :held]
        self.keys, self.values = keys, values
        return keys, values


def _grown(states: Tensor, needed: int) -> Tensor:
    """A buffer of at least `needed` tokens, in whole blocks, that begins with `states`."""
    rows, heads, held, size = states.shape
    buffer = states.new_empty(rows, heads, -(-needed // BLOCK) * BLOCK, size)
    buffer[:, :, :held] = states
    return buffer


def new_cache(model: Any) -> DynamicCache:
    """An empty cache for a causal language model of transformers."""
    cache = DynamicCache(config=model.config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


@lru_cache
def _arguments(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


def is_recurrent(cache: DynamicCache) -> bool:
    """Does a layer keep the state of a recurrence?"""
    return any(isinstance(layer, LinearAttentionCacheLayerMixin) for layer in cache.layers)


def has_state(model: Any) -> bool:
    """Does a model keep one, in its cache or elsewhere?"""
    return getattr(model, "_is_stateful", False) or (hasattr(model, "config") and is_recurrent(new_cache(model)))


def forward(model: Any, tokens: Tensor, cache: DynamicCache, positions: Tensor, mask: Tensor | None) -> Tensor:
    """Run the model on new tokens (B, t) after those in `cache`, which is extended.

    positions  (B or 1, t) place of each token in its text, from 0
    mask       (B, L + t) 1 where a cached or new token is text and 0 where it is padding; None: no padding
    Returns the logits (B, 1, V) of the last token, or the hidden states (B, t, hidden) of a backbone without a head.
    ValueError for a model that cannot.

    After its first tokens a recurrence gets the others one by one: given several, some architectures begin anew.
    """
    if is_recurrent(cache):
        held = 0 if mask is None else mask.shape[1] - tokens.shape[1]
        if tokens.shape[1] > 1 and cache.has_previous_state():
            masks = [None if mask is None else mask[:, : held + k + 1] for k in range(tokens.shape[1])]
            steps = [
                forward(model, tokens[:, k : k + 1], cache, positions[:, k : k + 1], masks[k])
                for k in range(len(masks))
            ]
            return steps[-1] if model.get_output_embeddings() is not None else torch.cat(steps, dim=1)
        if mask is not None and all(cache.is_linear):  # it is multiplied with the new tokens alone
            mask = mask[:, held:]
    accepted = _arguments(type(model).forward)
    extra: dict[str, Any] = {"cache" if "cache" in accepted else "past_key_values": cache}
    if "logits_to_keep" in accepted:
        extra["logits_to_keep"] = 1
    try:
        output = model(input_ids=tokens, position_ids=positions, attention_mask=mask, use_cache=True, **extra)
    except DEVICE:
        raise
    except FAILS as error:
        raise ValueError(f"{type(model).__name__} cannot read on from a cache: {in_a_line(error)}") from error
    return output.logits if "logits" in output else output.last_hidden_state


def select_rows(cache: DynamicCache, rows: Rows, device: torch.device) -> None:
    """Keep these rows of the cache, by their places in it. ValueError for a layer whose states cannot be selected."""
    indices = torch.as_tensor(rows, dtype=torch.long, device=device)
    for layer in cache.layers:
        if isinstance(layer, LinearAttentionCacheLayerMixin):  # states of a recurrence, and keys if it has any
            layer.reorder_cache(cast(torch.LongTensor, indices))
        elif hasattr(layer, "batch_select_indices"):
            layer.batch_select_indices(indices)
        else:
            raise ValueError(
                f"a cache of {type(layer).__name__} cannot select rows: this model can write, but not choose"
            )


def selected_copy(cache: DynamicCache, rows: Rows, device: torch.device) -> DynamicCache:
    """A cache of these rows that can be extended while `cache` stays as it is."""
    part = copy.copy(cache)
    part.layers = [copy.copy(layer) for layer in cache.layers]  # selecting makes new buffers for the copies
    for layer in part.layers:
        if isinstance(layer, LinearAttentionCacheLayerMixin):  # which are held in dictionaries here
            vars(layer).update({name: dict(held) for name, held in vars(layer).items() if isinstance(held, dict)})
    select_rows(part, rows, device)
    return part


def left_padded(sequences: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Token sequences as one array (B, longest), zeros on the left, and how many each has (B,)."""
    longest = max(len(sequence) for sequence in sequences)
    padding = np.array([longest - len(sequence) for sequence in sequences], dtype=np.int64)
    table = np.zeros((len(sequences), longest), dtype=np.int64)
    for row, sequence, before in zip(table, sequences, padding, strict=True):
        row[before:] = sequence
    return table, padding
