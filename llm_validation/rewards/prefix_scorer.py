"""Incremental scoring by a reward model: a key-value cache for each running row, so that only new tokens are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from llm_validation.generation.cache import Rows, forward, left_padded, new_cache, select_rows, selected_copy
from llm_validation.generation.checks import check_cache, check_positions
from llm_validation.generation.scorers import Batch
from llm_validation.model.model import autocast
from llm_validation.rewards.comparisons import Text
from llm_validation.rewards.model import RewardModel, right_padded
from theory.validate import Array

Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]


class PrefixScorer:
    """A scorer with a cache, for one run at a time: an `llm_validation.generation.scorers.IncrementalScorer`.

    Running rows come together and at the same length, as the decoding engine shows them; their cache is extended.
    Rows that have ended will not be asked for again: what is cached of them is used, and nothing is kept.
    Its scores are the model's own up to rounding.
    """

    def __init__(self, model: RewardModel) -> None:
        check_cache(model.backbone)
        self.model = model
        self._clear()

    def _clear(self) -> None:
        self.rows: Rows = np.zeros(0, dtype=np.intp)
        self.padding: Counts = np.zeros(0, dtype=np.int64)
        self.cache: Any = None
        self.read = 0  # width of the cache, padding included

    def keep(self, rows: Rows) -> None:
        """Forget every row but these."""
        if self.cache is None or np.array_equal(rows, self.rows):
            return
        place = np.flatnonzero(np.isin(self.rows, rows))
        if not place.size:
            self._clear()
        else:
            self.rows, self.padding = self.rows[place], self.padding[place]
            select_rows(self.cache, place, self.model.device)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> Array:
        """Scores (B,) after each row's last token."""
        texts = batch.sequences()
        held = np.isin(batch.rows, self.rows)
        if batch.finished or (self.rows.size and not held.all()):
            return self._once(batch.rows, texts, held)
        if not self.rows.size:
            self.cache, self.rows, self.padding = new_cache(self.model.backbone), batch.rows, left_padded(texts)[1]
        else:
            self.keep(batch.rows)
        scores, self.read = self._extend(texts, self.cache, self.padding)
        return scores

    def _once(self, rows: Rows, texts: Sequence[Text], held: Flags) -> Array:
        scores = np.empty(len(texts))
        new, known = ([text for text, here in zip(texts, side, strict=True) if here] for side in (~held, held))
        if new:
            scores[~held] = self.model.last_scores(new)
        if known:
            place = np.searchsorted(self.rows, rows[held])
            cache = selected_copy(self.cache, place, self.model.device)
            scores[held], _ = self._extend(known, cache, self.padding[place])
        return scores

    def _extend(self, texts: Sequence[Text], cache: Any, padding: Counts) -> tuple[Array, int]:
        """Read what `cache` does not hold yet of each text; scores (B,) at their ends, and the cache's new width."""
        before, device = self.read, self.model.device
        first = [before - pad if before else len(text) for text, pad in zip(texts, padding.tolist(), strict=True)]
        check_positions(self.model.backbone.config, min(first), max(map(len, texts)))
        new = [
            (0,) * max(0, pad - before) + text[max(0, before - pad) :]
            for text, pad in zip(texts, padding.tolist(), strict=True)
        ]
        tokens = right_padded(new, device)
        width = before + tokens.shape[1]
        places = torch.arange(width, device=device)
        pads = torch.as_tensor(padding, device=device)[:, None]
        mask = (places >= pads).long() if padding.any() else None
        with autocast(device):
            positions = (places[before:] - pads).clamp(min=0)
            states = forward(self.model.backbone, tokens, cache, positions, mask)
            scores = self.model.read(states)
        last = torch.tensor([[len(text) - 1] for text in new], device=device)
        return scores.gather(1, last)[:, 0].double().cpu().numpy(), width
