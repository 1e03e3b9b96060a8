"""What a trained language model should show of V1–V7 and V10–V12."""

from __future__ import annotations

from llm_validation.claims.settings import CLAIM_OF_LOSS, FITTED_BETA, FIXED, MINIBATCHED, SAFETY_LOSSES
from llm_validation.claims.targets import PAIRED, SAMPLED, TARGET, TRAINED, near
from theory.claim import Check, at_least, at_most, equal, greater, grid

_DRAWS = "20 000 draws per class and prompt"
_KTO = "KTO's logits saturate before all of them are on their side: it stays below TV"
#: Losses of single responses: DPO's pairs reveal another divergence, for which V10 is not stated.
_SINGLE = tuple(name for name in SAFETY_LOSSES if name != "dpo")
_CONSTANTS = (
    *({"name": name, "constant": "fitted"} for name in FITTED_BETA if name != "kto"),
    *({"name": name, "constant": "fixed"} for name in FIXED),
)


def _held_out(name: str | tuple[str, ...], resolution: float, because: str = _DRAWS) -> tuple[Check]:
    return (equal("held_out", "divergence read off held-out draws minus the exact one, mean over prompts", 0.0,
                  at=grid(name=name), within=resolution, because=because),)  # fmt: skip


DIVERGENCES: dict[str, tuple[Check, ...]] = {
    "V1": _held_out("kldo", 0.02),
    "V2": _held_out("kto", 0.1, _KTO),
    "V3": _held_out("bco", 0.02),
    "V4": _held_out("dpo", 0.02),
    "V5": _held_out(tuple(name for name in FITTED_BETA if name not in CLAIM_OF_LOSS), 0.03),
    "V6": _held_out("hellinger", 0.02),
    "V7": (
        *near(_CONSTANTS),
        at_most("minibatch_tv", "total variation to the plug-in optimum, shuffled minibatches, mean over prompts",
                SAMPLED, at=grid(name=MINIBATCHED), because=TARGET),
        at_least("trained_kto_support", "least mass of KTO on R > 1, of what is on the catalogue", 0.95,
                 because=TRAINED),
    ),
    "V10": (
        equal("trained", "divergence read off held-out draws, CR minus preference data, less the exact difference",
              0.0, at=grid(name=_SINGLE), within=0.1, because=_KTO),
        greater("trained_sign", "the same difference itself", 0.0, at=grid(name=_SINGLE), because=PAIRED),
    ),
    "V11": (
        greater("grows", "log Bhattacharyya distance of safe and marked prompts, aligned minus reference model", 0.0,
                at=grid(name=SAFETY_LOSSES, data=("cr", "preference")), because=PAIRED),
        greater("cr_separates_more", "log Bhattacharyya distance, CR minus preference data", 0.0,
                at=grid(name=SAFETY_LOSSES), because=PAIRED),
    ),
    "V12": (
        equal("trained_factor", "change of log E₋[e^r] in one small step down the second term, normalised over plain, "
              "over min(A, U)/U, less one", 0.0, within=0.1, because="second order in the step"),
        greater("trained_up", "change of log E₋[e^r] in that normalised step, over the plain step's fall", 0.0,
                because=PAIRED),
    ),
}  # fmt: skip
