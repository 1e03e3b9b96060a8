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
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import logsumexp

from theory.divergences.generators import Elementwise, Generator, log_ratio
from theory.divergences.losses import Parts, find_loss
from theory.numerics import log1mexp, log_mean
from theory.policy.kl_ball import restrict
from theory.solution import GAP_TOLERANCE, CertificateError
from theory.validate import Array, check_laws, check_positive, require_reference

#: Points at which convexity in r is looked at, and at which branches of the stationarity condition are searched.
REWARD_GRID = np.linspace(-20.0, 20.0, 801)
BRANCH_POINTS = 400
#: log of a quotient that is as good as infinite; largest log λ, of which no loss comes near.
FAR, HIGHEST = 1e9, 700.0
#: Steps of a bracketed search, each of which at least halves the bracket; parts into which a search for a peak cuts it.
STEPS, PARTS = 60, 32
#: A minimiser over all functions whose mass is this close to one is taken as a policy.
MASS_TOLERANCE = 1e-11
#: What the masses of an optimum may miss of one: the search that makes them add up ends at rounding.
TOTAL_TOLERANCE = 1e-9


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
    return Aligned(np.exp(logits - logsumexp(logits)), -beta * float(log_mean(log_ref, log_h)))


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


@np.errstate(over="ignore", divide="ignore", invalid="ignore")  # slopes and losses of far rewards may be infinite
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
        return np.log(np.maximum(sign * self.slope(r), 0.0)) - r / self.kl_beta - self.log_ref

    def dearer(self, r: Array, sign: float, level: Array | float) -> Array:
        """sign·s(r)/e^level − 1, or the log of the quotient if that is above one: straight where s is 0, and far."""
        log_quotient = self.log_price(r, sign) - level
        return np.expm1(np.minimum(log_quotient, 0.0)) + np.minimum(np.maximum(log_quotient, 0.0), FAR)

    def losses(self, r: Array) -> Array:
        """pℓ₊ + qℓ₋ (A,); a law that has no mass somewhere costs nothing there."""
        positive, negative = self.p * self.parts.positive(r), self.q * self.parts.negative(r)
        return np.where(self.p > 0, positive, 0.0) + np.where(self.q > 0, negative, 0.0)

    def loss(self, r: Array) -> float:
        return float(self.losses(r).sum())

    def excess(self, r: Array) -> Array:
        """Σ π_ref e^{r/kl_beta} − 1, of r (…, A)."""
        return np.asarray(np.exp(self.log_ref + r / self.kl_beta).sum(axis=-1) - 1.0)


