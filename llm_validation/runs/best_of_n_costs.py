"""What Best-of-N and Speculative Rejection cost: B6 tokens and speed-up, B7 memory, B8 improvement score, B9 that
nothing is lost, B10 seconds.

Shapes: M pool rows, J decisions, G groups of n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from llm_validation.generation.decode import best_of_n, speculative_rejection
from llm_validation.generation.engine import Sampling
from llm_validation.generation.uniforms import decoding_seed
from llm_validation.model.model import full_precision
from llm_validation.rewards.prefix_scorer import PrefixScorer
from llm_validation.runs.best_of_n_rows import ALPHA, Pool, Predicted, Runs, Writer, predict
from simulate.montecarlo import Estimate, bootstrap, generator, mean
from simulate.rows.measurement import Measurement, measurement
from theory.best_of_n import cost as speculative_cost
from theory.best_of_n.law import best_of_n_reward
from theory.best_of_n.metrics import MeasuredSpeedup, improvement_score, measured_speedup
from theory.best_of_n.order_statistics import expected_inverse_range
from theory.validate import Array

#: Responses of the reference of the improvement score.
REFERENCE = 16


def costs(writer: Writer, pool: Pool, runs: list[Runs], seed: int) -> list[Measurement]:
    """B6: tokens and speed-up. B8: improvement score. B10: wall-clock speed-up at equal reward."""
    largest = runs[-1]
    sizes = [2**k for k in range(int(math.log2(largest.n)) + 1)]
    curve = np.array([largest.rewards.reshape(-1, n).max(axis=1).mean() for n in sizes])
    predicted_curve = np.array([best_of_n_reward(pool.rows.weights, pool.rewards, n) for n in sizes])
    full_cost = np.array(sizes, dtype=float) * writer.length
    rows = []
    for run in runs:
        tokens = speculative_cost.speculative_tokens(run.n, writer.times, 1.0 - ALPHA, writer.length)
        rows.append(measurement("B6", "llm_tokens", {"n": run.n}, float(run.tokens[1] / tokens), 0.0, run.best.size,
                              f"generated {run.tokens[1]:.1f} tokens a group, predicted {tokens:.1f}"))  # fmt: skip
        if run.n <= 4:
            continue
        rows.append(
            _speedup(run, predict(pool, run.n, "reward_law", seed), tokens, sizes, curve, predicted_curve, full_cost)
        )
    return [*rows, *_wall_clock(runs, dict(zip(sizes, curve, strict=True))), *_improvement(pool, runs, seed)]


def _at_equal_reward(
    reward: Estimate | Predicted, cost: float, sizes: Sequence[int], curve: ArrayLike, costs: ArrayLike
) -> tuple[MeasuredSpeedup, float]:
    """The speed-up over Best-of-N's curve, and half of what one standard error of the reward either way makes of it."""
    at, low, high = (
        measured_speedup(reward.value + shift * reward.stderr, cost, sizes, curve, costs) for shift in (0.0, -1.0, 1.0)
    )
    return at, (high.value - low.value) / 2


def _speedup(
    run: Runs, law: Predicted, tokens: float, sizes: Sequence[int], curve: Array, predicted_curve: Array, cost: Array
) -> Measurement:
    """Measured over predicted speed-up in tokens at equal reward, each against its own Best-of-N curve.

    The error is that of the two rewards; the curves' own is left out, of the same rows or pool and so partly shared.
    """
    rewards = mean(run.rejected)
    measured, own_error = _at_equal_reward(rewards, run.tokens[1], sizes, curve, cost)
    predicted, law_error = _at_equal_reward(law, tokens, sizes, predicted_curve, cost)
    ratio = measured.value / predicted.value
    error = ratio * math.hypot(own_error / measured.value, law_error / predicted.value)
    note = f"measured {measured.value:.3f} ({measured.status}), predicted {predicted.value:.3f}"
    return measurement("B6", "llm_speedup_ratio", {"n": run.n}, ratio, error, rewards.n, note)


def _wall_clock(runs: list[Runs], rewards: dict[int, float]) -> list[Measurement]:
    """Seconds of Best-of-N at equal reward, over those of Speculative Rejection; `rewards` of Best-of-N by N."""
    sizes, curve = [run.n for run in runs], [rewards[run.n] for run in runs]
    seconds = [run.seconds[0] for run in runs]
    rows = []
    for run in runs[1:]:
        reward = mean(run.rejected)
        speed, error = _at_equal_reward(reward, run.seconds[1], sizes, curve, seconds)
        note = f"{1e3 * run.seconds[0]:.2f} ms a group of Best-of-N, {1e3 * run.seconds[1]:.2f} ms with rejection"
        rows.append(measurement("B10", "wall_clock_speedup", {"n": run.n}, speed.value, error, reward.n, note))
    return rows


