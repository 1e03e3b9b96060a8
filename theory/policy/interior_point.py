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

import numpy as np
from scipy.linalg.lapack import dgetrf, dgetrs

from theory.validate import Array

#: Far above what any instance needed (8 to 30).
MAX_ITERATIONS = 100
#: Share of the way to the boundary that a step may go.
TO_BOUNDARY = 0.995


def central_path(
    win_rates: Array, *, log_reference: Array | None = None, tau: float = math.inf, weight: float = 0.0
) -> Iterator[PathPoint]:
    """The points of the path, from the middle of the simplex to where float64 has no more to give.

    win_rates      P (A, A), checked by the caller
    log_reference  (A,) nats; needed for a finite tau and for weight > 0
    tau, weight    a KL budget > 0 in nats, or the weight ≥ 0 of the KL penalty; not both

    Yields one object, moved in place. The caller stops by its own certificate.
    """
    point = PathPoint(win_rates, log_reference, tau, weight)
    for _ in range(MAX_ITERATIONS):
        yield point
        if not point.advance():
            return


class PathPoint:
    """One point of the path: π, s, ν, and λ, k where there is a ball; `advance` moves it by one step."""

    def __init__(self, win_rates: Array, log_reference: Array | None, tau: float, weight: float) -> None:
        A = win_rates.shape[0]
        self.P, self.log_ref, self.tau = win_rates, log_reference, tau
        self.ball = tau < math.inf
        self.pi = np.full(A, 1.0 / A)
        if log_reference is not None:
            # Strictly inside the simplex and yet at a moderate KL, also from log π_ref = −2·10⁹.
            inner = 1.0 / (1.0 + np.maximum(0.0, -log_reference - math.log(A)))
            self.pi = 0.9 * np.exp(log_reference) + 0.1 * inner / inner.sum()
        self.s = np.full(A, 0.5)
        self.nu = 0.0
        self.lam = 0.1 if self.ball else weight
        self.k = 0.5 * max(tau, 1e-3) if self.ball else 0.0
        self.work = np.empty((A, A))

    def policy(self) -> Array:
        return self.pi / self.pi.sum()

    def complementarity(self) -> float:
        """Σ π s + λ k: the duality gap once the residuals vanish."""
        return float(self.pi @ self.s) + (self.lam * self.k if self.ball else 0.0)

    def advance(self) -> bool:
        """One predictor-corrector step; False where float64 has no more to give."""
        # Overflow of (λ+s)/π ends the path: what is not finite is looked for below, not warned about.
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            return self._advance()

    def _advance(self) -> bool:
        pi, s, lam, k = self.pi, self.s, self.lam, self.k
        A = pi.size
        g = np.zeros(A) if self.log_ref is None else np.log(pi) - self.log_ref
        residual = self.P @ pi - 0.5 * pi.sum() - lam * g - self.nu + s
        residual_sum = 1.0 - float(pi.sum())
        residual_ball = self.tau - float(pi @ g) - k if self.ball else 0.0
        # K = diag((λ+s)/π) − M. The transpose of M + diag is K, and Fortran order saves LAPACK its copy.
        np.subtract(self.P, 0.5, out=self.work)
        self.work.flat[:: A + 1] += (lam + s) / pi
        if not np.isfinite(self.work.flat[:: A + 1]).all():
            return False
        factors, pivots, singular = dgetrf(self.work.T, overwrite_a=True)
        if singular:
            return False
        ones = np.ones(A)
        border = dgetrs(factors, pivots, np.stack([ones, g], axis=1))[0]

        def direction(target_s: Array, target_k: float) -> tuple[Array, Array, float, float, float]:
            """The Newton step with s dπ + π ds = target_s and k dλ + λ dk = target_k."""
            x = dgetrs(factors, pivots, residual + target_s / pi)[0]
            if self.ball:
                system = np.array(
                    [[border[:, 0].sum(), border[:, 1].sum()], [g @ border[:, 0], g @ border[:, 1] + k / lam]]
                )
                right = [x.sum() - residual_sum, g @ x - (residual_ball - residual_sum - target_k / lam)]
                d_nu, d_lam = np.linalg.solve(system, right)
                d_pi = x - border[:, 0] * d_nu - border[:, 1] * d_lam
                d_k = (target_k - k * d_lam) / lam
            else:
                d_nu, d_lam, d_k = (x.sum() - residual_sum) / border[:, 0].sum(), 0.0, 0.0
                d_pi = x - border[:, 0] * d_nu
            return d_pi, (target_s - s * d_pi) / pi, float(d_nu), float(d_lam), float(d_k)

        def reach(step: tuple[Array, Array, float, float, float]) -> float:
            """The longest multiple ≤ 1 of the step that keeps π, s, λ, k nonnegative."""
            d_pi, d_s, _, d_lam, d_k = step
            shrink = max(float(np.max(-d_pi / pi)), float(np.max(-d_s / s)))
            if self.ball:
                shrink = max(shrink, -d_lam / lam, -d_k / k)
            return 1.0 if shrink <= 1.0 else 1.0 / shrink

        size = A + (1 if self.ball else 0)
        mu = self.complementarity() / size
        try:
            predictor = direction(-pi * s, -lam * k)
            d_pi, d_s, _, d_lam, d_k = predictor
            length = reach(predictor)
            after = float((pi + length * d_pi) @ (s + length * d_s))
            if self.ball:
                after += (lam + length * d_lam) * (k + length * d_k)
            centre = mu * (after / size / mu) ** 3
            step = direction(centre - pi * s - d_pi * d_s, centre - lam * k - d_lam * d_k)
        except np.linalg.LinAlgError:
            return False
        d_pi, d_s, d_nu, d_lam, d_k = step
        length = min(1.0, TO_BOUNDARY * reach(step))
        next_pi, next_s = pi + length * d_pi, s + length * d_s
        next_lam, next_k = lam + length * d_lam, k + length * d_k
        positive = next_pi.min() > 0 and next_s.min() > 0 and (not self.ball or min(next_lam, next_k) > 0)
        if not (positive and math.isfinite(next_pi.sum() + next_s.sum() + d_nu + next_lam + next_k)):
            return False
        self.pi, self.s, self.nu = next_pi, next_s, self.nu + length * d_nu
        self.lam, self.k = next_lam, next_k
        return True
