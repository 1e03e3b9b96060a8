"""Best-of-N and Speculative Rejection on a trained language model: B1 and B3–B10.

The model writes exactly T tokens after an end-of-text token (stories one after another), and a reward model that is
trained on comparisons of a known utility scores them, partial or whole. From one pool of rows come the reward law and
v(t); they and the theory predict every mean best reward, survival and speed-up of other rows, which are then
measured. Predictions rest on sampled rows too: a row's error contains both, the prediction's by bootstrap of the pool.

Rewards are in standard deviations of the pool's. A `value` that is a difference or a ratio of measured and predicted
is said to be one by its check's name; the note holds both numbers. Shapes: M pool rows, J decisions, G groups of n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import ndtri

from llm_validation.generation.decode import Outcome, Sampling, Spent, best_of_n, speculative_rejection
from llm_validation.generation_effort import BestOfNEffort, Context
from llm_validation.model.model import autocast, device, full_precision, load
from llm_validation.rewards.comparisons import BT_BETA, compare, streams, utility
from llm_validation.rewards.model import Explained, RewardModel, explained_variance, train_reward_model
from llm_validation.rewards.prefix_scorer import PrefixScorer
from llm_validation.runs.best_of_n_laws import MeasuredRows, measured_reward, measured_survival
from llm_validation.training.device import DeviceRates, decoding_bound
from simulate.montecarlo import Estimate, bootstrap, generator, mean, proportion
from simulate.rows.measurement import Measurement, measurement
from theory.best_of_n import cost as speculative_cost
from theory.best_of_n.evolution import survivor_counts
from theory.best_of_n.law import best_of_n_reward, kl_bound
from theory.best_of_n.metrics import improvement_score, measured_speedup
from theory.best_of_n.order_statistics import expected_inverse_range
from theory.best_of_n.processes import gaussian_process
from theory.best_of_n.rejection import speculative_reward, winner_survival
from theory.claim import Setting
from theory.validate import Array

#: The fraction rejected at each of the decision times T/4, T/2, 3T/4.
ALPHA = 0.5
#: Responses of the reference of the improvement score.
REFERENCE = 16
#: B2 is measured up to this N.
LARGEST_DIVERGENCE = 16


def decision_times(length: int) -> tuple[int, ...]:
    """T/4, T/2, 3T/4."""
    return tuple(length * quarter // 4 for quarter in (1, 2, 3))


@dataclass(frozen=True, eq=False)
class Lab:
    """What rows are written with: a model, its end-of-text token as prompt, and a trained reward model."""

    model: Any
    end: int
    reward: RewardModel
    length: int
    effort: BestOfNEffort
    fit: Estimate

    @property
    def times(self) -> tuple[int, ...]:
        """Decision times, in tokens."""
        return decision_times(self.length)

    def write(self, groups: int, n: int, seed: int, *, reject: bool, eos: bool = False) -> list[Outcome]:
        """Best-of-N, or Speculative Rejection on the same rows, for `groups` groups, some groups at a time."""
        sampling = Sampling(self.length, (self.end,) if eos else ())
        at_once = max(1, self.effort.at_once // n)
        outcomes = []
        for part, first in enumerate(range(0, groups, at_once)):
            prompts = [(self.end,)] * min(at_once, groups - first)
            spawned = int(generator(seed, "decoding", n, part).integers(2**31))
            with autocast(self.reward.device):
                if reject:
                    outcome = speculative_rejection(
                        self.model,
                        prompts,
                        n,
                        ALPHA,
                        PrefixScorer(self.reward),
                        sampling,
                        seed=spawned,
                        times=self.times,
                    )
                else:
                    outcome = best_of_n(self.model, prompts, n, self.reward.score, sampling, seed=spawned)
            outcomes.append(outcome)
        return outcomes


def prepare(context: Context, seed: int) -> Lab:
    """Load the model and train a reward model for it on comparisons of story streams."""
    effort, loaded = context.best_of_n, load(context.folder)
    tokenizer: Any = loaded.tokenizer
    model: Any = loaded.model
    model = model.to(device())
    room = getattr(model.config, "max_position_embeddings", effort.length + 1) - 1
    length, rng = min(effort.length, room), generator(seed, "comparisons")
    texts = streams(tokenizer, effort.streams, length, rng)
    utilities = np.array([utility(tokenizer.decode(text)) for text in texts])
    held_out = max(3, effort.streams // 5)
    pairs = compare(texts[held_out:], utilities[held_out:], effort.comparisons, BT_BETA, 1, rng)
    reward = train_reward_model(model, pairs, effort.reward, seed).model
    found = float(np.corrcoef(reward.last_scores(texts[:held_out]), utilities[:held_out])[0, 1])
    fit = Estimate(found, (1 - found**2) / math.sqrt(held_out), held_out)
    return Lab(model, tokenizer.eos_token_id, reward, length, effort, fit)


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
        """The reward as an increasing function of a standard normal variable; constant beyond the pool's range."""
        size = self.rewards.size
        z = ndtri(np.clip((np.cumsum(weights) - weights / 2) * size / (size + 1.0), 1e-9, 1 - 1e-9))
        return lambda x: np.interp(x, z, self.rewards)


