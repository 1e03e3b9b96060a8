"""Policies of alignment methods: RLHF, DPO, IPO and Nash learning (NLHF), and the KL ball that constrains them.

    RLHF  max_{π∈K} Σ_x π(x) r(x),  r the Bradley–Terry reward        NLHF  max_{π∈K} min_{π'∈K} πᵀ(P − ½)π'
    DPO   π ∝ π_ref·exp(r/kl_beta)                                     K     {π : KL(π‖π_ref) ≤ tau}
    IPO   max_{π∈K} P(π ≻ μ), μ a law of opponents

Examples
--------
>>> P = [[0.5, 0.6, 0.3], [0.4, 0.5, 0.8], [0.7, 0.2, 0.5]]  # a cycle: 0 beats 1, 1 beats 2, 2 beats 0
>>> pairs, reference = [[1 / 9] * 3] * 3, [0.6, 0.2, 0.2]
>>> rlhf(P, pairs, reference, tau=0.1).round(3), dpo(P, pairs, reference, kl_beta=0.5).round(3)
(array([0.454, 0.395, 0.151]), array([0.48, 0.36, 0.16]))
>>> nash = nlhf(P, reference, tau=0.1)
>>> nash.policy.round(3), round(kl(nash.policy, reference), 3), nash.gap < 1e-9
(array([0.5  , 0.333, 0.167]), 0.049, True)
"""

from __future__ import annotations

from theory.policy.identity import ipo, ipo_loss, ipo_penalty, ipo_scores
from theory.policy.kl_ball import kl, maximize_in_kl_ball, tilt
from theory.policy.nash import maximal_lottery, nlhf, nlhf_regularized
from theory.policy.rewards import clip_rewards, dpo, dpo_loss, rlhf, rlhf_penalty
from theory.solution import Solution

__all__ = [
    "Solution",
    "clip_rewards",
    "dpo",
    "dpo_loss",
    "ipo",
    "ipo_loss",
    "ipo_penalty",
    "ipo_scores",
    "kl",
    "maximal_lottery",
    "maximize_in_kl_ball",
    "nlhf",
    "nlhf_regularized",
    "rlhf",
    "rlhf_penalty",
    "tilt",
]
