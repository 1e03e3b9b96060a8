"""Loss on text that was not trained on: against the entropy where the language is known, per byte where it is not.

Legend: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from llm_validation.model.model import autocast
from llm_validation.text.corpus import Tokens, encode
from llm_validation.text.language import Language
from simulate.montecarlo import Estimate, mean
from theory.validate import Array


def token_losses(model: torch.nn.Module, ids: Tensor) -> Tensor:
    """−log p of each token given those before it, in nats: ids (B, T) → float32 (B, T − 1)."""
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
    return functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")


@torch.no_grad()
def story_losses(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, stories: Sequence[str], batch: int = 128
) -> Array:
    """−log p(story, end) in nats, one per story: each alone, after an end-of-text token, summed over its tokens."""
    end, where = tokenizer.eos_token_id, next(model.parameters()).device
    rows = [[end, *ids, end] for ids in encode(stories, tokenizer)]
    losses = np.empty(len(rows))
    by_length = sorted(range(len(rows)), key=lambda i: len(rows[i]))  # rows of a batch need little filling up
    for first in range(0, len(rows), batch):
        chosen = by_length[first : first + batch]
        lengths = torch.tensor([len(rows[i]) for i in chosen])
        ids = pad_sequence([torch.tensor(rows[i]) for i in chosen], batch_first=True, padding_value=end)
        with autocast(where):
            nats = token_losses(model, ids.to(where)).double().cpu()
        # what fills up a row comes after its end: attention is causal, so it is seen by nothing that is counted
        counted = torch.arange(1, ids.shape[1]) < lengths[:, None]
        losses[chosen] = (nats * counted).sum(dim=1).numpy()
    return losses


def excess_nats(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    language: Language,
    stories: Sequence[str],
    batch: int = 128,
) -> Estimate:
    """KL(language ‖ model) in nats per story: what the model loses beyond the entropy, from stories of the language.

    The mean of −log p_model − (−log p_language) story by story. Its mean is that of loss − entropy, and its error is
    far smaller, because stories that are improbable are so under both laws.
    """
    known = np.array([-language.log_probability(story) for story in stories])
    return mean(story_losses(model, tokenizer, stories, batch) - known)


@torch.no_grad()
def block_loss(model: PreTrainedModel, blocks: Tokens, batch: int) -> Estimate:
    """Nats per predicted token over packed blocks (N, T), with the error over blocks; at least two blocks."""
    where = next(model.parameters()).device
    losses = []
    for first in range(0, len(blocks), batch):
        with autocast(where):
            nats = token_losses(model, torch.from_numpy(blocks[first : first + batch]).to(where))
        losses += nats.double().mean(dim=1).tolist()
    return mean(losses)
