"""How much a profile trains: one frozen record per profile, and nothing else decides how long anything takes."""

from __future__ import annotations

from dataclasses import dataclass

from llm_validation.pretrain_config import PRESETS, Pretraining
from llm_validation.train import Schedule


@dataclass(frozen=True)
class Profile:
    """The dials of a profile.

    pretraining  the base model: its size and how long it reads the generated language (or a corpus)
    seeds        independent seeds: designed laws, drawn data, catalogue, samples. The base model is shared
    fit          schedule of the reference fits
    runs         schedule of every alignment run; methods scale its rate, never its length
    betas        bt_beta of the users of D17, one prompt each
    """

    pretraining: Pretraining
    seeds: int
    fit: Schedule
    runs: Schedule
    betas: tuple[float, ...] = (1.0, 5.0, 10.0)


#: `smoke` shows that everything runs; its policies are not meant to be near their predictions.
PROFILES: dict[str, Profile] = {
    "smoke": Profile(
        PRESETS["smoke"], 1, Schedule(steps=250, rate=1e-2), Schedule(steps=20, rate=3e-3, record=10), betas=(5.0,)
    ),
    "cpu": Profile(PRESETS["tiny"], 3, Schedule(steps=250, rate=2e-3), Schedule(steps=300)),
    "gpu": Profile(PRESETS["small"], 5, Schedule(steps=400, rate=5e-4), Schedule(steps=600, rate=2e-4)),
}