def _root(increasing: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Elementwise root of a function ≤ 0 at low and ≥ 0 at high (or the end nearer to one), by Ridders' method.

    Exact for a straight line times an exponential, and the bracket at least halves.
    """
    at_low, at_high = increasing(low), increasing(high)
    low, high = np.where(at_high <= 0, high, low), np.where(at_low >= 0, low, high)
    point = low
    for _ in range(STEPS):
        middle = 0.5 * (low + high)
        at_middle = increasing(middle)
        span = np.sqrt(np.maximum(at_middle**2 - at_low * at_high, 1e-300))
        last, point = point, np.clip(middle - (middle - low) * at_middle / span, low, high)
        at_point = increasing(point)
        still = (np.abs(point - last) <= 1e-15 * np.abs(point)) & (np.abs(at_point) < 1e-6)  # the rest is rounding
        if (still | (np.abs(at_point) <= 1e-13) | (high - low <= 1e-15 * np.abs(point))).all():
            break
        for at, value in ((middle, at_middle), (point, at_point)):
            below = value < 0
            low, at_low = np.where(below, at, low), np.where(below, value, at_low)
            high, at_high = np.where(below, high, at), np.where(below, at_high, value)
    return point


def _convex_side(problem: _Problem) -> FixedConstant:
    """λ ≤ 0: the constraint may be relaxed to Σ ≤ 1, which makes the problem convex; one root per outcome.

    On r ≤ r* every s rises from −∞ to 0, so the mass is monotone in λ. The dual value
    Σ F(r) − λ·(Σ π_ref e^{r/kl_beta} − 1) at the returned λ bounds the minimum from below: it certifies.
    """
    wanted = problem.p > 0
    tops = np.where(wanted, np.minimum(problem.unconstrained, problem.caps), 0.0)

    def above(r: Array, log_minus: float) -> Array:
        return -problem.dearer(r, -1.0, log_minus)

    def rewards(log_minus: float, low: Array | None = None, high: Array = tops) -> Array:
        """Those at a price, between known ones; −inf where D⁺ = 0."""
        if low is None:  # a reward below this bound has a slope steeper than the level whatever the outcome
            low = tops - 1.0
            for _ in range(60):
                short = wanted & (above(low, log_minus) > 0)
                if not short.any():
                    break
                low = np.where(short, 2.0 * low - tops, low)
        return np.where(wanted, _root(partial(above, log_minus=log_minus), low, high), -np.inf)

    # below the price of an outcome at its cap it would have more than all the mass
    held = problem.log_price(problem.caps, -1.0)[wanted & (problem.unconstrained > problem.caps)]
    lowest = float(held.max(initial=-HIGHEST))
    low = max(-1.0, lowest)
    high = low + 2.0
    while problem.excess(rewards(high)) > 0:  # a steeper price leaves less mass
        high += 2.0 * (high - low)
    while problem.excess(rewards(low)) < 0 and low > lowest:
        low = max(lowest, low - 2.0 * (high - low))
    ends = [np.where(wanted, rewards(level), 0.0) for level in (high, low)]
    whole = problem.excess(rewards(low)) <= 0  # all the mass, or a policy without a price, to rounding
    root = low if whole else _zero(lambda log_minus: problem.excess(rewards(log_minus, *ends)), low, high)
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

    def candidates_of(k: int | None) -> list[tuple[Array, float]]:
        """Rewards and log λ where the masses add up to one. Without a far branch their sum is monotone: its ends do."""
        far = np.arange(caps.size) == k
        low, high, sign = np.where(far, peaks, bottoms), np.where(far, caps, peaks), np.where(far, -1.0, 1.0)

        def rewards(level: Array | float, low: Array = low, high: Array = high) -> Array:
            return _root(lambda r: sign * problem.dearer(r, 1.0, level), low, high)

        lowest = highest - 1.0 if k is None else float(at_caps[k])
        while k is None and problem.excess(rewards(lowest)) > 0.0:
            lowest -= 2.0 * (highest - lowest)
        if not lowest < highest:
            return []
        levels = np.linspace(lowest, highest, 2 if k is None else BRANCH_POINTS)
        at = rewards(levels[:, None], *np.broadcast_arrays(low, high, levels[:, None])[:2])
        masses = problem.excess(at)
        # an outcome at its cap has all the mass, and the others none but to rounding
        if k is not None:
            masses[0] = max(masses[0], 0.0)
        if peaks[cheapest] == caps[cheapest] and highest < HIGHEST:
            masses[-1] = max(masses[-1], 0.0)
        cells = np.flatnonzero(masses[:-1] * masses[1:] <= 0)
        return [_crossing(problem, rewards, levels[i : i + 2], at[i : i + 2], masses[i : i + 2]) for i in cells]

    near = candidates_of(None)
    falling = np.flatnonzero((peaks < caps) & ~_no_better_alone(problem, *near[0]) if near else peaks < caps)
    candidates = near + [candidate for k in falling for candidate in candidates_of(int(k))]
    if not candidates:
        raise CertificateError("fixed-constant optimum: no stationary point found on any branch")
    best, level = min(candidates, key=lambda candidate: problem.loss(candidate[0]))
    return _finish(problem, best, math.exp(level), len(candidates))


def _no_better_alone(problem: _Problem, rewards: Array, level: float) -> NDArray[np.bool_]:
    """(A,): is the far branch of an outcome ruled out by duality, at the rewards and log λ of a stationary point?

    If no other outcome is beyond its peak, F_y − λπ_y is least at the rewards for each. So it is for this outcome if
    it is no less with all the mass: between, it rises, and then falls for good.
    """
    at, alone = (
        problem.losses(r) - np.exp(level + problem.log_ref + r / problem.kl_beta) for r in (rewards, problem.caps)
    )
    return alone >= at


def _crossing(
    problem: _Problem, rewards: Callable[[float, Array, Array], Array], levels: Array, at: Array, masses: Array
) -> tuple[Array, float]:
    """Rewards and log λ where the excess is 0, between two levels with rewards `at` (2, A) and excesses `masses`."""
    low, high = at.min(axis=0), at.max(axis=0)
    exact = levels[masses == 0.0]
    level = float(exact[0]) if exact.size else _zero(lambda level: problem.excess(rewards(level, low, high)), *levels)
    return rewards(level, low, high), level


def _zero(function: Callable[[float], Array], low: float, high: float) -> float:
    return float(brentq(lambda x: float(function(x)), low, high, xtol=1e-14, rtol=1e-14))


def _peaks(problem: _Problem) -> Array:
    """Where s is largest between r* and the cap; the cap itself if s rises up to it."""
    low, high = problem.unconstrained, problem.caps
    outcomes, shares = np.arange(low.size), np.linspace(0.0, 1.0, PARTS + 1)[:, None]
    for _ in range(13):  # s is positive, rises, then falls: its peak is beside the largest value on a grid
        grid = low + shares * (high - low)
        best = PARTS - problem.log_price(grid, 1.0)[::-1].argmax(axis=0)  # the last where several are infinite
        low, high = grid[np.maximum(best - 1, 0), outcomes], grid[np.minimum(best + 1, PARTS), outcomes]
    return np.where(problem.caps - high < 1e-12 * (1.0 + np.abs(problem.caps)), problem.caps, 0.5 * (low + high))


def _finish(problem: _Problem, rewards: Array, multiplier: float, candidates: int) -> FixedConstant:
    policy, value = np.exp(problem.log_ref + rewards / problem.kl_beta), problem.loss(rewards)
    total = float(policy.sum())
    if not (abs(total - 1.0) <= TOTAL_TOLERANCE and math.isfinite(value)):
        raise CertificateError(f"fixed-constant optimum: a policy of mass {total!r} with loss {value!r}")
    return FixedConstant(policy / total, rewards, value, multiplier, candidates)


def _convex(parts: Parts) -> bool:
    """Do ℓ₊' and ℓ₋' rise along `REWARD_GRID`? (Up to rounding.)"""
    with np.errstate(over="ignore"):
        slopes = parts.positive_slope(REWARD_GRID), parts.negative_slope(REWARD_GRID)
    return all(bool((np.diff(slope) >= -1e-12 * (1.0 + np.abs(slope[1:]))).all()) for slope in slopes)


def _label(name: str | Generator | Elementwise) -> str:
    return name if isinstance(name, str) else find_loss(name).name
