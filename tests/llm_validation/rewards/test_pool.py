"""A pool of a model's own responses, on a model that nothing has been asked of before."""

from __future__ import annotations

import numpy as np
import torch

from llm_validation.model.model import build
from llm_validation.rewards.pool import kept_pool, write_pool


def test_the_states_of_a_pool_are_those_that_its_texts_have_read_whole(tmp_path):
    """In a fresh process the pool is what the decoder writes first, and it tries the model's cache then."""
    model, prompt, marks = build("smoke", vocab_size=64, context=64, seed=0), (3, 5, 7), (4, 8, 16)
    pool = write_pool(model, prompt, 6, marks, seed=1)
    texts = torch.tensor([[*prompt, *row] for row in pool.tokens.tolist()])
    with torch.no_grad():
        whole = model.base_model(input_ids=texts).last_hidden_state.numpy()
    read = [len(prompt) + mark - 1 for mark in marks]
    np.testing.assert_allclose(pool.states, whole[:, read], atol=1e-4)
    kept = kept_pool(tmp_path / "texts" / "pool.npz", model, prompt, 6, marks, seed=1)
    np.testing.assert_array_equal(kept.tokens, pool.tokens)
    np.testing.assert_allclose(kept.states, pool.states, atol=5e-3)  # float16 in the file
