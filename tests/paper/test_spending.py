"""Seconds and noise of checks: what is summed, what is exact, what has no resolution."""

from __future__ import annotations

import math

from paper.ledger import entries
from paper.spending import SIMULATION, report, spent
from simulate.rows.store import Row
from tests.oracles.rows import made_row
from theory.claims import find_claim


def rows(claim_id: str, name: str, stderr: float, seconds: float, seeds: int = 4) -> list[Row]:
    """So many equal rows at the check's first setting, at its prediction."""
    check = next(check for check in find_claim(claim_id).checks if check.name == name)
    setting = check.settings[0]
    value = check.predict(setting)
    return [
        made_row(claim_id, name, setting, value, stderr, seed=seed, n=10**6, seconds=seconds) for seed in range(seeds)
    ]


def test_seconds_are_summed_and_noise_is_in_resolutions():
    claim = find_claim("B3")
    check = next(check for check in claim.checks if check.name == "normal")
    resolution = check.tolerance(check.predict(check.settings[0]))
    own = [*rows("B3", "normal", resolution, 2.5), *rows("B3", "table", 0.0, 1.0)]
    first, second = spent(entries([claim], own), {SIMULATION: own})
    assert (first.check.name, first.seconds, first.settings) == ("normal", 10.0, 1)
    assert (second.check.name, second.seconds, second.noise) == ("table", 4.0, 0.0)
    # four seeds with errors of one resolution each: half of it, times a t quantile that is at least the normal one
    assert 0.5 * 1.96 < first.noise < 4.0
    assert "| simulation | B3.table | 1 | 4.0 | exact |" in report([first, second])
    assert "simulation: 14 s" in report([first, second])


def test_an_ordering_has_no_resolution():
    claim = find_claim("V10")
    own = rows("V10", "cr_above", 0.1, 1.0)
    (found,) = spent(entries([claim], own), {SIMULATION: own})
    assert math.isinf(found.noise)
    assert "| — |" in report([found])
