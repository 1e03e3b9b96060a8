"""What a measured v(t) would have allowed Speculative Rejection: a pilot of responses that nothing is rejected of.

v(t) is the share of the reward's variance among the responses to one prompt that the score after t tokens explains
(`llm_validation.rewards.model.explained_variance`). Theory has two answers:

    n^{1−v} rows at a decision are the fewest that hold the winner as n grows, if the score is a martingale (B4, B11)
    the expected best reward at these v and counts, beside Best-of-N's, in the reward's standard deviations (B4)

Shapes: P prompts, n rows of each, J times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llm_validation.generation.decode import best_of_n
from llm_validation.generation.engine import Sampling
from llm_validation.generation.scorers import Batch, Scorer, checked_scores, no_score
from llm_validation.generation.uniforms import decoding_seed
from llm_validation.rewards.model import Explained, explained_variance
from simulate.montecarlo import generator
from theory.best_of_n.cost import speculative_tokens
from theory.best_of_n.evolution import survivor_counts
from theory.best_of_n.order_statistics import expected_max
from theory.best_of_n.rejection import speculative_reward
from theory.best_of_n.schedule import information_schedule
from theory.validate import Array

#: Prompts of a pilot at most; rows that are written at once.
PROMPTS, AT_ONCE = 8, 128


def allowed(
    model: Any, prompts: Sequence[tuple[int, ...]], fresh: Callable[[], Scorer], sampling: Sampling, rows: int,
    times: Sequence[int], n: int, keep: float, seed: int,
) -> Iterator[str]:  # fmt: skip
    """Sentences on decisions at `times` that kept the fraction `keep` of n rows; `rows` of a pilot per prompt."""
    prompts = prompts[:PROMPTS]
    found = scored_rows(model, prompts, rows, fresh, sampling, lambda _: times, seed).explained(generator(seed, "v"))
    shown = ", ".join(
        f"v({t}) = {v:.2f} [{low:.2f}, {high:.2f}]"
        for t, v, low, high in zip(times, found.value, found.low, found.high, strict=True)
    )
    yield f"of {rows} responses to each of {len(prompts)} prompts, none rejected: {shown} (95 % intervals)"
    v = np.clip(np.maximum.accumulate(found.value), 0.0, 1.0)
    kept, free = survivor_counts(n, keep, len(times)), information_schedule(n, v)
    yield (
        f"of {n} responses decisions there would keep {_counts(kept)}; n^(1−v), which loses nothing as n grows, is "
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


@dataclass(frozen=True, eq=False)
class Sampled:
    """n responses to each of P prompts, none rejected, and their rewards.

    final  (P, n) of the wholes;  prefix  (J, P, n) of the beginnings of `times` (J,) tokens;  lengths  (P, n) in tokens
    """

    times: tuple[int, ...]
    prefix: Array
    final: Array
    lengths: Array

    def explained(self, rng: np.random.Generator) -> Explained:
        """v at the times; prompts' means are taken out, for selection is among the responses to one prompt."""
        table = (self.prefix - self.prefix.mean(axis=-1, keepdims=True)).reshape(len(self.times), -1).T
        return explained_variance(table, (self.final - self.final.mean(axis=1, keepdims=True)).ravel(), rng)


def scored_rows(
    model: Any, prompts: Sequence[tuple[int, ...]], rows: int, fresh: Callable[[], Scorer], sampling: Sampling,
    times: Callable[[int], Sequence[int]], seed: int,
) -> Sampled:  # fmt: skip
    """Write `rows` responses to each prompt and score them; `times` of the longest length, in tokens."""
    texts: list[tuple[int, ...]] = []
    size = max(1, AT_ONCE // rows)
    for first in range(0, len(prompts), size):
        draws = decoding_seed(seed, "v", first)
        found = best_of_n(model, prompts[first : first + size], rows, no_score, sampling, seed=draws)
        texts += found.written
    lengths = np.array(list(map(len, texts)), dtype=float).reshape(len(prompts), rows)
    places = tuple((p, i) for p in range(len(prompts)) for i in range(rows))
    asked, at = tuple(prompts[p] for p, _ in places), tuple(times(int(lengths.max())))

    def scored(beginnings: Sequence[tuple[int, ...]]) -> Array:
        batch = Batch(np.arange(len(places)), places, asked, tuple(beginnings), True)
        return checked_scores(fresh(), batch).reshape(lengths.shape)

    prefix = np.stack([scored([text[:time] for text in texts]) for time in at])
    return Sampled(at, prefix, scored(texts), lengths)
