"""Free rejections and proxy rewards by sampling: claims B11 and B12.

At log N = 10⁴ no rows are drawn: the best of N rewards is where the tail is E/N, E a standard exponential, and the cut
of the score where its tail is N^{−a}; tails are kept as logarithms.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaln, log_ndtr

from simulate.montecarlo import Estimate, Experiments, Rng, mean, proportion
from simulate.profiles import Profile
from theory.best_of_n.examples import PROXY_TABLE

#: Index of a Pareto tail.
INDEX = 1.0
#: Terms of the asymptotic series of the upper incomplete gamma function.
TERMS = 8


def _log_gamma_tail(x: float, shape: float) -> float:
    """log P(Gamma(shape) > x) for large x: x^{k−1}e^{−x}/Γ(k)·(1 + (k−1)/x + (k−1)(k−2)/x² + …)."""
    series = term = 1.0
    for i in range(1, TERMS):
        term *= (shape - i) / x
        series += term
    return float((shape - 1.0) * np.log(x) - x - gammaln(shape) + np.log(series))


def _place(log_tail: Callable[[float], float], level: float, high: float) -> float:
    """x with log P(X > x) = level."""
    return float(brentq(lambda x: log_tail(x) - level, 5.0, high, xtol=1e-9))


def gamma_survival(v: float, a: float, shape: float, log_n: float, *, rng: Rng, profile: Profile) -> Estimate:
    """B11: a Gamma reward as the sum of two Gamma increments; given their sum the first has a Beta share of it."""
    samples = 10 * profile.replicates
    cut = _place(lambda x: _log_gamma_tail(x, shape * v), -a * log_n, 2 * log_n + 100)
    best = _place(lambda x: _log_gamma_tail(x, shape), -log_n, 2 * log_n + 100)
    # the tail at the best is E/N, and log-tail falls by one per unit of reward: the best moves by −log E
    rewards = best - np.log(rng.exponential(size=samples))
    first, rest = rng.gamma(shape * v, size=samples), rng.gamma(shape * (1.0 - v), size=samples)
    return proportion(int((rewards * first / (first + rest) > cut).sum()), samples)


def gaussian_survival(v: float, a: float, log_n: float, *, rng: Rng, profile: Profile) -> Estimate:
    """B11: a Gaussian reward; given the best reward r the score is N(vr, v(1 − v))."""
    samples = 10 * profile.replicates
    tail = lambda x: float(log_ndtr(-x))
    cut = np.sqrt(v) * _place(tail, -a * log_n, 10 * np.sqrt(log_n))
    best = _place(tail, -log_n, 10 * np.sqrt(log_n))
    rewards = best - np.log(rng.exponential(size=samples)) / best
    scores = v * rewards + np.sqrt(v * (1.0 - v)) * rng.normal(size=samples)
    return proportion(int((scores > cut).sum()), samples)


def pareto_survival(v: float, a: float, n: int, *, rng: Rng, profile: Profile) -> Estimate:
    """B11: n rows drawn, score and rest Pareto, their jumps in proportion v to 1 − v; is the best row kept?"""
    kept, samples, survived = round(n ** (1.0 - a)), 3 * profile.replicates, 0
    for _ in range(samples):
        score = v ** (1.0 / INDEX) * rng.random(n) ** (-1.0 / INDEX)
        reward = score + (1.0 - v) ** (1.0 / INDEX) * rng.random(n) ** (-1.0 / INDEX)
        survived += int((score > score[reward.argmax()]).sum() < kept)
    return proportion(survived, samples)


def gaussian_proxy(n: int, correlation: float, *, rng: Rng, profile: Profile) -> Estimate:
    """B12: n rows of a Gaussian proxy, the truth of the best of them."""
    samples = 10 * profile.replicates
    best = np.concatenate([rng.normal(size=(samples // 10, n)).max(axis=1) for _ in range(10)])
    truth = correlation * best + np.sqrt(1.0 - correlation**2) * rng.normal(size=best.size)
    return mean(truth)


def soft_on_a_table(n: int, temperature: float, *, rng: Rng, profile: Profile) -> Estimate:
    """B12: n rows of a table as counts, one of them chosen by its softmax weight."""
    policy, proxy, truth = (np.array(PROXY_TABLE[column]) for column in ("policy", "proxy", "truth"))
    counts = rng.multinomial(n, policy, size=100 * profile.replicates)
    weights = counts * np.exp((proxy - proxy.max()) / temperature)
    chosen = (weights.cumsum(axis=1) > rng.random(len(counts))[:, None] * weights.sum(axis=1)[:, None]).argmax(axis=1)
    return mean(truth[chosen])


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "B11.gamma": gamma_survival,
    "B11.gaussian": gaussian_survival,
    "B11.regular": pareto_survival,
    "B12.gaussian": gaussian_proxy,
    "B12.soft": soft_on_a_table,
}
