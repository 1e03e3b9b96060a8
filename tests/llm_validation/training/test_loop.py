"""The one loop: its schedules, its clip, its guard before and after a step, and how it goes on or ends early."""

from __future__ import annotations

import itertools
import math
import time

import pytest
import torch
from torch import nn

from llm_validation.training.loop import History, TrainingDiverged, _update, adamw, clip_norms, minimise, of_loss
from llm_validation.training.memory import TooLittleMemory
from llm_validation.training.schedule import Schedule

#: Shape of the fall → the rate of peak 1 at step 3 (the last of the warm-up), 53, and 103 (the last).
FALLS = {
    "cosine": (1.0, 0.01 + 0.495 * (1 + math.cos(math.pi * 0.49)), 0.01 + 0.495 * (1 + math.cos(math.pi * 0.99))),
    "cosine to the end": (1.0, 0.505, 0.01),
    "cosine to zero": (
        0.5 * (1 + math.cos(math.pi * 3 / 104)),
        0.5 * (1 + math.cos(math.pi * 53 / 104)),
        0.5 * (1 + math.cos(math.pi * 103 / 104)),
    ),
    "plateau": (1.0, 1.0, 3 / 104),
}


@pytest.mark.parametrize("decay", FALLS)
def test_the_rate_rises_and_falls(decay):
    schedule = Schedule(steps=104, rate=2.0, warmup=4, decay=decay)
    rates = [schedule.rate_at(step) for step in (3, 53, 103)]
    assert rates == pytest.approx([2.0 * rate for rate in FALLS[decay]], rel=1e-12)
    risen = [schedule.rate_at(step) for step in range(4)]
    assert risen[0] == pytest.approx(0.5, rel=1e-2)
    assert risen[1] == pytest.approx(1.0, rel=1e-2)
    assert risen == sorted(risen)
    assert Schedule(steps=104, rate=2.0, warmup=0, decay=decay).rate_at(0) == pytest.approx(2.0, rel=1e-3)


def test_small_gradients_keep_their_size_and_large_ones_are_clipped():
    """In a stack seed by seed; alone all weights together."""
    for seeds in (1, 2):
        weights = [nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2))]
        for scale in (0.2, 2.0):
            for weight in weights:
                weight.grad = torch.full_like(weight, scale)
            norms = clip_norms(weights, math.sqrt(3) * 0.2, seeds)
            expected = scale * math.sqrt(6 / seeds)
            assert norms.tolist() == pytest.approx([expected] * seeds)
            clipped = min(1.0, math.sqrt(3) * 0.2 / expected)
            assert weights[0].grad.flatten().tolist() == pytest.approx([scale * clipped] * 4, rel=1e-5)
    weights[0].grad, weights[1].grad = torch.tensor([[0.1, 0.1], [3.0, 0.0]]), torch.tensor([0.1, 4.0])
    clip_norms(weights, 0.5, 2)
    assert weights[0].grad[0].tolist() == pytest.approx([0.1, 0.1])  # the loud seed does not touch the quiet one
    assert (weights[0].grad[1, 0], weights[1].grad[1]) == (pytest.approx(0.3), pytest.approx(0.4))


def test_a_stacked_seed_is_clipped_as_torch_clips_it_alone():
    """Down to norms of its 1e-6."""
    gradients = torch.tensor([[3e-6, 4e-6], [3.0, 4.0]])
    stack = nn.Parameter(torch.zeros(2, 2))
    stack.grad = gradients.clone()
    clip_norms([stack], 2e-6, 2)
    for found, gradient in zip(stack.grad, gradients, strict=True):
        alone = nn.Parameter(torch.zeros(2))
        alone.grad = gradient.clone()
        clip_norms([alone], 2e-6, 1)
        assert found.tolist() == pytest.approx(alone.grad.tolist(), rel=1e-5, abs=0.0)


