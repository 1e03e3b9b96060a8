"""Experiments of V1–V12: every check is measured, agrees at its first setting, and would see a wrong formula."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from simulate.divergences.samples import draw, fit_pairs
from simulate.experiments import EXPERIMENTS
from simulate.montecarlo import Estimate, generator
from simulate.profiles import PROFILES
from theory.claim import Check, Setting, setting_key, verdict
from theory.divergences import losses, policies, prompts, safety_data, samples
from theory.divergences.claims import DIVERGENCES_CLAIMS
from theory.divergences.predictions import prompts_bound
from theory.divergences.safety_data import example_pair

CHECKS = {f"{claim.id}.{check.name}": check for claim in DIVERGENCES_CLAIMS for check in claim.checks}


def measure(key: str, setting: Setting, profile: str = "smoke") -> Estimate:
    return EXPERIMENTS[key](**setting, rng=generator(0, key, setting_key(setting)), profile=PROFILES[profile])


def judged(key: str, setting: Setting, found: Estimate) -> str:
    check: Check = CHECKS[key]
    return verdict(check, check.predict(setting), found.value, found.stderr)


@pytest.mark.parametrize("key", CHECKS)
def test_the_first_setting_agrees(key):
    setting = CHECKS[key].settings[0]
    assert judged(key, setting, measure(key, setting)) in ("agrees", "inconclusive")


@pytest.mark.parametrize(
    "key",
    ["V9.bias", "V9.log_mean_exp", "V9.leave_one_out", "V9.moving_average", "V9.estimate", "V9.stderr", "V10.sampled",
     "V11.rank_interval"],
)  # fmt: skip
def test_sampled_checks_are_conclusive_at_full_effort(key):
    setting = CHECKS[key].settings[-1]
    assert judged(key, setting, measure(key, setting, "cpu")) == "agrees"


def test_the_same_seed_gives_the_same_number():
    setting = CHECKS["V9.bias"].settings[0]
    assert measure("V9.bias", setting) == measure("V9.bias", setting)


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
    assert judged(key, setting, found) == "agrees"
    monkeypatch.setitem(losses.LOSSES, name, scaled(losses.LOSSES[name]))
    assert judged(key, setting, found) == "disagrees"


def shifted(function, amount):
    return lambda *args, **kwargs: function(*args, **kwargs) + amount


@pytest.mark.parametrize(
    ("key", "module", "function", "amount"),
    [
        ("V7.aligned", policies, "log_consistency", np.array([0.01, 0.0, 0.0, 0.0, 0.0])),
        ("V8.bco_shift", prompts, "prompt_constants", 1e-3),
        ("V8.tilted", prompts, "kldo_gap_bound", 1e-6),
        ("V8.per_prompt", prompts, "per_prompt_minimum", 1e-6),
        ("V9.threshold", samples, "minibatch_threshold", 1.0),
        ("V10.gap", safety_data, "data_gap", 1e-6),
    ],
)
def test_a_wrong_formula_is_caught(monkeypatch, key, module, function, amount):
    setting = CHECKS[key].settings[0]
    found = measure(key, setting)
    assert judged(key, setting, found) == "agrees"
    monkeypatch.setattr(module, function, shifted(getattr(module, function), amount))
    assert judged(key, setting, found) == "disagrees"


def test_a_wrong_gap_is_caught():
    setting = CHECKS["V8.gap"].settings[0]
    found = measure("V8.gap", setting)
    assert judged("V8.gap", setting, found) == "agrees"
    assert judged("V8.gap", setting, Estimate(prompts_bound(**setting))) == "disagrees"
    assert judged("V8.gap", setting, Estimate(0.0)) == "disagrees"


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
