"""The policy that DDRO, RDRO or their relatives reach from any reference: constrained optima, claim R8.

A policy is a normalised ratio, Σ w ρ = 1 with w = π_ref. Where w is not the law in the ratio's denominator (p⁻ for
DDRO, p_α for RDRO), the loss's own minimiser p̃/q̃ is not a policy, and what training can reach is

    min_ρ Σ_y p̃(y) ℓ(log ρ(y)) + q̃(y) m(log ρ(y))    over ρ ≥ 0 with Σ_y w(y) ρ(y) = 1

with the measures (p̃, q̃) of `theory.density_ratio.ratios.measures`. The logistic member has the first-order condition
λwρ² + (q̃ + λw)ρ − p̃ = 0 with a multiplier λ. If S = Σ w p̃/q̃ ≥ 1 then λ ≥ 0 and every outcome has one positive
root, so λ is bracketed. If S < 1 then u = −λ > 0 and the problem is not convex: every outcome has two roots for
u ≤ u_y = (√(p̃+q̃) − √p̃)²/w, and at an optimum at most one outcome takes the upper one (two of them could trade mass
and lower the loss). All n + 1 choices are searched and the least loss is kept.

The search misses no local minimum. On a branch, G(u) = Σ w ρ(u) has to be 1; lower roots are convex and
increasing in u, the upper root is decreasing, convex up to u* and concave after it (ρ/(1+ρ) = (p̃/(p̃+q̃))^{1/3} at
u*). So the derivatives at the ends of an interval bound G' inside it, and bisection isolates every root of G = 1.
LSIF and KLIEP are convex in ρ and have one root. Proofs: paper/sections/density_ratio_proofs.tex.

Shapes: A outcomes; laws, references and policies (A,). The claim and the solver are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from theory.density_ratio.losses import find_member, measure_loss
from theory.density_ratio.ratios import measures
from theory.solution import CertificateError, Solution, certified
from theory.validate import Array, check_laws, require_reference

Mask = NDArray[np.bool_]

#: Certificate of `constrained_optimum`: nats of loss, relative where the loss exceeds 1.
LOSS_TOLERANCE = 1e-10

#: S this close to 1 is 1: λ is then of this order, and the loss is off by its square.
ROUNDING = 1e-14

#: Least log π_ref (nats) that is worked with outside logarithms; its exponential's square is still a normal float64.
LEAST_LOG_REFERENCE = -350.0

#: Below this relative width an interval of u is a point.
WIDTH = 1e-14


@dataclass(frozen=True, eq=False)
class ConstrainedOptimum(Solution):
    """A `Solution` with more about its policy.

    log_ratio   (A,) log(π/π_ref), −inf where π = 0
    multiplier  λ of the normalisation
    upper       the outcome on the upper root, None if there is none
    stable      whether the loss has a local minimum there (at the optimum it has)
    """

    log_ratio: Array
    multiplier: float
    upper: int | None = None
    stable: bool = True


def constrained_optimum(
    p: ArrayLike,
    q: ArrayLike,
    reference: ArrayLike | None = None,
    *,
    alpha: float | None = None,
    chosen_fraction: float | None = None,
    member: str = "logistic",
    log_reference: ArrayLike | None = None,
) -> ConstrainedOptimum:
    """The policy (A,) of least loss from a reference.

    p, q                     laws p⁺ and p⁻; alpha None is DDRO, a number RDRO; chosen_fraction as in `rdro_loss`
    reference/log_reference  π_ref with full support
    member                   "logistic", "lsif" or "kliep", see `theory.density_ratio.losses.BREGMAN`

    `value` is the loss at the optimum. `gap` bounds its distance from the least loss over all policies: by weak duality
    where λ ≥ 0 and for the convex members; where λ < 0 all local minima were found and compared, and the gap
    is what rounding leaves. Outcomes that neither law reaches take the mass that the others leave (S < 1), in the
    reference's proportions. ValueError on bad input, CertificateError if the gap exceeds `LOSS_TOLERANCE`.
    """
    problem = _problem(p, q, reference, log_reference, alpha, chosen_fraction, member)
    solve = {"logistic": _logistic, "lsif": _lsif, "kliep": _kliep}[member]
    optimum = min(solve(problem), key=lambda point: point.value)
    certified(optimum, LOSS_TOLERANCE * max(1.0, abs(optimum.value)))
    return optimum


def local_minima(
    p: ArrayLike,
    q: ArrayLike,
    reference: ArrayLike | None = None,
    *,
    alpha: float | None = None,
    chosen_fraction: float | None = None,
    log_reference: ArrayLike | None = None,
) -> tuple[ConstrainedOptimum, ...]:
    """Every policy where training on the logistic loss can come to rest, least loss first; arguments as above.

    The first is the optimum. There can be others only where S < 1: a reference far from the ratio's denominator.
    """
    problem = _problem(p, q, reference, log_reference, alpha, chosen_fraction, "logistic")
    return tuple(sorted((point for point in _logistic(problem) if point.stable), key=lambda point: point.value))


def _problem(
    p: ArrayLike,
    q: ArrayLike,
    reference: ArrayLike | None,
    log_reference: ArrayLike | None,
    alpha: float | None,
    chosen_fraction: float | None,
    member: str,
) -> Problem:
    p, q = check_laws(p, q)
    find_member(member)
    log_w = require_reference(reference, log_reference, p.size, "constrained_optimum")
    return Problem(member, *measures(p, q, alpha, chosen_fraction), log_w)


@dataclass(frozen=True, eq=False)
class Problem:
    """Measures p̃ (above) and q̃ (below), log π_ref, and the member whose loss is minimised; arrays (A,)."""

    member: str
    above: Array
    below: Array
    log_w: Array

    @property
    def reference(self) -> Array:
        """π_ref; ValueError where its square underflows (the logistic member with S ≥ 1 runs on logarithms alone)."""
        rarest = int(self.log_w.argmin())
        if self.log_w[rarest] < LEAST_LOG_REFERENCE:
            raise ValueError(f"log_reference[{rarest}] = {self.log_w[rarest]:.6g} is below {LEAST_LOG_REFERENCE:g}")
        return np.exp(self.log_w)

    @property
    def free(self) -> Array:
        """Outcomes that neither law reaches."""
        return (self.above == 0) & (self.below == 0)

    def optimum(
        self, log_ratio: Array, multiplier: float, status: str, upper: int | None = None, stable: bool = True
    ) -> ConstrainedOptimum:
        """The optimum at a root, its last rounding normalised away.

        The Lagrangian at the root is a lower bound on the least loss wherever the root minimises it.
        """
        excess = float(np.logaddexp.reduce(log_ratio + self.log_w))
        exact = log_ratio - excess
        value = measure_loss(self.member, exact, self.above, self.below)
        bound = measure_loss(self.member, log_ratio, self.above, self.below) + multiplier * math.expm1(excess)
        policy = np.exp(exact + self.log_w)
        return ConstrainedOptimum(policy, value, abs(value - bound), status, exact, multiplier, upper, stable)


def _logistic(problem: Problem) -> list[ConstrainedOptimum]:
    above, below, log_w, free = problem.above, problem.below, problem.log_w, problem.free
    if not ((below == 0) & (above > 0)).any():
        ratio = _log(above) - _log(np.where(free, 1.0, below))
        total = float(np.exp(np.logaddexp.reduce(ratio + log_w)))
        if abs(total - 1.0) <= ROUNDING:
            return [problem.optimum(ratio, 0.0, "λ = 0: the ratio is a policy")]
        if total < 1.0 and free.any():
            rest = math.log1p(-total) - float(np.logaddexp.reduce(log_w[free]))
            return [problem.optimum(np.where(free, rest, ratio), 0.0, "λ = 0: unseen outcomes take the rest")]
        if total < 1.0:
            return _below_one(problem)
    return [_above_one(problem)]


def _above_one(problem: Problem) -> ConstrainedOptimum:
    """S ≥ 1: Σ w ρ(λ) decreases from S at λ = 0 to at most 1 at λ = Σp̃, since λwρ ≤ p̃ at a root. Search over log λ."""

    def excess(log_multiplier: float) -> float:
        return float(np.logaddexp.reduce(_positive_root(log_multiplier, problem) + problem.log_w))

    high = math.log(2.0 * float(problem.above.sum()))
    low, step = high, 1.0
    while excess(low) <= 0.0:
        low, step = low - step, 2.0 * step
    log_multiplier = float(brentq(excess, low, high, xtol=1e-15, rtol=1e-15, maxiter=500))
    return problem.optimum(_positive_root(log_multiplier, problem), math.exp(log_multiplier), "λ > 0: one root")


def _positive_root(log_multiplier: float, problem: Problem) -> Array:
    """log ρ for λ ≥ 0, all in logs: log 2p̃ − log(b + √(b² + 4λwp̃)), b = q̃ + λw."""
    log_above = _log(problem.above)
    log_lambda_w = log_multiplier + problem.log_w
    log_b = np.logaddexp(_log(problem.below), log_lambda_w)
    log_root = 0.5 * np.logaddexp(2.0 * log_b, math.log(4.0) + log_lambda_w + log_above)
    log_sum = np.logaddexp(log_b, log_root)
    return np.where(problem.above > 0, math.log(2.0) + log_above - np.where(problem.above > 0, log_sum, 0.0), -np.inf)


@dataclass(frozen=True, eq=False)
class Folded:
    """S < 1, q̃ > 0: both roots as masses π = wρ(u), their slopes in u, and the fold u_y where they meet; all (A,)."""

    above: Array
    below: Array
    w: Array

    @property
    def folds(self) -> Array:
        """u_y = (√(p̃+q̃) − √p̃)²/w, without cancellation; inf where w underflows."""
        root = self.below / (np.sqrt(self.above + self.below) + np.sqrt(self.above))
        with np.errstate(divide="ignore"):
            return root**2 / self.w

    def _parts(self, u: float) -> tuple[Array, Array]:
        """q̃ − uw and the root of its discriminant (q̃−uw)² − 4uwp̃ = (u_y w − uw)((√(p̃+q̃)+√p̃)² − uw), uncancelled."""
        v, total = u * self.w, np.sqrt(self.above + self.below) + np.sqrt(self.above)
        room = np.maximum((self.below / total) ** 2 - v, 0.0)
        rest = room + 2.0 * np.sqrt(self.above) * self.below / total
        return rest, np.sqrt(room * np.maximum(total**2 - v, 0.0))

    def lower(self, u: float) -> Array:
        rest, root = self._parts(u)
        seen = self.above > 0  # else the root is 0, also at the fold, where the quotient is 0/0
        return np.divide(2.0 * self.above * self.w, rest + root, out=np.zeros(self.w.size), where=seen)

    def upper(self, u: float) -> Array:
        rest, root = self._parts(u)
        return (rest + root) / (2.0 * u)

    def slope(self, u: float, masses: Array) -> Array:
        """|dπ/du| = π(π + w)/√discriminant at either root: the lower one grows, the upper one falls."""
        _, root = self._parts(u)
        product = masses * (masses + self.w)
        return np.divide(product, root, out=np.where(product > 0, np.inf, 0.0), where=root > 0)

    def turning(self, j: int) -> float:
        """u* of outcome j: its upper root is convex in u before it and concave after it."""
        share = (self.above[j] / (self.above[j] + self.below[j])) ** (1.0 / 3.0)
        if share == 0.0:
            return float(self.folds[j])
        ratio = share / (1.0 - share)
        return float(((self.above[j] + self.below[j]) / (1.0 + ratio) - self.above[j] / ratio) / self.w[j])


def _below_one(problem: Problem) -> list[ConstrainedOptimum]:
    """S < 1: the stationary points of every branch, all local minima among them (G falls in u)."""
    folded = Folded(problem.above, problem.below, problem.reference)
    last = float(folded.folds.min())
    found: list[ConstrainedOptimum] = []
    if folded.lower(last).sum() >= 1.0:
        u = float(brentq(lambda u: folded.lower(u).sum() - 1.0, 0.0, last, xtol=1e-300, rtol=1e-15, maxiter=500))
        found.append(problem.optimum(_log(folded.lower(u)) - problem.log_w, -u, "λ < 0: all lower roots"))
    for j in range(problem.above.size):
        upper = np.arange(problem.above.size) == j
        for u in _branch_roots(folded, j, last):
            masses = np.where(upper, folded.upper(u), folded.lower(u))
            slopes = np.where(upper, -1.0, 1.0) * folded.slope(u, masses)
            status = f"λ < 0: outcome {j} on the upper root"
            stable = bool(slopes.sum() < 0.0)
            found.append(problem.optimum(_log(masses) - problem.log_w, -u, status, j, stable))
    return found


def _branch_roots(folded: Folded, j: int, last: float) -> list[float]:
    """All u in (0, last] where outcome j at its upper root and the others at their lower ones have total mass 1."""
    p, q, w = folded.above[j], folded.below[j], folded.w[j]
    first = (q - p * w) / (1.0 + w) * (1.0 - 1e-9)  # just below where j alone has mass 1: at less u it has more
    if not 0.0 < first < last or folded.upper(first)[j] > 1.0 + 1e-6:
        return []
    others = np.arange(folded.w.size) != j

    def masses(u: float) -> tuple[float, float]:
        return float(folded.lower(u)[others].sum()), float(folded.upper(u)[j])

    def slopes(u: float) -> tuple[float, float]:
        grow = folded.slope(u, folded.lower(u))[others].sum()
        return float(grow), -float(folded.slope(u, folded.upper(u))[j])

    def total(u: float) -> float:
        return sum(masses(u)) - 1.0

    turn = min(max(folded.turning(j), first), last)
    pieces = [(first, turn), (turn, last)]
    roots: list[float] = []
    while pieces:
        lo, hi = pieces.pop()
        (low_a, up_a), (low_b, up_b) = masses(lo), masses(hi)
        if low_a + up_b > 1.0 or low_b + up_a < 1.0:
            continue
        (grow_a, fall_a), (grow_b, fall_b) = slopes(lo), slopes(hi)
        least, most = grow_a + min(fall_a, fall_b), grow_b + max(fall_a, fall_b)
        if least > 0.0 or most < 0.0:
            if total(lo) * total(hi) <= 0.0:
                roots.append(float(brentq(total, lo, hi, xtol=1e-300, rtol=1e-15, maxiter=500)))
        elif hi - lo <= WIDTH * hi:
            roots.append(hi)
        else:
            middle = 0.5 * (lo + hi)
            pieces += [(lo, middle), (middle, hi)]
    return roots


def _lsif(problem: Problem) -> list[ConstrainedOptimum]:
    """π = c(r − λ)₊ with r = p̃/w, c = w²/q̃: outcomes are filled in the order of r, exactly.

    Where q̃ = 0 the loss −p̃ρ is linear: λ ≥ r there, and at λ = r such outcomes take what the others leave.
    """
    w = problem.reference
    linear = problem.below == 0
    rate, weight = problem.above / w, np.divide(w**2, problem.below, out=np.zeros(w.size), where=~linear)
    floor = float(rate[linear].max()) if linear.any() else -math.inf
    rest = 1.0 - float(weight @ np.maximum(rate - floor, 0.0)) if linear.any() else -1.0
    if rest >= 0.0:
        return [_share_rest(problem, weight * np.maximum(rate - floor, 0.0), rest, linear & (rate == floor), floor)]
    order = np.flatnonzero(~linear)[np.argsort(-rate[~linear], kind="stable")]
    total = np.cumsum(weight[order])
    mean = np.cumsum((weight * rate)[order]) / total
    # with the first k outcomes filled, λ = mean − 1/total; the last k whose own rate exceeds that is right
    filled = np.flatnonzero(rate[order] - mean >= -1.0 / total)
    if not filled.size:
        raise CertificateError("LSIF: ratios are so large that rounding hides which outcomes have mass")
    k = int(filled[-1])
    masses = weight * np.maximum(rate - mean[k] + 1.0 / total[k], 0.0)
    return [problem.optimum(_log(masses) - problem.log_w, float(mean[k] - 1.0 / total[k]), "convex: one root")]


def _kliep(problem: Problem) -> list[ConstrainedOptimum]:
    """π = p̃/(q̃/w + λ), and λ = −min q̃/w + step has its root with step in [p̃ at the minimum, Σp̃].

    Where p̃ = 0 the loss q̃ρ is linear: λ ≥ −q̃/w there, and at equality such outcomes take what the others leave.
    """
    rate = problem.below / problem.reference
    seen = problem.above > 0
    pole = float(rate[seen].min())

    def masses(step: float) -> Array:
        return np.divide(problem.above, rate - pole + step, out=np.zeros(seen.size), where=seen)

    if not seen.all() and (edge := float(rate[~seen].min())) < pole:
        rest = 1.0 - float(masses(pole - edge).sum())
        if rest >= 0.0:
            return [_share_rest(problem, masses(pole - edge), rest, ~seen & (rate == edge), -edge)]
    low, high = float(problem.above[seen & (rate == pole)].max()), float(problem.above.sum())
    step = float(brentq(lambda x: masses(x).sum() - 1.0, 0.5 * low, 2.0 * high, xtol=1e-300, rtol=1e-15, maxiter=500))
    return [problem.optimum(_log(masses(step)) - problem.log_w, step - pole, "convex: one root")]


def _share_rest(problem: Problem, masses: Array, rest: float, takers: Mask, multiplier: float) -> ConstrainedOptimum:
    """Outcomes whose loss is linear share what the others leave, as the reference does."""
    share = np.where(takers, problem.reference, 0.0)
    log_ratio = _log(masses + rest * share / share.sum()) - problem.log_w
    return problem.optimum(log_ratio, multiplier, "convex: linear outcomes take the rest")


def _log(values: Array) -> Array:
    """log with −inf at 0, quietly."""
    with np.errstate(divide="ignore"):
        return np.log(values)
