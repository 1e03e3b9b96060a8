"""Memory-limited decoding, event by event: Best-of-N and Speculative Rejection on the same rows.

Rows generate one token per step side by side, from the same prompt. A row ends with its own end-of-text token, or is
cut off at the length limit (truncated). At a decision the running rows are scored, the best fraction `keep` goes on
and the rest leave the cache. A row that has ended leaves the cache too, is scored once, and stays a candidate for
good. Returned is the ended row of highest reward; a truncated row never is, but the best one is reported apart.

Both algorithms run on this one engine and on the same rows, so that what they differ by is the algorithm. Counted,
not computed from a formula: tokens generated and scored, decisions, and the most tokens cached at any time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.best_of_n.evolution import check_keep, check_tokens
from theory.validate import Array

Rows = NDArray[np.intp]


class ScorerError(RuntimeError):
    """The scorer returned NaN; `rows` lists for which rows, `token` says where."""

    def __init__(self, rows: Sequence[int], token: int) -> None:
        super().__init__(f"the scorer returned NaN for rows {list(rows)} at token {token}")
        self.rows, self.token = tuple(rows), token


@dataclass(frozen=True, eq=False)
class Responses:
    """What the model would write for one prompt, and how the scorer would judge every part of it.

    lengths  (N,) tokens of each response; one longer than the limit T is cut off there
    scores   (N, T) scores[i, t − 1] is the score of the first t tokens of row i; at t = lengths[i] its final reward.
             Entries beyond a row's end are never read
    """

    lengths: NDArray[np.int64]
    scores: Array

    def __post_init__(self) -> None:
        if self.scores.ndim != 2 or self.lengths.shape != self.scores.shape[:1] or self.scores.size == 0:
            raise ValueError(f"scores {self.scores.shape} and lengths {self.lengths.shape} must be (N, T) and (N,)")
        if (self.lengths < 1).any():
            raise ValueError(f"lengths[{int(self.lengths.argmin())}] = {self.lengths.min()} must be >= 1")

    @property
    def limit(self) -> int:
        """T, the length limit."""
        return self.scores.shape[1]

    def score(self, rows: Rows, token: int) -> Array:
        """Scores of rows at a token; ScorerError if one is NaN."""
        scores = self.scores[rows, token - 1]
        if np.isnan(scores).any():
            raise ScorerError(rows[np.isnan(scores)].tolist(), token)
        return scores


@dataclass(frozen=True)
class Decoded:
    """What a run returned and what it cost.

    winner     row returned, −1 if no row ended; `reward` its final reward, −inf if none
    truncated  best row cut off at the limit, −1 if none; `truncated_reward` its score there. Never the winner
    generated  tokens generated;  scored  tokens read by a scorer without a cache (prompt included)
    decisions  rejections that took place;  peak  most cached tokens, prompt included
    ended      rows that ended, in the order they did
    fills      cached tokens at each decision, before rejecting
    """

    winner: int
    reward: float
    truncated: int
    truncated_reward: float
    generated: int
    scored: int
    decisions: int
    peak: int
    ended: tuple[int, ...]
    fills: tuple[int, ...]


def best_of_n(responses: Responses, prompt: int = 0) -> Decoded:
    """Best-of-N: all rows to their end, no rejection, no budget."""
    return decode(responses, 1.0, times=(), prompt=prompt)


def decode(
    responses: Responses,
    keep: ArrayLike,
    *,
    times: Sequence[int] | None = None,
    budget: float | None = None,
    prompt: int = 0,
) -> Decoded:
    """Speculative Rejection on `responses`: at fixed decision times, or whenever the cache is full.

    keep    fraction of the running rows kept at a decision, in (0, 1]; one per time if `times` is given, or a number
    times   decision times in tokens, increasing, at most the limit; None: a decision when the next token of all
            running rows would not fit `budget`, which drops at least one row, and more until it fits
    budget  cached tokens allowed, prompt + written per running row; None: no limit
    Raises ValueError naming the parameter, row or stage: a bad fraction or time, a row that does not fit the budget
    by itself, fixed times that exceed it, or keep = 1 when memory must be freed; ScorerError for a NaN score.
    """
    run = _Run(responses, prompt, math.inf if budget is None else float(budget))
    fractions = check_keep(keep, 1 if times is None else len(times))
    if times is not None:
        for j, time in enumerate(check_tokens(times, responses.limit)):
            run.advance(time, f"decision {j}")
            if run.rows.size:
                run.reject(max(1, round(float(fractions[j]) * run.rows.size)))
    else:
        while run.rows.size and (full := run.token_when_full()) < responses.limit:
            run.advance(full, "memory")
            # rows that ended on the way may have made room
            while run.rows.size and not run.fits(run.token + 1):
                if fractions[0] == 1.0:
                    raise ValueError(
                        f"keep = 1 drops nothing, but {run.rows.size} rows need more than budget = {budget} "
                        f"at token {run.token + 1}"
                    )
                run.reject_until_it_fits(float(fractions[0]))
    run.advance(responses.limit, "the end")
    return run.result()


class _Run:
    """The state of one run: which rows are in the cache, how far they are, and the counters."""

    def __init__(self, responses: Responses, prompt: int, budget: float) -> None:
        if prompt < 0:
            raise ValueError(f"prompt = {prompt} must be a number of tokens >= 0")
        self.responses, self.prompt, self.budget = responses, prompt, budget
        lengths = np.minimum(responses.lengths, responses.limit)
        if prompt + int(lengths.max()) > budget:
            row = int(lengths.argmax())
            raise ValueError(f"budget = {budget} cannot hold row {row}: prompt {prompt} + {lengths[row]} tokens")
        self.rows: Rows = np.arange(lengths.size)
        self.token = self.generated = self.scored = self.peak = 0
        self.ended: list[int] = []
        self.rewards: list[float] = []
        self.fills: list[int] = []
        self.check_fit(1, "the start")

    def fits(self, token: int) -> bool:
        """Whether the running rows fit the budget once each has `token` tokens."""
        return self.rows.size * (self.prompt + token) <= self.budget

    def check_fit(self, token: int, stage: str) -> None:
        if not self.fits(token):
            raise ValueError(
                f"budget = {self.budget} is exceeded before {stage}: "
                f"{self.rows.size} rows of {self.prompt} + {token} tokens"
            )

    def token_when_full(self) -> int:
        """The last token that the rows running now can all reach."""
        if self.budget == math.inf:
            return self.responses.limit
        return int(self.budget // self.rows.size) - self.prompt

    def advance(self, token: int, stage: str) -> None:
        """Generate up to `token`, letting rows that end on the way leave the cache when they do."""
        lengths = self.responses.lengths
        for end in np.unique(np.append(lengths[self.rows][lengths[self.rows] < token], token)):
            if not self.rows.size:
                break
            self.check_fit(int(end), stage)
            self.generated += self.rows.size * (int(end) - self.token)
            self.token = int(end)
            self.peak = max(self.peak, self.rows.size * (self.prompt + self.token))
            done = self.rows[lengths[self.rows] == end]
            if done.size:
                self.rewards += self.score(done).tolist()
                self.ended += done.tolist()
                self.rows = self.rows[lengths[self.rows] != end]
        self.token = token

    def score(self, rows: Rows) -> Array:
        self.scored += rows.size * (self.prompt + self.token)
        return self.responses.score(rows, self.token)

    def reject(self, survivors: int) -> None:
        """Keep the running rows of highest score; of equal ones the first (rows are exchangeable)."""
        self.fills.append(self.rows.size * (self.prompt + self.token))
        order = np.argsort(-self.score(self.rows), kind="stable")
        self.rows = np.sort(self.rows[order[:survivors]])

    def reject_until_it_fits(self, keep: float) -> None:
        """One scoring; the fraction is applied until the next token of every row fits."""
        survivors = self.rows.size
        while survivors * (self.prompt + self.token + 1) > self.budget:
            survivors = min(survivors - 1, max(1, round(keep * survivors)))
        self.reject(survivors)

    def result(self) -> Decoded:
        """The best ended row and, apart, the best of those cut off at the limit."""
        winner, reward = _highest(np.array(self.ended, dtype=np.intp), np.array(self.rewards))
        cut, cut_reward = _highest(self.rows, self.score(self.rows)) if self.rows.size else (-1, -math.inf)
        return Decoded(
            winner, reward, cut, cut_reward, self.generated, self.scored, len(self.fills), self.peak,
            tuple(self.ended), tuple(self.fills),
        )  # fmt: skip


def _highest(rows: Rows, rewards: Array) -> tuple[int, float]:
    """The row of highest reward, of equal ones the first by number; (−1, −inf) without rows."""
    if not rows.size:
        return -1, -math.inf
    best = rows[rewards == rewards.max()].min()
    return int(best), float(rewards.max())
