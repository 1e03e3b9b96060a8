"""Runs whose policies are tables: what is trained, predicted and read off agree to many digits, with no model between.

A transformer's rows leave room for its capacity and its optimiser. Of a table there is none: a weight, a target or a
reading that is a few per cent off shows.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from llm_validation.catalogue.reference import conditional, total_variation
from llm_validation.claims.settings import POOLED_SHARE, RDRO_ALPHA
from llm_validation.runs import density_ratio, people, proximal, real, reward_fit, unpaired
from llm_validation.runs.run import MAIN
from llm_validation.runs.table import RUNS
from llm_validation.training.schedule import Schedule
from simulate.people.population import SURVEY_NAME, survey_people
from tests.oracles.tabular_reference import shared_reference, tabular_reference, wrong

#: Of which some runs take little more than half.
SCHEDULE = Schedule(steps=480, rate=0.2, record=80)
#: Runs that also read hidden states, or start from other weights.
OF_A_MODEL = {"reproducibility", "held_out", "displacement", "dpo one word"}
#: The most that these are from their predictions; others that should equal theirs, a third of their resolution.
LIMITS = {
    "mean_tv": 2e-3, "worst_tv": 5e-3, "minibatch_tv": 1e-2, "sampled_tv": 5e-3, "trained_constant": 1e-6,
    "to_plus": 3e-3, "trained_loss": 1e-6, "dpo_tv": 1e-3, "real_error": 1e-4, "real_slope": 1e-4,
    "real_levels": 1e-4, "real_gap": 1e-3, "real_tv": 1e-4, "real_held_out": 3e-3,
}  # fmt: skip
#: Slopes that probabilities of responses and off decide which fall as slowly as the exact gradient shrinks with them.
SLOW = {"D12.slope", "D9.slope", "D15.slope"}


@pytest.fixture(autouse=True, scope="module")
def float64():
    """Running means and constants that a run begins itself."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(scope="module")
def shared():
    return shared_reference(0, SCHEDULE)


@pytest.mark.parametrize("run", [run for run in RUNS if run.catalogue == MAIN and run.name not in OF_A_MODEL],
                         ids=lambda run: run.name)  # fmt: skip
def test_a_table_ends_where_theory_has_it(run, shared, monkeypatch):
    monkeypatch.setattr(proximal, "_dpo_on_the_same_pairs", lambda *_: [])  # from two policies of a model
    rows = list(run.measure(shared.part(run.prompts)))
    assert rows
    assert not {check for check in wrong(rows, LIMITS) if check.split()[0] not in SLOW}


@pytest.mark.parametrize("name", [name for name in real.RUNS if name not in OF_A_MODEL])
def test_a_table_of_rare_responses_ends_where_theory_has_it(name, rng):
    """Laws as a model has them that others trained: responses of e^−10 to e^−30, off nearly everything."""
    logs = -rng.uniform(10.0, 30.0, (8, 6))
    off = np.log1p(-np.exp(logs).sum(axis=1))
    rows = real.RUNS[name](tabular_reference(np.column_stack([logs, off]), SCHEDULE))
    assert not {check for check in wrong(rows, LIMITS) if "real_unlabelled" not in check}  # which features move


def test_the_gradient_along_the_path_is_the_loss_s(shared):
    """Of p⁺: −σ(−r) by DDRO; by RDRO at α = ½, −σ(−r) + ½σ(r), which is 0 at the cap log 2."""
    run = next(run for run in RUNS if run.name == "density_ratio")
    found = {
        (row.check, row.setting["method"], row.setting["step"]): row.value
        for row in run.measure(shared.part(run.prompts)) if row.check in ("trained_path", "trained_gradient")
    }  # fmt: skip
    ratios = {at[1:]: torch.tensor(r, requires_grad=True) for at, r in found.items() if at[0] == "trained_path"}
    assert len(ratios) == 2 * 7
    for (method, step), r in ratios.items():
        rejected = torch.nn.functional.softplus(r) if method == "rdro" else 0.0 * r
        (gradient,) = torch.autograd.grad(torch.nn.functional.softplus(-r) + RDRO_ALPHA * rejected, r)
        assert found["trained_gradient", method, step] == pytest.approx(float(gradient), abs=1e-9)


def test_the_bias_of_pooled_weights_is_over_that_of_class_means(shared):
    run = next(run for run in RUNS if run.name == "density_ratio")
    part = shared.part(run.prompts)
    found = {(row.claim, row.check): row.value for row in run.measure(part)}
    classes, place = unpaired.draw(part), density_ratio.PLACE["on_mixture"]
    pooled = conditional(unpaired.constrained_policies(part, classes, RDRO_ALPHA, POOLED_SHARE))
    away = total_variation(pooled, classes.chosen_law)[place]
    assert found["R5", "trained_bias"] == pytest.approx(away - found["R2", "to_plus"], abs=1e-4)


def test_tables_of_people_reach_the_distortion_of_their_predictions(rng):
    crowd, betas = survey_people(), (1.0, 5.0, 10.0)
    law = np.column_stack([0.995 * rng.dirichlet(np.full(crowd.n_items, 20.0), len(betas)), np.full(len(betas), 0.005)])
    context = SimpleNamespace(people=crowd, profile=SimpleNamespace(betas=betas), about={"population": SURVEY_NAME})
    rows = people.aligned_to_people(tabular_reference(np.log(law), SCHEDULE), context)
    assert len(rows) == 2 * len(betas) * 3
    assert not wrong(rows, {"trained": 2e-3})


def test_the_loss_of_a_reward_model_is_the_mean_of_prompts(shared, rng):
    """log 2 at equal rewards, whatever the comparisons; in the end that of the maximum-likelihood rewards."""
    utilities = rng.normal(size=(len(shared.log_law), 8))
    P = 1.0 / (1.0 + np.exp(utilities[:, None, :] - utilities[:, :, None]))
    Q = rng.random(P.shape)
    Q = (Q + Q.transpose(0, 2, 1)) * (1.0 - np.eye(8))
    found = reward_fit.fit_reward_model(shared, P, Q)
    assert found.loss[0] == pytest.approx(np.log(2.0))
    Q /= Q.sum(axis=(1, 2), keepdims=True)
    assert found.loss[-1] == pytest.approx(-(Q * 2.0 * P * np.log(P + np.eye(8))).sum(axis=(1, 2)).mean(), rel=1e-6)
    best = utilities - utilities.max(axis=1, keepdims=True)
    np.testing.assert_allclose(found.rewards, best, atol=1e-3)
