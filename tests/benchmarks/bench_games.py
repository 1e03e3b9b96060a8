"""Default path of `theory.policy.nash` against the usual methods, side by side on one machine.

Run from the repository root:  python tests/benchmarks/bench_games.py [--sizes 200 500 2000] [--limit 60]

Baselines, all written here and independent of `theory.policy.nash`:
  cvxpy     CLARABEL on the conic form of the game over the KL ball (`nlhf_cvxpy`)
  prox      mirror-prox with entropic steps inside the ball, stopped at gap 1e-9
  newton    Newton on π ∝ π_ref·exp(Mπ/λ), secant on λ to KL = tau (active ball only)
  simplex   HiGHS dual simplex, the equilibrium as a linear program
  ipm       HiGHS interior point with crossover, the same program
The two linear programs know no ball: they run where it does not bind. A baseline that has no answer at the
limit, or fails, is shown as "-".
A baseline runs in a process of its own with `--limit` seconds, without input checks; the default path is the
public function, checks and certificate included. A time is the shortest of `--repeats` runs (of one run above
two seconds). The ratio compares the default path with the fastest baseline that got there; target: 1.25.
On a machine that others use, set OPENBLAS_NUM_THREADS=1: threads of OpenBLAS that wait for a core slow dense
factorisations down more than tenfold.

`--csv FILE` writes the table; tests/benchmarks/results/games.csv is that of

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_games.py --sizes 500 2000 --games 3 --only dense,tau_2 --repeats 7 \
      --without simplex prox --csv FILE

(`_` stands for a blank, each part must occur): some games take two rounds of elimination and some three, so several are
timed. In a minute mirror-prox gets to 1e-6 at best, and simplex at 2000 alternatives to 1e-2. Beside the solvers the
table has, measured in the same run, `product`, M times a vector, and `lu`, one LU factorisation of M, which any method
that solves on half of the alternatives pays an eighth of. A baseline that did not reach a gap of 1e-8 in `limit`
seconds has no time.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.linalg import lu_factor, lu_solve
from scipy.optimize import brentq, linprog

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs without the package installed, too

from tests.oracles.games import GAP, bradley_terry_mixture, complement, random_game
from theory.policy.kl_ball import kl_from_log, maximize_in_kl_ball
from theory.policy.nash import maximal_lottery, nlhf, nlhf_cvxpy
from theory.validate import Array


def planted_game(size: int, support: int, seed: int = 0) -> Array:
    """A random game on `support` alternatives that tend to beat the others: a sparse equilibrium."""
    rng = np.random.default_rng(seed)
    P = rng.random((size, size))
    P[:support, support:] = 0.4 + 0.6 * P[:support, support:]
    return complement(P)


def gap_of(P: Array, policy: Array, log_ref: Array, tau: float) -> float:
    """max over π' ∈ K of −πᵀMπ', infinite for a policy outside the ball by more than 1e-9."""
    if tau < math.inf and kl_from_log(policy, log_ref) > tau + 1e-9:
        return math.inf
    values = 0.5 * policy.sum() - policy @ P
    if tau == math.inf:
        return float(values.max())
    return float(maximize_in_kl_ball(values, tau=tau, log_reference=log_ref) @ values)


def mirror_prox(P: Array, log_ref: Array, tau: float, deadline: float) -> Array:
    """Extragradient with entropic proximal steps on K; the step halves where the extrapolation is poor."""

    def prox(log_p: Array, score: Array) -> Array:
        # argmin over K of −score·π + KL(π‖p): log π is an average of log p + score and log π_ref.
        def point(share: float) -> Array:
            logits = (1.0 - share) * (log_p + score) + share * log_ref
            logits = logits - logits.max()
            return logits - math.log(np.exp(logits).sum())

        def excess(share: float) -> float:
            logits = point(share)
            return float(np.exp(logits) @ (logits - log_ref)) - tau

        if tau == math.inf or excess(0.0) <= 0:
            return point(0.0)
        return point(brentq(excess, 0.0, 1.0, xtol=1e-13))

    log_p, step = log_ref.copy(), 8.0
    average, total = np.zeros(log_p.size), 0.0
    iteration = 0
    while time.perf_counter() < deadline:
        iteration += 1
        p = np.exp(log_p)
        values = P @ p - 0.5
        while True:
            log_half = prox(log_p, step * values)
            half = np.exp(log_half)
            half_values = P @ half - 0.5
            log_next = prox(log_p, step * half_values)
            change = np.exp(log_next) - half
            bound = kl_from_log(half, log_p) + kl_from_log(np.exp(log_next), log_half)
            if step * float((half_values - values) @ change) <= bound + 1e-16:
                break
            step *= 0.5
        log_p, average, total = log_next, average + step * half, total + step
        step *= 1.1
        if iteration % 5 == 0:
            for candidate in (half, average / total):
                if gap_of(P, candidate, log_ref, tau) <= GAP:
                    return candidate
    return min(average / total, half, key=lambda p: gap_of(P, p, log_ref, tau))


def newton_secant(P: Array, log_ref: Array, tau: float, deadline: float) -> Array:
    """Newton on the regularised fixed point for each weight, secant on log KL against log weight."""
    A = P.shape[0]
    M = P - 0.5
    pi = np.exp(log_ref)

    def fixed_point(weight: float, pi: Array) -> Array:
        for _ in range(50):
            scores = log_ref + M @ pi / weight
            target = np.exp(scores - scores.max())
            target /= target.sum()
            residual = target - pi
            if np.abs(residual).sum() < 1e-13 or time.perf_counter() > deadline:
                break
            jacobian = np.eye(A) - (target[:, None] * (M - target @ M)) / weight
            pi = pi + lu_solve(lu_factor(jacobian, check_finite=False), residual, check_finite=False)
            pi = np.abs(pi) / np.abs(pi).sum()
        return target

    points: list[tuple[float, float]] = []
    weight = 0.1
    while time.perf_counter() < deadline:
        pi = fixed_point(weight, pi)
        distance = kl_from_log(pi, log_ref)
        points.append((math.log(weight), math.log(max(distance, 1e-300) / tau)))
        if abs(distance - tau) < 1e-12 * max(1.0, tau):
            break
        if len(points) == 1:
            weight *= 2.0 if distance > tau else 0.5
            continue
        (x0, y0), (x1, y1) = points[-2:]
        if y0 == y1:
            break
        weight = math.exp(x1 - float(np.clip(y1 * (x1 - x0) / (y1 - y0), -1.5, 1.5)))
    distance = kl_from_log(pi, log_ref)
    share = max(0.0, (distance - tau) / distance)
    return (1 - share) * pi + share * np.exp(log_ref)


def highs(P: Array, method: str, limit: float) -> Array:
    """max t with πᵀM ≥ t, Σπ = 1, π ≥ 0."""
    A = P.shape[0]
    rows = np.hstack([0.5 - P.T, np.ones((A, 1))])
    program = linprog(
        np.r_[np.zeros(A), -1.0],
        A_ub=rows,
        b_ub=np.zeros(A),
        A_eq=np.r_[np.ones(A), 0.0][None],
        b_eq=[1.0],
        bounds=[(0, None)] * A + [(None, None)],
        method=method,
        options={"time_limit": limit, "primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    return np.full(A, 1.0 / A) if program.x is None else program.x[:-1]


def baselines(P: Array, log_ref: Array, tau: float, active: bool, limit: float) -> dict[str, Callable[[], Array]]:
    """The baselines that can answer, name → solver: the linear programs know no ball, Newton's needs an active one."""
    programs: dict[str, Callable[[], Array]] = {}
    if not active:
        programs = {"simplex": lambda: highs(P, "highs-ds", limit), "ipm": lambda: highs(P, "highs-ipm", limit)}
    if tau < math.inf:
        reference = np.exp(log_ref)
        programs |= {
            "cvxpy": lambda: nlhf_cvxpy(P, reference, tau).policy,
            "prox": lambda: mirror_prox(P, log_ref, tau, time.perf_counter() + limit),
        }
    if active:
        programs["newton"] = lambda: newton_secant(P, log_ref, tau, time.perf_counter() + limit)
    return programs


