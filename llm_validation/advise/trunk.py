"""A model whose lower blocks run once per text: what a pilot of the top blocks costs is the top blocks.

Where only the last K blocks are trained, the states below them never change. They are computed once for every text
that is announced, kept while they fit, and the blocks above run on them: the same numbers as through the whole model,
which `completion_forward` checks on the longest texts before anything is trusted.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from llm_validation.model.sharding import decoder_layers
from llm_validation.preferences.data import Example
from llm_validation.preferences.sequences import completion_forward
from llm_validation.training.parts import check_part

#: Bytes of states that are kept by default.
ROOM = 2**30


class TrunkOnce(nn.Module):
    """A causal language model of which the last `top` blocks are trained; for rows of `sequences.rows_batch`.

    room   bytes of states that are kept; texts beyond are run whole every time
    """

    def __init__(self, model: Any, top: int, room: int = ROOM) -> None:
        super().__init__()
        self.model = model
        layers = decoder_layers(model)
        self._below = (_cut(model.base_model, layers, layers[:-top], ends=False),)  # in tuples: no modules of this one
        self._above = (_cut(model.base_model, layers, layers[-top:], ends=True),)
        self._sizes: dict[tuple[int, ...], int] = {}
        self._kept: dict[tuple[int, ...], Tensor] = {}
        self._room = room

    @property
    def config(self) -> Any:
        return self.model.config

    def get_output_embeddings(self) -> Any:
        return self.model.get_output_embeddings()

    def forward(self, *args: Any, **options: Any) -> Any:
        """The whole model."""
        return self.model(*args, **options)

    def announce(self, examples: Sequence[Example]) -> None:
        """Texts whose states are worth keeping."""
        for example in examples:
            row = example.prompt + example.completion[:-1]
            key = _stripped(row)
            self._sizes[key] = max(len(row), self._sizes.get(key, 0))
            if key in self._kept and len(self._kept[key]) < len(row):
                self._room += self._kept.pop(key).nbytes

    def base_model(self, input_ids: Tensor, use_cache: bool = False) -> Any:
        """Last hidden states (R, L, H) of rows that are padded by 0 on the right."""
        keys = [_stripped(row) for row in input_ids.tolist()]
        new = [i for i, key in enumerate(keys) if key not in self._kept]
        rows: dict[int, Tensor] = {}
        if new:
            states = self._run(input_ids[new])
            for i, own in zip(new, states, strict=True):
                rows[i] = own
                self._keep(keys[i], own)
        L, some = input_ids.shape[1], next(iter(rows.values())) if rows else self._kept[keys[0]]
        below = some.new_zeros(len(keys), L, some.shape[-1])
        for i, key in enumerate(keys):
            own = rows[i] if i in rows else self._kept[key]
            below[i, : own.shape[0]] = own[:L]
        return self._above[0](inputs_embeds=below, use_cache=use_cache)

    @torch.no_grad()
    def _run(self, tokens: Tensor) -> Tensor:
        states: Tensor = self._below[0](input_ids=tokens, use_cache=False).last_hidden_state
        return states

    def _keep(self, key: tuple[int, ...], states: Tensor) -> None:
        size = self._sizes.get(key)
        if size is None or size > states.shape[0] or key in self._kept:
            return
        own = states[:size].clone()
        if (self._room - own.nbytes) >= 0:
            self._room -= own.nbytes
            self._kept[key] = own


def _stripped(row: Sequence[int]) -> tuple[int, ...]:
    """Without the zeros at its end, which are padding, or tokens: `announce` knows how many."""
    size = len(row)
    while size and row[size - 1] == 0:
        size -= 1
    return tuple(row[:size])


def _cut(base: Any, layers: nn.ModuleList, part: nn.ModuleList, *, ends: bool) -> Any:
    """The network with a part of its layers, sharing their weights; ends: with the norm above them."""
    cut = copy.copy(base)
    cut._modules = {name: part if module is layers else module for name, module in base._modules.items()}
    if not ends:
        cut._modules["norm"] = nn.Identity()
    return cut


def piloted(model: Any, part: str, chosen: Sequence[Example], rejected: Sequence[Example]) -> Any:
    """The model for a pilot of `part`: with its trunk run once where that is exact, else the model as it is.

    chosen, rejected  all texts that it will be run on again and again
    """
    kind, top = check_part(part)
    base = model.base_model
    plain = kind != "top" or not hasattr(base, "norm") or decoder_layers(model) not in list(base.children())
    if plain or top >= len(decoder_layers(model)):
        return model
    once = TrunkOnce(model, top)
    try:
        forward = completion_forward(once, chosen, rejected, share=False)
    except (TypeError, ValueError, RuntimeError):
        return model  # a network that does not run on states in place of embeddings
    if forward.layout != "rows":
        return model
    once.announce([*chosen, *rejected])
    return once
