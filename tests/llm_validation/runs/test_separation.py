"""Separation and KLDO's normaliser on tables, whose representations are the logits themselves."""

from __future__ import annotations

import numpy as np
import pytest

from llm_validation.claims.settings import SAFETY_PROMPTS
from llm_validation.runs import separation
from llm_validation.runs.separation import SAFETY_FLOOR, SAFETY_OVERLAP, safety_data
from llm_validation.training.schedule import Schedule
from tests.oracles.tabular_reference import tabular_reference, wrong
from theory.divergences.safety_data import example_safety


def test_every_law_keeps_the_floor_and_the_rest_is_a_prompt_s_of_the_example():
    data, example = safety_data(), example_safety(SAFETY_OVERLAP)
    assert data.safe.tolist() == [True] * SAFETY_PROMPTS + [False] * SAFETY_PROMPTS
    np.testing.assert_allclose(data.prompts, 1.0 / data.safe.size)
    for name in ("preferred", "rejected", "refusal", "weak"):
        found, own = getattr(data, name), getattr(example, name)
        np.testing.assert_allclose(found.sum(axis=1), 1.0)
        unfloored = (found - SAFETY_FLOOR / found.shape[1]) / (1.0 - SAFETY_FLOOR)
        distance = np.abs(unfloored[:, None] - own).max(axis=2) + (data.safe[:, None] != example.safe)
        np.testing.assert_allclose(distance.min(axis=1), 0.0, atol=1e-12)


@pytest.fixture
def reference(monkeypatch):
    data = safety_data()
    law = 0.9 * np.random.default_rng(0).dirichlet(np.full(5, 20.0), data.safe.size)
    monkeypatch.setattr(separation, "representations", lambda model, _: model.logits.detach().numpy()[:, :-1])
    monkeypatch.setattr(separation, "log_policy", lambda model, _: model.log_policy)
    return tabular_reference(np.log(np.column_stack([law, 1.0 - law.sum(axis=1)])), Schedule(100, 0.3, record=50))


def test_what_is_read_off_both_kinds_of_data_is_their_divergence(reference):
    rows = separation.separation(reference)
    assert not {check for check in wrong(rows, {}) if check.startswith("V10")}
    found = {
        (row.check, row.setting.get("data")): row.value for row in rows if row.setting.get("name") in (None, "bco")
    }
    assert found["reference", None] == separation.log_separation(reference.log_law[:, :-1], safety_data().safe)[0]
    assert min(row.value for row in rows if row.check == "grows") > 0.0
    apart = found["grows", "cr"] - found["grows", "preference"]
    assert found["cr_separates_more", None] == pytest.approx(apart)


def test_the_official_normaliser_turns_the_rejected_term_round(reference):
    assert not wrong(separation.normaliser(reference), {"trained_factor": 1e-3})