def _improvement(pool: Pool, runs: list[Runs], seed: int) -> list[Measurement]:
    """B8 against an independent reference: the pool's law predicts 100·(1 + E[(best − max)/(max − min)])."""
    rng, M = generator(seed, "reference"), pool.rewards.size
    largest = runs[-1]
    blocks = largest.rewards.reshape(-1, REFERENCE)
    if len(blocks) < 3 or len(runs) < 2:
        return []
    run = runs[-2]
    own = np.arange(run.rejected.size) * run.n // REFERENCE  # the sizes share their rows: half of them away from these
    reference = blocks[(own + len(blocks) // 2) % len(blocks)]
    score = improvement_score(run.rejected, reference)
    drawn = pool.rewards[rng.integers(M, size=(20_000, REFERENCE))]
    spread = drawn.max(axis=1) - drawn.min(axis=1)
    slope, level = (1.0 / spread).mean(), (drawn.max(axis=1) / spread).mean()
    law = predict(pool, run.n, "reward_law", seed)
    predicted = 100.0 * (1.0 + law.value * slope - level)
    _, draws = bootstrap(lambda w: np.array([_weighted_score(run.rejected, reference, w)]), run.rejected.size, 100, rng)
    # groups of the reference are used several times where they are few
    error = float(draws.std(ddof=1)) * math.sqrt(max(1.0, run.rejected.size / len(blocks)))
    gaussian = 100.0 * (0.5 + (law.value - pool.rewards.mean()) / pool.sd * expected_inverse_range(REFERENCE))
    note = (
        f"measured {score.score:.2f}, predicted {predicted:.2f} from the measured law, {gaussian:.2f} from a normal one"
    )
    return [measurement("B8", "llm_score", {"reference": REFERENCE}, score.score - predicted,
                     math.hypot(error, 100.0 * law.stderr * slope), score.prompts, note)]  # fmt: skip


def _weighted_score(best: Array, reference: Array, weights: Array) -> float:
    top, bottom = reference.max(axis=1), reference.min(axis=1)
    return 100.0 * (1.0 + float(weights @ ((best - top) / (top - bottom))))


def memory_and_exactness(writer: Writer, seed: int) -> list[Measurement]:
    """B7: peak under fixed times, fill under a budget. B9: α = 0; nothing finished lost; B6 with rows that end."""
    n, sampling, prompt = 64, Sampling(writer.length, ()), [(writer.end,)]
    spawned = decoding_seed(seed, "exactness")
    whole, times = writer.reward.score, writer.times
    with full_precision():  # bf16 rounds otherwise where fewer rows are left, and another token may be drawn
        plain = best_of_n(writer.model, prompt, n, whole, sampling, seed=spawned)
        kept, fixed = (
            speculative_rejection(writer.model, prompt, n, alpha, whole, sampling, seed=spawned, times=times)
            for alpha in (0.0, ALPHA)
        )
        budget, cached = n * (1 + writer.length // 4), PrefixScorer(writer.reward)
        full = speculative_rejection(writer.model, prompt, n, ALPHA, cached, sampling, seed=spawned, budget=budget)
    different = int((plain.tokens != kept.tokens).sum()) + int(not np.array_equal(plain.rewards, kept.rewards))
    peak = speculative_cost.speculative_cost(n, writer.times, 1.0 - ALPHA, writer.length, 1).peak
    fill = min(decision.fill for decision in full.decisions) / budget
    changed = sum(
        not np.array_equal(a[:length], b[:length])
        for a, b, length in zip(plain.tokens, fixed.tokens, fixed.lengths, strict=True)
    )
    rows = [
        measurement("B9", "llm_alpha_zero", {"n": n}, float(different), 0.0, n, "tokens and rewards that differ"),
        measurement("B9", "llm_same_rows", {"n": n}, changed / n, 0.0, n, "share of rows that write something else"),
        measurement("B7", "llm_peak", {"n": n}, fixed.spent.peak / peak, 0.0, 1, f"{fixed.spent.peak} cached tokens"),
        measurement("B7", "llm_over_budget", {"n": n}, full.spent.peak / budget, 0.0, 1, f"least fill {fill:.3f}"),
    ]
    return rows + _stories_that_end(writer, spawned)


def _stories_that_end(writer: Writer, seed: int) -> list[Measurement]:
    """Responses of one story: expected tokens from the measured lengths (B6), and no finished row is lost (B9)."""
    n, groups = 64, max(2, writer.profile.pool // 512)
    plain = writer.write(groups, n, seed, eos=True)
    pruned = writer.write(groups, n, seed + 1, reject=True, eos=True)
    lengths = np.concatenate([outcome.lengths for outcome in plain])
    alive = (lengths[:, None] >= np.arange(1, writer.length + 1)).mean(axis=0)
    predicted = speculative_cost.expected_tokens(n, writer.times, 1.0 - ALPHA, alive)
    per_group = np.concatenate([outcome.lengths.reshape(-1, n).sum(axis=1) for outcome in pruned]).astype(float)
    written = mean(per_group)
    # the predicted tokens rest on as many rows; their error is that of the mean length at most
    error = math.hypot(written.stderr, n * lengths.std() / math.sqrt(lengths.size)) / predicted
    lost = sum(
        int(np.isnan(outcome.rewards[outcome.finished]).sum())
        + sum(r is not None and not r.finished for r in outcome.returned)
        for outcome in pruned
    )
    note = f"measured {written.value:.1f} tokens a group, predicted {predicted:.1f}"
    return [
        measurement("B6", "llm_early_stop_ratio", {"n": n}, written.value / predicted, error, written.n, note),
        measurement("B9", "llm_lost", {"n": n}, float(lost), 0.0, groups * n, "finished rows lost, or others returned"),
    ]
