"""What V1–V12 predict at a setting: the formulas of the topic, called on the tables of
`theory.divergences.safety_data`.

Formulas are called through their modules, so that a changed one changes every prediction that rests on it.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from theory.claim import Value
from theory.divergences import (
    custom_generator,
    gaussian,
    generators,
    losses,
    minibatch,
    normaliser,
    policies,
    prompts,
    safety_data,
    samples,
)
from theory.divergences import separation as divergences_metrics
from theory.validate import Array

#: Losses whose minimum on samples has a bias of order 1/n: of V9's all but KTO.
SMOOTH = ("kldo", "dpo", "bco", "hellinger", "reverse_kl", "pearson", "neyman")
#: D⁺, D⁻ and π_ref of the fixed-constant checks: D⁺/D⁻ = (2, 2, 2/3, 2/3); λ > 0; λ > 0 with several local minima.
FIXED = {
    "two ratios": ((0.4, 0.1, 0.3, 0.2), (0.2, 0.05, 0.45, 0.3), (0.1, 0.4, 0.3, 0.2)),
    "too little mass": ((0.1, 0.2, 0.3, 0.4), (0.25, 0.3, 0.3, 0.15), (0.2, 0.4, 0.3, 0.1)),
    "far branch": ((0.75, 0.23, 0.02), (0.46, 0.41, 0.13), (0.11, 0.19, 0.7)),
}


def triangular(u: Array) -> Array:
    """The user's generator of V5: (u − 1)²/(u + 1), the triangular discrimination Σ(p − q)²/(p + q)."""
    return (u - 1.0) ** 2 / (u + 1.0)


@lru_cache(maxsize=1)
def users_generator() -> generators.Generator:
    return custom_generator.custom(triangular, name="user", at_zero=1.0, at_infinity=1.0)


def named(generator: str) -> str | generators.Generator:
    """The generator of a setting."""
    return users_generator() if generator == "user" else generator


def least(name: str, n_outcomes: int, separation: float, **_: Value) -> float:
    """The minimum of a loss on the tables of a setting."""
    return losses.minimum(named(name), *safety_data.example_pair(n_outcomes, separation))


def largest_reward(name: str, n_outcomes: int, separation: float, **_: Value) -> float:
    """Largest entry of the minimiser."""
    pair = safety_data.example_pair(n_outcomes, separation)
    return float(losses.minimizer(named(name), *pair).max())


def reward_range(name: str, n_outcomes: int, separation: float, **_: Value) -> float:
    """Largest minus smallest entry of the minimiser: free of the constant."""
    return float(np.ptp(losses.minimizer(name, *safety_data.example_pair(n_outcomes, separation))))


def rising_set(name: str, n_outcomes: int, separation: float, **_: Value) -> float:
    """The outcomes with r = +∞, as a binary number: Σ 2^i over them."""
    r = losses.minimizer(name, *safety_data.example_pair(n_outcomes, separation))
    return float(sum(2**i for i in np.flatnonzero(r > 0)))


def gaussian_minimum(name: str, shift: float, scale: float, **_: Value) -> float:
    """The minimum for D⁺ = N(shift, scale²), D⁻ = N(0, 1)."""
    loss = losses.find_loss(name)
    assert loss.generator is not None
    divergence = gaussian.f_divergence_gaussian(shift, scale**2, 0.0, 1.0, loss.generator)
    return loss.offset - loss.scale * divergence


def gaussian_pairs(separation: float, **_: Value) -> float:
    """DPO for N(δ, 1) against N(0, 1): the pair laws are Gaussians √2·δ apart."""
    return math.log(2.0) - gaussian.jensen_shannon_gaussian(math.sqrt(2.0) * separation, 1.0, 0.0, 1.0)


def aligned_ratio(name: str, kl_beta: float, outcome: int, **_: Value) -> float:
    """π*/π_ref at an outcome, constant fitted."""
    reference = safety_data.example_reference(5)
    aligned = policies.aligned_policy(name, *safety_data.example_pair(5, 1.5), reference, kl_beta)
    return float(aligned.policy[outcome] / reference[outcome])


def fixed_instance(instance: str) -> tuple[Array, Array, Array]:
    """D⁺, D⁻ and π_ref of an entry of `FIXED`."""
    p, q, reference = (np.array(values) for values in FIXED[instance])
    return p, q, reference


def fixed_ratio(name: str, instance: str, outcome: int, kl_beta: float, **_: Value) -> float:
    """π/π_ref at an outcome, constant fixed at 0."""
    p, q, reference = fixed_instance(instance)
    found = policies.fixed_constant_optimum(name, p, q, reference, kl_beta)
    return float(found.policy[outcome] / reference[outcome])


@lru_cache(maxsize=32)
def prompts_minimum(n_prompts: int, kl_beta: float, shared: str) -> prompts.NormalisedMinimum:
    tables = safety_data.example_prompts(n_prompts, 4, shared=shared == "yes")
    return prompts.kldo_normalised_minimum(*tables, kl_beta)


