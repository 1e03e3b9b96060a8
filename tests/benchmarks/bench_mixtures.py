"""NLHF of 20 000 alternatives and 50 types of Bradley–Terry users, without their matrix of win rates (3.2 GB).

Run from the repository root:  OMP_NUM_THREADS=1 python tests/benchmarks/bench_mixtures.py [--csv FILE]

Newton's method on the response map (`theory.policy.newton`) needs P = Σ_k w_k σ(β(u_k(x) − u_k(y))) in products with
vectors alone. σ has its poles at ±iπ, so for utilities in [0, 1] its expansion in Chebyshev polynomials T of
2u − 1,

    σ(β(u − v)) = Σ_{a,b<n} C_ab T_a(2u − 1) T_b(2v − 1) + O(ρ^−n),   ρ = z + √(1 + z²), z = 2π/β,

is exact in float64 from n = 31 at β = 5: a product costs 2·A·n operations a type in place of A².

The certificate shares no code with that or with the solver. The payoffs against the policy are summed over all pairs
from the definition, σ(β(u − v)) = e^{βu}/(e^{βu} + e^{βv}), block by block, and the gap is bounded by the dual,
min over λ of λ·tau + λ·log Σ π_ref e^{payoffs/λ}, which is at least the gap at any λ.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.polynomial.chebyshev import chebvander
from scipy.optimize import minimize_scalar
from scipy.special import expit, logsumexp

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs without the package installed, too

from theory.policy.kl_ball import KLBall, kl_from_log
from theory.policy.newton import fixed_point
from theory.validate import Array

#: Rows and columns of a block of the certificate, which fits a cache.
BLOCK = 200
ROUNDING = 1e-15


class Mixture:
    """Win rates (A, A) of types with utilities (types, A) in [0, 1], to be multiplied with vectors."""

    def __init__(self, utilities: Array, weights: Array, bt_beta: float) -> None:
        z = 2.0 * math.pi / bt_beta
        self.terms = n = math.ceil(-math.log(ROUNDING) / math.log(z + math.sqrt(1.0 + z * z)))
        nodes = np.cos(math.pi * (np.arange(n) + 0.5) / n)
        inverse = np.linalg.inv(chebvander(nodes, n - 1))
        self.core = inverse @ expit(0.5 * bt_beta * (nodes[:, None] - nodes)) @ inverse.T
        self.polynomials = np.hstack([chebvander(2.0 * u - 1.0, n - 1) for u in utilities])
        self.weights = weights

    def __matmul__(self, vector: Array) -> Array:
        moments = (vector @ self.polynomials).reshape(self.weights.size, self.terms)
        return self.polynomials @ (self.weights[:, None] * (moments @ self.core.T)).ravel()


def exact_payoffs(policy: Array, utilities: Array, weights: Array, bt_beta: float) -> Array:
    """Σ_y P(x≻y) π(y) − ½ for every x, from the definition."""
    total = np.zeros(policy.size)
    work = np.empty((BLOCK, BLOCK))
    parts = [slice(x, min(x + BLOCK, policy.size)) for x in range(0, policy.size, BLOCK)]
    for strengths, weight in zip(np.exp(bt_beta * utilities), weights, strict=True):
        summed = np.zeros(policy.size)
        for i, one in enumerate(parts):
            for two in parts[i:]:
                block = work[: strengths[one].size, : strengths[two].size]
                np.add(strengths[one, None], strengths[two], out=block)
                np.divide(1.0, block, out=block)
                summed[one] += block @ policy[two]
                if two != one:
                    summed[two] += policy[one] @ block
        total += weight * strengths * summed
    return total - 0.5 * policy.sum()


def dual_gap(payoffs: Array, log_ref: Array, tau: float) -> float:
    """The least of the dual over λ: what a best response in the ball gains, from above."""

    def dual(log_weight: float) -> float:
        weight = math.exp(log_weight)
        return weight * tau + weight * float(logsumexp(log_ref + payoffs / weight))

    best = minimize_scalar(dual, bounds=(-20.0, 5.0), method="bounded", options={"xatol": 1e-12, "maxiter": 500})
    return float(best.fun)


def solve(size: int, types: int, bt_beta: float, tau: float, seed: int) -> dict[str, float]:
    """One game: seconds of preparing, solving and certifying, the gap, and by how much a product misses."""
    rng = np.random.default_rng(seed)
    utilities, weights = rng.random((types, size)), rng.dirichlet(np.ones(types))
    log_ref = np.full(size, -math.log(size))
    start = time.perf_counter()
    mixture = Mixture(utilities, weights, bt_beta)
    prepared = time.perf_counter()
    policy = fixed_point(mixture, KLBall(log_ref, tau), 1e-11)  # type: ignore[arg-type]
    solved = time.perf_counter()
    row = {
        "alternatives": size,
        "types": types,
        "bt_beta": bt_beta,
        "tau": tau,
        "terms": mixture.terms,
        "prepare": prepared - start,
        "solve": solved - prepared,
    }
    if policy is None:
        return row | {"gap": math.nan}
    payoffs = exact_payoffs(policy, utilities, weights, bt_beta)
    row["certify"] = time.perf_counter() - solved
    row["seconds"] = time.perf_counter() - start
    row["gap"] = dual_gap(payoffs, log_ref, tau)
    row["outside"] = max(0.0, kl_from_log(policy, log_ref) - tau)
    row["miss"] = float(np.abs(mixture @ policy - 0.5 - payoffs).max())
    return row


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=20_000)
    parser.add_argument("--types", type=int, default=50)
    parser.add_argument("--bt-beta", type=float, nargs="+", default=[5.0])
    parser.add_argument("--tau", type=float, nargs="+", default=[0.1, 2.0])
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    rows = [solve(options.size, options.types, beta, tau, 0) for beta in options.bt_beta for tau in options.tau]
    frame = pd.DataFrame(rows)
    print(frame.to_string(index=False))
    if options.csv:
        frame.to_csv(options.csv, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
