"""Primal-dual interior point for antisymmetric games over the simplex, a KL ball, or with a KL penalty.

The program. With M = P − ½ (A, A), M = −Mᵀ, find a policy π that is its own best response:

    π ∈ argmax over π' of  π'ᵀMπ − weight·KL(π'‖π_ref)   subject to  π' ≥ 0,  Σπ' = 1,  KL(π'‖π_ref) ≤ tau.

Its optimality system, with multipliers ν of the sum, s ≥ 0 of the signs and λ ≥ 0 of the ball (λ = weight
where the penalty replaces the ball), g = log π − log π_ref and slack k = tau − KL(π‖π_ref) ≥ 0:

    Mπ − λg − ν1 + s = 0,    π∘s = 0,    λk = 0.

Since M is antisymmetric the system is its own dual, so one Newton system of size A serves both players. Each
iteration factorises K = diag((λ+s)/π) − M once and bends the step with Mehrotra's second-order correction
(Mehrotra, SIAM J. Optim. 2, 1992). The symmetric part of K is positive definite, so that K stays invertible
with ties, with clones and as λ → 0. The number of iterations grows slowly with A (8 to 25 for A up to 2000).

Shapes: A alternatives; policies, log-references (nats) and scores are (A,).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dgetrf, dgetrs

from theory.policy.kl_ball import KLBall
from theory.validate import Array

#: Far above what any instance needed (8 to 30).
MAX_ITERATIONS = 100
#: Part of the way to the boundary that a step may go.
TO_BOUNDARY = 0.995


def central_path(win_rates: Array, ball: KLBall, weight: float = 0.0) -> Iterator[PathPoint]:
    """The points of the path, from the middle of the simplex to where float64 has no more to give.

    win_rates  P (A, A), checked by the caller
    ball       the reference, and a KL budget > 0
    weight     ≥ 0 of the KL penalty; not with a finite budget

    Yields one object, moved in place. The caller stops by its own certificate.
    """
    point = PathPoint(win_rates, ball, weight)
    for _ in range(MAX_ITERATIONS):
        yield point
        if not point.advance():
            return


class _Step(NamedTuple):
    """A Newton step: of π and s (A,), of ν, and of λ and k where there is a ball."""

    pi: Array
    s: Array
    nu: float
    lam: float
    k: float


class PathPoint:
    """One point of the path: π, s, ν, and λ, k where there is a ball; `advance` moves it by one step."""

    def __init__(self, win_rates: Array, ball: KLBall, weight: float) -> None:
        A = win_rates.shape[0]
        self.P, self.log_ref, self.tau, self.ball = win_rates, ball.log_reference, ball.tau, ball.bounded
        self.free = not self.ball and weight == 0.0
        self.pi = np.full(A, 1.0 / A)
        if not self.free:
            # Strictly inside the simplex and yet at a moderate KL, also from log π_ref = −2·10⁹.
            inner = 1.0 / (1.0 + np.maximum(0.0, -self.log_ref - math.log(A)))
            self.pi = 0.9 * np.exp(self.log_ref) + 0.1 * inner / inner.sum()
        self.s = np.full(A, 0.5)
        self.nu = 0.0
        self.lam = 0.1 if self.ball else weight
        self.k = 0.5 * max(self.tau, 1e-3) if self.ball else 0.0
        self.work = np.empty((A, A))

    def policy(self) -> Array:
        """π, its rounding taken out."""
        return self.pi / self.pi.sum()

    def complementarity(self) -> float:
        """Σ π s + λ k: the duality gap once the residuals vanish."""
        return float(self.pi @ self.s) + (self.lam * self.k if self.ball else 0.0)

    def advance(self) -> bool:
        """One predictor-corrector step; False where float64 has no more to give."""
        # Overflow of (λ+s)/π ends the path: what is not finite is looked for below, not warned about.
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            try:
                step = self._step()
            except np.linalg.LinAlgError:
                return False
            return step is not None and self._move(step)

    def _step(self) -> _Step | None:
        """Mehrotra's step: the predictor says how far to centre, and bends the corrector; None if K is singular."""
        system = _System.at(self)
        if system is None:
            return None
        pi, s, lam, k = self.pi, self.s, self.lam, self.k
        size = pi.size + (1 if self.ball else 0)
        mu = self.complementarity() / size
        predictor = system.direction(-pi * s, -lam * k)
        length = self._reach(predictor)
        after = float((pi + length * predictor.pi) @ (s + length * predictor.s))
        if self.ball:
            after += (lam + length * predictor.lam) * (k + length * predictor.k)
        centre = mu * (after / size / mu) ** 3
        return system.direction(
            centre - pi * s - predictor.pi * predictor.s, centre - lam * k - predictor.lam * predictor.k
        )

    def _reach(self, step: _Step) -> float:
        """The longest multiple ≤ 1 of the step that keeps π, s, λ, k nonnegative."""
        shrink = max(float(np.max(-step.pi / self.pi)), float(np.max(-step.s / self.s)))
        if self.ball:
            shrink = max(shrink, -step.lam / self.lam, -step.k / self.k)
        return 1.0 if shrink <= 1.0 else 1.0 / shrink

    def _move(self, step: _Step) -> bool:
        """Go along the step, nearly to the boundary; False where rounding would leave the inside."""
        length = min(1.0, TO_BOUNDARY * self._reach(step))
        pi, s = self.pi + length * step.pi, self.s + length * step.s
        lam, k = self.lam + length * step.lam, self.k + length * step.k
        positive = pi.min() > 0 and s.min() > 0 and (not self.ball or min(lam, k) > 0)
        if not (positive and math.isfinite(pi.sum() + s.sum() + step.nu + lam + k)):
            return False
        self.pi, self.s, self.nu, self.lam, self.k = pi, s, self.nu + length * step.nu, lam, k
        return True


