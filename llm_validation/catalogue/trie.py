"""Exact policies on a catalogue of responses: every prompt's responses packed into one prefix tree.

A prompt x has A responses, token sequences that end in EOS, none a prefix of another. Their prefixes form a tree under
the prompt; the model runs once over its nodes (tree attention: a node sees the prompt and its own ancestors, at the
positions that they have in a sequence), so that a shared prefix costs one forward pass whatever hangs below it. Then

    log π(y|x)   = Σ over the edges of y of log π(token | prefix)
    log π(off|x) = log Σ over nodes n of π(n|x)·π(a token that leaves the tree | n)

are exact. The mass off the catalogue is summed where it leaves the tree and not as 1 − Σ_y π(y|x), which in float32
is wrong from about e^{−10} on. Off is the last column: a policy on the catalogue is a law on A + 1 outcomes.

Shapes: P prompts, A responses, L positions of a packed prompt, N inner nodes, E edges of all prompts together, D depth,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PrefixTrie:
    """The packed trees of P prompts with A responses each.

    tokens     (P, L) the packed positions: the prompt, then the tree's inner nodes; padding 0
    positions  (P, L) each token's place in its own sequence
    visible    (P, L, L) boolean, visible[p, i, j]: position i attends to j
    node       (N, 2) (prompt, position) of every inner node, where a next token is chosen; a prompt's last token first
    edge       (E, 2) (node, token): the tokens that stay in the tree
    path       (N, D) edges from the prompt to the node; E (no edge) where it is shorter
    response   (P·A, D + 1) edges of every response; E likewise
    leaving    (P, M) the nodes of each prompt; N (no node) where there are fewer
    n_responses  A
    """

    tokens: Tensor
    positions: Tensor
    visible: Tensor
    node: Tensor
    edge: Tensor
    path: Tensor
    response: Tensor
    leaving: Tensor
    n_responses: int

    def to(self, device: torch.device) -> PrefixTrie:
        """The same trie on a device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)  # type: ignore[arg-type]

    @property
    def n_prompts(self) -> int:
        return self.tokens.shape[0]


def build_trie(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[Sequence[int]]]) -> PrefixTrie:
    """Pack the prompts' responses (each ends in EOS) into trees.

    ValueError names prompt and response: an empty prompt, prompts with different numbers of responses, an empty
    response, two equal responses, or one that is a prefix of another (its probability would not be a leaf's).
    """
    A = len(responses[0])
    packed = [_pack(p, prompt, own, A) for p, (prompt, own) in enumerate(zip(prompts, responses, strict=True))]
    L = max(len(tree.tokens) for tree in packed)
    D = max(len(path) for tree in packed for path in tree.paths)
    n_nodes = np.cumsum([0, *(len(tree.nodes) for tree in packed)])
    n_edges = np.cumsum([0, *(len(tree.edges) for tree in packed)])
    N, E, M = int(n_nodes[-1]), int(n_edges[-1]), max(len(tree.nodes) for tree in packed)
    tokens, positions = np.zeros((len(packed), L), np.int64), np.zeros((len(packed), L), np.int64)
    visible = np.zeros((len(packed), L, L), bool)
    visible[:, np.arange(L), np.arange(L)] = True  # padding sees itself: an empty row of a softmax is NaN
    path, response = np.full((N, D), E, np.int64), np.full((len(packed) * A, D + 1), E, np.int64)
    leaving = np.full((len(packed), M), N, np.int64)
    node, edge = np.zeros((N, 2), np.int64), np.zeros((E, 2), np.int64)
    for p, tree in enumerate(packed):
        size, first, lowest = len(tree.tokens), n_nodes[p], n_edges[p]
        tokens[p, :size], positions[p, :size] = tree.tokens, tree.places
        for i, seen in enumerate(tree.ancestors):
            visible[p, i, seen] = True
        node[first : first + len(tree.nodes)] = [(p, place) for place in tree.nodes]
        edge[lowest : lowest + len(tree.edges)] = [(first + n, token) for n, token in tree.edges]
        for n, edges in enumerate(tree.paths):
            path[first + n, : len(edges)] = np.add(edges, lowest)
        for y, edges in enumerate(tree.leaves):
            response[p * A + y, : len(edges)] = np.add(edges, lowest)
        leaving[p, : len(tree.nodes)] = first + np.arange(len(tree.nodes))
    t = torch.from_numpy
    return PrefixTrie(
        t(tokens), t(positions), t(visible), t(node), t(edge), t(path), t(response), t(leaving), n_responses=A
    )


