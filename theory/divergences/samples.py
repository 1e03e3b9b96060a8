"""Finite samples: estimators of the losses' minima, their bias and their standard error.

A loss minimised on data gives a divergence estimate. With n draws from D⁺ and n from D⁻ (n pairs for dpo), to O(1/n),

    standard error   √((Var₊ ∂L/∂p + Var₋ ∂L/∂q)/n) at the minimiser r* (envelope theorem)
    bias, in sample  −½ Σ f''(R)[R(1 − p) + R²(1 − q)]/n for FDO losses, −(A − 1)/(2n) for dpo, 0 for kto and TV (R ≠ 1)
    excess, held out the same with the sign +: r̂ is fitted on other data; KLDO's is smaller by χ²(p‖q)/(2n)

KLDO's minibatches are in `theory.divergences.minibatch`. Ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from theory.bradley_terry import fit_rewards
from theory.divergences.generators import Generator, check_pair, log_ratio
from theory.divergences.losses import find_loss
from theory.validate import Array, as_vector


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
    value = loss.minimum(*check_pair(p, q))
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
    """Standard error of the minimum on n draws of each class (dpo: n pairs), to leading order."""
    p, q = check_pair(p, q)
    if find_loss(name).feedback == "pairs":
        L = log_ratio(p, q)
        losses, weights = np.logaddexp(0.0, -(L[:, None] - L[None, :])), np.outer(p, q)
        return math.sqrt(float(np.sum(weights * losses**2) - np.sum(weights * losses) ** 2) / n)
    return math.sqrt(sum(_variances(name, p, q, n, n)))


def asymptotic_bias(name: str | Generator, p: ArrayLike, q: ArrayLike, n: int) -> float:
    """E[minimum on n draws of each class (dpo: n pairs)] − minimum, to O(1/n); ≤ 0. Needs full support."""
    p, q = check_pair(p, q)
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
    p, q = check_pair(p, q)
    return excess - 0.5 * float(np.sum((p - q) ** 2 / q)) / n


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
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence = {confidence} must be in (0, 1)")
    half = float(ndtri(0.5 + 0.5 * confidence)) * stderr
    return MinimumEstimate(value, stderr, value - half, value + half)


def _shares(name: str, counts: ArrayLike) -> tuple[Array, float]:
    array = as_vector(name, counts)
    if (array < 0).any():
        raise ValueError(f"{name}[{int(np.flatnonzero(array < 0)[0])}] = {array.min()} is negative")
    total = float(array.sum())
    if total == 0:
        raise ValueError(f"no {name} response at all: the class is absent and its expectation is undefined")
    return array / total, total
