"""Speculative Rejection by Monte Carlo: claims B4–B6.

Rows are sampled, ranked and dropped; nothing here uses density evolution. Where all rows are followed to their end,
the best of all of them (Best-of-N of the same rows, whose mean is a one-dimensional integral) serves as control
variate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammainc, ndtr, ndtri

from simulate.montecarlo import Estimate, Experiments, Rng, difference, logarithm, mean, proportion, scaled
from simulate.profiles import Profile
from theory.best_of_n import cost, schedule
from theory.best_of_n.evolution import survivor_counts
from theory.best_of_n.examples import EXAMPLES, Example, full_times, keep_of, vector
from theory.claim import Value
from theory.numerics import gauss_legendre
from theory.validate import Array

#: Rows per chunk: bounds the memory of a run.
CHUNK = 1 << 20
#: Panels of the integral over a final reward, finer where some law starts or rises steeply, and nodes of each.
ENDS = (
    *(-9.0, -6.0, -4.0, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5),
    *(0.0, 0.02, 0.1, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0, 15.0, 40.0),
)
NODES = 40
#: Up to this many rows all are followed to their end, for the control variate; of more only those are sampled that
#: survive the first decision, as the top order statistics.
FOLLOWED_ROWS = 500


# rows


def draw_rows(example: Example, shape: tuple[int, int], rng: Rng) -> tuple[Array, Array]:
    """Scores at the decisions (J, runs, n) and final rewards (runs, n) of independent rows."""
    steps = np.diff(np.append(example.explained_variance, 1.0), prepend=0.0)[:, None, None]
    if example.shape:
        k = example.shape
        path = rng.gamma(np.broadcast_to(k * steps, (len(steps), *shape)))
        path -= k * steps
        path /= math.sqrt(k)
    else:
        path = rng.standard_normal((len(steps), *shape))
        path *= np.sqrt(steps)
    for before, after in itertools.pairwise(path):  # increments become the path in place: rows are many
        after += before
    scores = path[:-1]
    if example.noise:
        scores = scores + np.sqrt(example.noise)[:, None, None] * rng.standard_normal(scores.shape)
    if example.bias:
        scores = scores + math.sqrt(example.bias) * rng.standard_normal(shape)
    return scores, example.transform(path[-1])


def select(scores: Array, counts: Sequence[int]) -> Array:
    """Which rows (J + 1, runs, n) are alive: before the first decision, and after each."""
    alive = [np.ones(scores.shape[1:], dtype=bool)]
    for score, before, after in zip(scores, counts[:-1], counts[1:], strict=True):
        if before == after:
            alive.append(alive[-1])
            continue
        ranked = np.where(alive[-1], score, -np.inf)
        place = score.shape[1] - after
        alive.append(ranked >= np.sort(ranked, axis=1)[:, place : place + 1])  # numpy sorts faster than it partitions
    return np.array(alive)


def chunks(runs: int, n: int) -> Iterator[int]:
    """Numbers of runs that add up to `runs`, each within the memory of a chunk."""
    most = max(1, CHUNK // n)
    while runs > 0:
        yield min(runs, most)
        runs -= most


def runs_of(profile: Profile, n: int, most: int = 50) -> int:
    """Runs of n rows: `most` per replicate, fewer where rows are many."""
    return max(20, min(most * profile.replicates, 5000 * profile.replicates // n))


def example_of(v: Value) -> Example:
    """A Gaussian martingale from a setting's text."""
    return Example(tuple(vector(v)))


# B4: expected reward and the survivors' law


def best_reward(example: Example, n: int, keep: Array | float, runs: int, rng: Rng) -> Estimate:
    """Mean best reward, with the best of all rows as control variate."""
    counts = survivor_counts(n, keep, len(example.explained_variance))
    lost = []
    for size in chunks(runs, n):
        scores, final = draw_rows(example, (size, n), rng)
        best = np.where(select(scores, counts)[-1], final, -np.inf).max(axis=1)
        lost.append(final.max(axis=1) - best)
    loss = mean(np.concatenate(lost))
    return Estimate(_mean_maximum(example, n) - loss.value, loss.stderr, loss.n)


