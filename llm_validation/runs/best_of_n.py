"""Best-of-N and Speculative Rejection on a trained language model: B1–B10.

The model writes exactly T tokens after an end-of-text token (stories one after another), and a reward model that is
trained on comparisons of a known utility scores them, partial or whole. From one pool of rows come the reward law and
v(t); they and the theory predict every mean best reward, survival and speed-up of other rows, which are then
measured. Predictions rest on sampled rows too: a row's error contains both, the prediction's by bootstrap of the pool.

Rewards are in standard deviations of the pool's. A `value` that is a difference or a ratio of measured and predicted
is said to be one by its check's name; the note holds both numbers. The sizes N share their rows: each is a measurement
by itself, and together they are no independent ones. Shapes: M pool rows, J decisions, G groups of n.
"""

from __future__ import annotations

import math

import numpy as np

from llm_validation.runs.best_of_n_costs import costs, memory_and_exactness
from llm_validation.runs.best_of_n_rows import Pool, Predicted, Runs, Writer, measure, measure_pool, predict, prepare
from llm_validation.runs.best_of_n_scorer import FIT
from llm_validation.runs.run import Context, Run
from llm_validation.training.device import DeviceRates, decoding_bound
from llm_validation.training.sharing import using
from simulate.montecarlo import Estimate, mean, proportion
from simulate.rows.measurement import Measurement, measurement
from theory.best_of_n.law import kl_bound
from theory.claim import Setting
from theory.validate import Array

#: B2 is measured up to this N.
LARGEST_DIVERGENCE = 16


def _difference(claim: str, check: str, n: int, estimate: Estimate, predicted: Predicted, unit: float) -> Measurement:
    """measured − predicted, in `unit`, with the error of both."""
    note = f"measured {estimate.value:.4f} ± {estimate.stderr:.4f}, predicted "
    note += f"{predicted.value:.4f} ± {predicted.stderr:.4f}"
    error = math.hypot(estimate.stderr, predicted.stderr) / unit
    return measurement(claim, check, {"n": n}, (estimate.value - predicted.value) / unit, error, estimate.n, note)


def rewards_and_survival(writer: Writer, pool: Pool, runs: list[Runs], seed: int) -> list[Measurement]:
    """B1: win rate. B3: mean best reward of Best-of-N. B4: of Speculative Rejection. B5: survival of the winner."""
    rows = []
    for run in runs:
        below = np.searchsorted(pool.rewards, run.best) / pool.rewards.size
        at_most = np.searchsorted(pool.rewards, run.best, side="right") / pool.rewards.size
        wins = mean((below + at_most) / 2)
        # the pool's share of the error: a pool row at level u is beaten with probability 1 − u^n
        pool_error = run.n / (run.n + 1) / math.sqrt((2 * run.n + 1) * pool.rewards.size)
        highest = predict(pool, run.n, "best", seed)
        rows += [
            _difference("B1", "llm_win_rate", run.n, wins, Predicted(run.n / (run.n + 1), pool_error), 1.0),
            _difference("B3", "llm_reward", run.n, mean(run.best), highest, pool.sd),
            *_divergence(run, (below + at_most) / 2, pool.rewards.size),
            *_raw(run, pool, 0, highest),
        ]
        survived = proportion(int(run.survived.sum()), run.survived.size)
        for basis in ("", "_law"):
            predicted = predict(pool, run.n, f"reward{basis}", seed)
            rows.append(_difference("B4", f"llm_reward{basis}", run.n, mean(run.rejected), predicted, pool.sd))
            rows += _raw(run, pool, 1, predicted) if basis else []
            predicted = predict(pool, run.n, f"survival{basis}", seed)
            rows.append(_difference("B5", f"llm_survival{basis}", run.n, survived, predicted, 1.0))
    v, draws = pool.explained.value, pool.explained.replicates
    for j, time in enumerate(writer.times):
        setting, error = {"decision": j + 1}, float(draws[:, j].std(ddof=1))
        note = f"after {time} of {writer.length} tokens"
        rows.append(measurement("B10", "explained_variance", setting, float(v[j]), error, pool.rewards.size, note))
    return rows


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


def _raw(run: Runs, pool: Pool, method: int, predicted: Predicted) -> list[Measurement]:
    """What figures show of one method (0: Best-of-n): reward above the pool's mean in its standard deviations, cost."""
    setting = {"method": ("best_of_n", "speculative")[method], "n": run.n}
    reward = mean((run.best, run.rejected)[method])
    rows = [
        ("reward", (reward.value - pool.rewards.mean()) / pool.sd, reward.stderr / pool.sd),
        ("predicted_reward", (predicted.value - pool.rewards.mean()) / pool.sd, predicted.stderr / pool.sd),
    ]
    rows += [(name, float(getattr(run, name)[method]), 0.0) for name in ("tokens", "seconds", "peak")]
    return [measurement("B10", name, setting, float(value), float(error), reward.n) for name, value, error in rows]


def speed(writer: Writer, run: Runs, rates: DeviceRates | None) -> list[Measurement]:
    """B10: tokens per second that Best-of-n generates, scoring left out, rows at once, and cached tokens at most.

    The note says what share that is of what the device's copy rate allows, with the cache at its mean over the steps.
    """
    seconds = sum(spent.seconds - spent.scoring for spent in run.batches)
    speed = sum(spent.generated for spent in run.batches) / seconds
    rows, peak = (
        min(run.rewards.size, run.n * max(1, writer.profile.at_once // run.n)),
        max(s.peak for s in run.batches),
    )
    setting: Setting = {"method": "best_of_n", "n": run.n}
    note = f"{rows} rows at once, {peak} cached tokens at most"
    if rates is not None:
        bound = decoding_bound(writer.model, rows, rows * (1 + writer.length / 2), rates)
        note += f"; {100 * speed / bound:.1f} % of the {bound:.4g} tokens/s that copying on {rates.name} allows"
    return [
        measurement("B10", "tokens_per_second", setting, speed, 0.0, len(run.batches), note),
        measurement("B10", "rows_at_once", setting, float(rows)),
        measurement("B10", "cached_tokens", setting, float(peak)),
    ]


def measured(context: Context, seed: int) -> list[Measurement]:
    """Everything of one seed; a GPU is the timed runs' own, and shared with other seeds before and after."""
    with using(context.device, context.folder):
        writer = prepare(context)
        pool = measure_pool(writer, seed)
    with using(context.device, context.folder, alone=True):
        runs = measure(writer, seed)
    with using(context.device, context.folder):
        exact = memory_and_exactness(writer, seed)
    return [
        *rewards_and_survival(writer, pool, runs, seed),
        *costs(writer, pool, runs, seed),
        *speed(writer, runs[-1], context.rates),
        *exact,
    ]


RUNS = (
    Run(
        "best_of_n",
        measured,
        tuple(f"B{number}" for number in range(1, 11)),
        catalogue=None,
        also=tuple(
            f"B10.{name}"
            for name in ("explained_variance", "reward", "predicted_reward", "tokens", "seconds",
                         "peak", "tokens_per_second", "rows_at_once", "cached_tokens")
        ),
        free=("n",),
        timed=True,
        after=FIT,
    ),
)  # fmt: skip
