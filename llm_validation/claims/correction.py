"""What a language model that generates freely should show of A1–A6. What is predicted starts from the edit process's
kernel; `k` rounds of correction, `upstream` a model that the Aligner never saw."""

from __future__ import annotations

from llm_validation.claims.settings import UPSTREAMS
from llm_validation.claims.targets import NOISE, TRAINED
from theory.claim import Check, at_least, at_most, equal, grid

CORRECTION: dict[str, tuple[Check, ...]] = {
    "A1": (
        equal("llm_aligner", "held-out loss of the Aligner over its floor H(C|X,O)", 1.0, within=0.05, because=TRAINED),
        equal("llm_sft", "held-out loss of SFT on the same corrections over its floor H(C|X)", 1.0, within=0.05,
              because=TRAINED),
        equal("llm_difference", "difference of the two losses minus I(C;O|X), nats", 0.0, within=0.05, because=TRAINED),
    ),
    "A2": (
        at_most("llm_excess", "−E log πK_φ minus its bound, nats, the worse prompt", 0.0, because="a theorem"),
        equal("llm_naive_gap", "the form without its last term on paired data: gap plus I(C;O|X), nats", 0.0,
              within=0.05, because=TRAINED),
    ),
    "A3": (
        at_most("llm_law", "total variation between the stacked law and πK", 0.08, at=grid(upstream=UPSTREAMS),
                because=TRAINED),
        equal("llm_gain", "gain of mean utility of sampled corrections, measured minus predicted", 0.0,
              at=grid(upstream=UPSTREAMS), within=0.05, because=NOISE),
        at_most("llm_transfer", "error of the gain over its bound from the training loss", 1.0,
                at=grid(upstream=UPSTREAMS), because="a theorem"),
    ),
    "A4": (
        equal("llm_utility", "mean utility after k sampled rounds, measured minus predicted", 0.0,
              at=grid(k=(1, 2, 4)), within=0.05, because=NOISE),
        equal("llm_utility_measured", "the same, predicted from the trained kernel: does the stack follow the "
              "corrector that it has?", 0.0, at=grid(k=(1, 2, 4)), within=0.05, because=NOISE),
        equal("llm_rate", "second-largest eigenvalue modulus of the trained kernel minus that of the process", 0.0,
              within=0.05, because=TRAINED),
        equal("llm_limit", "mean utility of the trained kernel's limit law minus that of the process's", 0.0,
              within=0.05, because=TRAINED),
    ),
    "A5": (
        equal("llm_unchanged", "share of unchanged answers after joint training, measured minus predicted", 0.0,
              at=grid(share=0.3), within=0.05, because=TRAINED),
        at_least("llm_warm_up", "share of unchanged answers after identity pairs alone", 0.9, because=TRAINED),
        equal("llm_forgotten", "share of unchanged answers after corrections alone, minus that of the process", 0.0,
              within=0.05, because=TRAINED),
    ),
    "A6": (
        at_most("llm_pairs_limit", "total variation between the model trained on all pairs (c ≻ o) and the method's "
                "limit, the worse prompt", 0.05, at=grid(method=("ddro", "rdro", "dpo")), because=TRAINED),
        at_most("llm_distilled_law", "total variation between the distilled model and πKᵏ", 0.15, at=grid(k=(1, 2)),
                because=TRAINED),
        equal("llm_distilled_utility", "mean utility of the distilled model minus that of πKᵏ", 0.0,
              at=grid(k=(1, 2)), within=0.05, because=TRAINED),
    ),
}  # fmt: skip
