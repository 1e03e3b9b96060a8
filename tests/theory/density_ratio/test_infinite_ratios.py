"""Ratio losses of policies at the boundary of the simplex: log-ratios of ±inf, and exponentials that overflow."""

from __future__ import annotations

import math

import pytest

from theory.density_ratio.losses import ratio_loss

P, Q = [0.5, 0.5, 0.0], [0.25, 0.5, 0.25]
INF = math.inf


@pytest.mark.parametrize(
    ("member", "log_ratio", "alpha", "value"),
    [
        ("lsif", [INF, 0.0, 0.0], None, INF),  # −ρp + ρ²q/2, q > 0
        ("kliep", [INF, 0.0, 0.0], None, INF),  # −p log ρ + ρq
        ("logistic", [INF, 0.0, 0.0], None, INF),
        ("lsif", [800.0, 0.0, 0.0], None, INF),
        ("kliep", [800.0, 0.0, 0.0], 0.5, INF),
        ("lsif", [-INF, 0.0, 0.0], None, -0.5 + 0.25 + 0.125),
        ("kliep", [-INF, 0.0, 0.0], None, INF),
        ("lsif", [0.0, 0.0, -INF], 0.5, -1.0 + 0.5 * (0.375 + 0.5)),
        ("kliep", [0.0, 0.0, -INF], None, 0.75),
        ("logistic", [0.0, 0.0, -INF], None, 1.75 * math.log(2)),
    ],
)
def test_infinite_log_ratios(member: str, log_ratio: list[float], alpha: float | None, value: float) -> None:
    assert ratio_loss(member, log_ratio, P, Q, alpha) == pytest.approx(value, abs=1e-15)


def test_infinities_of_both_signs_are_named() -> None:
    """Outcome 0 is never rejected (−∞ for LSIF), outcome 1 is: the sum has no value."""
    with pytest.raises(ValueError, match=r"log_ratio\[1\] makes the loss \+inf and log_ratio\[0\] makes it -inf"):
        ratio_loss("lsif", [INF, INF], [0.5, 0.5], [0.0, 1.0])
    assert ratio_loss("lsif", [INF, 0.0], [0.5, 0.5], [0.0, 1.0]) == -INF
