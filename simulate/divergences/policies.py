"""Policies trained by divergence losses: claims V7 (alignment consistency) and V8 (several prompts).

A tabular policy and, where the claim fits them, the loss's constants are trained together from random starts; where
the problem is not convex the best of many starts counts. None of these functions calls the closed form (h, the
fixed-constant optimum, the search over log E₋[eʳ]) that its estimate is judged against.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp, rel_entr

from simulate.montecarlo import Estimate, Experiments, Rng
from simulate.profiles import Profile
from theory.divergences.examples import fixed_instance
from theory.divergences.losses import find_loss, loss_gradient, population_loss
from theory.divergences.safety_data import example_pair, example_prompts, example_reference
from theory.validate import Array

#: (log π (P, A), constants (C,)) → loss and its gradients with respect to both
Objective = Callable[[Array, Array], tuple[float, Array, Array]]


@dataclass(frozen=True, eq=False)
class Fit:
    """Where training came to rest: log π (P, A), the constants (C,), the loss."""

    log_policy: Array
    constants: Array
    loss: float


def fit(objective: Objective, start: Array, constants: int = 0) -> Fit:
    """L-BFGS on the logits of a policy (P, A) and on free constants, both from `start` and 0."""
    size = start.size

    def flat(x: Array) -> tuple[float, Array]:
        log_policy = log_softmax(x[:size].reshape(start.shape), axis=1)
        value, inner, outer = objective(log_policy, x[size:])
        inner = inner - np.exp(log_policy) * inner.sum(axis=1, keepdims=True)
        return value, np.concatenate([inner.ravel(), outer])

    x = np.concatenate([start.ravel(), np.zeros(constants)])
    options = {"gtol": 1e-11, "ftol": 0.0, "maxiter": 20_000, "maxfun": 200_000, "maxcor": 40}
    found = minimize(flat, x, jac=True, method="L-BFGS-B", options=options)
    log_policy = log_softmax(found.x[:size].reshape(start.shape), axis=1)
    return Fit(log_policy, found.x[size:], float(found.fun))


def shifted(name: str, p: Array, q: Array, reference: Array, kl_beta: float, fitted: bool) -> Objective:
    """The loss of one prompt at r − δ, δ the only constant if `fitted`, else 0."""

    def objective(log_policy: Array, constants: Array) -> tuple[float, Array, Array]:
        r = kl_beta * (log_policy[0] - np.log(reference)) - (constants[0] if fitted else 0.0)
        slope = loss_gradient(name, r, p, q)
        return population_loss(name, r, p, q), kl_beta * slope[None], -slope.sum(keepdims=True)[: int(fitted)]

    return objective


# V7.


def aligned(name: str, kl_beta: float, outcome: int, *, rng: Rng, profile: Profile) -> Estimate:
    """V7: π/π_ref at one response, policy and constant trained together."""
    reference = example_reference(5)
    objective = shifted(name, *example_pair(5, 1.5), reference, kl_beta, not find_loss(name).shift_free)
    found = fit(objective, rng.normal(size=(1, 5)), int(not find_loss(name).shift_free))
    return Estimate(float(np.exp(found.log_policy[0, outcome]) / reference[outcome]))


def best_fixed(name: str, instance: str, kl_beta: float, rng: Rng, starts: int) -> Array:
    """π/π_ref (A,) of the best of several trainings with the constant fixed at 0."""
    p, q, reference = fixed_instance(instance)
    objective = shifted(name, p, q, reference, kl_beta, False)
    fits = [fit(objective, 2.0 * rng.normal(size=(1, p.size))) for _ in range(starts)]
    return np.asarray(np.exp(min(fits, key=lambda found: found.loss).log_policy[0]) / reference)


def fixed(name: str, instance: str, outcome: int, kl_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """V7: π/π_ref at one response, constant fixed."""
    return Estimate(float(best_fixed(name, instance, kl_beta, rng, profile.repeats)[outcome]), n=profile.repeats)


def not_monotone(name: str, instance: str, *, rng: Rng, profile: Profile) -> Estimate:
    """V7: π/π_ref of the response with R = 2/3 (index 2) minus that of the second one with R = 2 (index 1)."""
    ratios = best_fixed(name, instance, 1.0, rng, 1)
    return Estimate(float(ratios[2] - ratios[1]))


def kto_policies(kl_beta: float, rng: Rng, profile: Profile) -> list[Array]:
    """Policies (A,) of KTO with fitted z₀ from many starts: those within 1e-8 of the least loss found."""
    p, q = example_pair(5, 1.5)
    objective = shifted("kto", p, q, example_reference(5), kl_beta, True)
    fits = [fit(objective, 3.0 * rng.normal(size=(1, 5)), 1) for _ in range(5 * profile.repeats)]
    least = min(found.loss for found in fits)
    return [np.exp(found.log_policy[0]) for found in fits if found.loss <= least + 1e-8]


def kto_support(kl_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """V7: the least mass that any of them puts on R > 1."""
    p, q = example_pair(5, 1.5)
    policies = kto_policies(kl_beta, rng, profile)
    return Estimate(min(float(policy[p > q].sum()) for policy in policies), n=len(policies))


def kto_split(kl_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """V7: the largest total variation between two of them, minus 0.05."""
    policies = np.array(kto_policies(kl_beta, rng, profile))
    distances = 0.5 * np.abs(policies[:, None] - policies[None, :]).sum(axis=-1)
    return Estimate(float(distances.max()) - 0.05, n=len(policies))


# V8.


def global_kldo(p: Array, q: Array, reference: Array, kl_beta: float) -> Objective:
    """−E₊[r] + log E₋[eʳ], one expectation over prompts and responses."""

    def objective(log_policy: Array, constants: Array) -> tuple[float, Array, Array]:
        r = kl_beta * (log_policy - np.log(reference))
        log_Z = float(logsumexp(r, b=q))
        return log_Z - float(np.sum(p * r)), kl_beta * (q * np.exp(r - log_Z) - p), constants

    return objective


def per_prompt_kldo(p: Array, q: Array, reference: Array, kl_beta: float) -> Objective:
    """−E₊[r] + Σ_x P₊(x) log E₋[eʳ|x]"""
    prompts, conditional = p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)

    def objective(log_policy: Array, constants: Array) -> tuple[float, Array, Array]:
        r = kl_beta * (log_policy - np.log(reference))
        log_Z = logsumexp(r, b=conditional, axis=1, keepdims=True)
        slope = prompts * conditional * np.exp(r - log_Z) - p
        return float(np.sum(prompts * log_Z) - np.sum(p * r)), kl_beta * slope, constants

    return objective


def gap(n_prompts: int, kl_beta: float, shared: str, *, rng: Rng, profile: Profile) -> Estimate:
    """V8: the least global KLDO loss over normalised policies, plus KL(D⁺‖D⁻)."""
    p, q, reference = example_prompts(n_prompts, 4, shared=shared == "yes")
    objective = global_kldo(p, q, reference, kl_beta)
    losses = [fit(objective, 2.0 * rng.normal(size=p.shape)).loss for _ in range(profile.repeats)]
    return Estimate(min(losses) + float(np.sum(rel_entr(p, q))), n=len(losses))


def tilted(n_prompts: int, kl_beta: float, shared: str, *, rng: Rng, profile: Profile) -> Estimate:
    """V8: the global loss, plus KL, of the policy that the per-prompt loss leads to."""
    p, q, reference = example_prompts(n_prompts, 4, shared=shared == "yes")
    policy = fit(per_prompt_kldo(p, q, reference, kl_beta), rng.normal(size=p.shape)).log_policy
    value, *_ = global_kldo(p, q, reference, kl_beta)(policy, np.zeros(0))
    return Estimate(value + float(np.sum(rel_entr(p, q))))


def per_prompt(n_prompts: int, kl_beta: float, shared: str, *, rng: Rng, profile: Profile) -> Estimate:
    """V8: the least loss with one log per prompt."""
    p, q, reference = example_prompts(n_prompts, 4, shared=shared == "yes")
    return Estimate(fit(per_prompt_kldo(p, q, reference, kl_beta), rng.normal(size=p.shape)).loss)


def bco_shift(n_prompts: int, kl_beta: float, prompt: int, *, rng: Rng, profile: Profile) -> Estimate:
    """V8: the δ_x that BCO settles on, one per prompt."""
    p, q, reference = example_prompts(n_prompts, 4)
    parts = find_loss("bco").parts
    assert parts is not None

    def objective(log_policy: Array, constants: Array) -> tuple[float, Array, Array]:
        r = kl_beta * (log_policy - np.log(reference)) - constants[:, None]
        slope = p * parts.positive_slope(r) + q * parts.negative_slope(r)
        return float(np.sum(p * parts.positive(r) + q * parts.negative(r))), kl_beta * slope, -slope.sum(axis=1)

    return Estimate(float(fit(objective, rng.normal(size=p.shape), n_prompts).constants[prompt]))


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "V7.aligned": aligned,
    "V7.fixed": fixed,
    "V7.branches": fixed,
    "V7.not_monotone": not_monotone,
    "V7.kto_support": kto_support,
    "V7.kto_split": kto_split,
    "V8.gap": gap,
    "V8.bound": gap,
    "V8.tilted": tilted,
    "V8.per_prompt": per_prompt,
    "V8.bco_shift": bco_shift,
}
