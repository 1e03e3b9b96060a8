"""The edit process over a model's own answers, and what of a corrector its rows notice."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from llm_validation.catalogue.texts import Encoded
from llm_validation.runs import real_correction as rc
from llm_validation.runs.correction import of_its_bound
from theory.correction.composition import floors

P, A = 3, 4


@pytest.fixture(scope="module")
def process():
    law = np.random.default_rng(0).dirichlet(np.full(A, 0.3), P)
    return rc.edits(SimpleNamespace(seed=0, on_catalogue=law))


def test_worse_answers_are_replaced_more_often_and_by_better_ones(process):
    assert process.joint.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(np.sort(process.utilities), np.tile(np.linspace(0.0, 1.0, A), (P, 1)))
    for kernel, value in zip(process.kernels, process.utilities, strict=True):
        order = np.argsort(value)
        np.testing.assert_allclose(kernel.sum(axis=1), 1.0)
        assert (np.diff(np.diag(kernel)[order]) > 0).all()
        worst = kernel[order[0], order]
        assert (np.diff(worst[1:]) > 0).all()


def test_the_process_itself_is_at_its_floors_and_a_corrector_that_copies_is_not(process):
    exact = floors(np.full(P, 1 / P), process.upstream, process.kernels)
    found = {row.check: row.value for row in rc._floors(process, process.kernels, (exact.aligner, exact.sft))}
    assert found["real_aligner"] == found["real_sft"] == 1.0
    assert found["real_difference"] == pytest.approx(0.0, abs=1e-12)
    assert found["real_naive_gap"] == pytest.approx(0.0, abs=1e-12)
    own, upstream = process.kernels, process.upstream
    still = [
        *rc._rounds(process, own, upstream),
        *rc._unchanged(process, own),
        *rc._stacked(process, own, upstream, "own"),
    ]
    assert [row.value for row in still] == [0.0] * len(still)
    copies = 0.9 * np.eye(A) + 0.1 / A + np.zeros((P, A, A))
    law, gain, transfer = (row.value for row in rc._stacked(process, copies, process.upstream, "own"))
    assert law > 0.1
    assert gain < -0.05
    assert 0.0 < transfer <= 1.0
    bounds = []
    for trained, K, M, u in zip(upstream, own, copies, process.utilities, strict=True):
        excess = sum(trained[o] * (K[o] * np.log(K[o] / M[o])).sum() for o in range(A))
        bounds.append(np.ptp(u) * min(1.0, np.sqrt(excess / 2.0)))  # on the law of training itself: coverage 1
    assert transfer == pytest.approx(abs(gain) / np.mean(bounds))
    assert rc._unchanged(process, copies)[0].value > 0.2


def test_a_corrector_reads_prompt_answer_and_mark():
    encoded = Encoded(((1, 2), (3,)), (((4, 9), (5, 9)), ((6, 9), (7, 9))))
    contexts = rc.corrector_contexts(encoded, SimpleNamespace(encode=lambda _, add_special_tokens: [8]))
    assert contexts.prompts == ((1, 2, 4, 9, 8), (1, 2, 5, 9, 8), (3, 6, 9, 8), (3, 7, 9, 8))
    assert contexts.responses[1] == encoded.responses[0]
    assert contexts.responses[2] == encoded.responses[1]


@pytest.mark.parametrize(
    ("error", "bound", "expected"),
    [(0.0, 0.0, 0.0), (-1e-17, 0.0, 0.0), (0.02, 0.0, np.inf), (-0.02, 0.05, 0.4), (0.1, 0.05, 2.0)],
)
def test_an_exact_corrector_uses_nothing_of_its_bound(error, bound, expected):
    assert of_its_bound(error, bound) == pytest.approx(expected)


def test_tables_that_are_counted_from_the_triples_are_at_their_floors(monkeypatch, rng):
    """In place of training: the law of corrections given context, of a million triples; a hundredth is off."""
    logs = np.log(rng.dirichlet(np.full(A, 2.0), rc.PROMPTS))

    def learnt(_, encoded, counts, name):
        law = counts / counts.sum(axis=-1, keepdims=True)
        return np.log(np.column_stack([0.99 * np.maximum(law, 1e-12), np.full(len(law), 0.01)]))

    still = np.exp(logs)
    for name, value in {
        "_learnt": learnt,
        "corrector_contexts": lambda *_: None,
        "_other_temperatures": lambda _: dict.fromkeys(rc.TEMPERATURES, still),
        "_aligned": lambda _: still,
    }.items():
        monkeypatch.setattr(rc, name, value)
    reference = SimpleNamespace(seed=0, on_catalogue=still, encoded=None)
    reference.part = lambda _: reference
    rows = rc.correction(reference, None)
    process = rc.edits(reference)
    at = {row.check: row.value for row in rows}
    bounds = floors(np.full(rc.PROMPTS, 1 / rc.PROMPTS), process.upstream, process.kernels)
    assert at["real_aligner"] == pytest.approx(1.0 - np.log(0.99) / bounds.aligner, rel=2e-3)
    assert at["real_sft"] == pytest.approx(1.0 - np.log(0.99) / bounds.sft, rel=2e-3)
    assert at["real_difference"] == pytest.approx(0.0, abs=2e-3)
    assert at["real_off"] == pytest.approx(0.01)
    assert at["real_excess"] < 0.0  # the bound holds, with room
    for check in ("real_law", "real_gain", "real_utility", "real_unchanged"):
        assert all(abs(row.value) < 3e-3 for row in rows if row.check == check), check


def test_laws_are_apart_by_half_their_absolute_difference_and_excesses_by_their_sides(process):
    copies = 0.9 * np.eye(A) + 0.1 / A + np.zeros((P, A, A))
    law = next(row.value for row in rc._stacked(process, copies, process.upstream, "own"))
    laws = zip(process.upstream, process.kernels, copies, strict=True)
    assert law == pytest.approx(np.mean([np.maximum(pi @ K - pi @ M, 0.0).sum() for pi, K, M in laws]))
    excess = next(row.value for row in rc._floors(process, copies, (1.0, 1.0)) if row.check == "real_excess")
    sides = []
    for pi, K, M in zip(process.upstream, process.kernels, copies, strict=True):
        composed = -(pi @ K) @ np.log(pi @ M)  # of corrections alone
        correction = -sum(pi[o] * K[o] @ np.log(M[o]) for o in range(A))
        sides.append(composed - correction + pi @ np.log(pi))
    assert excess == pytest.approx(max(sides))


def test_the_objective_of_corrections_is_their_cross_entropy():
    counts, logs = np.array([[0.2, 0.3], [0.1, 0.4]]), torch.log(torch.tensor([[0.5, 0.4, 0.1], [0.2, 0.6, 0.2]]))
    loss = rc._cross_entropy(SimpleNamespace(tensor=torch.tensor), counts)(0, logs.double())
    expected = -(0.2 * np.log(0.5) + 0.3 * np.log(0.4) + 0.1 * np.log(0.2) + 0.4 * np.log(0.6))
    assert float(loss) == pytest.approx(expected, rel=1e-6)
