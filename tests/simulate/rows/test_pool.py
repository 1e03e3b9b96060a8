"""Seeds pooled: the mean, its error, and the degrees of freedom that decide how wide the interval is."""

from __future__ import annotations

import math

import pytest

from simulate.rows.pool import judge, pool, pooled
from simulate.rows.store import Row
from theory.claim import equal, rate

EQUAL = equal("check", "quantity", 1.0, within=0.1, because="a test")
RATE = rate("check", "quantity", 1.0, within=0.1, because="a test")


def rows(n: int, *estimates: float, stderr: float = 0.0) -> list[Row]:
    return [
        Row("D1", "check", "", seed, estimate, stderr, n, math.nan, math.nan, 0.0, "", "stamp")
        for seed, estimate in enumerate(estimates)
    ]


def test_seeds_are_pooled():
    assert pool([1.0], [0.2]) == (1.0, 0.2)
    assert pool([1.0, 1.0], [0.2, 0.2])[1] == pytest.approx(0.2 / math.sqrt(2))
    # tables that differ between seeds are not exact: the spread counts
    assert pool([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])[1] == pytest.approx(1 / math.sqrt(3))


@pytest.mark.parametrize(
    ("check", "found", "dof"),
    [
        (EQUAL, rows(100, 1.0, stderr=0.01), 99),
        (EQUAL, rows(1, 1.0, stderr=0.01), 1),
        (RATE, rows(5, 1.0, stderr=0.01), 3),  # two of five points fix the line
        (RATE, rows(5, 1.0, 1.001, stderr=0.01), 6),
        (EQUAL, rows(100, 1.0, 1.01, 0.99, stderr=0.01), 297),  # a spread that the seeds' own errors explain
        (EQUAL, rows(100, 1.0, 1.1, 0.9, stderr=0.01), 2),  # and one that they do not
        (EQUAL, rows(100, 1.0, 1.1, 0.9), 2),
        (EQUAL, rows(1, 1.0, 1.0, 1.0), 3),
    ],
)
def test_degrees_of_freedom(check, found, dof):
    assert pooled(check, found).dof == dof


def test_three_seeds_are_few():
    assert judge(EQUAL, rows(1, 0.99, 1.0, 1.01)) == "agrees"
    assert judge(EQUAL, rows(1, 0.98, 1.0, 1.02)) == "inconclusive"  # 9.92·0.0115 is more than 0.1
    assert judge(EQUAL, rows(100, 1.3, 1.3, 1.3, stderr=0.01)) == "disagrees"
