"""Seeds, estimates and their errors: the few statistical tools that every experiment shares.

Randomness is an argument: every sampling function takes a `numpy.random.Generator`. Generators are spawned from
(seed, words) by `generator`, never computed by adding numbers to a seed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from theory.validate import Array, as_numbers, as_vector, check_whole

Rng = np.random.Generator

#: Standard normal quantile of a two-sided 95 % interval.
Z95 = 1.959963984540054

#: Largest sample whose square is far from the end of float64.
LARGEST_SAMPLE = 1e150
#: Largest point or error of a slope, whose squares are divided by each other.
LARGEST_TERM = 1e70


@dataclass(frozen=True)
class Estimate:
    """A measured number: `value` ± `stderr` from `n` independent replicates, with a 95 % interval [low, high].

    Parameters
    ----------
    value : float
        In the unit of what was measured.
    stderr : float
        0 means that nothing was sampled (a table or a certified program).
    n : int
        Independent replicates.
    low, high : float
        value ∓ 1.96·stderr unless given.
    witness : str
        What produced the value where one object did: the population that came closest to breaking a bound, in one line.

    Examples
    --------
    >>> from simulate import Estimate
    >>> estimate = Estimate(1.0, stderr=0.1, n=200)
    >>> round(estimate.low, 3), round(estimate.high, 3)
    (0.804, 1.196)
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


#: What measures a check: a function of its setting, a generator `rng` and a `profile`. `claim.check` → experiment.
Experiment = Callable[..., Estimate]
Experiments = dict[str, Experiment]


def generator(seed: int, *words: str | int | float) -> Rng:
    """A generator for (seed, words): the same on every machine, and independent between different words.

    Parameters
    ----------
    seed : int
        ≥ 0.
    *words : str, int or float
        What the draws are for: a claim, a setting, a part of a run.

    Returns
    -------
    numpy.random.Generator

    Raises
    ------
    ValueError
        A seed that is no whole number ≥ 0.

    Examples
    --------
    >>> from simulate import generator
    >>> generator(0, "D3", "bt_beta=2").integers(100, size=3)
    array([84, 41, 78])
    """
    seed = check_whole("seed", seed, 0)
    digest = hashlib.sha256("\x1f".join(map(str, words)).encode()).digest()
    spawn_key = tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=spawn_key))


def mean(samples: ArrayLike) -> Estimate:
    """Sample mean with its standard error sd/√n.

    Parameters
    ----------
    samples : array_like, (n,)
        Independent, finite, n ≥ 2.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        Fewer than two samples, or one that is not finite.

    Examples
    --------
    >>> from simulate import mean
    >>> found = mean([1.0, 2.0, 3.0])
    >>> found.value, round(found.stderr, 4)
    (2.0, 0.5774)
    """
    x = _samples(samples)
    if np.abs(x).max() > LARGEST_SAMPLE:
        raise ValueError(f"samples[{int(np.abs(x).argmax())}] is too large: the squares of samples are summed")
    return Estimate(float(x.mean()), float(x.std(ddof=1) / math.sqrt(x.size)), x.size)


def ratio_to_mean(numerator: float, samples: ArrayLike) -> Estimate:
    """numerator / E[samples], as `inverse` has it. ValueError if the mean is 0."""
    found = mean(samples)
    if found.value == 0:
        raise ValueError("the samples have mean 0: their ratio is undefined")
    return inverse(numerator, found)


def scaled(factor: float, found: Estimate) -> Estimate:
    """factor·found; neither interval nor witness of its own is kept."""
    return Estimate(factor * found.value, abs(factor) * found.stderr, found.n)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """first − second, sampled independently."""
    return Estimate(first.value - second.value, math.hypot(first.stderr, second.stderr), first.n + second.n)


def inverse(numerator: float, found: Estimate) -> Estimate:
    """numerator/found, delta method: stderr = |numerator|·stderr/value². A distortion from a sampled utility."""
    return Estimate(numerator / found.value, abs(numerator) * found.stderr / found.value**2, found.n)


def logarithm(found: Estimate) -> Estimate:
    """log found > 0, delta method: stderr/value."""
    return Estimate(math.log(found.value), found.stderr / found.value, found.n)


def log_slope(x: ArrayLike, found: Sequence[Estimate]) -> Estimate:
    """Slope of log found in log x: the exponent of a power law, weighted by its errors."""
    logs = [logarithm(estimate) for estimate in found]
    return slope(np.log(x), [log.value for log in logs], [log.stderr for log in logs])


