"""The recorded rows come back: of every check that has a quick cell, that cell is measured again."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulate.experiments import EXPERIMENTS, jobs
from simulate.profiles import PROFILES
from simulate.rows.reach import ROOT
from simulate.rows.store import Row, read_rows
from tests.oracles.experiments import measure
from theory.claim import parse_setting
from theory.claims import CLAIMS

RECORDED = ROOT / "simulate" / "results" / "reference"
#: Recorded seconds up to which a cell is quick: three checks in four, ten seconds in all.
QUICK = 0.3


def quickest() -> dict[str, Row]:
    """`claim.check` → its quickest cell of seed 0."""
    found: dict[str, Row] = {}
    for row in sorted(read_rows(RECORDED), key=lambda row: row.seconds):
        if row.seed == 0 and row.seconds <= QUICK and f"{row.claim}.{row.check}" in EXPERIMENTS:
            found.setdefault(f"{row.claim}.{row.check}", row)
    return found


QUICKEST = quickest()


def test_numpy_draws_as_when_the_rows_were_recorded():
    """From 2.5 on it draws binomials of means above 30 otherwise, and multinomials: set-up pins an older one."""
    assert np.random.default_rng(7).binomial(400, 0.3, size=100_000).sum() == 11_994_848


def test_most_checks_have_a_quick_cell():
    assert len(QUICKEST) > 0.6 * len(EXPERIMENTS)


@pytest.mark.parametrize("key", QUICKEST)
def test_a_recorded_row_comes_back(key):
    """To five digits: solvers end at other last ones on another machine."""
    row = QUICKEST[key]
    found = measure(key, parse_setting(row.setting), "cpu")
    assert found.n == row.n
    for mine, recorded in ((found.value, row.estimate), (found.stderr, row.stderr)):
        both_none = math.isnan(mine) and math.isnan(recorded)
        assert both_none or math.isclose(mine, recorded, rel_tol=1e-5, abs_tol=1e-8)


def test_every_cell_of_the_claims_is_recorded_and_no_other():
    """D17 aside: its cells are the files that were given."""
    cells = {(job.name, job.seed) for job in jobs(CLAIMS, PROFILES["cpu"], 0)}
    rows = [row for row in read_rows(RECORDED) if row.claim != "D17"]
    assert {(f"{row.claim}.{row.check} at {row.setting}", row.seed) for row in rows} == cells
