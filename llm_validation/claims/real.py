"""What a model that others trained should show: targets written before it was trained on anything here.

These checks are that model's own; the other language models have theirs in the files of the topics.
"""

from __future__ import annotations

from llm_validation.claims.settings import PEOPLE_BETAS
from llm_validation.claims.targets import PAIRED, TARGET
from theory.claim import Check, Setting, at_most, equal, greater, grid

#: PRO and DPO on pairs: (alpha, kl_beta).
PAIR = (2.25, 0.1)
#: Losses of single responses: name → the claim that its log-ratios show.
RATIO_CLAIM = {"rdro": "R2", "kldo": "V1", "ddro": "R1", "bco": "V3", "hellinger": "V6", "kl": "V5",
               "rdro_pooled": "R5"}  # fmt: skip
#: Kinds of DPO's pairs; methods that learn from a population, and their weights of the KL term.
DISPLACED = ("one pair", "one word", "many pairs")
DIFFERENCE = ("nlhf", "dpo", "rlhf")
WEIGHT = {"rlhf": 0.5, "dpo": 0.5, "nlhf": 0.1}
#: Name in rows of the people who are there without a file.
PEOPLE_NAME = "starwars"

_SLOPE = "slope of measured on predicted log π/π_ref over all prompts and responses"


def _levels(name: str) -> tuple[Check, ...]:
    """Log-ratios of one loss: the largest error and the slope."""
    at: tuple[Setting, ...] = ({"method": name},)
    return (
        at_most("real_error", "error of log π/π_ref, nats, worst response of all prompts", 0.02, at=at,
                because=TARGET),
        equal("real_slope", _SLOPE, 1.0, at=at, within=0.01, because=TARGET),
    )  # fmt: skip


def _choice(*methods: str) -> tuple[Check, ...]:
    return (
        at_most("real_tv", "total variation to the prediction, conditional on the catalogue, worst prompt", 0.02,
                at=grid(method=methods), because=TARGET),
    )  # fmt: skip


#: claim id → its checks on such a model.
REAL: dict[str, tuple[Check, ...]] = {
    "D9": _choice("nlhf"),
    "D12": _choice("rlhf", "dpo"),
    "D17": (
        equal("real", "distortion of the trained model over its plug-in prediction, less one", 0.0, within=0.02,
              at=grid(population=PEOPLE_NAME, method=DIFFERENCE, bt_beta=PEOPLE_BETAS),
              measured=("data", "items", "missing", "scale"), because=TARGET),
    ),
    "P5": (
        greater("real_unlabelled", "mean |log π/π_ref| under DPO of responses in no pair, nats", 0.0,
                at=grid(pairs=DISPLACED), because=PAIRED),
    ),
    "P12": (
        at_most("real_levels", "error of log π/π_ref relative to its prediction, worst prompt", 0.01,
                at=grid(response=("chosen", "rejected")), because=TARGET),
        equal("real_slope", _SLOPE, 1.0, at=({"method": "pro"},), within=0.01, because=TARGET),
    ),
    **{claim: _levels(name) for name, claim in RATIO_CLAIM.items()},
}  # fmt: skip