def best_time(solve: Callable[[], Array], repeats: int) -> tuple[float, Array]:
    """Shortest of `repeats` runs, in seconds, and the policy; one run is enough above two seconds."""
    shortest, policy = math.inf, np.empty(0)
    for _ in range(repeats):
        start = time.perf_counter()
        policy = solve()
        shortest = min(shortest, time.perf_counter() - start)
        if shortest > 2.0:
            break
    return shortest, policy


def measure_in_child(solve: Callable[[], Array], repeats: int, limit: float) -> tuple[float, Array] | None:
    """`best_time` in a forked process that is ended after `limit` seconds; None without an answer."""
    receive, send = multiprocessing.get_context("fork").Pipe(duplex=False)

    def work() -> None:
        try:
            send.send(best_time(solve, repeats))
        except Exception as error:  # a baseline that fails is a row of the table, not the end of it
            send.send(str(error))

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    answer = receive.recv() if receive.poll(limit) else None
    child.terminate()
    child.join()
    return answer if isinstance(answer, tuple) else None


def regimes(size: int, seed: int) -> Iterator[tuple[str, Array, float, bool]]:
    """Name, win rates, tau (uniform reference), whether the ball binds: for dense games, below tau of about 1."""
    mixture, dense = bradley_terry_mixture(size, seed, users=20), random_game(size, seed)
    sparse, steep = planted_game(size, 20, seed), bradley_terry_mixture(size, seed, 20.0, 50)
    inner = kl_from_log(maximal_lottery(sparse).policy, np.full(size, -math.log(size)))
    yield "mixture, tau 0.1", mixture, 0.1, True
    yield "mixture, tau 2", mixture, 2.0, True
    yield "steep mixture, tau 2", steep, 2.0, True
    yield "dense, tau 0.1", dense, 0.1, True
    yield "dense, tau 0.5", dense, 0.5, True
    yield "dense, tau 0.85", dense, 0.85, True
    yield "sparse, tau 0.9 of threshold", sparse, 0.9 * inner, True
    yield "sparse, tau 0.99 of threshold", sparse, 0.99 * inner, True
    yield "sparse, tau 1.1 of threshold", sparse, 1.1 * inner, False
    yield "lottery, mixture", steep, math.inf, False
    yield "lottery, sparse 20", sparse, math.inf, False
    yield "lottery, sparse 80", planted_game(size, 80, seed), math.inf, False
    yield "lottery, dense", dense, math.inf, False
    yield "dense, tau 2 (inactive)", dense, 2.0, False


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 500, 2000], help="alternatives A")
    parser.add_argument("--games", type=int, default=1, help="of each kind, by their seeds 0, 1, …")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds per baseline")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the shortest counts")
    parser.add_argument("--only", default="", help="games whose name contains each of these parts")
    parser.add_argument("--csv", type=Path, help="file for the table")
    parser.add_argument("--without", nargs="*", default=[], help="baselines to leave out")
    arguments = parser.parse_args()
    print("seconds (gap where above 1e-9); ratio = default / fastest baseline with gap <= 1e-8")
    rows = []
    for size in arguments.sizes:
        units = unit_times(size)
        for seed, (name, P, tau, active) in ((s, game) for s in range(arguments.games) for game in regimes(size, s)):
            if all(part.replace("_", " ") in name for part in arguments.only.split(",")):
                what = {"alternatives": size, "game": name, "seed": seed, "limit": arguments.limit}
                rows.append(what | compare(P, tau, active, arguments) | units)
                cells = [f"{key} {value:.4g}" for key, value in rows[-1].items() if isinstance(value, float)]
                print(f"A={size} {name:30s} {' | '.join(cells)}", flush=True)
    if arguments.csv:
        pd.DataFrame(rows).to_csv(arguments.csv, index=False, float_format="%.4g")


