"""Bootstrapping by preference pairs on the smallest model: which method takes which step."""

from __future__ import annotations

import pytest
import torch

from llm_validation.aligner.edit_process import UPSTREAM, edit_problem, product_laws
from llm_validation.catalogue.reference import fit_reference
from llm_validation.catalogue.texts import Encoded
from llm_validation.model.model import build
from llm_validation.runs.correction_bootstrap import by_pairs
from llm_validation.text.corpus import train_tokenizer
from llm_validation.text.language import STORIES
from llm_validation.training.schedule import Schedule
from simulate.montecarlo import generator
from theory.correction import bootstrap


@pytest.fixture(scope="module")
def upstream():
    tokenizer = train_tokenizer(STORIES.sample(generator(0, "documents"), 1000), 512)
    problem = edit_problem(tokenizer, 128)
    model = build("smoke", len(tokenizer), 128, seed=0)
    encoded = Encoded(problem.prompts, problem.answers)
    fit_reference(model, encoded, product_laws(UPSTREAM["weak"]), Schedule(steps=200, rate=1e-2), torch.device("cpu"))
    return model, problem


def test_ddro_takes_one_round_where_rdro_and_dpo_go_elsewhere(upstream, monkeypatch):
    model, problem = upstream
    schedule = Schedule(steps=200, rate=3e-3)
    rows = {
        (m.check, m.setting["method"]): m.value for m in by_pairs(model, problem.process.kernels, problem, schedule, 0)
    }
    assert rows["llm_pairs_limit", "ddro"] < 0.05
    assert rows["llm_pairs_composed", "ddro"] < 0.05
    assert rows["llm_pairs_limit", "rdro"] < 0.05
    assert rows["llm_pairs_limit", "dpo"] < 0.1
    assert rows["llm_pairs_composed", "rdro"] > 0.15
    assert rows["llm_pairs_composed", "dpo"] > 0.3
    right = bootstrap.preference_laws
    monkeypatch.setattr(bootstrap, "preference_laws", lambda pi, K: right(pi, K)[::-1])
    swapped = by_pairs(model, problem.process.kernels, problem, Schedule(steps=60, rate=3e-3), 0)
    assert next(m.value for m in swapped if m.check == "llm_pairs_composed") > 0.2
