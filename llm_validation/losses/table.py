"""The flat table of all losses, with source, reduction and declared departures; the command `align` reads it."""

from __future__ import annotations

from llm_validation.losses import density_ratio, pairs, unpaired
from llm_validation.losses.parts import LossEntry

#: name → loss. A test walks it: theory values, gradients, weights against means, empty classes.
LOSSES: dict[str, LossEntry] = {**pairs.ENTRIES, **unpaired.ENTRIES, **density_ratio.ENTRIES}


def find_loss(name: str) -> LossEntry:
    """A line of the table; ValueError for a name that is none."""
    if name not in LOSSES:
        raise ValueError(f"no loss {name!r}; there are {', '.join(LOSSES)}")
    return LOSSES[name]
