"""Alignment methods in the population limit that fit rewards: RLHF, its penalty and clipped forms, and DPO.

They search K = {π : KL(π‖π_ref) ≤ tau} around a reference policy π_ref, or trade the KL off by a weight:

    RLHF             max_{π∈K} Σ_x π(x) r(x),   r the Bradley–Terry maximum-likelihood reward
    RLHF, penalty    max_π Σ_x π(x) r(x) − weight·KL(π‖π_ref)     ⇒  π ∝ π_ref·exp(r/weight)
    DPO              the same policy, reached without a reward model (weight = kl_beta)

Every function that takes `reference` (A,) probabilities also takes `log_reference` (A,) nats instead.

Source: Gölz, Haghtalab, Yang (arXiv 2505.23749), section 2 and App. F; DPO: Rafailov et al. (arXiv 2305.18290).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from theory.bradley_terry import compared_pairs, fit_rewards
from theory.policy.kl_ball import maximize_in_kl_ball, tilt
from theory.validate import (
    Array,
    as_vector,
    check_distribution,
    check_nonnegative,
    check_positive,
    check_support,
    check_win_rates,
    require_reference,
    resolve_log_reference,
    scaled_rewards,
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
    """RLHF: the Bradley–Terry reward r of the pair law, then max_{π∈K} Σ_x π(x) r(x), K = {π : KL(π‖π_ref) ≤ tau}.

    Ties follow the reference.

    Parameters
    ----------
    win_rates : array_like, (A, A)
        P(x≻y) in [0, 1], P(x≻y) + P(y≻x) = 1.
    pair_weights : array_like, (A, A)
        Law of the compared pair: symmetric, nonnegative, sum one; class masses on a collapsed instance.
    reference : array_like, (A,), optional
        π_ref, probabilities with full support.
    tau : float
        KL budget in nats, ≥ 0; inf: no constraint. A finite one needs a reference.
    log_reference : array_like, (A,), optional
        log π_ref in nats, in place of `reference` where that underflows.
    clip : float, optional
        Level ≥ 0 at which `clip_rewards` clips r before the policy step.
    tie_tolerance : float
        Rewards (nats) this close to the best share the mass as the reference does; of rewards that span less than one
        nat, this share of their span.

    Returns
    -------
    ndarray, (A,)
        The policy.

    Raises
    ------
    ValueError
        Malformed input, or no maximum-likelihood reward (see `fit_rewards`).
    CertificateError
        The reward fit stays above its tolerance.

    References
    ----------
    Gölz, Haghtalab, Yang (arXiv 2505.23749), section 2; clipping: Oko et al. (arXiv 2609.12651).

    Examples
    --------
    >>> from theory.policy import rlhf
    >>> P = [[0.5, 0.6, 0.8], [0.4, 0.5, 0.7], [0.2, 0.3, 0.5]]
    >>> uniform = [[1 / 9] * 3] * 3
    >>> rlhf(P, uniform, reference=[0.2, 0.3, 0.5], tau=0.1).round(3)
    array([0.346, 0.362, 0.293])
    """
    rewards = fit_rewards(win_rates, pair_weights).rewards
    if clip is not None:
        logs = resolve_log_reference(reference, log_reference, rewards.size)
        rewards = clip_rewards(rewards, check_nonnegative("clip", clip), None if logs is None else np.exp(logs))
    ties = check_nonnegative("tie_tolerance", tie_tolerance) * min(1.0, float(np.ptp(rewards)))
    return maximize_in_kl_ball(rewards, reference, tau, log_reference=log_reference, tie_tolerance=ties)


def clip_rewards(rewards: ArrayLike, level: float, center: ArrayLike | None = None) -> Array:
    """Rewards centred and clipped: min(max(r − c, −level), level), c = Σ_x center(x) r(x).

    With π_ref as the centre the clip bounds how far a response may be rewarded above the reference's average (D15).

    Parameters
    ----------
    rewards : array_like, (A,)
        Finite, nats.
    level : float
        ≥ 0, nats.
    center : array_like, (A,), optional
        Policy whose mean reward becomes 0; None: the plain mean.

    Returns
    -------
    ndarray, (A,)
        Rewards in [−level, level].

    Raises
    ------
    ValueError
        Malformed input; the message names the entry.

    References
    ----------
    Oko, Ulichney, Haghtalab, Bao (arXiv 2609.12651); their constants are not used.

    Examples
    --------
    >>> from theory.policy import clip_rewards
    >>> clip_rewards([3.0, 0.0, 0.0], level=1.0)
    array([ 1., -1., -1.])
    """
    r = as_vector("rewards", rewards)
    level = check_nonnegative("level", level)
    weights = np.full(r.size, 1 / r.size) if center is None else check_distribution("center", center, r.size)
    return np.clip(r - weights @ r, -level, level)


def rlhf_penalty(
    rewards: ArrayLike, reference: ArrayLike | None, weight: float, *, log_reference: ArrayLike | None = None
) -> Array:
    """The penalty form of RLHF: argmax_π Σ_x π(x) r(x) − weight·KL(π‖π_ref) = π_ref·exp(r/weight)/Z.

    Parameters
    ----------
    rewards : array_like, (A,)
        r, finite.
    reference : array_like, (A,), or None
        π_ref, probabilities with full support; None with `log_reference`.
    weight : float
        > 0, reward per nat.
    log_reference : array_like, (A,), optional
        log π_ref in nats, in place of `reference` where that underflows.

    Returns
    -------
    ndarray, (A,)
        The policy.

    Raises
    ------
    ValueError
        Malformed input; the message names the entry.

    References
    ----------
    Gölz, Haghtalab, Yang (arXiv 2505.23749), section 2.

    Examples
    --------
    >>> from theory.policy import rlhf_penalty
    >>> rlhf_penalty([1.0, 0.0], [0.5, 0.5], weight=0.5).round(4)
    array([0.8808, 0.1192])
    """
    r = as_vector("rewards", rewards)
    log_ref = require_reference(reference, log_reference, r.size, "rlhf_penalty")
    weight = check_positive("weight", weight)
    with np.errstate(over="ignore", invalid="ignore"):
        scores = r / weight
        if not np.isfinite(np.ptp(scores)):
            scores = (r - r.max()) / weight  # the best response at 0, others may go to −∞
    return tilt(log_ref, scores)


def dpo(
    win_rates: ArrayLike,
    pair_weights: ArrayLike,
    reference: ArrayLike | None,
    kl_beta: float,
    *,
    log_reference: ArrayLike | None = None,
) -> Array:
    """Tabular DPO on all alternatives: argmin over policies of `dpo_loss`.

    The loss sees a policy only through r(x) = kl_beta·log(π(x)/π_ref(x)) and is the Bradley–Terry likelihood in r;
    every r is, up to a constant, the log-ratio of some policy. So DPO is `rlhf_penalty` with weight kl_beta (D12).

    Parameters
    ----------
    win_rates : array_like, (A, A)
        P(x≻y) in [0, 1], P(x≻y) + P(y≻x) = 1.
    pair_weights : array_like, (A, A)
        Law of the compared pair: symmetric, nonnegative, sum one; class masses on a collapsed instance.
    reference : array_like, (A,), or None
        π_ref, probabilities with full support; None with `log_reference`.
    kl_beta : float
        Weight of the log-ratio in DPO's reward, > 0, in reward per nat.
    log_reference : array_like, (A,), optional
        log π_ref in nats, in place of `reference` where that underflows.

    Returns
    -------
    ndarray, (A,)
        The policy.

    Raises
    ------
    ValueError
        Malformed input, or no maximum-likelihood reward (see `fit_rewards`).
    CertificateError
        The reward fit stays above its tolerance.

    References
    ----------
    Rafailov et al. (arXiv 2305.18290); Gölz, Haghtalab, Yang (arXiv 2505.23749), App. F.3.

    Examples
    --------
    >>> from theory.policy import dpo
    >>> dpo([[0.5, 0.7], [0.3, 0.5]], [[0.25, 0.25], [0.25, 0.25]], [0.5, 0.5], kl_beta=1.0).round(4)
    array([0.7, 0.3])
    """
    weight = check_positive("kl_beta", kl_beta)
    return rlhf_penalty(fit_rewards(win_rates, pair_weights).rewards, reference, weight, log_reference=log_reference)


def dpo_loss(
    policy: ArrayLike,
    win_rates: ArrayLike,
    pair_weights: ArrayLike,
    reference: ArrayLike | None,
    kl_beta: float,
    *,
    log_reference: ArrayLike | None = None,
) -> float:
    """Population DPO loss −2·Σ_{x≠y} Q[x,y] P(x≻y) log σ(r_x − r_y) / Σ_{x≠y} Q[x,y].

    r(x) = kl_beta·log(π(x)/π_ref(x)); at π = π_ref it is log 2. The sum over x≠y visits each unordered pair twice with
    half of its mass, once per winner, hence the 2.

    Parameters
    ----------
    policy : array_like, (A,)
        Probabilities, full support.
    win_rates : array_like, (A, A)
        P(x≻y) in [0, 1], P(x≻y) + P(y≻x) = 1.
    pair_weights : array_like, (A, A)
        Law of the compared pair: symmetric, nonnegative, sum one; class masses on a collapsed instance.
    reference : array_like, (A,), or None
        π_ref, probabilities with full support; None with `log_reference`.
    kl_beta : float
        Weight of the log-ratio in DPO's reward, > 0, in reward per nat.
    log_reference : array_like, (A,), optional
        log π_ref in nats, in place of `reference` where that underflows.

    Returns
    -------
    float
        Nats per comparison.

    Raises
    ------
    ValueError
        Malformed input, a policy without full support (the loss is infinite or undefined), or no mass on pairs of
        different alternatives.

    References
    ----------
    Rafailov et al. (arXiv 2305.18290), equation 7.

    Examples
    --------
    >>> from theory.policy import dpo_loss
    >>> P, pairs = [[0.5, 0.7], [0.3, 0.5]], [[0.25, 0.25], [0.25, 0.25]]
    >>> round(dpo_loss([0.7, 0.3], P, pairs, [0.5, 0.5], kl_beta=1.0), 4)
    0.6109
    """
    P = check_win_rates(win_rates)
    r = implicit_rewards(check_distribution("policy", policy, len(P)), reference, kl_beta, log_reference=log_reference)
    return mean_over_comparisons(np.logaddexp(0.0, -(r[:, None] - r[None, :])), P, pair_weights)


def implicit_rewards(
    policy: ArrayLike, reference: ArrayLike | None, kl_beta: float, *, log_reference: ArrayLike | None = None
) -> Array:
    """r = kl_beta·log(π/π_ref) (A,), in the unit of the reward; ValueError unless both have full support."""
    pi = check_support("policy", check_distribution("policy", policy), "its log-likelihood is −∞, and so is r")
    log_ref = require_reference(reference, log_reference, pi.size, "an implicit reward")
    return scaled_rewards(kl_beta, np.log(pi) - log_ref)


def mean_over_comparisons(losses: Array, win_rates: Array, pair_weights: ArrayLike) -> float:
    """Σ_{x≠y} Q[x,y] P(x≻y) losses[x,y] over the mass of comparisons; ValueError where pairs say nothing.

    losses[x, y] is what x winning against y costs. Σ Q P is half of Σ Q, as P + Pᵀ = 1.
    """
    Q = compared_pairs(pair_weights, len(win_rates))
    if not Q.any():
        raise ValueError("pair_weights puts no mass on pairs of different alternatives")
    return 2.0 * float(np.sum(Q * win_rates * losses)) / float(Q.sum())
