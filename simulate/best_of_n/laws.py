"""Best-of-N by sampling, and the paper's metrics: claims B1–B3 and B8."""

from __future__ import annotations

import itertools
import math

import numpy as np

from simulate.best_of_n.decoder import best_of_n, decode
from simulate.best_of_n.memory import full_length
from simulate.best_of_n.rejection import chunks, progressive
from simulate.montecarlo import Estimate, Experiments, Rng, mean, proportion
from simulate.profiles import Profile
from theory.best_of_n import metrics
from theory.best_of_n.evolution import survivor_counts
from theory.best_of_n.examples import TABLES
from theory.validate import Array

#: The schedule of B8: decisions at a quarter, half and three quarters of the response.
LINEAR = np.array([0.25, 0.5, 0.75])


# B1, B2, B3: Best-of-N itself


def draw_best(table: str, n: int, runs: int, rng: Rng) -> np.ndarray:
    """Responses (runs,) that Best-of-N returns on a table: the first of the best among n draws."""
    t = TABLES[table]
    rewards, edges = np.array(t.rewards), np.cumsum(t.policy)[:-1]
    winners = []
    for size in chunks(runs, n):
        drawn = np.searchsorted(edges, rng.random((size, n)), side="right")
        winners.append(drawn[np.arange(size), rewards[drawn].argmax(axis=1)])
    return np.concatenate(winners)


def law(table: str, n: int, response: int, *, rng: Rng, profile: Profile) -> Estimate:
    """B1: how often Best-of-N returns a response."""
    won = draw_best(table, n, 200 * profile.replicates, rng)
    return proportion(int((won == response).sum()), won.size)


def _duel(best: Array, rival: Array, ties: float) -> Estimate:
    return mean((best > rival) + ties * (best == rival))


def win_rate(table: str, n: int, ties: float, *, rng: Rng, profile: Profile) -> Estimate:
    """B1: Best-of-N against one draw of the base policy."""
    runs = 200 * profile.replicates
    if table == "continuous":
        return _duel(_largest_uniform(n, runs, rng), rng.random(runs), ties)
    rewards = np.array(TABLES[table].rewards)
    return _duel(rewards[draw_best(table, n, runs, rng)], rewards[draw_best(table, 1, runs, rng)], ties)


def _largest_uniform(n: int, runs: int, rng: Rng) -> Array:
    return np.concatenate([rng.random((size, n)).max(axis=1) for size in chunks(runs, n)])


def _with_atom(quantiles: Array, low: float, high: float) -> Array:
    """Rewards at quantile levels, those in [low, high] equal."""
    return np.where((quantiles >= low) & (quantiles <= high), low, quantiles)


def mixed_win_rate(n: int, low: float, high: float, *, rng: Rng, profile: Profile) -> Estimate:
    """B1: the same for a continuous law with an atom."""
    runs = 200 * profile.replicates
    best = _with_atom(_largest_uniform(n, runs, rng), low, high)
    return _duel(best, _with_atom(rng.random(runs), low, high), 0.5)


def kl(table: str, n: int, *, rng: Rng, profile: Profile) -> Estimate:
    """B2: plug-in KL from sampled winners; for a continuous law the mean of log n u^{n−1}, u the best quantile."""
    runs = 200 * profile.replicates
    if table == "continuous":
        return mean(math.log(n) + (n - 1) * np.log(_largest_uniform(n, runs, rng)))
    shares = np.bincount(draw_best(table, n, runs, rng), minlength=len(TABLES[table].policy)) / runs
    held = shares > 0
    ratios = np.log(shares[held] / np.array(TABLES[table].policy)[held])
    value = float(shares[held] @ ratios)
    return Estimate(value, math.sqrt(max(0.0, float(shares[held] @ (ratios - value) ** 2)) / runs), runs)


def mixed_kl(n: int, low: float, high: float, *, rng: Rng, profile: Profile) -> Estimate:
    """B2: the same for a continuous law with an atom, whose probability under Best-of-N is its frequency."""
    best = _largest_uniform(n, 200 * profile.replicates, rng)
    atom = (best >= low) & (best <= high)
    share = max(float(atom.mean()), 1 / best.size)
    values = np.where(atom, math.log(share / (high - low)), math.log(n) + (n - 1) * np.log(best))
    # the share is estimated too, and the derivative of share·log(share) is log(share) + 1
    return Estimate(float(values.mean()), mean(values + atom).stderr, best.size)


