"""The loops of the audit: make the type program feasible, improve it column by column, and prove its dual.

For few alternatives the same dual that prices new types is handed to branch and bound
(`theory.distortion.audit.boxes`). Its verdict is either a proof of the upper bound or types that violate it, and those
are new columns: the lower end and the upper end move towards each other. To end with a proof rather than with
a supremum of +1e-12, the program is solved with its objective padded by ε per unit of utility and of mass,
which leaves the dual that much room; ε shrinks in stages, and the interval with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from theory.bradley_terry import Population
from theory.distortion.audit.boxes import TypeCertificate, supremum
from theory.distortion.audit.observed import Observed
from theory.distortion.audit.types import MATCH_TOLERANCE, Dual, TypeProgram, climb, initial_types
from theory.validate import Array

#: Padding of the objective, relative to it, stage by stage: the certified interval closes to about the last
#: one.
STAGES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
#: Pricing rounds per stage. Without proofs rounds fall like A^{-2}, and beyond LARGE alternatives one stage
#: is all.
ROUNDS = 60
LARGE, LARGE_ROUNDS = 10, 4000
#: Boxes that branch and bound may look at, per attempt.
MAX_BOXES = 300_000
#: Local searches per pricing round.
STARTS = 32


def find_types(observed: Observed, policy: Array, free: np.ndarray, rounds: int) -> tuple[TypeProgram, float, Dual]:
    """Phase 1 by column generation: types some weights of which reproduce the win rates.

    free (A,) boolean: the coordinates that may differ from 0. Returns the program, the L1 violation it
    reached (below `MATCH_TOLERANCE`: feasible), and the dual that shows why it is not smaller.
    """
    start = np.where(free, initial_types(observed.size), 0.0)
    program = TypeProgram(observed, policy, np.unique(start, axis=0))
    violation, weights, dual = program.violation()
    for _ in range(rounds):
        if violation <= 1e-12:
            break
        new = climb(dual, _starts(program.types, dual.values(program.types), weights), free)
        if program.add(new[dual.values(new) > 1e-13]) == 0:
            break
        violation, weights, dual = program.violation()
    return program, violation, dual


def _starts(types: Array, values: Array, weights: Array) -> Array:
    """Where the next local searches begin: the best types by dual value and the heaviest in use."""
    best = np.argsort(-values, kind="stable")[:STARTS]
    heavy = np.argsort(-weights, kind="stable")[: min(STARTS, int((weights > 0).sum()))]
    return types[np.union1d(best, heavy)]


def infeasibility(observed: Observed, dual: Dual) -> bool:
    """Proof that nothing matches: sup over types of Σ λ(σ − c) < 0, while a match would average ≥ 0."""
    zero = np.zeros(observed.size)
    certificate = TypeCertificate(np.arange(observed.size), observed, zero, zero, 0.0, dual.multipliers, 0.0)
    return supremum(certificate, MAX_BOXES).bound < 0


def witness(program: TypeProgram, masses: Array) -> Population | None:
    """The population of a solution, its weights polished; None if it misses `MATCH_TOLERANCE`.

    The check is made on the finished `Population`, with its own `win_rates`.
    """
    used = masses > 1e-13 * masses.sum()
    U, w = program.types[used], masses[used] / masses[used].sum()
    o = program.observed
    M = np.r_[o.margins(U).T, np.ones((1, U.shape[0]))]
    for _ in range(3):  # one least-squares step would do, but clipping undoes some of it
        now = M[:-1] @ w
        target = np.r_[np.clip(now, o.low - 0.5, o.high - 0.5), 1.0]
        w = np.maximum(w + np.linalg.lstsq(M, target - M @ w, rcond=None)[0], 0.0)
    w /= w.sum()
    population = Population(U[w > 0], w[w > 0])
    return population if o.violation(population.win_rates(o.bt_beta)) <= MATCH_TOLERANCE else None


@dataclass(frozen=True, eq=False)
class Closing:
    """What `close` found for one benchmark: the lower end's value and masses, the upper end's certificate."""

    value: float
    masses: Array | None
    certificate: TypeCertificate | None


def close(
    program: TypeProgram, benchmark: Array, floor: float, target: float, *, prove: bool, accuracy: float = STAGES[-1]
) -> Closing:
    """Improve the program for one benchmark q by column generation; with `prove`, certify its dual by boxes.

    floor     certified lower bound on π·u (may be 0)
    target    a ratio that another benchmark attains already: proving less than it is not worth an effort
    accuracy  the last stage of padding
    """
    o, pi, A = program.observed, program.policy, program.observed.size
    free = np.ones(A, dtype=bool)
    best: TypeCertificate | None = None
    solution = program.solve(benchmark)
    rounds = ROUNDS if prove else min(ROUNDS, LARGE_ROUNDS // A**2)
    last = accuracy if prove else STAGES[1] if A <= LARGE else STAGES[0]
    for stage in (s for s in STAGES if s >= last):
        done = False
        for _ in range(rounds):
            if solution is None:
                break
            # 1/mass is the witness's π·u: the padding per mass must be small beside it.
            per_mass = stage * max(solution.value, 1.0) / max(float(solution.masses.sum()), 1.0)
            per_utility = stage / A
            solution = program.solve(benchmark, per_utility, per_mass) or program.solve(benchmark, per_utility)
            if solution is None:
                break
            ratio = max(solution.ratio, target)
            certificate = TypeCertificate(np.arange(A), o, benchmark, pi, ratio, solution.multipliers, floor)
            dual = Dual(o, certificate.linear + per_utility, certificate.multipliers, certificate.constant + per_mass)
            new = climb(dual, _starts(program.types, dual.values(program.types), solution.masses), free)
            added = program.add(new[dual.values(new) > 0.05 * per_mass])
            if added and (certificate.values(new) > 0).any():
                continue
            if not prove:
                done = True
                break
            found = supremum(certificate, MAX_BOXES, stop_above=0.0)
            certificate = replace(certificate, supremum=found.bound, boxes=found.boxes)
            if best is None or certificate.bound < best.bound:
                best = certificate
            more = found.points[dual.values(found.points) > 0]
            done = found.bound <= 0
            if done or more.size == 0 or program.add(np.r_[more, climb(dual, more, free)]) == 0:
                break
        if not done or (best is not None and best.bound <= target * (1 + 2 * STAGES[-1])):
            break
    solution = program.solve(benchmark)
    if solution is None:
        return Closing(0.0, None, best)
    return Closing(solution.value, solution.masses, best)


def ruined(observed: Observed, policy: Array, benchmarks: Array, rounds: int) -> Population | None:
    """A population behind the data under which π has utility 0 and a benchmark has not; None if not found.

    benchmarks (m, A). All types put 0 on the policy's support: phase 1 runs on that face of [0,1]^A.
    """
    free = policy == 0
    if not free.any():
        return None
    program, violation, _ = find_types(observed, policy, free, rounds)
    if violation > MATCH_TOLERANCE:
        return None
    best, masses = 0.0, None
    for benchmark in benchmarks:
        solution = program.solve(benchmark, by_mass=True)
        if solution is not None and solution.value > best:
            best, masses = solution.value, solution.masses
    # Below the tolerance of the match a utility is no evidence: at win rates ½ it is rounding.
    if masses is None or best <= 1e3 * MATCH_TOLERANCE:
        return None
    population = witness(program, masses)
    if population is None or not (benchmarks @ population.average_utility > 0).any():
        return None
    return population
