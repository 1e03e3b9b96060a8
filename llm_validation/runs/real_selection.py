"""Best-of-N and Speculative Rejection on a model that others trained: B3, B4, B6, B10, B12.

The model's own responses to a few prompts are written once (`rewards.pool`), and both algorithms replay them. Truth is
a known utility of the text; the proxy is a linear head on the model's last states, fitted to Bradley–Terry comparisons
by that utility, each half of the rows being scored by the head that the other half was fitted to. Rewards are in
standard deviations of a prompt's own responses, so that rows of all prompts are draws of one law. Of each half's rows
every second one makes the predictions, and the others are measured.

Shapes: P prompts, n rows each, K marks, M rows, J decisions, H width.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
#: Partitions into groups that a measured mean averages, and resamples behind standard errors.
ROUNDS, RESAMPLES = 20, 20


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


def replay(rows: Scored, n: int, counts: Sequence[int], rng: np.random.Generator) -> tuple[float, float]:
    """Mean reward and truth of what is returned when groups of n rows are cut to counts[1:] at the decisions."""
    found, groups = [], len(rows.truth) // n
    for _ in range(ROUNDS):
        alive = rng.permutation(len(rows.truth))[: groups * n].reshape(groups, n)
        for time_, count in zip(TIMES, counts[1:], strict=False):
            order = np.argsort(-rows.scores[alive, MARKS.index(time_)], axis=1, kind="stable")
            alive = np.take_along_axis(alive, order[:, :count], axis=1)
        best = alive[np.arange(groups), rows.rewards[alive].argmax(axis=1)]
        found.append((rows.rewards[best].mean(), rows.truth[best].mean()))
    reward, truth = np.mean(found, axis=0)
    return float(reward), float(truth)


def predicted(law: Scored, n: int, counts: Sequence[int]) -> tuple[float, float, float]:
    """Of a law's rows: mean best reward of Best-of-n, its mean truth, mean reward of Speculative Rejection."""
    order = np.argsort(law.rewards, kind="stable")
    at_best = np.diff((np.arange(order.size + 1) / order.size) ** n)
    even = np.full(order.size, 1.0 / order.size)
    return (best_of_n_reward(even, law.rewards, n), float(at_best @ law.truth[order]),
            measured_reward(law.law(), counts))  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """Measured and predicted with standard errors, by resampling of either's rows."""

    measured: float
    predicted: float
    errors: tuple[float, float]

    @property
    def apart(self) -> float:
        """|measured − predicted| in standard errors of both."""
        error = math.hypot(*self.errors)
        return abs(self.measured - self.predicted) / error if error > 0 else 0.0

    def row(self, claim: str, check: str, at: dict[str, str | int], n: int) -> Measurement:
        note = f"measured {self.measured:.3f} ± {self.errors[0]:.3f}, predicted {self.predicted:.3f} ± "
        return measurement(claim, check, at, self.apart, n=n, note=f"{note}{self.errors[1]:.3f}")


def compare(law: Scored, measured: Scored, n: int, seed: int) -> list[Compared]:
    """Best-of-n's reward, its truth, and Speculative Rejection's reward."""
    counts, rng = survivor_counts(n, KEEP, len(TIMES)), generator(seed, "replay", n)

    def both(of_law: Scored, of_rows: Scored) -> tuple[Array, Array]:
        best = replay(of_rows, n, (n,), rng)
        return np.array(predicted(of_law, n, counts)), np.array([*best, replay(of_rows, n, counts, rng)[0]])

    resampled = [
        both(*(part.take(rng.integers(len(part.truth), size=len(part.truth))) for part in (law, measured)))
        for _ in range(RESAMPLES)
    ]
    errors = np.std(resampled, axis=0, ddof=1)  # (2, 3)
    expected, found = both(law, measured)
    return [Compared(float(found[i]), float(expected[i]), (float(errors[1, i]), float(errors[0, i]))) for i in range(3)]


