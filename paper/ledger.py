"""The ledger: predictions of theory/ beside the rows of simulate/ and llm_validation/, and a verdict for each claim.

An `Entry` is one check at one setting; a claim's line gathers its entries. Checks are measured by simulation, or on a
language model (`llm_validation.claims`). Language models have one column each, in the order of
`llm_validation.recorded.MODELS`: the small one that any machine trains, then the larger ones whose rows are recorded
where a GPU was at hand. Predictions are computed here, now, from `theory.claims`: a row never carries its own
prediction. Rows whose check no claim declares (a rule without a bound on real people) are measurements, not evidence
for a claim; they appear in tables and figures, not here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from llm_validation import recorded
from llm_validation.claims.table import trained_checks
from llm_validation.recorded import MODELS, Model
from simulate.rows.pool import pooled, worst
from simulate.rows.reach import HOME
from simulate.rows.store import Row, read_rows
from theory.claim import Check, Claim, Verdict, combine, half_width, notices, parse_setting, setting_key, verdict
from theory.claims import CLAIMS
from theory.markup import csv


@dataclass(frozen=True)
class Pooled:
    """An estimate pooled over seeds, `stderr` its standard error with `dof` degrees of freedom, and its verdict against
    the prediction."""

    estimate: float
    stderr: float
    seeds: int
    verdict: Verdict
    witness: str = ""
    dof: float = math.inf


#: A standard error that is smaller beside its estimate is rounding.
EXACT = 1e-12
NOT_RUN = Pooled(math.nan, math.nan, 0, "not run")
#: Where a column has nothing to measure: a check of the other column.
NOT_MEANT = Pooled(math.nan, math.nan, -1, "not run")


@dataclass(frozen=True)
class Entry:
    """One check of one claim at one setting: theory | simulation | one column per trained model, by its name."""

    claim: Claim
    check: Check
    setting: str
    predicted: float
    simulation: Pooled
    trained: Mapping[str, Pooled]

    @property
    def verdict(self) -> Verdict:
        """The column's that this check is meant for, the others' where they have rows: the worst of them."""
        if self.check.kind == "cited":
            return "cited"
        return combine([m.verdict for m in self.columns if m.seeds > 0])

    @property
    def declared(self) -> bool:
        """Is the setting the check's own? A further one comes with a column's rows, and asks nothing of the others."""
        return self.setting in map(setting_key, self.check.settings)

    @property
    def columns(self) -> tuple[Pooled, ...]:
        """Simulation, and every trained model."""
        return (self.simulation, *self.trained.values())

    def notices(self, change: float) -> list[bool]:
        """Per column that agrees: would it disagree if the prediction were so much larger, or smaller? See
        `theory.claim.notices`; nothing for a prediction of 0 whose scale is unknown."""
        agreeing = [m for m in self.columns if m.verdict == "agrees"]
        asked = [notices(self.check, self.predicted, m.estimate, m.stderr, m.dof, change=change) for m in agreeing]
        return [found for found in asked if found is not None]

    @property
    def witness(self) -> str:
        """What the first disagreeing column noted."""
        broken = [m for m in self.columns if m.verdict == "disagrees"]
        return broken[0].witness if broken else ""


def judged(check: Check, predicted: float, rows: Sequence[Row]) -> Pooled:
    """Pool the rows of one check and setting and judge them; `NOT_RUN` without rows."""
    if not rows:
        return NOT_RUN
    found = pooled(check, predicted, rows)
    decided = verdict(check, predicted, found.estimate, found.stderr, found.dof)
    witness = worst(check, predicted, rows).witness
    return Pooled(found.estimate, found.stderr, len(rows), decided, witness, found.dof)


def entries(claims: Iterable[Claim], simulation: Sequence[Row], *trained: Sequence[Row]) -> list[Entry]:
    """Every declared setting of every check, run or not, and every further setting that has rows (users' files).

    trained  rows per model, in the order of `MODELS`; a model left out has none. ValueError for more than there are
    """
    if len(trained) > len(MODELS):
        raise ValueError(f"{len(trained)} lists of rows for {len(MODELS)} models: {', '.join(MODELS)}")
    columns = [_rows_of_checks(rows) for rows in (simulation, *trained, *([()] * (len(MODELS) - len(trained))))]
    found = []
    for claim in claims:
        for check in (*claim.checks, *trained_checks(claim.id)):
            mine = [column.get((claim.id, check.name), []) for column in columns]
            declared = [setting_key(setting) for setting in check.settings]
            extra = sorted({row.setting for rows in mine for row in rows} - set(declared))
            for key in declared + extra:
                predicted = check.predict(parse_setting(key))
                first, *others = [judged(check, predicted, [r for r in rows if r.setting == key]) for rows in mine]
                own = check in trained_checks(claim.id)
                simulated = NOT_MEANT if check.kind == "cited" or own else first
                found.append(Entry(claim, check, key, predicted, simulated, dict(zip(MODELS, others, strict=True))))
    return found


def z_score(predicted: float, pooled: Pooled) -> float:
    """(estimate − predicted)/standard error; NaN where nothing was run or the estimate is exact."""
    return math.nan if pooled.seeds <= 0 or is_exact(pooled) else (pooled.estimate - predicted) / pooled.stderr


def is_exact(pooled: Pooled) -> bool:
    """Is there no error but that of rounding?"""
    return pooled.stderr <= EXACT * abs(pooled.estimate)


def agrees_by_resolution(entry: Entry, pooled: Pooled) -> bool:
    """It agrees though the prediction is outside the interval, on the side of a bound that matters."""
    if pooled.verdict != "agrees" or entry.check.kind == "ordering" or is_exact(pooled):
        return False
    return entry.check.excess(entry.predicted, pooled.estimate) > half_width(pooled.stderr, pooled.dof)


def share(found: Sequence[bool]) -> float:
    """How many are true, of all; NaN of none."""
    return sum(found) / len(found) if found else math.nan


def filled(ledger: Iterable[Entry]) -> dict[str, Model]:
    """The trained models that have a row: the columns of language models that are printed."""
    run = {name for entry in ledger for name, pooled in entry.trained.items() if pooled.seeds > 0}
    return {name: model for name, model in MODELS.items() if name in run}


def _rows_of_checks(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.claim, row.check), []).append(row)
    return found


def by_check(ledger: Iterable[Entry]) -> dict[tuple[Claim, Check], list[Entry]]:
    """Every check of a ledger, in its order, with its entries."""
    found: dict[tuple[Claim, Check], list[Entry]] = {}
    for entry in ledger:
        found.setdefault((entry.claim, entry.check), []).append(entry)
    return found


@dataclass(frozen=True)
class Line:
    """One claim in the ledger. A trained model without rows is `not run`; `verdict` joins what was run."""

    claim: Claim
    entries: tuple[Entry, ...]
    simulation: Verdict
    trained: Mapping[str, Verdict]
    verdict: Verdict

    def columns(self, models: Iterable[str]) -> list[str]:
        """The verdicts of the simulation, empty for what only a language model can measure, and of these models."""
        return [self.simulation if self.claim.checks else "", *(self.trained[name] for name in models)]


def lines(ledger: Sequence[Entry]) -> list[Line]:
    """One line per claim, in order.

    A column's verdict is its worst entry's, every declared setting counting: one that was not run keeps the column from
    agreeing. A part that is only cited is in no column, and keeps the line from saying that it agrees.
    A language-model column without a single row is `not run` and does not count in the line's verdict.
    """
    result = []
    for claim in dict.fromkeys(entry.claim for entry in ledger):
        mine = [entry for entry in ledger if entry.claim is claim]
        measured = [check for check in claim.checks if check.kind != "cited"]
        asked = [e for e in mine if e.check in measured and (e.simulation.seeds or e.declared)]
        simulation = combine([entry.simulation.verdict for entry in asked])
        trained = {name: _column(name, claim, mine) for name in MODELS}
        run: list[Verdict] = [verdict for verdict in trained.values() if verdict != "not run"]
        only_cited: list[Verdict] = ["cited" for check in claim.checks if check.kind == "cited"]
        # some claims are the language model's own
        overall = combine([*([simulation] if measured else []), *run, *only_cited])
        result.append(Line(claim, tuple(mine), simulation, trained, overall))
    return result


def _column(name: str, claim: Claim, own: Sequence[Entry]) -> Verdict:
    """Verdict of a language-model column: `not run` without rows, else its own checks and whatever else has rows."""
    meant = trained_checks(claim.id, name)
    if not any(entry.trained[name].seeds for entry in own):
        return "not run"
    asked = [e for e in own if e.trained[name].seeds or (e.check in meant and e.declared)]
    found = combine([entry.trained[name].verdict for entry in asked])
    return "inconclusive" if found == "not run" else found  # part of it was run, and not enough to say


def load(profile: str, root: Path = HOME) -> list[Entry]:
    """The ledger of a profile, from simulate/results/PROFILE and each model's folder in llm_validation/results."""
    simulation = read_rows(root / "simulate" / "results" / profile)
    return entries(CLAIMS, simulation, *(recorded.recorded_rows(name, profile, root) for name in MODELS))


def with_rows(profile: str) -> str:
    """The profile, or `reference`, the recorded run, where none of its stages has rows."""
    folders = [HOME / stage / "results" / profile for stage in ("simulate", "llm_validation")]
    return profile if any(read_rows(folder) for folder in folders) else "reference"


def as_table(ledger: Sequence[Entry]) -> pd.DataFrame:
    """The ledger in long form, one line per entry: what ledger.csv holds."""
    return pd.DataFrame(
        {
            "claim": entry.claim.id,
            "check": entry.check.name,
            "kind": entry.check.kind,
            "setting": csv(entry.setting),
            "theory": entry.predicted,
            "simulation": entry.simulation.estimate,
            "simulation_stderr": entry.simulation.stderr,
            "simulation_z": z_score(entry.predicted, entry.simulation),
            "simulation_verdict": entry.simulation.verdict,
            **{c: value for name in entry.trained for c, value in _cells(name, entry)},
            "notices_5_percent": share(entry.notices(0.05)),
            "resolution": entry.check.tolerance(entry.predicted),
            "because": entry.check.because,
            "quantity": entry.check.quantity,
            "witness": csv(entry.witness),
        }
        for entry in ledger
    )


def _cells(name: str, entry: Entry) -> list[tuple[str, float | int | str]]:
    """A trained model's part of a line of ledger.csv."""
    pooled = entry.trained[name]
    return [
        (name, pooled.estimate),
        (f"{name}_stderr", pooled.stderr),
        (f"{name}_z", z_score(entry.predicted, pooled)),
        (f"{name}_seeds", pooled.seeds),
        (f"{name}_verdict", pooled.verdict),
    ]
