"""Alignment methods in the population limit: RLHF, its penalty and clipped forms, DPO, and Nash learning (NLHF).

All of them search K = {π : KL(π‖π_ref) ≤ tau} around a reference policy π_ref, or trade the KL off by a weight:

    RLHF             max_{π∈K} Σ_x π(x) r(x),   r the Bradley–Terry maximum-likelihood reward
    RLHF, penalty    max_π Σ_x π(x) r(x) − weight·KL(π‖π_ref)     ⇒  π ∝ π_ref·exp(r/weight)
    DPO              the same policy, reached without a reward model (weight = kl_beta)
    NLHF             max_{π∈K} min_{π'∈K} Σ_{x,y} π(x)π'(y)(P(x≻y) − ½)

Every function that takes `reference` (A,) probabilities also takes `log_reference` (A,) nats instead.

Source: Gölz, Haghtalab, Yang (arXiv 2505.23749), section 2 and App. F; DPO: Rafailov et al. (arXiv 2305.18290);
NLHF: Munos et al. (arXiv 2312.00886).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from theory.bradley_terry import fit_rewards
from theory.policy.kl_ball import maximize_in_kl_ball, tilt
from theory.validate import (
    Array,
    as_vector,
    check_distribution,
    check_pair_weights,
    check_positive,
    check_win_rates,
    require_reference,
)

#: Rewards closer than this (nats) are ties, split by the reference: the accuracy to which they are fitted.
REWARD_TIE_TOLERANCE = 1e-11


def rlhf(
    win_rates: ArrayLike,
    pair_weights: ArrayLike,
    reference: ArrayLike | None = None,
    tau: float = math.inf,
    *,
    log_reference: ArrayLike | None = None,
    clip: float | None = None,
    tie_tolerance: float = REWARD_TIE_TOLERANCE,
) -> Array:
    """RLHF: fit the Bradley–Terry reward r on the pair law, then max_{π∈K} Σ π(x) r(x). Policy (A,).

    win_rates, pair_weights  as in `theory.bradley_terry.fit_rewards`
    reference, tau           the KL ball; no reference and tau = inf for no constraint
    clip                     level ≥ 0 at which `clip_rewards` clips r before the policy step; None: not clipped
    tie_tolerance            rewards this close to the best share the mass as the reference does
    """
    rewards = fit_rewards(win_rates, pair_weights).rewards
    if clip is not None:
        weights = None if log_reference is None else np.exp(as_vector("log_reference", log_reference))
        rewards = clip_rewards(rewards, clip, reference if weights is None else weights)
    return maximize_in_kl_ball(rewards, reference, tau, log_reference=log_reference, tie_tolerance=tie_tolerance)


def clip_rewards(rewards: ArrayLike, level: float, center: ArrayLike | None = None) -> Array:
    """Rewards centred and clipped: min(max(r − c, −level), level), c = Σ_x center(x) r(x); (A,), nats.

    center: a policy (A,) whose mean reward becomes 0 (RLHF takes π_ref: the clip then bounds how far any response
    may be rewarded above the reference's average); None: the plain mean. The clipping of Oko, Ulichney,
    Haghtalab, Bao (arXiv 2609.12651); their constants are not used here (D15).
    """
    r = as_vector("rewards", rewards)
    if not level >= 0:
        raise ValueError(f"clip level = {level} must be >= 0")
    weights = np.full(r.size, 1 / r.size) if center is None else check_distribution("center", center, r.size)
    return np.clip(r - weights @ r, -level, level)


def rlhf_penalty(
    rewards: ArrayLike, reference: ArrayLike | None, weight: float, *, log_reference: ArrayLike | None = None
) -> Array:
    """The penalty form of RLHF: argmax_π Σ π(x) rewards(x) − weight·KL(π‖π_ref) = π_ref·exp(rewards/weight)/Z.

    rewards (A,) finite; weight > 0 in units of reward per nat; returns the policy (A,).
    """
    r = as_vector("rewards", rewards)
    log_ref = require_reference(reference, log_reference, r.size, "rlhf_penalty")
    return tilt(log_ref, r / check_positive("weight", weight))


def dpo(
    win_rates: ArrayLike,
    pair_weights: ArrayLike,
    reference: ArrayLike | None,
    kl_beta: float,
    *,
    log_reference: ArrayLike | None = None,
) -> Array:
    """Tabular DPO on all alternatives (full support): argmin of `dpo_loss` over policies (A,).

    The loss sees a policy only through r(x) = kl_beta·log(π(x)/π_ref(x)) and is the Bradley–Terry likelihood in r;
    every r is, up to a constant, the log-ratio of some policy. So DPO is the penalty form of RLHF with weight
    kl_beta (D12; App. F.3 of arXiv 2505.23749). `dpo_loss` is what a check minimises instead.
    """
    return rlhf_penalty(fit_rewards(win_rates, pair_weights).rewards, reference, kl_beta, log_reference=log_reference)


def dpo_loss(
    policy: ArrayLike,
    win_rates: ArrayLike,
    pair_weights: ArrayLike,
    reference: ArrayLike | None,
    kl_beta: float,
    *,
    log_reference: ArrayLike | None = None,
) -> float:
    """Population DPO loss −2·Σ_{x≠y} Q[x,y] P(x≻y) log σ(r_x − r_y)/Σ_{x≠y} Q[x,y], in nats per comparison.

    r(x) = kl_beta·log(π(x)/π_ref(x)). At π = π_ref it is log 2. The sum over x≠y visits each unordered pair twice
    with half of its mass, once per winner, hence the 2. Raises ValueError if the policy lacks full support
    (the loss is then infinite or undefined) or no pair of different alternatives has mass.
    """
    P = check_win_rates(win_rates)
    A = P.shape[0]
    Q = check_pair_weights(pair_weights, A) * (1 - np.eye(A))
    pi = check_distribution("policy", policy, A)
    if (pi == 0).any():
        raise ValueError(f"policy[{int(pi.argmin())}] = 0: the DPO loss needs full support")
    if not Q.any():
        raise ValueError("pair_weights puts no mass on pairs of different alternatives")
    log_ref = require_reference(reference, log_reference, A, "dpo_loss")
    r = check_positive("kl_beta", kl_beta) * (np.log(pi) - log_ref)
    # Σ over ordered pairs of Q P is half of the informative mass: the two orders of a pair share it by P + P' = 1.
    return 2.0 * float(np.sum(Q * P * np.logaddexp(0.0, -(r[:, None] - r[None, :])))) / float(Q.sum())
