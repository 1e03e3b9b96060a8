"""Batches larger than the device's memory are worked through in portions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from llm_validation.model.model import build
from llm_validation.pretraining import pretrain as pretraining
from llm_validation.pretraining.pretrain import pretrain
from llm_validation.text.language import STORIES
from llm_validation.training.memory import Portion, TooLittleMemory, fitting
from tests.llm_validation.pretraining.test_pretrain import SHORT, weights


def small_device(monkeypatch, rows: int) -> None:
    """Models that are built from now on run out of memory with more than so many rows, as on a small GPU."""

    def build_small(*arguments):
        model = build(*arguments)
        forward = model.forward

        def limited(input_ids, **options):
            if len(input_ids) > rows and input_ids.shape[1] > 1:  # texts are written token by token
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return forward(input_ids=input_ids, **options)

        monkeypatch.setattr(model, "forward", limited)
        return model

    monkeypatch.setattr(pretraining, "build", build_small)


def test_a_batch_that_does_not_fit_is_worked_through_in_portions(tmp_path, monkeypatch, capsys):
    """Five rows, where three fit: portions of 2, 2 and 1, from the first step on, and the same weights."""
    config = dataclasses.replace(SHORT, batch=5)
    run = pretrain(config, STORIES, tmp_path / "whole", progress=False)
    assert capsys.readouterr().err == ""
    small_device(monkeypatch, 3)
    portions = pretrain(config, STORIES, tmp_path / "portions", progress=False)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "step 0: too little device memory for 5 rows at a time; again with 2"
    assert said[1] == "held-out loss: too little device memory for 128 rows at a time; again with 64"
    assert said[-1] == "held-out loss: too little device memory for 4 rows at a time; again with 2"
    assert len(said) == 7, "once and for all"
    np.testing.assert_allclose(portions.losses, run.losses, rtol=1e-6)
    for name, value in weights(run).items():
        difference = torch.linalg.norm(weights(portions)[name] - value) / torch.linalg.norm(value)
        assert difference < 1e-6, name  # float32 sums in another order, over 16 steps
    assert portions.held_out == pytest.approx(run.held_out, rel=1e-6)


def test_one_row_that_does_not_fit_ends_the_run(tmp_path, monkeypatch):
    small_device(monkeypatch, 0)
    with pytest.raises(TooLittleMemory, match=r"step 0: a single row does not fit .*Tried to allocate 2\.00 GiB"):
        pretrain(SHORT, STORIES, tmp_path / "model", progress=False)


def test_among_several_processes_nothing_is_repeated():
    def never(rows: int) -> None:
        calls.append(rows)
        raise torch.OutOfMemoryError("too much")

    calls: list[int] = []
    with pytest.raises(TooLittleMemory, match=r"step 3: 8 rows per process do not fit .* smaller batch or more proc"):
        fitting("step 3", Portion(8), never, alone=False)
    assert calls == [8]
