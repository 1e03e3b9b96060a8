"""Summed log-probabilities of completions under any causal language model: padded batches, and the forward pass.

Only completion positions go through the output head: hidden states → positions that predict a completion token →
head → log-softmax. Two layouts give the same numbers:

    rows     one row per example, padded on the right. The network is causal, so it needs no mask.
    shared   one row per pair, prompt · chosen · rejected: the prompt runs once. The rejected completion does not see
             the chosen one, and has the positions that follow the prompt.

`completion_forward` checks them once against the model's own full forward pass, and takes the fastest that agrees.

Shapes: B examples, R rows, L positions of a row, N completion tokens of the batch, T the longest completion, V
vocabulary, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from llm_validation.catalogue.trie import additive_mask
from llm_validation.generation.cache import has_state
from llm_validation.model.checks import DEVICE, FAILS
from llm_validation.model.model import autocast
from llm_validation.preferences.data import Example

Pair = tuple[Example, Example]
Layout = Literal["shared", "rows", "all positions"]


@dataclass(frozen=True, eq=False)
class TokenBatch:
    """B completions with their prompts, in R padded rows.

    tokens     (R, L) padding is 0, on the right
    positions  (R, L) and visible (R, L, L), visible[row, i, j]: position i looks at j; None: plain causal rows
    source     (N,) flat place in (R, L) of the position that predicts each completion token, and target (N,) the token
    slot       (N,) flat place in a table (B, T) of completion tokens
    shape      (B, T)
    """

    tokens: Tensor
    positions: Tensor | None
    visible: Tensor | None
    source: Tensor
    target: Tensor
    slot: Tensor
    shape: tuple[int, int]


def rows_batch(examples: Sequence[Example], device: torch.device) -> TokenBatch:
    """One row per example; the last token of each is only predicted, never read."""
    L = max(map(len, examples)) - 1
    tokens = np.zeros((len(examples), L), np.int64)
    sources = []
    for row, example in enumerate(examples):
        tokens[row, : len(example) - 1] = example.prompt + example.completion[:-1]
        first = row * L + len(example.prompt) - 1
        sources.append(np.arange(first, first + len(example.completion)))
    return _batch(tokens, None, None, sources, examples, device)


def shared_batch(pairs: Sequence[Pair], device: torch.device) -> TokenBatch:
    """One row per pair of completions of one prompt; examples in the order all first ones, all second ones."""
    sizes = np.array([(len(a.prompt), len(a.completion) - 1, len(b.completion) - 1) for a, b in pairs])
    L = int(sizes.sum(1).max())
    tokens = np.zeros((len(pairs), L), np.int64)
    sources: list[list[np.ndarray]] = [[], []]
    for row, ((one, other), (p, c, r)) in enumerate(zip(pairs, sizes, strict=True)):
        tokens[row, : p + c + r] = one.prompt + one.completion[:-1] + other.completion[:-1]
        end = row * L + p - 1  # the prompt's last token, which predicts the first of both
        sources[0].append(np.arange(end, end + c + 1))
        sources[1].append(np.concatenate([[end], end + c + np.arange(1, r + 1)]))
    place = np.arange(L)
    second = place >= (sizes[:, 0] + sizes[:, 1])[:, None]  # (R, L): from the rejected completion on
    first = (place >= sizes[:, :1]) & ~second
    positions = place - second * sizes[:, 1:2]
    visible = (place[:, None] >= place)[None] & ~(second[:, :, None] & first[:, None, :])
    examples = [a for a, _ in pairs] + [b for _, b in pairs]
    return _batch(tokens, positions, visible, sources[0] + sources[1], examples, device)


def _batch(
    tokens: np.ndarray,
    positions: np.ndarray | None,
    visible: np.ndarray | None,
    sources: Sequence[np.ndarray],
    examples: Sequence[Example],
    device: torch.device,
) -> TokenBatch:
    T = max(len(example.completion) for example in examples)
    slots = [np.arange(row * T, row * T + len(example.completion)) for row, example in enumerate(examples)]
    targets = [example.completion for example in examples]
    source, target, slot = (
        torch.as_tensor(np.concatenate(parts), device=device) for parts in (sources, targets, slots)
    )
    return TokenBatch(
        torch.as_tensor(tokens, device=device),
        None if positions is None else torch.as_tensor(positions, device=device),
        None if visible is None else torch.as_tensor(visible, device=device),
        source,
        target,
        slot,
        (len(examples), T),
    )


def sequence_log_probabilities(model: Any, batch: TokenBatch) -> Tensor:
    """log π(completion | prompt) (B,), nats, summed over completion tokens; float32 with gradient.

    What a model does to its logits after the head (scaling, soft caps) is not seen here: `completion_forward` checks a
    model before it is trusted.
    """
    return _sums(_completion_logits(model, batch), batch)


def full_log_probabilities(model: Any, batch: TokenBatch) -> Tensor:
    """The same through the model's own forward pass, logits at all positions (R, L, V): slower, and the oracle."""
    return _sums(_all_logits(model, batch), batch)


