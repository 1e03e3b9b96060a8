"""What V1–V13 predict at a setting: the formulas of the topic on the instances that checks share.

Formulas are called through their modules, so that a changed one changes every prediction that rests on it.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from theory.divergences import gaussian, losses, normaliser, policies, prompts, safety_data, samples
from theory.divergences import separation as metrics
from theory.divergences.examples import fixed_instance, minibatch_rewards, named, representation
from theory.divergences.safety_data import example_pair, example_prompts, example_reference
from theory.policy import kl_estimators

#: Losses whose minimum on samples has a bias of order 1/n: of V9's all but KTO.
SMOOTH = ("kldo", "dpo", "bco", "hellinger", "reverse_kl", "pearson", "neyman")


def least(name: str, n_outcomes: int, separation: float) -> float:
    """Least value of a loss on the tables of a setting."""
    return losses.minimum(named(name), *example_pair(n_outcomes, separation))


def largest_reward(name: str, n_outcomes: int, separation: float) -> float:
    """Largest entry of the minimiser."""
    return float(losses.minimizer(named(name), *example_pair(n_outcomes, separation)).max())


def reward_range(name: str, n_outcomes: int, separation: float) -> float:
    """Largest minus smallest entry of the minimiser: free of the constant."""
    return float(np.ptp(losses.minimizer(name, *example_pair(n_outcomes, separation))))


def rising_set(name: str, n_outcomes: int, separation: float) -> float:
    """The outcomes with r = +∞, as a binary number: Σ 2^i over them."""
    r = losses.minimizer(name, *example_pair(n_outcomes, separation))
    return float(sum(1 << int(i) for i in np.flatnonzero(r > 0)))  # of Python's numbers, which have room for any set


def gaussian_minimum(name: str, shift: float, scale: float) -> float:
    """The minimum for D⁺ = N(shift, scale²), D⁻ = N(0, 1)."""
    loss = losses.find_loss(name)
    assert loss.generator is not None
    return loss.offset - loss.scale * gaussian.f_divergence_gaussian(shift, scale**2, 0.0, 1.0, loss.generator)


def gaussian_pairs(separation: float) -> float:
    """DPO for N(δ, 1) against N(0, 1): the pair laws are Gaussians √2·δ apart."""
    return math.log(2.0) - gaussian.jensen_shannon_gaussian(math.sqrt(2.0) * separation, 1.0, 0.0, 1.0)


def aligned_ratio(name: str, kl_beta: float, outcome: int) -> float:
    """π*/π_ref at an outcome, constant fitted."""
    reference = example_reference(5)
    aligned = policies.aligned_policy(name, *example_pair(5, 1.5), reference, kl_beta)
    return float(aligned.policy[outcome] / reference[outcome])


def fixed_ratio(name: str, instance: str, outcome: int, kl_beta: float) -> float:
    """π/π_ref at an outcome, constant fixed at 0."""
    p, q, reference = fixed_instance(instance)
    optimum = policies.fixed_constant_optimum(name, p, q, reference, kl_beta)
    return float(optimum.policy[outcome] / reference[outcome])


@lru_cache(maxsize=32)
def prompts_gap(n_prompts: int, kl_beta: float, shared: str) -> float:
    """What normalisation costs global KLDO."""
    return prompts.kldo_normalised_minimum(*example_prompts(n_prompts, 4, shared=shared == "yes"), kl_beta).gap


def prompts_bound(n_prompts: int, kl_beta: float, shared: str) -> float:
    """The bound of that gap."""
    return prompts.kldo_gap_bound(*example_prompts(n_prompts, 4, shared=shared == "yes"), kl_beta)


def per_prompt(n_prompts: int, shared: str) -> float:
    """Least KLDO loss with one log per prompt."""
    return prompts.per_prompt_minimum(*example_prompts(n_prompts, 4, shared=shared == "yes")[:2])


def prompt_constant(n_prompts: int, kl_beta: float, prompt: int) -> float:
    """c_x of one prompt."""
    return float(prompts.prompt_constants(*example_prompts(n_prompts, 4), kl_beta)[prompt])


def exact_divergence(name: str, separation: float) -> float:
    """The divergence that a loss estimates."""
    return losses.find_loss(name).divergence(*example_pair(5, separation))


def scaled_bias(name: str, n: int) -> float:
    """n times the bias of the minimum on samples."""
    return n * samples.asymptotic_bias(name, *example_pair(5, 1.5), n)


def scaled_excess(name: str, n: int) -> float:
    """n times the excess on held-out data."""
    return n * samples.asymptotic_excess(name, *example_pair(5, 1.5), n)


def scaled_error(name: str, n: int) -> float:
    """√n times the standard error of the minimum on samples."""
    return math.sqrt(n) * samples.asymptotic_stderr(name, *example_pair(5, 1.5), n)


def mean_exp_bias(batch: int) -> float:
    """B times the bias of the log-mean-exp of B rewards."""
    return batch * samples.log_mean_exp_bias(*minibatch_rewards(), batch)


def exact_mean_exp_bias(batch: int) -> float:
    """That bias, not times B, all batches listed."""
    return samples.exact_log_mean_exp_bias(*minibatch_rewards(), batch)


def one_out_bias(batch: int) -> float:
    """B² times the bias of the leave-one-out form."""
    return batch**2 * samples.leave_one_out_bias(*minibatch_rewards(), batch)


def weight_bias(batch: int, rate: float, outcome: int) -> float:
    """B times the bias of one response's weight in the gradient."""
    return batch * float(samples.gradient_weight_bias(*minibatch_rewards(), batch, rate)[outcome])