class _System(NamedTuple):
    """The Newton system of a point, factorised: LU of K, K⁻¹(1, g), and the residuals of its three equations."""

    point: PathPoint
    g: Array
    lu: tuple[Array, Array]
    border: Array
    residual: Array
    residual_sum: float
    residual_ball: float

    @classmethod
    def at(cls, point: PathPoint) -> _System | None:
        """The system of a point; None where K overflows or is singular."""
        pi, s, lam, work = point.pi, point.s, point.lam, point.work
        A = pi.size
        g = np.zeros(A) if point.free else np.log(pi) - point.log_ref
        residual = point.P @ pi - 0.5 * pi.sum() - lam * g - point.nu + s
        residual_ball = point.tau - float(pi @ g) - point.k if point.ball else 0.0
        # K = diag((λ+s)/π) − M. The transpose of M + diag is K, and Fortran order saves LAPACK its copy.
        np.subtract(point.P, 0.5, out=work)
        work.flat[:: A + 1] += (lam + s) / pi
        if not np.isfinite(work.flat[:: A + 1]).all():
            return None
        factors, pivots, singular = dgetrf(work.T, overwrite_a=True)
        if singular:
            return None
        border = dgetrs(factors, pivots, np.stack([np.ones(A), g], axis=1))[0]
        return cls(point, g, (factors, pivots), border, residual, 1.0 - float(pi.sum()), residual_ball)

    def direction(self, target_s: Array, target_k: float) -> _Step:
        """The Newton step with s dπ + π ds = target_s and k dλ + λ dk = target_k."""
        pi, lam, k, border, g = self.point.pi, self.point.lam, self.point.k, self.border, self.g
        x = dgetrs(*self.lu, self.residual + target_s / pi)[0]
        if self.point.ball:
            system = np.array(
                [[border[:, 0].sum(), border[:, 1].sum()], [g @ border[:, 0], g @ border[:, 1] + k / lam]]
            )
            right = [x.sum() - self.residual_sum, g @ x - (self.residual_ball - self.residual_sum - target_k / lam)]
            d_nu, d_lam = np.linalg.solve(system, right)
            d_pi = x - border[:, 0] * d_nu - border[:, 1] * d_lam
            d_k = (target_k - k * d_lam) / lam
        else:
            d_nu, d_lam, d_k = (x.sum() - self.residual_sum) / border[:, 0].sum(), 0.0, 0.0
            d_pi = x - border[:, 0] * d_nu
        return _Step(d_pi, (target_s - self.point.s * d_pi) / pi, float(d_nu), float(d_lam), float(d_k))
