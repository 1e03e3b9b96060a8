"""The interior point: its steps against the equations that they linearise, and how few a game takes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.oracles.games import bradley_terry_mixture, dirichlet, random_game
from theory.policy.interior_point import PathPoint, _Step, _System, central_path
from theory.policy.kl_ball import KLBall, kl_from_log

A, TAU = 6, 0.3
KINDS = {"free": (math.inf, 0.0), "ball": (TAU, 0.0), "penalty": (math.inf, 0.2)}


def point_inside(kind, rng):
    """A point of the path's inside at which no equation holds; its π does not sum to one."""
    tau, weight = KINDS[kind]
    reference = dirichlet(A, 1)
    point = PathPoint(random_game(A, 2), KLBall(np.zeros(A) if kind == "free" else np.log(reference), tau), weight)
    point.pi, point.s, point.nu = rng.dirichlet(np.full(A, 4.0)) * 0.97, rng.random(A) + 0.1, 0.07
    if kind == "ball":
        point.lam, point.k = 0.4, 0.13
    return point, reference


def equations(point, reference, kind):
    """Mπ − λg − ν1 + s, 1 − Σπ, and tau − KL − k, written out."""
    pull = 0.0 if kind == "free" else point.lam * np.log(point.pi / reference)
    stationary = (point.P - 0.5) @ point.pi - pull - point.nu + point.s
    slack = TAU - point.pi @ np.log(point.pi / reference) - point.k if kind == "ball" else 0.0
    return np.array([*stationary, 1.0 - point.pi.sum(), slack])


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_solves_the_linearised_equations(kind, rng):
    """Residual and its change along the step, by central differences, cancel; so do the products of the slacks."""
    point, reference = point_inside(kind, rng)
    target_s, target_k = rng.normal(size=A), 0.6
    before = equations(point, reference, kind)
    step = _System.at(point).direction(target_s, target_k)
    np.testing.assert_allclose(point.s * step.pi + point.pi * step.s, target_s, atol=1e-13)
    if kind == "ball":
        assert point.k * step.lam + point.lam * step.k == pytest.approx(target_k, abs=1e-13)
    else:
        assert step.lam == step.k == 0.0
    start, h, ends = (point.pi, point.s, point.nu, point.lam, point.k), 1e-5, []
    for side in (h, -h):
        point.pi, point.s, point.nu, point.lam, point.k = (x + side * d for x, d in zip(start, step, strict=True))
        ends.append(equations(point, reference, kind))
    np.testing.assert_allclose((ends[0] - ends[1]) / (2 * h), -before, atol=1e-6)


def test_a_step_reaches_the_boundary_and_no_further(rng):
    point, _ = point_inside("ball", rng)
    still = np.zeros(A)
    for step in (
        _Step(-2.0 * point.pi, still, 0.0, 0.0, 0.0),
        _Step(still, -2.0 * point.s, 0.0, 0.0, 0.0),
        _Step(still, still, 0.0, -2.0 * point.lam, 0.0),
        _Step(still, still, 0.0, 0.0, -2.0 * point.k),
    ):
        assert point._reach(step) == pytest.approx(0.5, rel=1e-15)
    assert point._reach(_Step(point.pi, point.s, 0.0, point.lam, -0.5 * point.k)) == 1.0
    before = point.k
    assert point._move(_Step(still, still, 2.0, 0.0, -2.0 * point.k))
    assert point.k == pytest.approx(0.005 * before, rel=1e-10)  # of half the step 99.5 %
    assert point.nu == pytest.approx(0.07 + 0.995, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [random_game, bradley_terry_mixture])
def test_the_path_is_short(kind, make):
    """Centred steps: the duality gap falls to 1e-12 in 8 to 11 of them, what the equations miss with it."""
    tau, weight = KINDS[kind]
    reference = dirichlet(30, 1)
    ball = KLBall(np.zeros(30) if kind == "free" else np.log(reference), tau)
    gaps = []
    for point in central_path(make(30, 3), ball, weight):
        slack = point.lam * point.k if kind == "ball" else 0.0
        gaps.append(point.complementarity())
        assert gaps[-1] == pytest.approx(point.pi @ point.s + slack, rel=1e-12)
        if gaps[-1] <= 1e-12:
            break
    assert len(gaps) <= (9 if kind == "penalty" else 12)
    assert np.abs(equations(point, reference, kind)).max() <= 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_the_path_starts_inside(kind):
    """Of a law of no zeros, at less than a nat from a reference with alternatives 2·10⁹ nats away."""
    logs = np.array([-math.log(2), -math.log(2), -2e9, -1e6])
    tau, weight = KINDS[kind]
    point = PathPoint(random_game(4, 0), KLBall(logs, tau), weight)
    assert point.pi.sum() == pytest.approx(1.0, abs=1e-15)
    assert min(point.pi.min(), point.s.min()) > 0.0
    if kind != "free":
        assert kl_from_log(point.pi, logs) < 1.0
    assert point.lam == {"free": 0.0, "ball": point.lam, "penalty": weight}[kind]
