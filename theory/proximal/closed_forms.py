"""Optima of PRO in closed form: one pair (P9), one response (P10) in three forms of its loss, N scored responses (P11).

All are differences r*(y) − r*(H); a log-ratio log π*(y)/π_ref(y) is this over kl_beta, plus log C.

Source: Guo, Li, Chen (arXiv 2505.23316), section 4; the forms of P10 other than the first are ours. N responses.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import expit

from theory.numerics import centred_sigmoid, log1mexp
from theory.proximal.existence import binary_threshold, check_alpha, separation
from theory.proximal.losses import kl_bernoulli_half
from theory.proximal.optimum import solve_rewards
from theory.validate import Array, as_vector, check_between, check_finite, check_positive

#: Roots of scalar equations: relative accuracy, however small the root.
ROOT = {"xtol": 1e-300, "rtol": 1e-15}
#: From here on σ is 1 in float64.
SATURATED = 40.0


def pair_log_ratio(alpha: float) -> float:
    """t > 0 of P9: r*(y_w) − r*(H) = t = r*(H) − r*(y_l), for one pair and H with μ uniform on the three (η = ⅔).

    t solves σ(2t) + σ(t) = 1 + 9/(8α).

    Parameters
    ----------
    alpha : float
        Weight of the regulariser, above 9/8.

    Returns
    -------
    float
        t in the unit of r: log π*/π_ref changes by t/kl_beta from the loser to H and from H to the winner.

    Raises
    ------
    ValueError
        alpha ≤ 9/8: there is no optimum.

    References
    ----------
    Guo, Li, Chen (arXiv 2505.23316), section 4; claim P9.

    Examples
    --------
    >>> from theory.proximal import pair_log_ratio
    >>> round(pair_log_ratio(9 / 4), 10)
    0.7563076126
    """
    excess = 9.0 / (8.0 * check_alpha(alpha, 9.0 / 8.0))
    # α − 9/8 is exact near the threshold, where 1 − excess would not be
    left = (alpha - 9.0 / 8.0) / alpha

    if excess < 1e-12:
        return 4.0 * excess / 3.0  # ½(tanh t + tanh(t/2)) = ¾t − O(t³)

    def miss(t: float) -> float:
        if excess < 0.5:  # keeps the digits of small t
            return 0.5 * (math.tanh(t) + math.tanh(t / 2.0)) - excess
        return math.log(left) - math.log(expit(-2.0 * t) + expit(-t))  # and those of large t

    # left ≤ 2σ(−t) < 2e^{−t}
    return float(brentq(miss, 0.0, math.log(2.0) - math.log(left), **ROOT))


def binary_log_ratio(score: float, alpha: float) -> float:
    """r*(y) − r*(H) = logit(½ + s/α) of PRO-B: one response of score s against the hyper response H (P10).

    Parameters
    ----------
    score : float
        s; ±½ for balanced labels.
    alpha : float
        Weight of the regulariser, above α* = 2|s|.

    Returns
    -------
    float
        In the unit of r; log π*(y)/π_ref(y) is this over kl_beta, plus log C of H.

    Raises
    ------
    ValueError
        alpha ≤ 2|s|; the message states α*.

    References
    ----------
    Guo, Li, Chen (arXiv 2505.23316), section 4; claim P10.

    Examples
    --------
    >>> from theory.proximal import binary_log_ratio
    >>> round(binary_log_ratio(0.5, alpha=2.5), 7)
    0.8472979
    """
    s = check_finite("score", score)
    a = check_alpha(alpha, binary_threshold(s))
    # logit(½ + |s|/α) = log((α + 2|s|)/(α − 2|s|)), without loss for small s and near the threshold
    return math.copysign(math.log1p(4.0 * abs(s) / (a - 2.0 * abs(s))), s) if s else 0.0


def scalar_log_ratio(scores: ArrayLike, alpha: float) -> Array:
    """r*(yᵢ) − r*(H) of PRO-S for N scores of one prompt (P11).

    P3 with μ uniform on Y_H, w = (sᵢ/N, …, −Σs/N) and α_eDPO = 2(N+1)α/N. One score gives `binary_log_ratio`.

    Parameters
    ----------
    scores : array_like, (N,)
        sᵢ, usually centred.
    alpha : float
        Weight of the regulariser.

    Returns
    -------
    ndarray, (N,)
        In the unit of r.

    Raises
    ------
    ValueError
        alpha at or below the threshold, which the message states.

    References
    ----------
    Guo, Li, Chen (arXiv 2505.23316), section 4; claim P11.

    Examples
    --------
    >>> from theory.proximal import scalar_log_ratio
    >>> scalar_log_ratio([0.5, 0.0, -0.5], alpha=2.0).round(4) + 0.0
    array([ 0.528,  0.   , -0.528])
    """
    s = as_vector("scores", scores)
    N = s.size
    with np.errstate(over="ignore"):
        if not np.isfinite(np.abs(s).sum()):
            raise ValueError(f"scores sum to {np.abs(s).sum()} in modulus, beyond float64")
    signal, weights = np.append(s, -s.sum()) / N, np.full(N + 1, 1.0 / (N + 1))
    factor = 2.0 * (N + 1) / N
    alpha = check_alpha(alpha, separation(signal, weights).threshold / factor)
    r, _ = solve_rewards(signal, weights, factor * alpha)
    return r[:-1] - r[-1]


def paper_binary_gap(score: float, alpha: float, kl_beta: float, reference: float) -> float:
    """r*(y) − r*(H) of PRO-B as printed, −s·r(y) + α·klB(r(y) − r(H)): logit(½ + s(1 − π*(y))/α), a fixed point. Ours.

    alpha      any α > 0 for s ≥ 0 (r(y) ≤ −kl_beta·log π_ref(y) is bounded), α > 2|s| for s < 0
    reference  π_ref(y) in (0, 1)

    The printed form is not invariant to shifts of r: r(H) moves against π(y), which its linear term does not see. It
    tends to P10 as π*(y) → 0. For s < 0 it can have two local minima, of which this is the lower: near π_ref(y) = 1
    the fixed point stays near 0 and a rejected response is not pushed down. 0.197 at s = ½, α = 2.5, kl_beta = 0.1,
    π_ref(y) = 0.3. Proof in `paper/sections/proximal_proofs.tex`.
    """
    s, beta = check_finite("score", score), check_positive("kl_beta", kl_beta)
    a = check_alpha(alpha, binary_threshold(s) if s < 0 else 0.0)
    reference = check_between("reference", reference, ends="()")
    prior = math.log(reference) - math.log1p(-reference)
    if s < 0.0:
        return _printed_gap_of_rejected(-s, a, beta, prior)

    def miss(gap: float) -> float:
        # π(y)/π(H) = π_ref(y)/π_ref(H)·e^{gap/kl_beta}, so that 1 − π(y) = σ(−prior − gap/kl_beta)
        return float(centred_sigmoid(gap)) - s / a * float(expit(-prior - gap / beta))

    bound = min(1.0, beta)  # the root is a few beta where beta is small
    while miss(bound) < 0.0:
        bound *= 2.0
    return float(brentq(miss, 0.0, bound, **ROOT))


def _printed_gap_of_rejected(size: float, alpha: float, beta: float, prior: float) -> float:
    """`paper_binary_gap` for s = −size, by v = log(π(H)/π(y)): gap = −2 atanh(cσ(v)) = −beta·(v + prior), c = 2|s|/α.

    The left side is sigmoid in v, of slope cd/(cosh x + d), d = (1 − c²)^{−½}, x = v − log d: it meets the line at one
    or three points, separated by those of slope beta. Of three the middle one is a maximum of the loss.
    """
    c = 2.0 * size / alpha
    d = 1.0 / math.sqrt((1.0 - c) * (1.0 + c))

    def excess(v: float) -> float:
        return 2.0 * math.atanh(c * float(expit(v))) - beta * (v + prior)

    def loss(v: float) -> float:
        own = beta * float(np.logaddexp(0.0, -prior) - np.logaddexp(0.0, v))
        return size * own + alpha * float(kl_bernoulli_half(beta * (v + prior)))

    low, high = -prior, 2.0 * math.atanh(c) / beta - prior + 1.0
    turn = d * (c / beta - 1.0)
    turns = [math.log(d) + sign * math.acosh(turn) for sign in (-1.0, 1.0)] if turn > 1.0 else []
    # beyond SATURATED the left side is flat and the root, as far out as 1/beta, that of a line
    ends = [low, *sorted(v for v in (*turns, SATURATED) if low < v < high), high]
    roots = [
        float(brentq(excess, left, right, **ROOT))
        for left, right in itertools.pairwise(ends)
        if excess(left) > 0.0 >= excess(right) or excess(left) < 0.0 <= excess(right)
    ]
    return -beta * (min(roots, key=loss) + prior)


def zero_hyper_binary_gap(score: float, alpha: float, kl_beta: float, reference: float) -> float:
    """r*(y) − r*(H) of PRO-B with the shortcut r(H) = 0 in place of r(H), where it has an interior optimum.

    The loss −s·r(y) + α·klB(r(y)) sets r*(y) itself to `binary_log_ratio`, and r(H) follows from normalisation.
    reference is π_ref(y) in (0, 1). ValueError where that asks for π(y) ≥ 1: the policy collapses onto y.
    """
    r = binary_log_ratio(score, alpha)
    beta = check_positive("kl_beta", kl_beta)
    reference = check_between("reference", reference, ends="()")
    log_policy = math.log(reference) + r / beta
    if log_policy >= 0.0:
        raise ValueError(f"with r(H) = 0 the optimum asks for π(y) = exp({log_policy!r}): the policy collapses onto y")
    return r - beta * (float(log1mexp(log_policy)) - math.log1p(-reference))
