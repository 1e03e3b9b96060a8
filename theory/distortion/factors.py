"""Closed-form distortion factors of preference aggregation under individual Bradley–Terry users.

Write φ(x) = σ(βx) − ½ = ½·tanh(βx/2), h = β/2, B = φ(1), G = φ(γ). Every factor is the ratio
(best average utility) / (average utility of the rule), so it is ≥ 1; utilities lie in [0, 1].

    linear_slope        ℓ(β) = B/β                          φ(x) ≥ βℓx on [0, 1]
    linear_factor       L(β) = ¼/ℓ = h·coth h               no rule beats it; maximal lotteries reach it
    borda_lower_factor  C(β, γ) = L·(1 − γ + G/B)           below Borda and Copeland, any γ ∈ [0, 1]
    optimal_gamma       γ*: φ'(γ*) = B                      the maximiser of C(β, ·)
    borda_factor        K*(β) = C(β, γ*)                    the exact worst case of Borda and Copeland
    borda_upper_factor  min(L², 2L)                         the published upper bounds

1 ≤ L ≤ C(β, γ) ≤ K* ≤ min(L², 2L) for every β > 0. Relative errors stay below 1e-15 from β = 1e-6 to 1e4 (and
small beyond): no formula below subtracts nearly equal numbers.

Sources: ℓ, L, C and L² from Gölz, Haghtalab, Yang (arXiv 2505.23749), Lemma 1 and Theorems 2, 3, 5; 2L from
Alipour, Goyal (arXiv 2602.11152); γ* and K* ours: proof in `paper/sections/distortion_proofs.tex`, machine
check in `theory/distortion/borda_certificate.py`.
"""

from __future__ import annotations

import math
import sys

from theory.validate import check_between, check_bt_beta

#: Depth of the continued fraction of tanh; at h = 1 twelve levels are exact to float64.
FRACTION_DEPTH = 12
#: Below this value of s the power series of atanh(s) − s is used (24 terms, exact to float64).
SERIES_LIMIT = 0.5


def _half(bt_beta: float) -> float:
    """h = β/2, at least the smallest normal float: below it every factor has its value at β → 0."""
    return max(check_bt_beta(bt_beta) / 2, sys.float_info.min)


def linear_slope(bt_beta: float) -> float:
    """ℓ(β) = (σ(β) − ½)/β: the slope of the chord of φ over [0, 1], divided by β.

    Parameters
    ----------
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.

    Returns
    -------
    float
        In (0, ¼].

    Raises
    ------
    ValueError
        bt_beta is not a finite number > 0.

    References
    ----------
    Gölz, Haghtalab, Yang (arXiv 2505.23749), Lemma 1.

    Examples
    --------
    >>> from theory.distortion import linear_slope
    >>> round(linear_slope(5.0), 4)
    0.0987
    """
    h = _half(bt_beta)
    return math.tanh(h) / (4 * h)


def linear_factor(bt_beta: float) -> float:
    """L(β) = ¼/ℓ(β) = (β/2)·coth(β/2): the best factor any rule can guarantee (maximal lotteries do).

    Parameters
    ----------
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.

    Returns
    -------
    float
        ≥ 1.

    Raises
    ------
    ValueError
        bt_beta is not a finite number > 0.

    References
    ----------
    Gölz, Haghtalab, Yang (arXiv 2505.23749), Theorems 2 and 3.

    Examples
    --------
    >>> from theory.distortion import linear_factor
    >>> round(linear_factor(5.0), 4)
    2.5339
    """
    h = _half(bt_beta)
    return h / math.tanh(h)


def neutral_factor(bt_beta: float, n_alternatives: int) -> float:
    """1/(1/A + (1 − 1/A)/L): what 1/A of the mass on an alternative worth L(β) times each other one loses."""
    share = 1.0 / n_alternatives
    return 1.0 / (share + (1.0 - share) / linear_factor(bt_beta))


def borda_lower_factor(bt_beta: float, gamma: float | None = None) -> float:
    """C(β, γ) = L(β)·(1 − γ + G/B), G = σ(βγ) − ½, B = σ(β) − ½: Borda's distortion on I5 in the limit.

    Parameters
    ----------
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.
    gamma : float, optional
        In [0, 1]; log(β+1)/β by default, the paper's choice.

    Returns
    -------
    float
        ≥ 1.

    Raises
    ------
    ValueError
        bt_beta or gamma out of range.

    References
    ----------
    Gölz, Haghtalab, Yang (arXiv 2505.23749), Theorem 5.

    Examples
    --------
    >>> from theory.distortion import borda_lower_factor
    >>> round(borda_lower_factor(5.0), 4)
    3.4604
    """
    beta = check_bt_beta(bt_beta)
    gamma = check_between("gamma", math.log1p(beta) / beta if gamma is None else gamma)
    h = _half(beta)
    return linear_factor(beta) * (1.0 - gamma + math.tanh(h * gamma) / math.tanh(h))


