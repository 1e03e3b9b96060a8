"""Pessimism at inference by sampling: claim B13.

The sampler is run as it is written: N draws set the level λ at which the mean of relu(proxy − λ) is β, fresh draws are
accepted with probability relu(proxy − λ)/(largest proxy − λ), at most N of them, and a last one is returned if none is.
A search over tables and policies looks for one that breaks the bound on the regret.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.optimize import brentq
from scipy.special import xlogy

from simulate.montecarlo import Estimate, Experiments, Rng, mean
from simulate.profiles import Profile
from theory.best_of_n.examples import FAULTY, GOOD, PROXY_TABLE, rare_table
from theory.validate import Array

#: The largest proxy that the sampler reckons with on the Gaussian proxy that some responses fool: of those one in
#: 30 000 exceeds it.
CEILING = FAULTY["shift"] + 4.0
#: Rows that set λ and that are tried, on the Gaussian proxy, and how many are returned at each λ.
ROWS, RETURNED = 1000, 8
#: Responses of the tables that are searched.
SIZE = 4


def levels(weights: Array, rewards: Array, beta: float | Array) -> Array:
    """λ of every row: Σ weights relu(rewards − λ) = β, by Newton's method from the left, where it only rises.

    weights, rewards  (K, A), the weights of a row sum to one; the sum is convex and piecewise linear in λ
    """
    level = (weights * rewards).sum(axis=1) - beta
    for _ in range(rewards.shape[1] + 1):
        above = rewards > level[:, None]
        excess = (weights * np.where(above, rewards - level[:, None], 0.0)).sum(axis=1)
        step = (excess - beta) / (weights * above).sum(axis=1)
        level = level + np.maximum(step, 0.0)
        if not (step > 1e-12 * (1.0 + np.abs(level))).any():
            break
    return level


def rejection(level: Array, ceiling: float, n: int, draw: Callable[[int], tuple[Array, Array]], rng: Rng) -> Array:
    """Truth of what is returned by every one of the samplers, whose levels these are.

    draw  number of rows → their proxy and true rewards
    """
    returned = np.empty(level.size)
    waiting = np.arange(level.size)
    for _ in range(n):
        proxy, truth = draw(waiting.size)
        accepted = rng.random(waiting.size) * (ceiling - level[waiting]) < proxy - level[waiting]
        returned[waiting[accepted]] = truth[accepted]
        waiting = waiting[~accepted]
        if not waiting.size:
            return returned
    returned[waiting] = draw(waiting.size)[1]
    return returned


def table_sampler(
    policy: Array, proxy: Array, truth: Array, n: int, chi_beta: float, samples: int, rng: Rng
) -> Estimate:
    """The sampler on a table; the n draws that set λ as counts."""
    counts = rng.multinomial(n, policy, size=samples)
    level = levels(counts / n, np.broadcast_to(proxy, counts.shape), chi_beta)

    def draw(rows: int) -> tuple[Array, Array]:
        which = rng.choice(policy.size, size=rows, p=policy)
        return proxy[which], truth[which]

    return mean(rejection(level, float(proxy.max()), n, draw, rng))


def on_a_table(n: int, chi_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """B13: true reward of the sampler on the table whose best proxy is bad."""
    policy, proxy, truth = (np.array(PROXY_TABLE[column]) for column in ("policy", "proxy", "truth"))
    return table_sampler(policy, proxy, truth, n, chi_beta, 50 * profile.replicates, rng)


def gaussian_rows(share: float, shape: tuple[int, ...], rng: Rng) -> tuple[Array, Array]:
    """Proxy and true rewards of rows, a share of which fools the proxy."""
    fools = rng.random(shape) < share
    proxy, correlation = rng.normal(size=shape) + FAULTY["shift"] * fools, FAULTY["correlation"]
    noise = math.sqrt(1.0 - correlation**2) * rng.normal(size=shape)
    return proxy, np.where(fools, FAULTY["truth"], correlation * proxy + noise)


def on_a_gaussian(share: float, chi_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """B13: true reward of the sampler where a share of the rows fools a Gaussian proxy."""
    found = []
    for _ in range(20):
        proxy, _ = gaussian_rows(share, (profile.replicates // 8, ROWS), rng)
        level = levels(np.full(proxy.shape, 1.0 / ROWS), proxy, chi_beta)
        draw = lambda rows: gaussian_rows(share, (rows,), rng)
        returned = rejection(np.repeat(level, RETURNED), CEILING, ROWS, draw, rng)
        found.append(returned.reshape(-1, RETURNED).mean(axis=1))
    return mean(np.concatenate(found))


def best_of_gaussian(share: float, n: int, *, rng: Rng, profile: Profile) -> Estimate:
    """B13: the truth of the row of best proxy."""
    found = []
    for _ in range(10):
        proxy, truth = gaussian_rows(share, (profile.replicates, n), rng)
        found.append(np.take_along_axis(truth, proxy.argmax(axis=1)[:, None], axis=1)[:, 0])
    return mean(np.concatenate(found))


def at_equal_kl(method: str, share: float, n: int, *, rng: Rng, profile: Profile) -> Estimate:
    """B13: rows weighted as Best-of-N and as a method would pick them, the method's dial where their KL is the same.

    The dial is λ of pessimism and minus the logarithm of the temperature of soft Best-of-N among all rows.
    """
    rows, asked, gaps = 25 * profile.replicates, math.log(n) - (n - 1) / n, []
    for _ in range(20):
        proxy, truth = gaussian_rows(share, (rows,), rng)
        order = np.argsort(proxy)
        proxy, truth = proxy[order], truth[order]

        def density(dial: float, proxy: Array = proxy) -> Array:
            soft = method == "soft"
            weight = np.exp((proxy - proxy[-1]) * math.exp(dial)) if soft else np.maximum(proxy - dial, 0.0)
            return weight / weight.mean()

        def excess(dial: float, density: Callable[[float], Array] = density) -> float:
            found = density(dial)
            return float(xlogy(found, found).mean()) - asked

        dial = brentq(excess, *((-4.0, 4.0) if method == "soft" else (proxy[0] - 10.0, proxy[-2])), xtol=1e-9)
        ranks = np.arange(rows + 1) / rows
        gaps.append(float(np.diff(ranks**n) @ truth - (density(dial) * truth).mean()))
    return mean(gaps)


def rare_best(rare: float, draws: float, *, rng: Rng, profile: Profile) -> Estimate:
    """B13: counts of Best-of-N's rows; the bad response is taken if it is there, then the good one."""
    policy, _, truth = rare_table(rare)
    counts = rng.multinomial(round(draws / rare), policy, size=10 * profile.replicates)
    best = np.where(counts[:, 2] > 0, 2, np.where(counts[:, 1] > 0, 1, 0))
    return mean(truth[best])


