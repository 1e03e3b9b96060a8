"""From a loss to a policy: alignment consistency h(R), and what a constant that is not fitted does to it.

A policy restricts r = kl_beta·log(π/π_ref) to Σ_y π_ref(y) e^{r(y)/kl_beta} = 1. If the loss sees r − δ with δ fitted
(KLDO and DPO are blind to δ anyway), its minimiser over all functions is within reach, and the optimum is

    π* ∝ π_ref·h(R),  h(R) = exp(r*(R)/kl_beta),  δ = −kl_beta·log Σ_y π_ref h(R),

r*(R) the minimiser of `theory.divergences.losses`: R^{1/kl_beta} for kldo, dpo, bco, hellinger and KL-FDO. With δ fixed
the optimum over normalised policies solves instead

    kl_beta·(D⁺ℓ₊'(r) + D⁻ℓ₋'(r)) = λ·π_ref·e^{r/kl_beta},   Σ π_ref e^{r/kl_beta} = 1,

and is in general no function of R. Source: h: Haldar et al. (arXiv 2502.00657), Theorem on alignment consistency;
the fixed-constant optimum ours. Outcomes: A; p = D⁺, q = D⁻ and the reference are tables (A,).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import logsumexp

from theory.divergences.generators import Elementwise, Generator, log_ratio
from theory.divergences.losses import Parts, find_loss
from theory.numerics import log1mexp
from theory.policy.kl_ball import restrict
from theory.solution import GAP_TOLERANCE, CertificateError
from theory.validate import Array, check_laws, check_positive, require_reference

#: Points at which convexity in r is looked at, and at which branches of the stationarity condition are searched.
REWARD_GRID = np.linspace(-20.0, 20.0, 801)
BRANCH_POINTS = 400
#: log of a quotient that is far from one; largest log λ, of which no loss comes near.
FAR, HIGHEST = 50.0, 700.0
#: A minimiser over all functions whose mass is this close to one is taken as a policy.
MASS_TOLERANCE = 1e-11


@dataclass(frozen=True, eq=False)
class Aligned:
    """π* ∝ π_ref·h(R) (A,), and the constant δ at which the loss has to stand for π* to be its minimiser."""

    policy: Array
    shift: float


@dataclass(frozen=True, eq=False)
class FixedConstant:
    """The best normalised policy when the loss's constant is not fitted.

    policy      (A,)
    rewards     (A,) r = kl_beta·log(policy/π_ref); −inf where the policy is 0
    value       the loss
    multiplier  λ of the stationarity condition; λ ≤ 0: the problem is convex, the optimum unique and certified
    candidates  stationary points that were compared (1 where λ ≤ 0)
    """

    policy: Array
    rewards: Array
    value: float
    multiplier: float
    candidates: int


def log_consistency(name: str | Generator | Elementwise, log_R: ArrayLike, kl_beta: float) -> Array:
    """log h(R) = r*(R)/kl_beta, elementwise in log R (±inf allowed); ±inf for kto and total_variation, by R − 1."""
    logs = np.asarray(log_R, dtype=np.float64)
    return np.asarray(find_loss(name).optimum(logs), dtype=np.float64) / check_positive("kl_beta", kl_beta)


def aligned_policy(
    name: str | Generator | Elementwise,
    p: ArrayLike,
    q: ArrayLike,
    reference: ArrayLike | None,
    kl_beta: float,
    *,
    log_reference: ArrayLike | None = None,
) -> Aligned:
    """π* ∝ π_ref·h(R): the policy to which the loss leads when its constant is fitted. Tables (A,), kl_beta > 0.

    Where h is infinite (R = ∞; R > 1 for kto and total_variation) all mass goes there: one such outcome takes it all,
    several share it in a way that the loss does not determine, which is a ValueError that names them
    (`aligned_support` gives the set). shift is NaN where the minimum is not attained.
    """
    p, q = check_laws(p, q)
    log_ref = require_reference(reference, log_reference, p.size, "aligned_policy")
    beta = check_positive("kl_beta", kl_beta)
    log_h = log_consistency(name, log_ratio(p, q), beta)
    top = np.flatnonzero(np.isposinf(log_h))
    if top.size > 1:
        raise ValueError(f"{_label(name)} leaves the split among the outcomes {top.tolist()} undetermined")
    if top.size == 1:
        return Aligned((np.arange(p.size) == top[0]).astype(np.float64), math.nan)
    logits = log_ref + (log_h - log_h.max())
    log_mass = float(logsumexp(logits))
    return Aligned(np.exp(logits - log_mass), -beta * (log_h.max() + log_mass))


def aligned_support(name: str | Generator | Elementwise, p: ArrayLike, q: ArrayLike) -> NDArray[np.bool_]:
    """(A,) boolean: where the aligned policy can have mass. {R > 1} for kto; {R > 0} for most losses."""
    p, q = check_laws(p, q)
    optimum = find_loss(name).optimum(log_ratio(p, q))
    infinite = np.isposinf(optimum)
    return infinite if infinite.any() else ~np.isneginf(optimum)


def fixed_constant_optimum(
    name: str | Generator | Elementwise,
    p: ArrayLike,
    q: ArrayLike,
    reference: ArrayLike | None,
    kl_beta: float,
    *,
    log_reference: ArrayLike | None = None,
) -> FixedConstant:
    """min over normalised policies of E₊[ℓ₊(r)] + E₋[ℓ₋(r)], r = kl_beta·log(π/π_ref), nothing fitted.

    For losses of that form whose ℓ₊ and ℓ₋ are convex (bco, ddro, hellinger, and kl, reverse_kl, jensen_shannon,
    squared_hellinger, pearson, alpha > 0 of FDO); ValueError for others. An outcome outside both laws costs nothing
    and absorbs mass that no other wants (several such share it as the reference does). If the minimiser over all
    functions is too small for a policy (Σ π_ref e^{r/kl_beta} < 1, hence λ > 0) every stationary point with at most one
    outcome on the far branch is compared, which is where every local minimum lies; then D⁺ > 0 is needed wherever
    D⁻ > 0 (ValueError names the outcome).
    """
    p, q = check_laws(p, q)
    log_ref = require_reference(reference, log_reference, p.size, "fixed_constant_optimum")
    loss = find_loss(name)
    if loss.parts is None or not _convex(loss.parts):
        raise ValueError(f"{_label(name)} is not a sum of convex functions of single rewards")
    unconstrained = np.asarray(loss.optimum(log_ratio(p, q)), dtype=np.float64)
    return constrained_minimum(loss.parts, p, q, unconstrained, log_ref, check_positive("kl_beta", kl_beta))


def constrained_minimum(
    parts: Parts, p: Array, q: Array, unconstrained: Array, log_ref: Array, kl_beta: float
) -> FixedConstant:
    """`fixed_constant_optimum` for masses p, q that need not sum to one and a known unconstrained minimiser.

    Outcome by outcome s(r) = kl_beta·(pℓ₊' + qℓ₋')·e^{−r/kl_beta}/π_ref is λ; of its size the logarithm is taken, as
    e^{−r/kl_beta} leaves float64 at small kl_beta. No checks of the input.
    """
    sinks = (p == 0) & (q == 0)
    log_mass = float(logsumexp(np.where(sinks, -np.inf, log_ref + unconstrained / kl_beta)))
    problem = _Problem(parts, p, q, unconstrained, log_ref, kl_beta)
    if abs(log_mass) <= MASS_TOLERANCE:
        return _finish(problem, np.where(sinks, -np.inf, unconstrained), 0.0, 1)
    if log_mass > 0:
        return _convex_side(problem)
    if sinks.any():
        rest = np.where(sinks, log1mexp(log_mass) + np.log(restrict(log_ref, sinks) + ~sinks), 0.0)
        rewards = np.where(sinks, kl_beta * (rest - log_ref), unconstrained)
        return _finish(problem, rewards, 0.0, 1)
    return _far_side(problem)


@dataclass(frozen=True, eq=False)
class _Problem:
    parts: Parts
    p: Array
    q: Array
    unconstrained: Array
    log_ref: Array
    kl_beta: float

    @property
    def caps(self) -> Array:
        """The reward at which an outcome alone has all the mass."""
        return -self.kl_beta * self.log_ref

    def slope(self, r: Array) -> Array:
        """kl_beta·(pℓ₊' + qℓ₋') (A,), or (…, A)."""
        return self.kl_beta * (self.p * self.parts.positive_slope(r) + self.q * self.parts.negative_slope(r))

    def log_price(self, r: Array, sign: float) -> Array:
        """log of sign·s(r) (A,), or (…, A); −∞ where that is not positive."""
        with np.errstate(over="ignore", divide="ignore"):  # slopes of far rewards may be infinite
            return np.log(np.maximum(sign * self.slope(r), 0.0)) - r / self.kl_beta - self.log_ref

    def dearer(self, r: Array, sign: float, level: Array | float) -> Array:
        """sign·s(r)/e^level − 1, which is nearly straight where s is 0 and ends at a number far away."""
        return np.expm1(np.minimum(self.log_price(r, sign) - level, FAR))

    def loss(self, r: Array) -> float:
        values = zip((self.p, self.q), (self.parts.positive, self.parts.negative), strict=True)
        return float(sum(np.sum(mass[mass > 0] * part(r)[mass > 0]) for mass, part in values))

    def excess(self, r: Array) -> Array:
        """Σ π_ref e^{r/kl_beta} − 1, of r (…, A)."""
        return np.asarray(np.exp(self.log_ref + r / self.kl_beta).sum(axis=-1) - 1.0)


def _root(increasing: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Elementwise root of a function ≤ 0 at low and ≥ 0 at high (or the end nearer to one): bisection, then chords."""
    for _ in range(32):
        middle = 0.5 * (low + high)
        below = increasing(middle) < 0
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    for _ in range(2):
        at_low, at_high = increasing(low), increasing(high)
        proper = (at_low < 0) & (at_high > 0)
        share = np.where(proper, at_low / np.where(proper, at_low - at_high, 1.0), 0.5)
        point = low + share * (high - low)
        below = increasing(point) < 0
        low, high = np.where(below, point, low), np.where(below, high, point)
    return np.where(np.abs(increasing(low)) < np.abs(increasing(high)), low, high)