def selection(pools: Sequence[Pool], tokenizer: Any, seed: int) -> list[Measurement]:
    """All rewards: utilities themselves and heads fitted to them."""
    rows: list[Measurement] = []
    for name in REWARDS:
        values = standardised(utilities(pools, tokenizer, UTILITIES[name]))
        proxies = standardised(scored_by_head(pools, values, generator(seed, "comparisons", name)))
        truth = values[:, :, -1]
        for kind, scores in (("truth", values), ("proxy", proxies)):
            # every second row predicts, the others are measured: both have rows of both heads
            law, measured = (
                Scored(scores[:, first::2].reshape(-1, len(MARKS)), truth[:, first::2].ravel()) for first in (0, 1)
            )
            rows += rewarded(law, measured, {"utility": name, "reward": kind}, seed)
    seconds = sum(pool.seconds for pool in pools)
    written = sum(pool.tokens.shape[0] * (pool.tokens.shape[1] + 1) for pool in pools)
    return [*rows, measurement("B10", "real_tokens_per_second", {}, written / seconds, n=written)]


def rewarded(law: Scored, measured: Scored, at: dict[str, str], seed: int) -> list[Measurement]:
    """v(t), rewards, truth and speed-up of one reward."""
    explained = explained_variance(law.scores[:, :-1], law.rewards, generator(seed, "v"))
    rows = [
        measurement("B6", "real_explained", {**at, "tokens": mark}, float(v), float(error), len(law.truth))
        for mark, v, error in zip(MARKS, explained.value, explained.replicates.std(axis=0, ddof=1), strict=False)
    ]
    compared = {n: compare(law, measured, n, seed) for n in SELECTED if 2 * n <= len(measured.truth)}
    for n, (best, truth, cut) in compared.items():
        size = len(measured.truth)
        rows += [
            best.row("B3", "real_best", {**at, "n": n}, size),
            cut.row("B4", "real_rejected", {**at, "n": n}, size),
        ]
        if at["reward"] == "proxy":
            rows.append(truth.row("B12", "real_truth", {**at, "n": n}, size))
    if at["reward"] == "proxy":
        spread = float(law.rewards.std() * law.truth.std())
        correlation = float(np.corrcoef(law.rewards, law.truth)[0, 1]) if spread > 0 else 0.0
        note = f"gains {proxy_best_of_n(64, correlation):.3f} at N = 64 if both were normal"
        rows.append(measurement("B12", "real_correlation", at, correlation, n=len(law.truth), note=note))
    return [*rows, *speedups(compared, at), *largest(explained.value, at)]


def speedups(compared: dict[int, list[Compared]], at: dict[str, str]) -> list[Measurement]:
    """Tokens of Best-of-N at equal mean reward over those of Speculative Rejection: measured over predicted.

    A reward outside those of the measured N has a bound of the speed-up and no value: no row.
    """
    sizes, rows = list(compared), []
    cost = np.array(sizes, dtype=float) * MARKS[-1]
    for n in sizes[1:]:
        tokens, found = speculative_tokens(n, TIMES, KEEP, MARKS[-1]), []
        for side in ("measured", "predicted"):
            curve = np.maximum.accumulate([getattr(compared[m][0], side) for m in sizes]) + 1e-9 * np.arange(len(sizes))
            cut = compared[n][2]
            error = cut.errors[side == "predicted"]
            reached = [
                measured_speedup(getattr(cut, side) + shift * error, tokens, sizes, curve, cost)
                for shift in (0.0, -1.0, 1.0)
            ]
            if reached[0].status == "measured":
                found.append((reached[0].value, (reached[2].value - reached[1].value) / 2.0))
        if len(found) < 2:
            continue
        (measured, one), (expected, other) = found
        ratio = measured / expected
        error = ratio * math.hypot(one / measured, other / expected)
        note = f"measured {measured:.3f} ± {one:.3f}, predicted {expected:.3f} ± {other:.3f}"
        rows.append(measurement("B6", "real_speedup", {**at, "n": n}, ratio, error, note=note))
    return rows


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
