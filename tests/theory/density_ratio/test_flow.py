"""The flow of a policy's logits is downhill on its loss; that of a free log-ratio to 1e-12 of its equation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from theory.density_ratio.flow import flow, policy_flow
from theory.density_ratio.losses import ddro_loss

P, Q, W = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5]), np.array([0.3, 0.6, 0.1])


@pytest.mark.parametrize("time", [0.1, 3.0])
def test_a_policy_s_flow_follows_the_gradient_in_its_logits(time):
    h = 1e-3
    before, now, after = policy_flow([time - h, time, time + h], P, Q, W)

    def loss(logits: np.ndarray) -> float:
        return ddro_loss(logits - np.logaddexp.reduce(logits) - np.log(W), P, Q)

    logits = now + np.log(W)
    slope = np.array([(loss(logits + 1e-5 * e) - loss(logits - 1e-5 * e)) / 2e-5 for e in np.eye(3)])
    moved = -(slope - np.exp(logits) @ slope)  # of log π as the logits move by −slope
    np.testing.assert_allclose((after - before) / (2 * h), moved, atol=2e-6)


@pytest.mark.parametrize(("p", "d", "start"), [(0.4, 0.1, -2.0), (0.4, 0.1, 3.0), (0.1, 0.6, 0.5), (0.3, 0.02, 0.0)])
@pytest.mark.parametrize("time", [1e-3, 2.0, 50.0])
def test_time_by_the_separated_variables(p, d, start, time):
    goal = math.log(p / d)
    s = float(flow(time, p, d, start))
    left = [math.log(abs(1 - math.exp(x - goal))) for x in (s, start)]
    passed = (s - start) / p - (1 / p + 1 / d) * (left[0] - left[1])
    speed = (p - d * math.exp(s)) / (1 + math.exp(s))
    assert (passed - time) * speed == pytest.approx(0.0, abs=3e-14)


def test_without_winners_a_log_ratio_falls_as_without_losers_it_rises():
    times = np.array([0.0, 1.0, 30.0])
    np.testing.assert_allclose(flow(times, 0.0, 0.3, 1.5), -flow(times, 0.3, 0.0, -1.5), rtol=1e-14)
    s = flow(times, 0.3, 0.0, -1.5)
    np.testing.assert_allclose(s + np.exp(s), 0.3 * times - 1.5 + math.exp(-1.5), rtol=1e-13)
    assert flow(times, 0.0, 0.0, 1.5).tolist() == [1.5] * 3


@pytest.mark.parametrize(("start", "end"), [(-5000.0, -4999.6), (-800.0, -799.6), (705.0, 705.0), (5000.0, 5000.0)])
def test_a_start_whose_exponential_leaves_float64_drifts_all_the_same(start, end):
    """s + e^s = pt + s₀ + e^{s₀}: where e^s is nothing s moves by pt, where it is all that counts not at all."""
    assert float(flow(1.0, 0.4, 0.0, start)) == pytest.approx(end, rel=1e-15)
    assert float(flow(1.0, 0.0, 0.4, -start)) == pytest.approx(-end, rel=1e-15)


@pytest.mark.parametrize("time", [1e-6, 1.0, 100.0])
def test_next_to_no_winner_is_as_none(time):
    """1e-9 of p⁺ moves a fall by 1e-9 of the time at most; and what rises with next to no loser is its mirror image."""
    fall = float(flow(time, 1e-9, 1.0, 3.0))
    assert fall == pytest.approx(float(flow(time, 0.0, 1.0, 3.0)), abs=1e-9 * time + 1e-14)
    assert float(flow(time, 1.0, 1e-9, -3.0)) == pytest.approx(-fall, abs=1e-13)


def test_times_may_come_in_any_order_and_twice():
    p, d, reference = [0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.3, 0.3, 0.4]
    at = {t: policy_flow([t], p, d, reference)[0] for t in (1.0, 2.0)}
    found = policy_flow([2.0, 0.0, 1.0, 1.0], p, d, reference)
    assert found == pytest.approx(np.array([at[2.0], np.zeros(3), at[1.0], at[1.0]]), abs=1e-8)
