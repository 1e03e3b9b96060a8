"""A warning: the normaliser of the public KLDO implementation, and where it trains the wrong way.

With A = E₊[r] and U = log E₋[eʳ] the public code (rhaldarpurdue/KLDO, commit 526c247, `normalize: true`, its default)
multiplies the second term by the detached constant

    c = min(A, U)/(U + 1e-9),        gradient  −∇A + c·∇U,

whereas KLDO is −A + U, c = 1. Nothing of this is used elsewhere in the package.

| case          | c        | effect                                                 |
|---------------|----------|--------------------------------------------------------|
| A = U = 0     | 0        | no push on rejected responses in the first step        |
| 0 < U ≤ A, U < 0 and U ≤ A | 1 | KLDO                                           |
| 0 < A < U     | A/U < 1  | rejected term damped                                   |
| A < U < 0     | A/U > 1  | rejected term amplified                                |
| A < 0 < U     | < 0      | rejected likelihoods are pushed up                     |

Ours (read from the code and derived here).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from theory.policy.rewards import implicit_rewards
from theory.validate import Array, check_distribution, check_laws

#: The public code's guard against a division by zero.
GUARD = 1e-9


@dataclass(frozen=True, eq=False)
class Regime:
    """A policy, data and reference that put A and U where a case of the table asks for them."""

    policy: Array
    p: Array
    q: Array
    reference: Array
    kl_beta: float


def normaliser(preferred: float, dispreferred: float) -> float:
    """c = min(A, U)/(U + 1e-9): what the public code multiplies ∇U by; −inf at U = −1e-9, as there."""
    A, U = float(preferred), float(dispreferred)
    return min(A, U) / (U + GUARD) if U != -GUARD else -math.inf


def terms(policy: ArrayLike, p: ArrayLike, q: ArrayLike, reference: ArrayLike, kl_beta: float) -> tuple[float, float]:
    """A = E₊[r] and U = log E₋[eʳ] of a policy (A,) with full support."""
    r, p, q = _rewards(policy, p, q, reference, kl_beta)
    return float(p @ r), float(logsumexp(r, b=q))


def policy_gradient(
    policy: ArrayLike, p: ArrayLike, q: ArrayLike, reference: ArrayLike, kl_beta: float, *, normalised: bool
) -> Array:
    """Gradient (A,) of the loss in the logits of the policy: −∇A + c·∇U, c = 1 unless `normalised`."""
    r, p, q = _rewards(policy, p, q, reference, kl_beta)
    U = float(logsumexp(r, b=q))
    c = normaliser(float(p @ r), U) if normalised else 1.0
    in_rewards = -p + c * q * np.exp(r - U)
    return kl_beta * (in_rewards - np.asarray(policy, float) * in_rewards.sum())


def rejected_drift(
    policy: ArrayLike, p: ArrayLike, q: ArrayLike, reference: ArrayLike, kl_beta: float, *, normalised: bool
) -> float:
    """d/dt E₋[log π] under gradient flow on the logits: below 0 where training lowers rejected likelihoods."""
    step = -policy_gradient(policy, p, q, reference, kl_beta, normalised=normalised)
    pi = np.asarray(policy, dtype=np.float64)
    return float(np.asarray(q, float) @ step - pi @ step)


#: The cases of the table: two preferred responses, two rejected ones, two that no data mention.
REGIMES: dict[str, Regime] = {
    name: Regime(
        policy=np.array(policy),
        p=np.array([0.50, 0.40, 0.05, 0.05, 0.0, 0.0]),
        q=np.array([0.05, 0.05, 0.40, 0.50, 0.0, 0.0]),
        reference=np.full(6, 1.0 / 6.0),
        kl_beta=1.0,
    )
    for name, policy in {
        "start": (1 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 6),
        "healthy": (0.35, 0.35, 0.05, 0.05, 0.10, 0.10),
        "damped": (0.20, 0.20, 0.25, 0.25, 0.05, 0.05),
        "amplified": (0.08, 0.08, 0.12, 0.12, 0.30, 0.30),
        "flipped": (0.06, 0.10, 0.19, 0.19, 0.23, 0.23),
    }.items()
}


def _rewards(
    policy: ArrayLike, p: ArrayLike, q: ArrayLike, reference: ArrayLike, kl_beta: float
) -> tuple[Array, Array, Array]:
    p, q = check_laws(p, q)
    return implicit_rewards(check_distribution("policy", policy, p.size), reference, kl_beta), p, q
