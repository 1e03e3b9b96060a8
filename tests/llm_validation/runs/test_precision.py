"""What TF32 would round is computed in float32, whichever thread of a stack comes first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch

from llm_validation.model.model import full_precision
from llm_validation.runs import displacement, held_out, separation


class Seen(Exception):
    """Raised where work begins, with the precision of products there."""


def begin(*_, **__):
    raise Seen(torch.get_float32_matmul_precision())


class Untouched:
    model = begin


@pytest.fixture(autouse=True)
def tensor_cores(monkeypatch):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    monkeypatch.setattr(held_out, "load", begin)
    monkeypatch.setattr(separation, "safety_data", begin)
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(
    "work",
    [
        lambda: held_out.held_out(type("Context", (), {"base": "none"}), 0),
        lambda: separation.normaliser(Untouched()),
        lambda: displacement.score_products(Untouched()),
        lambda: displacement.small_step(Untouched(), None, None),
    ],
    ids=["P15", "V12", "P16", "P16 small step"],
)
def test_differences_of_what_little_moves_are_no_rounding(work):
    with pytest.raises(Seen, match="highest"):
        work()
    assert torch.get_float32_matmul_precision() == "high"


def test_the_last_thread_to_leave_brings_back_what_was():
    first_left, here = Barrier(2), Barrier(2)

    @full_precision()
    def stay(last: bool) -> str:
        here.wait()
        if last:
            first_left.wait()
        return torch.get_float32_matmul_precision()

    def one(last: bool) -> str:
        found = stay(last)
        if not last:
            first_left.wait()
        return found

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(one, [False, True])) == ["highest", "highest"]
    assert torch.get_float32_matmul_precision() == "high"
