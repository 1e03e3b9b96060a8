"""Finite samples: estimators of the losses' minima, their bias and standard error, and what KLDO's minibatches do.

A loss minimised on data gives a divergence estimate. With n draws from D⁺ and n from D⁻ (n pairs for dpo), to O(1/n),

    standard error   √((Var₊ ∂L/∂p + Var₋ ∂L/∂q)/n) at the minimiser r* (envelope theorem)
    bias, in sample  −½ Σ f''(R)[R(1 − p) + R²(1 − q)]/n for FDO losses, −(A − 1)/(2n) for dpo, 0 for kto and TV (R ≠ 1)
    excess, held out the same with the sign +: r̂ is fitted on other data; KLDO's is smaller by χ²(p‖q)/(2n)

With B rejected responses per batch KLDO's log E₋[eʳ] becomes a log-mean-exp. With x = eʳ/E₋[eʳ] and κ_k its central
moments,

    bias of log-mean-exp               −κ₂/(2B), exactly by listing all batches where they are few
    of its leave-one-out form          −(κ₃/3 − 3κ₂²/4)/(B(B − 1))
    of a response's gradient weight    D⁻x·(κ₂ − x + 1)/B; (κ₂a/(2 − a) − a(x − 1))/B with a moving average of rate a
    the expected loss has a minimum    iff B > B* = max_S log(1 − D⁺(S))/log(1 − D⁻(S)); it is then not log R

The first is Var(eʳ)/(2B·(E eʳ)²) in Belghazi et al. (arXiv 1801.04062), whose moving average this is; the rest ours.
Rewards r and tables are (A,).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import gammaln, logsumexp, ndtri, xlogy

from theory.bradley_terry import fit_rewards
from theory.divergences.generators import Generator, log_ratio
from theory.divergences.losses import find_loss
from theory.validate import Array, as_vector, check_between, check_distribution, check_laws, check_whole

#: Most batches, up to order, over which an expectation is summed.
LARGEST_ENUMERATION = 500_000


@dataclass(frozen=True)
class MinimumEstimate:
    """Minimum of a loss on data, its standard error, and a confidence interval [low, high] (not corrected for bias)."""

    value: float
    stderr: float
    low: float
    high: float


def estimate_minimum(
    name: str | Generator, preferred: ArrayLike, dispreferred: ArrayLike, *, confidence: float = 0.95
) -> MinimumEstimate:
    """The loss minimised over all r on counts (A,) of preferred and dispreferred responses, with a delta interval.

    ValueError for an absent class, and for dpo, whose data are pairs (`estimate_dpo_minimum`). The value is −inf,
    naming the response, where a response was seen in one class only and the divergence is infinite then.
    """
    p, n_plus = _shares("preferred", preferred)
    q, n_minus = _shares("dispreferred", dispreferred)
    loss = find_loss(name)
    if loss.feedback == "pairs":
        raise ValueError(f"{loss.name} is estimated from pairs: estimate_dpo_minimum")
    value = loss.minimum(*check_laws(p, q))
    if math.isinf(value):
        return MinimumEstimate(value, math.nan, math.nan, math.nan)
    return _interval(value, math.sqrt(sum(_variances(name, p, q, n_plus, n_minus))), confidence)


def estimate_dpo_minimum(wins: ArrayLike, *, confidence: float = 0.95) -> MinimumEstimate:
    """DPO's loss minimised over all r on counts of pairs: wins (A, A), how often i stood as preferred to j.

    The loss is a Bradley–Terry likelihood, fitted by `theory.bradley_terry.fit_rewards` (which raises if the data
    separate); pairs of a response with itself cost log 2 each. Standard error: sd of −log σ(r_w − r_l) over √n.
    """
    counts = np.asarray(wins, dtype=np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or (counts < 0).any() or counts.sum() == 0:
        raise ValueError(f"wins must be a square table of counts that are not all 0, got shape {counts.shape}")
    both = counts + counts.T
    rates = np.where(both > 0, counts / np.where(both > 0, both, 1.0), 0.5)
    rewards = fit_rewards(rates, both / both.sum()).rewards
    losses = np.logaddexp(0.0, -(rewards[:, None] - rewards[None, :]))
    weights, n = counts / counts.sum(), float(counts.sum())
    value = float(np.sum(weights * losses))
    return _interval(value, math.sqrt(float(np.sum(weights * (losses - value) ** 2)) / n), confidence)


def asymptotic_stderr(name: str | Generator, p: ArrayLike, q: ArrayLike, n: int) -> float:
    """Standard error of the minimum on n draws of each class (dpo: n pairs), to leading order; NaN where it is −inf."""
    p, q = check_laws(p, q)
    n = check_whole("n", n)
    if find_loss(name).feedback == "pairs":
        L, chosen, rejected = log_ratio(p, q), p > 0, q > 0
        losses = np.logaddexp(0.0, -(L[chosen][:, None] - L[rejected]))
        weights = np.outer(p[chosen], q[rejected])
        return math.sqrt(float(np.sum(weights * (losses - np.sum(weights * losses)) ** 2)) / n)
    if math.isinf(find_loss(name).minimum(p, q)):
        return math.nan
    return math.sqrt(sum(_variances(name, p, q, n, n)))


def asymptotic_bias(name: str | Generator, p: ArrayLike, q: ArrayLike, n: int) -> float:
    """E[minimum on n draws of each class (dpo: n pairs)] − minimum, to O(1/n); ≤ 0. Needs full support."""
    p, q = check_laws(p, q)
    n = check_whole("n", n)
    absent = np.flatnonzero((p == 0) | (q == 0))
    if absent.size:
        raise ValueError(f"outcome {absent[0]} has probability 0 in one table: the bias is not of order 1/n there")
    loss = find_loss(name)
    generator = loss.generator
    if generator is None:
        return -(p.size - 1) / (2.0 * n)
    R = p / q
    if generator.name == "total_variation" and (R == 1).any():
        raise ValueError(
            f"R = 1 at outcome {int(np.flatnonzero(R == 1)[0])}, the kink of TV: its bias is of order n^-1/2"
        )
    return -0.5 * loss.scale * float(np.sum(generator.curvature(R) * (R * (1.0 - p) + R**2 * (1.0 - q)))) / n


def asymptotic_excess(name: str | Generator, p: ArrayLike, q: ArrayLike, n: int) -> float:
    """E[population loss of the r fitted on n draws of each class (dpo: n pairs)] − minimum, to O(1/n); ≥ 0.

    A loss that is linear in the laws at fixed r loses on fresh data what it gains in sample. KLDO's logarithm makes
    it blind to shifts, which saves ½Var(Σ_y R q̂(y)) = χ²(p‖q)/(2n).
    """
    excess = -asymptotic_bias(name, p, q, n)
    if find_loss(name).name != "kldo":
        return excess
    p, q = check_laws(p, q)
    return excess - 0.5 * float(np.sum((p - q) ** 2 / q)) / n


# Minibatches of KLDO.


def log_mean_exp(rewards: ArrayLike) -> float:
    """log of the mean of e^{r_i}, stable; the plain estimate of log E₋[eʳ] from B rewards. Biased low."""
    r = as_vector("rewards", rewards)
    return float(logsumexp(r)) - math.log(r.size)


def relative_moments(rewards: ArrayLike, q: ArrayLike) -> tuple[Array, tuple[float, float, float]]:
    """x = eʳ/E₋[eʳ] (A,) and its central moments κ₂, κ₃, κ₄ under the law q (A,)."""
    r, q = as_vector("rewards", rewards), np.asarray(q, dtype=np.float64)
    x = np.exp(r - logsumexp(r, b=q))
    return x, (float(q @ (x - 1) ** 2), float(q @ (x - 1) ** 3), float(q @ (x - 1) ** 4))


def log_mean_exp_bias(rewards: ArrayLike, q: ArrayLike, batch: int) -> float:
    """−Var(eʳ)/(2B·(E eʳ)²): bias of the log-mean-exp of B rewards drawn from q, to O(1/B)."""
    return -relative_moments(rewards, q)[1][0] / (2.0 * check_whole("batch", batch))


def exact_log_mean_exp_bias(rewards: ArrayLike, q: ArrayLike, batch: int) -> float:
    """E[log-mean-exp of B rewards drawn from q] − log E₋[eʳ], every batch listed: C(B + A − 1, B) of them."""
    r = as_vector("rewards", rewards)
    law = check_distribution("q", q, r.size)
    counts, log_mass = _batches(law, batch)
    logs = logsumexp(np.broadcast_to(r, counts.shape), b=counts, axis=1) - math.log(batch)
    return float(np.exp(log_mass) @ logs - logsumexp(r, b=law))


def leave_one_out_bias(rewards: ArrayLike, q: ArrayLike, batch: int) -> float:
    """−(κ₃/3 − 3κ₂²/4)/(B(B−1)): what is left after leave-one-out, to O(1/B²)."""
    k2, k3, _ = relative_moments(rewards, q)[1]
    batch = check_whole("batch", batch, 2)
    return -(k3 / 3.0 - 0.75 * k2**2) / (batch * (batch - 1.0))


def gradient_weight_bias(rewards: ArrayLike, q: ArrayLike, batch: int, rate: float = 1.0) -> Array:
    """Bias (A,) of the weight of each response in the minibatch gradient of log E₋[eʳ], to O(1/B).

    rate  weight of the new batch in the moving average of E₋[eʳ] that divides (this batch included); 1: no average
    """
    check_between("rate", rate, ends="(]")
    x, (k2, _, _) = relative_moments(rewards, q)
    return np.asarray(q, float) * x * (k2 * rate / (2.0 - rate) - rate * (x - 1.0)) / check_whole("batch", batch)


def minibatch_kldo(rewards: ArrayLike, p: ArrayLike, q: ArrayLike, batch: int) -> tuple[float, Array]:
    """Exact expectation of KLDO with B rejected responses per batch, and its gradient (A,): all batches are listed.

    −E₊[r] + E[log (1/B)Σᵢ e^{r(yᵢ)}], yᵢ ~ q. C(B + A − 1, B) terms.
    """
    p, q = check_laws(p, q)
    r = as_vector("rewards", rewards, p.size)
    counts, log_mass = _batches(q, batch)
    logs = np.where(counts > 0, np.log(np.maximum(counts, 1)), -np.inf) + r
    value = logsumexp(logs, axis=1)
    weights = np.exp(logs - value[:, None])
    mass = np.exp(log_mass)
    return float(-p @ r + mass @ (value - math.log(batch))), -p + mass @ weights


def minibatch_threshold(p: ArrayLike, q: ArrayLike) -> float:
    """B* = max_S log(1 − p(S))/log(1 − q(S)): KLDO with B rejected responses per batch has a minimum iff B > B*.

    Raising r on S by t changes the expected loss by t·(P(batch meets S) − p(S)) + O(1), so every proper subset S needs
    1 − (1 − q(S))^B > p(S). A prefix of the order of decreasing R attains the maximum: all (q(S), p(S)) lie below the
    chords through the prefixes (Neyman–Pearson), and 1 − (1 − x)^B is concave. inf if an outcome is in one law only. At
    p = q, where it is 1, the loss of B = 1 is constant. Ours.
    """
    p, q = check_laws(p, q)
    order = np.argsort(-log_ratio(p, q), kind="stable")
    tails = np.array([np.cumsum(mass[order][::-1])[::-1][1:] for mass in (p, q)])  # 1 − p(S), 1 − q(S) of every prefix
    tails = tails[:, (tails[1] > 0) & (tails[0] < 1)]
    with np.errstate(divide="ignore"):
        ratios = np.abs(np.log(tails[0])) / np.abs(np.log(tails[1]))
    return float(ratios.max(initial=1.0))


def minibatch_minimizer(p: ArrayLike, q: ArrayLike, batch: int) -> Array:
    """The r (A,), mean 0 under q, at which KLDO with B rejected responses per batch is least in expectation.

    Not log R: the biased normaliser moves the optimum. ValueError, stating B*, if B ≤ B* (`minibatch_threshold`):
    the loss then falls without end.
    """
    p, q = check_laws(p, q)
    threshold = minibatch_threshold(p, q)
    if not batch > threshold:
        raise ValueError(
            f"KLDO with {batch} rejected responses per batch has no minimum: it needs more than {threshold:.6g}"
        )
    found = minimize(
        lambda r: minibatch_kldo(r, p, q, batch), log_ratio(p, q), jac=True, method="BFGS",
        options={"gtol": 1e-10, "maxiter": 2000},
    )  # fmt: skip
    return np.asarray(found.x - q @ found.x, dtype=np.float64)


def _variances(name: str | Generator, p: Array, q: Array, n_plus: float, n_minus: float) -> tuple[float, float]:
    """Var₊(∂L/∂p)/n₊ and Var₋(∂L/∂q)/n₋ at the minimiser."""
    loss = find_loss(name)
    parts = loss.influence(np.asarray(loss.optimum(log_ratio(p, q)), dtype=np.float64), p, q)
    out = []
    for mass, part, n in zip((p, q), parts, (n_plus, n_minus), strict=True):
        present = mass > 0
        centre = float(mass[present] @ part[present])
        out.append(float(mass[present] @ (part[present] - centre) ** 2) / n)
    return out[0], out[1]


def _interval(value: float, stderr: float, confidence: float) -> MinimumEstimate:
    half = float(ndtri(0.5 + 0.5 * check_between("confidence", confidence, ends="()"))) * stderr
    return MinimumEstimate(value, stderr, value - half, value + half)


def _shares(name: str, counts: ArrayLike) -> tuple[Array, float]:
    array = as_vector(name, counts)
    if (array < 0).any():
        raise ValueError(f"{name}[{int(array.argmin())}] = {array.min()} is negative")
    total = float(array.sum())
    if total == 0:
        raise ValueError(f"no {name} response at all: the class is absent and its expectation is undefined")
    return array / total, total


def _batches(q: Array, size: int) -> tuple[Array, Array]:
    """Every multiset of `size` outcomes as counts (M, A), with the log of its multinomial probability (M,)."""
    size = check_whole("batch", size)
    many = math.comb(size + q.size - 1, size)
    if many > LARGEST_ENUMERATION:
        raise ValueError(f"{many} batches of {size} of {q.size} outcomes are more than {LARGEST_ENUMERATION} to list")
    counts = np.array(list(_compositions(size, q.size)), dtype=np.float64)
    log_mass = gammaln(size + 1) - gammaln(counts + 1).sum(axis=1) + xlogy(counts, q).sum(axis=1)
    return counts, log_mass


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _compositions(total - first, parts - 1):
            yield (first, *rest)
