"""Upper bounds of the audit for any number of alternatives: linear programs in the average utilities alone.

For a benchmark policy q, audited policy π and average utilities u ∈ [0,1]^A,

    maximise q·u / π·u   over   { u : α u(x) − γ u(y) ≤ P(x≻y) − ½ + κ(α, γ)  for every cut },

a relaxation: every population that produced the win rates P has its averages in this set. A cut holds because
α a − γ b − (σ(β(a − b)) − ½) ≤ κ(α, γ) for all utilities a, b ∈ [0,1], and averages keep a linear inequality:

* D1 (Lemma 1 of Gölz, Haghtalab, Yang, arXiv 2505.23749): α = βℓ(β), γ = β/4, κ = 0;
* pair cuts (ours): any α, γ ∈ [0, β/4] with the closed form of `support`, separated at the program's own
solution.
  All of them together say that (u(x), u(y), P(x≻y)) lies in the convex hull of what single users can show.

Nothing here trusts the solver: for ANY multipliers y ≥ 0 and any ρ,

    q·u − ρ π·u  ≤  s = Σ_cuts y·rhs + Σ_x (q − ρπ − Σ_cuts y·row)_x⁺        on the whole set,

so q·u/π·u ≤ ρ + s⁺/floor, floor ≤ π·u from the same argument; a certificate is that (y, ρ), evaluated again.
Shapes: A alternatives, c cuts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_matrix, vstack

from theory.distortion.audit.ball import BALL_SLACK
from theory.distortion.audit.observed import Observed, ratio_bound
from theory.distortion.factors import linear_factor, linear_slope
from theory.numerics import centred_sigmoid
from theory.policy.kl_ball import KLBall
from theory.solution import LP_OPTIONS
from theory.validate import Array

#: The program is solved with its objective raised by this much per unit of utility, so that the dual solution
#: satisfies its inequalities with room for the solver's and for rounding errors.
MARGIN = 1e-9
#: Relative rounding error of one evaluation of s above (a few hundred terms of float64).
ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class Cuts:
    """alpha·u(first) − gamma·u(second) ≤ rhs, arrays (c,); rhs = P_high(first≻second) − ½ + κ."""

    size: int
    first: np.ndarray
    second: np.ndarray
    alpha: Array
    gamma: Array
    rhs: Array

    def rows(self, last: Array | None = None) -> csr_matrix:
        """Coefficients (c, A), or (c, A + 1) with a last column."""
        c, entries, columns = np.arange(self.first.size), [self.alpha, -self.gamma], [self.first, self.second]
        if last is not None:
            entries, columns = [*entries, last], [*columns, np.full(c.size, self.size)]
        where = np.tile(c, len(entries)), np.concatenate(columns)
        return csr_matrix((np.concatenate(entries), where), shape=(c.size, self.size + len(entries) - 2))

    def weighted(self, y: Array) -> tuple[Array, Array]:
        """Σ y·row for y (c,) ≥ 0, shape (A,), and the same of its entries' sizes, by which rounding is bounded."""
        sums = ((self.first, y * self.alpha), (self.second, y * self.gamma))
        up, down = (np.asarray(np.bincount(at, of, self.size), dtype=np.float64) for at, of in sums)
        return up - down, up + down

    def extend(self, other: Cuts) -> Cuts:
        """Both lists, this one first."""
        fields = ("first", "second", "alpha", "gamma", "rhs")
        return Cuts(self.size, *(np.concatenate([getattr(self, f), getattr(other, f)]) for f in fields))


@dataclass(frozen=True, eq=False)
class MomentCertificate:
    """benchmark·u ≤ bound · policy·u on the cut set, from `multipliers` (c,) ≥ 0 of `cuts` at `ratio` ρ.

    `floor` ≤ π·u is a certified number too. `bound` is a property: it evaluates the inequality above.
    """

    benchmark: Array
    policy: Array
    cuts: Cuts
    multipliers: Array
    ratio: float
    floor: float

    @property
    def excess(self) -> float:
        """s: the certified supremum of q·u − ρ π·u over the cut set, rounding included."""
        spent, moved = self.cuts.weighted(self.multipliers)
        residual = self.benchmark - self.ratio * self.policy - spent
        size = np.abs(self.benchmark) + self.ratio * self.policy + moved
        terms = self.multipliers * self.cuts.rhs
        # The allowance is relative to the terms, so exact zeros (D1 at win rates ½) stay zero and need no
        # floor.
        slack = float(terms.sum()) + ROUNDING * float(np.abs(terms).sum())
        return slack + float(np.maximum(residual + ROUNDING * size, 0.0).sum())

    @property
    def bound(self) -> float:
        """ρ + s⁺/floor."""
        return ratio_bound(self.ratio, self.excess, self.floor)


