"""Experiments of divergences: every check would see a wrong formula."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from simulate.divergences.pairing import least_excess
from simulate.divergences.samples import draw, fit_pairs
from simulate.montecarlo import Estimate, generator
from simulate.profiles import PROFILES
from tests.oracles.experiments import CHECKS, broken, judged, measure
from theory.divergences import losses, policies, prompts, safety_data, samples
from theory.divergences.predictions import prompts_bound
from theory.divergences.safety_data import example_pair
from theory.policy import kl_estimators


def scaled(loss: losses.Loss) -> losses.Loss:
    """The loss with a divergence that is one per cent too large."""
    return dataclasses.replace(loss, divergence=lambda p, q: 1.01 * loss.divergence(p, q))


@pytest.mark.parametrize(
    ("claim", "name"), [("V1", "kldo"), ("V2", "kto"), ("V3", "bco"), ("V4", "dpo"), ("V5", "kl"), ("V6", "hellinger")]
)
def test_a_wrong_divergence_is_caught(monkeypatch, claim, name):
    key = f"{claim}.minimum"
    setting = next(s for s in CHECKS[key].settings if s["name"] == name)
    found = measure(key, setting)
    assert judged(CHECKS[key], setting, found) == "agrees"
    monkeypatch.setitem(losses.LOSSES, name, scaled(losses.LOSSES[name]))
    assert judged(CHECKS[key], setting, found) == "disagrees"


@pytest.mark.parametrize(
    ("key", "module", "function", "amount"),
    [
        ("V7.aligned", policies, "log_consistency", np.array([0.01, 0.0, 0.0, 0.0, 0.0])),
        ("V8.bco_shift", prompts, "prompt_constants", 1e-3),
        ("V8.tilted", prompts, "kldo_gap_bound", 1e-6),
        ("V8.per_prompt", prompts, "per_prompt_minimum", 1e-6),
        ("V9.threshold", samples, "minibatch_threshold", 1.0),
        ("V10.gap", safety_data, "data_gap", 1e-6),
        ("V13.mean", kl_estimators, "estimator_moments", np.array([0.01, 0.0])),
        ("V13.variance", kl_estimators, "estimator_moments", np.array([0.0, 0.01])),
        ("V13.as_reward", kl_estimators, "estimator_gradient", 0.01),
        ("V13.as_loss", kl_estimators, "estimator_gradient", 0.01),
    ],
)
def test_a_wrong_formula_is_caught(monkeypatch, key, module, function, amount):
    setting = CHECKS[key].settings[0]
    found = measure(key, setting)
    assert judged(CHECKS[key], setting, found) == "agrees"
    wrong = lambda right: lambda *arguments, **options: right(*arguments, **options) + amount
    assert judged(broken(monkeypatch, key, module, function, wrong), setting, found) == "disagrees"


def test_a_wrong_gap_is_caught():
    setting = CHECKS["V8.gap"].settings[0]
    found = measure("V8.gap", setting)
    assert judged(CHECKS["V8.gap"], setting, found) == "agrees"
    assert judged(CHECKS["V8.gap"], setting, Estimate(prompts_bound(**setting))) == "disagrees"
    assert judged(CHECKS["V8.gap"], setting, Estimate(0.0)) == "disagrees"


def test_pairs_are_fitted_to_a_stationary_point():
    p, q = example_pair(4, 1.0)
    rng = generator(0, "pairs")
    wins = rng.multinomial(5000, np.outer(p, q).ravel(), size=3).reshape(3, 4, 4) / 5000
    for table, rewards in zip(wins, fit_pairs(wins), strict=True):
        chance = 1 / (1 + np.exp(-(rewards[:, None] - rewards[None, :])))
        np.testing.assert_allclose((table - (table + table.T) * chance).sum(axis=1), 0.0, atol=1e-12)


def test_samples_minimise_their_loss():
    p, q = example_pair(4, 1.0)
    for name in ("kldo", "bco", "dpo", "kto"):
        drawn = draw(name, p, q, 3000, 20, generator(0, name))
        assert (drawn.minimum <= drawn.at_optimum + 1e-12).all()
    with pytest.raises(ValueError, match="misses a response"):
        draw("bco", p, q, 2, 5, generator(0, "few"))


def test_infinite_gaps_are_infinite():
    setting = CHECKS["V10.disjoint"].settings[0]
    assert CHECKS["V10.disjoint"].predict(setting) == math.inf
    assert measure("V10.disjoint", setting).value == math.inf


def test_pairs_cost_nothing_where_both_laws_are_the_same():
    """Equality of the covariances: their difference is zero along every direction, of either sign in a sample."""
    found = least_excess(0.0, 4, rng=generator(0, "excess"), profile=PROFILES["smoke"])
    assert abs(found.value) < 4 * found.stderr < 0.01