def measure_pool(lab: Lab, seed: int) -> Pool:
    """Rows that are used for predictions only."""
    groups = max(1, lab.effort.pool // 64)
    outcomes = lab.write(groups, 64, int(generator(seed, "pool").integers(2**31)), reject=False)
    rewards = np.concatenate([outcome.rewards for outcome in outcomes])
    texts = [(lab.end, *row) for outcome in outcomes for row in outcome.tokens.tolist()]
    scores = np.array(lab.reward.prefix_scores(texts))[:, list(lab.times)]  # after the prompt and t tokens
    explained = explained_variance(scores, rewards, generator(seed, "v"), lab.effort.replicates)
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


# what is measured


@dataclass(frozen=True, eq=False)
class Runs:
    """Best-of-n and Speculative Rejection on the same rows, G groups.

    rewards  (G, n) final rewards of all rows;  best, rejected  (G,) what each returned;  survived  (G,) of the winner
    tokens, seconds, peak  (2,) per group, generated, passed, and cached at most, of Best-of-n and Speculative Rejection
    batches  what each batch of Best-of-n cost
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


def measure(lab: Lab, n: int, rows: int, seed: int) -> Runs:
    """Both algorithms on the same `rows` rows."""
    groups = max(2, rows // n)
    plain = lab.write(groups, n, seed, reject=False)
    pruned = lab.write(groups, n, seed, reject=True)
    rewards = np.concatenate([outcome.rewards for outcome in plain]).reshape(groups, n)
    alive = np.concatenate([~np.isnan(outcome.rewards) for outcome in pruned]).reshape(groups, n)
    best, rejected = (
        np.array([r.reward for outcome in outcomes for r in outcome.returned if r is not None])
        for outcomes in (plain, pruned)
    )
    spent = [(sum(o.spent.generated for o in runs), sum(o.spent.seconds for o in runs)) for runs in (plain, pruned)]
    tokens, seconds = np.array(spent, dtype=float).T / groups
    peak = np.array([max(o.spent.peak / len(o.returned) for o in outcomes) for outcomes in (plain, pruned)])
    survived = alive[np.arange(groups), rewards.argmax(axis=1)].astype(float)
    return Runs(n, rewards, best, rejected, survived, tokens, seconds, peak, tuple(o.spent for o in plain))


def _difference(claim: str, check: str, n: int, found: Estimate, wanted: Predicted, unit: float) -> Measurement:
    """measured − predicted, in `unit`, with the error of both."""
    note = f"measured {found.value:.4f} ± {found.stderr:.4f}, predicted {wanted.value:.4f} ± {wanted.stderr:.4f}"
    error = math.hypot(found.stderr, wanted.stderr) / unit
    return measurement(claim, check, {"n": n}, (found.value - wanted.value) / unit, error, found.n, note)


def rewards_and_survival(lab: Lab, pool: Pool, runs: list[Runs], seed: int) -> list[Measurement]:
    """B1: win rate. B3: mean best reward of Best-of-N. B4: of Speculative Rejection. B5: survival of the winner."""
    found = []
    for run in runs:
        below = np.searchsorted(pool.rewards, run.best) / pool.rewards.size
        at_most = np.searchsorted(pool.rewards, run.best, side="right") / pool.rewards.size
        wins = mean((below + at_most) / 2)
        # the pool's share of the error: a pool row at level u is beaten with probability 1 − u^n
        pool_error = run.n / (run.n + 1) / math.sqrt((2 * run.n + 1) * pool.rewards.size)
        highest = predict(pool, run.n, "best", seed)
        found += [
            _difference("B1", "llm_win_rate", run.n, wins, Predicted(run.n / (run.n + 1), pool_error), 1.0),
            _difference("B3", "llm_reward", run.n, mean(run.best), highest, pool.sd),
            *_divergence(run, (below + at_most) / 2, pool.rewards.size),
            *_raw(run, pool, 0, highest),
        ]
        survived = proportion(int(run.survived.sum()), run.survived.size)
        for basis in ("", "_law"):
            wanted = predict(pool, run.n, f"reward{basis}", seed)
            found.append(_difference("B4", f"llm_reward{basis}", run.n, mean(run.rejected), wanted, pool.sd))
            found += _raw(run, pool, 1, wanted) if basis else []
            wanted = predict(pool, run.n, f"survival{basis}", seed)
            found.append(_difference("B5", f"llm_survival{basis}", run.n, survived, wanted, 1.0))
    v, draws = pool.explained.value, pool.explained.replicates
    for j, time in enumerate(lab.times):
        setting, error = {"decision": j + 1}, float(draws[:, j].std(ddof=1))
        note = f"after {time} of {lab.length} tokens"
        found.append(measurement("B10", "explained_variance", setting, float(v[j]), error, pool.rewards.size, note))
    return found


def _divergence(run: Runs, level: Array, pool: int) -> list[Measurement]:
    """B2: KL(π_N‖π) = log N + (N − 1) E log u, u the level of the best reward in the law of rewards, against its bound.

    Rewards have no atoms, so the bound is attained. For the smaller N alone: the level of the best of many is at the
    end of the pool, where log u is not measured.
    """
    n = run.n
    if n > LARGEST_DIVERGENCE:
        return []
    logs = mean(np.log(np.maximum(level, 0.5 / pool)))
    # the pool's share of the error: u^(N−1) weighs its rows near the top, where each moves log u by 1/pool
    error = (n - 1) * math.hypot(logs.stderr, 1.0 / math.sqrt((2 * n - 1) * pool))
    value = math.log(n) + (n - 1) * logs.value
    note = f"measured {value:.4f}, log N − (N−1)/N = {kl_bound(n):.4f}"
    return [measurement("B2", "llm_divergence", {"n": n}, value - kl_bound(n), error, logs.n, note)]


def _raw(run: Runs, pool: Pool, method: int, wanted: Predicted) -> list[Measurement]:
    """What figures show of one method (0: Best-of-n): reward above the pool's mean in its standard deviations, cost."""
    setting = {"method": ("best_of_n", "speculative")[method], "n": run.n}
    reward = mean((run.best, run.rejected)[method])
    rows = [
        ("reward", (reward.value - pool.rewards.mean()) / pool.sd, reward.stderr / pool.sd),
        ("predicted_reward", (wanted.value - pool.rewards.mean()) / pool.sd, wanted.stderr / pool.sd),
    ]
    rows += [(name, float(getattr(run, name)[method]), 0.0) for name in ("tokens", "seconds", "peak")]
    return [measurement("B10", name, setting, float(value), float(error), reward.n) for name, value, error in rows]


def costs(lab: Lab, pool: Pool, runs: list[Runs], seed: int) -> list[Measurement]:
    """B6: tokens and speed-up. B8: improvement score. B10: wall-clock speed-up at equal reward."""
    largest = runs[-1]
    sizes = [2**k for k in range(int(math.log2(largest.n)) + 1)]
    curve = np.array([largest.rewards.reshape(-1, n).max(axis=1).mean() for n in sizes])
    predicted_curve = np.array([best_of_n_reward(pool.rows.weights, pool.rewards, n) for n in sizes])
    full_cost = np.array(sizes, dtype=float) * lab.length
    found = []
    for run in runs:
        tokens = speculative_cost.speculative_tokens(run.n, lab.times, 1.0 - ALPHA, lab.length)
        found.append(measurement("B6", "llm_tokens", {"n": run.n}, float(run.tokens[1] / tokens), 0.0, run.best.size,
                              f"generated {run.tokens[1]:.1f} tokens a group, predicted {tokens:.1f}"))  # fmt: skip
        if run.n <= 4:
            continue
        found.append(
            _speedup(run, predict(pool, run.n, "reward_law", seed), tokens, sizes, curve, predicted_curve, full_cost)
        )
    return [*found, *_wall_clock(runs, dict(zip(sizes, curve, strict=True))), *_improvement(pool, runs, seed)]


def _speedup(
    run: Runs, wanted: Predicted, tokens: float, sizes: Sequence[int], curve: Array, predicted_curve: Array, cost: Array
) -> Measurement:
    """Measurement over predicted speed-up in tokens at equal reward, each against its own Best-of-N curve.

    The error is that of the two rewards; the curves' own is left out, of the same rows or pool and so partly shared.
    """
    rewards = mean(run.rejected)
    measured = [
        measured_speedup(rewards.value + shift * rewards.stderr, run.tokens[1], sizes, curve, cost)
        for shift in (0.0, -1.0, 1.0)
    ]
    predicted = [
        measured_speedup(wanted.value + shift * wanted.stderr, tokens, sizes, predicted_curve, cost)
        for shift in (0.0, -1.0, 1.0)
    ]
    ratio = measured[0].value / predicted[0].value
    error = ratio * math.hypot(*((high.value - low.value) / (2 * at.value) for at, low, high in (measured, predicted)))
    note = f"measured {measured[0].value:.3f} ({measured[0].status}), predicted {predicted[0].value:.3f}"
    return measurement("B6", "llm_speedup_ratio", {"n": run.n}, ratio, error, rewards.n, note)


def _wall_clock(runs: list[Runs], rewards: dict[int, float]) -> list[Measurement]:
    """Seconds of Best-of-N at equal reward, over those of Speculative Rejection; `rewards` of Best-of-N by N."""
    sizes, curve = [run.n for run in runs], [rewards[run.n] for run in runs]
    seconds = [run.seconds[0] for run in runs]
    found = []
    for run in runs[1:]:
        reward = mean(run.rejected)
        speed, low, high = (
            measured_speedup(reward.value + shift * reward.stderr, run.seconds[1], sizes, curve, seconds)
            for shift in (0.0, -1.0, 1.0)
        )
        note = f"{1e3 * run.seconds[0]:.2f} ms a group of Best-of-N, {1e3 * run.seconds[1]:.2f} ms with rejection"
        error = (high.value - low.value) / 2
        found.append(measurement("B10", "wall_clock_speedup", {"n": run.n}, speed.value, error, reward.n, note))
    return found


def _improvement(pool: Pool, runs: list[Runs], seed: int) -> list[Measurement]:
    """B8 against an independent reference: the pool's law predicts 100·(1 + E[(best − max)/(max − min)])."""
    rng, M = generator(seed, "reference"), pool.rewards.size
    largest = runs[-1]
    blocks = largest.rewards.reshape(-1, REFERENCE)
    if len(blocks) < 3 or len(runs) < 2:
        return []
    run = runs[-2]
    reference = blocks[np.arange(run.rejected.size) % len(blocks)]
    score = improvement_score(run.rejected, reference)
    drawn = pool.rewards[rng.integers(M, size=(20_000, REFERENCE))]
    spread = drawn.max(axis=1) - drawn.min(axis=1)
    slope, level = (1.0 / spread).mean(), (drawn.max(axis=1) / spread).mean()
    wanted = predict(pool, run.n, "reward_law", seed)
    predicted = 100.0 * (1.0 + wanted.value * slope - level)
    _, draws = bootstrap(lambda w: np.array([_weighted_score(run.rejected, reference, w)]), run.rejected.size, 100, rng)
    # groups of the reference are used several times where they are few
    error = float(draws.std(ddof=1)) * math.sqrt(max(1.0, run.rejected.size / len(blocks)))
    gaussian = 100.0 * (0.5 + (wanted.value - pool.rewards.mean()) / pool.sd * expected_inverse_range(REFERENCE))
    note = (
        f"measured {score.score:.2f}, predicted {predicted:.2f} from the measured law, {gaussian:.2f} from a normal one"
    )
    return [measurement("B8", "llm_score", {"reference": REFERENCE}, score.score - predicted,
                     math.hypot(error, 100.0 * wanted.stderr * slope), score.prompts, note)]  # fmt: skip


def _weighted_score(best: Array, reference: Array, weights: Array) -> float:
    top, bottom = reference.max(axis=1), reference.min(axis=1)
    return 100.0 * (1.0 + float(weights @ ((best - top) / (top - bottom))))


def speed(lab: Lab, run: Runs, rates: DeviceRates | None) -> list[Measurement]:
    """B10: tokens per second that Best-of-n generates, scoring left out, rows at once, and cached tokens at most.

    The note says what share that is of what the device's copy rate allows, with the cache at its mean over the steps.
    """
    seconds = sum(spent.seconds - spent.scoring for spent in run.batches)
    speed = sum(spent.generated for spent in run.batches) / seconds
    rows, peak = min(run.rewards.size, run.n * max(1, lab.effort.at_once // run.n)), max(s.peak for s in run.batches)
    setting: Setting = {"method": "best_of_n", "n": run.n}
    note = f"{rows} rows at once, {peak} cached tokens at most"
    if rates is not None:
        bound = decoding_bound(lab.model, rows, rows * (1 + lab.length / 2), rates)
        note += f"; {100 * speed / bound:.1f} % of the {bound:.4g} tokens/s that copying on {rates.name} allows"
    return [
        measurement("B10", "tokens_per_second", setting, speed, 0.0, len(run.batches), note),
        measurement("B10", "rows_at_once", setting, float(rows)),
        measurement("B10", "cached_tokens", setting, float(peak)),
    ]


def memory_and_exactness(lab: Lab, seed: int) -> list[Measurement]:
    """B7: peak under fixed times, fill under a budget. B9: α = 0; nothing finished lost; B6 with rows that end."""
    n, sampling, prompt = 64, Sampling(lab.length, ()), [(lab.end,)]
    spawned = int(generator(seed, "exactness").integers(2**31))
    whole, times = lab.reward.score, lab.times
    with full_precision():  # bf16 rounds otherwise where fewer rows are left, and another token may be drawn
        plain = best_of_n(lab.model, prompt, n, whole, sampling, seed=spawned)
        kept, fixed = (
            speculative_rejection(lab.model, prompt, n, alpha, whole, sampling, seed=spawned, times=times)
            for alpha in (0.0, ALPHA)
        )
        budget, cached = n * (1 + lab.length // 4), PrefixScorer(lab.reward)
        full = speculative_rejection(lab.model, prompt, n, ALPHA, cached, sampling, seed=spawned, budget=budget)
    different = int((plain.tokens != kept.tokens).sum()) + int(not np.array_equal(plain.rewards, kept.rewards))
    peak = speculative_cost.speculative_cost(n, lab.times, 1.0 - ALPHA, lab.length, 1).peak
    fill = min(decision.fill for decision in full.decisions) / budget
    changed = sum(
        not np.array_equal(a[:length], b[:length])
        for a, b, length in zip(plain.tokens, fixed.tokens, fixed.lengths, strict=True)
    )
    found = [
        measurement("B9", "llm_alpha_zero", {"n": n}, float(different), 0.0, n, "tokens and rewards that differ"),
        measurement("B9", "llm_same_rows", {"n": n}, changed / n, 0.0, n, "share of rows that write something else"),
        measurement("B7", "llm_peak", {"n": n}, fixed.spent.peak / peak, 0.0, 1, f"{fixed.spent.peak} cached tokens"),
        measurement("B7", "llm_over_budget", {"n": n}, full.spent.peak / budget, 0.0, 1, f"least fill {fill:.3f}"),
    ]
    return found + _stories_that_end(lab, spawned)


def _stories_that_end(lab: Lab, seed: int) -> list[Measurement]:
    """Responses of one story: expected tokens from the measured lengths (B6), and no finished row is lost (B9)."""
    n, groups = 64, max(2, lab.effort.pool // 128)
    plain = lab.write(groups, n, seed, reject=False, eos=True)
    pruned = lab.write(groups, n, seed + 1, reject=True, eos=True)
    lengths = np.concatenate([outcome.lengths for outcome in plain])
    alive = (lengths[:, None] >= np.arange(1, lab.length + 1)).mean(axis=0)
    wanted = speculative_cost.expected_tokens(n, lab.times, 1.0 - ALPHA, alive)
    per_group = np.concatenate([outcome.lengths.reshape(-1, n).sum(axis=1) for outcome in pruned]).astype(float)
    found = mean(per_group)
    # the predicted tokens rest on as many rows; their error is that of the mean length at most
    error = math.hypot(found.stderr, n * lengths.std() / math.sqrt(lengths.size)) / wanted
    lost = sum(
        int(np.isnan(outcome.rewards[outcome.finished]).sum())
        + sum(r is not None and not r.finished for r in outcome.returned)
        for outcome in pruned
    )
    note = f"measured {found.value:.1f} tokens a group, predicted {wanted:.1f}"
    return [
        measurement("B6", "llm_early_stop_ratio", {"n": n}, found.value / wanted, error, found.n, note),
        measurement("B9", "llm_lost", {"n": n}, float(lost), 0.0, groups * n, "finished rows lost, or others returned"),
    ]


def measure_best_of_n(context: Context, seed: int) -> list[Measurement]:
    """All of this file, for one seed."""
    lab = prepare(context, seed)
    pool = measure_pool(lab, seed)
    runs = [measure(lab, n, rows, seed) for n, rows in zip(lab.effort.sizes, lab.effort.rows, strict=True)]
    fit = measurement(
        "B10", "reward_model", {}, lab.fit.value, lab.fit.stderr, lab.fit.n, "correlation with the utility"
    )
    return [
        fit,
        *rewards_and_survival(lab, pool, runs, seed),
        *costs(lab, pool, runs, seed),
        *speed(lab, runs[-1], context.rates),
        *memory_and_exactness(lab, seed),
    ]