def rare_regret(rare: float, *, rng: Rng, profile: Profile) -> Estimate:
    """B13: how much the sampler falls short of the good response, at the weight ε/√χ² of that response."""
    policy, proxy, truth = rare_table(rare)
    error = proxy - truth
    deviation = math.sqrt(policy @ error**2 - (policy @ error) ** 2)
    weight = deviation / math.sqrt(1.0 / GOOD - 1.0)
    reached = table_sampler(policy, proxy, truth, round(2.0 / rare), weight, 10 * profile.replicates, rng)
    return Estimate(truth.max() - reached.value, reached.stderr, reached.n)


def share_of_bound(tables: Array) -> Array:
    """Regret over ε√χ² at the weight ε/√χ² of every table (K, 4, A): logits, proxy, error, and a policy's logits."""
    logits, proxy, error, other = (tables[:, i] for i in range(4))
    policy, compared = (np.exp(x - x.max(axis=1, keepdims=True)) for x in (logits, logits + other))
    policy, compared = (x / x.sum(axis=1, keepdims=True) for x in (policy, compared))
    centred = error - (policy * error).sum(axis=1, keepdims=True)
    deviation = np.sqrt((policy * centred**2).sum(axis=1))
    distance = np.sqrt((policy * (compared / policy - 1.0) ** 2).sum(axis=1))
    level = levels(policy, proxy, deviation / distance)
    kept = policy * np.maximum(proxy - level[:, None], 0.0)
    kept /= kept.sum(axis=1, keepdims=True)
    return ((compared - kept) * (proxy - error)).sum(axis=1) / (deviation * distance)


def worst_regret(*, rng: Rng, profile: Profile) -> Estimate:
    """B13: hill climbing from random tables and policies, in steps of all sizes, towards the bound."""
    tables = rng.normal(size=(profile.starts, 4, SIZE))
    reached = share_of_bound(tables)
    for _ in range(profile.steps):
        moved = tables + 10.0 ** rng.uniform(-3.0, 0.0, size=(len(tables), 1, 1)) * rng.normal(size=tables.shape)
        found = share_of_bound(moved)
        better = found > reached
        tables[better], reached[better] = moved[better], found[better]
    best = int(reached.argmax())
    rows = [
        f"{name} {np.round(row, 3).tolist()}"
        for name, row in zip(("logits", "proxy", "error", "policy"), tables[best], strict=True)
    ]
    return Estimate(float(reached[best]), n=len(tables), witness="; ".join(rows))


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "B13.table": on_a_table,
    "B13.limit": on_a_table,
    "B13.faulty": on_a_gaussian,
    "B13.turns": best_of_gaussian,
    "B13.same_kl": partial(at_equal_kl, "pessimism"),
    "B13.soft": partial(at_equal_kl, "soft"),
    "B13.falls": rare_best,
    "B13.holds": rare_regret,
    "B13.bound": worst_regret,
}
