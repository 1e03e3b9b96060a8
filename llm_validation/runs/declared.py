"""What a run declares, from the checks of its claims, and whether it yields that and nothing else.

Apart from `runs.run`, so that a run's rows do not depend on the code of claims: a resolution may be reworded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from llm_validation.claims.table import llm_checks
from llm_validation.runs.run import Run
from simulate.rows.measurement import Measurement
from theory.claim import Setting, setting_key

#: A setting as a value.
Place = frozenset[tuple[str, Any]]


@cache
def declared(run: Run) -> dict[str, frozenset[Place]]:
    """Check, "V7.mean_tv" → its settings that a run is to measure, less what is `free` in them."""
    places: dict[str, frozenset[Place]] = {}
    for claim_id, _, only in (claim.partition(".") for claim in run.claims):
        checks = [check for check in llm_checks(claim_id) if only in ("", check.name)]
        if not checks:
            raise ValueError(f"run {run.name}: no model is to show {claim_id}{only and '.'}{only}")
        for check in checks:
            settings = frozenset(_fixed(run, setting) for setting in check.settings if _agrees(run, setting))
            if not settings:
                raise ValueError(f"run {run.name}: {claim_id}.{check.name} has no setting at {setting_key(run.at)}")
            places[f"{claim_id}.{check.name}"] = settings
    return places


def holds(run: Run, check: str, setting: Setting) -> bool:
    """Is a row of `check`, "V7.mean_tv", at that setting one of the run?"""
    return _agrees(run, setting) if check in run.also else _fixed(run, setting) in declared(run).get(check, ())


def validated(run: Run, rows: Iterable[Measurement]) -> Iterator[Measurement]:
    """A run's rows as they come. ValueError names one that is not declared, and in the end one that did not come."""
    own = declared(run)
    missing = {check: set(places) for check, places in own.items()}
    for row in rows:
        check = f"{row.claim}.{row.check}"
        if not holds(run, check, row.setting):
            known = sorted({name for place in own.get(check, ()) for name, _ in place})
            where = f"at {setting_key(row.setting) or 'no setting'}"
            names = f"; its settings have {', '.join(known) or 'no name'}" if check in own else ""
            raise ValueError(f"run {run.name} yields {check} {where}, which it does not declare{names}")
        missing.get(check, set()).discard(_fixed(run, row.setting))
        yield row
    for check, places in missing.items():
        for place in places:
            at = setting_key(dict(sorted(place))) or "any setting"
            raise ValueError(f"run {run.name} did not yield {check} at {at}, which it declares")


def _agrees(run: Run, setting: Setting) -> bool:
    return all(setting[name] == value for name, value in run.at.items() if name in setting)


def _fixed(run: Run, setting: Setting) -> Place:
    return frozenset((name, value) for name, value in setting.items() if name not in run.free)