def prompts_bound(n_prompts: int, kl_beta: float, shared: str, **_: Value) -> float:
    tables = safety_data.example_prompts(n_prompts, 4, shared=shared == "yes")
    return prompts.kldo_gap_bound(*tables, kl_beta)


def per_prompt(n_prompts: int, shared: str, **_: Value) -> float:
    p, q, _reference = safety_data.example_prompts(n_prompts, 4, shared=shared == "yes")
    return prompts.per_prompt_minimum(p, q)


def prompt_constant(n_prompts: int, kl_beta: float, prompt: int, **_: Value) -> float:
    tables = safety_data.example_prompts(n_prompts, 4)
    return float(prompts.prompt_constants(*tables, kl_beta)[prompt])


def exact_divergence(name: str, separation: float, **_: Value) -> float:
    loss = losses.find_loss(name)
    return loss.divergence(*safety_data.example_pair(5, separation))


def sampling_bias(name: str, n: int, **_: Value) -> float:
    return samples.asymptotic_bias(name, *safety_data.example_pair(5, 1.5), n)


def held_out_excess(name: str, n: int, **_: Value) -> float:
    return samples.asymptotic_excess(name, *safety_data.example_pair(5, 1.5), n)


def sampling_error(name: str, n: int, **_: Value) -> float:
    return samples.asymptotic_stderr(name, *safety_data.example_pair(5, 1.5), n)


def minibatch_rewards() -> tuple[Array, Array]:
    """Rewards and D⁻ of the minibatch checks: the optimum log R of a table of six outcomes."""
    p, q = safety_data.example_pair(6, 1.5)
    return np.log(p / q), q


def mean_exp_bias(batch: int, **_: Value) -> float:
    return minibatch.log_mean_exp_bias(*minibatch_rewards(), batch)


def exact_mean_exp_bias(batch: int, **_: Value) -> float:
    return minibatch.exact_log_mean_exp_bias(*minibatch_rewards(), batch)


def one_out_bias(batch: int, **_: Value) -> float:
    return minibatch.leave_one_out_bias(*minibatch_rewards(), batch)


def weight_bias(batch: int, rate: float, outcome: int, **_: Value) -> float:
    return float(minibatch.gradient_weight_bias(*minibatch_rewards(), batch, rate)[outcome])


def minibatch_threshold(n_outcomes: int, separation: float, **_: Value) -> float:
    """B* on the tables of a setting."""
    return minibatch.minibatch_threshold(*safety_data.example_pair(n_outcomes, separation))


def first_batch_size(separation: float, **_: Value) -> float:
    """The smallest batch with a minimum: the first integer above B*."""
    return math.floor(minibatch_threshold(3, separation)) + 1.0


def minibatch_range(batch: int, **_: Value) -> float:
    return float(np.ptp(minibatch.minibatch_minimizer(*safety_data.example_pair(4, 1.0), batch)))


def safety_gap(generator: str, overlap: float, **_: Value) -> float:
    return safety_data.data_gap(safety_data.example_safety(overlap), generator)


def excess_distance(separation: float, dimension: int, n: int, **_: Value) -> float:
    return n * divergences_metrics.bhattacharyya_bias(dimension, separation, n)


def known_distance(separation: float, dimension: int, **_: Value) -> float:
    """Bhattacharyya distance of two Gaussians with different covariances, `separation` apart on the first axis."""
    first, second = np.eye(dimension), np.diag(1.0 + np.arange(dimension) / dimension)
    axis = separation * first[0]
    return gaussian.bhattacharyya_gaussian(axis, first, 0.0 * axis, second)


def representation(class_axis: float) -> tuple[Array, Array, Array]:
    """Two means (4,) three units apart on axis 0, and variances (4,): class_axis on it, 9, 4, 1 on the others."""
    return 3.0 * np.eye(4)[0], np.zeros(4), np.array([class_axis, 9.0, 4.0, 1.0])


def distance_after_pca(class_axis: float, **_: Value) -> float:
    mean1, mean2, variances = representation(class_axis)
    cov = np.diag(variances)
    return divergences_metrics.projected_distance(mean1, cov, mean2, cov, 2)


def distance_before_pca(class_axis: float, **_: Value) -> float:
    """The same distance with all coordinates."""
    mean1, mean2, variances = representation(class_axis)
    return gaussian.bhattacharyya_gaussian(mean1, np.diag(variances), mean2, np.diag(variances))


def regime_coefficient(case: str, **_: Value) -> float:
    regime = normaliser.REGIMES[case]
    tables = (regime.policy, regime.p, regime.q, regime.reference, regime.kl_beta)
    return normaliser.normaliser(*normaliser.terms(*tables))


def regime_drift(case: str, loss: str, **_: Value) -> float:
    regime = normaliser.REGIMES[case]
    tables = (regime.policy, regime.p, regime.q, regime.reference, regime.kl_beta)
    return normaliser.rejected_drift(*tables, normalised=loss == "normalised")


def zero(**_: Value) -> float:
    """The prediction of an ordering."""
    return 0.0
