"""Estimators k1, k2, k3 of KL(π‖ρ) from one draw y ~ π, exactly on tables: mean, variance, and where they lead.

    ℓ = log π(y)/ρ(y)        k1 = ℓ        k2 = ℓ²/2        k3 = e^{−ℓ} − 1 + ℓ

k1 and k3 have mean KL(π‖ρ), k2 has not. What training descends is another matter. As a *reward* the estimator is a
number, and only the draw depends on π: Σ π k ∇log π. As a *loss* it is differentiated at the draw, which is held:
E[∇k]. With E[∇log π] = 0 and π e^{−ℓ} = ρ,

    k1 as reward  ∇KL(π‖ρ)                      k1 as loss  0
    k2 as reward  Σ π (ℓ²/2) ∇log π             k2 as loss  ∇KL(π‖ρ)
    k3 as reward  ∇KL(π‖ρ) − ∇KL(ρ‖π)           k3 as loss  ∇KL(ρ‖π), the other direction

so k3, unbiased and near π = ρ the least noisy, has in neither place the gradient of what it estimates.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from theory.validate import Array, check_distribution

Estimator = Literal["k1", "k2", "k3"]
Use = Literal["reward", "loss"]


def estimator_values(policy: ArrayLike, reference: ArrayLike, estimator: Estimator) -> Array:
    """k at every outcome (A,), nats; both laws must give each of them something.

    Examples
    --------
    >>> estimator_values([0.5, 0.5], [0.25, 0.75], "k1").round(4)
    array([ 0.6931, -0.4055])
    """
    p, q = _laws(policy, reference)
    ratio = np.log(p) - np.log(q)
    if estimator == "k1":
        return ratio
    if estimator == "k2":
        return 0.5 * ratio**2
    if estimator == "k3":
        return np.expm1(-ratio) + ratio
    raise ValueError(f"estimator = {estimator!r} must be k1, k2 or k3")


def estimator_moments(policy: ArrayLike, reference: ArrayLike, estimator: Estimator) -> tuple[float, float]:
    """Mean and variance of one draw of an estimator of KL(π‖ρ).

    Parameters
    ----------
    policy, reference : array_like (A,)
        π and ρ, positive.
    estimator : {"k1", "k2", "k3"}

    Returns
    -------
    tuple of float
        Nats and nats².

    Raises
    ------
    ValueError
        What is no positive law, laws of unlike size, or another estimator.

    Examples
    --------
    >>> [round(x, 4) for x in estimator_moments([0.5, 0.5], [0.25, 0.75], "k3")]
    [0.1438, 0.0024]
    """
    p, values = np.asarray(policy, float), estimator_values(policy, reference, estimator)
    mean = float(p @ values)
    return mean, float(p @ (values - mean) ** 2)


def estimator_gradient(policy: ArrayLike, reference: ArrayLike, estimator: Estimator, use: Use) -> Array:
    """Expected gradient of training with an estimator on draws of π, in the logits of π (A,).

    Parameters
    ----------
    policy, reference : array_like (A,)
        π and ρ, positive.
    estimator : {"k1", "k2", "k3"}
    use : {"reward", "loss"}
        Multiplied by ∇log π (a reward that is taken off), or differentiated at the draws.

    Returns
    -------
    ndarray (A,)

    Raises
    ------
    ValueError
        What is no positive law, laws of unlike size, or another estimator or use.

    Examples
    --------
    >>> estimator_gradient([0.5, 0.5], [0.25, 0.75], "k3", "loss")  # π − ρ, the gradient of KL(ρ‖π)
    array([ 0.25, -0.25])
    """
    p, q = _laws(policy, reference)
    ratio = np.log(p) - np.log(q)
    own = p * (ratio - p @ ratio)  # ∇KL(π‖ρ)
    other = p - q  # ∇KL(ρ‖π)
    squares = 0.5 * ratio**2
    gradients = {
        ("k1", "reward"): own,
        ("k1", "loss"): np.zeros_like(p),
        ("k2", "reward"): p * (squares - p @ squares),
        ("k2", "loss"): own,
        ("k3", "reward"): own - other,
        ("k3", "loss"): other,
    }
    if (estimator, use) not in gradients:
        raise ValueError(f"estimator = {estimator!r}, use = {use!r} must be k1, k2 or k3, and reward or loss")
    return gradients[estimator, use]


def _laws(policy: ArrayLike, reference: ArrayLike) -> tuple[Array, Array]:
    p, q = check_distribution("policy", policy), check_distribution("reference", reference)
    if p.shape != q.shape:
        raise ValueError(f"policy has shape {p.shape} and reference {q.shape}")
    if not (p.min() > 0 and q.min() > 0):
        raise ValueError("policy and reference must be positive: a log-ratio would be infinite")
    return p, q
