"""Simplices that cover a KL ball: bounds over them by cvxpy, where they are split, and what is asked of subsets."""

from __future__ import annotations

import math

import cvxpy as cp
import numpy as np
import pytest

from theory.distortion.audit import progress
from theory.distortion.audit.averages import lemma_cuts
from theory.distortion.audit.ball import NEAR, first_simplex, onto_face, simplex_bound, split
from theory.distortion.audit.interval import audit
from theory.distortion.audit.observed import Observed
from theory.distortion.audit.progress import Run
from theory.policy.kl_ball import KLBall

REFERENCE = np.array([0.5, 0.3, 0.2])


def test_the_first_simplex_touches_the_ball():
    """Its sides are where an alternative is as rare as the ball allows."""
    vertices = first_simplex(KLBall(np.log(REFERENCE), 0.1))
    least = []
    for e in np.eye(3):
        q = cp.Variable(3, nonneg=True)
        least.append(cp.Problem(cp.Minimize(q @ e), [cp.sum(q) == 1, cp.sum(cp.rel_entr(q, REFERENCE)) <= 0.1]).solve())
    np.testing.assert_allclose(vertices, least + (1 - sum(least)) * np.eye(3), atol=1e-6)
    assert (vertices.min(axis=0) <= np.array(least) + 1e-7).all()
    np.testing.assert_array_equal(first_simplex(KLBall(np.log(REFERENCE))), np.eye(3))
    np.testing.assert_allclose(first_simplex(KLBall(np.log(REFERENCE), 0.0)), [REFERENCE], rtol=1e-14)


@pytest.mark.parametrize("vertices", [None, [[0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4]]])
def test_the_bound_is_the_largest_mixture_of_ratios_in_the_ball(vertices):
    ball, ratios = KLBall(np.log(REFERENCE), 0.1), np.array([1.0, 4.0, 2.0])
    corners = first_simplex(ball) if vertices is None else np.array(vertices)
    b = cp.Variable(3, nonneg=True)
    inside = [cp.sum(b) == 1, cp.sum(cp.rel_entr(corners.T @ b, REFERENCE)) <= 0.1]
    exact = cp.Problem(cp.Maximize(ratios @ b), inside).solve()
    bound, at = simplex_bound(corners, ratios, ball)
    assert exact - 1e-6 <= bound <= exact + 1e-4
    np.testing.assert_allclose(at, b.value, atol=2e-2)


def test_where_a_vertex_is_worst_the_longest_edge_is_halved():
    wide, corners = KLBall(np.log(REFERENCE), 9.0), np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    bound, at = simplex_bound(corners, np.array([9.0, 1.0, 1.0]), wide)
    assert bound == pytest.approx(9.0, rel=1e-6)
    np.testing.assert_array_equal(at, [0.5, 0.0, 0.5])
    assert split((4, 5, 6), at, 7) == [(7, 5, 6), (4, 5, 7)]
    assert simplex_bound(corners, np.array([1.0, math.inf, 1.0]), wide)[0] == math.inf


def test_a_split_beside_a_face_is_made_on_it_where_the_excess_is_there_too():
    """Excesses over 1 of the vertices: 0.1, 0.2, 0.3; beyond the sphere only the last has one."""
    ratios = np.array([1.1, 1.2, 1.3])
    np.testing.assert_allclose(onto_face(np.array([0.01, 0.594, 0.396]), ratios, 1.0), [0.0, 0.6, 0.4], rtol=1e-14)
    beyond = np.array([1.0, 1.0, 1.3])
    for stays, of in (
        ([0.5, 0.49, 0.01], beyond),
        ([0.96, 0.04, 0.0], ratios),
        ([NEAR, 0.5, 0.5 - NEAR], ratios),
        ([0.85, 0.06, 0.09], np.array([1.0, 1.1, 1.3])),
    ):
        np.testing.assert_array_equal(onto_face(np.array(stays), of, 1.0), stays)


def test_how_much_was_decided_against_whom():
    """Of intervals what is left between them and ½, for comparisons with members."""
    observed = Observed(
        4,
        5.0,
        np.array([0, 0, 1, 2]),
        np.array([1, 2, 3, 3]),
        np.array([0.6, 0.4, 0.1, 0.7]),
        np.array([0.8, 0.9, 0.2, 0.7]),
    )
    run = Run(observed, np.eye(4)[0], KLBall(np.full(4, -math.log(4))), lemma_cuts(observed), 0.1)
    np.testing.assert_allclose(run._decided(np.array([True, False, False, False])), [0.0, 0.1, 0.0, 0.0], atol=1e-15)
    np.testing.assert_allclose(run._decided(np.array([False, False, True, True])), [0.0, 0.3, 0.2, 0.2], atol=1e-15)


@pytest.mark.parametrize(("policy", "lower"), [([0.5, 0.3, 0.2], 1.0), ([0.1, 0.1, 0.8], 0.0)])
def test_without_a_witness_a_policy_loses_nothing_to_itself_if_it_is_in_the_ball(policy, lower, monkeypatch):
    monkeypatch.setattr(progress, "WITNESS_MAX", 2)
    monkeypatch.setattr(progress, "BALL_SPLITS", 0)
    found = audit(np.full((3, 3), 0.5), policy, 5.0, reference=REFERENCE, tau=0.1)
    assert found.witness is None
    assert found.lower == lower
    assert found.upper > 1.0
