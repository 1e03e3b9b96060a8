"""Best-of-N and Speculative Rejection on any causal language model of transformers: one engine for both.

Rows write side by side from one key-value cache. The prompt is encoded once and its cache repeated; a row that ends
or is rejected leaves the cache, the others stay in it (`batch_select_indices`), nothing is encoded twice. At a
decision the running rows of each prompt are scored and the best fraction 1 − α of them goes on. A row that has ended
is never rejected: it stays a candidate for good. Returned is the ended row of highest reward; one that was cut off at
`max_new_tokens` is reported apart, and returned only if `allow_unfinished` says so.

**The same rows.** Row i of prompt p takes at position t the token at quantile u(seed, p, t, i) of the model's law
(inverse distribution function, summed in float64), so what it writes does not depend on which other rows live, nor
on n. With α = 0 the computation is Best-of-N's, hence the result too, bit for bit. With α > 0 the model runs on
smaller batches, where matrix products may be summed in another order: logits move by their rounding error, and a
token changes where u falls within it of a boundary: one in some 10⁶ in float32, far fewer in float64.

**Memory.** `budget` limits cached tokens, live rows × (prompt + written). It sets the decision times of Speculative
Rejection, and the batches in which Best-of-N writes its rows. Where the device runs out of memory all the same, the
batch is halved and the waiting half is encoded again when its turn comes: the log says so, and nothing is lost.

Tokens are counted as they are generated, scored and encoded. `simulate.best_of_n.decoder` is the same algorithm on
rewards without a model. Algorithm: Sun et al. (arXiv 2410.20290).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llm_validation.generation.cache import Rows
from llm_validation.generation.engine import Run, Sampling
from llm_validation.generation.scorers import Scorer
from theory.best_of_n.evolution import check_keep, check_tokens
from theory.validate import Array

Prompts = Sequence[Sequence[int]]
#: Where n is left to the budget, the share of `max_new_tokens` that rows can write before the first decision.
FIRST_SHARE = 8


@dataclass(frozen=True)
class Response:
    """One response: its prompt, its row among that prompt's, its tokens and its final reward."""

    prompt: int
    row: int
    tokens: tuple[int, ...]
    reward: float
    finished: bool


@dataclass(frozen=True, eq=False)
class Decision:
    """One rejection: at `token` tokens written, `rows` (prompt·n + row) had `scores`; `kept` says who went on.

    fill: cached tokens before it.
    """

    token: int
    rows: Rows
    scores: Array
    kept: NDArray[np.bool_]
    fill: int