def reward(n: int, v: Value, keep: Value, *, rng: Rng, profile: Profile) -> Estimate:
    """B4: mean best reward of Speculative Rejection."""
    if n > FOLLOWED_ROWS:
        return _from_the_top(n, vector(v), keep_of(keep), 30 * profile.replicates, rng)
    return best_reward(example_of(v), n, keep_of(keep), runs_of(profile, n), rng)


def process(process: str, n: int, keep: float, *, rng: Rng, profile: Profile) -> Estimate:
    """B4: the same for a named process."""
    return best_reward(EXAMPLES[process], n, keep, runs_of(profile, n, 40), rng)


def survivors(n: int, v: Value, keep: Value, decision: int, score: float, *, rng: Rng, profile: Profile) -> Estimate:
    """B4: share of the survivors of a decision (J + 1: their final rewards) whose score is at most `score`."""
    example = example_of(v)
    counts = survivor_counts(n, keep_of(keep), len(example.explained_variance))
    shares = []
    for size in chunks(8 * profile.replicates, n):
        scores, final = draw_rows(example, (size, n), rng)
        last = min(decision, len(scores))
        alive = select(scores[:last], counts[: last + 1])[-1]
        values = final if decision > len(scores) else scores[decision - 1]
        shares.append(((values <= score) & alive).sum(axis=1) / counts[last])
    return mean(np.concatenate(shares))


def _from_the_top(n: int, v: Array, keep: Array | float, runs: int, rng: Rng) -> Estimate:
    """Mean best reward for many rows: the survivors of the first decision are the top order statistics.

    Rényi: −log of the uniform order statistics, from the top, are partial sums of exponentials E_i/(n − i).
    """
    counts = survivor_counts(n, keep, v.size)
    best = []
    for size in chunks(runs, counts[1]):
        gaps = rng.standard_exponential((size, counts[1])) / (n - np.arange(counts[1]))
        first = -math.sqrt(v[0]) * ndtri(-np.expm1(-np.cumsum(gaps, axis=1)))
        best.append(_go_on(first, v, counts, 1, rng))
    return mean(np.concatenate(best))


def progressive(v: Array, counts: Sequence[int], runs: int, rng: Rng) -> Array:
    """Best rewards (runs,), following only the rows that are still alive: Gaussian martingale."""
    best = []
    for size in chunks(runs, counts[0]):
        best.append(_go_on(math.sqrt(v[0]) * rng.standard_normal((size, counts[0])), v, counts, 0, rng))
    return np.concatenate(best)


def _go_on(scores: Array, v: Array, counts: Sequence[int], decided: int, rng: Rng) -> Array:
    """Best reward of each run from the scores at the decision after `decided` ones, or of those that passed it."""
    steps = np.sqrt(np.diff(np.append(v, 1.0)))
    for j in range(v.size):
        if j >= decided:
            place = scores.shape[1] - counts[j + 1]
            if place:  # noise is added by rank: an order for all machines
                scores = np.sort(scores, axis=1)[:, place:]
        scores = scores + steps[j] * rng.standard_normal(scores.shape)
    return scores.max(axis=1)


@lru_cache
def _mean_maximum(example: Example, n: float) -> float:
    """E of the maximum of n final rewards, ∫ (1 − Fⁿ) − ∫ Fⁿ, by Gauss–Legendre panels."""
    x, weights, F = _final_law(example)
    below = np.power(F, n)
    return float(weights @ np.where(x > 0, 1.0 - below, -below))