@dataclass(eq=False)
class _Tree:
    """One prompt while it is packed; edges and nodes are numbered within it."""

    tokens: list[int]
    places: list[int]
    ancestors: list[list[int]]
    nodes: list[int]
    edges: list[tuple[int, int]]
    paths: list[list[int]]
    leaves: list[list[int]]


def _pack(p: int, prompt: Sequence[int], responses: Sequence[Sequence[int]], n_responses: int) -> _Tree:
    if not prompt:
        raise ValueError(f"prompt {p} is empty: the first token of a response needs something to follow")
    if len(responses) != n_responses:
        raise ValueError(f"prompt {p} has {len(responses)} responses, prompt 0 has {n_responses}")
    _require_prefix_free(p, responses)
    size = len(prompt)
    tree = _Tree(list(prompt), list(range(size)), [list(range(i + 1)) for i in range(size)], [size - 1], [], [[]], [])
    child: dict[tuple[int, int], int] = {}  # (node, token) → edge
    below: dict[int, int] = {}  # edge → node
    for tokens in responses:
        n, edges = 0, []
        for depth, token in enumerate(tokens):
            if (n, token) not in child:
                child[n, token] = len(tree.edges)
                tree.edges.append((n, token))
            edges.append(child[n, token])
            if depth == len(tokens) - 1:
                break
            if edges[-1] not in below:
                below[edges[-1]] = len(tree.nodes)
                position = len(tree.tokens)
                tree.ancestors.append([*tree.ancestors[tree.nodes[n]], position])
                tree.tokens.append(token)
                tree.places.append(size + depth)
                tree.nodes.append(position)
                tree.paths.append(list(edges))
            n = below[edges[-1]]
        tree.leaves.append(edges)
    return tree


def _require_prefix_free(p: int, responses: Sequence[Sequence[int]]) -> None:
    first: dict[tuple[int, ...], int] = {}
    for y, tokens in enumerate(responses):
        if not len(tokens):
            raise ValueError(f"response {y} of prompt {p} is empty")
        if tuple(tokens) in first:
            raise ValueError(f"responses {first[tuple(tokens)]} and {y} of prompt {p} are the same tokens")
        first[tuple(tokens)] = y
    for y, tokens in enumerate(responses):
        for length in range(1, len(tokens)):
            if tuple(tokens[:length]) in first:
                raise ValueError(f"response {first[tuple(tokens[:length])]} of prompt {p} is a prefix of response {y}")


def log_policy(model: Any, trie: PrefixTrie) -> Tensor:
    """log π (P, A + 1), nats, float32 with gradient: the A responses and, last, the mass off the catalogue."""
    return log_policy_of_logits(node_logits(model, trie), trie)


def node_logits(model: Any, trie: PrefixTrie) -> Tensor:
    """Next-token logits (N, V) at the inner nodes, of any causal LM of transformers that takes a 4-D mask.

    Only the nodes go through the output head. What a model does to its logits after the head (scaling, soft caps) is
    not seen here: `agrees_with_rows` checks a model before it is trusted.
    """
    return model.get_output_embeddings()(node_states(model, trie)).float()


def node_states(model: Any, trie: PrefixTrie) -> Tensor:
    """Last hidden states (N, H) at the inner nodes."""
    return states_at(model.base_model, trie.tokens, trie.positions, trie.visible, trie.node)


