"""The function of a type that columns are searched by, and its bounds on boxes: slopes are its differences."""

from __future__ import annotations

import numpy as np

from theory.distortion.audit.boxes import TypeCertificate, _slopes
from theory.distortion.audit.observed import Observed
from theory.distortion.audit.types import Dual


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