@dataclass(frozen=True)
class Spent:
    """What a run cost.

    generated  tokens written;  scored  tokens that the scorer read;  prefill  tokens encoded without being written
    peak       most cached tokens, rows × (padded prompt + written);  splits  times that the device ran out of memory
    seconds    wall-clock time, `scoring` of them in the scorer
    """

    generated: int
    scored: int
    prefill: int
    peak: int
    splits: int
    seconds: float
    scoring: float


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run returned.

    returned   (P) the response for each prompt; None where no row ended (and `allow_unfinished` is False)
    truncated  (P) the best of the rows cut off at the limit; None where there is none
    tokens     (P·n, T) all that was written, −1 beyond;  lengths (P·n,)
    finished   (P·n,) whether a row ended;  rewards (P·n,) final rewards, NaN for a rejected row
    """

    returned: tuple[Response | None, ...]
    truncated: tuple[Response | None, ...]
    tokens: NDArray[np.int64]
    lengths: NDArray[np.int64]
    finished: NDArray[np.bool_]
    rewards: Array
    decisions: tuple[Decision, ...]
    spent: Spent

    @property
    def written(self) -> list[tuple[int, ...]]:
        """What each of the P·n rows wrote, in tokens."""
        return [tuple(row[:size]) for row, size in zip(self.tokens.tolist(), self.lengths.tolist(), strict=True)]


def best_of_n(
    model: Any,
    prompts: Prompts,
    n: int,
    scorer: Scorer,
    sampling: Sampling,
    *,
    seed: int,
    budget: float | None = None,
    allow_unfinished: bool = False,
) -> Outcome:
    """Best-of-N for each prompt: n rows to their end, the one of highest reward.

    Parameters
    ----------
    model
        Any causal language model of transformers.
    prompts : sequence of token sequences
        P of them, non-empty, of any lengths.
    n : int
        Rows for each prompt, ≥ 1.
    scorer : callable
        `Batch` → one reward per row; see `llm_validation.generation.scorers`.
    sampling : Sampling
        Most new tokens T, the tokens that end a response, temperature.
    seed : int
        With a row's number, decides what it writes, whatever else lives.
    budget : float, optional
        Cached tokens allowed; rows are written in batches that fit it. None: all at once.
    allow_unfinished : bool
        Whether a response that was cut off at T may be returned.

    Returns
    -------
    Outcome

    Raises
    ------
    ValueError
        Before anything is generated: n < 1, an empty prompt, one that does not fit the model's context with T further
        tokens, a budget too small for one row.
    ScorerError
        Names the rows of a NaN or a wrong shape.

    Examples
    --------
    >>> from llm_validation import best_of_n
    >>> from llm_validation.model.model import build
    >>> model = build("smoke", vocab_size=16, context=32, seed=0)
    >>> longest = lambda batch: [float(len(text)) for text in batch.responses]
    >>> best_of_n(model, [(3, 5)], 4, longest, Sampling(8, eos=(1,)), seed=0).spent.prefill  # the prompt, once
    2
    """
    run = Run(model, prompts, n, scorer, sampling, seed, np.inf if budget is None else budget)
    run.check_row()
    run.advance(sampling.max_new_tokens)
    return _outcome(run, allow_unfinished)


def speculative_rejection(
    model: Any,
    prompts: Prompts,
    n: int | None,
    alpha: ArrayLike,
    scorer: Scorer,
    sampling: Sampling,
    *,
    seed: int,
    times: Sequence[int] | None = None,
    budget: float | None = None,
    allow_unfinished: bool = False,
) -> Outcome:
    """Speculative Rejection: at each decision the fraction α of a prompt's running rows, those of lowest score, leave.

    Without times and budget nothing is rejected. α = 0 returns Best-of-N of the same rows (module docstring).

    Parameters
    ----------
    model, prompts, scorer, sampling, seed, allow_unfinished
        As in `best_of_n`.
    n : int or None
        Rows per prompt at the start; None: as many as can write T/8 tokens within the budget.
    alpha : float or array_like, (J,)
        In [0, 1), a number or one per decision time; max(1, round((1−α)·running)) rows stay.
    times : sequence of int, (J,), optional
        Decision times in written tokens, increasing, at most T, the same for all prompts. None: a decision whenever the
        next token of all running rows would not fit `budget`, which drops at least one row.
    budget : float, optional
        Cached tokens allowed. With `times` rows that do not fit wait, and are encoded again for their turn.

    Returns
    -------
    Outcome

    Raises
    ------
    ValueError
        As `best_of_n`; α outside [0, 1), a bad time, α = 0 where memory must be freed.
    ScorerError
        As `best_of_n`.

    References
    ----------
    Sun et al. (arXiv 2410.20290).

    Examples
    --------
    >>> from llm_validation import speculative_rejection
    >>> from llm_validation.model.model import build
    >>> model = build("smoke", vocab_size=16, context=32, seed=0)
    >>> low = lambda batch: [-float(sum(text)) for text in batch.responses]
    >>> found = speculative_rejection(model, [(3, 5)], 8, 0.5, low, Sampling(8, eos=()), seed=0, times=(2, 4))
    >>> [int(decision.kept.sum()) for decision in found.decisions], found.spent.generated
    ([4, 2], 32)
    """
    T = sampling.max_new_tokens
    limit = np.inf if budget is None else float(budget)
    keep = _keep(alpha, None if times is None else len(times))
    if n is None:
        n = _initial_rows(prompts, limit, T)
    run = Run(model, prompts, n, scorer, sampling, seed, limit)
    run.check_row()
    if times is not None:
        for time, fraction in zip(check_tokens(times, T), keep, strict=True):
            run.advance(time)
            run.decide(float(fraction))
    else:
        run.check_start(float(keep[0]))
        while run.running and (full := run.token_when_full()) < T:
            run.advance(full)
            run.free_memory(float(keep[0]))
    run.advance(T)
    return _outcome(run, allow_unfinished)


def _keep(alpha: ArrayLike, decisions: int | None) -> Array:
    rejected = np.atleast_1d(np.asarray(alpha, dtype=np.float64))
    bad = np.flatnonzero(~((rejected >= 0) & (rejected < 1)))
    if bad.size:
        raise ValueError(f"alpha[{bad[0]}] = {rejected[bad[0]]} is outside [0, 1)")
    if decisions is None and rejected.size > 1:
        raise ValueError("alpha must be one number where the budget sets the decision times")
    return check_keep(1.0 - (rejected if rejected.size > 1 else rejected[0]), 1 if decisions is None else decisions)


def _initial_rows(prompts: Prompts, budget: float, limit: int) -> int:
    if budget == np.inf:
        raise ValueError("n = None leaves the number of rows to the budget, and there is none")
    longest = max((len(prompt) for prompt in prompts), default=0)
    rows = int(budget // (longest + -(-limit // FIRST_SHARE))) // max(1, len(prompts))
    if rows < 1:
        raise ValueError(f"budget = {budget} is too small for one row of each of {len(prompts)} prompts")
    return rows


def _outcome(run: Run, allow_unfinished: bool) -> Outcome:
    ended = [_best(run, prompt, run.finished) for prompt in range(len(run.prompts))]
    cut = [_best(run, prompt, ~run.finished) for prompt in range(len(run.prompts))]
    returned = list(ended)
    if allow_unfinished:
        for prompt, (whole, part) in enumerate(zip(ended, cut, strict=True)):
            if part is not None and (whole is None or part.reward > whole.reward):
                returned[prompt] = part
    return Outcome(
        tuple(returned), tuple(cut), run.tokens, run.lengths, run.finished, run.rewards,
        tuple(Decision(*decision) for decision in run.decisions), Spent(*run.spent()),
    )  # fmt: skip


def _best(run: Run, prompt: int, among: NDArray[np.bool_]) -> Response | None:
    """The row of highest final reward, of equal ones the first; None without rows."""
    own = np.arange(prompt * run.n, (prompt + 1) * run.n)
    candidates = own[among[own] & ~np.isnan(run.rewards[own])]
    if not candidates.size:
        return None
    row = int(candidates[run.rewards[candidates].argmax()])
    return Response(prompt, row - prompt * run.n, run.response(row), float(run.rewards[row]), bool(run.finished[row]))
