"""P14 on a language model: what ways of training move under DPO, and what PRO without its regulariser shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from llm_validation.catalogue.reference import Reference, measure_reference
from llm_validation.catalogue.texts import Encoded
from llm_validation.losses import pairs
from llm_validation.model.model import build, save
from llm_validation.runs import reproducibility
from llm_validation.text.corpus import train_tokenizer
from llm_validation.training.schedule import Schedule
from tests.oracles.rows import verdicts


@pytest.fixture(autouse=True)
def fewer_ways(monkeypatch):
    """A rate, another optimiser and prompts in turn. This model's one block alone cannot reach PRO's optimum."""
    ways = reproducibility.CHANGES
    monkeypatch.setattr(reproducibility, "CHANGES", tuple(ways[i] for i in (0, 2, 6, 9)))


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Reference:
    """Three responses of two tokens to each of two prompts, and a model that was never trained."""
    folder = tmp_path_factory.mktemp("reference")
    tokenizer = train_tokenizer(["one two three four"] * 3, 260)
    encoded = Encoded(((3,), (4, 5)), (((6, 1), (7, 1), (8, 1)), ((9, 1), (10, 1), (11, 1))))
    model = build("smoke", len(tokenizer), 32, seed=0)
    law = measure_reference(model, encoded.trie())
    save(model, tokenizer, folder / "model")
    return Reference(folder / "model", encoded, law, torch.device("cpu"), 0, Schedule(steps=300, rate=3e-3))


def test_a_catalogue_of_the_pair_alone_has_the_law_that_the_model_gives_it(reference):
    alone = reproducibility.pair_alone(reference)
    np.testing.assert_allclose(alone.log_law, measure_reference(alone.model(), alone.trie()), atol=1e-5)


def test_dpo_ends_apart_along_what_it_does_not_see_and_pro_does_not(reference):
    found = verdicts(reproducibility.repeated(reference))
    assert found == {f"trained_{name}": {"agrees"} for name in ("pro", "dpo", "ratio", "margin", "flat")}


def test_pro_without_its_regulariser_and_dpo_of_one_outcome_are_noticed(reference, monkeypatch):
    monkeypatch.setattr(reproducibility, "CHANGES", reproducibility.CHANGES[:2])
    pro, dpo = pairs.pro, pairs.dpo
    monkeypatch.setattr(pairs, "pro", lambda *a, alpha, **o: pro(*a, alpha=0.01 * alpha, **o))
    monkeypatch.setattr(pairs, "dpo", lambda *a, weight, **o: dpo(*a, weight=weight * torch.tensor([1.05, 0.95]), **o))
    found = verdicts(reproducibility.repeated(reference))
    assert "disagrees" in found["trained_pro"]
    assert found["trained_ratio"] == found["trained_margin"] == {"disagrees"}
