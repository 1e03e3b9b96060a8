"""The KL ball as a set of benchmarks: simplices that cover it, and upper bounds over it from bounds at their
vertices.

ρ(q) = sup q·u/π·u over the populations behind the data is convex in the benchmark q, so on a simplex with
vertices v_1 … v_A it is at most the interpolation Σ b_k(q) ρ(v_k), b the barycentric coordinates of q. Over K
∩ simplex,

    max { Σ_k b_k(q) ρ_k : q ∈ K, b(q) ≥ 0 }  ≤  min_{ν ≥ 0} max_{q∈K} Σ_k b_k(q)(ρ_k + ν_k),

a linear maximisation over K for each ν: any ν ≥ 0 gives a bound, and the least of them is found by L-BFGS-B.
The first simplex is {q ≥ l}, l(x) the least probability of x in K; splitting a simplex at a point q̂, with ρ(q̂)
bounded anew, tightens the bound: at the maximiser on the left, or where it is beside a face on that. Shapes: A
alternatives; vertices are (A, A), one row each.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize

from theory.policy.kl_ball import KLBall
from theory.validate import Array

#: `KLBall.maximize` stops inside the ball, by about 1e-12 of the values' range.
BALL_SLACK = 1e-11
#: Barycentric coordinates below this are set to zero: splitting there would give a simplex without volume.
FLAT = 1e-6
#: Barycentric coordinates below NEAR are set to zero too where KEPT of what a bound exceeds is left on the face.
NEAR, KEPT = 0.1, 0.9


def first_simplex(ball: KLBall) -> Array:
    """Vertices (m, A) whose convex hull contains K: the alternatives themselves where there is no constraint,
    the reference alone for tau = 0, else l + (1 − Σl)·e_x with l rounded down."""
    eye = np.eye(ball.log_reference.size)
    if not ball.bounded:
        return eye
    if ball.tau == 0.0 or len(eye) == 1:
        return np.exp(ball.log_reference)[None, :]
    least = np.array([ball.maximize(-e) @ e for e in eye])
    least = np.maximum(least * (1 - 1e-9) - 1e-12, 0.0)
    return least + (1.0 - least.sum()) * eye


def simplex_bound(vertices: Array, ratios: Array, ball: KLBall) -> tuple[float, Array]:
    """(upper bound of ρ over K ∩ simplex, barycentric coordinates (m,) ≥ 0 of a point where to split it).

    ratios (m,): upper bounds of ρ at the vertices; `inf` at one makes the bound inf. Without a constraint,
    and for one vertex, the bound is the largest ratio. A simplex that misses K has a bound below every ratio.
    """
    worst = float(ratios.max())
    corner = np.eye(ratios.size)[int(ratios.argmax())]
    if not ball.bounded or ratios.size == 1 or math.isinf(worst):
        return worst, corner
    try:
        inverse = np.linalg.inv(vertices)  # b(q) = inverseᵀ q
    except np.linalg.LinAlgError:
        return worst, corner

    rounding = 1e-15 * float(np.abs(inverse).sum(axis=1).max())

    def dual(nu: Array) -> tuple[float, Array]:
        values = inverse @ (ratios + nu)
        q = ball.maximize(values)
        slack = BALL_SLACK * float(np.abs(values).max()) + rounding * float((ratios + nu).max())
        return float(values @ q) + slack, inverse.T @ q

    # Where the simplex misses K the dual falls without end: the cap stops it far below every ratio.
    start = np.zeros(ratios.size)
    cap = 1e3 * max(1.0, worst)
    result = minimize(dual, start, jac=True, method="L-BFGS-B", bounds=[(0.0, cap)] * start.size)
    value, b = dual(result.x)
    value, b = min([(value, b), dual(start)], key=lambda pair: pair[0])
    b = np.where(b > FLAT, b, 0.0)  # a point on a face lies in it exactly, so that `split` loses nothing
    if (b > 0).sum() < 2:  # a vertex: no progress there, so halve the longest edge
        squared = ((vertices[:, None, :] - vertices[None, :, :]) ** 2).sum(axis=2)
        b = np.zeros(b.size)
        b[list(np.unravel_index(int(squared.argmax()), squared.shape))] = 1.0
    return min(worst, value), b / b.sum()


def onto_face(barycentric: Array, ratios: Array, lower: float) -> Array:
    """The point (m,), moved onto the face it is near to if what the bound exceeds `lower` by is there too.

    A split beside a face gives a simplex without volume and one as large, and as high, as before; a split on it
    does not. Near the sphere, where the excess is that of a vertex beyond it, the point stays.
    """
    for k in np.argsort(barycentric, kind="stable"):
        moved = np.where(np.arange(ratios.size) == k, 0.0, barycentric)
        if not 0.0 < barycentric[k] < NEAR or (moved > 0).sum() < 2:
            continue
        moved /= moved.sum()
        if moved @ ratios - lower >= KEPT * (barycentric @ ratios - lower):
            barycentric = moved
    return barycentric


def split(simplex: tuple[int, ...], barycentric: Array, new: int) -> list[tuple[int, ...]]:
    """The simplices that share the new vertex: one per old vertex that it replaces (coordinate > 0).

    simplex: vertex numbers; new: the number of the vertex at `barycentric`.
    """
    return [
        tuple(new if k == gone else vertex for k, vertex in enumerate(simplex))
        for gone in np.flatnonzero(barycentric > 0)
    ]
