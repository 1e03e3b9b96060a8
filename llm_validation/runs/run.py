"""What a run is: which function measures it, where, what of which claims it shows; and what all runs share.

Runs are declared at the end of the file that holds them, `RUNS = (Run(…), …)`, and joined in `runs.table`: which claims
can be asked for, which catalogues are fitted, what is timed and what a plan counts all follow from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from llm_validation.catalogue.reference import total_variation
from llm_validation.profiles import Profile
from llm_validation.training.device import DeviceRates
from simulate.people.data import People
from simulate.rows.measurement import Measurement, measurement
from theory.claim import Setting
from theory.validate import Array

#: The three catalogues. Their names are words of what is drawn and of rows.
MAIN, SAFETY, PEOPLE = "catalogue", "safety", "people"


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
    scorer     the same, of the code that trains Best-of-N's reward model
    writes     False in a process that shares its jobs with another one, which writes what they leave
    content    digest of a base model that is given
    """

    base: Path
    folder: Path
    profile: Profile
    people: People
    about: dict[str, str | int]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rates: DeviceRates | None = None
    code: str = ""
    scorer: str = ""
    writes: bool = True
    content: str = ""


@dataclass(frozen=True, eq=False)
class Run:
    """One run; with a seed it is a job.

    name       of its jobs
    measure    what it measures: a function of a reference; on the people's catalogue of (reference, context); of a run
               that starts from the base model of (context, seed)
    claims     that it shows: "V1" with all that a model is to show of it, or one check of it, "V7.mean_tv"
    catalogue  that it trains on; None: it starts from the base model itself, or generates freely
    prompts    places of its prompts on the catalogue
    at         the settings of those checks that it measures are those that agree with this
    also       rows that no check judges, which figures and notes show: "P12.trained_path"
    free       names in a setting whose values are the profile's or the user's
    timed      rows hold seconds: on a GPU only its own kind runs beside it, and waits where it is timed
    after      a fit that comes first, once for all seeds
    kept       of such a fit: is what it leaves there, as this context would make it again?
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
    after: Run | None = None
    kept: Callable[[Context], bool] | None = None

    @property
    def claim_ids(self) -> set[str]:
        """The claims that it shows something of."""
        return {claim.partition(".")[0] for claim in self.claims}


def law_rows(claim: str, setting: Setting, reference: Array, reached: Array, target: Array) -> list[Measurement]:
    """How near trained laws (P, K) come to their predictions, and whether that could have failed (`targets.near`).

    Total variation on average and at the worst; the slope of measured on predicted log π/π_ref over all prompts and
    responses, each weighted by its mass under reference and prediction; and the total variation of the reference, which
    is what a model would show that had learnt nothing.
    """
    distance = total_variation(reached, target)
    worst = int(distance.argmax())
    held = (target > 0.0) & (reached > 0.0)
    mass = 0.5 * (reference + target) * held
    x, y = (np.log(np.where(held, law, 1.0) / np.where(held, reference, 1.0)) for law in (target, reached))
    x, y = (values - (mass * values).sum() / mass.sum() for values in (x, y))
    untrained = float(total_variation(reference, target).mean())
    return [
        measurement(claim, "mean_tv", setting, float(distance.mean()), n=distance.size),
        measurement(claim, "worst_tv", setting, float(distance[worst]), n=distance.size, note=f"prompt {worst}"),
        measurement(claim, "slope", setting, float((mass * x * y).sum() / (mass * x * x).sum()), n=int(held.sum())),
        measurement(claim, "untrained_tv", setting, untrained, n=len(target)),
    ]
