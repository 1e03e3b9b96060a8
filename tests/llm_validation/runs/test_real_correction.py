"""The edit process over a model's own answers, and what of a corrector its rows notice."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

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
