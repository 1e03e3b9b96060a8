"""What bad input of the topic is told: one sentence that names the argument."""

from __future__ import annotations

import math

import numpy as np

from tests.bad_input import bad_input_is_named
from tests.oracles.proximal_tables import THIRDS
from theory.numerics import log1mexp
from theory.proximal import closed_forms, descent, displacement, existence, feedback, held_out, losses, optimum

test_bad_input_is_named = bad_input_is_named(
    (lambda: feedback.log_remaining_mass("x", [1000.0]), r"x: the probabilities sum to exp\(1000\.0\)"),
    (lambda: descent.dpo_pair_limit([0.0], [0.0], 0.5, 1.0), "one response"),
    (lambda: descent.likelihood_path(np.log([0.5, 0.5]), [0.1, -0.1], [0.5, 0.5], 1.0, 1.0, -np.eye(2), 0.1, 3),
     "eigenvalue -1"),
    (lambda: feedback.empirical_scores(3, [(0, 3)]), r"pairs\[0, 1\] = 3 is not one of 0 … 2"),
    (lambda: feedback.empirical_scores(3, [(0, 1), (2, 2)]), r"pairs\[1\] compares response 2 with itself"),
    (lambda: feedback.empirical_scores(3, []), "pairs"),
    (lambda: feedback.empirical_scores(3, [(0.5, 1)]), "integers"),
    (lambda: feedback.empirical_scores(0, [(0, 1)]), "n_responses"),
    (lambda: feedback.feedback_scores(2, [0, 1], [1.0]), "feedback must have 2"),
    (lambda: feedback.feedback_scores(2, [0, -1], [1.0, 0.0]), r"responses\[1\] = -1"),
    (lambda: feedback.feedback_scores(2, [], []), "non-empty"),
    (lambda: feedback.feedback_scores(2, [0, 1], [1e308, 1e308]), r"feedback has an entry of size 1e\+308"),
    (lambda: feedback.feedback_scores(2, [0], [math.nan]), r"feedback\[0\]"),
    (lambda: existence.existence_threshold([0.3, -0.2], [0.5, 0.5], [0.5, 0.5]), "not 0: centre them"),
    (lambda: existence.existence_threshold([0.3, -0.3], [0.5, 0.4], [0.5, 0.5]), "empirical sums to"),
    (lambda: existence.existence_threshold([0.3, -0.3], [0.5, 0.5], [0.5, 0.6]), "weights sums to"),
    (lambda: existence.existence_threshold([0.3, -0.3, 0.0], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0]),
     r"weights\[2\] = 0"),
    (lambda: existence.existence_threshold([0.3, -0.3], [0.5, 0.5], [0.2, 0.3, 0.5]), "weights must have 2"),
    (lambda: optimum.proximal_optimum([0.5, 0.4], [0.3, -0.3], [0.5, 0.5], [0.5, 0.5], 9, 1), "reference sums to"),
    (lambda: optimum.proximal_optimum([1.0, 0.0], [0.3, -0.3], [0.5, 0.5], [0.5, 0.5], 9, 1), "full support"),
    (lambda: optimum.proximal_optimum([0.5, 0.5], [0.3, -0.3], [0.5, 0.5], [0.5, 0.5], 9, 0), "kl_beta"),
    (lambda: optimum.proximal_optimum([0.5, 0.5], [0.3, -0.3], [0.5, 0.5], [0.5, 0.5], math.nan, 1), "alpha"),
    (lambda: optimum.hyper_optimum(np.log([0.7, 0.4]), [0.1, -0.1], [0.5, 0.5], [0.3, 0.3], 9, 1),
     r"sum to exp\(0\.0953"),
    (lambda: optimum.hyper_optimum(np.log([0.3, 0.4]), [0.1, -0.1], [0.5, 0.5], [0.5, 0.5], 9, 1),
     "leaves nothing to H"),
    (lambda: optimum.hyper_optimum(np.log([0.3, 0.4]), [0.1, -0.1], [0.5, 0.5], [0.5, 0.0], 9, 1), r"weights\[1\]"),
    (lambda: optimum.hyper_optimum([-1.0], [0.0], [1.0], [0.5], 9, 1, log_hyper_reference=-3.0),
     "log_hyper_reference sum to"),
    (lambda: feedback.mixture_weights([0.5, 0.5], 0.0, [0.5, 0.5]), "share"),
    (lambda: existence.mixture_threshold(1.5), "share"),
    (lambda: existence.imbalance_scores(0), "negatives_per_positive"),
    (lambda: closed_forms.pair_log_ratio(1.125), r"alpha\* = 1.125"),
    (lambda: closed_forms.binary_log_ratio(0.5, 1.0), r"alpha\* = 1.0"),
    (lambda: closed_forms.scalar_log_ratio([0.5], 0.9), r"alpha\* = 1.0"),
    (lambda: closed_forms.paper_binary_gap(-0.5, 1.0, 0.1, 0.3), r"alpha\* = 1.0"),
    (lambda: closed_forms.paper_binary_gap(0.5, 1.0, 0.1, 1.0), "reference"),
    (lambda: log1mexp(0.1), "log1mexp"),
    (lambda: losses.dpo_loss([1.0, 0.0], [0.5, 0.5], np.full((2, 2), 0.5), [0.5, 0.5], 1.0), r"policy\[1\] = 0"),
    (lambda: losses.dpo_loss([0.5, 0.5], [0.5, 0.5], np.full((3, 3), 0.5), [0.5, 0.5], 1.0), "win_rates must be 2"),
    (lambda: losses.edpo_loss([0.5, 0.5], [0.5, 0.5], [0.0], [1.0], [1.0], 1.0, 1.0), "scores must have 2"),
    (lambda: descent.dpo_pair_limit(np.log(THIRDS), np.log(THIRDS), 1.0, 1.0), "win_share"),
    (lambda: descent.likelihood_path(np.log(THIRDS), np.zeros(3), THIRDS, 1, 1, np.eye(2), 1, 3), "kernel"),
    (lambda: descent.likelihood_path(np.log(THIRDS), np.zeros(3), THIRDS, 1, 1, np.eye(3), 1, 2.5), "steps = 2.5"),
    (lambda: displacement.displaced_share("end", 1, 2, 0.0), "n = 1"),
    (lambda: displacement.pro_chosen(3.7, 2.0, 0.5), "n = 3.7"),
    (lambda: held_out.labels("kto", [[(0, 1)]], 3), "method"),
    (lambda: held_out.held_out_ratio("pro", -1, 0), "prompt = -1"),
    (lambda: held_out.held_out_ratio("dpo", 0, 4), "response = 4"),
    (lambda: displacement.displaced_share("start", 3, 0, 0.0), "shared = 0"),
    (lambda: displacement.displaced_share("end", 3, 2, -1.0), "own = -1"),
    (lambda: feedback.check_indices("x", 2, ["a"]), "integers"),
    (lambda: feedback.empirical_scores(3, [[0, 1], [1]]), "pairs must be an array of whole numbers"),
    (lambda: descent.coupled_path("dpo", -5), "steps = -5"),
    (lambda: descent.coupled_path("dpo", 2.5), "steps = 2.5"),
    (lambda: closed_forms.zero_hyper_binary_gap(0.5, 2.5, 0.1, 0.3), "collapses"),
    (lambda: closed_forms.binary_log_ratio(100 / 101, 1.9), r"alpha\* = 1\.98"),
)  # fmt: skip