@lru_cache
def _final_law(example: Example) -> tuple[Array, Array, Array]:
    """Nodes, weights and the distribution function of a final reward at the nodes."""
    ends = np.union1d(ENDS, -math.sqrt(example.shape))  # where a gamma law starts
    x, weights = gauss_legendre(ends, NODES)
    if example.shape:
        F = gammainc(example.shape, np.maximum(0.0, example.shape + math.sqrt(example.shape) * x))
    elif example.log_scale:
        F = np.where(x > 0, ndtr(np.log(np.maximum(x, 1e-300)) / example.log_scale), 0.0)
    else:
        F = ndtr(x)
    return x, weights, F


# B5: survival of the winner


def survival_of(example: Example, n: int, keep: Array | float, runs: int, rng: Rng) -> Estimate:
    """Share of runs whose row of highest final reward survives every decision."""
    counts = survivor_counts(n, keep, len(example.explained_variance))
    survived = 0
    for size in chunks(runs, n):
        scores, final = draw_rows(example, (size, n), rng)
        alive = select(scores, counts)[-1]
        survived += int(alive[np.arange(size), final.argmax(axis=1)].sum())
    return proportion(survived, runs)


def survival(n: int, v: Value, keep: Value, *, rng: Rng, profile: Profile) -> Estimate:
    """B5: survival of the Best-of-N winner."""
    return survival_of(example_of(v), n, keep_of(keep), runs_of(profile, n, 10), rng)


def process_survival(process: str, n: int, keep: float, *, rng: Rng, profile: Profile) -> Estimate:
    """B5: the same for a named process."""
    return survival_of(EXAMPLES[process], n, keep, runs_of(profile, n, 10), rng)


def free(a: float, *, rng: Rng, profile: Profile) -> Estimate:
    """B5: survival at n = 4096 minus survival at n = 64, when n^{1−a} rows are kept at v = ½."""
    few, many = (
        survival_of(Example((0.5,)), n, n**-a, runs, rng)
        for n, runs in ((64, 20 * profile.replicates), (4096, 3 * profile.replicates))
    )
    return difference(many, few)


def lossy(a: float, *, rng: Rng, profile: Profile) -> Estimate:
    """B5: the same difference, the other way round."""
    return scaled(-1.0, free(a, rng=rng, profile=profile))


# B6: speed-up


def _full_budget(n: int, area: float, keep: float, length: int, budget: int) -> tuple[Array, Array]:
    """Times of the decisions that keep the budget full, tokens, and the explained variance at each."""
    times = full_times(n, keep, length, budget)
    return times, cost.power_profile(times / length, area)


def profile_reward(
    n: int, area: float, keep: float, length: int, budget: int, *, rng: Rng, profile: Profile
) -> Estimate:
    """B6: mean best reward of the schedule that keeps the budget full."""
    _, v = _full_budget(n, area, keep, length, budget)
    return mean(progressive(v, survivor_counts(n, keep, v.size), 20 * profile.replicates, rng))


def profile_speedup(
    n: int, area: float, keep: float, length: int, budget: int, *, rng: Rng, profile: Profile
) -> Estimate:
    """B6: its speed-up, against Best-of-N's sampled curve."""
    times, v = _full_budget(n, area, keep, length, budget)
    return sampled_speedup(v, survivor_counts(n, keep, v.size), times, length, rng, profile)


def required_area(
    target: int, n: int, keep: float, length: int, budget: int, *, rng: Rng, profile: Profile
) -> Estimate:
    """B6: the area at which the sampled speed-up is `target`, by Brent's method on one set of random numbers."""
    times = full_times(n, keep, length, budget)
    counts = survivor_counts(n, keep, times.size)
    start = rng.bit_generator.state

    def log_speedup(area: float) -> Estimate:
        rng.bit_generator.state = start
        v = cost.power_profile(times / length, area)
        return logarithm(sampled_speedup(v, counts, times, length, rng, profile, runs=2 * profile.replicates))

    area, step = float(brentq(lambda area: log_speedup(area).value - math.log(target), 0.3, 0.97, xtol=1e-3)), 0.02
    per_area = (log_speedup(area + step).value - log_speedup(area - step).value) / (2 * step)
    at_root = log_speedup(area)
    return Estimate(area, at_root.stderr / per_area, at_root.n)


