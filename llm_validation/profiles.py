"""How much a profile trains: one frozen record per profile, and nothing else decides how long anything takes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from llm_validation.catalogue.train import Schedule
from llm_validation.pretraining.config import PRESETS, Pretraining


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


#: Size of the model → peak learning rates of reference fits and of alignment runs: the wider, the slower.
RATES = {
    "smoke": (1e-2, 3e-3),
    "micro": (4e-3, 2e-3),
    "tiny": (2e-3, 1e-3),
    "mini": (1e-3, 5e-4),
    "small": (5e-4, 2e-4),
    "base": (3e-4, 1e-4),
}

#: Each profile at its own size. `smoke` shows that everything runs; its policies are not meant to be near their
#: predictions.
PROFILES: dict[str, Profile] = {
    "smoke": Profile(
        PRESETS["smoke"], 1, Schedule(steps=250, rate=1e-2), Schedule(steps=20, rate=3e-3, record=10), betas=(5.0,)
    ),
    "cpu": Profile(PRESETS["tiny"], 3, Schedule(steps=250, rate=2e-3), Schedule(steps=300)),
    "gpu": Profile(PRESETS["small"], 5, Schedule(steps=400, rate=5e-4), Schedule(steps=600, rate=2e-4)),
}


#: Sizes that a profile runs one after another, if it is more than its own.
SIZES_OF: dict[str, tuple[str, ...]] = {"gpu": ("small", "base")}


def profile_at(name: str, size: str | None = None) -> Profile:
    """A profile at a size of the model, its own by default: that size's pretraining and learning rates.

    ValueError for a size that has no preset.
    """
    own = PROFILES[name]
    if size is None or size == own.pretraining.size:
        return own
    if size not in RATES:
        raise ValueError(f"no model size {size!r}; there are {', '.join(RATES)}")
    fit, runs = RATES[size]
    return replace(own, pretraining=PRESETS[size], fit=replace(own.fit, rate=fit), runs=replace(own.runs, rate=runs))


def folder_name(name: str, size: str | None = None) -> str:
    """Where a profile's rows go, below llm_validation/results: PROFILE at its own size, else PROFILE-SIZE."""
    return name if size is None or size == PROFILES[name].pretraining.size else f"{name}-{size}"
