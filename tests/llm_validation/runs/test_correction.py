"""All of a seed's corrections with tables for models: what is sampled, computed and predicted agree."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from llm_validation.aligner.aligner import Laws, Triples
from llm_validation.aligner.edit_process import edit_problem
from llm_validation.claims.settings import UPSTREAMS
from llm_validation.model.model import Loaded
from llm_validation.profiles import Correction
from llm_validation.runs import correction
from llm_validation.text.corpus import train_tokenizer
from llm_validation.text.language import STORIES
from simulate.montecarlo import generator
from tests.oracles.tabular_reference import wrong

#: Triples that a table is counted from; answers that are sampled from it.
TRIPLES, SAMPLES = 200_000, 20_000


def counted(base, problem, draw, how, seed, *, sees_original, name, stop_below=0.0):
    """In place of training: the law of corrections given prompt (and original), counted from many triples."""
    triples, (P, A) = draw(generator(seed, "table", name), TRIPLES), problem.process.policies.shape
    table = np.full((P, A, A), 0.1)  # no correction is impossible to a model
    np.add.at(table, (triples.prompt, triples.original, triples.correction), 1.0)
    table = table if sees_original else table.sum(axis=1)
    return table / table.sum(axis=-1, keepdims=True)


def test_upstream_models_are_what_their_names_say(monkeypatch):
    monkeypatch.setattr(correction, "fit", lambda *_, name, **__: name)
    monkeypatch.setattr(correction, "draw_from", lambda *_: None)
    monkeypatch.setattr(correction, "upstream_laws", lambda *_: None)
    problem = SimpleNamespace(process=SimpleNamespace(prompts=None, kernels=np.zeros((2, 16, 16))), n_answers=16)
    found = correction._upstreams(None, "sft", problem, Correction(), 0)
    assert {upstream.name: (upstream.model, upstream.temperature) for upstream in found} == {
        "same law": ("upstream training", 1.0), "cold": ("upstream training", 0.6), "hot": ("upstream training", 1.3),
        "weak": ("upstream weak", 1.0), "weak and hot": ("upstream weak", 1.3), "corrected": ("sft", 1.0),
    }  # fmt: skip
    assert {upstream.name for upstream in found} == set(UPSTREAMS)


def tempered(table: np.ndarray, problem: object, temperature: float = 1.0) -> Laws:
    law = table ** (1.0 / temperature)
    return Laws(law / law.sum(axis=-1, keepdims=True), np.zeros(table.shape[:-1]))


def drawn(laws: np.ndarray, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random((len(laws), 1)) >= laws.cumsum(axis=1)[:, :-1]).sum(axis=1)


def losses(table: np.ndarray, problem: object, triples: Triples, *, sees_original: bool) -> np.ndarray:
    read = (triples.prompt, triples.original) if sees_original else (triples.prompt,)
    return -np.log(np.maximum(table[(*read, triples.correction)], 1e-9))


@pytest.fixture
def measured(monkeypatch):
    tokenizer = train_tokenizer(STORIES.sample(generator(0, "documents"), 1000), 512)
    model = SimpleNamespace(config=SimpleNamespace(max_position_embeddings=128))
    model.to = lambda _: model
    for name, function in {
        "load": lambda _: Loaded(model, tokenizer),
        "edit_problem": lambda *_: edit_problem(tokenizer, 128),
        "fit": counted,
        "corrector_kernels": tempered,
        "upstream_laws": tempered,
        "held_out_losses": losses,
        "sample_upstream": lambda m, problem, prompt, seed, t=1.0: drawn(tempered(m, problem, t).laws[prompt], seed),
        "sample_corrections": lambda m, problem, prompt, original, seed: drawn(m[prompt, original], seed),
        "by_pairs": lambda *_: [],
    }.items():
        monkeypatch.setattr(correction, name, function)
    how = Correction(held_out=20_000, samples=SAMPLES)
    return lambda: correction.measured(
        SimpleNamespace(profile=SimpleNamespace(correction=how), base="", device=None), 0
    )


def test_tables_end_where_theory_has_them(measured):
    rows = measured()
    assert {row.claim for row in rows} == {"A1", "A2", "A3", "A4", "A5", "A6"}
    assert not wrong(rows, {"llm_law": 0.02, "llm_distilled_law": 0.02})
    gains = {row.setting["upstream"]: row.value for row in rows if row.check == "sampled_gain"}
    assert 0.02 < gains["same law"] < gains["weak"]


def test_a_corrector_of_another_rate_is_noticed(measured, monkeypatch):
    """One that was trained on a tenth of identity pairs keeps more, and gains less, than the edits that it is for."""
    lazy = lambda prompts, policies, kernels, identity_share=0.0, draw=correction.draw_from: draw(
        prompts, policies, kernels, max(identity_share, 0.1)
    )
    monkeypatch.setattr(correction, "draw_from", lazy)
    noticed = {check.split(" ")[0] for check in wrong(measured(), {"llm_law": 0.02})}
    assert {"A3.llm_law", "A4.llm_rate", "A5.llm_forgotten"} <= noticed
