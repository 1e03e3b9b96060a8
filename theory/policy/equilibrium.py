"""Which method finds an equilibrium of the win-rate game: cheap ones first, each judged by the certificate.

  theory.policy.newton     Newton on the response map where a KL term binds: a few products with P
  growing support        the game on a few alternatives, to which those the best response misses are added
  theory.policy.support  dense lotteries: the support by regret matching and elimination, then one linear system
  theory.policy.interior_point  the central path, one dense factorisation per step: all the rest
  theory.policy.lottery  a linear program, in float64 or in integers, where the path to a degenerate lottery stops early

A growing support at most doubles and stops at a quarter of the alternatives, and Newton takes back few steps,
so that the attempts that fail cost a fraction of the central path that follows.

Shapes: A alternatives; policies, payoffs and log-references (nats) are (A,); P is (A, A). `target` is the gap
to aim for, below the certificate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from theory.policy.interior_point import PathPoint, central_path
from theory.policy.kl_ball import KLBall, tilt
from theory.policy.lottery import vertex_lotteries
from theory.policy.newton import fixed_point
from theory.policy.support import EXACT, dense_lottery
from theory.validate import Array

Indices = NDArray[np.intp]

#: A candidate whose gap is within this factor of the target ends the search.
CLOSE = 10.0
#: Complementarity of the central path from which its points are worth a certificate, and a Newton start.
NEAR_END = 1e-3
#: Complementarity from which the path has told the support of an equilibrium apart.
SUPPORT_SEEN = 1e-6
#: Points of the path in a row on which the gap does not fall before it stops.
PATIENCE = 4
#: Games up to this size go to the central path at once; supports grow by at least a quarter of it.
SMALL = 32
#: From this weight of the penalty, beside payoffs of order one, the response to a policy is a contraction by 1e-4 and
#: few steps leave nothing; the gap is then weight·KL(π‖response), which the difference of its two sides has lost.
HEAVY, HEAVY_STEPS = 1e4, 6
#: From this size on, the lottery of a dense game is found on its support.
LARGE = 64
DENSE = "support by regret matching and elimination"
#: A support beyond this share of the alternatives is dense: the whole game is then cheaper.
SPARSE_SHARE = 0.25


@dataclass(frozen=True, eq=False)
class Game:
    """The game M = P − ½ on the ball KL(π‖π_ref) ≤ tau, or with the penalty weight·KL, or free of both."""

    P: Array
    ball: KLBall
    weight: float = 0.0

    @property
    def free(self) -> bool:
        return not self.ball.bounded and self.weight == 0.0

    def payoffs(self, policy: Array) -> Array:
        """−πᵀM: what each alternative gains against the policy."""
        used = np.flatnonzero(policy)
        if used.size > SPARSE_SHARE * policy.size:
            return 0.5 * policy.sum() - policy @ self.P
        return 0.5 * policy.sum() - policy[used] @ self.P[used]

    def response(self, values: Array) -> Array:
        """The best policy of the set against the one that leaves these payoffs."""
        if self.weight > 0:
            return tilt(self.ball.log_reference, values / self.weight)
        return self.ball.maximize(values)

    def gap(self, policy: Array) -> float:
        """What the best response to the policy gains, in closed form: the certificate."""
        values = self.payoffs(policy)
        if self.weight > 0:
            if self.weight > HEAVY:
                return self.weight * _distance(policy, self.response(values))
            peak = float(logsumexp(self.ball.log_reference + values / self.weight))
            return self.weight * (peak + self.ball.distance(policy)) - float(policy @ values)
        peak = float(values.max())
        # No policy gains more than the best alternative: certificate enough where that is rounding.
        return peak if self.free or 0.0 <= peak <= EXACT else float(self.response(values) @ values)

    def inside(self, policy: Array) -> Array:
        """The policy mixed with the reference until KL ≤ tau: KL is convex and 0 at the reference."""
        policy = policy / policy.sum()
        distance = self.ball.distance(policy) if self.ball.bounded else 0.0
        if distance <= self.ball.tau:
            return policy
        kept = self.ball.tau / distance
        return kept * policy + (1.0 - kept) * np.exp(self.ball.log_reference)

    def on(self, support: Indices) -> Game | None:
        """The game on these alternatives, the reference conditioned on them; None if K has no such π."""
        logs = self.ball.log_reference[support]
        mass = float(logsumexp(logs))
        if self.ball.tau + mass <= 0.0:
            return None
        return Game(self.P[np.ix_(support, support)], KLBall(logs - mass, self.ball.tau + mass), self.weight)


def equilibrium(game: Game, target: float) -> tuple[Array, str]:
    """The first policy whose gap comes close to `target`, else the best one, and the method it is from."""
    best, best_gap, best_method = np.exp(game.ball.log_reference), math.inf, "the reference"
    for policy, method in _attempts(game, target):
        gap = game.gap(policy)
        if gap < best_gap:
            best, best_gap, best_method = policy, gap, method
        if best_gap <= CLOSE * target:
            break
    return best, best_method


def _attempts(game: Game, target: float) -> Iterator[tuple[Array, str]]:
    """Candidates inside the set, the cheapest method first."""
    if game.free:
        # The average of the alternatives that lose to none loses to none.
        unbeaten = game.P.min(axis=1) >= 0.5
        if unbeaten.any():
            yield unbeaten / unbeaten.sum(), "unbeaten alternatives"
        sparse = _sparse_lottery(game, target)
        if sparse is not None:
            yield sparse, "growing support"
        dense = _dense_lottery(game)
        if dense is not None:
            yield dense, DENSE
        yield _central(game, target), "interior point"
        yield from ((policy, "linear program") for policy in vertex_lotteries(game.P))
        return
    if game.weight > HEAVY:
        policy = np.exp(game.ball.log_reference)
        for _ in range(HEAVY_STEPS):
            policy = game.response(game.payoffs(policy))
        yield policy, "repeated best responses"
    if game.ball.tau == 0.0:
        yield np.exp(game.ball.log_reference), "the reference"
        return
    if game.weight == 0.0 and game.P.shape[0] >= LARGE:
        # Where this fails, the lottery, if it is the only one and in the ball, costs less than Newton's method.
        accelerated = fixed_point(game.P, game.ball, target, hasty=True)
        if accelerated is not None:
            yield game.inside(accelerated), "Newton on the response map"
        dense = _dense_lottery(game)
        if dense is not None:
            yield dense, DENSE
    newton = _newton(game, target)
    if newton is not None:
        yield newton, "Newton on the response map"
    # A sparse equilibrium of the free game is cheap: the answer where it lies in the ball, else a start.
    sparse = _sparse_lottery(Game(game.P, KLBall(game.ball.log_reference)), target)
    if sparse is not None:
        start = game.inside(sparse)
        if game.weight == 0.0:
            yield start, "growing support"
        newton = _newton(game, target, start)
        if newton is not None:
            yield newton, "Newton on the response map"
        grown = _grow(game, np.flatnonzero(sparse), start, target)
        if grown is not None:
            yield grown, "growing support"
    yield _central(game, target), "interior point"


def _distance(p: Array, q: Array) -> float:
    """KL(p‖q) of two laws that nearly agree: Σ p(d + e^{−d} − 1), d = log p/q, no term negative."""
    held = (p > 0) & (q > 0)
    d = np.log(p[held]) - np.log(q[held])
    return float(p[held] @ (d + np.expm1(-d)) + q[~held].sum()) if not (p[q == 0] > 0).any() else math.inf


def _newton(game: Game, target: float, start: Array | None = None, slope: float | None = None) -> Array | None:
    policy = fixed_point(game.P, game.ball, target, weight=game.weight, start=start, slope=slope)
    return None if policy is None else game.inside(policy)


def _dense_lottery(game: Game) -> Array | None:
    """The only equilibrium of the free game, on a large support; None where it is not, or leads out of the ball."""
    if game.P.shape[0] < LARGE:
        return None

    def central(P: Array, gap: float) -> Array:
        return _central(Game(P, KLBall(np.zeros(P.shape[0]))), gap)

    policy = dense_lottery(game.P, central, lambda average: game.ball.distance(average) <= game.ball.tau)
    return policy if policy is not None and game.ball.distance(policy) <= game.ball.tau else None


def _sparse_lottery(game: Game, target: float) -> Array | None:
    """An equilibrium of the free game by growing support from the best Borda scores; None if not sparse."""
    if game.P.shape[0] <= SMALL:
        return None
    start = np.argsort(-game.P.sum(axis=1), kind="stable")[: SMALL // 4]
    return _grow(game, start, None, target)


def _grow(game: Game, support: Indices, start: Array | None, target: float) -> Array | None:
    """The equilibrium on a support that grows by what the best response misses (double oracle).

    None if the support is not sparse. `start` stands in while the ball has no policy on the support.
    """
    A = game.P.shape[0]
    policy = np.zeros(A) if start is None else start
    while support.size <= max(SMALL, SPARSE_SHARE * A):
        inner = game.on(support)
        if inner is not None:
            policy = np.zeros(A)
            policy[support] = _central(inner, target)
            policy = game.inside(policy)  # rounding of large log-references moves the radius of the inner ball
        values = game.payoffs(policy)
        missing = values - target
        if not game.free:
            missing = game.response(values) if game.gap(policy) > target else np.zeros(A)
        missing[support] = 0.0
        new = np.flatnonzero(missing > 0.0)
        if new.size == 0:
            return policy
        room = max(SMALL // 4, support.size)
        if new.size > room:
            new = new[np.argsort(-missing[new], kind="stable")[:room]]
        support = np.concatenate([support, new])
    return None


def _central(game: Game, target: float) -> Array:
    """The best candidate along the central path, which ends at a gap ≤ target or where it stops falling."""
    candidate = _crossover if game.free else _finisher(target)
    best, best_gap, last, waited = None, math.inf, math.inf, 0
    for point in central_path(game.P, game.ball, game.weight):
        if best is not None and point.complementarity() > NEAR_END:
            continue
        policy = candidate(game, point)
        gap = game.gap(policy)
        # Compared with the last gap: at the threshold of activity it first rises, then halves with each step.
        waited, last = (0 if gap < 0.9 * last else waited + 1), gap
        if best is None or gap < best_gap:
            best, best_gap = policy, gap
        if best_gap <= target or (waited >= PATIENCE and point.complementarity() < max(target, 1e-13)):
            break
    assert best is not None  # the path yields its start
    return best


def _finisher(target: float) -> Callable[[Game, PathPoint], Array]:
    """The point moved inside, or where Newton leads from it: tried twice, where the KL term looks active."""
    attempts = [NEAR_END, 0.01 * NEAR_END]

    def candidate(game: Game, point: PathPoint) -> Array:
        policy = game.inside(point.policy())
        if attempts and point.complementarity() <= attempts[0] and point.lam > point.k:
            attempts.pop(0)
            finished = _newton(game, target, policy, 1.0 / point.lam)
            if finished is not None:
                return finished
        return policy

    return candidate


def _crossover(game: Game, point: PathPoint) -> Array:
    """The policy on B = {π > s} that leaves B indifferent, exactly; the point where that is not ≥ 0."""
    policy = point.policy()
    B = np.flatnonzero(point.pi > point.s)
    if B.size == 0 or point.complementarity() > SUPPORT_SEEN:
        return policy
    # (Mπ)_B = ν, Σπ_B = 1, as a correction of the point: of least norm where clones leave a choice.
    system = np.zeros((B.size + 1, B.size + 1))
    system[:-1, :-1] = game.P[np.ix_(B, B)] - 0.5
    system[:-1, -1] = -1.0
    system[-1, :-1] = 1.0
    right = -system @ np.append(policy[B], 0.0)
    right[-1] += 1.0
    try:
        change = np.linalg.solve(system, right)
    except np.linalg.LinAlgError:
        change = np.linalg.lstsq(system, right, rcond=None)[0]
    exact = np.zeros(policy.size)
    exact[B] = policy[B] + change[:-1]
    if not (np.isfinite(exact).all() and exact.min() >= 0.0 and exact.sum() > 0.0):
        return policy
    return exact / exact.sum()
