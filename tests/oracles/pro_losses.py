"""The PRO losses of labelled responses as numbers, from their definitions: what simulation trains with gradients.

log π and log π_ref in nats as a language model gives them; r(H) is computed from the mass that the labelled responses
leave, or is 0 (`hyper="zero"`, the paper's shortcut, which is another objective).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from theory.proximal.feedback import log_remaining_mass
from theory.proximal.losses import kl_bernoulli_half

Hyper = Literal["exact", "zero"]


def labelled_rewards(
    log_policy: np.ndarray, log_reference: np.ndarray, kl_beta: float, hyper: Hyper = "exact"
) -> tuple[np.ndarray, float]:
    """r (N,) of the labelled responses and r(H) = kl_beta·log((1 − Σπ)/(1 − Σπ_ref))."""
    logs, refs = np.asarray(log_policy, float), np.asarray(log_reference, float)
    rest = log_remaining_mass("log_policy", logs) - log_remaining_mass("log_reference", refs)
    return kl_beta * (logs - refs), kl_beta * rest if hyper == "exact" else 0.0


def pro_pairwise_loss(log_policy: np.ndarray, log_reference: np.ndarray, alpha: float, kl_beta: float) -> float:
    """PRO-P for one pair (winner, loser) and H, μ uniform on the three, up to a constant (P9):

    −(r_w − r_l)/8 + (α/9)·[klB(r_w − r_l) + klB(r_w − r_H) + klB(r_l − r_H)].
    """
    r, r_h = labelled_rewards(log_policy, log_reference, kl_beta)
    distances = np.array([r[0] - r[1], r[0] - r_h, r[1] - r_h])
    return float(-(r[0] - r[1]) / 8.0 + alpha / 9.0 * kl_bernoulli_half(distances).sum())


def pro_binary_loss(
    log_policy: float, log_reference: float, score: float, alpha: float, kl_beta: float, hyper: Hyper = "exact"
) -> float:
    """PRO-B for one response of score s: −s·(r(y) − r(H)) + α·klB(r(y) − r(H)) (P10)."""
    r, r_h = labelled_rewards([log_policy], [log_reference], kl_beta, hyper)
    return float(-score * (r[0] - r_h) + alpha * kl_bernoulli_half(r[0] - r_h))


def pro_scalar_loss(
    log_policy: np.ndarray, log_reference: np.ndarray, scores: np.ndarray, alpha: float, kl_beta: float
) -> float:
    """PRO-S for N responses: −(1/N)Σᵢ sᵢ(rᵢ − r(H)) + α·mean of klB over the N(N+1)/2 pairs of Y_H (P11)."""
    r, r_h = labelled_rewards(log_policy, log_reference, kl_beta)
    everyone = np.append(r, r_h)
    first, second = np.triu_indices(everyone.size, 1)
    distances = kl_bernoulli_half(everyone[first] - everyone[second])
    return float(-(np.asarray(scores) @ (r - r_h)) / r.size + alpha * distances.mean())