def proportion(successes: int, trials: int) -> Estimate:
    """A share with the standard error of the Agresti–Coull centre, which is positive at 0 and at `trials` too.

    Parameters
    ----------
    successes, trials : int
        0 ≤ successes ≤ trials, trials ≥ 1.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        Counts outside these ranges.

    References
    ----------
    Agresti, Coull (1998).

    Examples
    --------
    >>> from simulate import proportion
    >>> found = proportion(0, 100)
    >>> found.value, round(found.stderr, 4)
    (0.0, 0.0137)
    """
    successes, trials = check_whole("successes", successes, 0), check_whole("trials", trials)
    if successes > trials:
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

    Parameters
    ----------
    x, y : array_like, (n,)
        Points, n ≥ 3.
    stderr : array_like, (n,), optional
        Errors of y, > 0: the slope's error is propagated from them, inflated by √(χ²/dof) where the points scatter by
        more than their errors say. None: it comes from the residuals.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        Fewer than three points, vectors of different length, an error that is not positive, a number beyond 10^±70.

    Examples
    --------
    >>> from simulate import slope
    >>> round(slope([0.0, 1.0, 2.0], [1.0, 3.0, 5.0], stderr=[0.1, 0.1, 0.1]).stderr, 4)
    0.0707
    """
    x, y = (_squared(name, as_vector(name, values)) for name, values in (("x", x), ("y", y)))
    if x.size < 3 or x.size != y.size:
        raise ValueError(f"a slope needs three points or more with one y each, got {x.size} and {y.size}")
    errors = np.ones(x.size) if stderr is None else as_vector("stderr", stderr, x.size)
    if not (errors > 0).all():
        raise ValueError(f"stderr[{int(errors.argmin())}] = {errors.min()} must be > 0")
    if _squared("stderr", errors).min() < 1.0 / LARGEST_TERM or 0.0 < np.ptp(x) < 1.0 / LARGEST_TERM:
        raise ValueError(f"x or stderr is too small: spans and errors of {1.0 / LARGEST_TERM:g} at least are squared")
    w = 1.0 / errors**2
    centred = x - (w @ x) / w.sum()
    if not (w * centred) @ centred > 0:
        raise ValueError("x has one value only: a slope needs two or more")
    value = float((w * centred) @ y / ((w * centred) @ centred))
    residuals = y - (w @ y) / w.sum() - value * centred
    scatter = float(w @ residuals**2) / (x.size - 2)
    inflation = scatter if stderr is None else max(1.0, scatter)
    return Estimate(value, math.sqrt(inflation / float((w * centred) @ centred)), x.size)


def _squared(name: str, values: Array) -> Array:
    """The same values, which can be squared and weighed; ValueError names the first that cannot."""
    large = np.abs(values) > LARGEST_TERM
    if large.any():
        raise ValueError(f"{name}[{int(large.argmax())}] is larger than {LARGEST_TERM:g}: squares of it are weighed")
    return values


def bootstrap(statistic: Callable[[Array], Array], n_units: int, replicates: int, rng: Rng) -> tuple[Array, Array]:
    """Nonparametric bootstrap over units: a statistic of the data, and of replicates in which units are drawn anew.

    Parameters
    ----------
    statistic : callable
        Unit weights (n_units,) that sum to one → statistics (S,).
    n_units, replicates : int
        How many units there are, ≥ 1, and how many replicates to draw, ≥ 0.
    rng : numpy.random.Generator

    Returns
    -------
    point : ndarray, (S,)
        On the data.
    draws : ndarray, (replicates, S)
        On the replicates.

    Raises
    ------
    ValueError
        A number of units or replicates that is not whole, or too small.

    References
    ----------
    Efron (1979).

    Examples
    --------
    >>> import numpy as np
    >>> from simulate import bootstrap, generator
    >>> data = np.arange(100.0)
    >>> point, draws = bootstrap(lambda w: np.array([w @ data]), 100, 500, generator(0, "example"))
    >>> round(float(point[0]), 6), round(float(draws.std()), 1)  # 28.9/√100
    (49.5, 2.9)
    """
    n_units, replicates = check_whole("n_units", n_units), check_whole("replicates", replicates, 0)
    point = np.asarray(statistic(np.full(n_units, 1.0 / n_units)), float)
    draws = np.empty((replicates, point.size))
    for b in range(replicates):
        draws[b] = statistic(rng.multinomial(n_units, np.full(n_units, 1.0 / n_units)) / n_units)
    return point, draws


def _samples(samples: ArrayLike) -> Array:
    x = as_numbers("samples", samples)
    if x.ndim != 1 or x.size < 2:
        raise ValueError(f"two samples or more are needed, got shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"samples[{int(np.flatnonzero(~np.isfinite(x))[0])}] is not finite")
    return x