def _completion_logits(model: Any, batch: TokenBatch) -> Tensor:
    """Logits (N, V) at the positions that predict a completion token, from the head on those alone."""
    states = model.base_model(**_inputs(model, batch)).last_hidden_state
    logits: Tensor = model.get_output_embeddings()(states.reshape(-1, states.shape[-1]).index_select(0, batch.source))
    return logits


def _all_logits(model: Any, batch: TokenBatch) -> Tensor:
    """The same from the model's own at all positions."""
    logits: Tensor = model(**_inputs(model, batch)).logits
    return logits.reshape(-1, logits.shape[-1]).index_select(0, batch.source)


def _inputs(model: Any, batch: TokenBatch) -> dict[str, Any]:
    """Arguments of the network; plain rows need no mask and no positions, which not every model takes."""
    inputs = {"input_ids": batch.tokens, "use_cache": False}
    if batch.visible is None:
        return inputs
    mask = additive_mask(batch.visible, next(model.parameters()).dtype)
    return {**inputs, "attention_mask": mask, "position_ids": batch.positions}


def _sums(logits: Tensor, batch: TokenBatch) -> Tensor:
    """Σ of log-softmax at the targets, from logits (N, V), per example (B,)."""
    return _summed(-cross_entropy(logits.float(), batch.target, reduction="none"), batch)


def _summed(values: Tensor, batch: TokenBatch) -> Tensor:
    """Values (N,) of completion tokens, summed per example (B,)."""
    # a table and a sum rather than additions to B places: the same order of additions on every run, on a GPU too
    table = values.new_zeros(batch.shape[0] * batch.shape[1]).index_copy(0, batch.slot, values)
    return table.view(batch.shape).sum(1)


@dataclass(frozen=True)
class CompletionForward:
    """How a model is run: `layout`, checked. Called with chosen and rejected examples, it gives both (C,), (R,)."""

    layout: Layout
    device: torch.device

    def __call__(self, model: Any, chosen: Sequence[Example], rejected: Sequence[Example]) -> tuple[Tensor, Tensor]:
        """Log-probabilities of two classes in one pass; in the shared layout they must be pairs."""
        if self.layout == "shared":
            batch = shared_batch(list(zip(chosen, rejected, strict=True)), self.device)
        else:
            batch = rows_batch([*chosen, *rejected], self.device)
        logs = self._function()(model, batch)
        return logs[: len(chosen)], logs[len(chosen) :]

    def rows(self, model: Any, examples: Sequence[Example]) -> Tensor:
        """Log-probabilities (B,) of examples that share nothing."""
        return self._function()(model, rows_batch(examples, self.device))

    def next_tokens(self, model: Any, batch: TokenBatch) -> Tensor:
        """Log-probabilities (N, V) of all that may come next, where a completion token does."""
        logits = _all_logits if self.layout == "all positions" else _completion_logits
        return torch.log_softmax(logits(model, batch).float(), dim=-1)

    def _function(self) -> Callable[[Any, TokenBatch], Tensor]:
        return full_log_probabilities if self.layout == "all positions" else sequence_log_probabilities


