"""Certificates of the audit: dual inequalities at random types and on a grid, and the bounds they are made of."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.special import expit

from tests.oracles.audits import population
from theory.distortion.audit import averages
from theory.distortion.audit.averages import Cuts, MomentCertificate, lemma_cuts, moment_bound, separate, support
from theory.distortion.audit.ball import first_simplex, simplex_bound
from theory.distortion.audit.boxes import TypeCertificate, supremum
from theory.distortion.audit.interval import audit
from theory.distortion.audit.observed import from_win_rates
from theory.policy.kl_ball import KLBall, kl


def dual_function(certificate: TypeCertificate, U: np.ndarray) -> np.ndarray:
    """F(U), written out pair by pair from the definition."""
    o = certificate.observed
    total = U @ certificate.benchmark - certificate.ratio * (U @ certificate.policy)
    for x, y, low, high, lam in zip(o.first, o.second, o.low, o.high, certificate.multipliers, strict=True):
        total = total + lam * (expit(o.bt_beta * (U[:, x] - U[:, y])) - (low if lam > 0 else high))
    return total


def test_certificates_hold_at_random_types_and_on_a_grid():
    rng = np.random.default_rng(11)
    P = population(rng, 9, 3).win_rates(6.0)
    policy = rng.dirichlet(np.ones(3))
    result = audit(P, policy, 6.0)
    grid = np.array(list(product(np.linspace(0, 1, 41), repeat=3)))
    U = np.concatenate([grid, rng.random((100_000, 3)), rng.random((50_000, 3)) ** 8])
    assert len(result.certificate) == 3
    assert max(c.bound for c in result.certificate) == pytest.approx(result.upper, rel=1e-12)
    proved = [c for c in result.certificate if isinstance(c, TypeCertificate)]
    assert proved
    for certificate in proved:
        values = dual_function(certificate, U)
        assert np.allclose(values, certificate.values(U), atol=1e-12)
        assert values.max() <= max(certificate.supremum, 0.0) + 1e-12
    # With intervals the multiplier's sign decides which end counts.
    counts = np.rint(4000 * P).astype(int)
    np.fill_diagonal(counts, 0)
    loose = [c for c in audit(None, policy, 6.0, counts=counts).certificate if isinstance(c, TypeCertificate)]
    assert loose
    for certificate in loose:
        assert np.allclose(dual_function(certificate, U), certificate.values(U), atol=1e-12)
        assert certificate.values(U).max() <= max(certificate.supremum, 0.0) + 1e-12
    # And it can fail: a ratio below the witness's distortion has a type with F > 0, found by both routes.
    best = max(proved, key=lambda c: c.bound)
    wrong = TypeCertificate(
        best.alternatives, best.observed, best.benchmark, policy, 0.99 * result.lower, best.multipliers, 0.0
    )
    assert dual_function(wrong, U).max() > 0
    assert supremum(wrong, 100_000).bound > 0


def test_moment_certificates_hold_for_random_populations():
    rng = np.random.default_rng(12)
    users = population(rng, 5, 6)
    observed = from_win_rates(users.win_rates(4.0), 4.0)
    policy, cuts = rng.dirichlet(np.ones(6)), lemma_cuts(observed)
    u = users.average_utility
    for q in np.eye(6):
        lemma, at = moment_bound(policy, q, cuts, 0.01)
        pairs, _ = moment_bound(policy, q, cuts.extend(separate(observed, at)), 0.01)
        for certificate in (lemma, pairs):
            assert isinstance(certificate, MomentCertificate)
            assert (certificate.cuts.rows() @ u <= certificate.cuts.rhs + 1e-12).all()
            assert q @ u - certificate.ratio * (policy @ u) <= certificate.excess + 1e-12
            assert q @ u <= certificate.bound * (policy @ u)
        assert pairs.bound <= lemma.bound + 1e-9


def test_a_floor_is_lowered_by_the_rounding_of_all_its_terms(monkeypatch):
    """u₁ ≥ ½ alone, by multiplier 0.6: 1, 0.6·½ and 0.6 add up."""
    monkeypatch.setattr(averages, "ROUNDING", 0.01)
    cuts = Cuts(2, *(np.array([x]) for x in (0, 1, 0.0, 1.0, -0.5)))
    floor, _ = averages.floor_utility(np.array([0.4, 0.6]), cuts)
    assert floor == pytest.approx(0.3 - 0.01 * 1.9)


def test_pair_support_is_the_maximum_over_users():
    grid = np.linspace(0.0, 1.0, 801)
    a, b = np.meshgrid(grid, grid, indexing="ij")
    for bt_beta, alpha, gamma in product((0.5, 4.0, 20.0), (0.0, 0.1, 0.6, 1.0), (0.0, 0.3, 0.9, 1.0)):
        alpha, gamma = alpha * bt_beta / 4, gamma * bt_beta / 4
        brute = (alpha * a - gamma * b - (expit(bt_beta * (a - b)) - 0.5)).max()
        exact = float(support(np.array(alpha), np.array(gamma), bt_beta))
        assert exact >= brute - 1e-14
        assert exact == pytest.approx(brute, abs=1e-5 * bt_beta)


def test_branch_and_bound_finds_the_supremum():
    rng = np.random.default_rng(13)
    observed = from_win_rates(population(rng, 4, 3).win_rates(7.0), 7.0)
    eye, policy = np.eye(3), np.array([0.2, 0.5, 0.3])
    U = np.array(list(product(np.linspace(0, 1, 101), repeat=3)))
    for ratio in (0.5, 1.5, 3.0):
        certificate = TypeCertificate(np.arange(3), observed, eye[0], policy, ratio, rng.normal(size=3), 0.0)
        best = dual_function(certificate, U).max()
        found = supremum(certificate, 20_000)
        assert found.bound >= best
        assert dual_function(certificate, found.points).max() >= best - 0.02 * abs(best) - 1e-3


def test_ball_is_inside_its_simplex_and_under_its_bound(rng):
    reference = np.array([0.5, 0.3, 0.15, 0.05])
    ball = KLBall(np.log(reference), 0.2)
    vertices = first_simplex(ball)
    ratios = np.array([1.0, 3.0, 2.0, 5.0])
    bound, b = simplex_bound(vertices, ratios, ball)
    assert b.min() >= 0
    assert b.sum() == pytest.approx(1.0)
    draws = rng.dirichlet(reference * 20, size=4000)
    inside = np.array([q for q in draws if kl(q, reference) <= 0.2])
    coordinates = np.linalg.solve(vertices.T, inside.T)
    assert inside.shape[0] > 500
    assert coordinates.min() >= -1e-9
    assert (ratios @ coordinates).max() <= bound < ratios.max()
