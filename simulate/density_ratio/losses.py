"""Unpaired losses as a trainer writes them: per example, in log-ratios, with their slopes; then as tabular losses.

Everything here is spelt out from the published per-example formulas, not through the measures of
`theory.density_ratio`, so that what is trained is independent of what is predicted.

An example's loss is a pair of functions of lr = log(π/π_ref), for chosen and for rejected examples, each returning
(value, derivative in lr).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from simulate.softmax import Loss, minimise
from theory.validate import Array

#: lr → (loss, ∂loss/∂lr), elementwise
Term = Callable[[Array], tuple[Array, Array]]


@dataclass(frozen=True, eq=False)
class ExampleLoss:
    """Losses of one chosen and of one rejected example."""

    chosen: Term
    rejected: Term


def softplus(x: Array) -> Array:
    """sp(x) = log(1 + eˣ)."""
    return np.logaddexp(0.0, x)


def example_loss(
    method: str, *, alpha: float = 0.5, kl_beta: float = 1.0, shift: float = 0.0, member: str = "logistic"
) -> ExampleLoss:
    """ddro, rdro (with a Bregman member), bco (δ = shift), kto (z₀ = shift); ValueError for another name."""
    if method in ("ddro", "rdro"):
        return _bregman(member, alpha if method == "rdro" else 0.0)
    if method == "bco":
        return ExampleLoss(
            lambda lr: (softplus(-(kl_beta * lr - shift)), -kl_beta * expit(-(kl_beta * lr - shift))),
            lambda lr: (softplus(kl_beta * lr - shift), kl_beta * expit(kl_beta * lr - shift)),
        )
    if method == "kto":
        return ExampleLoss(
            lambda lr: (1.0 - expit(kl_beta * lr - shift), -_bell(kl_beta * lr - shift) * kl_beta),
            lambda lr: (1.0 - expit(shift - kl_beta * lr), _bell(kl_beta * lr - shift) * kl_beta),
        )
    raise ValueError(f"no unpaired loss {method!r}")


def _bregman(member: str, alpha: float) -> ExampleLoss:
    if member == "logistic":
        return ExampleLoss(
            lambda lr: ((1.0 + alpha) * softplus(lr) - lr, alpha * expit(lr) - expit(-lr)),
            lambda lr: ((1.0 - alpha) * softplus(lr), (1.0 - alpha) * expit(lr)),
        )
    if member == "lsif":
        return ExampleLoss(
            lambda lr: (0.5 * alpha * np.exp(2 * lr) - np.exp(lr), alpha * np.exp(2 * lr) - np.exp(lr)),
            lambda lr: (0.5 * (1.0 - alpha) * np.exp(2 * lr), (1.0 - alpha) * np.exp(2 * lr)),
        )
    if member == "kliep":
        return ExampleLoss(
            lambda lr: (alpha * np.exp(lr) - lr, alpha * np.exp(lr) - 1.0),
            lambda lr: ((1.0 - alpha) * np.exp(lr), (1.0 - alpha) * np.exp(lr)),
        )
    raise ValueError(f"no Bregman member {member!r}")


def _bell(x: Array) -> Array:
    return expit(x) * expit(-x)


def table_loss(loss: ExampleLoss, chosen: Array, rejected: Array, log_reference: Array) -> Loss:
    """Σ chosen·(chosen loss) + rejected·(rejected loss) as a function of log π; the weights are class means or pooled.

    Where a weight is 0 its term is left out, so that lr → −∞ there costs nothing.
    """

    def evaluate(log_policy: Array) -> tuple[float, Array]:
        lr = log_policy - log_reference
        with np.errstate(over="ignore", invalid="ignore"):  # an infinite loss sends a long step back
            (good, good_slope), (bad, bad_slope) = loss.chosen(lr), loss.rejected(lr)
            value = np.where(chosen > 0, chosen * good, 0.0) + np.where(rejected > 0, rejected * bad, 0.0)
            slope = np.where(chosen > 0, chosen * good_slope, 0.0) + np.where(rejected > 0, rejected * bad_slope, 0.0)
        return float(value.sum()), slope

    return evaluate


def kldo_loss(chosen: Array, rejected: Array, log_reference: Array, kl_beta: float = 1.0) -> Loss:
    """−E₊[r] + log E₋[eʳ], r = kl_beta·lr."""

    def evaluate(log_policy: Array) -> tuple[float, Array]:
        r = kl_beta * (log_policy - log_reference)
        with np.errstate(divide="ignore"):
            logs = np.log(rejected) + r
        total = np.logaddexp.reduce(logs)
        return float(-chosen @ r + total), kl_beta * (np.exp(logs - total) - chosen)

    return evaluate


def train_policy(loss: Loss, log_reference: Array, starts: tuple[Array, ...] = ()) -> tuple[Array, float]:
    """The best policy of full-batch descents from the reference and from `starts` (logits); (policy, loss)."""
    runs = [minimise(loss, start, tolerance=1e-12) for start in (log_reference, *starts)]
    best = min(runs, key=lambda run: run.loss)
    return np.exp(best.log_policy), best.loss


def everywhere(log_reference: Array, rng: np.random.Generator, extra: int = 4) -> tuple[Array, ...]:
    """Starts for a loss with several minima: each outcome in turn with .2, .5 and .8 of the mass, random logits."""
    reference, starts = np.exp(log_reference), []
    for j in range(reference.size):
        for share in (0.2, 0.5, 0.8):
            policy = (1.0 - share) * reference / (1.0 - reference[j])
            policy[j] = share
            starts.append(np.log(policy))
    return (*starts, *(rng.normal(scale=3.0, size=reference.size) for _ in range(extra)))


def free_minimiser(loss: ExampleLoss, chosen: float, rejected: float) -> float:
    """The free log-ratio of one outcome with these weights: where the slope changes sign, by bisection to rounding."""

    def slope(lr: float) -> float:
        point = np.array(lr)
        return float(chosen * loss.chosen(point)[1] + rejected * loss.rejected(point)[1])

    low, high = -1.0, 1.0
    while slope(low) > 0.0:
        low *= 2.0
    while slope(high) < 0.0:
        high *= 2.0
    for _ in range(70):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if slope(middle) < 0.0 else (low, middle)
    return 0.5 * (low + high)


def total_variation(p: Array, q: Array) -> float:
    """½ Σ |p − q|, also for estimates that do not sum to one."""
    return 0.5 * float(np.abs(p - q).sum())