def support(alpha: Array, gamma: Array, bt_beta: float) -> Array:
    """κ(α, γ) = max over a, b ∈ [0,1] of α a − γ b − (σ(β(a − b)) − ½), for α, γ ∈ [0, β/4]; elementwise.

    Along a − b = d the expression is linear, so one of a, b stands at an end of [0,1]. For d ≥ 0 it is convex
    in d (ends d = 0, 1); for d = −e < 0 concave, with the maximum at σ'(βe) = max(α, γ)/β.
    """
    B = float(centred_sigmoid(bt_beta))
    steep = np.maximum(alpha, gamma)
    root = np.sqrt(np.maximum(0.0, 1.0 - 4.0 * steep / bt_beta))
    with np.errstate(divide="ignore"):
        e = np.minimum(1.0, 2.0 * np.arctanh(root) / bt_beta)  # logit((1 + r)/2) = 2 artanh r
    concave = centred_sigmoid(bt_beta * e) - steep * e
    return np.maximum(alpha - gamma, 0.0) + np.maximum(0.0, np.maximum(concave, np.minimum(alpha, gamma) - B))


def lemma_cuts(observed: Observed) -> Cuts:
    """The D1 inequalities of all compared pairs, both orders."""
    x, y, rhs = observed.ordered()
    beta = observed.bt_beta
    return Cuts(observed.size, x, y, np.full(x.size, beta * linear_slope(beta)), np.full(x.size, beta / 4), rhs)


def separate(observed: Observed, u: Array, tolerance: float = 1e-7, *, grid: int = 17, zooms: int = 5) -> Cuts:
    """For each ordered pair the most violated pair cut at the averages u (A,), where it is violated at all.

    Deterministic: the best (α, γ) of a grid on [0, β/4]², then zooms around it. Any (α, γ) gives a valid cut,
    so precision only affects strength.
    """
    x, y, rhs = observed.ordered()
    beta, top = observed.bt_beta, observed.bt_beta / 4
    steps = np.linspace(0.0, top, grid)
    alpha, gamma = (axis.ravel() for axis in np.meshgrid(steps, steps, indexing="ij"))
    best = (np.outer(u[x], alpha) - np.outer(u[y], gamma) - support(alpha, gamma, beta)).argmax(axis=1)
    alpha, gamma, width = alpha[best], gamma[best], steps[1]
    offsets = np.linspace(-1.0, 1.0, 9)
    rows = np.arange(x.size)
    for _ in range(zooms):
        a = np.clip(alpha[:, None] + width * np.repeat(offsets, 9), 0.0, top)
        g = np.clip(gamma[:, None] + width * np.tile(offsets, 9), 0.0, top)
        best = (u[x, None] * a - u[y, None] * g - support(a, g, beta)).argmax(axis=1)
        alpha, gamma, width = a[rows, best], g[rows, best], width / 4
    kappa = support(alpha, gamma, beta) * (1 + 1e-15) + 1e-15
    keep = u[x] * alpha - u[y] * gamma > rhs + kappa + tolerance
    return Cuts(observed.size, x[keep], y[keep], alpha[keep], gamma[keep], (rhs + kappa)[keep])


def floor_utility(policy: Array, cuts: Cuts) -> tuple[float, Array | None]:
    """(certified lower bound on π·u over the cut set, minimiser (A,)); (inf, None) if it is empty."""
    result = linprog(policy, A_ub=cuts.rows(), b_ub=cuts.rhs, bounds=(0.0, 1.0), options=LP_OPTIONS)
    if result.status == 2:
        return math.inf, None
    if result.status != 0:
        return 0.0, None
    y = np.maximum(-result.ineqlin.marginals, 0.0)
    # Any y ≥ 0: π·u ≥ −y·rhs − Σ_x (−π − Σ y row)⁺ over u ∈ [0,1]^A.
    spent, moved = cuts.weighted(y)
    residual = np.maximum(-(policy + spent), 0.0)
    size = 1.0 + float(np.abs(y * cuts.rhs).sum() + moved.sum())
    floor = -float(y @ cuts.rhs) - float(residual.sum()) - ROUNDING * size
    return max(0.0, floor), result.x


