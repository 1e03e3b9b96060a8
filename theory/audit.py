"""The audit: how bad can a policy be for the users behind observed win rates? (claim D16, ours)

The users are an unknown law over utility vectors U ∈ [0,1]^A that produced the data: P(x≻y) = E σ(bt_beta (U_x − U_y))
for every compared pair. With u = E U, the distortion of π on that population is max_{π'∈K} u(π')/u(π), K the KL ball
around a reference (all policies without one). `audit` returns a certified interval for its supremum over ALL
populations that could have produced the data:

| end | from | file |
|---|---|---|
| lower | a witness: a population whose win rates and distortion were computed again after the search | audit_types.py |
| upper | the best of the proved bounds below, evaluated again from multipliers, rounding included | |
|  · game | L(β) + payoff term: Corollary 4 of Gölz, Haghtalab, Yang (arXiv 2505.23749), any A | audit_moments.py |
|  · lemma | linear program in u with the D1 inequalities (Lemma 1 there), any A | audit_moments.py |
|  · pairs | the same with the convex hull of each pair (exact for A = 2), any A | audit_moments.py |
|  · types | dual certificate over user types, proved by branch and bound, A ≤ `TYPES_MAX` | audit_boxes.py |
|  · subset | `types` on the policy's support, the benchmark and a few more, where these are few | audit_boxes.py |

Types come from phase 1 and column generation (audit_search.py); what the data say is in audit_data.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from theory.audit_boxes import TypeCertificate
from theory.audit_data import Observed, from_counts, from_win_rates
from theory.audit_moments import (
    BALL_SLACK,
    Cuts,
    MomentCertificate,
    elastic,
    floor_utility,
    game_bound,
    lemma_cuts,
    moment_bound,
    separate,
)
from theory.audit_search import close, find_types, infeasibility, ruined, witness
from theory.audit_types import MATCH_TOLERANCE, TypeProgram
from theory.bradley_terry import Population
from theory.checks import Array, check_bt_beta, check_distribution, check_tau, check_win_rates, resolve_log_reference
from theory.kl_ball import kl_from_log, maximize_in_kl_ball

#: Alternatives up to which the type program is proved by branch and bound (and run with all its rounds).
TYPES_MAX = 6
#: Alternatives up to which a witness is searched for at all: the type program has A(A−1)/2 dense rows.
WITNESS_MAX = 20
#: Rounds of pair cuts per program.
CUT_ROUNDS = 6
#: Rounds of column generation in phase 1.
ROUNDS_PHASE_1 = 40
#: Alternatives in a subset that is proved by branch and bound in place of all.
SUBSET_MAX = 5
#: Beyond TYPES_MAX alternatives, benchmarks that get full column generation for the lower end.
LEADERS = 3
#: Steps of the linearisation of the best policy in the ball.
BALL_STEPS = 4


@dataclass(frozen=True, eq=False)
class Audit:
    """lower ≤ supremum of the distortion over the populations behind the data ≤ upper (`inf` means no bound).

    witness      population that attains `lower`: its win rates match to 1e-9 and its distortion is `lower`; None
                 where none was found, and `lower` is then the trivial 1 (policy inside K) or 0
    certificate  one certificate per benchmark (see `benchmarks`), each with .benchmark q, .ratio ρ, .multipliers, .bound:
                 q·u ≤ bound·π·u. Without a KL budget the benchmarks are the alternatives and upper = max bound;
                 with one they are the corners of the smallest simplex {q ≥ l} around K, and upper also uses that
                 q·u/π·u is at most the interpolation of the corners' bounds. Empty if `method` is "game" or the
                 audit found the policy worthless (upper = inf)
    method       which upper bound was the tightest
    bounds       every upper bound that was computed, by name
    gap          upper − lower
    status       one sentence
    """

    lower: float
    upper: float
    witness: Population | None
    certificate: tuple[MomentCertificate | TypeCertificate, ...]
    method: str
    bounds: dict[str, float]
    status: str

    @property
    def gap(self) -> float:
        """upper − lower; inf where upper is inf and lower is not, 0 where both are."""
        return 0.0 if self.lower == self.upper else self.upper - self.lower


def audit(
    win_rates: ArrayLike | None,
    policy: ArrayLike,
    bt_beta: float,
    *,
    reference: ArrayLike | None = None,
    log_reference: ArrayLike | None = None,
    tau: float = math.inf,
    counts: ArrayLike | None = None,
    n_users: int | None = None,
    confidence: float = 0.95,
) -> Audit:
    """Certified interval for the worst distortion of `policy` over all populations behind the data.

    win_rates   (A, A), P(x≻y) + P(y≻x) = 1, entries in [0, 1]; exact. None with `counts`
    policy      (A,) probabilities
    bt_beta     the users' temperature, > 0
    reference   (A,) probabilities with full support, or `log_reference` in nats; with tau, the KL ball K of benchmarks
    counts      (A, A) integers, counts[x, y] = how often x beat y: intervals per pair in place of win rates, all of
                which cover with probability `confidence` (Clopper–Pearson and a union bound); the answer then holds
                with that confidence. A pair never compared carries no constraint
    n_users     with counts: how many users answered; fewer than the comparisons means that users answered several,
                and the intervals are the wider ones of `audit_data.user_half_width`, with its assumptions

    Raises ValueError for malformed input (it names the entry) and where no population with this bt_beta produces the
    data. The search is deterministic. Effort: A ≤ 3 about a second, A = 5 some ten; beyond `WITNESS_MAX`
    alternatives only the upper end is computed.
    """
    pi = check_distribution("policy", policy)
    beta, tau = check_bt_beta(bt_beta), check_tau(tau)
    log_ref = resolve_log_reference(reference, log_reference, pi.size)
    if log_ref is None and tau < math.inf:
        raise ValueError(f"tau = {tau} needs reference or log_reference")
    observed = _observe(win_rates, counts, n_users, confidence, beta, pi.size)
    if tau == math.inf:
        log_ref = None
    cuts, floor = _moment_set(observed, pi)
    return _Run(observed, pi, log_ref, tau, cuts, floor, *_corners(pi.size, log_ref, tau)).interval()


def _observe(
    win_rates: ArrayLike | None,
    counts: ArrayLike | None,
    n_users: int | None,
    confidence: float,
    beta: float,
    size: int,
) -> Observed:
    """The data in the form of intervals; ValueError unless exactly one of the two forms is given, of (A, A)."""
    if (win_rates is None) == (counts is None):
        raise ValueError("give either win_rates or counts (with win_rates None)")
    if counts is None and n_users is not None:
        raise ValueError("n_users needs counts: exact win rates have no sampling error")
    if counts is not None:
        observed = from_counts(counts, beta, n_users, confidence)
    else:
        observed = from_win_rates(check_win_rates(win_rates), beta)
    if observed.size != size:
        raise ValueError(f"policy has {size} entries, the data are about {observed.size} alternatives")
    return observed


def _moment_set(observed: Observed, policy: Array) -> tuple[Cuts, float]:
    """Cuts that hold for the averages u, and a certified floor of π·u; ValueError where they admit no u at all."""
    B = 0.5 * math.tanh(0.5 * observed.bt_beta)
    beyond = np.maximum(observed.low - 0.5 - B, 0.5 - observed.high - B)
    if beyond.max(initial=-1.0) > MATCH_TOLERANCE:
        pair = int(beyond.argmax())
        raise ValueError(
            f"{observed.pair_name(pair)} lies outside [{0.5 - B:.6g}, {0.5 + B:.6g}]: no population with "
            f"bt_beta = {observed.bt_beta} produces it"
        )
    cuts = lemma_cuts(observed)
    floor, u = floor_utility(policy, cuts)
    for _ in range(CUT_ROUNDS):
        new = separate(observed, u) if u is not None else cuts
        if u is None or new.first.size == 0:
            break
        cuts = cuts.extend(new)
        floor, u = floor_utility(policy, cuts)
    if u is None and math.isinf(floor):
        _raise_infeasible(observed, cuts)
    return cuts, (0.0 if math.isinf(floor) else floor)


def _raise_infeasible(observed: Observed, cuts: Cuts) -> None:
    """ValueError that names the most violated pair of a set of cuts without a common point, if that is proved."""
    slack, cut = elastic(cuts)
    if slack > MATCH_TOLERANCE:
        raise ValueError(
            f"no population with bt_beta = {observed.bt_beta} produces these win rates: not even each pair by itself "
            f"fits average utilities in [0, 1]; most violated: win_rates[{cuts.first[cut]}, {cuts.second[cut]}], "
            f"by {slack:.3g}"
        )


def _corners(size: int, log_ref: Array | None, tau: float) -> tuple[Array, Array]:
    """Benchmarks (m, A) whose convex hull contains K, and the l (A,) of the simplex {q ≥ l} they span.

    l(x) is the least probability of x in K (rounded down), so the corner of x is l + (1 − Σl)·e_x: the alternatives
    themselves as tau grows, all of them the reference as tau → 0.
    """
    if log_ref is None:
        return np.eye(size), np.zeros(size)
    if tau == 0.0:
        return np.exp(log_ref)[None, :], np.exp(log_ref)
    eye = np.eye(size)
    least = [maximize_in_kl_ball(-eye[x], log_reference=log_ref, tau=tau)[x] for x in range(size)]
    least = np.maximum(np.array(least) * (1 - 1e-9) - 1e-12, 0.0)
    return least + (1.0 - least.sum()) * eye, least


@dataclass(eq=False)
class _Run:
    """One audit in progress: the problem, and per benchmark the best bound and its certificate so far."""

    observed: Observed
    policy: Array
    log_ref: Array | None
    tau: float
    cuts: Cuts
    floor: float
    corners: Array
    least: Array

    def __post_init__(self) -> None:
        m = self.corners.shape[0]
        self.best: list[MomentCertificate | TypeCertificate | None] = [None] * m
        self.by_method: dict[str, Array] = {}
        self.lower, self.witness = (1.0 if self._inside() else 0.0), None

    def _inside(self) -> bool:
        return self.log_ref is None or kl_from_log(self.policy, self.log_ref) <= self.tau * (1 + 1e-12)

    def interval(self) -> Audit:
        """Upper bounds from averages, then types: lower end and, where affordable, the proof that closes the gap."""
        self._moments()
        small = self.observed.size <= TYPES_MAX
        if self.floor == 0.0 and math.isinf(self._combined(self.current)) and self.observed.size <= WITNESS_MAX:
            worthless = ruined(self.observed, self.policy, self._inner(), ROUNDS_PHASE_1)
            if worthless is not None:
                return Audit(
                    math.inf, math.inf, worthless, (), "witness", {"witness": math.inf},
                    "unbounded: a population behind the data gives the policy utility 0 and a benchmark more",
                )
        if self.observed.size <= WITNESS_MAX:
            program, violation, dual = find_types(
                self.observed, self.policy, np.ones(self.observed.size, dtype=bool), ROUNDS_PHASE_1
            )
            if violation > MATCH_TOLERANCE:
                if small and infeasibility(self.observed, dual):
                    pair = int(np.abs(dual.multipliers).argmax())
                    raise ValueError(
                        f"no population with bt_beta = {self.observed.bt_beta} produces these win rates (least L1 "
                        f"violation {violation:.3g}); heaviest in the proof: {self.observed.pair_name(pair)}"
                    )
            else:
                self._types(program, prove=small)
        if not small:
            self._subsets()
        return self._finish()

    # -- upper ends ------------------------------------------------------------------------------------------------

    @property
    def current(self) -> Array:
        """(m,) best proved bound of each benchmark so far."""
        return np.array([math.inf if c is None else c.bound for c in self.best])

    def _record(self, method: str, k: int, certificate: MomentCertificate | TypeCertificate) -> None:
        """Enter a certificate of benchmark k under its method, and keep the best."""
        table = self.by_method.setdefault(method, np.full(len(self.best), math.inf))
        table[k] = min(table[k], certificate.bound)
        if self.best[k] is None or certificate.bound < self.best[k].bound:
            self.best[k] = certificate

    def _combined(self, ratios: Array) -> float:
        """Upper bound on the distortion from bounds (m,) of the corners: their maximum, or in the ball the best
        interpolation q = Σ_k b_k·corner_k, b = (q − l)/(1 − Σl), to which q·u/π·u ≤ Σ b_k ratio_k applies."""
        worst = float(ratios.max())
        room = 1.0 - float(self.least.sum())
        if self.log_ref is None or self.tau == 0.0 or math.isinf(worst) or room < 1e-6:
            return worst
        q = maximize_in_kl_ball(ratios, log_reference=self.log_ref, tau=self.tau)
        return min(worst, float((q - self.least) @ ratios) / room + BALL_SLACK * worst / room)

    def _moments(self) -> None:
        """lemma and pairs for every benchmark; cuts found for one serve all."""
        first = lemma_cuts(self.observed)
        for k, q in enumerate(self.corners):
            self._record("lemma", k, moment_bound(self.policy, q, first, self.floor)[0])
        for k in np.argsort(-self.by_method["lemma"], kind="stable"):
            for _ in range(CUT_ROUNDS):
                certificate, u = moment_bound(self.policy, self.corners[k], self.cuts, self.floor)
                self._record("pairs", int(k), certificate)
                new = None if u is None else separate(self.observed, np.clip(u, 0.0, 1.0))
                if new is None or new.first.size == 0:
                    break
                self.cuts = self.cuts.extend(new)

    def _subsets(self) -> None:
        """`types` on few alternatives: those of the policy and the benchmark, and the ones its best cuts lean on."""
        for k in np.argsort(-self.current, kind="stable"):
            q, certificate = self.corners[k], self.best[k]
            if self.current[k] <= self.lower * (1 + 1e-6):
                break
            members = (self.policy > 0) | (q > 0)
            if members.sum() >= SUBSET_MAX:
                continue
            # An alternative matters through its cuts with the members; the policy's own pairs come first.
            weight = np.zeros(self.observed.size)
            if isinstance(certificate, MomentCertificate):
                np.add.at(weight, certificate.cuts.first, certificate.multipliers)
                np.add.at(weight, certificate.cuts.second, certificate.multipliers)
            weight += 1e-9 * self._closeness(members)
            weight[members] = math.inf
            chosen = np.sort(np.argsort(-weight, kind="stable")[:SUBSET_MAX])
            part = self.observed.restrict(chosen)
            program, violation, _ = find_types(
                part, self.policy[chosen], np.ones(chosen.size, dtype=bool), ROUNDS_PHASE_1
            )
            if violation > MATCH_TOLERANCE:
                continue
            closing = close(program, q[chosen], self.floor, self.lower, prove=True)
            if closing.certificate is not None:
                self._record("subset", int(k), replace(closing.certificate, alternatives=chosen))

    def _closeness(self, members: np.ndarray) -> Array:
        """(A,) how decided the comparisons with the members are: Σ |P − ½| over observed pairs."""
        o, total = self.observed, np.zeros(self.observed.size)
        decided = np.maximum(0.0, np.maximum(o.low - 0.5, 0.5 - o.high))
        np.add.at(total, o.first, decided * members[o.second])
        np.add.at(total, o.second, decided * members[o.first])
        return total

    # -- lower end -------------------------------------------------------------------------------------------------

    def _inner(self) -> Array:
        """(m, A) benchmarks inside K to start from: the best policies for one alternative each."""
        if self.log_ref is None:
            return self.corners
        eye = np.eye(self.observed.size)
        return np.array([maximize_in_kl_ball(e, log_reference=self.log_ref, tau=self.tau) for e in eye])

    def _offer(self, program: TypeProgram, masses: Array | None) -> Population | None:
        """Turn a solution into a checked witness and raise the lower end to its distortion."""
        population = None if masses is None else witness(program, masses)
        if population is None:
            return None
        u = population.average_utility
        best = float(u @ maximize_in_kl_ball(u, log_reference=self.log_ref, tau=self.tau))
        achieved = float(u @ self.policy)
        ratio = best / achieved if achieved > 0 else (math.inf if best > 0 else 0.0)
        if ratio > self.lower or (self.witness is None and ratio >= self.lower * (1 - 1e-9)):
            self.lower, self.witness = max(ratio, self.lower), population
        return population

    def _types(self, program: TypeProgram, *, prove: bool) -> None:
        """Column generation for the benchmarks, the most promising first; stops where no bound exceeds `lower`."""
        inner = self._inner()
        start = [program.solve(q) for q in inner]
        value = np.array([-math.inf if s is None else s.value for s in start])
        order = np.argsort(-value, kind="stable")
        for k in order:
            if start[k] is not None:
                self._offer(program, start[k].masses)
        effort = order if prove else order[:LEADERS]
        for k in effort:
            if self.log_ref is None and self.current[k] <= self.lower * (1 + 1e-6):
                continue
            q = inner[k]
            closing = close(program, q, self.floor, self.lower, prove=prove and self.log_ref is None)
            population = self._offer(program, closing.masses)
            if closing.certificate is not None:
                self._record("types", int(k), closing.certificate)
            # In the ball: linearise at the witness's own best benchmark; each step can only raise its distortion.
            for _ in range(0 if self.log_ref is None or population is None else BALL_STEPS):
                u, before = population.average_utility, self.lower
                q = maximize_in_kl_ball(u, log_reference=self.log_ref, tau=self.tau)
                population = self._offer(program, close(program, q, self.floor, self.lower, prove=False).masses)
                if population is None or self.lower <= before * (1 + 1e-7):
                    break
        if prove and self.log_ref is not None:
            for k in np.argsort(-self.current, kind="stable"):
                closing = close(program, self.corners[k], self.floor, 0.0, prove=True)
                if closing.certificate is not None:
                    self._record("types", int(k), closing.certificate)

    def _finish(self) -> Audit:
        """Combine the benchmarks' bounds, method by method and the best of each, into the answer."""
        bounds = {"game": game_bound(self.observed, self.policy, self.log_ref, self.tau, self.floor)}
        tables: list[Array] = []
        for method, table in self.by_method.items():
            tables.append(table)
            # A stronger method is run only where it can matter: elsewhere the weaker ones stand in.
            bounds[method] = self._combined(np.min(tables, axis=0))
        method = min(bounds, key=lambda name: (bounds[name], name == "game"))
        upper = bounds[method]
        lower = min(self.lower, upper)  # the witness may match the data to 1e-9 only, the bounds hold exactly
        found = "no witness was found: lower is trivial" if self.witness is None else "lower end has a checked witness"
        return Audit(
            lower, upper, self.witness, tuple(c for c in self.best if c is not None), method, bounds,
            f"{found}; tightest upper bound: {method}",
        )
