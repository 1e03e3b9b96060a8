"""Newton–Krylov on the response map of the win-rate game: the fast path where the KL term is active.

The program. Find the scores v (A,) with v = M·ρ(v), up to a constant, where M = P − ½ and ρ is the best response

    ρ(v) = argmax over π of πᵀv  with  KL(π‖π_ref) = tau    (or of πᵀv − weight·KL(π‖π_ref)),   so that
    ρ(v) ∝ π_ref·exp(κv),  κ the root of KL(ρ(v)‖π_ref) = tau    (or 1/weight).

Then π = ρ(v) is a best response to itself. With D = diag(π) and h = v − πᵀv, the derivative of ρ is κC, where C
is D projected on the moves that keep the sum and, on the ball, the KL: 1ᵀdπ = 0, hᵀdπ = 0. In the coordinates
dπ = √D y Newton's system is y − κSy = b with S antisymmetric, whose spectrum lies on 1 + iω: GMRES needs some
κ·‖√D M √D‖ products with P, 5 to 10 for mixtures of Bradley–Terry users and about a hundred where κ is large.
Small games factorise instead.

It gives up (None) where Newton's step has to be cut short or the ball does not bind; the interior point then takes
over. Shapes: A alternatives; π, v and log-references (nats) are (A,); P is (A, A).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import lu_factor, lu_solve

from theory.checks import Array

MAX_STEPS = 30
#: Shortest fraction of a Newton step; below it the start was too far off.
SHORTEST_STEP = 0.25
#: Up to this size one LU costs less than a Krylov space.
DENSE_SIZE = 300
#: Longest Krylov space, as a share of A and in all; a step that wants more is cheaper by LU, and so are the next.
KRYLOV_SHARE, MAX_KRYLOV = 0.1, 150
#: Stop of the root search for κ, relative to tau.
KL_ACCURACY = 1e-13


def fixed_point(
    win_rates: Array,
    log_reference: Array,
    target: float,
    *,
    tau: float = math.inf,
    weight: float = 0.0,
    start: Array | None = None,
    slope: float | None = None,
) -> Array | None:
    """A policy (A,) whose best response gains about `target` or less; None where Newton does not get there.

    win_rates      P (A, A), checked by the caller
    log_reference  (A,) nats
    tau, weight    a finite KL budget > 0 in nats, or the weight > 0 of the KL penalty
    start          policy (A,) to start from, the reference by default
    slope          first guess of κ on the ball
    """
    problem = _Problem(win_rates, log_reference, tau, weight)
    pi = np.exp(log_reference) if start is None else start
    v = problem.payoffs(pi)
    if weight > 0:
        slope = 1.0 / weight
    elif slope is None:
        spread = math.sqrt(float(pi @ (v - pi @ v) ** 2))
        if spread < 1e-15:
            return None
        slope = math.sqrt(2.0 * tau) / spread
    current = problem.respond(v, slope)
    if current is None:
        return None
    residual, norm = _residual(problem, current)
    krylov = pi.size > DENSE_SIZE
    for _ in range(MAX_STEPS):
        if problem.gap(current, current.scores + residual) <= target:
            return current.policy
        if norm == 0.0:
            # One alternative holds all the mass that float64 can see, and the response leads away from it.
            return None
        borders = [np.ones(pi.size)]
        if weight == 0:
            borders.append(current.scores - current.policy @ current.scores)
        direction = None
        if krylov:
            direction = _krylov(problem, current, residual, borders, accuracy=min(0.1, max(1e-4, 0.1 * norm)))
        if direction is None:
            krylov = False
            direction = _dense(problem, current, residual, borders)
        step = residual + problem.payoffs(direction)
        length, accepted = 1.0, False
        while not accepted and length >= SHORTEST_STEP:
            trial = problem.respond(current.scores + length * step, current.slope)
            if trial is not None:
                trial_residual, trial_norm = _residual(problem, trial)
                accepted = trial_norm <= (1.0 - 0.1 * length) * norm
            length *= 0.5
        if trial is None or not accepted:
            return None
        current, residual, norm = trial, trial_residual, trial_norm
    return None


@dataclass(frozen=True)
class _Response:
    """ρ(v) and what the next step needs: its slope κ, its scores v, and KL(ρ(v)‖π_ref)."""

    policy: Array
    slope: float
    scores: Array
    distance: float


@dataclass(frozen=True)
class _Problem:
    """The game with its set (tau) or its penalty (weight); see the module for both."""

    P: Array
    log_ref: Array
    tau: float
    weight: float

    def respond(self, v: Array, slope: float) -> _Response | None:
        """ρ(v); on the ball by Newton on log κ from `slope`, None where the ball does not bind."""
        v = v - v.max()
        if self.weight > 0:
            policy, distance, _ = self._tilt(v, slope)
            return _Response(policy, slope, v, distance)
        if -np.logaddexp.reduce(self.log_ref[v == 0.0]) <= self.tau:
            return None
        for _ in range(60):
            policy, distance, variance = self._tilt(v, slope)
            if abs(distance - self.tau) <= KL_ACCURACY * max(self.tau, 1e-2):
                return _Response(policy, slope, v, distance)
            if not (variance > 0 and distance > 0):
                return None
            # d KL/d log κ is the variance of κv; log KL against log κ is nearly straight over many decades.
            change = math.log(self.tau / distance) * distance / variance
            slope *= math.exp(min(2.0, max(-2.0, change)))
        return None

    def _tilt(self, v: Array, slope: float) -> tuple[Array, float, float]:
        """π ∝ π_ref·exp(κv), its KL to the reference, and the variance of κv under π."""
        scores = slope * v
        logits = self.log_ref + scores
        peak = float(logits.max())
        policy = np.exp(logits - peak)
        total = float(policy.sum())
        policy /= total
        mean = float(policy @ scores)
        return policy, mean - peak - math.log(total), float(policy @ scores**2) - mean * mean

    def payoffs(self, policy: Array) -> Array:
        """(Mπ)(x) for every x, for a measure π of any sum."""
        return self.P @ policy - 0.5 * policy.sum()

    def gap(self, response: _Response, values: Array) -> float:
        """What the best response to ρ(v), whose payoffs are `values`, gains; infinite where the ball does not bind."""
        best = self.respond(values, response.slope)
        if best is None:
            return math.inf
        gain = float(best.policy @ values - response.policy @ values)
        return gain - self.weight * (best.distance - response.distance)


def _residual(problem: _Problem, response: _Response) -> tuple[Array, float]:
    """Mρ(v) − v, centred, and its size in units of log π (root mean square under π)."""
    residual = problem.payoffs(response.policy) - response.scores
    residual -= response.policy @ residual
    return residual, response.slope * math.sqrt(float(response.policy @ residual**2))


def _dense(problem: _Problem, at: _Response, residual: Array, borders: list[Array]) -> Array:
    """dπ from (D⁻¹/κ − M) dπ + borders·multipliers = residual, bordersᵀdπ = 0."""
    matrix = 0.5 - problem.P
    # Where π(x) has underflowed the row reads dπ(x) = 0.
    matrix.flat[:: at.policy.size + 1] += 1.0 / np.maximum(at.slope * at.policy, 1e-290)
    solved = lu_solve(
        lu_factor(matrix, overwrite_a=True, check_finite=False),
        np.stack([residual, *borders], axis=1),
        check_finite=False,
    )
    reduced = np.stack(borders) @ solved
    multipliers = np.linalg.lstsq(reduced[:, 1:], reduced[:, 0], rcond=None)[0]
    return solved[:, 0] - solved[:, 1:] @ multipliers


def _krylov(
    problem: _Problem, at: _Response, residual: Array, borders: list[Array], accuracy: float
) -> Array | None:
    """dπ = √D y from y − κSy = b by GMRES, S = Π√D M √DΠ, Π orthogonal to √D·borders; None where that takes too many products."""
    root = np.sqrt(at.policy)
    frame: list[Array] = []
    for border in borders:
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

    b = project(root * residual) * at.slope
    size = float(np.linalg.norm(b))
    if size == 0.0:
        return np.zeros(b.size)
    longest = min(MAX_KRYLOV, int(KRYLOV_SHARE * b.size))
    basis = np.empty((longest + 1, b.size))
    hessenberg = np.zeros((longest + 1, longest))
    basis[0] = b / size
    for j in range(longest):
        w = -at.slope * project(root * problem.payoffs(root * basis[j]))
        for _ in range(2):  # Gram-Schmidt twice: as good as Householder
            overlap = basis[: j + 1] @ w
            w -= overlap @ basis[: j + 1]
            hessenberg[: j + 1, j] += overlap
        hessenberg[j, j] += 1.0
        hessenberg[j + 1, j] = length = float(np.linalg.norm(w))
        if j % 4 == 3 or length < 1e-14:
            right = np.zeros(j + 2)
            right[0] = size
            y, *_ = np.linalg.lstsq(hessenberg[: j + 2, : j + 1], right, rcond=None)
            if np.linalg.norm(hessenberg[: j + 2, : j + 1] @ y - right) <= accuracy * size:
                return root * project(y @ basis[: j + 1])
            if length < 1e-14:
                return None
        basis[j + 1] = w / length
    return None
