"""The state of one decoding run: which rows are in which cache, how far they are, and the counters.

Rows live in groups. A group has one cache and writes side by side; usually there is one. There are several where the
budget, or the device, holds only part of the rows: then one group writes at a time, and the others wait as text and
are encoded again for their turn. `decode.py` says what the algorithms do with it.

Shapes: P prompts, n rows for each, R = P·n rows, B rows of a group, T most tokens written, V vocabulary.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.cache_utils import DynamicCache

from llm_validation.generation.cache import Rows, forward, left_padded, new_cache, select_rows
from llm_validation.generation.checks import check_cache, check_positions
from llm_validation.generation.quantiles import sample
from llm_validation.generation.scorers import Batch, IncrementalScorer, Scorer, checked_scores
from llm_validation.generation.uniforms import uniforms
from theory.validate import Array

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sampling:
    """How rows are written.

    max_new_tokens  T ≥ 1, tokens after the prompt
    eos             tokens that end a response and belong to it; () makes responses of exactly T tokens, all finished
    temperature     > 0; logits are divided by it
    top_p           in (0, 1]: the most probable tokens that have this mass together, the others are never written
    stop            responses (B) in tokens ↦ which of them have ended, besides those that an eos ends
    side_by_side    k neighbouring prompts draw as one of k·n rows would: k equal ones write what that one writes
    first           number of the first prompt, for its draws: a part of a list writes what the whole list would
    """

    max_new_tokens: int
    eos: tuple[int, ...]
    temperature: float = 1.0
    top_p: float = 1.0
    stop: Callable[[Sequence[Sequence[int]]], NDArray[np.bool_]] | None = None
    side_by_side: int = 1
    first: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens = {self.max_new_tokens} must be >= 1")
        if not 0.0 < self.temperature < np.inf:
            raise ValueError(f"temperature = {self.temperature} must be a finite number > 0")
        if not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p = {self.top_p} must be in (0, 1]")
        if self.side_by_side < 1:
            raise ValueError(f"side_by_side = {self.side_by_side} must be >= 1")


@dataclass
class Group:
    """Rows (B,) that write side by side: `written` tokens each; no cache while they wait.

    padding  (B,) tokens of left padding in the cache;  prefix  its width before `written`
    """

    rows: Rows
    written: int = 0
    cache: DynamicCache | None = None
    padding: NDArray[np.int64] | None = None
    prefix: int = 0

    def cached_tokens(self) -> int:
        """rows × (padded prompt + written)."""
        return self.rows.size * (self.prefix + self.written)


class Run:
    """A run in progress: `advance` writes, `decide` rejects; see `llm_validation.generation.decode.Outcome` for the
    arrays."""

    def __init__(
        self,
        model: Any,
        prompts: Sequence[Sequence[int]],
        n: int,
        scorer: Scorer,
        sampling: Sampling,
        seed: int,
        budget: float,
    ) -> None:
        self.started, self.scoring_seconds = time.perf_counter(), 0.0
        self.model, self.scorer, self.sampling, self.seed, self.budget = model, scorer, sampling, seed, budget
        if int(n) != n or n < 1:
            raise ValueError(f"n = {n} must be a whole number >= 1")
        self.n = int(n)
        self.prompts = _check_prompts(prompts, sampling.max_new_tokens, model.config)
        self.longest = max(len(prompt) for prompt in self.prompts)
        check_positions(model.config, min(map(len, self.prompts)), self.longest + sampling.max_new_tokens - 1)
        check_cache(model)
        self.device = next(model.parameters()).device
        total = len(self.prompts) * self.n
        self.tokens = np.full((total, sampling.max_new_tokens), -1, dtype=np.int64)
        self.lengths = np.zeros(total, dtype=np.int64)
        self.finished = np.zeros(total, dtype=bool)
        self.rewards = np.full(total, np.nan)
        self.seen = np.zeros(total, dtype=np.int64)  # tokens of each row that an incremental scorer has read
        self.groups = [Group(np.arange(total))]
        self.most_rows = total
        self.decisions: list[tuple[int, Rows, Array, NDArray[np.bool_], int]] = []
        self.generated = self.scored = self.prefill = self.peak = self.splits = 0

    # --- what fits -------------------------------------------------------------------------------------------------

    @property
    def running(self) -> int:
        """Rows that still write."""
        return sum(group.rows.size for group in self.groups)

    def running_rows(self) -> Rows:
        """Their numbers, ascending."""
        return np.sort(np.concatenate([np.zeros(0, dtype=np.intp), *(group.rows for group in self.groups)]))

    def check_row(self) -> None:
        """ValueError if the budget does not hold one row to its end."""
        needed = self.longest + self.sampling.max_new_tokens
        if needed > self.budget:
            raise ValueError(
                f"budget = {self.budget} is too small for one row: prompt {self.longest} + "
                f"{self.sampling.max_new_tokens} tokens"
            )

    def check_start(self, keep: float) -> None:
        """ValueError if the rows do not fit the budget at their first token, or never will although none is dropped."""
        T, rows, prompts = self.sampling.max_new_tokens, self.running, len(self.prompts)
        if prompts * (self.longest + T) > self.budget:
            raise ValueError(f"budget = {self.budget} is too small for one row of each of {prompts} prompts")
        if rows * (self.longest + 1) > self.budget:
            raise ValueError(
                f"budget = {self.budget} holds {int(self.budget // (self.longest + 1))} rows of {self.longest} + 1 "
                f"tokens, not {rows}"
            )
        if keep == 1.0 and rows * (self.longest + T) > self.budget:
            raise ValueError(
                f"alpha = 0 drops nothing, but {rows} rows of {self.longest} + {T} tokens exceed budget = {self.budget}"
            )

    def token_when_full(self) -> int:
        """The last token, T at most, that all running rows can reach within the budget."""
        most = self.budget / max(1, self.running) - self.longest
        return int(min(most, self.sampling.max_new_tokens))

    # --- writing ---------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def advance(self, until: int) -> None:
        """Write up to `until` tokens in every running row, and score the rows that end on the way."""
        waiting, written = self._groups_that_fit(until), []
        while waiting:
            group = waiting.pop(0)
            if self._write(group, until):
                if group.rows.size:
                    written.append(group)
                if waiting:
                    group.cache = None  # make room for the next group
            else:
                waiting[:0] = self._halves(group)
        self.groups = written
        ended = np.flatnonzero(self.finished & np.isnan(self.rewards))
        if ended.size:
            self.rewards[ended] = self.score(ended)
            self._forget()
        if until == self.sampling.max_new_tokens:
            self._end()

    def _end(self) -> None:
        """The limit is reached: rows that still run are cut off there, and scored."""
        cut = self.running_rows()
        self.groups = []
        if cut.size:
            self.finished[cut] = not (self.sampling.eos or self.sampling.stop)
            self.rewards[cut] = self.score(cut)
        self._forget()

    def _groups_that_fit(self, until: int) -> list[Group]:
        """The running rows in groups that fit device and budget until then; a group that does is left as it is."""
        most = int(max(1, min(self.most_rows, self.budget / (self.longest + until))))
        if len(self.groups) == 1 and self.groups[0].rows.size <= most:
            return self.groups
        rows = self.running_rows()
        parts = [rows[i : i + most] for i in range(0, rows.size, most)]
        return [Group(part, self.groups[0].written) for part in parts]

    def _write(self, group: Group, until: int) -> bool:
        """Write up to `until`; False if the device has no memory left, the group being as it was, without a cache."""
        try:
            while group.rows.size and group.written < until:
                self._step(group)
        except torch.OutOfMemoryError:
            if group.rows.size == 1:
                raise
        else:
            return True
        group.cache = None  # its memory is needed before the halves start anew
        return False

    def _halves(self, group: Group) -> list[Group]:
        half = -(-group.rows.size // 2)
        self.splits += 1
        self.most_rows = half
        log.warning("out of memory with %d rows at token %d: going on with %d at a time",
                    group.rows.size, group.written, half)  # fmt: skip
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return [Group(part, group.written) for part in (group.rows[:half], group.rows[half:])]

    def _step(self, group: Group) -> None:
        """One token for every row of the group; rows that end leave it."""
        logits = self._encode(group) if group.cache is None else self._go_on(group)
        chosen = sample(logits, self.sampling.temperature, self._uniforms(group), self.sampling.top_p).cpu().numpy()
        broken = np.flatnonzero(chosen >= logits.shape[1])
        if broken.size:
            names = [divmod(int(row), self.n) for row in group.rows[broken]]
            raise FloatingPointError(f"the model's logits are NaN at token {group.written} for (prompt, row) {names}")
        rows = group.rows
        self.tokens[rows, group.written] = chosen
        group.written += 1
        self.lengths[rows] = group.written
        self.generated += rows.size
        self.peak = max(self.peak, group.cached_tokens())
        if (ended := self._ended(rows, chosen)).any():
            self.finished[rows[ended]] = True
            self._keep(group, ~ended)

    def _ended(self, rows: Rows, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the rows (B,) end with the token they have just written."""
        ended = np.isin(chosen, self.sampling.eos)
        return ended if self.sampling.stop is None else ended | self.sampling.stop([self.response(r) for r in rows])

    def _uniforms(self, group: Group) -> Tensor:
        """Quantiles (B,) of the group's rows at its next position."""
        width = self.n * self.sampling.side_by_side
        prompt, row = np.divmod(group.rows, width)
        new = np.diff(prompt, prepend=-1) > 0  # rows ascend, so those of a prompt are side by side
        table = uniforms(self.seed, (self.sampling.first + prompt[new]).tolist(), group.written, width)
        return torch.as_tensor(table[np.cumsum(new) - 1, row], device=self.device)

    def _encode(self, group: Group) -> Tensor:
        """Start a group's cache, and the logits (B, V) of its next token: what several rows have read once for all."""
        read = [self.prompts[row // self.n] + self.response(row) for row in group.rows]
        number = {text: place for place, text in enumerate(dict.fromkeys(read))}
        texts, place = list(number), np.array([number[text] for text in read])
        table, padding = left_padded(texts)
        cache = new_cache(self.model)
        mask = np.arange(table.shape[1]) >= padding[:, None]
        positions = np.maximum(np.arange(table.shape[1]) - padding[:, None], 0)
        logits = forward(self.model, self._tensor(table), cache, self._tensor(positions),
                         self._tensor(mask.astype(np.int64)) if padding.any() else None)[:, -1]  # fmt: skip
        self.prefill += int(mask.sum())
        if len(texts) < len(read):
            select_rows(cache, place, self.device)
            logits, padding = logits[self._tensor(place)], padding[place]
        group.cache, group.padding, group.prefix = cache, padding, table.shape[1] - group.written
        return logits

    def _go_on(self, group: Group) -> Tensor:
        """Logits (B, V) after the last token written."""
        assert group.cache is not None
        assert group.padding is not None
        last = self._tensor(self.tokens[group.rows, group.written - 1][:, None])
        cached = group.prefix + group.written
        if not group.padding.any():
            positions, mask = torch.full((1, 1), cached - 1, device=self.device), None
        else:
            positions = self._tensor(cached - 1 - group.padding[:, None])
            mask = self._tensor((np.arange(cached) >= group.padding[:, None]).astype(np.int64))
        return forward(self.model, last, group.cache, positions, mask)[:, -1]

    def _keep(self, group: Group, keep: NDArray[np.bool_]) -> None:
        """Rows leave the group, its cache last: a group without memory for that is consistent without a cache."""
        group.rows = group.rows[keep]
        if group.cache is not None:
            assert group.padding is not None
            group.padding = group.padding[keep]
            select_rows(group.cache, np.flatnonzero(keep), self.device)

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return torch.as_tensor(values, device=self.device)

    # --- deciding --------------------------------------------------------------------------------------------------

    def decide(self, keep: float) -> None:
        """A decision: of each prompt's running rows the fraction `keep` of highest score goes on."""
        self._reject({prompt: max(1, round(keep * count)) for prompt, count in self._counts().items()})

    def free_memory(self, keep: float) -> None:
        """A decision if the next token of all running rows does not fit the budget: `keep` is applied until it does.

        Prompts with one row left are passed over; `check_start` has made sure that one row of each fits.
        """
        counts = self._counts()
        if not counts:
            return
        needed = self.longest + int(self.lengths[self.running_rows()].max()) + 1
        survivors = dict(counts)
        while sum(survivors.values()) * needed > self.budget:
            survivors = {p: max(1, min(count - 1, round(keep * count))) for p, count in survivors.items()}
        if survivors != counts:
            self._reject(survivors)

    def _counts(self) -> dict[int, int]:
        """Running rows of each prompt that has any."""
        prompts, counts = np.unique(self.running_rows() // self.n, return_counts=True)
        return dict(zip(prompts.tolist(), counts.tolist(), strict=True))

    def _reject(self, survivors: dict[int, int]) -> None:
        """Keep so many running rows of each prompt, those of highest score; of equal ones the first."""
        rows = self.running_rows()
        if not rows.size:
            return
        scores, prompt = self.score(rows), rows // self.n
        order = np.lexsort((-scores, prompt))  # stable
        place = np.arange(rows.size) - np.searchsorted(prompt, prompt)  # rows ascend, and so do sorted prompts
        kept = np.zeros(rows.size, dtype=bool)
        kept[order[place < np.array([survivors[p] for p in prompt.tolist()])]] = True
        fill = sum(group.cached_tokens() for group in self.groups)
        self.decisions.append((int(self.lengths[rows[0]]), rows, scores, kept, fill))
        for group in self.groups:
            self._keep(group, np.isin(group.rows, rows[kept]))
        self.groups = [group for group in self.groups if group.rows.size]
        self._forget()

    def _forget(self) -> None:
        if isinstance(self.scorer, IncrementalScorer):
            self.scorer.keep(self.running_rows())

    def score(self, rows: Rows) -> Array:
        """Scores of rows as far as they are written; counts what the scorer read."""
        started = time.perf_counter()
        prompt, own = np.divmod(rows, self.n)
        batch = Batch(
            rows,
            tuple(zip(prompt.tolist(), own.tolist(), strict=True)),
            tuple(self.prompts[p] for p in prompt),
            tuple(self.response(row) for row in rows),
            bool(self.finished[rows].all()),
        )
        scores = checked_scores(self.scorer, batch)
        lengths = self.lengths[rows] + np.array([len(text) for text in batch.prompts])
        self.scored += int((lengths - self.seen[rows]).sum())
        if isinstance(self.scorer, IncrementalScorer):
            self.seen[rows] = lengths
        self.scoring_seconds += time.perf_counter() - started
        return scores

    # --- results ---------------------------------------------------------------------------------------------------

    def response(self, row: int) -> tuple[int, ...]:
        """What a row has written."""
        return tuple(self.tokens[row, : self.lengths[row]].tolist())

    def spent(self) -> tuple[int, int, int, int, int, float, float]:
        """The fields of `llm_validation.generation.decode.Spent`."""
        seconds = time.perf_counter() - self.started
        return (self.generated, self.scored, self.prefill, self.peak, self.splits, seconds, self.scoring_seconds)


def _check_prompts(prompts: Sequence[Sequence[int]], limit: int, config: Any) -> list[tuple[int, ...]]:
    """Prompts as tuples; ValueError names an empty one, or one too long for the context."""
    checked = [tuple(int(token) for token in prompt) for prompt in prompts]
    if not checked:
        raise ValueError("there is no prompt")
    context = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
    for p, prompt in enumerate(checked):
        if not prompt:
            raise ValueError(f"prompts[{p}] is empty: a model needs one token to go on from")
        if context is not None and len(prompt) + limit > context:
            raise ValueError(f"prompts[{p}] has {len(prompt)} tokens, with {limit} to write more than the "
                             f"context of {context}")  # fmt: skip
    return checked
