"""What a measured v(t) would have allowed Speculative Rejection: a pilot of responses that nothing is rejected of.

v(t) is the share of the reward's variance that the score after t tokens explains, of the responses to one prompt,
averaged over prompts (`llm_validation.rewards.model.explained_variance`). Theory has two answers:

    n^{1−v} rows at a decision are the fewest that hold the winner as n grows, if the score is a martingale (B4, B11)
    the expected best reward at these v and counts, beside Best-of-N's, in the reward's standard deviations (B4)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from llm_validation.generation.decode import best_of_n
from llm_validation.generation.engine import Sampling
from llm_validation.generation.scorers import Batch, Scorer, checked_scores
from llm_validation.rewards.model import Explained, explained_variance
from simulate.montecarlo import generator
from theory.best_of_n.cost import speculative_tokens
from theory.best_of_n.evolution import survivor_counts
from theory.best_of_n.order_statistics import expected_max
from theory.best_of_n.rejection import speculative_reward
from theory.best_of_n.schedule import information_schedule

#: Prompts of a pilot at most.
PROMPTS = 8


def allowed(
    model: Any, prompts: Sequence[tuple[int, ...]], fresh: Callable[[], Scorer], sampling: Sampling, rows: int,
    times: Sequence[int], n: int, keep: float, seed: int,
) -> Iterator[str]:  # fmt: skip
    """Sentences on decisions at `times` that kept the fraction `keep` of n rows; `rows` of a pilot per prompt."""
    prompts = prompts[:PROMPTS]
    found = measured(model, prompts, fresh, sampling, rows, times, seed)
    shown = ", ".join(
        f"v({t}) = {v:.2f} [{low:.2f}, {high:.2f}]"
        for t, v, low, high in zip(times, found.value, found.low, found.high, strict=True)
    )
    yield f"of {rows} responses to each of {len(prompts)} prompts, none rejected: {shown} (95 % intervals)"
    v = np.clip(np.maximum.accumulate(found.value), 0.0, 1.0)
    kept, free = survivor_counts(n, keep, len(times)), information_schedule(n, v)
    yield (
        f"of {n} responses {_counts(kept)} were kept at the decisions; n^(1−v), which loses nothing as n grows, is "
        f"{_counts(free)} (claim B11)"
    )
    reward, best = speculative_reward(n, v, keep), expected_max(n)
    tokens = speculative_tokens(n, times, keep, sampling.max_new_tokens) / (n * sampling.max_new_tokens)
    yield (
        f"at these v the best of what is kept is expected {reward:.2f} standard deviations above the mean, Best-of-"
        f"{n} {best:.2f}: {100 * reward / best:.0f} % of its gain for {100 * tokens:.0f} % of its tokens (claim B4)"
    )


def _counts(counts: Sequence[int]) -> str:
    return ", ".join(map(str, counts[1:]))


def measured(
    model: Any, prompts: Sequence[tuple[int, ...]], fresh: Callable[[], Scorer], sampling: Sampling, rows: int,
    times: Sequence[int], seed: int,
) -> Explained:  # fmt: skip
    """v at the times, the mean over prompts of what scores of beginnings explain of final rewards."""
    explained = []
    for p, prompt in enumerate(prompts):
        rng = generator(seed, "v", p)
        outcome = best_of_n(model, [prompt], rows, fresh(), sampling, seed=int(rng.integers(2**31)))
        written = [tuple(row[:size]) for row, size in zip(outcome.tokens.tolist(), outcome.lengths, strict=True)]
        scores = []
        for time in times:
            some = Batch(np.arange(rows), tuple((p, i) for i in range(rows)), (prompt,) * rows,
                         tuple(text[:time] for text in written), True)  # fmt: skip
            scores.append(checked_scores(fresh(), some))
        explained.append(explained_variance(np.column_stack(scores), outcome.rewards, rng))
    value = np.mean([one.value for one in explained], axis=0)
    draws = np.mean([one.replicates for one in explained], axis=0)
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    return Explained(value, low, high, draws)