@torch.no_grad()
def completion_forward(
    model: Any, chosen: Sequence[Example], rejected: Sequence[Example], *, share: bool
) -> CompletionForward:
    """The fastest layout that agrees with the model's own forward pass on the longest example of each class.

    share   whether pairs may share a prompt's pass; a recurrence carries the one completion into the other, and may
            forget it within the longest text
    The longest ones, because a window of attention that a 4-D mask switches off shows only beyond its width.
    """
    device = next(model.parameters()).device
    longest = max(range(len(chosen)), key=lambda i: len(chosen[i]))
    share = share and not has_state(model)
    if share:
        longest = max(range(len(chosen)), key=lambda i: max(len(chosen[i]), len(rejected[i])))
        pair = [chosen[longest]], [rejected[longest]]
    else:
        pair = [chosen[longest]], [max(rejected, key=len)]
    oracle = full_log_probabilities(model, rows_batch([*pair[0], *pair[1]], device))
    layouts: tuple[Layout, ...] = ("shared", "rows") if share else ("rows",)
    for layout in layouts:
        forward = CompletionForward(layout, device)
        try:
            mine = torch.cat(forward(model, *pair))
        except DEVICE:
            raise
        except FAILS:
            continue  # it takes no 4-D mask, no positions, or its head reads other states
        if bool(((mine - oracle).abs() <= 1e-3 + 1e-4 * oracle.abs()).all()):
            return forward
    return CompletionForward("all positions", device)


@torch.no_grad()
def log_probabilities(model: Any, forward: CompletionForward, examples: Sequence[Example], batch: int) -> Tensor:
    """log π (N,) of any number of examples, `batch` at a time; texts of like length together, so that little is padded.

    An empty sequence of examples has an empty result.
    """
    logs = torch.zeros(len(examples), device=forward.device)
    for rows, some in _alike(examples, batch):
        with autocast(forward.device):
            logs[torch.as_tensor(rows, device=forward.device)] = forward.rows(model, some)
    return logs


@torch.no_grad()
def divergences(
    model: Any, forward: CompletionForward, examples: Sequence[Example], batch: int,
    other: Callable[[], AbstractContextManager[None]],
) -> Tensor:  # fmt: skip
    """KL(π‖ρ) (N,) of all that may come next, nats, summed over the completion tokens of each example.

    other   while this context is open, the model is ρ; before and after it is π
    The mean over completions that π writes is KL(π‖ρ) of completions. log π(y)/ρ(y) has the same mean, with the noise
    of the tokens drawn besides, and may be negative. This cannot, whatever is rounded: a token adds q − p − p·log(q/p).
    """
    found = torch.zeros(len(examples), device=forward.device)
    for rows, some in _alike(examples, batch):
        tokens = rows_batch(some, forward.device)
        with autocast(forward.device):
            own = forward.next_tokens(model, tokens)
            with other():
                gap = forward.next_tokens(model, tokens).sub_(own)
        terms = gap.expm1().sub_(gap).mul_(own.exp_()).sum(dim=-1)
        found[torch.as_tensor(rows, device=forward.device)] = _summed(terms, tokens)
    return found


def _alike(examples: Sequence[Example], batch: int) -> Iterator[tuple[np.ndarray, list[Example]]]:
    """(places, examples), `batch` at a time, by length."""
    order = np.argsort([len(example) for example in examples], kind="stable")
    for rows in np.split(order, range(batch, len(order), batch)) if len(order) else []:
        yield rows, [examples[i] for i in rows]
