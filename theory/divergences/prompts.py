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
from scipy.special import log_softmax, logsumexp

from theory.divergences.losses import Parts
from theory.divergences.policies import constrained_minimum
from theory.numerics import log_mean
from theory.solution import CertificateError
from theory.validate import Array, as_numbers, check_distribution, check_positive, check_support

#: No policy is better than that of `kldo_normalised_minimum` by more; cells of log E₋[eʳ] that a proof may take.
VALUE_TOLERANCE, MAX_CELLS = 1e-9, 2000


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
    array = as_numbers(name, table)
    if array.ndim != 2 or (shape is not None and array.shape != shape):
        raise ValueError(f"{name} must be (prompts, responses){'' if shape is None else shape}, got {array.shape}")
    check_distribution(name, array.ravel())
    if (array == 0).any():
        x, y = np.argwhere(array == 0)[0]
        raise ValueError(f"{name}[{x}, {y}] = 0: every response of every prompt needs mass")
    return array


def check_conditional(name: str, table: ArrayLike, shape: tuple[int, ...]) -> Array:
    """A (P, A) table of positive rows, each a law; ValueError names the row."""
    array = as_numbers(name, table)
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
    """min over normalised policies of −E₊[r] + log E₋[eʳ], certified: convex in disguise if kl_beta ≥ 1, else not.

    Descent finds a policy that `_proved` proves the best. Where it cannot, `_better` searches all others, and the
    descent starts anew from what it finds, until that is nothing.
    """
    p, q, reference, beta = _checked(p, q, reference, kl_beta)
    log_R, log_ref = np.log(p) - np.log(q), np.log(reference)
    exact, bound = -float(np.sum(p * log_R)), _bound(p, _constants(p, q, reference, beta))
    start: Array | None = log_ref + log_R / beta
    while start is not None:
        log_policy = _descend(start, p, q, log_ref, beta)
        value = _loss(beta * (log_policy - log_ref), p, q)
        start = None if _proved(log_policy, p, q, log_ref, beta) else _better(value, p, q, log_ref, beta)
    return NormalisedMinimum(np.exp(log_policy), value, max(0.0, value - exact), bound)


