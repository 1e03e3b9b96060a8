"""Where the time of a run goes, and how precise it is where it goes: seconds beside standard errors in resolutions.

    python -m paper spending       each check's seconds and noise, the costly first, on recorded rows

Noise is the half-width of the interval of the pooled estimate over the check's resolution. Above 1 nothing can be said;
far below 1 fewer samples would do, unless the seconds go into what has no samples: a solver, or the training of a model
to its end. An ordering has no resolution, and no noise in its units.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from paper.ledger import Entry, by_check
from paper.markdown import table
from simulate.rows.store import Row
from theory.claim import Check, Claim, half_width

#: Names of the column that is no trained model.
SIMULATION = "simulation"


@dataclass(frozen=True)
class Spent:
    """One check in one column: seconds of a processor over all settings and seeds, settings, the largest noise."""

    claim: Claim
    check: Check
    column: str
    seconds: float
    settings: int
    noise: float


def spent(ledger: Sequence[Entry], rows: Mapping[str, Iterable[Row]]) -> list[Spent]:
    """Every check of every column that has rows, the costly first.

    rows  column ("simulation", or a trained model's name) → its rows
    """
    seconds: dict[tuple[str, str, str], float] = {}
    for column, own in rows.items():
        for row in own:
            place = (column, row.claim, row.check)
            seconds[place] = seconds.get(place, 0.0) + row.seconds
    found = []
    for (claim, check), mine in by_check(ledger).items():
        for column in rows:
            noises = [noise for entry in mine for noise in _noise(entry, column)]
            if noises:
                cost = seconds.get((column, claim.id, check.name), 0.0)
                found.append(Spent(claim, check, column, cost, len(noises), max(noises)))
    return sorted(found, key=lambda line: -line.seconds)


def _noise(entry: Entry, column: str) -> list[float]:
    """Half-width over resolution of one setting, if it was run: 0 of what is exact, inf where there is none."""
    pooled = entry.simulation if column == SIMULATION else entry.trained[column]
    resolution = entry.check.tolerance(entry.predicted)
    if pooled.seeds <= 0:
        return []
    noise = half_width(pooled.stderr, pooled.dof) if pooled.stderr > 0.0 else 0.0
    return [noise / resolution if noise and resolution else math.inf if noise else 0.0]


def report(lines: Sequence[Spent]) -> str:
    """What `python -m paper spending` prints."""
    columns = list(dict.fromkeys(line.column for line in lines))
    cells = [
        [line.column, f"{line.claim.id}.{line.check.name}", str(line.settings), f"{line.seconds:.1f}",
         "exact" if not line.noise else f"{line.noise:.2g}" if math.isfinite(line.noise) else "—"]
        for line in lines
    ]  # fmt: skip
    totals = [f"{column}: {sum(line.seconds for line in lines if line.column == column):.0f} s" for column in columns]
    head = ["column", "check", "settings", "seconds", "largest noise, resolutions"]
    return "\n".join([*table(head, cells), "", "A processor's seconds in all: " + ", ".join(totals) + "."])
