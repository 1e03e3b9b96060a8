"""The rows behind B1–B10: written by a model, scored by a reward model, and what is predicted of them from a pool.

Shapes: M pool rows, J decisions, G groups of n.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import ndtri

from llm_validation.generation.decode import Outcome, Spent, best_of_n, speculative_rejection
from llm_validation.generation.engine import Sampling
from llm_validation.generation.scorers import Scorer, no_score
from llm_validation.generation.uniforms import decoding_seed
from llm_validation.model.model import autocast, load
from llm_validation.profiles import BestOfN
from llm_validation.rewards.model import Explained, RewardModel, explained_variance
from llm_validation.rewards.prefix_scorer import PrefixScorer
from llm_validation.runs.best_of_n_laws import MeasuredRows, measured_reward, measured_survival
from llm_validation.runs.best_of_n_scorer import open_scorer, row_length
from llm_validation.runs.run import Context
from simulate.montecarlo import generator
from theory.best_of_n.evolution import survivor_counts
from theory.best_of_n.law import best_of_n_reward
from theory.best_of_n.processes import gaussian_process
from theory.best_of_n.rejection import speculative_reward, winner_survival
from theory.validate import Array

#: The fraction rejected at each of the decision times T/4, T/2, 3T/4.
ALPHA = 0.5


def decision_times(length: int) -> tuple[int, ...]:
    """T/4, T/2, 3T/4."""
    return tuple(length * quarter // 4 for quarter in (1, 2, 3))


@dataclass(frozen=True, eq=False)
class Writer:
    """What rows are written with: a model, its end-of-text token as prompt, and a trained reward model."""

    model: Any
    end: int
    reward: RewardModel
    length: int
    profile: BestOfN

    @property
    def times(self) -> tuple[int, ...]:
        """Decision times, in tokens."""
        return decision_times(self.length)

    def write(
        self, groups: int, n: int, seed: int, *, reject: bool = False, eos: bool = False, scorer: Scorer | None = None
    ) -> list[Outcome]:
        """Best-of-N by the reward, or by another scorer, or Speculative Rejection on the same rows, for `groups`
        groups, some groups at a time.

        The rows of a seed are the same for all N that divide the largest: its groups in a row, whatever their size.
        """
        at_once = max(1, self.profile.at_once // n)
        sampling = Sampling(self.length, (self.end,) if eos else (), side_by_side=max(1, max(self.profile.sizes) // n))
        outcomes = []
        for part, first in enumerate(range(0, groups, at_once)):
            prompts = [(self.end,)] * min(at_once, groups - first)
            spawned = decoding_seed(seed, "decoding", part)
            with autocast(self.reward.device):
                if reject:
                    by = PrefixScorer(self.reward)
                    outcome = speculative_rejection(
                        self.model, prompts, n, ALPHA, by, sampling, seed=spawned, times=self.times
                    )
                else:
                    outcome = best_of_n(self.model, prompts, n, scorer or self.reward.score, sampling, seed=spawned)
            outcomes.append(outcome)
        return outcomes


def prepare(context: Context) -> Writer:
    """Load the model and its reward model."""
    profile, loaded = context.profile.best_of_n, load(context.base).to(context.device)
    length, end = row_length(loaded.model, profile), int(loaded.tokenizer.eos_token_id)
    return Writer(loaded.model, end, open_scorer(context), length, profile)


# what theory starts from


@dataclass(frozen=True, eq=False)
class Pool:
    """The measured rows, in the order of their rewards, v at the decision times, and the rewards' deviation."""

    rows: MeasuredRows
    explained: Explained

    @property
    def rewards(self) -> Array:
        """(M,) sorted."""
        return self.rows.rewards

    @property
    def sd(self) -> float:
        return float(self.rewards.std())

    def reweighted(self, weights: Array) -> MeasuredRows:
        return replace(self.rows, weights=weights)

    def quantile(self, weights: Array) -> Any:
        """The reward as an increasing function of a standard normal variable; constant beyond the pool's range.

        Of M rows the i-th stands at (i − 3/8)/(M + 1/4) (Blom, 1958), nearly where a normal law has its mean: with the
        middle of its weight, (i − ½)/M, the mean of the best of n comes out too low.
        """
        size, middle = self.rewards.size, np.cumsum(weights) - weights / 2
        z = ndtri((middle * size + 0.125) / (size + 0.25))
        return lambda x: np.interp(x, z, self.rewards)


