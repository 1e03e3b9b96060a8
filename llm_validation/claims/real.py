"""What a model that others trained should show: targets written before it was trained on anything here.

These checks are that model's own; the other language models have theirs in the files of the topics. Of B3, B4 and B12
only `real_within_two` was written before: `_LATER` says so of the others.
"""

from __future__ import annotations

from llm_validation.claims.real_settings import (
    CORRECTED,
    CORRECTIONS,
    DIFFERENCE,
    DISPLACED,
    PEOPLE_NAME,
    RATIO_CLAIM,
    REWARDS,
    SELECTED,
)
from llm_validation.claims.settings import PEOPLE_BETAS, SAFETY_LOSSES
from llm_validation.claims.targets import GAP, PAIRED, TARGET, held_out_head, held_out_weights
from theory.claim import Check, Setting, at_least, at_most, equal, greater, grid

#: DPO's pairs reveal another divergence, for which V10 is not stated.
_SINGLE = tuple(name for name in SAFETY_LOSSES if name != "dpo")
_SLOPE = "slope of measured on predicted log π/π_ref over all prompts and responses"
#: Of V11: what the errors of its rows are over.
_PROMPTS = "paired; errors over prompts, of which seeds share 18 to 20 of 24: pooled as if they shared all"
_SELECTION = grid(utility=REWARDS, reward=("truth", "proxy"), n=SELECTED)
#: Each half of the rows against what the other half predicts.
_APART = "measured less predicted from other rows, standard deviations of the reward"
#: Both ways round: a difference between the halves of the rows cancels, and less is tested than one way round.
_LATER = "; settled after first rows had been seen"
_ROWS = f"2048 rows: Best-of-N gains .4 from N = 64 to 256{_LATER}"
_WITHIN = at_least(
    "real_within_two", "share of all means that lie within two standard errors of their predictions", 1.0,
    because="the target, written before any row; chance alone leaves one of 24 outside, more where they share rows",
)  # fmt: skip
_GAP = at_most("real_gap", "error of r(y) − r(H), worst response of all prompts", GAP, because=TARGET)


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
    "A1": (
        equal("real_aligner", "loss of the Aligner over its floor H(C|X,O)", 1.0, within=0.05, because=TARGET),
        equal("real_sft", "loss of SFT on the same corrections over its floor H(C|X)", 1.0, within=0.05,
              because=TARGET),
        equal("real_difference", "difference of the two losses minus I(C;O|X), nats", 0.0, within=0.05,
              because=TARGET),
    ),
    "A2": (
        at_most("real_excess", "−E log πK_φ minus its bound, nats, worst prompt", 0.0, because="a theorem"),
        equal("real_naive_gap", "the form without its last term on paired data: gap plus I(C;O|X), nats", 0.0,
              within=0.05, because=TARGET),
    ),
    "A3": (
        at_most("real_law", "total variation between the stacked law and πK, mean over prompts", 0.02,
                at=grid(upstream=CORRECTED), because=TARGET),
        equal("real_gain", "gain of mean utility, measured minus predicted", 0.0, at=grid(upstream=CORRECTED),
              within=0.02, because=TARGET),
        at_most("real_transfer", "error of the gain over its bound from the training loss", 1.0,
                at=grid(upstream=CORRECTED), because="a theorem"),
    ),
    "A4": (
        equal("real_utility", "mean utility after k corrections, measured minus predicted", 0.0,
              at=grid(k=CORRECTIONS), within=0.02, because=TARGET),
    ),
    "A5": (
        equal("real_unchanged", "share of unchanged answers, minus that of the process", 0.0, within=0.02,
              because=TARGET),
    ),
    "B3": (
        equal("real_best", f"mean best reward, {_APART}", 0.0, within=0.1, at=_SELECTION,
              because=f"one draw less at N = 4 loses .18{_LATER}"),
        _WITHIN,
    ),
    "B4": (
        equal("real_rejected", f"mean reward of Speculative Rejection, {_APART}", 0.0, within=0.25, at=_SELECTION,
              because=_ROWS),
        _WITHIN,
    ),
    "B6": (
        equal("real_speedup", "speed-up at equal reward, measured over predicted, mean over utilities", 1.0,
              within=0.2, because=TARGET, at=grid(reward=("truth", "proxy"), n=SELECTED[1:])),
        equal("real_tokens", "tokens of Best-of-N over tokens of Speculative Rejection, over the predicted ratio", 1.0,
              at=grid(n=64), within=1e-9, because="a count"),
    ),
    "B10": (
        at_least("real_seconds", "CPU seconds of Best-of-N over those of Speculative Rejection, the same rows", 1.0,
                 at=grid(n=64), because="a ratio of seconds on one engine"),
    ),
    "B12": (
        equal("real_truth", f"mean truth of the best by proxy, {_APART}", 0.0, within=0.25,
              at=grid(utility=REWARDS, reward="proxy", n=SELECTED), because=_ROWS),
    ),
    "D9": _choice("nlhf"),
    "D12": _choice("rlhf", "dpo"),
    "D17": (
        equal("real", "distortion of the trained model over its plug-in prediction, less one", 0.0, within=0.02,
              at=grid(population=PEOPLE_NAME, method=DIFFERENCE, bt_beta=PEOPLE_BETAS),
              measured=("data", "items", "missing", "scale"), because=TARGET),
    ),
    "P5": (
        at_least("real_unlabelled", "log of the mean |log π/π_ref| in nats under DPO of responses in no pair", 0.0,
                 at=grid(pairs=DISPLACED), because="a nat: what no pair is about becomes e times as likely, or less"),
    ),
    "P10": (_GAP,),
    "P11": (_GAP,),
    "P12": (
        at_most("real_levels", "error of log π/π_ref relative to its prediction, worst prompt", 0.01,
                at=grid(response=("chosen", "rejected")), because=TARGET),
        equal("real_slope", _SLOPE, 1.0, at=({"method": "pro"},), within=0.01, because=TARGET),
    ),
    "P15": (
        *held_out_head("real_"),
        *held_out_weights("as on the small models; written before any row", "a copy needs no theory", "real_"),
    ),
    "V2": (
        equal("real_held_out", "divergence read off held-out draws minus the exact one, mean over prompts", 0.0,
              at=grid(method="kto"), within=0.1, because="KTO's logits saturate before all are on their side"),
    ),
    "V10": (
        equal("real_gap", "divergence read off held-out draws, CR minus preference data, less the exact difference",
              0.0, at=grid(name=_SINGLE), within=0.1, because="KTO's logits saturate before all are on their side"),
        greater("real_sign", "the same difference itself", 0.0, at=grid(name=_SINGLE), because=PAIRED),
    ),
    "V11": (
        greater("real_grows", "log Bhattacharyya distance of prompts to answer and to decline, aligned minus as it was",
                0.0, at=grid(name=SAFETY_LOSSES, data=("cr", "preference")), because=_PROMPTS, shared=True),
        greater("real_cr_separates_more", "log Bhattacharyya distance, CR minus preference data", 0.0,
                at=grid(name=SAFETY_LOSSES), because=_PROMPTS, shared=True),
    ),
    **{claim: _levels(name) for name, claim in RATIO_CLAIM.items()},
}  # fmt: skip