def largest_kl(n: int, *, rng: Rng, profile: Profile) -> Estimate:
    """B2: the largest KL over random tables, the winner's law enumerated over all n-tuples of responses."""
    worst = -math.inf
    for _ in range(5 * profile.repeats):
        size = int(rng.integers(2, 7))
        policy = rng.dirichlet(np.full(size, rng.choice([0.5, 5.0, 500.0])))
        rewards = rng.integers(0, 2 * size, size)
        best = np.zeros(size)
        for drawn in itertools.product(range(size), repeat=n):
            chosen = max(drawn, key=lambda y: rewards[y])
            best[chosen] += np.prod(policy[list(drawn)])
        held = best > 0
        worst = max(worst, float(best[held] @ np.log(best[held] / policy[held])))
    return Estimate(worst, n=5 * profile.repeats)


def normal(n: int, *, rng: Rng, profile: Profile) -> Estimate:
    """B3: mean of the best of n standard normal rewards."""
    runs = min(200 * profile.replicates, 10_000 * profile.replicates // n)
    return mean(np.concatenate([rng.standard_normal((size, n)).max(axis=1) for size in chunks(runs, n)]))


def table_reward(table: str, n: int, *, rng: Rng, profile: Profile) -> Estimate:
    """B3: mean reward of Best-of-N on a table."""
    return mean(np.array(TABLES[table].rewards)[draw_best(table, n, 200 * profile.replicates, rng)])


# B8: the paper's metrics


def improvement(n: int, n_reference: int, *, rng: Rng, profile: Profile) -> Estimate:
    """B8: improvement score over prompts whose rewards have random location and scale; the error from batches."""
    counts = survivor_counts(n, 0.5, LINEAR.size)
    scores = []
    for _ in range(20):
        prompts = profile.replicates
        location, scale = 5.0 * rng.standard_normal(prompts), rng.lognormal(0.0, 1.0, prompts)
        best = location + scale * progressive(LINEAR, counts, prompts, rng)
        reference = location[:, None] + scale[:, None] * rng.standard_normal((prompts, n_reference))
        scores.append(metrics.improvement_score(best, reference).score)
    return mean(scores)


def compute(n: int, n_reference: int, *, rng: Rng, profile: Profile) -> Estimate:
    """B8: tokens of the decoder, Speculative Rejection over Best-of-n_reference, on full-length responses."""
    spent = decode(full_length(n, 256, rng), 0.5, times=(64, 128, 192)).generated
    reference = best_of_n(full_length(n_reference, 256, rng)).generated
    return Estimate(metrics.relative_compute([spent], [reference]))


def _readings(last: int, rng: Rng, profile: Profile) -> list[tuple[metrics.MeasuredSpeedup, bool]]:
    """Measured speed-ups of n = 64 against noisy Best-of-N curves that end at `last`, and whether it beats the end."""
    sizes = 2 ** np.arange(int(math.log2(last)) + 1)
    found = []
    for _ in range(profile.repeats):
        curve = np.sort([rng.standard_normal((200, int(m))).max(axis=1).mean() for m in sizes])
        reward = float(progressive(LINEAR, survivor_counts(64, 0.5, 3), 200, rng).mean())
        # compute in responses: 30 for Speculative Rejection, one per response for Best-of-N
        reading = metrics.measured_speedup(reward, 30.0, sizes, curve, sizes)
        found.append((reading, reward > curve[-1]))
    return found


def not_extrapolated(last: int, *, rng: Rng, profile: Profile) -> Estimate:
    """B8: the largest speed-up read off, in units of the speed-up at the last measured point."""
    readings = [reading.value * 30.0 / last for reading, _ in _readings(last, rng, profile)]
    return Estimate(max(readings), n=len(readings))


def at_least(last: int, *, rng: Rng, profile: Profile) -> Estimate:
    """B8: share of the runs beyond the last point that are reported as lower bounds."""
    beyond = [reading.status == "at least" for reading, beats in _readings(last, rng, profile) if beats]
    return Estimate(sum(beyond) / len(beyond) if beyond else math.nan, n=len(beyond))


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "B1.law": law,
    "B1.win_rate": win_rate,
    "B1.mixed": mixed_win_rate,
    "B2.kl": kl,
    "B2.mixed": mixed_kl,
    "B2.bound": largest_kl,
    "B3.normal": normal,
    "B3.table": table_reward,
    "B8.improvement": improvement,
    "B8.compute": compute,
    "B8.not_extrapolated": not_extrapolated,
    "B8.at_least": at_least,
}
