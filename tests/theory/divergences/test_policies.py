"""Policies that divergence losses lead to: h(R), fixed constants, several prompts. Against descent and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import expm1, log, mpf, workdps
from scipy.optimize import minimize
from scipy.special import log_softmax

from tests.oracles.strategies import distributions
from theory.divergences import policies
from theory.divergences.examples import FIXED, fixed_instance
from theory.divergences.losses import loss_gradient, minimizer, minimum, population_loss
from theory.divergences.policies import aligned_policy, aligned_support, fixed_constant_optimum, log_consistency
from theory.divergences.prompts import (
    kldo_gap_bound,
    kldo_global,
    kldo_normalised_minimum,
    per_prompt_minimum,
    prompt_constants,
)
from theory.divergences.safety_data import example_prompts
from theory.divergences.tables import kl
from theory.solution import CertificateError

P = np.array([0.4, 0.1, 0.3, 0.2])
Q = np.array([0.1, 0.2, 0.25, 0.45])
REFERENCE = np.array([0.1, 0.4, 0.3, 0.2])
FREE = ("kldo", "dpo", "bco", "ddro", "hellinger", "kl", "reverse_kl", "jensen_shannon", "neyman", "alpha:0.5")
CONVEX = ("bco", "hellinger", "kl", "reverse_kl", "jensen_shannon", "pearson", "alpha:0.5", "alpha:2")
#: π/π_ref for R = (2, 2, 2/3, 2/3) with the constant fixed at 0, as published in the specification.
TRIPLES = {
    "hellinger": (1.905, 1.221, 0.642, 0.642),
    "bco": (1.901, 1.223, 0.642, 0.642),
    "kl": (3.28, 0.472, 0.966, 0.966),
}


# Fitted constants.


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("kl_beta", [0.1, 1.0, 3.0])
def test_most_losses_raise_the_ratio_to_one_over_kl_beta(name, kl_beta):
    expected = REFERENCE * (P / Q) ** (1 / kl_beta)
    aligned = aligned_policy(name, P, Q, REFERENCE, kl_beta)
    np.testing.assert_allclose(aligned.policy, expected / expected.sum(), rtol=1e-12)


@pytest.mark.parametrize("name", [*FREE, "pearson", "alpha:3"])
def test_the_shift_makes_the_policy_the_minimiser(name):
    kl_beta = 0.6
    aligned = aligned_policy(name, P, Q, REFERENCE, kl_beta)
    r = kl_beta * np.log(aligned.policy / REFERENCE)
    assert population_loss(name, r - aligned.shift, P, Q) == pytest.approx(minimum(name, P, Q), abs=1e-12)
    np.testing.assert_allclose(r - aligned.shift, minimizer(name, P, Q), atol=1e-10)


@given(st.floats(-4.0, 4.0), st.floats(-4.0, 4.0), st.sampled_from([*FREE, "pearson", "kto", "total_variation"]))
def test_h_does_not_fall(a, b, name):
    low, high = log_consistency(name, np.sort([a, b]), 0.5)
    assert low <= high


def test_log_references_far_below_underflow_are_as_good():
    log_reference = np.array([-2000.0, math.log1p(-math.exp(-2000.0))])
    by_log = aligned_policy("kldo", [0.7, 0.3], [0.3, 0.7], None, 1e-3, log_reference=log_reference)
    assert by_log.policy[0] == pytest.approx(1 / (1 + math.exp(2000.0 - 2 * math.log(7 / 3) / 1e-3)), rel=1e-10)


def test_kto_says_what_it_leaves_open():
    assert aligned_support("kto", P, Q).tolist() == [True, False, True, False]
    assert aligned_support("bco", P, Q).all()
    assert aligned_policy("kto", [0.6, 0.2, 0.2], [0.2, 0.4, 0.4], [0.2, 0.3, 0.5], 1.0).policy.tolist() == [1, 0, 0]
    assert aligned_policy("bco", [1.0, 0.0], [0.5, 0.5], [0.5, 0.5], 1.0).policy.tolist() == [1, 0]


# A fixed constant.


@pytest.mark.parametrize("name", TRIPLES)
def test_the_published_triples(name):
    q = P / np.array([2, 2, 2 / 3, 2 / 3])
    p, q_too, reference = fixed_instance("two ratios")
    np.testing.assert_allclose([p, q_too, reference], [P, q, REFERENCE], atol=1e-15)
    found = fixed_constant_optimum(name, P, q, REFERENCE, 1.0)
    np.testing.assert_allclose(found.policy / REFERENCE, TRIPLES[name], rtol=1e-3)
    assert found.policy.sum() == pytest.approx(1.0, abs=1e-12)
    r = found.rewards
    stationarity = loss_gradient(name, r, P, q) - found.multiplier * REFERENCE * np.exp(r)
    np.testing.assert_allclose(stationarity, 0.0, atol=1e-10)


def descend(name: str, p: np.ndarray, q: np.ndarray, reference: np.ndarray, kl_beta: float, starts: int) -> float:
    """Least loss over normalised policies, by BFGS on the logits from several starts."""
    rng = np.random.default_rng(7)

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        log_policy = log_softmax(theta)
        r = kl_beta * (log_policy - np.log(reference))
        slope = kl_beta * loss_gradient(name, r, p, q)
        return population_loss(name, r, p, q), slope - np.exp(log_policy) * slope.sum()

    with np.errstate(all="ignore"):
        found = [
            minimize(objective, 2 * rng.normal(size=p.size), jac=True, method="BFGS", options={"gtol": 1e-9})
            for _ in range(starts)
        ]
    return min(float(one.fun) for one in found)


@settings(max_examples=30)
@given(
    st.integers(2, 4).flatmap(lambda size: st.tuples(*[distributions(size, 0.05)] * 3)),
    st.sampled_from(CONVEX),
    st.sampled_from([0.4, 1.0, 2.5]),
)
def test_fixed_constants_against_descent(tables, name, kl_beta):
    p, q, reference = tables
    found = fixed_constant_optimum(name, p, q, reference, kl_beta)
    assert found.value == pytest.approx(descend(name, p, q, reference, kl_beta, 4), abs=1e-7)
    r = kl_beta * np.log(found.policy / reference)
    assert population_loss(name, r, p, q) == pytest.approx(found.value, abs=1e-9)
    assert found.value >= minimum(name, p, q) - 1e-12


@pytest.mark.parametrize("name", ["bco", "hellinger"])
@pytest.mark.parametrize("kl_beta", [0.3, 0.5, 0.7])
def test_far_branches_against_a_grid(name, kl_beta):
    """λ > 0, where the problem is not convex: every policy on a fine grid of the simplex is no better."""
    p, q, reference = fixed_instance("far branch")
    found = fixed_constant_optimum(name, p, q, reference, kl_beta)
    assert found.multiplier > 0
    assert (found.candidates > 1) == (kl_beta == 0.5)
    # between kl_beta 0.3 and 0.5 the optimum jumps: most of the mass moves to the response that D⁺ hardly has
    assert int(found.policy.argmax()) == (0 if kl_beta == 0.3 else 2)
    a, b = (axis.ravel() for axis in np.meshgrid(np.arange(1, 80), np.arange(1, 80)))
    policies = (np.stack([a, b, 80 - a - b])[:, a + b < 80] / 80).T
    losses = np.array([population_loss(name, kl_beta * np.log(policy / reference), p, q) for policy in policies])
    assert found.value <= losses.min() + 1e-12
    assert found.value >= losses.min() - 1e-2
    assert np.abs(found.policy - policies[losses.argmin()]).max() < 0.03


def test_a_far_branch_may_be_better_than_the_near_one():
    p, q, reference = np.array([0.02, 0.93, 0.05]), np.array([0.08, 0.62, 0.3]), np.array([0.8, 0.17, 0.03])
    found = fixed_constant_optimum("bco", p, q, reference, 0.4)
    assert found.candidates == 3  # the near branch, and two that one far branch has
    assert found.value == pytest.approx(descend("bco", p, q, reference, 0.4, 8), abs=1e-9)


@pytest.mark.parametrize(
    ("name", "kl_beta"),
    [("bco", 1e-3), ("hellinger", 1e-3), ("alpha:0.5", 1e-4), ("hellinger", 300.0), ("kl", 1e4), ("reverse_kl", 3e3)],
)
@pytest.mark.parametrize("instance", FIXED)
def test_fixed_constants_at_the_ends_of_kl_beta(name, kl_beta, instance):
    """Where e^{−r/kl_beta}, or the slope of a far reward, is near the end of float64 or beyond it."""
    p, q, reference = fixed_instance(instance)
    found = fixed_constant_optimum(name, p, q, reference, kl_beta)
    gradient = kl_beta * loss_gradient(name, found.rewards, p, q)
    np.testing.assert_allclose(gradient, found.multiplier * found.policy, atol=1e-8 * abs(found.multiplier))


def test_one_response_with_all_the_mass():
    """Its mass π_ref·e^{−log π_ref} is just below one for some references; the other response is as if alone."""
    p, q, kl_beta = np.array([0.9, 0.1]), np.array([0.01, 0.99]), 0.01
    for reference in ([part / 100, 1 - part / 100] for part in range(1, 100)):
        found = fixed_constant_optimum("bco", p, q, reference, kl_beta)
        rewards = np.array([-kl_beta * np.log(reference[0]), np.log(p[1] / q[1])])
        assert found.value == pytest.approx(population_loss("bco", rewards, p, q), abs=1e-12)


def test_the_instances_are_what_their_names_say():
    p, q, reference = fixed_instance("too little mass")
    for name in ("hellinger", "bco"):
        assert fixed_constant_optimum(name, p, q, reference, 1.0).multiplier > 0
        assert fixed_constant_optimum(name, *fixed_instance("two ratios"), 1.0).multiplier < 0


def test_mass_that_no_data_mention_is_free():
    """An outcome outside both laws takes what the unconstrained minimiser leaves, nothing where it asks for more."""
    p, q = np.array([0.3, 0.7, 0.0, 0.0]), np.array([0.6, 0.4, 0.0, 0.0])
    reference = np.array([0.3, 0.1, 0.4, 0.2])
    found = fixed_constant_optimum("bco", p, q, reference, 1.0)
    np.testing.assert_allclose(found.policy[:2], reference[:2] * np.array([0.5, 1.75]), rtol=1e-12)
    np.testing.assert_allclose(found.policy[2:], (1 - found.policy[:2].sum()) * np.array([2 / 3, 1 / 3]), rtol=1e-12)
    assert found.value == pytest.approx(minimum("bco", p, q), abs=1e-12)
    crowded = fixed_constant_optimum("bco", p, q, np.array([0.1, 0.8, 0.06, 0.04]), 1.0)
    assert crowded.policy[2:].tolist() == [0.0, 0.0]
    assert crowded.multiplier < 0


# Several prompts.


@pytest.mark.parametrize(
    ("p", "q", "reference", "kl_beta"),
    [(P, Q, REFERENCE, 0.5), ([0.02, 0.98], [0.5, 0.5], [0.9, 0.1], 0.05), ([0.9, 0.1], [0.3, 0.7], [0.2, 0.8], 0.02)],
)
def test_one_prompt_reaches_the_bound(p, q, reference, kl_beta):
    """One constant is always equal to itself; at small kl_beta one response has nearly all the mass."""
    found = kldo_normalised_minimum([p], [q], [reference], kl_beta)
    assert found.gap == pytest.approx(0.0, abs=1e-10)
    assert found.bound == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(found.policy[0], aligned_policy("kldo", p, q, reference, kl_beta).policy, rtol=1e-5)


def test_equal_constants_close_the_gap():
    """The same tables under two prompts: c_x are equal, whatever the common prompt law."""
    law = np.array([[0.3], [0.7]])
    p, q, reference = law * P, law * Q, np.array([REFERENCE, REFERENCE])
    constants = prompt_constants(p, q, reference, 0.5)
    assert constants[0] == pytest.approx(constants[1], abs=1e-14)
    assert kldo_gap_bound(p, q, reference, 0.5) == pytest.approx(0.0, abs=1e-12)
    assert kldo_normalised_minimum(p, q, reference, 0.5).gap == pytest.approx(0.0, abs=1e-10)


@pytest.mark.parametrize("kl_beta", [1e-3, 1.0, 1e8, 1e14])
def test_constants_keep_their_digits_at_any_kl_beta(kl_beta):
    """−kl_beta·log Σ π_ref e^{log R/kl_beta} in 60 digits; at a large kl_beta nearly −E_ref log R."""
    with workdps(60):
        ratios = [log(mpf(p) / mpf(q)) for p, q in zip(P, Q, strict=True)]
        total = sum(mpf(w) * expm1(x / kl_beta) for w, x in zip(REFERENCE, ratios, strict=True))
        expected = float(-kl_beta * log(1 + total))
    assert prompt_constants([P], [Q], [REFERENCE], kl_beta)[0] == pytest.approx(expected, rel=1e-13)
    assert aligned_policy("bco", P, Q, REFERENCE, kl_beta).shift == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kl_beta", [0.5, 2.0])
def test_the_gap_lies_between_zero_and_its_bound(shared, kl_beta):
    p, q, reference = example_prompts(2, 3, shared=shared)
    found = kldo_normalised_minimum(p, q, reference, kl_beta)
    assert 1e-4 < found.gap < found.bound
    np.testing.assert_allclose(found.policy.sum(axis=1), 1.0, atol=1e-12)
    assert found.value == pytest.approx(found.gap - kl(p.ravel(), q.ravel()), abs=1e-12)
    rng = np.random.default_rng(3)
    for _ in range(200):  # no policy nearby or far is better
        logits = np.log(found.policy) + rng.choice([0.01, 0.3, 2.0]) * rng.normal(size=p.shape)
        policy = np.exp(log_softmax(logits, axis=1))
        assert kldo_global(policy, p, q, reference, kl_beta) >= found.value - 1e-12


@pytest.mark.parametrize(
    ("p", "q", "reference", "kl_beta"),
    [
        (
            [[0.53, 0.002], [0.467, 0.001]],
            [[0.4594, 0.5312], [0.0065, 0.0029]],
            [[0.0082, 0.9918], [0.9965, 0.0035]],
            0.3,
        ),
        ([[0.89, 0.05], [0.05, 0.01]], [[0.09, 0.28], [0.38, 0.25]], [[0.03, 0.97], [0.11, 0.89]], 0.3),
        ([[0.01, 0.12], [0.85, 0.02]], [[0.35, 0.49], [0.06, 0.1]], [[0.78, 0.22], [0.06, 0.94]], 0.5),
        ([[0.19, 0.01], [0.07, 0.73]], [[0.01, 0.03], [0.13, 0.83]], [[0.16, 0.84], [0.37, 0.63]], 0.2),
    ],
)
def test_the_best_of_several_local_minima(p, q, reference, kl_beta):
    """Two prompts of two responses, against a grid of both logits; of the last three descent first finds a worse."""
    p, q, reference = np.array(p), np.array(q), np.array(reference)
    logits = np.linspace(-14.0, 14.0, 561)
    logs = -np.logaddexp(0.0, np.stack([-logits, logits], axis=-1))  # (561, 2)
    terms = [(-(r @ p[x]), np.exp(r) @ q[x]) for x in (0, 1) for r in [kl_beta * (logs - np.log(reference[x]))]]
    losses = terms[0][0][:, None] + terms[1][0] + np.log(terms[0][1][:, None] + terms[1][1])
    found = kldo_normalised_minimum(p, q, reference, kl_beta)
    assert losses.min() - 1e-3 < found.value <= losses.min() + 1e-12


def test_the_bound_is_the_loss_of_the_tilted_policy():
    p, q, reference = example_prompts(3, 4)
    for kl_beta in (0.3, 1.0, 4.0):
        policy = reference * (p / q) ** (1 / kl_beta)
        policy /= policy.sum(axis=1, keepdims=True)
        excess = kldo_global(policy, p, q, reference, kl_beta) + kl(p.ravel(), q.ravel())
        assert excess == pytest.approx(kldo_gap_bound(p, q, reference, kl_beta), abs=1e-12)


def test_one_log_per_prompt():
    p, q, _ = example_prompts(3, 4, shared=True)
    assert per_prompt_minimum(p, q) == pytest.approx(-kl(p.ravel(), q.ravel()), abs=1e-13)
    p, q, _ = example_prompts(3, 4)
    prompts = kl(p.sum(axis=1), q.sum(axis=1))
    assert per_prompt_minimum(p, q) == pytest.approx(-kl(p.ravel(), q.ravel()) + prompts, abs=1e-13)


@pytest.mark.parametrize("kl_beta", [1e-9, 1e-16])
def test_an_aligned_policy_of_a_small_kl_beta_is_a_law(kl_beta):
    found = aligned_policy("kldo", [0.4, 0.4, 0.2], [0.1, 0.1, 0.8], [0.3, 0.5, 0.2], kl_beta)
    np.testing.assert_allclose(found.policy, [0.375, 0.625, 0.0], rtol=1e-13)
    assert found.shift == pytest.approx(-math.log(4.0) - kl_beta * math.log(0.8), rel=1e-14)


@pytest.mark.parametrize(
    "instance", FIXED
)  # one whose losses are convex where the optimum lies, one where they are not
@pytest.mark.parametrize("name", ["kl", "bco"])
def test_a_search_that_ends_beside_its_root_is_an_error(name, instance, monkeypatch):
    monkeypatch.setattr(policies, "_zero", lambda function, low, high: 0.7 * low + 0.3 * high)
    with pytest.raises(CertificateError, match="fixed-constant optimum"):
        fixed_constant_optimum(name, *fixed_instance(instance), 1.0)