def first_batch_size(separation: float) -> float:
    """The smallest batch with a minimum: the first integer above B*."""
    return math.floor(samples.minibatch_threshold(*example_pair(3, separation))) + 1.0


def minibatch_range(batch: int) -> float:
    """Range of the rewards at the optimum of minibatch KLDO."""
    return float(np.ptp(samples.minibatch_minimizer(*example_pair(4, 1.0), batch)))


def safety_gap(generator: str, overlap: float) -> float:
    """What compliance–refusal data separate more."""
    return safety_data.data_gap(safety_data.example_safety(overlap), generator)


def excess_distance(separation: float, dimension: int, n: int) -> float:
    """n times the bias of the plug-in Bhattacharyya distance."""
    return n * metrics.bhattacharyya_bias(dimension, separation, n)


def known_distance(separation: float, dimension: int) -> float:
    """Bhattacharyya distance of two Gaussians with different covariances, `separation` apart on the first axis."""
    first, second = np.eye(dimension), np.diag(1.0 + np.arange(dimension) / dimension)
    axis = separation * first[0]
    return gaussian.bhattacharyya_gaussian(axis, first, 0.0 * axis, second)


def distance_after_pca(class_axis: float) -> float:
    """Bhattacharyya distance after two principal axes."""
    mean1, mean2, variances = representation(class_axis)
    return metrics.projected_distance(mean1, np.diag(variances), mean2, np.diag(variances), 2)


def distance_before_pca(class_axis: float) -> float:
    """The same distance with all coordinates."""
    mean1, mean2, variances = representation(class_axis)
    return gaussian.bhattacharyya_gaussian(mean1, np.diag(variances), mean2, np.diag(variances))


def regime_coefficient(case: str) -> float:
    """The public code's factor in a regime."""
    r = normaliser.REGIMES[case]
    return normaliser.normaliser(*normaliser.terms(r.policy, r.p, r.q, r.reference, r.kl_beta))


def regime_drift(case: str, loss: str) -> float:
    """Drift of rejected log-likelihoods in a regime."""
    r = normaliser.REGIMES[case]
    return normaliser.rejected_drift(r.policy, r.p, r.q, r.reference, r.kl_beta, normalised=loss == "normalised")


def estimator_mean(estimator: kl_estimators.Estimator, separation: float) -> float:
    """Mean of an estimator of KL(π‖ρ)."""
    return kl_estimators.estimator_moments(*example_pair(5, separation), estimator)[0]


def estimator_variance(estimator: kl_estimators.Estimator, separation: float) -> float:
    """Variance of one draw of it."""
    return kl_estimators.estimator_moments(*example_pair(5, separation), estimator)[1]


def gradient_as_reward(estimator: kl_estimators.Estimator, separation: float, outcome: int) -> float:
    """Expected gradient in one logit, the estimator as a reward."""
    return float(kl_estimators.estimator_gradient(*example_pair(5, separation), estimator, "reward")[outcome])


def gradient_as_loss(estimator: kl_estimators.Estimator, separation: float, outcome: int) -> float:
    """Expected gradient in one logit, the estimator as a loss."""
    return float(kl_estimators.estimator_gradient(*example_pair(5, separation), estimator, "loss")[outcome])
