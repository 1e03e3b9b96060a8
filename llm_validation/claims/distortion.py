"""What a trained language model should show of D3–D5, D8, D9, D11–D13, D15, D17 and D23."""

from __future__ import annotations

from llm_validation.claims.settings import INSTANCE_BETAS, INSTANCES, PEOPLE_BETAS, PEOPLE_METHODS
from llm_validation.claims.targets import PAIRED, SAMPLED, TRAINED, near
from theory.claim import Check, Setting, at_most, equal, greater, grid
from theory.distortion.factors import borda_factor, linear_factor

_BETA_OF = dict(zip(INSTANCES, INSTANCE_BETAS, strict=True))
_DRAWN = "32 samples per prompt and step"


def _instances(*names: str) -> tuple[Setting, ...]:
    return tuple({"bt_beta": _BETA_OF[name], "instance": name} for name in names)


def _excess(method: str) -> Check:
    return equal("excess", f"distortion of the {method} model over its plug-in prediction, less one", 0.0,
                 at=grid(method=method, instance=INSTANCES), within=0.02, because=TRAINED)  # fmt: skip


DISTORTION: dict[str, tuple[Check, ...]] = {
    "D3": (
        at_most("trained", "distortion of the NLHF-trained model", linear_factor, measured=("instance",),
                at=_instances("I3", "I5", "I9", "I9_product", "random"),
                because="a bound of games without a KL term, which weighs .1 here"),
    ),
    "D4": (
        at_most("trained", "distortion of the RLHF-trained model, product sampling", borda_factor,
                at=_instances("I3", "I5", "I9_product", "random"), measured=("instance",),
                because="a bound of RLHF without a KL term, which weighs .2 at most here"),
    ),
    "D5": (
        greater("trained", "distortion on I5 of the RLHF-trained model minus the NLHF-trained one", 0.0,
                at=grid(bt_beta=5.0), because=PAIRED),
    ),
    "D8": (
        _excess("rlhf"),
        greater("trained", "distortion in the ball on I6 of the RLHF-trained model minus the NLHF-trained one", 0.0,
                at=grid(bt_beta=5.0), because=PAIRED),
    ),
    "D9": (
        at_most("trained", "distortion in the ball on I6 of the NLHF-trained model", linear_factor,
                at=grid(bt_beta=5.0), because="a bound"),
        _excess("nlhf"),
        *near(grid(method="nlhf")),
        at_most("sampled_tv", "total variation of NLHF by self-play on samples to its optimum, mean over prompts",
                SAMPLED, because=_DRAWN),
    ),
    "D11": (
        greater("trained", "distortion on I9 of the RLHF-trained model, adjacent pairs minus product pairs", 0.0,
                at=grid(bt_beta=10.0), because=PAIRED),
    ),
    "D12": (
        *near(grid(method=("rlhf", "dpo"))),
        at_most("apart", "total variation between the DPO- and the RLHF-trained model, on the catalogue", 0.02,
                because=TRAINED),
        at_most("sampled_tv", "total variation of RLHF by RLOO on samples to its optimum, mean over prompts", SAMPLED,
                because=_DRAWN),
    ),
    "D13": (
        equal("trained", "pairs, Borda scores more than .01 apart, that the trained reward model orders against them",
              0.0, at=grid(instance=("I3", "I9_product", "random")), because="a count"),
    ),
    "D15": (
        *near(grid(method="rlhf_clipped")),
        greater("trained", "KL from the reference: the RLHF-trained model minus the one trained on clipped rewards, "
                "mean over prompts", 0.0, because=PAIRED),
    ),
    "D17": (
        equal("trained", "distortion of the trained model over its plug-in prediction, less one", 0.0, within=0.02,
              at=grid(population="starwars", method=PEOPLE_METHODS, bt_beta=PEOPLE_BETAS),
              measured=("data", "items", "missing", "scale"), because=TRAINED),
    ),
    "D23": near(),
}  # fmt: skip