def moment_bound(policy: Array, benchmark: Array, cuts: Cuts, floor: float) -> tuple[MomentCertificate, Array | None]:
    """The certificate for one benchmark and the maximising averages (A,) (None where the program is
    unbounded).

    Charnes–Cooper: ũ = t·u with π·ũ = 1 makes the ratio linear; rows·ũ ≤ rhs·t, 0 ≤ ũ ≤ t.
    """
    A = policy.size
    fallback = MomentCertificate(benchmark, policy, cuts, np.zeros(cuts.first.size), 1.0, floor)
    # The t margin is only affordable where t = 1/π·u is bounded.
    margin_t = MARGIN * min(1.0, floor)
    objective = -np.r_[benchmark + MARGIN, margin_t]
    caps = csr_matrix(np.c_[np.eye(A), -np.ones(A)])
    lhs = vstack([cuts.rows(-cuts.rhs), caps], format="csr")
    result = linprog(
        objective,
        A_ub=lhs,
        b_ub=np.zeros(lhs.shape[0]),
        A_eq=np.r_[policy, 0.0][None, :],
        b_eq=[1.0],
        options=LP_OPTIONS,
    )
    if result.status != 0:
        return _trivial(fallback), None
    y = np.maximum(-result.ineqlin.marginals[: cuts.first.size], 0.0)
    ratio = float(-result.eqlin.marginals[0])
    tries = [MomentCertificate(benchmark, policy, cuts, y, ratio, floor)]
    if floor == 0:  # nothing can pay for a positive slack: drop the cuts that would need it
        tries.append(MomentCertificate(benchmark, policy, cuts, np.where(cuts.rhs > 0, 0.0, y), ratio, floor))
    tries.append(_trivial(fallback))
    t = result.x[-1]
    return min(tries, key=lambda certificate: certificate.bound), (result.x[:-1] / t if t > 0 else None)


def _trivial(certificate: MomentCertificate) -> MomentCertificate:
    """No cut at all: q·u ≤ max_x q(x)/π(x) · π·u (bound inf where q leaves π's support)."""
    q, pi = certificate.benchmark, certificate.policy
    inside = pi > 0
    ratio = float(np.max(q[inside] / pi[inside])) * (1 + 4 * ROUNDING)
    return replace(certificate, multipliers=np.zeros(certificate.cuts.first.size), ratio=ratio)


def game_bound(observed: Observed, policy: Array, ball: KLBall, floor: float) -> float:
    """L(β) + s⁺/floor, s = max_{q∈K} Σ_x q(x) Σ_y π(y)(P_high(x≻y) − ½)/(βℓ): the bound of Corollary 4, for
    any π.

    D1 weighted with q(x)π(y): ℓ q·u − ¼ π·u ≤ Σ q(x)π(y)(P(x≻y) − ½)/β, and the right side is at most 0 for a
    maximal lottery (tau = inf) or an NLHF equilibrium of the ball K.
    """
    beta = observed.bt_beta
    excess = np.full((observed.size, observed.size), 0.5)
    np.fill_diagonal(excess, 0.0)
    x, y, margins = observed.ordered()
    excess[x, y] = margins
    payoff = excess @ policy / (beta * linear_slope(beta))
    s = float(payoff @ ball.maximize(payoff))
    s += BALL_SLACK * float(np.abs(payoff).max())
    return ratio_bound(linear_factor(beta) * (1 + 4 * ROUNDING), s, floor)


def elastic(cuts: Cuts) -> tuple[float, int]:
    """(certified lower bound on the largest violation of the cuts by any u ∈ [0,1]^A, cut that carries most
    of it).

    Weak duality: for y ≥ 0 with Σy ≤ 1, every u violates some cut by at least −y·rhs − Σ_x (−Σ y row)_x⁺.
    """
    result = linprog(
        np.r_[np.zeros(cuts.size), 1.0],
        A_ub=cuts.rows(-np.ones(cuts.first.size)),
        b_ub=cuts.rhs,
        bounds=[(0.0, 1.0)] * cuts.size + [(0.0, None)],
        options=LP_OPTIONS,
    )
    if result.status != 0:
        return 0.0, 0
    y = np.maximum(-result.ineqlin.marginals, 0.0)
    y /= max(1.0, float(y.sum()) * (1 + ROUNDING))
    proved = -float(y @ cuts.rhs) - float(np.maximum(-cuts.weighted(y)[0], 0.0).sum()) - ROUNDING * (1 + cuts.size)
    return proved, int(y.argmax())
