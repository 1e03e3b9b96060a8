"""Tabular softmax policies, trained: the smallest model on which a loss can be run to its predicted optimum.

A policy over A responses (or P prompts × A responses) is a softmax of free logits θ. Losses are functions of the
log-probabilities; the chain rule through the softmax is done here, so that every loss gives one gradient only,
∂loss/∂log π, and cannot forget the normalisation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from theory.validate import Array

#: log π (…, A) → (loss, ∂loss/∂log π of the same shape)
Loss = Callable[[Array], tuple[float, Array]]


@dataclass(frozen=True, eq=False)
class Training:
    """log_policy (…, A) at the end; `loss` there; `history` (records, …, A) of log π, every `record` steps."""

    log_policy: Array
    loss: float
    history: Array


def log_softmax(logits: Array) -> Array:
    """log of softmax along the last axis of finite logits, bit by bit scipy's, a training step's worth faster."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def through_softmax(log_policy: Array, gradient: Array) -> Array:
    """∂loss/∂θ from ∂loss/∂log π: g − π·Σ g along the last axis."""
    return gradient - np.exp(log_policy) * gradient.sum(axis=-1, keepdims=True)


def minimise(loss: Loss, start: Array, *, tolerance: float = 1e-10, steps: int = 20_000) -> Training:
    """Full-batch quasi-Newton descent (L-BFGS) on the logits, until the largest gradient entry is ≤ tolerance.

    start: logits (…, A). The result is where the loss leads, converged or not: what it is compared with decides.
    """

    def flat(theta: Array) -> tuple[float, Array]:
        log_policy = log_softmax(theta.reshape(start.shape))
        value, gradient = loss(log_policy)
        return value, through_softmax(log_policy, gradient).ravel()

    options = {"gtol": tolerance, "ftol": 0.0, "maxiter": steps, "maxfun": 10 * steps, "maxcor": 30}
    found = minimize(flat, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    log_policy = log_softmax(found.x.reshape(start.shape))
    return Training(log_policy, float(found.fun), log_policy[None])


def train(batches: Callable[[int], Loss], start: Array, steps: int, rate: float, *, record: int = 0) -> Training:
    """Adam on the logits with a cosine schedule: step t uses the loss `batches(t)`; a constant one is full batch.

    rate    peak step size; decays to 0 along half a cosine
    record  keep log π every so many steps (0: only the end)
    """
    theta = np.array(start, dtype=np.float64)
    first, second = np.zeros_like(theta), np.zeros_like(theta)
    history, value = [], np.nan
    for t in range(steps):
        log_policy = log_softmax(theta)
        if record and t % record == 0:
            history.append(log_policy)
        value, gradient = batches(t)(log_policy)
        g = through_softmax(log_policy, gradient)
        first = 0.9 * first + 0.1 * g
        second = 0.999 * second + 0.001 * g**2
        scale = rate * 0.5 * (1.0 + np.cos(np.pi * t / steps))
        theta -= scale * (first / (1 - 0.9 ** (t + 1))) / (np.sqrt(second / (1 - 0.999 ** (t + 1))) + 1e-12)
    log_policy = log_softmax(theta)
    return Training(log_policy, float(value), np.array([*history, log_policy]))