def _convex_side(problem: _Problem) -> FixedConstant:
    """λ ≤ 0: the constraint may be relaxed to Σ ≤ 1, which makes the problem convex; one root per outcome.

    On r ≤ r* every s rises from −∞ to 0, so the mass is monotone in λ. The dual value
    Σ F(r) − λ·(Σ π_ref e^{r/kl_beta} − 1) at the returned λ bounds the minimum from below: it certifies.
    """
    wanted = problem.p > 0
    tops = np.minimum(problem.unconstrained, problem.caps)

    def rewards(log_minus: float) -> Array:
        def above(r: Array) -> Array:
            return -problem.dearer(r, -1.0, log_minus)

        # a reward below this bound has a slope steeper than the level whatever the outcome
        bottoms = np.where(wanted, tops, 0.0) - 1.0
        for _ in range(60):
            short = wanted & (above(bottoms) > 0)
            if not short.any():
                break
            bottoms = np.where(short, 2.0 * bottoms - np.where(wanted, tops, 0.0), bottoms)
        return np.where(wanted, _root(above, bottoms, np.where(wanted, tops, 0.0)), -np.inf)

    # below the price of an outcome at its cap it would have more than all the mass
    held = problem.log_price(problem.caps, -1.0)[wanted & (problem.unconstrained > problem.caps)]
    lowest = float(held.max(initial=-HIGHEST))
    low = max(-1.0, lowest)
    high = low + 2.0
    while problem.excess(rewards(high)) > 0:  # a steeper price leaves less mass
        high += 2.0 * (high - low)
    while problem.excess(rewards(low)) < 0 and low > lowest:
        low = max(lowest, low - 2.0 * (high - low))
    whole = problem.excess(rewards(low)) <= 0  # all the mass, or a policy without a price, to rounding
    root = low if whole else brentq(lambda m: float(problem.excess(rewards(m))), low, high, xtol=1e-14, rtol=1e-14)
    priced = rewards(root)
    excess = float(problem.excess(priced))
    # the condition summed over outcomes: where one alone has all the mass, any smaller price leaves it there
    multiplier = float(problem.slope(np.where(wanted, priced, 0.0))[wanted].sum())
    found = _finish(problem, priced - problem.kl_beta * math.log1p(excess), multiplier, 1)
    gap = found.value - (problem.loss(priced) + math.exp(root) * excess)
    if not gap <= GAP_TOLERANCE * max(1.0, abs(found.value)):
        raise CertificateError(f"fixed-constant optimum: duality gap {gap:.1e}")
    return found


