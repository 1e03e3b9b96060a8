"""Training a part of a large model on a catalogue: its top blocks, low-rank additions, or all weights.

A catalogue is the whole batch in every step, so the activations below the trained blocks are constants: the trunk runs
once over the packed trees, and a step costs the top blocks and the output head on the trees' inner nodes. It is the
same gradient as through the whole model, exactly; of rare tokens to first order (`catalogue.head`).

Every way here copies what it trains; the model itself is left as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, apply_rotary_pos_emb

from llm_validation.catalogue.head import Others
from llm_validation.catalogue.passes import RewardReader
from llm_validation.catalogue.train import Task, Trained, Trainer, minimise_tasks, train_one
from llm_validation.catalogue.trie import PrefixTrie, additive_mask, log_policy_of_edges, node_states
from llm_validation.model.sharding import decoder_layers
from llm_validation.training.parts import add_adapters, check_part

#: Largest difference, relative to the largest state, between a trunk with its top blocks and the model as a whole.
SAME_STATES = 1e-4


def trainer_of(how: str) -> Trainer:
    """The trainer for `all`, `top:K` (the top K blocks and the last norm) or `lora:R` (rank R on all linear layers).

    ValueError for other words, or a number that is not at least one.
    """
    kind, number = check_part(how)
    if kind == "all":
        return train_copy
    return Top(number) if kind == "top" else partial(train_lora, rank=number)


def train_copy(task: Task) -> Trained:
    """Train all weights of a copy, those that are held fixed in the model itself too."""
    return train_one(replace(task, model=copy.deepcopy(task.model).requires_grad_(True)))


def train_lora(task: Task, rank: int) -> Trained:
    """Train adapters (`training.parts.add_adapters`) of a copy."""
    model = copy.deepcopy(task.model).requires_grad_(False)
    add_adapters(model, rank, seed=0)
    return train_one(replace(task, model=model))


class TopBlocks(nn.Module):
    """The last K blocks and the norm above them, as copies; states (N, H) at nodes from the trunk's states.

    first  the first position at which there is a node
    """

    def __init__(self, base: Any, k: int, trunk: Tensor, first: int) -> None:
        super().__init__()
        self.blocks = copy.deepcopy(nn.ModuleList(decoder_layers(base)[-k:])).requires_grad_(True)
        self.norm = copy.deepcopy(base.norm).requires_grad_(True)
        self.fixed = (base.rotary_emb, trunk)  # a tuple: nothing of it is trained
        self.first = first

    def forward(self, rows: Tensor, positions: Tensor, visible: Tensor, node: Tensor) -> Tensor:
        """rows (P, L) number the trunk's states; the others as in `PrefixTrie`."""
        rotary, trunk = self.fixed
        states = trunk[rows]
        mask, turned = additive_mask(visible, states.dtype), rotary(states, positions)
        *lower, last = self.blocks
        for block in lower:
            states = _whole(block, states, positions, mask, turned)
        if isinstance(last, LlamaDecoderLayer):
            states = _at_nodes(last, states, mask, turned, node, self.first)
        else:
            states = _whole(last, states, positions, mask, turned)[node[:, 0], node[:, 1]]
        result: Tensor = self.norm(states)
        return result


def _whole(block: Any, states: Tensor, positions: Tensor, mask: Tensor, turned: tuple[Tensor, Tensor]) -> Tensor:
    """States (P, L, H) above a block, at all positions."""
    above: Tensor = block(
        states, attention_mask=mask, position_ids=positions, position_embeddings=turned, use_cache=False
    )
    return above


def _at_nodes(
    block: Any, states: Tensor, mask: Tensor, turned: tuple[Tensor, Tensor], node: Tensor, first: int
) -> Tensor:
    """States (N, H) above a block of Llama's at the nodes alone: the prompts' other positions are only attended to."""
    attention, normed, (cos, sin) = block.self_attn, block.input_layernorm(states), turned

    def heads(projection: Any, x: Tensor) -> Tensor:
        projected: Tensor = projection(x)
        return projected.unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)

    query = heads(attention.q_proj, normed[:, first:])
    key, value = heads(attention.k_proj, normed), heads(attention.v_proj, normed)
    query = apply_rotary_pos_emb(query, query, cos[:, first:], sin[:, first:])[0]
    key = apply_rotary_pos_emb(key, key, cos, sin)[0]
    seen = nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask[:, :, first:], scale=attention.scaling, enable_gqa=True
    )
    own = seen.transpose(1, 2).flatten(2)[node[:, 0], node[:, 1] - first]
    above = states[node[:, 0], node[:, 1]] + attention.o_proj(own)
    result: Tensor = above + block.mlp(block.post_attention_layernorm(above))
    return result


