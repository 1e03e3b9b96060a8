"""What Speculative Rejection costs and what it saves: tokens, scoring, memory, speed-up at equal reward.

n_j rows are alive between the decision times t_j and t_{j+1} (t₀ = 0, t_{J+1} = T, the length of a response):

    generated tokens   Σ_j n_j (t_{j+1} − t_j)                           against N·T for Best-of-N       (B6)
    scored tokens      Σ_{j≥1} n_{j−1} (prompt + t_j) + n_J (prompt + T)  every score reads the whole text, or
                       = generated tokens                                 if the scorer keeps its cache, prompt and all
    memory             max_j n_j (prompt + t_{j+1})                       in tokens of KV cache           (B7)
    speed-up           N*·T / generated,  E max_{N*} = E[best reward]     Best-of-N* is as good           (B6)

Since N* ≤ n the speed-up is at most n·T/generated < T/t₁: the first decision must come before T/(speed-up).

Source: Sun et al. (arXiv 2410.20290), sections 3 and 4; the predictions are ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from theory.best_of_n.evolution import LARGEST_COUNT, check_counts, check_keep, survivor_counts
from theory.best_of_n.order_statistics import equivalent_n
from theory.best_of_n.rejection import speculative_reward
from theory.validate import Array, as_number, as_numbers, as_vector, check_between, check_whole


@dataclass(frozen=True)
class Cost:
    """Tokens of one prompt: generated, scored without and with a cache in the scorer, and peak of cached tokens."""

    generated: float
    scored: float
    scored_with_cache: float
    peak: float


@dataclass(frozen=True)
class Schedule:
    """`counts` (J + 1) rows alive at first and after each decision, at `times` (J), in tokens."""

    counts: tuple[int, ...]
    times: tuple[float, ...]


def check_times(times: ArrayLike, length: float) -> Array:
    """(J,) decision times 0 < t₁ < … < t_J ≤ length, in tokens; ValueError names the first that breaks this."""
    length = as_number("length", length)
    if not 0 < length < math.inf:
        raise ValueError(f"length = {length} must be a finite number of tokens > 0")
    t = as_numbers("times", times)
    if t.ndim != 1:
        raise ValueError(f"times must be a vector, one entry per decision, got shape {t.shape}")
    for j, time in enumerate(t):
        if not 0 < time <= length:
            raise ValueError(f"times[{j}] = {time} is outside (0, length = {length}]")
        if j and not time > t[j - 1]:
            raise ValueError(f"times[{j}] = {time} does not come after times[{j - 1}] = {t[j - 1]}")
    return t


def schedule_cost(counts: Sequence[int], times: ArrayLike, length: float, prompt: float = 0.0) -> Cost:
    """Cost of a schedule on responses of `length` tokens after `prompt` cached tokens per row (module docstring)."""
    t = check_times(times, length)
    n = np.array(check_counts(counts, t.size), dtype=np.float64)
    if not 0 <= prompt < math.inf:
        raise ValueError(f"prompt = {prompt} must be a finite number of tokens >= 0")
    ends = np.append(t, length)
    if not math.log(n[0]) + math.log(length + prompt) + math.log(n.size) < 700.0:
        raise ValueError(f"length = {length}: the tokens of {n[0]:g} rows are beyond float64")
    generated = float(n @ np.diff(ends, prepend=0.0))
    held = n * (ends + prompt)  # before each decision and at the end: what the scorer reads, and what is cached
    return Cost(generated, float(held.sum()), generated, float(held.max()))


def speculative_cost(n: int, times: ArrayLike, keep: ArrayLike, length: float, prompt: float = 0.0) -> Cost:
    """`schedule_cost` with the fraction `keep` kept at each decision, a number or one per decision."""
    return schedule_cost(survivor_counts(n, keep, check_times(times, length).size), times, length, prompt)


def speculative_tokens(n: int, times: ArrayLike, keep: ArrayLike, length: float) -> float:
    """Generated tokens Σ_j n_j (t_{j+1} − t_j) of Speculative Rejection, t₀ = 0, t_{J+1} = length (B6).

    Parameters
    ----------
    n : int
        Rows at the start.
    times : array_like, (J,)
        Decision times in tokens, 0 < t₁ < … < t_J ≤ length.
    keep : float or array_like, (J,)
        Fraction kept, in (0, 1].
    length : float
        Tokens of a response.

    Returns
    -------
    float
        Tokens; n·length for Best-of-N.

    Raises
    ------
    ValueError
        Times that do not increase within (0, length], a fraction outside (0, 1], n not whole.

    References
    ----------
    Sun et al. (arXiv 2410.20290), section 3.

    Examples
    --------
    >>> from theory.best_of_n import speculative_tokens
    >>> speculative_tokens(64, times=[16, 64], keep=0.5, length=256)
    5632.0
    """
    return speculative_cost(n, times, keep, length).generated


def expected_tokens(n: int, times: ArrayLike, keep: ArrayLike, alive: ArrayLike) -> float:
    """Expected generated tokens when responses end by themselves, independently of their scores; n large.

    alive  (T,) P(a response has a t-th token), t = 1 … T: nonincreasing in [0, 1]. At each decision the fraction
    `keep` of the rows that still run goes on: Σ_j n Π_{i≤j} keep_i Σ_{t_j < t ≤ t_{j+1}} alive(t). times: whole.
    """
    share = as_vector("alive", alive)
    bad = np.flatnonzero((share < 0) | (share > 1) | (np.diff(share, prepend=1.0) > 0))
    if bad.size:
        raise ValueError(f"alive must be nonincreasing in [0, 1], got alive[{bad[0]}] = {share[bad[0]]}")
    t = check_times(times, share.size)
    if (t % 1 != 0).any():
        raise ValueError(f"times must be whole tokens, got {t.tolist()}")
    rows = check_whole("n", n) * np.concatenate(([1.0], np.cumprod(check_keep(keep, t.size))))
    written = np.concatenate(([0.0], np.cumsum(share)))[np.append(t, share.size).astype(int)]
    return float(rows @ np.diff(written, prepend=0.0))


# speed-up


def speedup(n: int, explained_variance: ArrayLike, times: ArrayLike, keep: ArrayLike, length: float) -> float:
    """Speed-up in tokens at equal expected reward: N*·T/generated with E max_{N*} = E[best reward] (B6).

    Parameters
    ----------
    n : int
        Rows at the start.
    explained_variance : array_like, (J,)
        v_j at each decision time, as in `speculative_reward` (Gaussian martingale scores).
    times, keep, length
        As in `speculative_tokens`.

    Returns
    -------
    float
        N* is real: Best-of-N between whole N is interpolated by the law Φ^N.

    Raises
    ------
    ValueError
        A number outside its range, or vectors of different length.

    References
    ----------
    Sun et al. (arXiv 2410.20290), section 4; the prediction is ours.

    Examples
    --------
    >>> from theory.best_of_n import speedup
    >>> round(speedup(64, [0.25, 0.5], times=[64, 128], keep=0.5, length=256), 2)
    1.78
    """
    tokens = speculative_tokens(n, times, keep, length)
    shares = as_numbers("explained_variance", explained_variance)
    if shares.shape != np.shape(times):
        raise ValueError(
            f"explained_variance must have one entry per decision time, {np.size(times)}, got shape {shares.shape}"
        )
    return equivalent_n(speculative_reward(n, shares, keep)) * length / tokens


def speedup_ceiling(n: int, times: ArrayLike, keep: ArrayLike, length: float) -> float:
    """n·T/generated: the speed-up if no rejection ever cost anything; below T/t₁ whatever n and keep are."""
    return check_whole("n", n) * length / speculative_tokens(n, times, keep, length)


def power_profile(shares: Array, area: float) -> Array:
    """v(x) = x^{1/area − 1} at the shares x = t/T of the response: explained variance with ∫₀¹ v = area in (0, 1).

    area ½ is information at a constant rate; above it early-revealing, below late-revealing.
    """
    return np.asarray(shares, dtype=np.float64) ** (1.0 / check_between("area", area, ends="()") - 1.0)


@dataclass(frozen=True, eq=False)
class RequiredProfile:
    """The least informative profile of its family that reaches a speed-up: its area and v at the decisions (J,)."""

    area: float
    explained_variance: Array
    speedup: float


def required_profile(target: float, n: int, times: ArrayLike, keep: ArrayLike, length: float) -> RequiredProfile:
    """The inverse question: the profile of `power_profile` at which the schedule's speed-up is `target` (B6).

    Raises ValueError if the schedule's
    ceiling n·T/generated is below the target (no profile reaches it) or if even an area of 10⁻³ exceeds it.
    """
    shares = check_times(times, length) / length

    @cache
    def reached(area: float) -> float:
        return speedup(n, power_profile(shares, area), times, keep, length)

    low, high = 1e-3, 1.0 - 1e-6
    worst, best = reached(low), reached(high)
    if not worst <= target <= best:
        ceiling = speedup_ceiling(n, times, keep, length)
        raise ValueError(
            f"target = {target} is outside [{worst:.4g}, {best:.4g}], what this schedule reaches "
            f"(its ceiling n·length/tokens is {ceiling:.4g})"
        )
    area = float(brentq(lambda a: math.log(reached(a) / target), low, high, xtol=1e-8))  # whose slope hardly varies
    return RequiredProfile(area, power_profile(shares, area), reached(area))


# memory


def largest_batch(budget: float, times: ArrayLike, keep: ArrayLike, length: float, prompt: float = 0.0) -> int:
    """The largest n whose schedule never holds more than `budget` tokens of KV cache (B7).

    Raises ValueError if not even one row of full length fits, or if more do than `evolution.LARGEST_COUNT`.
    """
    peak = speculative_cost(1, times, keep, length, prompt).peak  # checks the schedule
    if not peak <= budget:
        raise ValueError(f"budget = {budget} cannot hold one row: prompt {prompt} + length {length} tokens")
    if budget == math.inf:
        raise ValueError("budget = inf holds any number of rows")
    first = float(np.append(check_times(times, length), length)[0])
    most = int(budget // (prompt + first))
    low, high = 1, min(most, LARGEST_COUNT) + 1
    while high - low > 1:  # the peak does not decrease in n
        middle = (low + high) // 2
        fits = speculative_cost(middle, times, keep, length, prompt).peak <= budget
        low, high = (middle, high) if fits else (low, middle)
    if low == LARGEST_COUNT < most:
        raise ValueError(f"budget = {budget} holds {LARGEST_COUNT} rows, the most that are counted, or more")
    return low


def full_budget_schedule(n: int, keep: float, budget: float, length: int, prompt: int = 0) -> Schedule:
    """The schedule that keeps the budget full: generate until the next token does not fit, then keep the fraction.

    The decision with n_j rows alive falls at t = ⌊budget/n_j⌋ − prompt; where one cut does not free a token for
    every row, it is repeated. At least one row is dropped at each, none with an infinite budget. Raises ValueError
    if n rows of one token or one row of full length do not fit, or if keep = 1 cannot free memory that is needed.
    """
    n = check_whole("n", n)
    length = check_whole("length", length)
    fraction = float(check_keep(keep, 1)[0])
    prompt = check_whole("prompt", prompt, 0)
    if budget == math.inf:
        return Schedule((n,), ())
    if not budget >= prompt + length:
        raise ValueError(f"budget = {budget} cannot hold one row: prompt {prompt} + length {length} tokens")
    if n * (prompt + 1) > budget:
        raise ValueError(f"budget = {budget} cannot hold n = {n} rows of {prompt + 1} tokens")
    counts, times = [n], []
    while (time := int(budget // counts[-1]) - prompt) < length:
        rows = counts[-1]
        while rows * (prompt + time + 1) > budget:
            if fraction == 1.0:
                raise ValueError(f"keep = 1 drops nothing, but {rows} rows need more than {budget} at token {time + 1}")
            rows = min(rows - 1, survivor_counts(rows, fraction, 1)[1])
        counts.append(rows)
        times.append(float(time))
    return Schedule(tuple(counts), tuple(times))
