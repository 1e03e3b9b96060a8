"""The convex program of PRO in r: Newton's method on merged responses, certified by its optimality condition (P3).

    min over r of  −Σ_y w(y) r(y) + (α/2) Σ_{y,y'} μ(y)μ(y') klB(r(y) − r(y')),      klB(δ) = log cosh(δ/2)

Source: Guo, Li, Chen (arXiv 2505.23316), Theorem 3.2. Shapes: A responses, K different values of w/μ.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.special import expit

from theory.proximal.existence import check_alpha, check_weights, separation
from theory.proximal.feedback import check_signal
from theory.solution import CertificateError
from theory.validate import Array, as_vector, check_positive

#: Largest residual of P3 at a returned optimum; both sides of P3 lie in (−½, ½).
RESIDUAL_TOLERANCE = 1e-12
#: Far above the 6 to 60 Newton steps that any instance needed.
MAX_STEPS = 500


def solve_rewards(signal: ArrayLike, weights: ArrayLike, alpha: float) -> tuple[Array, float]:
    """r* (A,) up to its shift (here Σ μ r* = 0) and the residual of P3 there.

    Newton's method on the K merged responses. klB''' ≤ klB'' makes the loss generalised self-concordant, for which the
    step length log(1 + ν)/ν, ν the spread of the Newton step, decreases the loss without a line search (Sun,
    Tran-Dinh, Math. Program. 2019) and tends to 1. Each system is the Laplacian of a weighted graph, grounded at
    its heaviest response.

    ValueError at α ≤ α*; CertificateError where float64 does not reach `RESIDUAL_TOLERANCE` (α within rounding of α*).
    """
    w = check_signal("signal", signal)
    mu = check_weights(weights, w.size)
    alpha = check_alpha(alpha, separation(w, mu).threshold)
    levels, place = np.unique(w / mu, return_inverse=True)
    M = np.bincount(place, weights=mu)
    # the target of P3, measured from its μ-mean, which is 0 up to the rounding of Σ w
    target = levels / alpha
    target -= M @ target / M.sum()
    r = np.zeros(M.size)
    ground = int(M.argmax())
    free = np.arange(M.size) != ground
    best_r, best = r, math.inf
    for _ in range(MAX_STEPS):
        distances = r[:, None] - r[None, :]
        miss = target - 0.5 * np.tanh(0.5 * distances) @ M  # σ − ½ without losing the digits of a small r
        residual = float(np.abs(miss).max())
        if residual < best:
            best_r, best = r, residual
        elif best <= RESIDUAL_TOLERANCE:
            break  # rounding has the last word
        if residual == 0.0 or M.size == 1:
            break
        slopes = expit(distances)
        edges = slopes * slopes.T * M[:, None] * M[None, :]
        laplacian = np.diag(edges.sum(axis=1)) - edges
        step = np.zeros(M.size)
        try:
            factor = cho_factor(laplacian[np.ix_(free, free)])
        except LinAlgError:
            break
        step[free] = cho_solve(factor, (M * miss)[free])
        spread = float(np.ptp(step))
        if spread == 0.0:
            break
        r = r + math.log1p(spread) / spread * step
    if not best <= RESIDUAL_TOLERANCE:
        raise CertificateError(f"residual {best:.3e} of P3 exceeds {RESIDUAL_TOLERANCE:.1e} at alpha = {alpha}")
    return (best_r - M @ best_r / M.sum())[place], best


def optimality_residual(rewards: ArrayLike, signal: ArrayLike, weights: ArrayLike, alpha: float) -> float:
    """max_y |Σ_{y'} μ(y')(σ(r(y) − r(y')) − ½) − w(y)/(αμ(y))|: 0 at the optimum only (P3, Theorem 3.2). O(A²)."""
    w = check_signal("signal", signal)
    r, mu = as_vector("rewards", rewards, w.size), check_weights(weights, w.size)
    left = 0.5 * np.tanh(0.5 * (r[:, None] - r[None, :])) @ mu
    return float(np.abs(left - w / (check_positive("alpha", alpha) * mu)).max())