def information(n: int, area: float, keep: float, length: int, budget: int, *, rng: Rng, profile: Profile) -> Estimate:
    """B6: log speed-up of n^{1−v} rows minus that of a fixed fraction, at the same times."""
    times, v = _full_budget(n, area, keep, length, budget)
    ours = sampled_speedup(v, schedule.information_schedule(n, v), times, length, rng, profile)
    fixed = sampled_speedup(v, survivor_counts(n, keep, v.size), times, length, rng, profile)
    return difference(logarithm(ours), logarithm(fixed))


def sampled_speedup(
    v: Array, counts: Sequence[int], times: Array, length: int, rng: Rng, profile: Profile, runs: int = 0
) -> Estimate:
    """N*·T/tokens from the sampled reward of Speculative Rejection, delta-method error.

    N* solves E max_{N*} = reward, the left side by adaptive quadrature (B3 checks it by sampling).
    """
    reward = mean(progressive(v, counts, runs or 20 * profile.replicates, rng))
    n, low, high = (_equal_n(reward.value + shift * reward.stderr, counts[0]) for shift in (0.0, -1.0, 1.0))
    spent = float(np.dot(counts, np.diff(np.concatenate(([0.0], times, [length])))))
    return Estimate(n * length / spent, (high - low) / 2 * length / spent, reward.n)


def _equal_n(reward: float, most: int) -> float:
    """The real number of responses in [1, 2·most] whose mean maximum is `reward`, by bisection."""
    low, high = 1.0, 2.0 * most
    for _ in range(40):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if _mean_maximum(Example(()), middle) < reward else (low, middle)
    return math.sqrt(low * high)


def optimal(
    area: float, times: Value, length: int, responses: int, skip: int, *, rng: Rng, profile: Profile
) -> Estimate:
    """B6: reward of the certified optimal schedule minus that of the best fixed fraction, on the same rows."""
    best, fixed = schedules(area, str(times), length, responses, skip)
    t = vector(times)
    example = Example(tuple(cost.power_profile(t / length, area)))
    gains = []
    for size in chunks(runs_of(profile, 40), max(best[0], fixed[0])):
        scores, final = draw_rows(example, (size, max(best[0], fixed[0])), rng)
        ours, theirs = (
            np.where(select(scores[:, :, : c[0]], c)[-1], final[:, : c[0]], -np.inf).max(axis=1) for c in (best, fixed)
        )
        gains.append(ours - theirs)
    return replace(mean(np.concatenate(gains)), witness=f"optimal {best}, fixed fraction {fixed}")


def schedules(
    area: float, times: str, length: int, responses: int, skip: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Counts of the optimal schedule and of the best fixed fraction, for a budget of `responses` full responses."""
    t = vector(times)
    v = cost.power_profile(t / length, area)
    fixed = schedule.best_fixed_schedule(v, t, length, responses * length, skip=bool(skip))
    return _optimal_counts(area, times, length, responses), fixed.counts


@lru_cache
def _optimal_counts(area: float, times: str, length: int, responses: int) -> tuple[int, ...]:
    t = vector(times)
    v = cost.power_profile(t / length, area)
    return schedule.optimal_schedule(v, t, length, responses * length).counts


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "B4.reward": reward,
    "B4.closure": reward,
    "B4.process": process,
    "B4.survivors": survivors,
    "B5.survival": survival,
    "B5.process": process_survival,
    "B5.free": free,
    "B5.lossy": lossy,
    "B6.reward": profile_reward,
    "B6.speedup": profile_speedup,
    "B6.area": required_area,
    "B6.optimal": optimal,
    "B6.information": information,
}
