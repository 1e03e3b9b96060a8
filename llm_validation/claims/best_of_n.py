"""What a language model that generates freely should show of B1–B10.

The reward is a trained reward model's, in units of the standard deviation that it has on the model's own texts. What is
predicted starts from measured things: the law of rewards, and of partial scores the explained variance v(t) or their
joint law with the reward.
"""

from __future__ import annotations

from llm_validation.claims.settings import SIZES
from llm_validation.claims.targets import NOISE, TRAINED
from theory.claim import Check, at_least, at_most, equal, grid

_N, _64 = grid(n=SIZES), grid(n=64)
_JOINT = "the same, predicted from the joint law of scores and reward"

BEST_OF_N: dict[str, tuple[Check, ...]] = {
    "B1": (
        equal("llm_win_rate", "win rate against one response, measured minus N/(N+1)", 0.0, at=_N, within=0.02,
              because=NOISE),
    ),
    "B2": (
        equal("llm_divergence", "KL(π_N‖π) from the levels of best rewards, minus log N − (N−1)/N, nats", 0.0,
              at=grid(n=(4, 16)), within=0.1, because=NOISE),
    ),
    "B3": (
        equal("llm_reward", "mean best reward, measured minus predicted from the measured law, standard deviations",
              0.0, at=_N, within=0.1, because=NOISE),
    ),
    "B4": (
        equal("llm_reward", "mean reward of Speculative Rejection, measured minus predicted from v(t) and the law "
              "of rewards, standard deviations", 0.0, at=_N, within=0.1, because=NOISE),
        equal("llm_reward_law", _JOINT, 0.0, at=_N, within=0.1, because=NOISE),
    ),
    "B5": (
        equal("llm_survival", "survival of the winner, measured minus predicted from v(t)", 0.0, at=_N,
              within=0.15, because=NOISE),
        equal("llm_survival_law", _JOINT, 0.0, at=_N, within=0.15, because=NOISE),
    ),
    "B6": (
        equal("llm_tokens", "generated tokens over the predicted number", 1.0, at=_N, within=1e-9, because="a count"),
        equal("llm_speedup_ratio", "speed-up at equal reward, measured over predicted", 1.0, at=grid(n=SIZES[1:]),
              within=0.2, because="what Speculative Rejection's mean reward leaves in N*"),
        equal("llm_early_stop_ratio", "generated tokens of rows that end by themselves over the predicted number",
              1.0, at=_64, within=0.05, because=NOISE),
    ),
    "B7": (
        equal("llm_peak", "peak of cached tokens under fixed decision times over the predicted one", 1.0, at=_64,
              within=1e-9, because="a count"),
        at_most("llm_over_budget", "peak of cached tokens over the budget", 1.0, at=_64, because=TRAINED),
    ),
    "B8": (
        equal("llm_score", "improvement score against independent groups, measured minus predicted", 0.0,
              at=grid(reference=16), within=8.0, because=NOISE),
    ),
    "B9": (
        equal("llm_alpha_zero", "tokens and rewards at α = 0 that differ from Best-of-N's", 0.0, at=_64,
              because="a count"),
        equal("llm_same_rows", "share of rows whose text changes when others are rejected", 0.0, at=_64,
              because="a count"),
        equal("llm_lost", "finished responses lost, or truncated ones returned", 0.0, at=_64, because="a count"),
    ),
    "B10": (
        at_least("wall_clock_speedup", "seconds of Best-of-N at equal mean reward over seconds of Speculative "
                 "Rejection", 1.0, at=grid(n=SIZES[1:]), because="a ratio of seconds on one engine"),
    ),
}  # fmt: skip