def _far_side(problem: _Problem) -> FixedConstant:
    """λ > 0: rewards above r*, s rises from 0 to a peak and may fall again; at most one outcome beyond its peak.

    Second-order condition: the objective is convex in π_y where s rises and concave where it falls, and a sum with
    two concave directions has a descent direction that keeps Σπ. So all local minima are among the branches tried.
    """
    absent = np.flatnonzero(problem.p == 0)
    if absent.size:
        raise ValueError(f"D⁺ = 0 at outcome {absent[0]}: the fixed-constant optimum is not known to be interior there")
    bottoms, caps = problem.unconstrained, problem.caps
    peaks = _peaks(problem)
    at_caps, at_peaks = problem.log_price(caps, 1.0), problem.log_price(peaks, 1.0)
    cheapest = int(at_peaks.argmin())
    highest = min(float(at_peaks[cheapest]), HIGHEST)

    def rewards(levels: Array, k: int | None) -> Array:
        """(m,) log λ → (m, A) rewards, outcome k on the far branch."""
        level = levels[:, None]
        r = _root(lambda r: problem.dearer(r, 1.0, level), bottoms + 0.0 * level, peaks + 0.0 * level)
        if k is not None:
            r[:, k] = _root(lambda r: -problem.dearer(r, 1.0, level), peaks + 0.0 * level, caps + 0.0 * level)[:, k]
        return r

    def excess(level: float, k: int | None) -> float:
        return float(problem.excess(rewards(np.array([level]), k))[0])

    def candidates_of(k: int | None) -> list[tuple[Array, float]]:
        """Rewards and log λ where the masses add up to one. Without a far branch their sum is monotone: its ends do."""
        lowest = highest - 1.0 if k is None else float(at_caps[k])
        while k is None and excess(lowest, k) > 0.0:
            lowest -= 2.0 * (highest - lowest)
        if not lowest < highest:
            return []
        levels = np.linspace(lowest, highest, 2 if k is None else BRANCH_POINTS)
        masses = problem.excess(rewards(levels, k))
        # an outcome at its cap has all the mass, and the others none but to rounding
        if k is not None:
            masses[0] = max(masses[0], 0.0)
        if peaks[cheapest] == caps[cheapest] and highest < HIGHEST:
            masses[-1] = max(masses[-1], 0.0)
        roots = _crossings(lambda level: excess(level, k), levels, masses)
        return [(rewards(np.array([root]), k)[0], root) for root in roots]

    falling = [int(k) for k in np.flatnonzero(peaks < caps)]
    candidates = [candidate for k in [None, *falling] for candidate in candidates_of(k)]
    if not candidates:
        raise CertificateError("fixed-constant optimum: no stationary point found on any branch")
    best, level = min(candidates, key=lambda candidate: problem.loss(candidate[0]))
    return _finish(problem, best, math.exp(level), len(candidates))


