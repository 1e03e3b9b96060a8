"""Drift against cap: DDRO's and RDRO's log-ratio of one response under gradient flow, claim R4.

A free log-ratio s (a tabular model without normalisation) under gradient flow on the logistic loss obeys

    ds/dt = p σ(−s) − d σ(s) = (p − d e^s)/(1 + e^s),        d = p⁻(y) for DDRO, p_α(y) for RDRO,

with p = p⁺(y). Separating variables, with s* = log(p/d),

    t = (s − s₀)/p − (1/p + 1/d)·[log|1 − e^{s−s*}| − log|1 − e^{s₀−s*}|]

so s approaches s* at rate pd/(p+d): half the harmonic mean. As p⁻ → 0 DDRO's s* goes to infinity and its rate to 0;
at p⁻ = 0 it drifts, s + e^s = pt + const, s ~ log t without end. RDRO has d ≥ αp, so s* ≤ log(1/α) and a rate of at
least pα/(1+α) (both attained at p⁻ = 0). Time is in units of 1/learning rate; s in nats.

Sources: the stability argument is that of Takahashi et al. (arXiv 2604.04410); the laws of motion and rates are ours.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import expit, log_softmax, wrightomega

from theory.density_ratio.ratios import log_ratio_cap
from theory.numerics import log1mexp
from theory.solution import CertificateError
from theory.validate import Array, as_vector, check_distribution, check_nonnegative, require_reference

#: Times of `policy_flow`: to integrate further takes minutes, and less than the shorter moves no digit.
LONGEST, SHORTEST = 1e9, 1e-30
#: Above this the exponential of a log-ratio nears the end of float64.
LARGEST_EXPONENT = 700.0


def flow(time: ArrayLike, p: float, d: float, start: float = 0.0) -> Array:
    """s(t) of a free log-ratio, same shape as `time` (≥ 0).

    p      p⁺(y) ≥ 0
    d      ≥ 0, the law in the ratio's denominator: p⁻(y) for DDRO, αp⁺(y) + (1−α)p⁻(y) for RDRO
    start  s₀, finite

    d = 0 drifts up for ever, p = 0 down for ever (s → −s exchanges the two); p = d = 0 stays. ValueError otherwise.
    """
    t = np.asarray(time, dtype=np.float64)
    if not (np.isfinite(t).all() and (t >= 0).all()):
        raise ValueError("time must be finite and >= 0")
    for name, value in (("p", p), ("d", d)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} = {value} must be finite and >= 0")
    if not math.isfinite(start):
        raise ValueError(f"start = {start} must be finite")
    if p == 0.0:
        return start + 0.0 * t if d == 0.0 else -drift(t, d, -start)
    if d == 0.0:
        return drift(t, p, start)
    goal = math.log(p) - math.log(d)
    if start == goal:
        return goal + 0.0 * t
    return np.array([_approach(float(x), p, d, start, goal) for x in t.ravel()]).reshape(t.shape)


def drift(time: Array, p: float, start: float) -> Array:
    """DDRO where p⁻(y) = 0: s + e^s = pt + s₀ + e^{s₀}, that is s = log ω(pt + s₀ + e^{s₀}) with Wright's ω."""
    if start > LARGEST_EXPONENT:  # e^s is all that counts: where e^{s₀} is beyond float64, so is ω
        return np.logaddexp(np.log(p * time + start), start)
    z = p * time + start + math.exp(start)
    omega = np.real(wrightomega(z))
    with np.errstate(divide="ignore"):
        return np.where(z < 0.0, z - omega, np.log(omega))  # log ω = z − ω keeps what ω loses where it underflows


def _approach(t: float, p: float, d: float, start: float, goal: float) -> float:
    """Solve the separated equation for log|s* − s|, which resolves the distance however small it is."""
    side = 1.0 if start < goal else -1.0
    first = abs(goal - start)

    def elapsed(log_distance: float) -> float:
        """All parts positive: where s falls, (s − s*)/p is in both terms of the equation and cancels."""
        distance = math.exp(log_distance)
        moved = (first - distance) / (p if side > 0 else d)
        return moved - (1.0 / p + 1.0 / d) * float(log1mexp(-distance) - log1mexp(-first)) - t

    low = high = math.log(first)
    while elapsed(low) < 0.0:
        low -= 1.0 + t * convergence_rate(p, d)
        if low < -700.0:
            return goal  # closer than float64 can tell
    if low == high:
        return start
    return goal - side * math.exp(brentq(elapsed, low, high, xtol=1e-14, rtol=1e-15))


def policy_flow(times: ArrayLike, p: ArrayLike, d: ArrayLike, reference: ArrayLike) -> Array:
    """log(π_t/π_ref) (T, A) of a softmax policy whose logits follow the gradient flow from π_ref, at `times` (T,).

    p, d: laws of the ratio's numerator and denominator (A,). No closed form: integrated to 1e-10, up to `LONGEST`.
    Whatever the loss, lr ≤ −log π_ref, so what drifts without end when free ends here, at the boundary of the simplex
    at the latest.
    """
    t = as_vector("times", times)
    p = check_distribution("p", p)
    d = check_distribution("d", d, p.size)
    log_w = require_reference(reference, None, p.size, "policy_flow")
    check_nonnegative("the first of times", float(t.min()))
    if t.max() > LONGEST:
        raise ValueError(f"times are integrated up to {LONGEST:g}, got {t.max():g}")
    if t.max() < SHORTEST:
        return np.zeros((t.size, p.size))

    def velocity(_: float, logits: Array) -> Array:
        log_policy = log_softmax(logits)
        pull = p * expit(log_w - log_policy) - d * expit(log_policy - log_w)
        return pull - np.exp(log_policy) * pull.sum()

    grid, place = np.unique(np.append(0.0, t), return_inverse=True)  # in order, and each once
    found = solve_ivp(velocity, (0.0, float(t.max())), log_w, "LSODA", grid, rtol=1e-10, atol=1e-12)
    if not found.success:
        raise CertificateError(f"gradient flow stopped: {found.message}")
    return log_softmax(found.y.T[place[1:]], axis=-1) - log_w


def convergence_rate(p: float, d: float) -> float:
    """Rate pd/(p+d) at which s approaches log(p/d), per unit of time; 0 where either is 0."""
    return p * d / (p + d) if p > 0 and d > 0 else 0.0


def chosen_gradient(log_ratio: ArrayLike, alpha: float | None = None) -> Array:
    """Derivative in lr of the loss of a chosen example: −σ(−lr) (DDRO, never positive), −1 + (1+α)σ(lr) (RDRO).

    RDRO's turns positive beyond the cap log(1/α): it pushes back what has grown too far.
    """
    lr = np.asarray(log_ratio, dtype=np.float64)
    if alpha is None:
        return -expit(-lr)
    log_ratio_cap(alpha)  # raises for α outside (0, 1)
    return -expit(-lr) + alpha * expit(lr)