def states_at(base: Any, tokens: Tensor, positions: Tensor, visible: Tensor, node: Tensor) -> Tensor:
    """Last hidden states (N, H) of a transformer without its head at nodes (N, 2) = (prompt, position) of packed trees.

    tokens, positions (P, L) and visible (P, L, L) as in `PrefixTrie`.
    """
    mask = additive_mask(visible, next(base.parameters()).dtype)
    states: Tensor = base(
        input_ids=tokens, attention_mask=mask, position_ids=positions, use_cache=False
    ).last_hidden_state
    return states[node[:, 0], node[:, 1]]


def additive_mask(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """(P, 1, L, L) what attention adds to its scores: nothing where a position is seen, the least number elsewhere."""
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill(~visible, torch.finfo(dtype).min)[:, None]


def last_nodes(trie: PrefixTrie) -> Tensor:
    """(P, A) the inner node from which each response's EOS is predicted: its whole text has been read there."""
    none = trie.edge.shape[0]
    length = (trie.response != none).sum(1)
    last = trie.response.gather(1, (length - 1)[:, None])[:, 0]
    return trie.edge[last, 0].view(trie.n_prompts, trie.n_responses)


def log_policy_of_logits(logits: Tensor, trie: PrefixTrie) -> Tensor:
    """`log_policy` from the logits (N, V) of the inner nodes."""
    log_total = torch.logsumexp(logits, -1)
    parent, token = trie.edge[:, 0], trie.edge[:, 1]
    stays = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)
    stays[parent, token] = True
    leaves = torch.logsumexp(logits.masked_fill(stays, -torch.inf), -1) - log_total
    return log_policy_of_edges(logits[parent, token] - log_total[parent], leaves, trie)


def log_policy_of_edges(edge: Tensor, leaves: Tensor, trie: PrefixTrie) -> Tensor:
    """`log_policy` from the log-probabilities of the edges (E,) and of leaving the tree at the inner nodes (N,)."""
    zero, nothing = edge.new_zeros(1), edge.new_full((1,), -torch.inf)
    log_edge = torch.cat([edge, zero])  # the extra one stands for "no edge"
    on = log_edge[trie.response].sum(-1).view(trie.n_prompts, trie.n_responses)
    off = torch.logsumexp(torch.cat([log_edge[trie.path].sum(-1) + leaves, nothing])[trie.leaving], -1)
    return torch.cat([on, off[:, None]], dim=1)


def row_log_probabilities(model: Any, prompt: Sequence[int], responses: Sequence[Sequence[int]]) -> Tensor:
    """log π(y|x) (A,) one padded row per response, through the model's own forward pass: the trie's oracle."""
    size, longest = len(prompt), max(map(len, responses))
    device = next(model.parameters()).device
    rows = torch.zeros((len(responses), size + longest), dtype=torch.long, device=device)
    held = torch.zeros_like(rows)
    for y, tokens in enumerate(responses):
        row = [*prompt, *tokens]
        rows[y, : len(row)] = torch.tensor(row, device=device)
        held[y, : len(row)] = 1
    logits = model(input_ids=rows, attention_mask=held, use_cache=False).logits[:, size - 1 : -1].float()
    chosen = torch.log_softmax(logits, -1).gather(-1, rows[:, size:, None]).squeeze(-1)
    return (chosen * held[:, size:]).sum(-1)


def agrees_with_rows(
    model: Any, trie: PrefixTrie, prompt: Sequence[int], responses: Sequence[Sequence[int]], tolerance: float = 1e-2
) -> None:
    """Check the tree attention of a model on prompt 0 against `row_log_probabilities`; ValueError if it differs.

    A model that ignores a 4-D mask, or transforms its logits after the head, would otherwise give wrong
    probabilities silently. tolerance in nats: bf16 leaves about 10⁻² per sequence, float32 10⁻⁵.
    """
    with torch.no_grad():
        tree = log_policy(model, trie)[0, :-1]
        rows = row_log_probabilities(model, prompt, responses)
    worst = float((tree - rows).abs().max())
    if not worst <= tolerance:
        raise ValueError(
            f"{type(model).__name__} gives log-probabilities {worst:.2g} nats apart by prefix tree and row by row: "
            "it does not support tree attention as used here"
        )