def measure_pool(writer: Writer, seed: int) -> Pool:
    """Rows that are used for predictions only."""
    groups = max(1, writer.profile.pool // 64)
    outcomes = writer.write(groups, 64, decoding_seed(seed, "pool"), scorer=no_score)
    texts = [(writer.end, *row) for outcome in outcomes for row in outcome.tokens.tolist()]
    read = np.array(writer.reward.prefix_scores(texts))  # all beginnings by one reading
    scores, rewards = read[:, list(writer.times)], read[:, -1]  # after the prompt and t tokens
    explained = explained_variance(scores, rewards, generator(seed, "v"), writer.profile.replicates)
    return Pool(MeasuredRows.of(scores, rewards), explained)


@dataclass(frozen=True)
class Predicted:
    """A predicted number with the bootstrap error of the pool behind it."""

    value: float
    stderr: float


def predict(pool: Pool, n: int, quantity: str, seed: int) -> Predicted:
    """A predicted number, from the pool alone.

    best                   mean best reward of Best-of-n, from the reward law
    reward, survival       of Speculative Rejection, and of its winner, from the reward law and v(t)
    reward_law, survival_law   the same from the joint law of scores and reward (`llm_validation.runs.best_of_n_laws`)
    """
    M, J = pool.rows.scores.shape
    counts = survivor_counts(n, 1.0 - ALPHA, J)

    def value(v: Array, weights: Array) -> float:
        monotone = np.maximum.accumulate(v)
        if quantity == "best":
            return best_of_n_reward(weights, pool.rewards, n)
        if quantity == "reward":
            return speculative_reward(n, monotone, 1.0 - ALPHA, transform=pool.quantile(weights))
        if quantity == "survival":
            return winner_survival(gaussian_process(monotone), counts)
        return {"reward_law": measured_reward, "survival_law": measured_survival}[quantity](
            pool.reweighted(weights), counts
        )

    rng = generator(seed, "predict", quantity, n)
    draws = [value(v, rng.multinomial(M, np.full(M, 1 / M)) / M) for v in pool.explained.replicates]
    return Predicted(value(pool.explained.value, pool.rows.weights), float(np.std(draws, ddof=1)))


@dataclass(frozen=True, eq=False)
class Runs:
    """Best-of-n and Speculative Rejection on the same rows, G groups.

    rewards  (G, n) final rewards of all rows;  best, rejected  (G,) what each returned;  survived  (G,) of the winner
    tokens, seconds, peak  (2,) per group, generated, passed, and cached at most, of Best-of-n and Speculative Rejection
    batches  what each batch of rows cost that were all written to their end
    """

    n: int
    rewards: Array
    best: Array
    rejected: Array
    survived: Array
    tokens: Array
    seconds: Array
    peak: Array
    batches: tuple[Spent, ...]


def measure(writer: Writer, seed: int) -> list[Runs]:
    """Both algorithms at every N of the profile. Rows are written to their end once, in groups of the largest N: what
    Best-of-n costs and gives for a smaller one is read off the same rows, group by group."""
    sizes, rows, largest = writer.profile.sizes, writer.profile.rows, max(writer.profile.sizes)
    groups = {n: max(2, count // n) for n, count in zip(sizes, rows, strict=True)}
    needed = max(n * count for n, count in groups.items())
    plain = writer.write(-(-needed // largest), largest, seed)
    return [_grouped(n, count, plain, writer.write(count, n, seed, reject=True)) for n, count in groups.items()]


def _grouped(n: int, groups: int, plain: Sequence[Outcome], pruned: Sequence[Outcome]) -> Runs:
    """The first groups of n of the rows that were written to their end, beside what rejection made of them."""
    rewards = np.concatenate([outcome.rewards for outcome in plain])[: groups * n].reshape(groups, n)
    alive = np.concatenate([~np.isnan(outcome.rewards) for outcome in pruned]).reshape(groups, n)
    rejected = np.array([r.reward for outcome in pruned for r in outcome.returned if r is not None])
    written = sum(outcome.rewards.size for outcome in plain)
    spent = [
        (sum(o.spent.generated for o in outcomes) / parts, sum(o.spent.seconds for o in outcomes) / parts)
        for outcomes, parts in ((plain, written / n), (pruned, groups))
    ]
    tokens, seconds = np.array(spent).T
    peak = np.array([max(o.spent.peak * n / o.rewards.size for o in outcomes) for outcomes in (plain, pruned)])
    survived = alive[np.arange(groups), rewards.argmax(axis=1)].astype(float)
    batches = tuple(outcome.spent for outcome in plain)
    return Runs(n, rewards, rewards.max(axis=1), rejected, survived, tokens, seconds, peak, batches)
