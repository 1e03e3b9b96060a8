"""The ledger: predictions of theory/ beside the rows of simulate/ and llm_validation/, and a verdict for each claim.

An `Entry` is one check at one setting; a claim's line gathers its entries. Predictions are computed here, now, from
`theory.claims`: a row never carries its own prediction. Rows whose check no claim declares (a rule without a bound
on real people) are measurements, not evidence for a claim; they appear in tables and figures, not here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from simulate.rows import ROOT, Row, read_rows
from theory.claims import CLAIMS, Check, Claim, combine, parse_setting, setting_key, verdict
from theory.judgement import Verdict


@dataclass(frozen=True)
class Measured:
    """An estimate pooled over seeds, `stderr` its standard error, and its verdict against the prediction."""

    estimate: float
    stderr: float
    seeds: int
    verdict: Verdict
    witness: str = ""


NOT_RUN = Measured(math.nan, math.nan, 0, "not run")


@dataclass(frozen=True)
class Entry:
    """One check of one claim at one setting: theory | simulation | LLM."""

    claim: Claim
    check: Check
    setting: str
    predicted: float
    simulation: Measured
    llm: Measured


def pool(rows: Sequence[Row]) -> tuple[float, float]:
    """Mean over seeds and its standard error.

    One seed: its own error. Several: the larger of the propagated errors √(Σ se²)/S and the spread between seeds
    sd/√S, so that a table (se 0) that varies over seeds is not taken as exact.
    """
    estimates = [row.estimate for row in rows]
    S = len(estimates)
    centre = sum(estimates) / S
    propagated = math.sqrt(sum(row.stderr**2 for row in rows)) / S
    if S == 1:
        return centre, propagated
    spread = math.sqrt(sum((e - centre) ** 2 for e in estimates) / (S - 1) / S)
    return centre, max(propagated, spread)


def measure(check: Check, predicted: float, rows: Sequence[Row]) -> Measured:
    """Pool the rows of one check and setting and judge them; `NOT_RUN` without rows."""
    if not rows:
        return NOT_RUN
    estimate, stderr = pool(rows)
    judged = verdict(check, predicted, estimate, stderr)
    return Measured(estimate, stderr, len(rows), judged, rows[0].witness)


def entries(claims: Iterable[Claim], simulation: Sequence[Row], llm: Sequence[Row]) -> list[Entry]:
    """Every declared setting of every check, run or not, and every further setting that has rows (users' files)."""
    found = []
    for claim in claims:
        for check in claim.checks:
            mine = [
                [row for row in rows if (row.claim, row.check) == (claim.id, check.name)] for rows in (simulation, llm)
            ]
            declared = [setting_key(setting) for setting in check.settings]
            extra = sorted({row.setting for rows in mine for row in rows} - set(declared))
            for key in declared + extra:
                predicted = check.predict(parse_setting(key))
                sim, lm = (measure(check, predicted, [row for row in rows if row.setting == key]) for rows in mine)
                found.append(Entry(claim, check, key, predicted, sim, lm))
    return found


@dataclass(frozen=True)
class Line:
    """One claim in the ledger. `llm` is `not run` where no row exists; `verdict` joins what was run."""

    claim: Claim
    checks: int
    simulation: Verdict
    llm: Verdict
    verdict: Verdict


def lines(ledger: Sequence[Entry]) -> list[Line]:
    """One line per claim, in order.

    A column's verdict is its worst entry's. The LLM column of a claim without a single LLM row is `not run`, and
    then the line's verdict is the simulation's; where there are LLM rows both columns count.
    """
    result = []
    for claim in dict.fromkeys(entry.claim for entry in ledger):
        mine = [entry for entry in ledger if entry.claim is claim]
        simulation = combine([entry.simulation.verdict for entry in mine])
        with_llm = [entry.llm.verdict for entry in mine if entry.llm.seeds]
        llm = combine(with_llm)
        overall = combine([simulation, llm]) if with_llm else simulation
        result.append(Line(claim, len(mine), simulation, llm, overall))
    return result


def load(profile: str, root: Path = ROOT) -> list[Entry]:
    """The ledger of a profile, from simulate/results/PROFILE and llm_validation/results/PROFILE (and gpu)."""
    simulation = read_rows(root / "simulate" / "results" / profile)
    llm = read_rows(root / "llm_validation" / "results" / profile)
    return entries(CLAIMS, simulation, llm)


def as_table(ledger: Sequence[Entry]) -> pd.DataFrame:
    """The ledger in long form, one line per entry: what ledger.csv holds."""
    return pd.DataFrame(
        {
            "claim": entry.claim.id,
            "check": entry.check.name,
            "kind": entry.check.kind,
            "setting": entry.setting,
            "theory": entry.predicted,
            "simulation": entry.simulation.estimate,
            "simulation_stderr": entry.simulation.stderr,
            "simulation_verdict": entry.simulation.verdict,
            "llm": entry.llm.estimate,
            "llm_stderr": entry.llm.stderr,
            "llm_seeds": entry.llm.seeds,
            "llm_verdict": entry.llm.verdict,
            "resolution": entry.check.tolerance(entry.predicted),
            "quantity": entry.check.quantity,
            "witness": entry.simulation.witness if entry.simulation.verdict == "disagrees" else "",
        }
        for entry in ledger
    )
