"""What a decoder asks of a scorer: one finite number for each of a batch of responses, finished or partial.

A scorer is any callable from a `Batch` to a vector. Three kinds are told apart:

    on tokens     f(batch) with `batch.sequences()` or `batch.responses`
    on texts      `TextScorer(tokenizer, f)`, f(prompt texts, response texts)
    incremental   f(batch) that keeps a cache for each row, and a method `keep(rows)` by which it learns who is left;
                  it then reads only what is new since it last saw the row

Shapes: B rows of a batch. A row is named by (prompt, row): its prompt's place in the run, and its own among that
prompt's responses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from llm_validation.generation.cache import Rows
from theory.validate import Array


@dataclass(frozen=True, eq=False)
class Batch:
    """Responses to be scored.

    rows       (B,) numbers that stay with a row through a run: prompt·n + row
    names      (prompt, row) of each
    prompts    B prompts, in tokens
    responses  B responses so far, in tokens, the end-of-text token included where they have one
    finished   whether they have ended; all of a batch have or have not
    """

    rows: Rows
    names: tuple[tuple[int, int], ...]
    prompts: tuple[tuple[int, ...], ...]
    responses: tuple[tuple[int, ...], ...]
    finished: bool

    def sequences(self) -> list[tuple[int, ...]]:
        """Prompt and response of each row, one after the other."""
        return [prompt + response for prompt, response in zip(self.prompts, self.responses, strict=True)]


Scorer = Callable[[Batch], ArrayLike]


@runtime_checkable
class IncrementalScorer(Protocol):
    """A scorer with a cache: after `keep(rows)` it may forget every other row."""

    def __call__(self, batch: Batch) -> ArrayLike: ...

    def keep(self, rows: Rows) -> None: ...


@dataclass(frozen=True)
class TextScorer:
    """A scorer from a function of texts: function(prompt texts, response texts) → B numbers.

    tokenizer  anything with decode(tokens, skip_special_tokens=True)
    """

    tokenizer: Any
    function: Callable[[Sequence[str], Sequence[str]], ArrayLike]

    def __call__(self, batch: Batch) -> ArrayLike:
        prompts, responses = (
            [self.tokenizer.decode(list(tokens), skip_special_tokens=True) for tokens in side]
            for side in (batch.prompts, batch.responses)
        )
        return self.function(prompts, responses)


class ScorerError(RuntimeError):
    """A scorer returned something else than one number per row; `rows` lists the (prompt, row) concerned."""

    def __init__(self, problem: str, rows: Sequence[tuple[int, int]]) -> None:
        shown = ", ".join(map(str, rows[:8])) + (f" and {len(rows) - 8} more" if len(rows) > 8 else "")
        super().__init__(f"the scorer returned {problem} for (prompt, row) {shown}")
        self.rows = tuple(rows)


def no_score(batch: Batch) -> Array:
    """0 for every row: of rows that are written and not compared."""
    return np.zeros(batch.rows.size)


def checked_scores(scorer: Scorer, batch: Batch) -> Array:
    """Scores (B,) in float64; ScorerError for a wrong shape or a number that is not finite."""
    returned = scorer(batch)
    # numpy knows no bf16
    detached = returned.detach().cpu().double() if hasattr(returned, "detach") else returned
    scores = np.asarray(detached, dtype=np.float64)
    if scores.shape != batch.rows.shape:
        raise ScorerError(f"shape {scores.shape} instead of {batch.rows.shape}", batch.names)
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        raise ScorerError(f"{scores[bad[0]]}", [batch.names[i] for i in bad])
    return scores