def _descend(start: Array, p: Array, q: Array, log_ref: Array, kl_beta: float) -> Array:
    """L-BFGS from logits (P, A) to the log-policy of a local minimum of the global KLDO loss."""

    def loss_and_gradient(theta: Array) -> tuple[float, Array]:
        log_policy = log_softmax(theta.reshape(p.shape), axis=1)
        r = kl_beta * (log_policy - log_ref)
        log_Z = float(logsumexp(r, b=q))
        slope = kl_beta * (q * np.exp(r - log_Z) - p)
        gradient = slope - np.exp(log_policy) * slope.sum(axis=1, keepdims=True)
        return log_Z - float(np.sum(p * r)), gradient.ravel()

    options = {"gtol": 1e-11, "ftol": 0.0, "maxiter": 5000, "maxfun": 50_000, "maxcor": 30}
    found = minimize(loss_and_gradient, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(log_softmax(found.x.reshape(p.shape), axis=1), dtype=np.float64)


def _proved(log_policy: Array, p: Array, q: Array, log_ref: Array, kl_beta: float) -> bool:
    """Does duality prove a stationary policy the best, to `VALUE_TOLERANCE`? If kl_beta ≥ 1 always, else it may not.

    The loss does not change when π is multiplied by a number: let Σ_y m(x,y) be one free number for all x, and
    E₋[eʳ] that of the policy. With w = D⁻eʳ/E₋[eʳ] and d_x = Σ_y w − P₊(x), which add up to zero, a rival m loses more
    by a sum over x and y of g(m) − g(π),

        g(m) = −kl_beta·D⁺ log m + w (m/π)^kl_beta − kl_beta·d_x m,

    stationary at π. That is its minimum where kl_beta ≥ 1 or d_x ≤ 0. Otherwise g rises beyond π and then falls for
    good, so it is if g is no less at the largest m: (E₋[eʳ] of the policy over the least one)^{1/kl_beta}.
    """
    r = kl_beta * (log_policy - log_ref)
    log_Z = float(logsumexp(r, b=q))
    w = q * np.exp(r - log_Z)
    pull = (w.sum(axis=1) - p.sum(axis=1))[:, None] * np.exp(log_policy)
    curvature = p + (kl_beta - 1.0) * w
    if (curvature <= 0).any() or float(np.sum(kl_beta * (w - p - pull) ** 2 / (2.0 * curvature))) > VALUE_TOLERANCE:
        return False
    if kl_beta >= 1.0:
        return True
    top = (log_Z - _lowest(q, log_ref, kl_beta)) / kl_beta - log_policy  # of log m/π; g(m) − g(π) is divided by m/π
    rise = w * np.exp((kl_beta - 1.0) * top) - (w + kl_beta * p * top) * np.exp(-top) + kl_beta * pull * np.expm1(-top)
    return bool(((pull <= 0) | (rise >= 0)).all())


def _lowest(q: Array, log_ref: Array, kl_beta: float) -> float:
    """A bound on log E₋[eʳ] from below. If kl_beta ≤ 1 it is concave in π, and least where one response has all."""
    return float(logsumexp((np.log(q) - (kl_beta if kl_beta <= 1.0 else 0.0) * log_ref).min(axis=1)))


def _better(value: float, p: Array, q: Array, log_ref: Array, kl_beta: float) -> Array | None:
    """Logits of a policy whose loss is below `value` by `VALUE_TOLERANCE`, None if there is none.

    log Z = min_z Z e^{−z} + z − 1 splits the problem into prompts: min_z z − 1 + V(z), V the sum of the least values of
    Σ_y −D⁺r + D⁻e^{r−z} over policies for each, which `constrained_minimum` finds. Least of functions straight in
    e^{−z}, V is concave in it: on a cell of z its chord is below. Cells are cut where that is lowest until none can
    hold a better policy.
    """

    def solve(z: float) -> tuple[float, float, Array]:
        parts = Parts(
            positive=lambda r: -r,
            negative=lambda r: np.exp(r - z),
            positive_slope=lambda r: -np.ones_like(r),
            negative_slope=lambda r: np.exp(r - z),
        )
        best = np.log(p) - np.log(q) + z
        found = [constrained_minimum(parts, p[x], q[x], best[x], log_ref[x], kl_beta) for x in range(p.shape[0])]
        return z, sum(prompt.value for prompt in found), np.array([prompt.rewards for prompt in found])

    # E₊[r] is at most that of the rewards that single responses can have
    highest = value - kl_beta * float(np.sum(p * log_ref))
    cells = [(solve(_lowest(q, log_ref, kl_beta)), solve(highest))]
    for _ in range(MAX_CELLS):
        if not cells:
            return None
        low, high = cells.pop()
        slope = (high[1] - low[1]) / (math.exp(-high[0]) - math.exp(-low[0]))
        z = min(max(math.log(slope), low[0]), high[0])
        if z - 1.0 + low[1] + slope * (math.exp(-z) - math.exp(-low[0])) < value - VALUE_TOLERANCE:
            inset = 0.1 * (high[0] - low[0])
            middle = solve(min(max(z, low[0] + inset), high[0] - inset))
            if _loss(middle[2], p, q) < value - VALUE_TOLERANCE:
                return log_ref + middle[2] / kl_beta
            cells += [(low, middle), (middle, high)]
    raise CertificateError(
        f"KLDO over normalised policies: {value!r} found, which {MAX_CELLS} cells do not prove least"
    )


def kldo_global(policy: Array, p: Array, q: Array, reference: Array, kl_beta: float) -> float:
    """−E₊[r] + log E₋[eʳ] with r = kl_beta·log(policy/reference), all tables (P, A) and positive. No checks."""
    return _loss(kl_beta * (np.log(policy) - np.log(reference)), p, q)


def _loss(rewards: Array, p: Array, q: Array) -> float:
    return float(logsumexp(rewards, b=q)) - float(np.sum(p * rewards))


def _constants(p: Array, q: Array, reference: Array, kl_beta: float) -> Array:
    return -kl_beta * log_mean(np.log(reference), (np.log(p) - np.log(q)) / kl_beta)


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
