"""Claim R10: RDRO with an estimated reference. Ours.

>>> from theory.claims import find_claim
>>> round(find_claim("R10").check("constant").predict({"table": "three", "alpha": 0.5, "unlabelled": 1.0}), 4)
0.6916
"""

from __future__ import annotations

from theory.claim import Claim, equal, grid, of_topic
from theory.density_ratio.estimates import expected_total_variation
from theory.density_ratio.limits import TABLES
from theory.density_ratio.reference import estimated_reference_covariance

#: n of the prediction, whose constant does not depend on it.
EXAMPLES = 10**6


def estimated_distance(table: str, alpha: float, unlabelled: float) -> float:
    """R10: √n·E TV(π̂, p⁺), n examples of either class and m = unlabelled·n draws of the reference."""
    m = round(unlabelled * EXAMPLES)
    covariance = estimated_reference_covariance(*TABLES[table], EXAMPLES, EXAMPLES, alpha, m)
    return float(EXAMPLES**0.5) * expected_total_variation(covariance)


claim = of_topic("density_ratio")

REFERENCE_CLAIMS: tuple[Claim, ...] = (
    claim(
        "R10", "RDRO with an estimated reference", ("RDRO", "reference", "unlabelled data", "alpha", "covariance"),
        "With p_α estimated from m unlabelled draws RDRO's covariance is its own plus diag(r) Cov(p̂_α) diag(r): as "
        "α → 1 it is that of m plain draws of p⁺, so α → 1 is free only for a reference that is known.",
        "@takahashi2026 (the loss); ours",
        "equality",
        equal("constant", "√n·E TV(π̂, p⁺), n examples of either class and m unlabelled draws", estimated_distance,
              at=grid(table=("three", "six"), alpha=(0.1, 0.5, 0.9, 0.99), unlabelled=(0.3, 1.0, 10.0)), relative=0.02,
              because="second-order terms at n p⁻ = 5000, and Monte Carlo"),
    ),
)  # fmt: skip
