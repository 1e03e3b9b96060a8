"""What a run is: which function measures it, where, what of which claims it shows; and what all runs share.

Runs are declared at the end of the file that holds them, `RUNS = (Run(…), …)`, and joined in `runs.table`: which claims
can be asked for, which catalogues are fitted, what is timed and what a plan counts all follow from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from llm_validation.claims.table import llm_checks
from llm_validation.profiles import Profile
from llm_validation.training.device import DeviceRates
from simulate.people.people import People
from simulate.rows.measurement import Measurement, measurement
from theory.claim import Setting, setting_key
from theory.validate import Array

#: The three catalogues. Their names are words of what is drawn and of rows.
MAIN, SAFETY, PEOPLE = "catalogue", "safety", "people"
#: A setting as a value.
Place = frozenset[tuple[str, Any]]


@dataclass(frozen=True, eq=False)
class Context:
    """What all jobs share.

    base       folder or name of the base model
    folder     results folder; checkpoints and traces go below it
    profile    how much is trained, written and read
    people     the users of D17, and what rows say of them
    device     where training runs
    rates      what the device can do, if that was measured
    code       fingerprint of the code: a reference that other code fitted is fitted again
    writes     False in a process that shares its jobs with another one, which writes what they leave
    """

    base: Path
    folder: Path
    profile: Profile
    people: People
    about: dict[str, str | int]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rates: DeviceRates | None = None
    code: str = ""
    writes: bool = True


@dataclass(frozen=True, eq=False)
class Run:
    """One run; with a seed it is a job.

    name       of its jobs
    measure    what it measures: a function of a reference; on the people's catalogue of (reference, context); of a run
               that generates freely of (context, seed)
    claims     that it shows: "V1" with all that a model is to show of it, or one check of it, "V7.mean_tv"
    catalogue  that it trains on; None: it starts from the base model itself and generates freely
    prompts    places of its prompts on the catalogue
    at         the settings of those checks that it measures are those that agree with this
    also       rows that no check judges, which figures and notes show: "P12.trained_path"
    free       names in a setting whose values are the profile's or the user's
    timed      rows hold seconds: on a GPU nothing else runs beside it
    """

    name: str
    measure: Callable[..., Iterable[Measurement]]
    claims: tuple[str, ...] = ()
    catalogue: str | None = MAIN
    prompts: slice = field(default_factory=lambda: slice(None))
    at: Setting = field(default_factory=dict)
    also: tuple[str, ...] = ()
    free: tuple[str, ...] = ()
    timed: bool = False

    @property
    def claim_ids(self) -> set[str]:
        """The claims that it shows something of."""
        return {claim.partition(".")[0] for claim in self.claims}

    @cached_property
    def declared(self) -> dict[str, set[Place]]:
        """Check, "V7.mean_tv" → its settings that this run is to measure, less what is `free` in them."""
        declared: dict[str, set[Place]] = {}
        for claim_id, _, only in (claim.partition(".") for claim in self.claims):
            checks = [check for check in llm_checks(claim_id) if only in ("", check.name)]
            if not checks:
                raise ValueError(f"run {self.name}: no model is to show {claim_id}{only and '.'}{only}")
            for check in checks:
                settings = {self._fixed(setting) for setting in check.settings if self._agrees(setting)}
                if not settings:
                    raise ValueError(
                        f"run {self.name}: {claim_id}.{check.name} has no setting at {setting_key(self.at)}"
                    )
                declared[f"{claim_id}.{check.name}"] = settings
        return declared

    def holds(self, check: str, setting: Setting) -> bool:
        """Is a row of `check`, "V7.mean_tv", at that setting one of this run?"""
        return self._agrees(setting) if check in self.also else self._fixed(setting) in self.declared.get(check, ())

    def validated(self, rows: Iterable[Measurement]) -> Iterator[Measurement]:
        """The rows as they come. ValueError names a row that is not declared, and in the end one that did not come."""
        missing = {check: set(settings) for check, settings in self.declared.items()}
        for row in rows:
            check = f"{row.claim}.{row.check}"
            if not self.holds(check, row.setting):
                known = sorted({name for place in self.declared.get(check, ()) for name, _ in place})
                where = f"at {setting_key(row.setting) or 'no setting'}"
                names = f"; its settings have {', '.join(known) or 'no name'}" if check in self.declared else ""
                raise ValueError(f"run {self.name} yields {check} {where}, which it does not declare{names}")
            missing.get(check, set()).discard(self._fixed(row.setting))
            yield row
        for check, places in missing.items():
            for place in places:
                at = setting_key(dict(sorted(place))) or "any setting"
                raise ValueError(f"run {self.name} did not yield {check} at {at}, which it declares")

    def _agrees(self, setting: Setting) -> bool:
        return all(setting[name] == value for name, value in self.at.items() if name in setting)

    def _fixed(self, setting: Setting) -> Place:
        return frozenset((name, value) for name, value in setting.items() if name not in self.free)


def tv_rows(claim: str, setting: Setting, distance: Array) -> list[Measurement]:
    """Mean and worst total variation (P,) of trained policies to their predictions."""
    worst = int(distance.argmax())
    return [
        measurement(claim, "mean_tv", setting, float(distance.mean()), n=distance.size),
        measurement(claim, "worst_tv", setting, float(distance[worst]), n=distance.size, note=f"prompt {worst}"),
    ]
