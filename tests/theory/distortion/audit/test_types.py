"""The function of a type that columns are searched by, its bounds on boxes, and types that meet given win rates."""

from __future__ import annotations

import numpy as np
import pytest

from theory.bradley_terry import Population
from theory.distortion.audit.boxes import TypeCertificate, _slopes
from theory.distortion.audit.columns import find_types
from theory.distortion.audit.observed import Observed, from_win_rates
from theory.distortion.audit.types import Dual, TypeProgram, initial_types


def test_slopes_are_differences_of_values():
    rng = np.random.default_rng(0)
    first, second = np.array([0, 0, 1, 2]), np.array([1, 3, 2, 3])
    observed = Observed(4, 5.0, first, second, np.zeros(4), np.ones(4))
    dual = Dual(observed, rng.normal(size=4), rng.normal(size=4), 0.3)
    types, step = rng.random((6, 4)), 1e-6
    differences = [(dual.values(types + step * e) - dual.values(types - step * e)) / (2 * step) for e in np.eye(4)]
    np.testing.assert_allclose(dual.slopes(types), np.transpose(differences), atol=1e-8)
    # and a value is the line, the answers' margins and the constant, written out
    odds = 1.0 / (1.0 + np.exp(-5.0 * (types[:, first] - types[:, second])))
    np.testing.assert_allclose(dual.values(types), types @ dual.linear + (odds - 0.5) @ dual.multipliers + 0.3)


def test_slopes_on_a_box_bound_those_of_its_types_and_are_theirs_on_a_point():
    rng = np.random.default_rng(1)
    first, second = np.array([0, 0, 1, 2]), np.array([1, 3, 2, 3])
    observed = Observed(4, 5.0, first, second, np.zeros(4), np.ones(4))
    policy, benchmark, multipliers = rng.dirichlet(np.ones(4)), np.eye(4)[2], rng.normal(size=4)
    certificate = TypeCertificate(np.arange(4), observed, benchmark, policy, 1.5, multipliers, 0.0)
    dual = Dual(observed, certificate.linear, multipliers, 0.0)
    corners = np.sort(rng.random((2, 50, 4)), axis=0)
    low, high = _slopes(certificate, corners[0], corners[1])
    for share in (0.0, 0.3, 1.0):
        slopes = dual.slopes(corners[0] + share * (corners[1] - corners[0]))
        assert (slopes >= low).all()
        assert (slopes <= high).all()
    for bound in _slopes(certificate, corners[0], corners[0]):
        np.testing.assert_allclose(bound, dual.slopes(corners[0]), atol=1e-9)


@pytest.mark.parametrize("n_alternatives", [5, 6])
def test_types_are_added_until_win_rates_are_met(n_alternatives, rng):
    """Of three random types; the types that a search begins with do not meet their win rates."""
    users = Population(rng.random((3, n_alternatives)), rng.dirichlet(np.ones(3)))
    observed, policy = from_win_rates(users.win_rates(10.0), 10.0), np.full(n_alternatives, 1.0 / n_alternatives)
    first = np.unique(initial_types(n_alternatives), axis=0)
    assert TypeProgram(observed, policy, first).violation()[0] > 1e-3
    program, violation, _ = find_types(observed, policy, np.ones(n_alternatives, dtype=bool), 60)
    assert violation <= 1e-12
    assert len(program.types) > len(first)