class TopPolicy(nn.Module):
    """A `passes.Reader` of log π (P, A + 1): top blocks, then the model's own output head, which stays as it is.

    Its outputs (N, C + 1) are the log-probabilities of the C or fewer edges below each node, and of leaving the tree.
    """

    def __init__(self, top: TopBlocks, head: Tensor, trie: PrefixTrie) -> None:
        super().__init__()
        parent = trie.edge[:, 0].cpu()
        earlier = [int((parent[:e] == parent[e]).sum()) for e in range(len(parent))]
        self.slot = trie.edge.new_tensor(earlier)
        below = trie.edge.new_full((len(trie.node), int(self.slot.max()) + 1), -1)
        below[trie.edge[:, 0], self.slot] = trie.edge[:, 1]
        place = trie.node[:, 0] * trie.tokens.shape[1] + trie.node[:, 1]
        self.below = trie.edge.new_full((trie.tokens.numel(), below.shape[1]), -1)
        self.below[place] = below
        self.top, self.head, self.others = top, (head.detach(),), Others(head)

    def forward(self, rows: Tensor, positions: Tensor, visible: Tensor, node: Tensor) -> Tensor:
        states, below = self.top(rows, positions, visible, node).float(), self.below[rows[node[:, 0], node[:, 1]]]
        edges = (states[:, None] * self.head[0][below]).sum(-1).masked_fill(below < 0, -torch.inf)
        return torch.log_softmax(torch.cat([edges, self.others(states, below)[:, None]], dim=1), dim=1)

    def nodes(self, trie: PrefixTrie) -> Tensor:
        return trie.node

    def finish(self, outputs: Tensor, trie: PrefixTrie) -> Tensor:
        return log_policy_of_edges(outputs[trie.edge[:, 0], self.slot], outputs[:, -1], trie)


class TopReward(RewardReader):
    """Rewards (P, A) of top blocks, `base` here, and a trained scalar head."""

    def forward(self, *inputs: Tensor) -> Tensor:
        return (self.base(*inputs).float() * self.head).sum(-1, keepdim=True)


def numbered(trie: PrefixTrie) -> Tensor:
    """(P, L) the numbers of a trunk's states, which stand where the tokens stood."""
    return torch.arange(trie.tokens.numel(), device=trie.tokens.device).view(trie.tokens.shape)


class Top:
    """The trainer of `top:K`. It keeps the last trunk that it ran: the next run on the same trees begins at once.

    blocks  those of the last training
    """

    blocks: TopBlocks

    def __init__(self, k: int) -> None:
        self.k = k
        self.kept: tuple[Any, PrefixTrie, Tensor] | None = None

    def __call__(self, task: Task) -> Trained:
        trunk, first = self.trunk(task.model, task.trie), int(task.trie.node[:, 1].min())
        self.blocks = TopBlocks(task.model.base_model, self.k, trunk, first)
        if task.head is None:
            reader: Any = TopPolicy(self.blocks, task.model.get_output_embeddings().weight, task.trie)
        else:
            reader = TopReward(self.blocks, task.head)
        return minimise_tasks(reader, [reader], [replace(task, trie=replace(task.trie, tokens=numbered(task.trie)))])[0]

    def trunk(self, model: Any, trie: PrefixTrie) -> Tensor:
        """(P·L, H) states below the trained blocks. ValueError for a model that is not built as this needs it."""
        if self.kept is not None and self.kept[0] is model and _same_nodes(self.kept[1], trie):
            return self.kept[2]
        base, layers = model.base_model, decoder_layers(model.base_model)
        if not hasattr(base, "norm") or not hasattr(base, "rotary_emb") or self.k > len(layers):
            raise ValueError(
                f"top:{self.k} needs a model of Llama's build with that many blocks, and {type(model).__name__} has "
                f"{len(layers)}; train all or lora:R"
            )
        if getattr(model.get_output_embeddings(), "bias", None) is not None:
            raise ValueError(f"top:{self.k} needs an output head without a bias; train all or lora:R")
        seen: list[Tensor] = []
        note: Callable[..., None] = lambda _, args, kwargs: seen.append(args[0] if args else kwargs["hidden_states"])
        with torch.no_grad(), layers[-self.k].register_forward_pre_hook(note, with_kwargs=True):
            whole = node_states(model, trie)
        with torch.no_grad():
            trunk = seen[0].flatten(0, 1)
            top = TopBlocks(base, self.k, trunk, int(trie.node[:, 1].min()))
            apart = top(numbered(trie), trie.positions, trie.visible, trie.node) - whole
        if not float(apart.abs().max()) <= SAME_STATES * float(whole.abs().max()):
            raise ValueError(f"the top {self.k} blocks of {type(model).__name__} on its trunk are not the whole model")
        self.kept = (model, trie, trunk)
        return trunk


def _same_nodes(one: PrefixTrie, other: PrefixTrie) -> bool:
    """Have two packings the same states? Trees of other shapes may have the same tokens in the same places."""
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("tokens", "positions", "visible"))
