"""Best-of-N and Speculative Rejection on a model that others trained: B3, B4, B6, B10, B12.

The model's own responses to a few prompts are written once (`rewards.pool`), and both algorithms replay them. Truth is
a known utility of the text; the proxy is a linear head on the model's last states, fitted to Bradley–Terry comparisons
by that utility, each half of the rows being scored by the head that the other half was fitted to. Rewards are in
standard deviations of a prompt's own responses, so that rows of all prompts are draws of one law. Of each half's rows
every second one makes the predictions, and the others are measured; then the other way round. The best of n has a
heavy tail, and one way round is mostly the chance of which rows are where: in the mean of both that cancels, and what
is left is whether the laws' predictions are what the algorithms do. One way round is in the notes and `within_two`.

Shapes: P prompts, n rows each, K marks, M rows, J decisions, H width.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from llm_validation.claims.real_settings import REWARDS, SELECTED
from llm_validation.generation.decode import best_of_n, speculative_rejection
from llm_validation.generation.engine import Sampling
from llm_validation.generation.scorers import TextScorer
from llm_validation.model.model import Loaded
from llm_validation.rewards.model import explained_variance
from llm_validation.rewards.pool import Pool
from llm_validation.rewards.utilities import UTILITIES
from llm_validation.runs.best_of_n_laws import MeasuredRows, measured_reward
from simulate.montecarlo import generator
from simulate.rows.measurement import Measurement, measurement
from theory.best_of_n.cost import speculative_tokens
from theory.best_of_n.evolution import survivor_counts
from theory.best_of_n.law import best_of_n_reward
from theory.best_of_n.metrics import measured_speedup
from theory.best_of_n.order_statistics import equivalent_n
from theory.best_of_n.proxy import proxy_best_of_n
from theory.best_of_n.schedule import refined_schedule
from theory.validate import Array

#: Numbers of tokens at which rows are scored, the whole last; decisions are at those of `TIMES`, and keep half.
MARKS = (4, 8, 16, 24, 32, 48, 64)
TIMES, KEEP = (16, 32, 48), 0.5
#: Comparisons that a head is fitted to, temperature of the users per standard deviation, and ridge.
COMPARISONS, BT_BETA, RIDGE = 4000, 3.0, 30.0
#: Partitions into groups that a measured mean averages, and in how many parts they are drawn; halvings of a law.
ROUNDS, PARTS, HALVINGS = 800, 4, 4
#: A law speaks of the best of n where it has this many rows for each of them.
REACH = 4
#: Equal scores are set apart by so much, at random.
TIES = 1e-9


@dataclass(frozen=True, eq=False)
class Scored:
    """Rows of all prompts: scores (M, K) at the marks, the reward last; truth (M,)."""

    scores: Array
    truth: Array

    @property
    def rewards(self) -> Array:
        return self.scores[:, -1]

    def take(self, rows: NDArray[np.intp]) -> Scored:
        return Scored(self.scores[rows], self.truth[rows])

    def law(self) -> MeasuredRows:
        """Of scores at the decisions and of the reward."""
        return MeasuredRows.of(self.scores[:, [MARKS.index(time) for time in TIMES]], self.rewards)


def standardised(values: Array) -> Array:
    """(P, n, K) in standard deviations of a prompt's values at the last mark, its mean taken off; all equal: 0."""
    last = values[:, :, -1]
    deviation = last.std(axis=1)
    return (values - last.mean(axis=1)[:, None, None]) / np.where(deviation > 0, deviation, 1.0)[:, None, None]


def utilities(pools: Sequence[Pool], tokenizer: Any, utility: Callable[[str], float]) -> Array:
    """(P, n, K): the utility of what has been written at each mark."""
    return np.array([
        [[utility(tokenizer.decode(row[:mark], skip_special_tokens=True)) for mark in MARKS] for row in pool.tokens]
        for pool in pools
    ])  # fmt: skip


def fitted_head(states: Array, utility: Array, rng: np.random.Generator) -> Array:
    """(H,) of a linear reward on last states (P, n, H), from drawn comparisons within prompts by utilities (P, n).

    Bradley–Terry maximum likelihood with a ridge, by Newton's method.
    """
    P, n = utility.shape
    p, a, b = rng.integers(P, size=COMPARISONS), rng.integers(n, size=COMPARISONS), rng.integers(n, size=COMPARISONS)
    wins = rng.random(COMPARISONS) < expit(BT_BETA * (utility[p, a] - utility[p, b]))
    x = np.where(wins[:, None], 1.0, -1.0) * (states[p, a] - states[p, b])
    head = np.zeros(x.shape[1])
    for _ in range(12):
        lost = expit(-x @ head)
        curvature = (x.T * (lost * (1.0 - lost))) @ x + RIDGE * np.eye(head.size)
        head += np.linalg.solve(curvature, x.T @ lost - RIDGE * head)
    return head


