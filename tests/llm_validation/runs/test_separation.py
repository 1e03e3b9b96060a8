"""The data of separation on a trained model: laws, and what the floor does to them."""

from __future__ import annotations

import numpy as np

from llm_validation.claims.settings import SAFETY_PROMPTS
from llm_validation.runs.separation import SAFETY_FLOOR, SAFETY_OVERLAP, safety_data
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
