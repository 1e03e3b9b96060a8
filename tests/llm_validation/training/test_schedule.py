"""Rates of every schedule at single steps, by hand."""

from __future__ import annotations

import math

import pytest

from llm_validation.training.schedule import Schedule

#: decay → step → rate, of 110 steps of which ten warm up, at 2 in the middle
RATES = {
    "cosine": {0: 0.2, 4: 1.0, 10: 2.0, 60: 1.01, 85: 0.02 + 0.99 * (1.0 - math.sqrt(0.5)), 110: 0.02},
    "cosine to the end": {4: 1.0, 9: 2.0, 59: 1.01, 109: 0.02},
    "cosine to zero": {0: 0.2, 55: 1.0, 110: 0.0},
    "plateau": {0: 0.2, 5: 1.2, 40: 2.0, 73: 2.0, 88: 1.2, 99: 0.6, 110: 0.0},
}


@pytest.mark.parametrize(("decay", "step"), [(decay, step) for decay, rates in RATES.items() for step in rates])
def test_the_rate_of_a_step(decay, step):
    found = Schedule(steps=110, rate=2.0, warmup=10, decay=decay).rate_at(step)
    assert found == pytest.approx(RATES[decay][step], abs=1e-12)


def test_without_warm_up_the_first_step_has_the_peak():
    assert [Schedule(warmup=0, rate=3.0, decay=decay).rate_at(0) for decay in ("cosine", "plateau")] == [3.0, 3.0]
    one = Schedule(steps=10, warmup=10, rate=3.0)
    assert one.rate_at(9) == 3.0
    assert one.slower(0.5).rate == 1.5
    assert (one.longer(3).steps, one.longer(3).record) == (30, 60)
    assert (one.longer(0.75).steps, one.longer(0.75).record, one.longer(0.01).steps) == (8, 15, 1)