class Bowl(nn.Module):
    """½‖w − 1‖² + ½‖b‖²."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(torch.zeros(3, 2)), nn.Parameter(torch.ones(4))

    def loss(self, batch: float) -> torch.Tensor:
        return batch * 0.5 * ((self.w - 1).square().sum() + self.b.square().sum())


def descend(bowl, batches, schedule, **options):
    return minimise(bowl, batches, of_loss(bowl.loss), schedule, name="bowl", **options)


def test_it_descends_and_says_what_it_saw():
    bowl, seen = Bowl(), []
    history = descend(
        bowl, itertools.repeat(1.0), Schedule(steps=60, rate=0.1), on_step=lambda step, history: seen.append(step)
    )
    assert history.loss()[0] == 5.0
    assert history.norms[0] == pytest.approx([math.sqrt(10)])
    assert history.loss()[-1] < 0.1
    assert seen == list(range(60))
    assert all(weight.grad is None for weight in bowl.parameters())


def test_it_goes_on_where_it_was_and_ends_when_it_is_told_to():
    whole, halves, schedule = Bowl(), Bowl(), Schedule(steps=20, rate=0.1)
    descend(whole, itertools.repeat(1.0), schedule)
    optimiser, history = adamw(halves, schedule), History()
    stop = lambda step, _: step == 7
    for _ in range(2):
        descend(halves, itertools.repeat(1.0), schedule, optimiser=optimiser, history=history, on_step=stop)
    assert len(history.losses) == 20
    assert torch.equal(whole.w, halves.w)


def test_matrices_decay_and_vectors_and_constants_do_not():
    schedule, constant = Schedule(rate=0.5, weight_decay=0.1, beta2=0.5), torch.zeros(2, requires_grad=True)
    for seeds in (1, 2):
        bowl = Bowl()
        bowl.g = nn.Parameter(torch.zeros(2, 3, 4))
        groups = adamw(bowl, schedule, seeds=seeds, extra=[constant], extra_rate=0.02).param_groups
        assert [len(group["params"]) for group in groups] == [[2, 1, 1], [1, 2, 1]][seeds - 1]
        assert [group["weight_decay"] for group in groups] == [0.1, 0.0, 0.0]
        assert [group["scale"] for group in groups] == [1.0, 1.0, 0.04]
        assert {group["betas"] for group in groups} == {(0.9, 0.5)}


def test_what_is_no_number_stops_it_before_the_weights_are_touched():
    bowl, kept = Bowl(), []
    batches = (1.0, 1.0, math.nan)
    with pytest.raises(TrainingDiverged, match=r"^bowl: step 2 of 9 has loss nan; batch nan$"):
        descend(
            bowl, batches, Schedule(steps=9, rate=0.1), guard=lambda batch: f"batch {batch}",
            on_step=lambda *_: kept.append(bowl.w.detach().clone()),
        )  # fmt: skip
    assert torch.equal(kept[1], bowl.w)


def test_weights_that_are_no_numbers_after_the_last_step_stop_it_too():
    """No loss is seen after the last step: nothing but the weights says that it went wrong."""
    with pytest.raises(TrainingDiverged, match=r"bowl: after 1 steps the norm of the weights is (inf|nan)"):
        descend(Bowl(), itertools.repeat(1.0), Schedule(steps=9, rate=1e39, warmup=0), on_step=lambda *_: True)


def test_an_optimiser_that_does_not_fit_ends_the_run(monkeypatch):
    optimiser = adamw(Bowl(), Schedule())

    def full() -> None:
        raise torch.OutOfMemoryError("too much")

    monkeypatch.setattr(optimiser, "step", full)
    with pytest.raises(TooLittleMemory, match=r"x: step 5: weights, gradients and both moments of 10 parameters"):
        _update(optimiser, 1.0, "x: step 5")


def test_seconds_are_those_of_the_steps():
    began = time.perf_counter()
    history = descend(Bowl(), itertools.repeat(1.0), Schedule(steps=3, rate=0.1))
    assert 0.0 < history.seconds < time.perf_counter() - began
