"""Rows of a trained law against its prediction: a slope that tells half a step from a whole one; an untrained one."""

from __future__ import annotations

import numpy as np
import pytest

from llm_validation.claims.targets import near
from llm_validation.runs.run import law_rows
from theory.claim import verdict


def tilted(reference: np.ndarray, moved: np.ndarray) -> np.ndarray:
    law = reference * np.exp(moved)
    return law / law.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("step", [0.0, 0.5, 0.97, 1.0])
def test_only_a_whole_step_is_near(rng, step):
    reference, moved = rng.dirichlet(np.full(5, 3.0), 4), rng.normal(0.0, 1.0, (4, 5))
    moved -= (reference * moved).sum(axis=1, keepdims=True)
    target, reached = tilted(reference, moved), tilted(reference, step * moved)
    rows = {row.check: row.estimate.value for row in law_rows("D23", {}, reference, reached, target)}
    distance = 0.5 * np.abs(reached - target).sum(axis=1)
    assert [rows["mean_tv"], rows["worst_tv"]] == pytest.approx([distance.mean(), distance.max()])
    assert rows["untrained_tv"] == pytest.approx(0.5 * np.abs(reference - target).sum(axis=1).mean())
    assert rows["slope"] == pytest.approx(step, abs=0.02 + 0.1 * (1 - step))
    x, y, mass = np.log(target / reference).ravel(), np.log(reached / reference).ravel(), (reference + target).ravel()
    assert rows["slope"] == pytest.approx(np.polyfit(x, y, 1, w=np.sqrt(mass))[0])
    judged = {check.name: verdict(check, check.predict({}), rows[check.name], 0.0) for check in near()}
    assert judged["untrained_tv"] == "agrees"
    assert judged["slope"] == ("agrees" if step == 1.0 else "disagrees")


def test_what_is_predicted_to_have_no_mass_is_left_out_of_the_slope():
    reference = np.array([[0.25, 0.25, 0.5]])
    target = np.array([[0.75, 0.25, 0.0]])
    rows = {row.check: row.estimate.value for row in law_rows("R1", {}, reference, target, target)}
    assert rows["slope"] == pytest.approx(1.0)
