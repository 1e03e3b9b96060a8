"""The cache of keys and values: the logits of other caches and of none, rows that change places, tokens forgotten."""

from __future__ import annotations

import numpy as np
import torch
from transformers import DynamicCache

from llm_validation.generation.cache import BLOCK, GrowingLayer, forward, new_cache, select_rows
from llm_validation.model.model import build

VOCABULARY, CONTEXT = 24, 128


def test_growing_cache_gives_the_logits_of_a_dynamic_cache_and_of_none():
    model = build("smoke", VOCABULARY, CONTEXT, seed=0).double().eval()
    tokens = torch.arange(2, 2 + BLOCK + 5).remainder(VOCABULARY)[None].repeat(3, 1)
    tokens[1] = tokens[1].flip(0)
    ours, theirs = new_cache(model), DynamicCache(config=model.config)
    with torch.no_grad():
        whole = model(input_ids=tokens[[2, 1, 1]]).logits
        for cache in (ours, theirs):
            forward(model, tokens[:, :4], cache, torch.arange(4)[None], None)
        select_rows(ours, np.array([2, 1, 1]), torch.device("cpu"))
        theirs.batch_select_indices(torch.tensor([2, 1, 1]))
        for t in range(4, tokens.shape[1]):
            new, at = tokens[[2, 1, 1], t : t + 1], torch.full((1, 1), t)
            logits = forward(model, new, ours, at, None)
            torch.testing.assert_close(logits, forward(model, new, theirs, at, None), rtol=0, atol=1e-12)
            torch.testing.assert_close(logits[:, -1], whole[:, t], rtol=0, atol=1e-5)


def test_under_autocast_keys_and_values_are_cached_alike():
    model, cache = build("smoke", VOCABULARY, CONTEXT, seed=0), None
    tokens = torch.tensor([[1, 2, 3]])
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        cache = new_cache(model)
        forward(model, tokens, cache, torch.arange(3)[None], None)
        own = model(input_ids=torch.tensor([[1, 2, 3, 4]])).logits[:, -1]
        cached = forward(model, torch.tensor([[4]]), cache, torch.full((1, 1), 3), None)[:, -1]
    assert {states.dtype for layer in cache.layers for states in (layer.keys, layer.values)} == {torch.bfloat16}
    assert torch.allclose(own, cached, atol=2e-2)


def test_tokens_that_are_forgotten_are_written_over():
    states = torch.arange(12.0).view(1, 1, 6, 2)
    layer = GrowingLayer()
    layer.update(states, states + 100)
    layer.crop(-2)
    assert layer.get_seq_length() == 4
    keys, values = layer.update(-states[:, :, :1], -states[:, :, :1])
    assert torch.equal(keys, torch.cat([states[:, :, :4], -states[:, :, :1]], 2))
    assert torch.equal(values[:, :, :4], states[:, :, :4] + 100)
