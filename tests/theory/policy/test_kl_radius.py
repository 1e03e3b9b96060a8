"""The radius of a KL ball: KL along a tilt to forty digits, its derivative, and how few evaluations find it."""

from __future__ import annotations

import math
from decimal import Context, Decimal, localcontext

import numpy as np
import pytest

from theory.policy import kl_ball
from theory.policy.kl_ball import _newton_root, _on_the_sphere, _small_kl, kl_from_log, kl_of_tilt, kl_terms, tilt


def exact_kl(scores, reference):
    """Σ π log π/π_ref of π ∝ π_ref·e^scores, in decimals."""
    with localcontext(Context(60)):
        mass = [Decimal(r) * Decimal(s).exp() for r, s in zip(reference, scores, strict=True)]
        total, before = sum(mass), sum(Decimal(r) for r in reference)
        return float(
            sum(m / total * (m / total * before / Decimal(r)).ln() for m, r in zip(mass, reference, strict=True))
        )


@pytest.mark.parametrize("size", [1e-9, 1e-5, 1e-3, 0.5, 3.0, 20.0])
def test_small_distances_to_their_own_accuracy(size):
    reference = np.array([0.2, 0.3, 0.45, 0.05])
    scores = size * np.array([0.0, -1.0, -0.3, -2.0])
    expected = exact_kl(scores.tolist(), reference.tolist())
    assert _small_kl(scores, np.log(reference)) == pytest.approx(expected, rel=1e-11, abs=0)
    flipped = exact_kl((-scores).tolist(), reference.tolist())
    assert _small_kl(-scores, np.log(reference)) == pytest.approx(flipped, rel=1e-11, abs=0)


@pytest.mark.parametrize(("d", "accuracy"), [(1e-9, 1e-15), (-9.9e-5, 1e-15), (9.9e-5, 1e-15), (1.1e-4, 1e-11),
                                             (-0.3, 1e-14), (2.0, 1e-14), (-40.0, 1e-15)])  # fmt: skip
def test_terms_of_a_distance(d, accuracy):
    with localcontext(Context(60)):
        D = Decimal(d)
        expected = float(D * D.exp() - D.exp() + 1)
    assert float(kl_terms(np.array(d))) == pytest.approx(expected, rel=accuracy, abs=0)


def test_a_rare_alternative_takes_over():
    """Of log-probability −800, beyond float64, and a score of 900: nearly all the mass, at nearly 800 nats."""
    logs, scores = np.array([math.log(0.4), math.log(0.6), -800.0]), np.array([0.0, 0.0, 803.0])
    share = 1.0 / (1.0 + math.exp(-3.0))
    expected = share * (math.log(share) + 800.0) + (1.0 - share) * math.log(1.0 - share)
    with np.errstate(over="ignore"):
        assert kl_of_tilt(scores, logs)[0] == pytest.approx(expected, rel=1e-12)
    closer, scores = np.array([math.log(0.4), math.log(0.6), -600.0]), np.array([0.0, 0.0, 603.0])
    expected -= 200.0 * share
    assert _small_kl(scores, closer) == pytest.approx(expected, rel=1e-12)


def test_distance_and_its_derivative_along_a_tilt(rng):
    """d KL/d log s = Var(sv), by central differences; scores need no mean 0."""
    reference, v = rng.dirichlet(np.ones(5)), rng.normal(size=5) + 2.0
    for slope in (0.1, 1.0, 7.0):
        distance, variance, _ = kl_of_tilt(slope * v, np.log(reference))
        assert distance == pytest.approx(exact_kl((slope * v).tolist(), reference.tolist()), rel=1e-11, abs=0)
        ends = [kl_of_tilt(slope * math.exp(h) * v, np.log(reference))[0] for h in (1e-5, -1e-5)]
        assert variance == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)


@pytest.mark.parametrize(("tau", "most"), [(1e-5, 2.2), (0.01, 3.2), (0.3, 4.2)])
def test_newton_takes_few_evaluations_in_the_mean(tau, most, rng, monkeypatch):
    calls = []
    evaluate = kl_ball.kl_of_tilt
    monkeypatch.setattr(kl_ball, "kl_of_tilt", lambda *of: calls.append(1) or evaluate(*of))
    for _ in range(20):
        logs, v = np.log(rng.dirichlet(np.full(6, 2.0))), rng.random(6)
        root = _newton_root(v - v.max(), logs, tau)
        assert kl_from_log(tilt(logs, math.exp(root) * v), logs) == pytest.approx(tau, rel=1e-9, abs=0)
    assert len(calls) <= 20 * most


@pytest.mark.parametrize("tau", [1e-12, 1e-7, 1e-3, 0.4])
@pytest.mark.parametrize("scale", [1e-150, 1e-3, 1.0, 1e6, 1e150])
def test_the_radius_is_met_at_every_scale(tau, scale, monkeypatch):
    """By a tilt, up to the rounding of its slope: no mixture of two is needed."""
    monkeypatch.setattr(kl_ball, "kl_from_log", None)
    reference, v = np.array([0.2, 0.3, 0.45, 0.05]), np.array([0.0, -1.0, -0.3, -2.0])
    policy = _on_the_sphere(scale * v, np.log(reference), tau)
    slope = math.log(policy[0] / policy[1] * 0.3 / 0.2)
    radius = exact_kl((slope * v).tolist(), reference.tolist())
    assert radius == pytest.approx(tau, rel=max(1e-9, 1e-14 / math.sqrt(tau)), abs=0)
    np.testing.assert_allclose(policy, tilt(np.log(reference), slope * v), rtol=1e-12)