def compare(P: Array, tau: float, active: bool, arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds of the default path and its gap; of each baseline; and the default's ratio to the fastest of them."""
    log_ref = np.full(P.shape[0], -math.log(P.shape[0]))
    seconds, policy = best_time(lambda: nlhf(P, log_reference=log_ref, tau=tau).policy, arguments.repeats)
    row = {"default": seconds, "gap": gap_of(P, policy, log_ref, tau)}
    for baseline, solve in baselines(P, log_ref, tau, active, arguments.limit).items():
        if baseline in arguments.without:
            continue
        answer = measure_in_child(solve, arguments.repeats, arguments.limit * 1.2 + 5.0)
        reached = math.inf if answer is None else gap_of(P, answer[1] / answer[1].sum(), log_ref, tau)
        row[baseline] = answer[0] if answer is not None and reached <= 1e-8 else math.nan
        row[f"{baseline}_gap"] = reached
    times = [row[name] for name in ("simplex", "ipm", "cvxpy", "prox", "newton") if row.get(name, math.nan) > 0.0]
    row["ratio"] = seconds / min(times, default=math.nan)
    if row.get("cvxpy", math.nan) > 0.0:
        row["times_cvxpy"] = row["cvxpy"] / seconds
    return row


def unit_times(size: int) -> dict[str, float]:
    """Seconds of M times a vector and of one LU factorisation of M, the shortest of five."""
    M = random_game(size, 0) - 0.5 + np.eye(size)
    vector = np.ones(size)
    return {
        "product": best_time(lambda: M @ vector, 5)[0],
        "lu": best_time(lambda: lu_factor(M, check_finite=False)[0], 5)[0],
    }


if __name__ == "__main__":
    main()
