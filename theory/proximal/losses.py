"""DPO and its decomposition (eDPO), as numbers: what training minimises, in float64.

Every loss sees a policy through r(y) = kl_beta·log(π(y)/π_ref(y)) only, up to a constant that no policy changes.

    klB(δ) = KL(Bernoulli(½) ‖ Bernoulli(σ(δ))) = log cosh(δ/2) ≥ 0
    DPO    −E_{y1,y2~μ}[p(y1≻y2) log σ(r1 − r2) + p(y2≻y1) log σ(r2 − r1)]
    eDPO   −kl_beta·Σ_y μ̂(y)ŝ(y) log π(y) + (α/2)·Σ_{y1,y2} μ(y1)μ(y2) klB(r(y1) − r(y2))
    PRO    eDPO over Y_H, where all unlabelled responses are one, the hyper response H

Source: Guo, Li, Chen (arXiv 2505.23316), sections 3 and 4. Shapes: A responses.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from theory.numerics import log_cosh
from theory.policy.rewards import implicit_rewards
from theory.proximal.feedback import signal_of
from theory.validate import Array, as_vector, check_distribution, check_positive, check_win_rates


def kl_bernoulli_half(delta: ArrayLike) -> Array:
    """klB(δ) = −½ log σ(δ) − ½ log σ(−δ) − log 2 = log cosh(δ/2), elementwise, nats; klB' = σ(δ) − ½ = ½ tanh(δ/2)."""
    return log_cosh(0.5 * np.asarray(delta, dtype=np.float64))


def dpo_loss(
    policy: ArrayLike,
    reference: ArrayLike | None,
    win_rates: ArrayLike,
    mu: ArrayLike,
    kl_beta: float,
    *,
    log_reference: ArrayLike | None = None,
) -> float:
    """Population DPO, L_DPO(π) = −E_{y1,y2~μ}[p(y1≻y2) log σ(r1 − r2) + p(y2≻y1) log σ(r2 − r1)].

    The pair is drawn from μ × μ, y1 = y2 included (worth log 2); `theory.policy.dpo_loss` leaves those out and
    normalises. With mu = μ̂ and win_rates = p̂ it is the DPO term of P8. Memory A².

    Parameters
    ----------
    policy, reference : array_like, (A,)
        Laws with full support; reference is None where log_reference is given.
    win_rates : array_like, (A, A)
        p(x≻y), with ½ on the diagonal.
    mu : array_like, (A,)
        Law of y1 and of y2.
    kl_beta : float
        Weight of the KL term, > 0: r = kl_beta·log(π/π_ref).
    log_reference : array_like, (A,), optional
        The reference in nats, where probabilities underflow.

    Returns
    -------
    float
        Nats; log 2 at π = π_ref.

    Raises
    ------
    ValueError
        What is not a law, a policy with a zero, kl_beta ≤ 0.

    References
    ----------
    Guo, Li, Chen (arXiv 2505.23316), section 3.

    Examples
    --------
    >>> from theory.proximal import dpo_loss
    >>> round(dpo_loss([0.7, 0.3], [0.5, 0.5], [[0.5, 0.8], [0.2, 0.5]], [0.5, 0.5], kl_beta=1.0), 6)
    0.609641
    """
    r = implicit_rewards(policy, reference, kl_beta, log_reference=log_reference)
    P = check_win_rates(win_rates)
    p = check_distribution("mu", mu, r.size)
    if P.shape[0] != r.size:
        raise ValueError(f"win_rates must be {r.size} x {r.size}, got {P.shape[0]} x {P.shape[1]}")
    # the two terms are one by symmetry: P(x≻y) at (x, y) is the second term at (y, x)
    return 2.0 * float(p @ (P * np.logaddexp(0.0, r[None, :] - r[:, None])) @ p)


def edpo_loss(
    policy: ArrayLike,
    reference: ArrayLike | None,
    scores: ArrayLike,
    empirical: ArrayLike,
    weights: ArrayLike,
    alpha: float,
    kl_beta: float,
    *,
    log_reference: ArrayLike | None = None,
) -> float:
    """L_eDPO(π) = −kl_beta·Σ μ̂ŝ log π + (α/2)·Σ μ(y1)μ(y2) klB(r(y1) − r(y2)): DPO's optimiser and its regulariser.

    L_DPO = 2·L_eDPO + log 2 + 2·kl_beta·Σ μs log π_ref at μ̂ = μ, ŝ = s, α = 1 (P1). Memory A².

    Parameters
    ----------
    policy, reference : array_like, (A,)
        Laws with full support; reference is None where log_reference is given.
    scores, empirical : array_like, (A,)
        ŝ with μ̂-mean 0, and μ̂.
    weights : array_like, (A,)
        μ, a law; 0 where the regulariser does not look (DPO: on all unlabelled responses).
    alpha, kl_beta : float
        Weights of the regulariser and of the KL term, > 0.
    log_reference : array_like, (A,), optional
        The reference in nats, where probabilities underflow.

    Returns
    -------
    float
        Nats.

    Raises
    ------
    ValueError
        What is not a law, a policy with a zero, scores of another mean or size, alpha or kl_beta ≤ 0.

    References
    ----------
    Guo, Li, Chen (arXiv 2505.23316), Theorem 3.1.

    Examples
    --------
    >>> from theory.proximal import edpo_loss
    >>> half = [0.5, 0.5]
    >>> round(edpo_loss([0.7, 0.3], half, [0.25, -0.25], half, half, alpha=1.0, kl_beta=1.0), 6)
    -0.084118
    """
    r = implicit_rewards(policy, reference, kl_beta, log_reference=log_reference)
    w = signal_of(scores, empirical)
    if w.size != r.size:
        raise ValueError(f"scores must have {r.size} entries, got {w.size}")
    log_pi = np.log(np.asarray(policy, dtype=np.float64))
    return -float(kl_beta) * float(w @ log_pi) + regulariser(r, weights, alpha)


def regulariser(rewards: ArrayLike, weights: ArrayLike, alpha: float) -> float:
    """(α/2)·Σ_{y1,y2} μ(y1)μ(y2) klB(r(y1) − r(y2)) ≥ 0; rewards (A,) finite, weights μ (A,) a law, alpha > 0."""
    r = as_vector("rewards", rewards)
    mu = check_distribution("weights", weights, r.size)
    return 0.5 * check_positive("alpha", alpha) * float(mu @ kl_bernoulli_half(r[:, None] - r[None, :]) @ mu)