def scored_by_head(pools: Sequence[Pool], utility: Array, rng: np.random.Generator) -> Array:
    """(P, n, K) scores of the heads; each half of a prompt's rows by the head that the other half was fitted to."""
    states = np.stack([pool.states for pool in pools])
    states = (states - states.mean(axis=(0, 1, 2))) / np.maximum(states.std(axis=(0, 1, 2)), 1e-9)
    half, found = states.shape[1] // 2, np.empty(states.shape[:3])
    for own, other in ((slice(half), slice(half, None)), (slice(half, None), slice(half))):
        head = fitted_head(states[:, other, -1], utility[:, other, -1], rng)
        found[:, own] = states[:, own] @ head
    return found


def replay(rows: Scored, n: int, counts: Sequence[int], rng: np.random.Generator) -> Array:
    """Means of the best of n rows, of its truth, and of what is left when groups of n are cut to counts[1:]."""
    M = len(rows.truth)
    found, each = [], ROUNDS // PARTS
    for _ in range(PARTS):
        order = rng.permuted(np.broadcast_to(np.arange(M), (each, M)), axis=1)
        alive = order[:, : M // n * n].reshape(-1, n)
        best = _highest(rows, alive)
        for time_, count in zip(TIMES, counts[1:], strict=False):
            scores = rows.scores[alive, MARKS.index(time_)]
            kept = np.argpartition(-scores, count - 1, axis=1)[:, :count]
            alive = np.take_along_axis(alive, kept, axis=1)
        found.append([rows.rewards[best].mean(), rows.truth[best].mean(), rows.rewards[_highest(rows, alive)].mean()])
    return np.mean(found, axis=0)


def _highest(rows: Scored, alive: NDArray[np.intp]) -> NDArray[np.intp]:
    """Of each group (G, n) of rows the one of highest reward (G,)."""
    return alive[np.arange(len(alive)), rows.rewards[alive].argmax(axis=1)]


def of_all_texts(law: Scored, of: Callable[[Scored], Array]) -> Array:
    """What a law of M rows says of the best of n, for the law of all texts.

    Its largest reward is one of the M, so that what it says is too low in proportion to n/M. That is taken off: twice
    what all rows say, less the mean of what halves of them say.
    """
    M, rng, halves = len(law.truth), generator(0, "halves"), []
    for _ in range(HALVINGS):
        order = rng.permutation(M)
        halves += [of(law.take(order[: M // 2])), of(law.take(order[M // 2 :]))]
    return 2.0 * of(law) - np.mean(halves, axis=0)


def predicted(law: Scored, n: int, counts: Sequence[int]) -> Array:
    """Mean best reward of Best-of-n, its mean truth, mean reward of Speculative Rejection, all rows the same weight."""
    order = np.argsort(law.rewards, kind="stable")
    at_best = np.diff((np.arange(order.size + 1) / order.size) ** n)
    return np.array([_best(law, n), at_best @ law.truth[order], measured_reward(law.law(), counts)])


def _best(law: Scored, n: int) -> float:
    return best_of_n_reward(np.full(len(law.rewards), 1.0 / len(law.rewards)), law.rewards, n)


@dataclass(frozen=True, eq=False)
class Sides:
    """What a half of the rows measures and what the other half predicts, for both ways round.

    measured, predicted (2, N, 3): way, number of responses, and Best-of-N's reward, its truth, and the reward of
    Speculative Rejection; speed (2, N, 2) the speed-up at equal reward, measured and predicted
    """

    measured: Array
    predicted: Array
    speed: Array

    @property
    def apart(self) -> Array:
        """(2, N, 4): measured less predicted, and of the logarithms of speed-ups."""
        speed = np.log(self.speed)
        return np.concatenate([self.measured - self.predicted, speed[..., :1] - speed[..., 1:]], axis=2)


def both_ways(scores: Array, truth: Array, sizes: Sequence[int], seed: int) -> Sides:
    """Every second row of the prompts' (P, n, K) predicts what the others measure, and the other way round."""
    scores = scores + TIES * generator(seed, "ties").random(scores.shape)
    parts = [Scored(scores[:, half::2].reshape(-1, len(MARKS)), truth[:, half::2].ravel()) for half in (0, 1)]
    own, law, speeds = [], [], []
    for rows in parts:
        for n in sizes:
            counts = survivor_counts(n, KEEP, len(TIMES))
            own.append(replay(rows, n, counts, generator(seed, "replay", n)))
            law.append(of_all_texts(rows, partial(predicted, n=n, counts=counts)))
            speeds.append([_speed(rows, n, float(reward[2])) for reward in (own[-1], law[-1])])
    shape = (2, len(sizes), -1)
    measured, expected, speed = (np.reshape(values, shape) for values in (own, law, speeds))
    # what the other half measures stands beside what a half predicts
    return Sides(measured[::-1], expected, np.stack([speed[::-1, :, 0], speed[:, :, 1]], axis=-1))


def _speed(rows: Scored, n: int, reward: float) -> float:
    """Tokens of Best-of-N at a mean reward, over those of Speculative Rejection from n rows."""
    sizes = [2**k for k in range(round(math.log2(n)) + 1)]
    curve = of_all_texts(rows, lambda some: np.array([_best(some, m) for m in sizes]))
    rising = np.maximum.accumulate(curve) + 1e-9 * np.arange(len(sizes))
    cost = np.array(sizes, dtype=float) * MARKS[-1]
    return measured_speedup(reward, speculative_tokens(n, TIMES, KEEP, MARKS[-1]), sizes, rising, cost).value


@dataclass(frozen=True, eq=False)
class Compared:
    """Both ways round on all prompts, and differences without one of them: (P, 2, N, 4) as `Sides.apart`.

    A mean of the best of n rows is a symmetric function of independent rows, so that the variance which leaving out a
    block of them shows is on average too large, never too small (Efron and Stein, 1981), for n near their number too.
    """

    sizes: tuple[int, ...]
    sides: Sides
    without: Array

    @classmethod
    def of(cls, scores: Array, truth: Array, seed: int) -> Compared:
        sizes = tuple(n for n in SELECTED if REACH * n <= truth.size // 2)
        left = [both_ways(np.delete(scores, p, 0), np.delete(truth, p, 0), sizes, seed) for p in range(len(truth))]
        return cls(sizes, both_ways(scores, truth, sizes, seed), np.stack([sides.apart for sides in left]))

    def row(self, claim: str, check: str, at: dict[str, str], i: int, what: int) -> Measurement:
        """Of the i-th number of responses and one of three means: mean difference over both ways round."""
        value, error = self.sides.apart.mean(axis=0)[i, what], left_out(self.without.mean(axis=1))[i, what]
        measured, expected = self.sides.measured[0, i, what], self.sides.predicted[0, i, what]
        note = f"one way round: measured {measured:.3f}, predicted {expected:.3f}, {self.errors[i, what]:+.2f} errors"
        return measurement(claim, check, {**at, "n": self.sizes[i]}, value, error, len(self.without), note)

    @property
    def errors(self) -> Array:
        """(N, 4): measured less predicted one way round, in standard errors of the difference."""
        return self.sides.apart[0] / np.maximum(left_out(self.without[:, 0]), np.finfo(float).tiny)


def left_out(values: Array) -> Array:
    """Standard error (…) from values without one of P blocks each (P, …): the jackknife's."""
    return np.asarray(np.sqrt((len(values) - 1.0) * values.var(axis=0)))


def selection(pools: Sequence[Pool], tokenizer: Any, seed: int) -> list[Measurement]:
    """All rewards: utilities themselves and heads fitted to them."""
    rows: list[Measurement] = []
    compared: dict[str, list[Compared]] = {"truth": [], "proxy": []}
    for name in REWARDS:
        values = standardised(utilities(pools, tokenizer, UTILITIES[name]))
        proxies = standardised(scored_by_head(pools, values, generator(seed, "comparisons", name)))
        truth = values[:, :, -1]
        for kind, scores in (("truth", values), ("proxy", proxies)):
            at = {"utility": name, "reward": kind}
            # every second row: those have rows of both heads
            rows += rewarded(Scored(scores[:, ::2].reshape(-1, len(MARKS)), truth[:, ::2].ravel()), at, seed)
            compared[kind].append(Compared.of(scores, truth, seed))
            rows += best_rewards(compared[kind][-1], at)
    for kind, found in compared.items():
        rows += speedups(found, kind)
    rows += [within_two("B3", 0, compared), within_two("B4", 2, compared)]
    seconds = sum(pool.seconds for pool in pools)
    written = sum(pool.tokens.shape[0] * (pool.tokens.shape[1] + 1) for pool in pools)
    return [*rows, measurement("B10", "real_tokens_per_second", {}, written / seconds, n=written)]


def rewarded(law: Scored, at: dict[str, str], seed: int) -> list[Measurement]:
    """v(t) of one reward, the largest speed-up it allows, and a proxy's correlation with the truth."""
    explained = explained_variance(law.scores[:, :-1], law.rewards, generator(seed, "v"))
    rows = [
        measurement("B6", "real_explained", {**at, "tokens": mark}, float(v), float(error), len(law.truth))
        for mark, v, error in zip(MARKS, explained.value, explained.replicates.std(axis=0, ddof=1), strict=False)
    ]
    if at["reward"] == "proxy":
        spread = float(law.rewards.std() * law.truth.std())
        correlation = float(np.corrcoef(law.rewards, law.truth)[0, 1]) if spread > 0 else 0.0
        note = f"gains {proxy_best_of_n(64, correlation):.3f} at N = 64 if both were normal"
        rows.append(measurement("B12", "real_correlation", at, correlation, n=len(law.truth), note=note))
    return [*rows, *largest(explained.value, at)]


def best_rewards(compared: Compared, at: dict[str, str]) -> list[Measurement]:
    """Rewards and truth of what both algorithms return, and the speed-up of one utility."""
    rows = []
    for i, n in enumerate(compared.sizes):
        rows += [compared.row("B3", "real_best", at, i, 0), compared.row("B4", "real_rejected", at, i, 2)]
        if at["reward"] == "proxy":
            rows.append(compared.row("B12", "real_truth", at, i, 1))
        measured, expected = compared.sides.speed[:, i].mean(axis=0)
        note = f"predicted {expected:.3f}; means of both ways round"
        rows.append(measurement("B6", "real_measured_speedup", {**at, "n": n}, measured, note=note))
    return rows


def speedups(found: Sequence[Compared], kind: str) -> list[Measurement]:
    """Tokens of Best-of-N at equal mean reward over those of Speculative Rejection: measured over predicted, the
    geometric mean over utilities and both ways round."""
    value = np.exp(np.mean([compared.sides.apart[..., 3] for compared in found], axis=(0, 1)))
    error = left_out(np.mean([compared.without[..., 3] for compared in found], axis=(0, 2)))
    return [
        measurement(
            "B6", "real_speedup", {"reward": kind, "n": n}, value[i], value[i] * error[i], len(found[0].without)
        )
        for i, n in enumerate(found[0].sizes)
        if n > SELECTED[0]
    ]


def within_two(claim: str, what: int, compared: dict[str, list[Compared]]) -> Measurement:
    """Share of all utilities, rewards and N whose mean is within two standard errors of its prediction, one way."""
    errors = np.array([each.errors[:, what] for found in compared.values() for each in found])
    inside = np.abs(errors) <= 2.0
    note = f"{inside.sum()} of {inside.size}, the farthest at {np.abs(errors).max():.2f} standard errors"
    return measurement(claim, "real_within_two", {}, float(inside.mean()), n=inside.size, note=note)


def largest(v: Array, at: dict[str, str]) -> list[Measurement]:
    """The largest speed-up that v(t) allows at `TIMES`, jointly normal scores, and the schedule that reaches it."""
    monotone, found = np.maximum.accumulate(np.clip(v[[MARKS.index(t) for t in TIMES]], 0.0, 1.0)), []
    for n in SELECTED[1:]:
        budget = n * MARKS[-1]
        best = refined_schedule(monotone, TIMES, MARKS[-1], budget)
        found.append((equivalent_n(best.reward) * MARKS[-1] / best.tokens, n, best.counts))
    speed, n, counts = max(found)
    kept, until = (" ".join(map(str, numbers)) for numbers in (counts, (*TIMES, MARKS[-1])))
    note = f"tokens of {n} responses; rows {kept} up to {until} tokens"
    return [measurement("B6", "real_largest_speedup", at, speed, note=note)]


def seconds(loaded: Loaded, prompt: Sequence[int], n: int, seed: int) -> list[Measurement]:
    """Both algorithms on the engine, the same n rows, by plain words: CPU seconds and tokens."""
    scorer = TextScorer(loaded.tokenizer, lambda _, texts: [UTILITIES["plain"](text) for text in texts])
    sampling, spent = Sampling(MARKS[-1], ()), []
    for times in (None, TIMES):
        began = time.process_time()
        if times is None:
            run = best_of_n(loaded.model, [prompt], n, scorer, sampling, seed=seed)
        else:
            run = speculative_rejection(loaded.model, [prompt], n, 1.0 - KEEP, scorer, sampling, seed=seed, times=times)
        spent.append((time.process_time() - began, run.spent.generated))
    (plain, full), (cut, fewer) = spent
    expected = n * MARKS[-1] / speculative_tokens(n, TIMES, KEEP, MARKS[-1])
    note = f"{plain:.1f} s and {full} tokens, {cut:.1f} s and {fewer} tokens"
    return [
        measurement("B6", "real_tokens", {"n": n}, full / fewer / expected, note=note),
        measurement("B10", "real_seconds", {"n": n}, plain / cut, note=note),
    ]
