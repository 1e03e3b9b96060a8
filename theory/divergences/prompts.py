"""Several prompts: the constant that a normalised policy does not have, and what KLDO loses by it.

D⁺ and D⁻ are laws on P prompts × A responses, R their ratio, r = kl_beta·log(π/π_ref) with Σ_y π(y|x) = 1 for every x.
KLDO with one global expectation, −E₊[r] + log E₋[eʳ], is least at log R + c, one free constant. Normalisation asks
for c = c_x in every prompt:

    c_x = −kl_beta·log Σ_y π_ref(y|x) R(x,y)^{1/kl_beta}.

So the minimum −KL(D⁺‖D⁻) is reached by a policy iff all c_x are equal; the gap is at most log E₊e^{c_x} − E₊c_x, the
loss of r = log R + c_x. (If D⁺ and D⁻ share the prompt law, E₊ and E₋ of a function of x are the same.) With one log
per prompt, −E₊[r] + Σ_x P₊(x) log E₋[eʳ|x], shifts are free and the minimum is −E_x KL(D⁺_x‖D⁻_x), reached; it lacks
KL of the prompt laws. BCO with one δ per prompt is least at a policy iff δ_x = c_x.

Ours; proofs in `paper/sections/divergences_proofs.tex`. Tables (P, A): p, q joint laws that sum to one, reference rows
each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp, softmax

from theory.divergences.losses import Parts
from theory.divergences.policies import constrained_minimum
from theory.solution import CertificateError
from theory.validate import Array, check_distribution, check_positive, check_support

#: Values of log E₋[eʳ] at which the outer search of `kldo_normalised_minimum` starts, and its certificate.
SCAN_POINTS, VALUE_TOLERANCE = 13, 1e-9


@dataclass(frozen=True, eq=False)
class NormalisedMinimum:
    """The least global KLDO loss over normalised policies.

    policy   (P, A) rows that sum to one
    value    the loss there
    gap      value + KL(D⁺‖D⁻) ≥ 0
    bound    log E₊e^{c_x} − E₊c_x, what `policy ∝ π_ref·R^{1/kl_beta}` loses; gap ≤ bound
    """

    policy: Array
    value: float
    gap: float
    bound: float


def check_joint(name: str, table: ArrayLike, shape: tuple[int, ...] | None = None) -> Array:
    """A (P, A) table of positive probabilities that sum to one; ValueError names the entry."""
    array = np.asarray(table, dtype=np.float64)
    if array.ndim != 2 or (shape is not None and array.shape != shape):
        raise ValueError(f"{name} must be (prompts, responses){'' if shape is None else shape}, got {array.shape}")
    check_distribution(name, array.ravel())
    if (array == 0).any():
        x, y = np.argwhere(array == 0)[0]
        raise ValueError(f"{name}[{x}, {y}] = 0: every response of every prompt needs mass")
    return array


def check_conditional(name: str, table: ArrayLike, shape: tuple[int, ...]) -> Array:
    """A (P, A) table of positive rows, each a law; ValueError names the row."""
    array = np.asarray(table, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    for x, row in enumerate(array):
        law = check_distribution(f"{name}[{x}]", row)
        check_support(f"{name}[{x}]", law, "every response of every prompt needs mass")
    return array


def prompt_constants(p: ArrayLike, q: ArrayLike, reference: ArrayLike, kl_beta: float) -> Array:
    """c_x = −kl_beta·log Σ_y π_ref(y|x) R(x,y)^{1/kl_beta} (P,): the shift that makes log R + c_x a policy's reward.

    Also the only δ_x at which BCO, DDRO or Hellinger at r − δ_x has a policy as its minimiser over all functions.
    """
    p, q, reference, beta = _checked(p, q, reference, kl_beta)
    return _constants(p, q, reference, beta)


def kldo_gap_bound(p: ArrayLike, q: ArrayLike, reference: ArrayLike, kl_beta: float) -> float:
    """log E₊e^{c_x} − E₊c_x ≥ 0: how far π ∝ π_ref·R^{1/kl_beta} stays above −KL(D⁺‖D⁻); 0 iff all c_x are equal."""
    p, q, reference, beta = _checked(p, q, reference, kl_beta)
    return _bound(p, _constants(p, q, reference, beta))


def per_prompt_minimum(p: ArrayLike, q: ArrayLike) -> float:
    """−Σ_x P₊(x) KL(D⁺_x‖D⁻_x): least value of KLDO with one log per prompt, reached by π_x ∝ π_ref·R^{1/kl_beta}."""
    p = check_joint("p", p)
    q = check_joint("q", q, p.shape)
    prompts_p, prompts_q = p.sum(axis=1), q.sum(axis=1)
    return -float(np.sum(p * (np.log(p) - np.log(q)))) + float(prompts_p @ (np.log(prompts_p) - np.log(prompts_q)))


def kldo_normalised_minimum(p: ArrayLike, q: ArrayLike, reference: ArrayLike, kl_beta: float) -> NormalisedMinimum:
    """min over normalised policies of −E₊[r] + log E₋[eʳ]: not a convex problem, but one of one hard dimension.

    log Z = min_z Z e^{−z} + z − 1 splits it into prompts: min_z z − 1 + Σ_x V_x(z), V_x(z) the least value of
    Σ_y −D⁺r + D⁻e^{r−z} over policies for x, which `theory.divergences.policies.constrained_minimum` solves. The
    interval that can hold z is scanned, the policy of every dip descends to its minimum, and the best is certified: at
    its z every prompt's policy is the best one (CertificateError otherwise).
    """
    p, q, reference, beta = _checked(p, q, reference, kl_beta)
    log_R, log_ref = np.log(p) - np.log(q), np.log(reference)

    def solve(z: float) -> tuple[float, Array]:
        parts = Parts(
            positive=lambda r: -r,
            negative=lambda r: np.exp(r - z),
            positive_slope=lambda r: -np.ones_like(r),
            negative_slope=lambda r: np.exp(r - z),
        )
        found = [constrained_minimum(parts, p[x], q[x], log_R[x] + z, log_ref[x], beta) for x in range(p.shape[0])]
        return z - 1.0 + sum(prompt.value for prompt in found), np.array([prompt.policy for prompt in found])

    exact, bound = -float(np.sum(p * log_R)), _bound(p, _constants(p, q, reference, beta))
    # Z ≥ Σ_x min_y D⁻ as some r(x,y) ≥ 0; log Z = loss + E₊r, no more than the tilted policy's loss plus E₊ of the caps
    levels = np.linspace(math.log(q.min(axis=1).sum()), exact + bound - beta * float(np.sum(p * log_ref)), SCAN_POINTS)
    solved = [solve(float(z)) for z in levels]
    values = np.array([np.inf, *(value for value, _ in solved), np.inf])
    dips = np.flatnonzero((values[1:-1] <= values[:-2]) & (values[1:-1] <= values[2:]))
    policies = [_descend(solved[i][1], p, q, reference, beta) for i in dips]
    policy = min(policies, key=lambda found: kldo_global(found, p, q, reference, beta))
    value = kldo_global(policy, p, q, reference, beta)
    split = solve(float(logsumexp(beta * (np.log(policy) - log_ref), b=q)))[0]
    if not abs(value - split) <= VALUE_TOLERANCE:
        raise CertificateError(f"KLDO over normalised policies: {value!r} found, {split!r} from prompts one by one")
    return NormalisedMinimum(policy, value, max(0.0, value - exact), bound)


def _descend(policy: Array, p: Array, q: Array, reference: Array, kl_beta: float) -> Array:
    """L-BFGS on the logits from a policy (P, A) to the local minimum of the global KLDO loss."""
    log_ref = np.log(reference)

    def loss_and_gradient(theta: Array) -> tuple[float, Array]:
        log_policy = log_softmax(theta.reshape(p.shape), axis=1)
        r = kl_beta * (log_policy - log_ref)
        log_Z = float(logsumexp(r, b=q))
        slope = kl_beta * (q * np.exp(r - log_Z) - p)
        gradient = slope - np.exp(log_policy) * slope.sum(axis=1, keepdims=True)
        return log_Z - float(np.sum(p * r)), gradient.ravel()

    options = {"gtol": 1e-11, "ftol": 0.0, "maxiter": 5000, "maxfun": 50_000, "maxcor": 30}
    found = minimize(loss_and_gradient, np.log(policy).ravel(), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(softmax(found.x.reshape(p.shape), axis=1), dtype=np.float64)


def kldo_global(policy: Array, p: Array, q: Array, reference: Array, kl_beta: float) -> float:
    """−E₊[r] + log E₋[eʳ] with r = kl_beta·log(policy/reference), all tables (P, A) and positive. No checks."""
    r = kl_beta * (np.log(policy) - np.log(reference))
    return float(-np.sum(p * r) + logsumexp(r, b=q))


def _constants(p: Array, q: Array, reference: Array, kl_beta: float) -> Array:
    return -kl_beta * np.asarray(logsumexp((np.log(p) - np.log(q)) / kl_beta, b=reference, axis=1))


def _bound(p: Array, constants: Array) -> float:
    prompts = p.sum(axis=1)
    return max(0.0, float(logsumexp(constants, b=prompts) - prompts @ constants))


def _checked(p: ArrayLike, q: ArrayLike, reference: ArrayLike, kl_beta: float) -> tuple[Array, Array, Array, float]:
    p = check_joint("p", p)
    return (
        p,
        check_joint("q", q, p.shape),
        check_conditional("reference", reference, p.shape),
        check_positive("kl_beta", kl_beta),
    )
