"""The ledger: predictions of theory/ beside the rows of simulate/ and llm_validation/, and a verdict for each claim.

An `Entry` is one check at one setting; a claim's line gathers its entries. Checks are measured by simulation, or on a
language model (`Claim.llm_checks`); the language model has two columns, the small one that any machine trains and the
larger one of the profile `gpu`, whose rows are recorded where a GPU was at hand. Predictions are computed here, now,
from `theory.claims`: a row never carries its own prediction. Rows whose check no claim declares (a rule without a
bound on real people) are measurements, not evidence for a claim; they appear in tables and figures, not here.
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
#: Where a column has nothing to measure: a check of the other column.
NOT_MEANT = Measured(math.nan, math.nan, -1, "not run")


@dataclass(frozen=True)
class Entry:
    """One check of one claim at one setting: theory | simulation | LLM | LLM on a GPU."""

    claim: Claim
    check: Check
    setting: str
    predicted: float
    simulation: Measured
    llm: Measured
    gpu: Measured = NOT_RUN

    @property
    def verdict(self) -> Verdict:
        """The column's that this check is meant for, the others' where they have rows: the worst of them."""
        judged = [m.verdict for m in (self.simulation, self.llm, self.gpu) if m.seeds > 0]
        return combine(judged)

    @property
    def witness(self) -> str:
        """What the first disagreeing column noted."""
        broken = [m for m in (self.simulation, self.llm, self.gpu) if m.verdict == "disagrees"]
        return broken[0].witness if broken else ""


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


def entries(
    claims: Iterable[Claim], simulation: Sequence[Row], llm: Sequence[Row], gpu: Sequence[Row] = ()
) -> list[Entry]:
    """Every declared setting of every check, run or not, and every further setting that has rows (users' files)."""
    columns = [_by_check(rows) for rows in (simulation, llm, gpu)]
    found = []
    for claim in claims:
        for check in (*claim.checks, *claim.llm_checks):
            mine = [column.get((claim.id, check.name), []) for column in columns]
            declared = [setting_key(setting) for setting in check.settings]
            extra = sorted({row.setting for rows in mine for row in rows} - set(declared))
            for key in declared + extra:
                predicted = check.predict(parse_setting(key))
                cells = [measure(check, predicted, [row for row in rows if row.setting == key]) for rows in mine]
                if check in claim.llm_checks:
                    cells[0] = NOT_MEANT
                found.append(Entry(claim, check, key, predicted, *cells))
    return found


def _by_check(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.claim, row.check), []).append(row)
    return found


@dataclass(frozen=True)
class Line:
    """One claim in the ledger. `llm` and `gpu` are `not run` where no row exists; `verdict` joins what was run."""

    claim: Claim
    checks: int
    simulation: Verdict
    llm: Verdict
    gpu: Verdict
    verdict: Verdict


def lines(ledger: Sequence[Entry]) -> list[Line]:
    """One line per claim, in order.

    A column's verdict is its worst entry's, every declared setting counting: one that was not run keeps the column from
    agreeing. A language-model column without a single row is `not run` and does not count in the line's verdict.
    """
    result = []
    for claim in dict.fromkeys(entry.claim for entry in ledger):
        mine = [entry for entry in ledger if entry.claim is claim]
        simulation = combine([entry.simulation.verdict for entry in mine if entry.check in claim.checks])
        llm, gpu = (_column(claim, [(entry.check, getattr(entry, name)) for entry in mine]) for name in ("llm", "gpu"))
        judged: list[Verdict] = [verdict for verdict in (llm, gpu) if verdict != "not run"]
        overall = combine([simulation, *judged] if claim.checks else judged)  # some claims are the language model's own
        result.append(Line(claim, len(mine), simulation, llm, gpu, overall))
    return result


def _column(claim: Claim, cells: Sequence[tuple[Check, Measured]]) -> Verdict:
    """Verdict of a language-model column: `not run` without rows, else its own checks and whatever else has rows."""
    if not any(measured.seeds for _, measured in cells):
        return "not run"
    found = combine([measured.verdict for check, measured in cells if measured.seeds or check in claim.llm_checks])
    return "inconclusive" if found == "not run" else found  # part of it was run, and not enough to say


def load(profile: str, root: Path = ROOT) -> list[Entry]:
    """The ledger of a profile, from simulate/results/PROFILE, llm_validation/results/PROFILE and …/gpu."""
    simulation = read_rows(root / "simulate" / "results" / profile)
    llm, gpu = (read_rows(root / "llm_validation" / "results" / name) for name in (profile, "gpu"))
    return entries(CLAIMS, simulation, [] if profile == "gpu" else llm, gpu)


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
            "gpu": entry.gpu.estimate,
            "gpu_stderr": entry.gpu.stderr,
            "gpu_seeds": entry.gpu.seeds,
            "gpu_verdict": entry.gpu.verdict,
            "resolution": entry.check.tolerance(entry.predicted),
            "quantity": entry.check.quantity,
            "witness": entry.witness,
        }
        for entry in ledger
    )