def borda_upper_factor(bt_beta: float) -> float:
    """min(L², 2L): the published upper bounds on Borda's distortion.

    Parameters
    ----------
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.

    Returns
    -------
    float
        ≥ 1.

    Raises
    ------
    ValueError
        bt_beta is not a finite number > 0.

    References
    ----------
    Gölz, Haghtalab, Yang (arXiv 2505.23749) for L²; Alipour, Goyal (arXiv 2602.11152) for 2L.

    Examples
    --------
    >>> from theory.distortion import borda_upper_factor
    >>> round(borda_upper_factor(5.0), 4)
    5.0678
    """
    factor = linear_factor(bt_beta)
    return factor * min(factor, 2.0)


def optimal_gamma(bt_beta: float) -> float:
    """γ*(β) = log(q/(1−q))/β with q = (1 + √(1−4B/β))/2: where φ'(γ*) = B.

    Falls from 1/√3 (β → 0) like log(2β)/β (β → ∞); γ* = (2/β)·atanh(s) with s = √(1−4B/β).

    Parameters
    ----------
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.

    Returns
    -------
    float
        In (0, 1/√3).

    Raises
    ------
    ValueError
        bt_beta is not a finite number > 0.

    References
    ----------
    Ours; proof in paper/sections/distortion_proofs.tex.

    Examples
    --------
    >>> from theory.distortion import optimal_gamma
    >>> round(optimal_gamma(5.0), 4)
    0.4162
    """
    h = _half(bt_beta)
    s = root_gap(bt_beta)
    if s < SERIES_LIMIT:
        return math.atanh(s) / h
    # 1 − s² = tanh(h)/h, so 2·atanh(s) = log((1+s)²/(1−s²)) without the cancellation in 1 − s.
    return (math.log1p(s) - 0.5 * math.log(math.tanh(h) / h)) / h


def borda_factor(bt_beta: float) -> float:
    """K*(β) = C(β, γ*): the exact worst-case distortion of Borda, of Copeland and of unconstrained RLHF.

    For Borda the bound holds under every sampling law μ; RLHF (product sampling, full support) is Borda.
    K* = 1 + β²(1/12 + 1/(18√3)) + O(β⁴) for β → 0, and K*/β → 1 for β → ∞.

    Parameters
    ----------
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.

    Returns
    -------
    float
        ≥ 1.

    Raises
    ------
    ValueError
        bt_beta is not a finite number > 0.

    References
    ----------
    Ours; proof in paper/sections/distortion_proofs.tex, machine check in `certify_borda_factor`.

    Examples
    --------
    >>> from theory.distortion import borda_factor
    >>> round(borda_factor(5.0), 4)
    3.4777
    """
    return linear_factor(bt_beta) * (1.0 + gamma_advantage(bt_beta))


def root_gap(bt_beta: float) -> float:
    """s = √(1 − 4B/β) = √(1 − tanh(h)/h) = 2G at γ = γ*, in (0, 1)."""
    h = _half(bt_beta)
    if h > 1.0:
        return math.sqrt(1.0 - math.tanh(h) / h)
    # tanh(h) = h/(1 + h²/(3 + h²/(5 + …))), so 1 − tanh(h)/h = h²/(c + h²) with c = 3 + h²/(5 + …).
    square = h * h
    c = float(2 * FRACTION_DEPTH + 1)
    for odd in range(2 * FRACTION_DEPTH - 1, 1, -2):
        c = odd + square / c
    return h / math.sqrt(c + square)


def gamma_advantage(bt_beta: float) -> float:
    """G/B − γ* ≥ 0: what separates K* from L, K* = L·(1 + this); about β²/(18√3) for small β, below 1."""
    h = _half(bt_beta)
    s = root_gap(bt_beta)
    if s >= SERIES_LIMIT:
        return s / math.tanh(h) - optimal_gamma(bt_beta)
    # coth h − 1/h = s²·coth h turns s·coth h − atanh(s)/h into s³·(coth h − (1/3 + s²/5 + s⁴/7 + …)/h).
    square = s * s
    series = 0.0
    for odd in range(49, 1, -2):
        series = 1.0 / odd + square * series
    return s**3 * (1.0 / math.tanh(h) - series / h)
