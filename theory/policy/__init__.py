"""Policies of alignment methods: RLHF, DPO and Nash learning, and the KL ball that constrains them."""

from __future__ import annotations

from theory.policy.kl_ball import kl, maximize_in_kl_ball, tilt
from theory.policy.nash import maximal_lottery, nlhf, nlhf_regularized
from theory.policy.rewards import clip_rewards, dpo, dpo_loss, rlhf, rlhf_penalty
from theory.solution import Solution

__all__ = [
    "Solution",
    "clip_rewards",
    "dpo",
    "dpo_loss",
    "kl",
    "maximal_lottery",
    "maximize_in_kl_ball",
    "nlhf",
    "nlhf_regularized",
    "rlhf",
    "rlhf_penalty",
    "tilt",
]
