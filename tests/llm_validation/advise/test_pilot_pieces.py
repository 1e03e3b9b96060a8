"""How a pilot divides its time: by a clock that stands still between passes, answers and steps."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from llm_validation.advise import pilot
from llm_validation.advise.pilot import PilotPlan, _Runs, _some, batch_of
from llm_validation.preferences.data import Example, Preferences
from llm_validation.preferences.objectives import PreferenceTraining

PLAN = PilotPlan(("dpo", "kto"), batch=2, answers=40, tokens=3)


def pairs(count: int, each: int = 1) -> Preferences:
    """So many prompts with so many pairs each."""
    sides = (
        tuple(Example((p,), (word, word, word, word), p) for p in range(count) for _ in range(each)) for word in (3, 4)
    )
    return Preferences("planted", *sides, paired=True)


def test_whole_prompts_are_taken_until_there_are_enough():
    some = _some(pairs(10, each=3), 7.9, PLAN)
    assert len(some.chosen) == 9  # the third prompt begins below seven
    assert set(Counter(e.prompt for e in some.chosen).values()) == {3}
    assert _some(some, 9.0, PLAN) is some
    assert len(_some(pairs(10), 0.3, PLAN).chosen) == 2  # a batch at least
    rare = Preferences("planted", pairs(1).chosen, pairs(30).rejected, paired=False)
    few = _some(rare, 4.0, PLAN)
    assert len(few.chosen) == 1  # some of each class
    assert 3 <= len(few.rejected) <= 5


@pytest.mark.parametrize(("chosen", "rejected", "batch"), [(3, 18, 7), (18, 4, 6), (5, 5, 2)])
def test_a_batch_has_room_for_the_rare_class(chosen, rejected, batch):
    data = Preferences("planted", pairs(chosen).chosen, pairs(rejected).rejected, paired=False)
    assert batch_of(data, 2) == batch
    assert batch_of(pairs(9), 2) == 2


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(t=100.0)
    monkeypatch.setattr(pilot.time, "monotonic", lambda: now.t)

    def logs(self, examples):
        now.t += 0.1 * len(examples)
        return np.full(len(examples), now.t)

    def answers(self, name, seconds):
        self.asked = seconds
        now.t += 0.2 * self.watch.answers
        return self.held.chosen[: self.watch.answers]

    def train(*_, on_step, **__):
        for step in range(100):
            now.t += 1.0
            on_step(step, 100, 0.0)

    def kl(self, name):
        now.t += 5.0
        return np.ones(2), ()

    for name, value in {"_logs": logs, "_answers": answers, "_tensor": lambda *_: None,
                        "_kl": kl}.items():  # fmt: skip
        monkeypatch.setattr(_Runs, name, value)
    monkeypatch.setattr(pilot, "copy_into", lambda *_: None)
    for name, value in {
        "piloted": lambda model, *_: model,
        "completion_forward": lambda *_, **__: SimpleNamespace(device="cpu"),
        "trainable": lambda _: [],
        "check_reference": lambda *_: None,
        "train_on_preferences": train,
        "Reference": lambda *_: None,
    }.items():
        monkeypatch.setattr(pilot, name, value)
    return now


def test_shares_of_the_time_are_what_they_are_meant_to_be(clock):
    """A text takes a tenth of a second, an answer a fifth; of 130.2 seconds 100 are safe after the first batch."""
    runs = _Runs(SimpleNamespace(eval=lambda: None), PLAN, pairs(400), (0,), 32, 230.21)
    runs.begin(pairs(2000))
    assert len(runs.held.chosen) == 75  # .15·100 seconds of texts, two a pair
    assert runs.asked == pytest.approx(8.0, abs=0.01)
    assert len(runs.own) == 20  # .08·100 seconds, four texts an answer
    # now 0.2 + 4 + 17 for 170 texts, and 4 for 40 beginnings: (130.2 − 25.2)/1.3 = 80.8 seconds are safe
    assert runs.watch.answers == 33  # a quarter for two methods, .3 an answer
    assert len(runs.trained_on.chosen) == 181  # .45·80.8 seconds
    assert runs.measuring == pytest.approx(17.0 + 0.3 * 33)
    assert clock.t == pytest.approx(142.2)
    # 88 seconds are left, for two runs or so many as have twice what measuring takes: 53.8 each, and measuring in it
    assert runs.attempt("dpo", 1e-3, 2).startswith("dpo at rate 0.001: 27 of 100 steps in 49 seconds")
    (tried,) = runs.tried
    assert (tried.steps, tried.planned) == (27, 100)
    assert (tried.first, tried.seconds) == pytest.approx((1.0, 27.0))  # without the 22 of measuring and writing
    assert runs.measuring == pytest.approx(22.0)
    np.testing.assert_allclose(tried.chosen, 65.0)  # the clock's 7.5 after 42.2 and 27 steps, less that of 4.2
    clock.t = 209.0
    assert runs.attempt("kto", 1e-3, 1) == "kto at rate 0.001 was not run: the time left does not reach"
    assert runs.late == [("kto", 1e-3)]


def test_portions_of_a_larger_batch_are_the_plans():
    runs = _Runs(None, PLAN, pairs(4), (0,), 32, 0.0)
    runs.batch = 5
    config = runs._config(1e-3)
    assert isinstance(config, PreferenceTraining)
    assert (config.batch, config.portion) == (5, 2)
    runs.batch = 2
    assert runs._config(1e-3).portion is None
