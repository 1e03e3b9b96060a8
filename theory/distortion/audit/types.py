"""The lower end of the audit: a linear program over user types, solved by column generation, and its witness.

    maximise  Σ_v m_v q·U_v   over   m ≥ 0,  Σ_v m_v π·U_v = 1,
              Σ_v m_v (σ(β(U_vx − U_vy)) − P(x≻y)) = 0  for every compared pair   (between low and high: two
              rows)

(Charnes–Cooper: m/Σm is the population, Σm = 1/π·u). Types start on a grid of [0,1]^A and new ones come from
the dual: a type helps where F(U) = q·U − ρ π·U + Σ λ(σ(β(U_x − U_y)) − c) > 0, found by coordinate search and
L-BFGS-B from deterministic starts. A population off the grid makes the first program infeasible, so phase 1
minimises the L1 violation of the win rates the same way.

A value of the program is a lower bound only through its witness: types and weights whose win rates and
distortion are computed again from scratch. Shapes: A alternatives, p compared pairs, N types.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog, minimize
from scipy.stats import qmc

from theory.distortion.audit.observed import Observed
from theory.numerics import centred_sigmoid
from theory.solution import LP_OPTIONS
from theory.validate import Array

#: A witness may miss a win rate by this much.
MATCH_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Dual:
    """A function of a type: F(U) = linear·U + Σ multipliers·(σ − ½) + constant."""

    observed: Observed
    linear: Array
    multipliers: Array
    constant: float

    def values(self, U: Array) -> Array:
        """F at types (N, A), shape (N,)."""
        return U @ self.linear + self.observed.margins(U) @ self.multipliers + self.constant

    def slopes(self, U: Array) -> Array:
        """Gradient of F at types (N, A), shape (N, A)."""
        o = self.observed
        density = o.bt_beta * (0.25 - o.margins(U) ** 2) * self.multipliers
        gradient = np.repeat(self.linear[None, :], U.shape[0], axis=0)
        np.add.at(gradient.T, o.first, density.T)
        np.add.at(gradient.T, o.second, -density.T)
        return gradient


@dataclass(frozen=True, eq=False)
class TypeSolution:
    """Optimum of the program on the present types: value, masses (N,), ratio ρ and multipliers λ (p,)."""

    value: float
    masses: Array
    ratio: float
    multipliers: Array


def initial_types(size: int) -> Array:
    """Deterministic start: the origin, a grid on the faces U_z = 0 for small A, else corners and a Halton
    sequence.

    Only types with a utility at 0 are needed: lowering all utilities of a type by the same amount keeps its
    answers. The grid is finer near 0, where the extreme populations of indifferent users live.
    """
    if size <= 3:
        steps = np.union1d(np.linspace(0.0, 1.0, 9), [1e-6, 1e-4, 1e-2, 0.05])
        cube = np.array(list(itertools.product(steps, repeat=size)))
        return cube[cube.min(axis=1) == 0.0]
    halton = qmc.Halton(size, scramble=False).random(64 + 8 * size)[1:]
    halton -= halton.min(axis=1, keepdims=True)
    eye = np.eye(size)
    corners = np.concatenate([eye, 1.0 - eye])
    scaled = [scale * corners for scale in (1.0, 0.5, 1e-2, 1e-4, 1e-6)]
    return np.concatenate([np.zeros((1, size)), *scaled, halton, (halton > 0.4).astype(float)])


def climb(dual: Dual, starts: Array, free: np.ndarray, *, sweeps: int = 2, levels: int = 17) -> Array:
    """Local maxima of F over [0,1]^A from `starts` (N, A): coordinate search on a grid, then L-BFGS-B, all at
    once.

    free (A,) boolean: the coordinates that may leave 0.
    """
    U = np.where(free, starts, 0.0)
    o, grid = dual.observed, np.linspace(0.0, 1.0, levels)
    for _ in range(sweeps):
        for z in np.flatnonzero(free):
            # Only the pairs of z change with U_z.
            at_first, at_second = o.first == z, o.second == z
            others = np.r_[o.second[at_first], o.first[at_second]]
            lam = np.r_[dual.multipliers[at_first], -dual.multipliers[at_second]]
            difference = grid[None, :, None] - U[:, None, others]
            score = grid * dual.linear[z] + centred_sigmoid(o.bt_beta * difference) @ lam
            here = U[:, z] * dual.linear[z] + centred_sigmoid(o.bt_beta * (U[:, [z]] - U[:, others])) @ lam
            best = score.argmax(axis=1)
            better = score[np.arange(U.shape[0]), best] > here
            U[:, z] = np.where(better, grid[best], U[:, z])

    def negative(flat: Array) -> tuple[float, Array]:
        types = flat.reshape(U.shape)
        return -float(dual.values(types).sum()), -np.where(free, dual.slopes(types), 0.0).ravel()

    bounds = [(0.0, 1.0 if f else 0.0) for f in np.tile(free, U.shape[0])]
    result = minimize(negative, U.ravel(), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 200})
    return np.clip(result.x.reshape(U.shape), 0.0, 1.0)


class TypeProgram:
    """The present columns of the program and its solutions on them."""

    def __init__(self, observed: Observed, policy: Array, types: Array) -> None:
        self.observed, self.policy = observed, policy
        self.types = np.empty((0, observed.size))
        self.add(types)
        self.equal = observed.low == observed.high

    def add(self, types: Array) -> int:
        """Add types that are not there yet (to 1e-9); how many were new."""
        before = self.types.shape[0]
        stacked = np.concatenate([self.types, types])
        _, keep = np.unique(np.round(stacked, 9), axis=0, return_index=True)
        self.types = stacked[np.sort(keep)]
        return self.types.shape[0] - before

    def solve(
        self, benchmark: Array, per_utility: float = 0.0, per_mass: float = 0.0, *, by_mass: bool = False
    ) -> TypeSolution | None:
        """The program with objective q·U + per_utility·ΣU + per_mass per unit of mass; None without an
        optimum.

        Positive extras make the dual solution satisfy F(U) ≤ −per_utility·ΣU − per_mass on the types: room in
        which branch and bound can finish. by_mass: total mass 1 in place of Σ m π·U = 1, for types on which
        the policy is worth nothing.
        """
        o, U = self.observed, self.types
        M = o.margins(U)
        gain = U @ (benchmark + per_utility) + per_mass
        low, high = M - (o.low - 0.5), M - (o.high - 0.5)
        unit = np.ones(U.shape[0]) if by_mass else U @ self.policy
        scale = np.abs(np.c_[low, high, unit, gain]).max(axis=1)
        scale = 1.0 / np.maximum(scale, 1e-12)
        equal, loose = self.equal, ~self.equal
        result = linprog(
            -gain * scale,
            A_eq=np.r_[low[:, equal].T, unit[None, :]] * scale,
            b_eq=np.r_[np.zeros(int(equal.sum())), 1.0],
            A_ub=np.r_[high[:, loose].T, -low[:, loose].T] * scale if loose.any() else None,
            b_ub=np.zeros(2 * int(loose.sum())) if loose.any() else None,
            options=LP_OPTIONS,
        )
        if result.status != 0:
            return None
        multipliers = np.zeros(o.low.size)
        multipliers[equal] = result.eqlin.marginals[:-1]
        if loose.any():
            n = int(loose.sum())
            multipliers[loose] = result.ineqlin.marginals[:n] - result.ineqlin.marginals[n:]
        return TypeSolution(-result.fun, result.x * scale, -float(result.eqlin.marginals[-1]), multipliers)

    def violation(self) -> tuple[float, Array, Dual]:
        """Phase 1: least L1 violation of the win rates by weights on the types, those weights, the dual."""
        o, U = self.observed, self.types
        M = o.margins(U)
        n, p = U.shape[0], o.low.size
        lhs = np.block([[M.T, -np.eye(p), np.zeros((p, p))], [-M.T, np.zeros((p, p)), -np.eye(p)]])
        result = linprog(
            np.r_[np.zeros(n), np.ones(2 * p)],
            A_ub=lhs,
            b_ub=o.ordered()[2],
            A_eq=np.r_[np.ones(n), np.zeros(2 * p)][None, :],
            b_eq=[1.0],
            options=LP_OPTIONS,
        )
        if result.status != 0:
            raise RuntimeError(f"phase 1 of the audit stopped: {result.message}")
        over, under = result.ineqlin.marginals[:p], result.ineqlin.marginals[p:]
        dual = Dual(o, np.zeros(o.size), over - under, float(result.eqlin.marginals[0]))
        return float(result.fun), result.x[:n], dual
