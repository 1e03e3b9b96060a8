"""What bad input of the topic is told: one sentence that names the argument."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.bad_input import bad_input_is_named
from theory.density_ratio import estimates, flow, limits, losses, policies, ratios, reference

P, Q, ZERO = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5]), np.zeros(3)
HALF = [0.5, 0.5]
#: The ratio is infinite at outcome 1.
ONLY_P = [0.5, 0.4, 0.1], [0.5, 0.0, 0.5]
optimum = policies.constrained_optimum


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.1, 1.5, math.nan])
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda bad: ratios.relative_ratio(P, Q, bad), "alpha"),
        (lambda bad: ratios.mixture(P, Q, bad), "alpha"),
        (lambda bad: losses.rdro_loss(ZERO, P, Q, bad), "alpha"),
        (lambda bad: ratios.pooled_ratio(P, Q, bad, 0.5), "alpha"),
        (lambda bad: ratios.log_ratio_cap(bad), "alpha"),
        (lambda bad: ratios.relative_variance_bound(P, 9, 9, bad), "alpha"),
        (lambda bad: flow.chosen_gradient(0.0, bad), "alpha"),
        (lambda bad: estimates.policy_covariance("rdro", P, Q, 9, 9, bad), "alpha"),
        (lambda bad: estimates.efficient_covariance(P, Q, 9, 9, bad), "alpha"),
        (lambda bad: ratios.pooled_ratio(P, Q, 0.5, bad), "chosen_fraction"),
        (lambda bad: losses.rdro_loss(ZERO, P, Q, 0.5, bad), "chosen_fraction"),
    ],
)
def test_shares_outside_the_open_interval(call, message, bad):
    with pytest.raises(ValueError, match=message):
        call(bad)


test_bad_input_is_named = bad_input_is_named(
    (lambda: limits.cyclic_rates(3.5, 0.9), r"n = 3\.5"),
    (lambda: ratios.ratio_variance(P, Q, 5, 0), "n_q = 0"),
    (lambda: estimates.infinite_share(Q, 1.5), "n_q = 1.5"),
    (lambda: estimates.policy_covariance("sft", P, Q, 0, 5), "n_p = 0"),
    (lambda: estimates.policy_covariance("rdro", P, Q, 9, 9), "needs alpha"),
    (lambda: ratios.density_ratio(*ONLY_P), r"q\[1\] = 0: the ratio p/q is infinite at outcome 1"),
    (lambda: ratios.ratio_variance(*ONLY_P, 10, 10), "infinite at outcome 1"),
    (lambda: ratios.relative_ratio([0.5, 0.5, 0.0], [0.5, 0.5, 0.0], 0.5), "outcome 2 has no ratio"),
    (lambda: losses.ddro_loss(np.zeros(2), [0.5, 0.6], HALF), "sums to"),
    (lambda: losses.ddro_loss([0.0, math.nan], HALF, HALF), r"log_ratio\[1\] is NaN"),
    (lambda: losses.ddro_loss(ZERO, HALF, HALF), "2 entries"),
    (lambda: losses.ratio_loss("jeffreys", np.zeros(2), HALF, HALF), "no Bregman member"),
    (lambda: limits.population_limit("ppo", *limits.PREFERENCES["bradley_terry"]), "no method"),
    (lambda: limits.cyclic_rates(4, 0.8), "odd"),
    (lambda: limits.consistent_reference("kto", P, Q), "no reference makes KTO consistent"),
    (lambda: reference.best_alpha(P, Q, 1e300), "unlabelled_per_labelled = 1e[+]300 is too large"),
    (lambda: limits.reached_policy("kto", P, P, Q), "p = q"),
    (lambda: limits.reached_policy("kldo", P, Q, [1.0]), f"reference must have {len(P)}"),
    (lambda: flow.policy_flow([1.0], P, [1.0], P), f"d must have {len(P)}"),
    (lambda: flow.flow(-1.0, 0.4, 0.1, 0.0), "time"),
    (lambda: flow.flow(1.0, -0.1, 0.1, 0.0), "p = -0.1"),
    (lambda: flow.flow(1.0, 0.4, math.inf, 0.0), "d = inf"),
    (lambda: flow.flow(1.0, 0.4, 0.1, math.nan), "start = nan"),
    (lambda: optimum(HALF, HALF, [1.0, 0.0]), r"reference\[1\] = 0"),
    (lambda: optimum(HALF, HALF), "needs reference"),
    (lambda: optimum(HALF, HALF, HALF, alpha=1.0), "alpha"),
    (lambda: optimum(HALF, HALF, HALF, member="hinge"), "member"),
)


@pytest.mark.parametrize(
    ("n_p", "n_q", "message"),
    [(-1, 9, "n_p = -1"), (9, 0, "n_q = 0"), (math.nan, 9, "n_p = nan"), (9, math.inf, "n_q"), (1.5, 9, "n_p = 1.5")],
)
def test_a_class_without_examples_has_no_variance(n_p: float, n_q: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ratios.relative_variance_bound(P, n_p, n_q, 0.5)
    with pytest.raises(ValueError, match=message):
        ratios.ratio_variance(P, Q, n_p, n_q, 0.5)
