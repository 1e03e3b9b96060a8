"""Rows as a stage would write them, of a number that a test makes up."""

from __future__ import annotations

from simulate.rows.store import Row
from theory.claim import Setting, setting_key


def made_row(
    claim: str, check: str, setting: str | Setting = "", estimate: float = 0.0, stderr: float = 0.0, *, seed: int = 0,
    n: int = 1, half_width: float = 0.0, seconds: float = 0.0, witness: str = "",
) -> Row:  # fmt: skip
    """One row; its interval is so wide on either side."""
    place = setting if isinstance(setting, str) else setting_key(setting)
    ends = (estimate - half_width, estimate + half_width)
    return Row(claim, check, place, seed, estimate, stderr, n, *ends, seconds, witness, "s")
