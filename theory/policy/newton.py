"""Newton–Krylov on the response map of the win-rate game: the fast path where the KL term is active.

The program. Find scores v (A,) with v = M·ρ(v), up to a constant, where M = P − ½ and ρ is the best response

    ρ(v) = argmax over π of πᵀv  with  KL(π‖π_ref) = tau    (or of πᵀv − weight·KL(π‖π_ref)),   so that
    ρ(v) ∝ π_ref·exp(κv),  κ the root of KL(ρ(v)‖π_ref) = tau    (or 1/weight).

Then π = ρ(v) is a best response to itself. With D = diag(π) and h = v − πᵀv, the derivative of ρ is κC, where
C is D projected on the moves that keep the sum and, on the ball, the KL: 1ᵀdπ = 0, hᵀdπ = 0.

Anderson acceleration of v ← Mρ(v) comes first: 4 to 10 products with P for mixtures of Bradley–Terry users, and
it notices within 10 when it will not do. What it cannot do is left to implicit Euler on the smooth best-response
dynamics v' = Mρ(v) − v,

    ((1 + 1/Δ)·1 − κMC) dv = Mρ(v) − v,

with a time step Δ that grows to Newton's method. The gap falls along this flow in a zero-sum game (Hofbauer &
Sandholm, Econometrica 70, 2002), so a step that raises it was too long and is taken again with Δ/4
(pseudo-transient continuation). In the coordinates dπ = √D y the system is (1 + 1/Δ)y − κSy = b with S
antisymmetric: GMRES needs some κ·‖√D M √D‖ products with P, and LU takes over where κ is large.

It gives up (None) where the ball does not bind or the flow becomes too stiff (κ → ∞ near the threshold of
activity); the interior point then takes over.

Shapes: A alternatives; π, v and log-references (nats) are (A,); P is (A, A).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dgetrf, dgetrs

from theory.policy.kl_ball import KLBall, kl_of_tilt
from theory.validate import Array

#: Anderson acceleration: iterates it remembers, and iterations in a row that may fail to halve the gap.
ANDERSON_MEMORY = 51
ANDERSON_PATIENCE, ANDERSON_HASTE = 8, 3
MAX_STEPS = 60
#: Steps that may be taken back. Solvable games needed at most 5 of them.
MAX_REJECTED = 6
#: Bounds on the growth of Δ per accepted step.
GROWTH = 1.5, 10.0
#: A Krylov space shorter than this is not worth its overhead.
SHORTEST_KRYLOV = 12
#: Longest Krylov space, as a share of A and in all. A step that wants more is cheaper by LU, the next too.
KRYLOV_SHARE, MAX_KRYLOV = 0.1, 150
#: Stop of the root search for κ, relative to tau.
KL_ACCURACY = 1e-13


def fixed_point(
    win_rates: Array,
    ball: KLBall,
    target: float,
    *,
    weight: float = 0.0,
    start: Array | None = None,
    slope: float | None = None,
    hasty: bool = False,
) -> Array | None:
    """A policy (A,) whose best response gains about `target` or less; None where Newton does not get there.

    win_rates  P (A, A), checked by the caller
    ball       the reference, and a finite KL budget > 0 unless there is a penalty
    weight     > 0 of the KL penalty
    start      policy (A,) to start from, the reference by default
    slope      first guess of κ on the ball
    hasty      Anderson acceleration alone, which gives up early
    """
    problem = _Problem(win_rates, ball, weight)
    # What overflows is not finite, its gap not below any other, and the step is taken back.
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        try:
            return _follow(problem, np.exp(ball.log_reference) if start is None else start, slope, target, hasty)
        except np.linalg.LinAlgError:
            return None


def _follow(problem: _Problem, start: Array, slope: float | None, target: float, hasty: bool) -> Array | None:
    v = problem.payoffs(start)
    if problem.weight > 0:
        slope = 1.0 / problem.weight
    elif slope is None:
        spread = math.sqrt(float(start @ (v - start @ v) ** 2))
        if spread < 1e-15:
            return None
        slope = math.sqrt(2.0 * problem.ball.tau) / spread
    current = problem.respond(v, slope)
    if current is None:
        return None
    current = _accelerate(problem, current, target, ANDERSON_HASTE if hasty else ANDERSON_PATIENCE)
    if hasty:
        return current.policy if current.gap <= target else None
    krylov = min(MAX_KRYLOV, int(KRYLOV_SHARE * start.size))
    # Near the solution Newton's method at once, far from it a step of the size of the flow's own time scale.
    time_step = 1.0 / min(1.0, max(current.size, 1e-6)) ** 2
    rejected = 0
    for _ in range(MAX_STEPS):
        if current.gap <= target:
            return current.policy
        if current.size == 0.0:
            # One alternative holds all the mass that float64 can see, and the response leads away from it.
            return None
        step = None
        shift = 1.0 + 1.0 / time_step
        if krylov >= SHORTEST_KRYLOV:
            step = _krylov(problem, current, shift, krylov)
        if step is None:
            krylov = 0
            step = _dense(problem, current, shift)
        trial = None if step is None else problem.respond(current.scores + step, current.slope)
        if trial is not None and trial.gap <= current.gap:
            time_step *= min(GROWTH[1], max(GROWTH[0], current.gap / max(trial.gap, 1e-300)))
            current = trial
            continue
        time_step *= 0.25
        rejected += 1
        if rejected > MAX_REJECTED:
            return None
    return None


def _accelerate(problem: _Problem, current: _Response, target: float, patience: int) -> _Response:
    """The best response seen by Anderson acceleration of v ← Mρ(v), at one product with P per iteration.

    Each iterate is the combination of the last ones whose residual is least in the mean square under π.
    """
    best, waited = current, 0
    scores: list[Array] = []
    residuals: list[Array] = []
    while best.gap > target and waited < patience:
        scores.append(current.scores)
        residuals.append(current.residual)
        step = current.residual
        if len(scores) > 1:
            scores, residuals = scores[-ANDERSON_MEMORY:], residuals[-ANDERSON_MEMORY:]
            change = np.diff(np.array(residuals), axis=0)
            centred = change - (change @ current.policy)[:, None]
            weighted = centred * current.policy
            # Forgetting directions below the rounding of the normal equations costs an iteration, not accuracy.
            mix = np.linalg.lstsq(weighted @ centred.T, weighted @ current.residual, rcond=1e-14)[0]
            step = step - mix @ (change + np.diff(np.array(scores), axis=0))
        following = problem.respond(current.scores + step, current.slope)
        if following is None:
            break
        current = following
        waited = 0 if current.gap < 0.5 * best.gap else waited + 1
        if current.gap < best.gap:
            best = current
    return best


@dataclass(frozen=True)
class _Response:
    """ρ(v) and what the next step needs.

    slope     κ
    scores    v, its maximum 0
    residual  Mρ(v) − v, its mean under ρ(v) 0; `size` is its root mean square in units of log π
    gap       what the best response to ρ(v) gains
    """

    policy: Array
    slope: float
    scores: Array
    residual: Array
    size: float
    gap: float


@dataclass(frozen=True)
class _Problem:
    """The game with its set (tau) or its penalty (weight)."""

    P: Array
    ball: KLBall
    weight: float

    def payoffs(self, measure: Array) -> Array:
        """(Mπ)(x) for every x, for a measure π of any sum."""
        return self.P @ measure - 0.5 * measure.sum()

    def respond(self, v: Array, slope: float) -> _Response | None:
        """ρ(v) with its residual and gap, one product with P; None where the ball does not bind."""
        v = v - v.max()
        best = self._best(v, slope)
        if best is None:
            return None
        policy, slope, distance = best
        values = self.payoffs(policy)
        against = self._best(values, slope)
        if against is None:
            return None
        gap = float(against[0] @ values - policy @ values) - self.weight * (against[2] - distance)
        residual = values - v
        residual -= policy @ residual
        size = slope * math.sqrt(float(policy @ residual**2))
        return _Response(policy, slope, v, residual, size, gap)

    def borders(self, at: _Response) -> list[Array]:
        """The directions b with bᵀdπ = 0: the sum, and on the ball the KL."""
        ones = np.ones(at.policy.size)
        return [ones] if self.weight > 0 else [ones, at.scores - at.policy @ at.scores]

    def _best(self, v: Array, slope: float) -> tuple[Array, float, float] | None:
        """The maximiser of πᵀv, its κ and KL; on the ball by Newton on log κ from `slope`."""
        v = v - v.max()
        if self.weight > 0:
            distance, _, policy = kl_of_tilt(slope * v, self.ball.log_reference)
            return policy, slope, distance
        if -np.logaddexp.reduce(self.ball.log_reference[v == 0.0]) <= self.ball.tau:
            return None
        for _ in range(60):
            distance, variance, policy = kl_of_tilt(slope * v, self.ball.log_reference)
            if abs(distance - self.ball.tau) <= KL_ACCURACY * max(self.ball.tau, 1e-2):
                return policy, slope, distance
            if not (variance > 0 and distance > 0):
                return None
            # d KL/d log κ is the variance of κv; log KL against log κ is nearly straight over many decades.
            change = math.log(self.ball.tau / distance) * distance / variance
            slope *= math.exp(min(2.0, max(-2.0, change)))
        return None


def _dense(problem: _Problem, at: _Response, shift: float) -> Array | None:
    """dv by LU, None if singular; shift·dv = residual + M dπ, where bordersᵀdπ = 0 and

    (shift·D⁻¹/κ − M) dπ + borders·multipliers = residual.
    """
    matrix = 0.5 - problem.P
    # Where π(x) has underflowed the row reads dπ(x) = 0.
    matrix.flat[:: at.policy.size + 1] += shift / np.maximum(at.slope * at.policy, 1e-290)
    borders = problem.borders(at)
    factors, pivots, singular = dgetrf(matrix.T, overwrite_a=True)
    if singular:
        return None
    solved = dgetrs(factors, pivots, np.stack([at.residual, *borders], axis=1), trans=1)[0]
    reduced = np.stack(borders) @ solved
    multipliers = np.linalg.lstsq(reduced[:, 1:], reduced[:, 0], rcond=None)[0]
    return (at.residual + problem.payoffs(solved[:, 0] - solved[:, 1:] @ multipliers)) / shift


def _krylov(problem: _Problem, at: _Response, shift: float, longest: int) -> Array | None:
    """dv by GMRES on shift·y − κSy = κΠ√D·residual; S = Π√D M √DΠ, Π projects off √D·borders, dπ = √D y.

    To a relative accuracy of a tenth of the residual's size: Newton's method then converges at order near 2.
    None where that takes more than `longest` products with P.
    """
    root = np.sqrt(at.policy)
    frame: list[Array] = []
    for border in problem.borders(at):
        direction = root * border
        for unit in frame:
            direction = direction - unit * (unit @ direction)
        length = float(np.linalg.norm(direction))
        if length > 1e-150:
            frame.append(direction / length)

    def project(y: Array) -> Array:
        for unit in frame:
            y = y - unit * (unit @ y)
        return y

    b = project(root * at.residual) * at.slope
    size = float(np.linalg.norm(b))
    if size == 0.0:
        return at.residual / shift
    accuracy = min(0.1, max(1e-4, 0.1 * at.size)) * size
    basis = np.empty((longest + 1, b.size))
    hessenberg = np.zeros((longest + 1, longest))
    basis[0] = b / size
    for j in range(longest):
        w = -at.slope * project(root * problem.payoffs(root * basis[j]))
        for _ in range(2):  # Gram-Schmidt twice: as good as Householder
            overlap = basis[: j + 1] @ w
            w -= overlap @ basis[: j + 1]
            hessenberg[: j + 1, j] += overlap
        hessenberg[j, j] += shift
        hessenberg[j + 1, j] = length = float(np.linalg.norm(w))
        if j % 4 == 3 or length < 1e-14:
            H = hessenberg[: j + 2, : j + 1]
            right = np.zeros(j + 2)
            right[0] = size
            y, *_ = np.linalg.lstsq(H, right, rcond=None)
            if np.linalg.norm(H @ y - right) <= accuracy:
                return (at.residual + problem.payoffs(root * project(y @ basis[: j + 1]))) / shift
            if length < 1e-14:
                return None
        basis[j + 1] = w / length
    return None
