"""What a trained language model should show of R1–R5 and R8."""

from __future__ import annotations

import math

from llm_validation.claims.settings import RDRO_ALPHA
from llm_validation.claims.targets import PAIRED, TRAINED, WORST, near
from theory.claim import Check, at_most, equal, greater, grid

DENSITY_RATIO: dict[str, tuple[Check, ...]] = {
    "R1": (
        *near(grid(method="ddro")),
        at_most("to_plus", "total variation to p⁺ from π_ref = p⁻, on the catalogue", 0.02, because=TRAINED),
        equal("trained_loss", "loss minus its minimum over all functions, from π_ref = p⁻, nats", 0.0, within=0.005,
              because=TRAINED),
    ),
    "R2": (
        *near(grid(method="rdro")),
        at_most("to_plus", "total variation to p⁺ from π_ref = p_α, on the catalogue", 0.02, because=TRAINED),
        equal("trained_loss", "loss minus its minimum over all functions, from π_ref = p_α, nats", 0.0, within=0.005,
              because=TRAINED),
    ),
    "R3": (
        at_most("trained", "total variation to p⁺ of intransitive comparisons, on the catalogue", 0.02,
                at=grid(method=("rdro", "ddro")), because=TRAINED),
        at_most("dpo_tv", "total variation of DPO on the same comparisons to Bradley–Terry's policy", 0.02,
                because=TRAINED),
        greater("dpo_away", "total variation to p⁺ on these comparisons, DPO minus RDRO", 0.0, because=PAIRED),
    ),
    "R4": (
        at_most("trained_capped", "log-ratio of a response that was never rejected, RDRO", -math.log(RDRO_ALPHA),
                within=0.02, because=TRAINED),
        greater("trained_beyond", "the same under DDRO, less log(1/α)", 0.0, because=PAIRED),
    ),
    "R5": (
        *near(grid(method="pooled")),
        greater("trained_bias", "total variation to p⁺ from π_ref = p_α, pooled minus class means", 0.0,
                because=PAIRED),
    ),
    "R8": (
        at_most("trained", "total variation to the constrained optimum from a far reference", WORST,
                at=grid(method=("ddro", "rdro")), because=TRAINED),
    ),
}  # fmt: skip
