"""What bad input of the topic is told: one sentence that names the argument."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.bad_input import bad_input_is_named
from theory.divergences import gaussian, generators, losses, policies, prompts, safety_data, samples, separation, tables
from theory.divergences.by_generator import f_divergence
from theory.divergences.custom_generator import custom

P, Q, REFERENCE = np.array([0.4, 0.1, 0.3, 0.2]), np.array([0.1, 0.2, 0.25, 0.45]), np.array([0.1, 0.4, 0.3, 0.2])
LEFT, RIGHT = np.array([0.5, 0.5, 0.0, 0.0]), np.array([0.0, 0.3, 0.7, 0.0])
REWARDS = np.array([1.0, -0.5, 0.3, 0.8])
EYE = np.eye(2)
JOINT_P, JOINT_Q, REFERENCES = safety_data.example_prompts(2, 3)
SAFETY = safety_data.example_safety(0.3)
fixed = policies.fixed_constant_optimum


def triangular(u):
    return (u - 1.0) ** 2 / (u + 1.0)


test_bad_input_is_named = bad_input_is_named(
    (lambda: samples.asymptotic_stderr("kldo", P, Q, 0), "n = 0"),
    (lambda: samples.asymptotic_bias("kldo", P, Q, 2.5), r"n = 2\.5"),
    (lambda: samples.minibatch_kldo(REWARDS, P, Q, 2.7), r"batch = 2\.7"),
    (lambda: samples.log_mean_exp_bias(REWARDS, Q, 0.5), r"batch = 0\.5"),
    (lambda: samples.leave_one_out_bias(REWARDS, Q, 1), r"batch = 1 must be a whole number >= 2"),
    (lambda: samples.estimate_minimum("bco", [3, -1, -4], [1, 1, 1]), r"preferred\[2\] = -4"),
    (lambda: custom(triangular, at_zero=-math.inf), "at_zero = -inf"),
    (lambda: custom(triangular, at_zero=0.9, at_infinity=1.0), r"at_zero = 0\.9, which is at least 1 by"),
    (lambda: custom(triangular, at_infinity=0.9), r"at_infinity = 0\.9, which is at least 1 by"),
    (lambda: safety_data.example_pair(0, 1.0), "n_outcomes = 0"),
    (lambda: safety_data.example_reference(0), "n_outcomes = 0"),
    (lambda: prompts.prompt_constants([["a", "b"]], JOINT_Q, REFERENCES, 1.0), "p "),
    (lambda: separation.silhouette(np.zeros((3, 2)), [0, 0, 0]), "two classes"),
    (lambda: separation.silhouette(np.full((2, 1), np.nan), [0, 1]), r"points\[0, 0\]"),
    (lambda: separation.class_separation(np.arange(8.0).reshape(4, 2), [0, 0, 1, 1]),
     "cov1 is not positive definite"),
    (lambda: separation.class_separation(np.arange(6.0).reshape(3, 2), [0, 0, 1]), "two points"),
    (lambda: separation.fit_gaussian(np.zeros((3, 2)), 2.0), "shrinkage"),
    (lambda: separation.principal_axes(np.eye(2), 3), "components"),
    (lambda: separation.rank_correlation([1, 2, 3, 4], [1, 1, 1, 1]), "y is constant"),
    (lambda: separation.rank_correlation([1, 2, 3], [1, 2, 3]), "four or more"),
    (lambda: samples.gradient_weight_bias(REWARDS, Q, 4, rate=0.0), "rate"),
    (lambda: gaussian.kl_gaussian([0, 0], [[1, 2], [2, 1]], [0, 0], EYE), "cov1 is not positive definite"),
    (lambda: gaussian.kl_gaussian([0, 0], EYE, [0, 0], [[1, 0.5], [0, 1]]), "cov2 is not symmetric"),
    (lambda: gaussian.bhattacharyya_gaussian([0, 0], EYE, [0], [[1]]), "mean2"),
    (lambda: gaussian.f_divergence_gaussian([0, 0], EYE, [0, 0], 2 * EYE, "tv"),
     "one dimension or equal covariances"),
    (lambda: fixed("kto", P, Q, REFERENCE, 1.0), "not a sum of convex functions"),
    (lambda: fixed("kldo", P, Q, REFERENCE, 1.0), "not a sum of convex functions"),
    (lambda: fixed("dpo", P, Q, REFERENCE, 1.0), "not a sum of convex functions"),
    (lambda: fixed("neyman", P, Q, REFERENCE, 1.0), "not a sum of convex functions"),
    (lambda: fixed("total_variation", P, Q, REFERENCE, 1.0), "not a sum of convex functions"),
    (lambda: fixed("bco", [0.0, 1.0], [0.5, 0.5], [0.9, 0.1], 1.0), "outcome 0"),
    (lambda: fixed("bco", P, Q, REFERENCE, 0.0), "kl_beta"),
    (lambda: policies.aligned_policy("bco", P, Q, [0.0, 0.4, 0.3, 0.3], 1.0), r"reference\[0\] = 0"),
    (lambda: policies.aligned_policy("kto", P, Q, REFERENCE, 1.0), r"kto .*\[0, 2\]"),
    (lambda: prompts.kldo_gap_bound(0.9 * JOINT_P, JOINT_Q, REFERENCES, 1.0), "p sums to"),
    (lambda: prompts.kldo_gap_bound(JOINT_P, JOINT_Q, REFERENCES * np.array([[1.0], [0.9]]), 1.0),
     r"reference\[1\] sums to"),
    (lambda: prompts.kldo_gap_bound(JOINT_P, np.array([[0.0, 0.2, 0.2], [0.2, 0.2, 0.2]]), REFERENCES, 1.0),
     r"q\[0, 0\] = 0"),
    (lambda: prompts.per_prompt_minimum(P, Q), "prompts, responses"),
    (lambda: samples.estimate_minimum("bco", [3, 4], [0, 0]), "dispreferred"),
    (lambda: samples.estimate_minimum("bco", [3, -4], [1, 2]), r"preferred\[1\]"),
    (lambda: samples.estimate_minimum("dpo", [3, 4], [1, 2]), "estimate_dpo_minimum"),
    (lambda: samples.estimate_dpo_minimum(np.zeros((2, 2))), "wins"),
    (lambda: samples.asymptotic_bias("bco", [0.0, 1.0], [0.5, 0.5], 10), "outcome 0"),
    (lambda: samples.asymptotic_bias("kto", [0.2, 0.3, 0.5], [0.2, 0.4, 0.4], 10), "kink"),
    (lambda: samples.minibatch_minimizer(P, Q, 4), r"needs more than 4\.84"),
    (lambda: replace(SAFETY, safe=np.array([1, 1, 0, 0])), "safe must be"),
    (lambda: replace(SAFETY, weak=0.9 * SAFETY.weak), r"weak\[0\] sums to"),
    (lambda: SAFETY.dispreferred("prefs"), "preference"),
    (lambda: safety_data.example_safety(1.5), "overlap"),
    (lambda: f_divergence(P, Q, lambda u: (u - 1) ** 2 + 1e-6), r"f\(1\)"),
    (lambda: f_divergence(P, Q, lambda u: np.sin(u - 1)), "not convex"),
    (lambda: f_divergence(P, Q, lambda u: -((u - 1) ** 2)), "not convex"),
    (lambda: f_divergence(P, Q, lambda u: 2 * (u - 1)), "affine"),
    (lambda: f_divergence(P, Q, lambda u: np.where(np.abs(u - 1) < 0.3, 0.0, np.abs(u - 1) - 0.3)),
     "affine"),
    (lambda: f_divergence(P, Q, lambda u: np.array([0.0])), "elementwise"),
    (lambda: f_divergence(P, Q, lambda u: np.where(u > 2, np.nan, (u - 1) ** 2)), "not finite"),
    (lambda: f_divergence(LEFT, RIGHT, custom(lambda u: u * np.log(u), name="mine")),
     r"outcome 2.*f\(0\)"),
    (lambda: f_divergence(LEFT, RIGHT, custom(triangular, name="mine")), r"outcome 0.*f'\(∞\)"),
    (lambda: f_divergence(P, Q, "rkl"), "reverse_kl"),
    (lambda: f_divergence(P, Q, "alpha:one"), "generator = 'alpha:one'"),
    (lambda: custom(triangular, at_infinity=math.nan), "at_infinity = nan"),
    (lambda: custom(triangular, at_zero=math.nan), "at_zero = nan"),
    (lambda: custom(triangular, at_infinity="1"), "at_infinity must hold"),
    (lambda: losses.minimum("klod", P, Q), "kldo"),
    (lambda: generators.alpha_divergence(0.0), "alpha"),
    (lambda: generators.alpha_divergence(1.0), "alpha"),
    (lambda: generators.alpha_divergence(math.nan), "alpha"),
    (lambda: losses.population_loss("bco", [0.0, math.nan, 0.0, 0.0], P, Q), r"r\[1\] is NaN"),
    (lambda: losses.population_loss("bco", [0.0], P, Q), "shape"),
    (lambda: losses.population_loss("kldo", [math.inf, 0.0, 0.0, 0.0], P, Q), r"r\[0\]"),
)  # fmt: skip


@pytest.mark.parametrize(
    "function", [tables.kl, tables.total_variation, tables.jensen_shannon,
                 tables.squared_hellinger, tables.chi_square,
                 lambda p, q: f_divergence(p, q, "kl"), lambda p, q: losses.minimum("bco", p, q),
                 lambda p, q: losses.minimizer("dpo", p, q),
                 lambda p, q: losses.population_loss("kto", np.zeros(len(p)), p, q)],
)  # fmt: skip
@pytest.mark.parametrize(
    ("p", "q", "message"),
    [
        ([0.5, 0.4], [0.5, 0.5], "p sums to"),
        ([0.5, 0.5], [0.5, 0.6], "q sums to"),
        ([0.5, 0.5], [1.0], "q must have 2 entries"),
        ([1.5, -0.5], [0.5, 0.5], r"p\[1\]"),
        ([0.5, math.nan], [0.5, 0.5], r"p\[1\]"),
        ([0.0, 0.0], [0.5, 0.5], "p sums to"),
    ],
)
def test_bad_tables_are_named(function, p, q, message):
    with pytest.raises(ValueError, match=message):
        function(p, q)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"f": "kl"}, "f must be a function"), ({"slope": 3}, "slope must be"), ({"link": 3}, "link must be"),
])  # fmt: skip
def test_what_is_no_function_is_named(arguments, message):
    with pytest.raises(TypeError, match=message):
        custom(**{"f": triangular} | arguments)
