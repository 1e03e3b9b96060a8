"""The metrics of the Speculative Rejection paper, from their definitions, with their degenerate cases reported (B8).

    improvement score   100·(1 + mean_p (max SpR − max Bo_ref)/(max Bo_ref − min Bo_ref))     Best-of-ref is 100
    relative compute    compute(SpR)/compute(Bo_ref)
    speed-up            compute at which the measured Best-of-N curve reaches SpR's reward / compute(SpR)

On Gaussian rewards the expected improvement score is exact: the ratio ignores a prompt's location and scale, and
E[max/range] = ½ by symmetry, so it is 100·(½ + E[SpR]·E[1/range_ref]) for samples drawn independently.

Source: Sun et al. (arXiv 2410.20290), section 4. Where the published script extrapolates the curve beyond its last
point or wraps round below its first, this one says so and gives a bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from theory.best_of_n.order_statistics import expected_inverse_range
from theory.validate import as_vector, check_positive


@dataclass(frozen=True)
class ImprovementScore:
    """`score` (Best-of-ref: 100) over `prompts` prompts; `degenerate` prompts, whose reference rewards all tie, have
    no score and are listed."""

    score: float
    prompts: int
    degenerate: tuple[int, ...]


def improvement_score(best: ArrayLike, reference: ArrayLike) -> ImprovementScore:
    """The paper's improvement score from rewards, one prompt per row.

    best       (P,) reward of the response that the method returns for each prompt
    reference  (P, n_ref) rewards of the n_ref responses of the reference Best-of-N
    Raises ValueError naming the first non-finite entry, or if every prompt is degenerate.
    """
    top = as_vector("best", best)
    table = np.asarray(reference, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] != top.size or table.shape[1] < 2:
        raise ValueError(f"reference must be ({top.size}, n_ref >= 2), got shape {table.shape}")
    if not np.isfinite(table).all():
        p, i = np.argwhere(~np.isfinite(table))[0]
        raise ValueError(f"reference[{p}, {i}] = {table[p, i]} is not finite")
    highest, lowest = table.max(axis=1), table.min(axis=1)
    usable = highest > lowest
    if not usable.any():
        raise ValueError("all reference rewards tie at every prompt: the improvement score is undefined")
    gains = (top - highest)[usable] / (highest - lowest)[usable]
    degenerate = tuple(int(p) for p in np.flatnonzero(~usable))
    return ImprovementScore(100.0 * (1.0 + float(gains.mean())), int(usable.sum()), degenerate)


def expected_improvement(expected_best: float, n_reference: int) -> float:
    """Expected improvement score of a method whose mean best reward is `expected_best` standard deviations.

    Standard normal rewards, reference of n_ref ≥ 3 independent responses: 100·(½ + expected_best·E[1/range]).
    """
    return 100.0 * (0.5 + float(expected_best) * expected_inverse_range(n_reference))


def relative_compute(compute: ArrayLike, reference: ArrayLike) -> float:
    """Σ compute/Σ reference over prompts (P,), in any one unit (tokens, or seconds × devices); positive entries."""
    ours = as_vector("compute", compute)
    theirs = as_vector("reference", reference, ours.size)
    for name, values in (("compute", ours), ("reference", theirs)):
        if (values <= 0).any():
            raise ValueError(f"{name}[{int(values.argmin())}] = {values.min()} must be > 0")
    return float(ours.sum() / theirs.sum())


@dataclass(frozen=True)
class MeasuredSpeedup:
    """Speed-up read off a measured Best-of-N curve.

    status  "measured": between two measured points. "at least": the method beats the last point, `value` is the
            speed-up against that point. "at most": it is below the first point, `value` is the one against it.
    """

    value: float
    status: Literal["measured", "at least", "at most"]


def measured_speedup(
    reward: float, compute: float, n: ArrayLike, curve: ArrayLike, computes: ArrayLike
) -> MeasuredSpeedup:
    """Compute of Best-of-N at reward `reward`, divided by `compute`; linear in (log n, reward) between neighbours.

    n         (K,) increasing numbers of responses;  curve  (K,) mean best rewards, strictly increasing
    computes  (K,) compute of each point, in the unit of `compute`; log-linear between neighbours too
    """
    sizes, rewards = as_vector("n", n), as_vector("curve", curve)
    costs = as_vector("computes", computes, sizes.size)
    if rewards.size != sizes.size or sizes.size < 2:
        raise ValueError(f"n and curve must have the same size >= 2, got {sizes.size} and {rewards.size}")
    for name, values in (("n", sizes), ("curve", rewards)):
        bad = np.flatnonzero(np.diff(values) <= 0)
        if bad.size:
            raise ValueError(f"{name}[{bad[0] + 1}] = {values[bad[0] + 1]} does not exceed the entry before it")
    if (costs <= 0).any() or sizes[0] <= 0:
        raise ValueError("n and computes must be > 0")
    check_positive("compute", compute)
    if math.isnan(reward):
        raise ValueError("reward is NaN")
    if reward > rewards[-1]:
        return MeasuredSpeedup(float(costs[-1] / compute), "at least")
    if reward < rewards[0]:
        return MeasuredSpeedup(float(costs[0] / compute), "at most")
    position = np.interp(reward, rewards, np.log(sizes))
    return MeasuredSpeedup(math.exp(np.interp(position, np.log(sizes), np.log(costs))) / compute, "measured")
