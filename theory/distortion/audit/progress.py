"""One audit in progress: which bounds and searches run, in which order, and how they make the answer.

The order is: averages (cheap, any A), a population that makes the policy worthless (only where nothing bounds
the distortion), phase 1, the lower end, proofs over types, subsets, splits of the ball. Each step is skipped
for benchmarks whose bound does not exceed the lower end any more. The quantities are defined in interval.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from theory.bradley_terry import Population
from theory.distortion.audit.averages import Cuts, MomentCertificate, game_bound, lemma_cuts, moment_bound, separate
from theory.distortion.audit.ball import first_simplex, onto_face, simplex_bound, split
from theory.distortion.audit.boxes import TypeCertificate
from theory.distortion.audit.columns import close, find_types, infeasibility, ruined, witness
from theory.distortion.audit.observed import Observed
from theory.distortion.audit.types import MATCH_TOLERANCE, TypeProgram
from theory.policy.kl_ball import KLBall
from theory.validate import Array

Certificate = MomentCertificate | TypeCertificate

#: Alternatives up to which the type program is proved by branch and bound.
TYPES_MAX = 6
#: Alternatives up to which a witness is searched for at all: the type program has A(A−1)/2 dense rows.
WITNESS_MAX = 20
#: Alternatives in a subset that is proved by branch and bound in place of all, to what relative accuracy,
#: and for how many benchmarks (those with the largest bounds).
SUBSET_MAX, SUBSET_ACCURACY, SUBSETS = 5, 1e-3, 12
#: Rounds of pair cuts per program, and of column generation in phase 1.
CUT_ROUNDS, PHASE_1_ROUNDS = 6, 40
#: Beyond TYPES_MAX alternatives, benchmarks that get full column generation for the lower end: about
#: LEADERS/A.
LEADERS = 30
#: Steps of the linearisation of the best policy in the ball, and splits of the simplices around it.
BALL_STEPS, BALL_SPLITS = 4, 24
#: Relative gaps at which a benchmark, and the splitting of the ball, are left alone.
CLOSED, BALL_CLOSED = 2e-6, 1e-4


@dataclass(frozen=True, eq=False)
class Audit:
    """lower ≤ supremum of the distortion over the populations behind the data ≤ upper (`inf`: no bound).

    Attributes
    ----------
    witness
        population that attains `lower`: win rates match to 1e-9 and the distortion is `lower`; None where none was
        found, and `lower` is then the trivial 1 (policy inside K) or 0
    certificate
        one certificate per benchmark point, with .benchmark q, .ratio ρ, .multipliers and .bound: q·u ≤ bound·π·u for
        every population behind the data. Empty where lower = inf
    cover
        the benchmark points, as numbers into `certificate`, of simplices that cover K: upper is the largest bound over
        them (their largest vertex, or `ball.simplex_bound` in a ball), unless `method` is "game", which needs no
        points
    method
        which upper bound was the tightest
    bounds
        every upper bound that was computed, by name; a stronger method is run only on benchmarks where it can matter,
        and the weaker ones stand in elsewhere
    status
        one sentence

    References
    ----------
    Ours (D16).

    Examples
    --------
    >>> from theory.distortion import audit
    >>> found = audit([[0.5, 0.7], [0.3, 0.5]], [0.5, 0.5], bt_beta=5.0)
    >>> found.method, found.gap < 1e-5, found.witness.utilities.shape[1]
    ('lemma', True, 2)
    """

    lower: float
    upper: float
    witness: Population | None
    certificate: tuple[Certificate, ...]
    cover: tuple[tuple[int, ...], ...]
    method: str
    bounds: dict[str, float]
    status: str

    @property
    def gap(self) -> float:
        """upper − lower; 0 where both are inf."""
        return 0.0 if self.lower == self.upper else self.upper - self.lower


@dataclass(eq=False)
class Run:
    """One audit in progress: the problem, the benchmark points with their best certificates, the lower end.

    cuts and floor come from `audit._moment_set`.
    """

    observed: Observed
    policy: Array
    ball: KLBall
    cuts: Cuts
    floor: float
    best: list[Certificate] = field(default_factory=list)
    by_method: dict[str, Array] = field(default_factory=dict)
    lower: float = 0.0
    witness: Population | None = None

    def __post_init__(self) -> None:
        self.first = first_simplex(self.ball)
        self.points = list(self.first)
        self.cover = [tuple(range(len(self.points)))]

    def interval(self) -> Audit:
        """Upper bounds from averages, then types: the lower end and, where affordable, proofs."""
        if not self.ball.bounded or self.ball.distance(self.policy) <= self.ball.tau:
            self.lower = 1.0  # π is a benchmark itself
        A = self.observed.size
        self._moments()
        program = None
        if A <= WITNESS_MAX:
            if self.floor == 0.0 and math.isinf(self._upper(self._current())):
                hopeless = ruined(self.observed, self.policy, self._inner(), PHASE_1_ROUNDS)
                if hopeless is not None:
                    return self._unbounded(hopeless)
            program = self._feasible_types()
        small = program is not None and A <= TYPES_MAX
        if program is not None:
            self._lower_end(program, prove=small)
        if program is not None and small and self.ball.bounded:
            self._prove_points(program)
        if A > TYPES_MAX:
            self._subsets()
        extra = {}
        if self.ball.bounded and self.ball.tau > 0.0:
            extra["splits"] = self._split_ball(program if small else None)
        return self._finish(extra)

    # Bounds of benchmark points.

    def _current(self) -> Array:
        """(m,) best proved bound of each benchmark point."""
        return np.array([certificate.bound for certificate in self.best])

    def _record(self, method: str, k: int, certificate: Certificate) -> None:
        """Enter a certificate of point k under its method, and keep the best."""
        table = self.by_method.setdefault(method, np.full(len(self.first), math.inf))
        if k < table.size:
            table[k] = min(table[k], certificate.bound)
        if certificate.bound < self.best[k].bound:
            self.best[k] = certificate

    def _upper(self, ratios: Array) -> float:
        """The bound on the distortion that bounds (m,) at the first points give."""
        return simplex_bound(self.first, ratios, self.ball)[0]

    def _moments(self) -> None:
        """lemma and pairs for every first point; cuts found for one serve all."""
        lemma = lemma_cuts(self.observed)
        self.best = [moment_bound(self.policy, q, lemma, self.floor)[0] for q in self.points]
        for k, certificate in enumerate(list(self.best)):
            self._record("lemma", k, certificate)
        for k in np.argsort(-self._current(), kind="stable"):
            self._pairs(int(k))

    def _pairs(self, k: int) -> None:
        """Pair cuts at the optimum of point k until none is violated."""
        for _ in range(CUT_ROUNDS):
            certificate, u = moment_bound(self.policy, self.points[k], self.cuts, self.floor)
            self._record("pairs", k, certificate)
            new = None if u is None else separate(self.observed, np.clip(u, 0.0, 1.0))
            if new is None or new.first.size == 0:
                break
            self.cuts = self.cuts.extend(new)

    def _subsets(self) -> None:
        """`types` on few alternatives: those of the policy, the benchmark, the most decided against."""
        for k in np.argsort(-self._current(), kind="stable")[:SUBSETS]:
            q = self.points[k]
            if self.best[k].bound <= self.lower * (1 + CLOSED):
                break
            members = (self.policy > 0) | (q > 0)
            if members.sum() >= SUBSET_MAX:
                continue
            weight = np.where(members, math.inf, self._decided(members))
            chosen = np.sort(np.argsort(-weight, kind="stable")[:SUBSET_MAX])
            part = self.observed.restrict(chosen)
            everything = np.ones(chosen.size, dtype=bool)
            program, violation, _ = find_types(part, self.policy[chosen], everything, PHASE_1_ROUNDS)
            if violation <= MATCH_TOLERANCE:
                certificate = close(
                    program, q[chosen], self.floor, self.lower, prove=True, accuracy=SUBSET_ACCURACY
                ).certificate
                if certificate is not None:
                    self._record("subset", int(k), replace(certificate, alternatives=chosen))

    def _decided(self, members: np.ndarray) -> Array:
        """(A,) Σ over comparisons with the members of how far the win rate must be from ½."""
        o, total = self.observed, np.zeros(self.observed.size)
        decided = np.maximum(0.0, np.maximum(o.low - 0.5, 0.5 - o.high))
        np.add.at(total, o.first, decided * members[o.second])
        np.add.at(total, o.second, decided * members[o.first])
        return total

    # Types.

    def _feasible_types(self) -> TypeProgram | None:
        """Phase 1; None where it ends short, ValueError where branch and bound proves that nothing fits."""
        everything = np.ones(self.observed.size, dtype=bool)
        program, violation, dual = find_types(self.observed, self.policy, everything, PHASE_1_ROUNDS)
        if violation <= MATCH_TOLERANCE:
            return program
        if self.observed.size <= TYPES_MAX and infeasibility(self.observed, dual):
            raise ValueError(
                f"no population with bt_beta = {self.observed.bt_beta} produces these win rates "
                f"(least L1 violation {violation:.3g}); heaviest in the proof: "
                f"{self.observed.pair_name(int(np.abs(dual.multipliers).argmax()))}"
            )
        return None

    def _inner(self) -> Array:
        """(m, A) benchmarks inside K to start from: the best policies for one alternative each."""
        if len(self.first) == 1:
            return self.first
        return np.array([self.ball.maximize(e) for e in np.eye(self.observed.size)])

    def _offer(self, program: TypeProgram, masses: Array | None) -> Population | None:
        """Turn a solution into a checked witness and raise the lower end to its distortion."""
        population = None if masses is None else witness(program, masses)
        if population is None:
            return None
        u = population.average_utility
        best = float(u @ self.ball.maximize(u))
        achieved = float(u @ self.policy)
        ratio = best / achieved if achieved > 0 else (math.inf if best > 0 else 0.0)
        if ratio > self.lower or (self.witness is None and ratio >= self.lower * (1 - 1e-9)):
            self.lower, self.witness = max(ratio, self.lower), population
        return population

    def _lower_end(self, program: TypeProgram, *, prove: bool) -> None:
        """Column generation for the benchmarks, best first; skips those with no bound above `lower`."""
        inner = self._inner()
        start = [program.solve(q) for q in inner]
        order = np.argsort([math.inf if s is None else -s.value for s in start], kind="stable")
        for k in order:
            self._offer(program, None if start[k] is None else start[k].masses)
        free = not self.ball.bounded
        for k in order if prove else order[: max(1, LEADERS // self.observed.size)]:
            if free and self.best[k].bound <= self.lower * (1 + CLOSED):
                continue
            closing = close(program, inner[k], self.floor, self.lower, prove=prove and free)
            population = self._offer(program, closing.masses)
            if closing.certificate is not None:
                self._record("types", int(k), closing.certificate)
            # In the ball: go on at the witness's own best benchmark; each step can only raise its distortion.
            for _ in range(0 if free else BALL_STEPS):
                before = self.lower
                if population is None:
                    break
                u = population.average_utility
                q = self.ball.maximize(u)
                population = self._offer(program, close(program, q, self.floor, self.lower, prove=False).masses)
                if self.lower <= before * (1 + 1e-7):
                    break

    def _prove_points(self, program: TypeProgram) -> None:
        """`types` at the first points of a ball (they lie outside it: no witness comes of them)."""
        for k in range(len(self.points)):
            certificate = close(program, self.points[k], self.floor, self.lower, prove=True).certificate
            if certificate is not None:
                self._record("types", k, certificate)

    def _split_ball(self, program: TypeProgram | None) -> float:
        """Split the simplex with the largest bound at its own maximiser, repeatedly; returns the bound."""
        queue = {s: simplex_bound(np.array(self.points), self._current(), self.ball) for s in self.cover}
        for _ in range(BALL_SPLITS):
            worst = max(queue, key=lambda s: queue[s][0])
            bound, b = queue[worst]
            if bound <= self.lower * (1 + BALL_CLOSED) or (b > 0).sum() < 2 or math.isinf(bound):
                break
            b = onto_face(b, np.array([self.best[k].bound for k in worst]), self.lower)
            q, new = b @ np.array([self.points[k] for k in worst]), len(self.points)
            self.points.append(q)
            self.best.append(moment_bound(self.policy, q, self.cuts, self.floor)[0])
            if program is not None:
                closing = close(program, q, self.floor, self.lower, prove=True)
                self._offer(program, closing.masses)
                if closing.certificate is not None:
                    self._record("types", new, closing.certificate)
            del queue[worst]
            for part in split(worst, b, new):
                vertices = np.array([self.points[k] for k in part])
                ratios = np.array([self.best[k].bound for k in part])
                bound_part, b_part = simplex_bound(vertices, ratios, self.ball)
                queue[part] = min(bound, bound_part), b_part
        self.cover = list(queue)
        return max(bound for bound, _ in queue.values())

    # The answer.

    def _unbounded(self, population: Population) -> Audit:
        status = "unbounded: under a population behind the data the policy has utility 0 and a benchmark has not"
        return Audit(math.inf, math.inf, population, (), (), "witness", {"witness": math.inf}, status)

    def _finish(self, extra: dict[str, float]) -> Audit:
        """Combine the points' bounds, method by method and the best of each, into the answer."""
        bounds = {"game": game_bound(self.observed, self.policy, self.ball, self.floor)}
        tables: list[Array] = []
        for method, table in self.by_method.items():
            tables.append(table)
            bounds[method] = self._upper(np.min(tables, axis=0))
        bounds |= extra
        method = min(bounds, key=lambda name: (bounds[name], name == "game"))
        upper = bounds[method]
        found = "no witness was found: lower is trivial" if self.witness is None else "lower has a checked witness"
        lower = min(self.lower, upper)  # the witness may match the data to 1e-9 only, the bounds hold exactly
        status = f"{found}; tightest upper bound: {method}"
        return Audit(lower, upper, self.witness, tuple(self.best), tuple(self.cover), method, bounds, status)
