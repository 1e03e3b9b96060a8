"""What a model that others trained should show: targets written before it was trained on anything here.

These checks are that model's own; the other language models have theirs in the files of the topics.
"""

from __future__ import annotations

from llm_validation.claims.real_settings import DIFFERENCE, DISPLACED, PEOPLE_NAME, RATIO_CLAIM, REWARDS, SELECTED
from llm_validation.claims.settings import PEOPLE_BETAS
from llm_validation.claims.targets import GAP, TARGET
from theory.claim import Check, Setting, at_least, at_most, equal, grid

_SLOPE = "slope of measured on predicted log π/π_ref over all prompts and responses"
_SELECTION = grid(utility=REWARDS, reward=("truth", "proxy"), n=SELECTED)
#: Each half of the rows against what the other half predicts.
_APART = "measured less predicted from other rows, standard deviations of the reward"
_ROWS = "2048 rows: Best-of-N gains .4 from N = 64 to 256"
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
    "B3": (
        equal("real_best", f"mean best reward, {_APART}", 0.0, within=0.1, at=_SELECTION,
              because="one draw less at N = 4 loses .18"),
    ),
    "B4": (
        equal("real_rejected", f"mean reward of Speculative Rejection, {_APART}", 0.0, within=0.25, at=_SELECTION,
              because=_ROWS),
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
    "V2": (
        equal("real_held_out", "divergence read off held-out draws minus the exact one, mean over prompts", 0.0,
              at=grid(method="kto"), within=0.1, because="KTO's logits saturate before all are on their side"),
    ),
    **{claim: _levels(name) for name, claim in RATIO_CLAIM.items()},
}  # fmt: skip
