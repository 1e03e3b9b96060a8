"""The function of a type that columns are searched by: its slopes are its differences."""

from __future__ import annotations

import numpy as np

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
