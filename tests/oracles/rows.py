"""Rows that a test makes up, as a stage would write them, and how what is measured is judged."""

from __future__ import annotations

from collections.abc import Iterable

from llm_validation.claims.table import find_check
from simulate.rows.measurement import Measurement
from simulate.rows.store import Row
from theory.claim import Setting, Verdict, setting_key, verdict


def made_row(
    claim: str, check: str, setting: str | Setting = "", estimate: float = 0.0, stderr: float = 0.0, *, seed: int = 0,
    n: int = 1, half_width: float = 0.0, seconds: float = 0.0, witness: str = "",
) -> Row:  # fmt: skip
    """One row; its interval is so wide on either side."""
    place = setting if isinstance(setting, str) else setting_key(setting)
    ends = (estimate - half_width, estimate + half_width)
    return Row(claim, check, place, seed, estimate, stderr, n, *ends, seconds, witness, "s")


def verdicts(measured: Iterable[Measurement]) -> dict[str, set[Verdict]]:
    """Check → the verdicts on its settings, as if each number had no error."""
    found: dict[str, set[Verdict]] = {}
    for row in measured:
        check = find_check(row.claim, row.check.removeprefix("real_"))
        found.setdefault(check.name, set()).add(verdict(check, check.predict(row.setting), row.value, 0.0))
    return found
