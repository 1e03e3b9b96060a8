"""Likelihoods along training: gradient descent on DPO and PRO, step by step, and where DPO happens to end (P5, P12).

A softmax policy has logits θ = Φφ: one row of Φ per response, φ trained. Its kernel K = ΦΦᵀ says how a step on one
response moves the others (K = I: a table; a language model shares parameters between similar responses). A loss
F(r) that is invariant to shifts of r = kl_beta·log(π/π_ref) has Σ_y ∂F/∂r(y) = 0, so the normalisation drops out of
the chain rule, and full-batch descent φ ← φ − rate·∂F/∂φ is a recursion in r alone,

    r_{t+1} = r_t − rate·kl_beta²·K ∇F(r_t)  (up to shifts).

For DPO on one pair ∇F is a multiple of e_w − e_l: all steps go along K(e_w − e_l), and if a third response gains most
along it, both likelihoods of the pair fall for ever. PRO follows the same rule to an optimum that K does not move.

Source: ours, on the losses of Guo, Li, Chen (arXiv 2505.23316). Shapes: A responses, S steps.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from theory.numerics import centred_sigmoid
from theory.proximal.examples import COUPLED
from theory.proximal.feedback import check_signal, empirical_scores
from theory.validate import (
    Array,
    as_vector,
    check_distribution,
    check_positive,
    check_square,
    check_whole,
    check_word,
    require_reference,
)


def loss_gradient(rewards: Array, signal: Array, weights: Array, alpha: float) -> Array:
    """∇F (A,): −w(y) + αμ(y)·Σ_{y'} μ(y')(σ(r(y) − r(y')) − ½). No checks."""
    return -signal + alpha * weights * (centred_sigmoid(rewards[:, None] - rewards[None, :]) @ weights)


def likelihood_path(
    log_reference: ArrayLike,
    signal: ArrayLike,
    weights: ArrayLike,
    alpha: float,
    kl_beta: float,
    kernel: ArrayLike,
    rate: float,
    steps: int,
) -> Array:
    """log π_t/π_ref (S + 1, A) along S steps of descent from π_0 = π_ref, nats.

    log_reference  (A,) nats
    signal         w = μ̂ŝ (A,), Σ w = 0
    weights        μ (A,), a law; it may be 0 on unlabelled responses: α = 1 and μ = μ̂ is DPO, the loss ½·L_DPO(μ̂, p̂)
    kernel         K (A, A), symmetric and positive semidefinite
    rate           step size > 0 on φ
    steps          S ≥ 0
    """
    w = check_signal("signal", signal)
    log_ref = require_reference(None, log_reference, w.size, "likelihood_path")
    mu = check_distribution("weights", weights, w.size)
    K = check_square("kernel", kernel)
    if K.shape[0] != w.size or not np.allclose(K, K.T):
        raise ValueError(f"kernel must be a symmetric {w.size} x {w.size} matrix")
    if (least := float(np.linalg.eigvalsh(K)[0])) < -1e-9 * np.abs(K).max():
        raise ValueError(f"kernel has the eigenvalue {least:.3g}: it must be positive semidefinite")
    beta, alpha = check_positive("kl_beta", kl_beta), check_positive("alpha", alpha)
    scale, steps = check_positive("rate", rate) * beta**2, check_whole("steps", steps, 0)
    r = np.zeros(w.size)
    path = [r]
    for _ in range(steps):
        r = r - scale * (K @ loss_gradient(r, w, mu, alpha))
        path.append(r)
    tilt = (np.array(path) - np.max(path, axis=1, keepdims=True)) / beta
    return tilt - np.logaddexp.reduce(log_ref + tilt, axis=1, keepdims=True)


def coupled_path(method: str, steps: int) -> Array:
    """Log-ratios along training on one pair and a third response with features like theirs (`COUPLED`).

    Under DPO all steps go along one direction for ever, and the response that nobody labelled gains; under PRO the
    same features lead to the optimum.

    Parameters
    ----------
    method : {"dpo", "pro"}
    steps : int
        Steps of full-batch descent, ≥ 0.

    Returns
    -------
    ndarray, (steps + 1, 3)
        log π_t/π_ref of the chosen, the rejected and the unlabelled response, nats.

    Raises
    ------
    ValueError
        Another method, or steps that are no whole number ≥ 0.

    Examples
    --------
    >>> from theory.proximal import coupled_path
    >>> coupled_path("dpo", 3000)[-1].round(2), coupled_path("pro", 3000)[-1, 0].round(2)
    (array([-32.29, -42.04,   0.22]), np.float64(1.27))
    """
    check_word("method", method, ("dpo", "pro"))
    steps = check_whole("steps", steps, 0)
    c = COUPLED
    scores, empirical = empirical_scores(3, [(0, 1)])
    weights, alpha = (empirical, 1.0) if method == "dpo" else (np.full(3, 1.0 / 3.0), c.alpha)
    return likelihood_path(np.log(c.reference), scores * empirical, weights, alpha, c.kl_beta, c.kernel, c.rate, steps)


def dpo_pair_limit(log_start: ArrayLike, log_reference: ArrayLike, win_share: float, kl_beta: float) -> Array:
    """log π (A,) where descent on the logits ends under DPO on the pair (0, 1), from the start (A,), nats.

    win_share  p̂(0≻1) in (0, 1), comparisons with both outcomes, so that the infimum is attained

    The loss fixes r(0) − r(1) = logit(p̂) and nothing else. On free logits (K = I) descent leaves θ(0) + θ(1) and all
    other logits where they were: the mass of the pair at the end is a function of the start (P5).
    """
    start = as_vector("log_start", log_start)
    if start.size < 2:
        raise ValueError("log_start has one response: a pair is of two")
    ref = require_reference(None, log_reference, start.size, "dpo_pair_limit")
    p = float(win_share)
    if not 0.0 < p < 1.0:
        raise ValueError(f"win_share = {win_share} must be strictly between 0 and 1, or the margin grows for ever")
    margin = (math.log(p) - math.log1p(-p)) / check_positive("kl_beta", kl_beta) + ref[0] - ref[1]
    logits = start.copy()
    logits[:2] = 0.5 * (start[0] + start[1]) + 0.5 * margin * np.array([1.0, -1.0])
    return logits - np.logaddexp.reduce(logits)
