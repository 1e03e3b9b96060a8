"""Seeds pooled: the mean, its error, and the degrees of freedom that decide how wide the interval is."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from simulate.rows.pool import judge, pool, pooled, worst
from simulate.rows.store import Row
from tests.oracles.rows import made_row
from theory.claim import at_least, at_most, equal, invariant, rate

EQUAL = equal("check", "quantity", 1.0, within=0.1, because="a test")
RATE = rate("check", "quantity", 1.0, within=0.1, because="a test")


def rows(n: int, *estimates: float, stderr: float = 0.0) -> list[Row]:
    return [made_row("D1", "check", "", estimate, stderr, seed=seed, n=n) for seed, estimate in enumerate(estimates)]


def test_seeds_are_pooled():
    assert pool([1.0], [0.2]) == (1.0, 0.2)
    assert pool([1.0, 1.0], [0.2, 0.2])[1] == pytest.approx(0.2 / math.sqrt(2))
    # tables that differ between seeds are not exact: the spread counts
    assert pool([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])[1] == pytest.approx(1 / math.sqrt(3))


def test_errors_of_seeds_that_share_their_draws_do_not_average_out():
    assert pool([1.0, 1.001, 0.999], [0.2, 0.3, 0.1], shared=True)[1] == pytest.approx(0.2)
    assert pool([1.0, 2.0, 3.0], [0.0, 0.0, 0.0], shared=True)[1] == pytest.approx(1 / math.sqrt(3))
    found = pooled(replace(EQUAL, shared=True), 1.0, rows(24, 1.0, 1.001, 0.999, stderr=0.2))
    assert (found.stderr, found.dof) == (pytest.approx(0.2), 23)


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
    assert pooled(check, 1.0, found).dof == dof


def test_three_seeds_are_few():
    assert judge(EQUAL, rows(1, 0.99, 1.0, 1.01)) == "agrees"
    assert judge(EQUAL, rows(1, 0.98, 1.0, 1.02)) == "inconclusive"  # 9.92·0.0115 is more than 0.1
    assert judge(EQUAL, rows(100, 1.3, 1.3, 1.3, stderr=0.01)) == "disagrees"


def test_one_seed_that_miscounts_is_enough():
    """The mean of 0, 0, 0, 5 is within its spread of 0; but what was lost once is lost."""
    for kind in (equal, invariant):
        counts = kind("check", "quantity", 0.0, because="a count")
        assert judge(counts, rows(64, 0.0, 0.0, 0.0)) == "agrees"
        assert judge(counts, rows(64, 0.0, 0.0, 0.0, 5.0)) == "disagrees"
        assert judge(counts, rows(64, 0.0, math.nan, 0.0)) == "inconclusive"
    assert judge(equal("check", "quantity", 0.0, because="a mean"), rows(64, 0.0, 0.5, stderr=0.5)) == "inconclusive"


@pytest.mark.parametrize(("kind", "low", "found"), [(at_most, 0.9, 1.2), (at_least, 1.1, 0.8)])
def test_a_counterexample_is_one_however_many_searches_found_none(kind, low, found):
    """And its row is the one whose witness is shown; of trained models seeds are draws, and their mean is judged."""
    bound = kind("check", "quantity", 1.0, because="a bound")
    searched = rows(1, *[low] * 7, found)
    assert judge(bound, searched) == "disagrees"
    assert pooled(bound, 1.0, searched).estimate == found
    assert worst(bound, 1.0, searched).seed == 7
    assert judge(replace(bound, trained=True), searched) == "inconclusive"
    assert judge(bound, rows(100, *[low] * 7, found, stderr=1e-3)) == "inconclusive", "a mean of noisy ones"


def test_seeds_of_which_some_are_infinite_have_no_mean():
    assert pool([math.inf, math.inf], [0.0, 0.0]) == (math.inf, 0.0)
    assert math.isnan(pool([math.inf, 0.1], [0.0, 0.0])[1])
    assert judge(equal("check", "quantity", math.inf, within=0.1, because="a test"), rows(1, math.inf, 0.1)) != "agrees"
