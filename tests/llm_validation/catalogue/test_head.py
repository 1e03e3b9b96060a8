"""The normaliser under a head that is not trained, against the sum of all rows but those below a node."""

from __future__ import annotations

import pytest
import torch

from llm_validation.catalogue import head


def whole(states, rows, below):
    """log Σ e^{s·w} of every node by one sum over its other rows, and its gradient in the states."""
    states = states.detach().requires_grad_()
    sums = []
    for state, own in zip(states, below.tolist(), strict=True):
        others = [i for i in range(len(rows)) if i not in own]
        sums.append(torch.logsumexp(rows[others] @ state, 0))
    value = torch.stack(sums)
    return value.detach(), torch.autograd.grad(value.sum(), states)[0]


@pytest.fixture
def some(monkeypatch):
    monkeypatch.setattr(head, "ROWS", 4)  # eleven rows, in three parts
    torch.manual_seed(0)
    states, rows = torch.randn(3, 5, dtype=torch.float64), torch.randn(11, 5, dtype=torch.float64)
    return states, rows, torch.tensor([[0, 4, -1], [10, 3, 7], [5, -1, -1]])


def test_sums_over_parts_of_the_rows_are_one_sum(some):
    for scale in (1.0, 60.0):  # the largest part comes first, or last
        states, rows, below = some[0] * scale, some[1], some[2]
        value, mean = head.log_sum(states, rows, below)
        expected, gradient = whole(states, rows, below)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(mean, gradient)


@pytest.mark.parametrize("likely", [0.0, 0.05, 0.3])
def test_likely_rows_and_the_others_are_all_rows(some, monkeypatch, likely):
    monkeypatch.setattr(head, "LIKELY", max(likely, 1e-300))
    states, rows, below = some
    kept, place, rest = head._divided(states, rows, below)
    law = torch.softmax(states @ rows.T, 1).amax(0)
    named = set(below[below >= 0].tolist())
    assert len(kept) == sum(float(p) >= likely or i in named for i, p in enumerate(law))
    assert len(kept) + len(rest) == len(rows)
    for own, places in zip(below.tolist(), place.tolist(), strict=True):
        for row, at in zip(own, places, strict=True):
            assert at == -1 if row == -1 else torch.equal(kept[at], rows[row])
    expected, gradient = whole(states, rows, below)
    leaf = states.clone().requires_grad_()
    found = head.Others(rows)(leaf, below)
    torch.testing.assert_close(found.detach(), expected)
    torch.testing.assert_close(torch.autograd.grad(found.sum(), leaf)[0], gradient)


def test_between_two_sums_the_rest_is_followed_along_its_gradient(some, monkeypatch):
    monkeypatch.setattr(head, "LIKELY", 0.3)
    states, rows, below = some
    others = head.Others(rows)
    others(states.clone().requires_grad_(), below)
    moved = states + 1e-3 * torch.randn_like(states)
    followed = others(moved.clone().requires_grad_(), below)
    torch.testing.assert_close(followed.detach(), whole(moved, rows, below)[0], atol=1e-4, rtol=0)
    assert not torch.equal(followed.detach(), whole(states, rows, below)[0])
    torch.testing.assert_close(others(moved, below), whole(moved, rows, below)[0])  # all are, without a gradient
