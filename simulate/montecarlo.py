"""Seeds, estimates and their errors: the few statistical tools that every experiment shares.

Randomness is an argument: every sampling function takes a `numpy.random.Generator`. Generators are spawned from
(seed, words) by `generator`, never computed by adding numbers to a seed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from theory.validate import Array

#: Standard normal quantile of a two-sided 95 % interval.
Z95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A measured number: `value` ± `stderr` from `n` independent replicates, with a 95 % interval [low, high].

    stderr 0 means that nothing was sampled (a table or a certified program). `witness` says what produced the
    value where one object did: the population that came closest to breaking a bound, as one line of text.
    """

    value: float
    stderr: float = 0.0
    n: int = 1
    low: float = math.nan
    high: float = math.nan
    witness: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.low):
            object.__setattr__(self, "low", self.value - Z95 * self.stderr)
        if math.isnan(self.high):
            object.__setattr__(self, "high", self.value + Z95 * self.stderr)


def generator(seed: int, *words: str | int | float) -> np.random.Generator:
    """A generator for (seed, words): the same on every machine, and independent between different words."""
    digest = hashlib.sha256("\x1f".join(map(str, words)).encode()).digest()
    spawn_key = tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=spawn_key))


def mean(samples: ArrayLike) -> Estimate:
    """Sample mean with its standard error; at least two samples, or ValueError."""
    x = _samples(samples)
    return Estimate(float(x.mean()), float(x.std(ddof=1) / math.sqrt(x.size)), x.size)


def ratio_to_mean(numerator: float, samples: ArrayLike) -> Estimate:
    """numerator / E[samples], delta method: stderr = numerator·sd/(mean²·√n). ValueError if the mean is 0."""
    x = _samples(samples)
    if x.mean() == 0:
        raise ValueError("the samples have mean 0: their ratio is undefined")
    error = numerator * x.std(ddof=1) / (x.mean() ** 2 * math.sqrt(x.size))
    return Estimate(float(numerator / x.mean()), float(error), x.size)


def proportion(successes: int, trials: int) -> Estimate:
    """A share with the standard error of the Agresti–Coull centre, which is positive at 0 and at `trials` too."""
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"{successes} successes in {trials} trials")
    centre = (successes + 2.0) / (trials + 4.0)
    return Estimate(successes / trials, math.sqrt(centre * (1.0 - centre) / trials), trials)


def root_mean_square(samples: ArrayLike) -> Estimate:
    """√E[x²] with its delta-method standard error sd(x²)/(2·rms·√n)."""
    squares = _samples(samples) ** 2
    rms = math.sqrt(squares.mean())
    error = squares.std(ddof=1) / (2.0 * rms * math.sqrt(squares.size)) if rms > 0 else 0.0
    return Estimate(rms, float(error), squares.size)


def slope(x: ArrayLike, y: ArrayLike, stderr: ArrayLike | None = None) -> Estimate:
    """Slope of the straight line through (x, y), weighted by 1/stderr².

    With stderr (one per point) the slope's error is propagated from them, inflated by √(χ²/dof) where the points
    scatter by more than their errors say. Without, it comes from the residuals. At least three points.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.size < 3 or x.size != y.size:
        raise ValueError(f"a slope needs three points or more with one y each, got {x.size} and {y.size}")
    errors = np.ones(x.size) if stderr is None else np.asarray(stderr, float)
    if not (errors > 0).all():
        raise ValueError(f"stderr[{int(errors.argmin())}] = {errors.min()} must be > 0")
    w = 1.0 / errors**2
    centred = x - (w @ x) / w.sum()
    value = float((w * centred) @ y / ((w * centred) @ centred))
    residuals = y - (w @ y) / w.sum() - value * centred
    scatter = float(w @ residuals**2) / (x.size - 2)
    inflation = scatter if stderr is None else max(1.0, scatter)
    return Estimate(value, math.sqrt(inflation / float((w * centred) @ centred)), x.size)


def bootstrap(
    statistic: Callable[[Array], Array], n_units: int, replicates: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Nonparametric bootstrap over units: `statistic` of the weights (n_units,), for the data and for replicates.

    statistic   maps unit weights that sum to one to a vector of statistics (S,)
    Returns (values on the data (S,), values on the replicates (replicates, S)).
    """
    point = np.asarray(statistic(np.full(n_units, 1.0 / n_units)), float)
    draws = np.empty((replicates, point.size))
    for b in range(replicates):
        draws[b] = statistic(rng.multinomial(n_units, np.full(n_units, 1.0 / n_units)) / n_units)
    return point, draws


def _samples(samples: ArrayLike) -> Array:
    x = np.asarray(samples, dtype=np.float64)
    if x.ndim != 1 or x.size < 2:
        raise ValueError(f"two samples or more are needed, got shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"sample {int(np.flatnonzero(~np.isfinite(x))[0])} is not finite")
    return x
