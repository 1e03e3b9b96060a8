"""The tight upper bound of the audit: a dual certificate over all user types, proved by branch and bound on
boxes.

For win-rate multipliers λ (one per compared pair) and a ratio ρ put, on one user's utilities U ∈ [0,1]^A,

    F(U) = q·U − ρ π·U + Σ_pairs λ (σ(β(U_x − U_y)) − c),     c = low where λ > 0, high where λ < 0.

Averaged over any population whose win rates lie in the intervals the last sum is ≥ 0, so sup F ≤ s proves
q·u − ρ π·u ≤ s for all of them, and q·u/π·u ≤ ρ + s⁺/floor with a certified floor ≤ π·u. The supremum over
the cube is bounded by bisection: on a box the slopes of F are enclosed through the range of σ', a coordinate
in which F is monotone is moved to its better end, and the rest is bounded by the mean-value form at the
centre. A common shift of all utilities changes only the linear part, by (Σq − ρΣπ) = 1 − ρ per unit, so one
utility can stand at 0 (at 1 where ρ < 1) and a cube of dimension A becomes A faces of dimension A − 1.

Source: ours (spec D16). Shapes: A alternatives, p compared pairs, N boxes or types.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from theory.distortion.audit.observed import Observed, ratio_bound
from theory.numerics import density_range
from theory.validate import Array

#: Rounding error of one evaluation of F, relative to the sum of its absolute coefficients.
ROUNDING = 1e-14


@dataclass(frozen=True, eq=False)
class TypeCertificate:
    """sup F ≤ `supremum` (proved), hence q·u ≤ bound · π·u for every population behind the data.

    alternatives  (k,) the alternatives it speaks about, a superset of the supports of q and π
    benchmark     (k,) q;  policy (k,) π;  ratio ρ;  multipliers (p,) λ of `observed`'s pairs (renumbered to
                  k)
    floor         certified lower bound on π·u
    supremum      proved upper bound on sup F over [0,1]^k, rounding included; boxes: how many it took
    """

    alternatives: np.ndarray
    observed: Observed
    benchmark: Array
    policy: Array
    ratio: float
    multipliers: Array
    floor: float
    supremum: float = math.inf
    boxes: int = 0

    @property
    def bound(self) -> float:
        """ρ + s⁺/floor."""
        return ratio_bound(self.ratio, self.supremum, self.floor)

    @property
    def linear(self) -> Array:
        """(k,) coefficients of the linear part of F."""
        return self.benchmark - self.ratio * self.policy

    @property
    def offsets(self) -> Array:
        """(p,) λ(½ − c), all exactly 0 where every win rate in use is ½."""
        c = np.where(self.multipliers > 0, self.observed.low, self.observed.high)
        return self.multipliers * (0.5 - c)

    @property
    def constant(self) -> float:
        """Σ λ(½ − c) = F(0)."""
        return float(self.offsets.sum())

    @property
    def rounding(self) -> float:
        """Allowance for the floating-point error of F and of its slopes."""
        total = np.abs(self.linear).sum() + (1 + self.observed.bt_beta) * np.abs(self.multipliers).sum()
        return ROUNDING * float(total)

    def values(self, U: Array) -> Array:
        """F at types U (N, k), shape (N,)."""
        return U @ self.linear + self.observed.margins(U) @ self.multipliers + self.constant


@dataclass(frozen=True, eq=False)
class Supremum:
    """`bound` ≥ sup F; `points` (n, k), the best box centres met; `boxes` looked at."""

    bound: float
    points: Array
    boxes: int


def supremum(certificate: TypeCertificate, max_boxes: int, stop_above: float = math.inf) -> Supremum:
    """Branch and bound for sup F over [0,1]^k; stops early once some F(U) > stop_above has been met.

    Boxes are dropped when F ≤ −rounding on them, so a bound of at most 0 is a proof of F ≤ 0. Where the
    budget of `max_boxes` ends first, the largest bound that is left is returned: still valid, only larger.
    """
    k = certificate.linear.size
    slack = certificate.rounding
    lower, upper = np.zeros((k, k)), np.ones((k, k))
    # The common shift: face z has U_z = 0, or U_z = 1 where raising all utilities raises F.
    if certificate.linear.sum() <= 0:
        np.fill_diagonal(upper, 0.0)
    else:
        np.fill_diagonal(lower, 1.0)
    proved, boxes, seen, scores = -math.inf, 0, [], []
    while lower.shape[0]:
        boxes += lower.shape[0]
        lower, upper = _to_better_ends(certificate, lower, upper)
        centre = 0.5 * (lower + upper)
        value = certificate.values(centre)
        low_slope, high_slope = _slopes(certificate, lower, upper)
        spread = np.maximum(np.abs(low_slope), np.abs(high_slope)) * (0.5 * (upper - lower))
        bound = value + spread.sum(axis=1) + slack
        # The origin needs no allowance where every term of F(0) is exactly zero (all win rates ½).
        at_origin = ~upper.any(axis=1)
        bound[at_origin] = certificate.constant + (slack if certificate.offsets.any() else 0.0)
        order = np.argsort(-value, kind="stable")[:64]
        seen.append(centre[order])
        scores.append(value[order])
        done = (bound <= 0) | (spread.sum(axis=1) <= slack)
        proved = max(proved, float(bound[done].max(initial=-math.inf)))
        lower, upper, spread, bound = lower[~done], upper[~done], spread[~done], bound[~done]
        if value.max(initial=-math.inf) > stop_above or boxes + 2 * lower.shape[0] > max_boxes:
            proved = max(proved, float(bound.max(initial=-math.inf)))
            break
        lower, upper = bisect(lower, upper, spread)
    best = np.argsort(-np.concatenate(scores), kind="stable")[:64]
    return Supremum(proved, np.concatenate(seen)[best], boxes)


def _slopes(certificate: TypeCertificate, lower: Array, upper: Array) -> tuple[Array, Array]:
    """Enclosure of ∂F/∂U_x on boxes (N, k): linear part + β Σ λ σ'(β(U_x − U_y)), σ' unimodal."""
    observed, beta = certificate.observed, certificate.observed.bt_beta
    x, y, lam = observed.first, observed.second, certificate.multipliers
    flattest, steepest = density_range(beta * (lower[:, x] - upper[:, y]), beta * (upper[:, x] - lower[:, y]))
    low = beta * lam * np.where(lam > 0, flattest, steepest)
    high = beta * lam * np.where(lam > 0, steepest, flattest)
    low_slope = np.repeat(certificate.linear[None, :], lower.shape[0], axis=0)
    high_slope = low_slope.copy()
    for pair in range(x.size):
        low_slope[:, x[pair]] += low[:, pair]
        high_slope[:, x[pair]] += high[:, pair]
        low_slope[:, y[pair]] -= high[:, pair]
        high_slope[:, y[pair]] -= low[:, pair]
    return low_slope - certificate.rounding, high_slope + certificate.rounding


def _to_better_ends(certificate: TypeCertificate, lower: Array, upper: Array) -> tuple[Array, Array]:
    """Collapse each coordinate in which F is monotone on the box; the supremum stays the same."""
    for _ in range(2):  # a collapsed coordinate narrows the slopes of the others
        low_slope, high_slope = _slopes(certificate, lower, upper)
        upper = np.where(high_slope < 0, lower, upper)
        lower = np.where(low_slope > 0, upper, lower)
    return lower, upper


def bisect(lower: Array, upper: Array, spread: Array) -> tuple[Array, Array]:
    """Halve each box across the coordinate that contributes most to its bound."""
    rows, axis = np.arange(lower.shape[0]), spread.argmax(axis=1)
    middle = 0.5 * (lower[rows, axis] + upper[rows, axis])
    left, right = upper.copy(), lower.copy()
    left[rows, axis] = right[rows, axis] = middle
    return np.concatenate([lower, right]), np.concatenate([left, upper])
