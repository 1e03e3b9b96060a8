"""How runs on one data set differ, and the features that they train (P14). Shapes: A responses."""

from __future__ import annotations

import math

import numpy as np

from theory.proximal.examples import COMPARISONS
from theory.validate import Array

#: Rates and numbers of steps between which runs on the coupled pair differ (P14).
RATES = (8.0, 32.0)
RUN_STEPS = (3000, 10_000)


def comparison_features(data: str) -> Array:
    """Features Φ (A, 4) of the responses of `COMPARISONS`: columns of length 1, at right angles, without pattern."""
    n = COMPARISONS[data][0]
    table = np.cos(math.sqrt(2.0) * np.outer(np.arange(1, n + 1), np.arange(1, 5) ** 1.5))
    return np.asarray(np.linalg.svd(table, full_matrices=False)[0] @ np.eye(min(n, 4), 4))
