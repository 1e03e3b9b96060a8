"""Estimators of KL: moments and gradients against sums and complex steps that share nothing with the formulas."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest

from tests.bad_input import bad_input_is_named
from theory.policy.kl_ball import kl
from theory.policy.kl_estimators import estimator_gradient, estimator_moments, estimator_values

P, Q = (0.6, 0.3, 0.1), (0.2, 0.3, 0.5)


def value(estimator, log_ratio):
    return {"k1": log_ratio, "k2": log_ratio**2 / 2, "k3": cmath.exp(-log_ratio) - 1 + log_ratio}[estimator]


def by_complex_step(estimator, use):
    """Derivative in each logit, one outcome at a time; a loss holds the draw's law, a reward the estimator."""
    found = []
    for a in range(3):
        logits = [math.log(p) + 1e-30j * (i == a) for i, p in enumerate(P)]
        total = cmath.log(sum(cmath.exp(x) for x in logits))
        moved = [x - total for x in logits]
        terms = [
            p * value(estimator, m - math.log(q)) if use == "loss" else value(estimator, math.log(p / q)) * cmath.exp(m)
            for p, q, m in zip(P, Q, moved, strict=True)
        ]
        found.append(sum(terms).imag / 1e-30)
    return found


@pytest.mark.parametrize("use", ["reward", "loss"])
@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_gradients_are_derivatives(estimator, use):
    assert estimator_gradient(P, Q, estimator, use) == pytest.approx(by_complex_step(estimator, use), abs=1e-12)


def test_two_are_unbiased_and_one_is_not():
    exact = kl(np.array(P), np.array(Q))
    means = [estimator_moments(P, Q, name)[0] for name in ("k1", "k2", "k3")]
    assert means[0] == pytest.approx(exact, rel=1e-14)
    assert means[2] == pytest.approx(exact, rel=1e-14)
    assert abs(means[1] - exact) > 0.005
    assert estimator_moments(P, Q, "k2")[1] == pytest.approx(
        sum(p * (math.log(p / q) ** 2 / 2 - means[1]) ** 2 for p, q in zip(P, Q, strict=True)), rel=1e-12
    )


test_bad_input_is_named = bad_input_is_named(
    (lambda: estimator_values(P, Q, "k4"), "estimator = 'k4' must be k1, k2 or k3"),
    (lambda: estimator_gradient(P, Q, "k1", "both"), "use = 'both'"),
    (lambda: estimator_values(P, (*Q[:2], 0.3, 0.2), "k1"), r"policy has shape \(3,\) and reference \(4,\)"),
    (lambda: estimator_values((1.0, 0.0), (0.5, 0.5), "k1"), "must be positive"),
)