def _crossings(excess: Callable[[float], float], levels: Array, masses: Array) -> list[float]:
    """Where the excess is 0, of which `masses` are the values at the levels."""
    found = []
    for i in np.flatnonzero(masses[:-1] * masses[1:] <= 0):
        ends = [levels[j] for j in (i, i + 1) if masses[j] == 0.0]
        found.append(float(ends[0] if ends else brentq(excess, levels[i], levels[i + 1], xtol=1e-14, rtol=1e-14)))
    return found


def _peaks(problem: _Problem) -> Array:
    """Where s is largest between r* and the cap; the cap itself if s rises up to it."""
    low, high = problem.unconstrained, problem.caps
    for _ in range(90):  # ternary search on log s: s is positive, rises, then falls
        left, right = low + (high - low) / 3.0, high - (high - low) / 3.0
        rising = problem.log_price(left, 1.0) <= problem.log_price(right, 1.0)  # where both are infinite too
        low, high = np.where(rising, left, low), np.where(rising, high, right)
    return np.where(problem.caps - high < 1e-12 * (1.0 + np.abs(problem.caps)), problem.caps, 0.5 * (low + high))


def _finish(problem: _Problem, rewards: Array, multiplier: float, candidates: int) -> FixedConstant:
    policy = np.exp(problem.log_ref + rewards / problem.kl_beta)
    return FixedConstant(policy / policy.sum(), rewards, problem.loss(rewards), multiplier, candidates)


def _convex(parts: Parts) -> bool:
    """Do ℓ₊' and ℓ₋' rise along `REWARD_GRID`? (Up to rounding.)"""
    with np.errstate(over="ignore"):
        slopes = parts.positive_slope(REWARD_GRID), parts.negative_slope(REWARD_GRID)
    return all(bool((np.diff(slope) >= -1e-12 * (1.0 + np.abs(slope[1:]))).all()) for slope in slopes)


def _label(name: str | Generator | Elementwise) -> str:
    return name if isinstance(name, str) else find_loss(name).name
