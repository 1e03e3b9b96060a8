"""Voting rules on Plackett–Luce rankings, in the limit of infinitely many users: first and last places, the
plurality and veto rules built on them, and families of populations on which they do badly (claim D7).

A user of type v ranks all alternatives by an exponential race: T_x ~ Exp(rate e^{βU[v,x]}), β = bt_beta,
independent, earlier is better. Pairwise marginals are the Bradley–Terry win rates of the same population;
within any subset of the alternatives the ranking is again Plackett–Luce with the same rates.

Every rule returns a policy (A,), ties split evenly. Clones must be listed one by one: a collapsed instance
(`multiplicity` ≠ 1) is an error, because clones share first places but compete for last ones.

Source: Alipour, Goyal, "Utilitarian Distortion Under Probabilistic Voting" (arXiv 2602.11152), of which only
the abstract was available: the growth claims are theirs, the families and their proofs below were derived
here. V user types, A alternatives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.bradley_terry import Population
from theory.social_choice.ties import TIE_TOLERANCE, winners
from theory.solution import CertificateError
from theory.validate import Array, check_bt_beta, check_distribution, check_multiplicity, check_positive

#: Absolute error of last-place probabilities, and how far their sum may lie from one.
LAST_PLACE_TOLERANCE = 1e-12


def top_choice(population: Population, bt_beta: float, members: ArrayLike | None = None) -> Array:
    """P(x is ranked first among `members`) = Σ_v w_v e^{βU[v,x]} / Σ_{y∈members} e^{βU[v,y]}, shape (A,).

    members  (A,) booleans, at least one True; all alternatives by default. Zero outside. Rounding error only.
    """
    beta, inside = check_bt_beta(bt_beta), _members(population, members)
    logits = beta * population.utilities[:, inside]
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return _spread(population.weights @ (shares / shares.sum(axis=1, keepdims=True)), inside)


def bottom_choice(population: Population, bt_beta: float, members: ArrayLike | None = None) -> Array:
    """P(x is ranked last among `members`) = Σ_v w_v P(T_x = max_{y∈members} T_y), shape (A,), with

        P(T_x = max T) = ∫₀^∞ λ_x e^{−λ_x t} Π_{y≠x} (1 − e^{−λ_y t}) dt,   λ_y = e^{βU[v,y]}.

    members  (A,) booleans, at least one True; all alternatives by default. Zero outside.

    Absolute error at most 1e-12 (not relative: probabilities below it are noise). In s = log t the integrand
    is analytic and decays at both ends, so the trapezoidal rule converges geometrically in the number of
    nodes; it doubles them until no class of clones moves by 1e-13. CertificateError if it does not settle, or
    if the probabilities of a type miss a sum of one by 1e-12. Clones share an integral.
    """
    beta, inside = check_bt_beta(bt_beta), _members(population, members)
    utilities = population.utilities[:, inside]
    total = np.zeros(utilities.shape[1])
    # Users whose utilities agree up to order (all, if they are rankings of the same items) share one integral.
    laws: dict[bytes, Array] = {}
    for weight, utility in zip(np.asarray(population.weights), utilities, strict=True):
        order = utility.argsort(kind="stable")
        profile = utility[order]
        key = profile.tobytes()
        if key not in laws:
            levels, label, counts = np.unique(profile, return_inverse=True, return_counts=True)
            laws[key] = _last_place(beta * (levels - levels[0]), counts.astype(np.float64))[label]
        total[order] += weight * laws[key]
    return _spread(total, inside)


def plurality(
    population: Population,
    bt_beta: float,
    *,
    multiplicity: ArrayLike | None = None,
    tie_tolerance: float = TIE_TOLERANCE,
) -> Array:
    """The alternative with most first places; policy (A,), those within `tie_tolerance` share evenly."""
    check_multiplicity(multiplicity, population.utilities.shape[1], "plurality")
    return winners(top_choice(population, bt_beta), tie_tolerance)


def random_dictator(population: Population, bt_beta: float, *, multiplicity: ArrayLike | None = None) -> Array:
    """The first choice of a random user: policy = `top_choice`, (A,).

    Its distortion is Θ(A) at fixed bt_beta = β: `random_dictator_family` tends to A, and 1 + (A−1)e^β is
    never exceeded, since every type ranks x first with probability at least 1/(1 + (A−1)e^β). It is not O(A)
    uniformly in β: at A = 2 let a share √δ of the users have utilities (1, 0), the rest (0, δ), δ = ln(β)/β;
    the distortion is at least 1/(2√δ + 1/β).

    Another upper bound is max(2eA, 4βA²). Either half of the users have no utility above 1/β, so that each
    alternative gets probability at least 1/(2eA); or more than half do, and counted by their best alternative
    y in shares W_y, Σ π(y) u(y) ≥ Σ (W_y/A)(W_y/β) ≥ 1/(4βA²).
    """
    check_multiplicity(multiplicity, population.utilities.shape[1], "random_dictator")
    return top_choice(population, bt_beta)


def veto(
    population: Population,
    bt_beta: float,
    *,
    multiplicity: ArrayLike | None = None,
    tie_tolerance: float = TIE_TOLERANCE,
) -> Array:
    """Anti-plurality, the alternative with fewest last places; policy (A,), ties share evenly."""
    check_multiplicity(multiplicity, population.utilities.shape[1], "veto")
    return winners(-bottom_choice(population, bt_beta), tie_tolerance)


@dataclass(frozen=True, eq=False)
class VetoFlow:
    """Outcome of a veto process.

    policy      (A,) uniform on the winners
    exit_times  (A,) in [0, 1], the share of the users who have cast their veto when the alternative drops out
                (0: without points at the start; 1: a winner)
    """

    policy: Array
    exit_times: Array


def veto_flow(
    scores: ArrayLike, population: Population, bt_beta: float, *, tie_tolerance: float = TIE_TOLERANCE
) -> VetoFlow:
    """The veto process from starting `scores` (A,), nonnegative with sum one, in the limit of many users.

    Users come in random order; each takes a point from the alternative ranked last among those still
    standing, and an alternative without points (at most `tie_tolerance`) drops out. In the limit the score of
    a standing x falls at rate bottom_choice(standing)[x] per user, constant between exits, so the process is
    computed from exit to exit. The last to stand wins; those that drop out together at the end share evenly.
    """
    scores = check_distribution("scores", scores, population.utilities.shape[1]).copy()
    standing = scores > tie_tolerance
    if not (tie_tolerance >= 0 and standing.any()):
        raise ValueError(f"tie_tolerance = {tie_tolerance} must be >= 0 and below the largest score")
    exit_times = np.zeros(scores.size)
    elapsed = 0.0
    while standing.sum() > 1:
        rates = bottom_choice(population, bt_beta, standing)
        lifetime = np.full(scores.size, np.inf)
        np.divide(scores, rates, out=lifetime, where=standing & (rates > 0))
        step = float(lifetime.min())
        scores = np.maximum(scores - step * rates, 0.0)
        out = standing & ((scores <= tie_tolerance) | (lifetime <= step))
        if (out == standing).all():
            break
        elapsed += step
        exit_times[out] = elapsed
        standing &= ~out
    exit_times[standing] = 1.0
    return VetoFlow(standing / standing.sum(), exit_times)


def plurality_veto(
    population: Population,
    bt_beta: float,
    *,
    multiplicity: ArrayLike | None = None,
    tie_tolerance: float = TIE_TOLERANCE,
) -> Array:
    """Plurality Veto: the `veto_flow` that starts from the plurality scores; policy (A,).

    Source: Kizilkaya, Kempe, "Plurality Veto" (IJCAI 2022), Algorithm 1, with users in random order.
    """
    check_multiplicity(multiplicity, population.utilities.shape[1], "plurality_veto")
    return veto_flow(top_choice(population, bt_beta), population, bt_beta, tie_tolerance=tie_tolerance).policy


def pruned_plurality_veto(
    population: Population,
    bt_beta: float,
    threshold: float | None = None,
    *,
    multiplicity: ArrayLike | None = None,
    tie_tolerance: float = TIE_TOLERANCE,
) -> Array:
    """Plurality Veto among the alternatives whose plurality score is at least `threshold`; policy (A,).

    Plurality scores are counted again among those that stay. Default threshold 1/(2A), half the mean score;
    ValueError if it exceeds every score. The definition in arXiv 2602.11152 was not available beyond its
    abstract: this is the definition used here.
    """
    check_multiplicity(multiplicity, population.utilities.shape[1], "pruned_plurality_veto")
    scores = top_choice(population, bt_beta)
    bar = 0.5 / scores.size if threshold is None else float(threshold)
    kept = scores >= bar - tie_tolerance
    if not (bar >= 0 and kept.any()):
        raise ValueError(f"threshold = {threshold} must lie between 0 and the largest score {scores.max()}")
    start = top_choice(population, bt_beta, kept)
    return veto_flow(start, population, bt_beta, tie_tolerance=tie_tolerance).policy


def plurality_family(bt_beta: float, n_alternatives: int, margin: float = 1e-6) -> Population:
    """Plurality elects alternative 0 at distortion (1 + m e^β)/(e^β + m)/(1 + margin), m = A−1.

    That is at least min(e^β, m)/(2 + 2 margin).

    A share w of the users values 0 at one and all else at nothing, the rest the reverse. Alternative 0 leads
    iff w(e^β−1)/(e^β+m) > (1−w)(e^β−1)/(1+m e^β), that is (1−w)/w < (1+m e^β)/(e^β+m); distortion is (1−w)/w.
    """
    beta, m = check_bt_beta(bt_beta), _count(n_alternatives) - 1
    odds = (np.exp(-beta) + m) / (1 + m * np.exp(-beta)) / (1 + check_positive("margin", margin))
    first = np.eye(1, m + 1)[0]
    return Population(np.array([first, 1 - first]), np.array([1 / (1 + odds), odds / (1 + odds)]))


def random_dictator_family(bt_beta: float, n_alternatives: int, utility: float = 1e-9) -> Population:
    """Random dictator has distortion 1 + (A−1)e^{−β·utility} → A: one type, all utilities 0 but one."""
    check_bt_beta(bt_beta)
    return Population(check_positive("utility", utility) * np.eye(1, _count(n_alternatives)))


def veto_family(bt_beta: float, n_alternatives: int, kappa: float = 1e-2, margin: float = 1e-4) -> Population:
    """Plurality Veto, pruned or not, elects the bad half, at distortion at least (β/4)·H_A > (β/4)·ln A.

    The bound holds in the limit kappa, margin → 0. Computed for β in 0.05–50 and A up to 4001, not proven:
    veto elects the bad half too at even A, and at odd A from some A on (5 for β ≥ 5, 45 at β = 0.05).

    M = ⌈A/2⌉ good alternatives come first, then N = ⌊A/2⌋ bad ones. A share p of the users values good ones
    at one and bad ones at nothing; the rest values good ones at nothing and bad ones at δ = kappa/(β H_A),
    H_A = Σ_{k≤A} 1/k. Let t₁, v₁ and t₂, v₂ be the probabilities that a user of either type ranks a bad one
    first, last. Clones drop out together, so the bad ones outlast the good ones iff they have more points,
    p t₁ + (1−p) t₂, than vetoes, p v₁ + (1−p) v₂, that is iff p/(1−p) < (t₂−v₂)/(v₁−t₁); `margin` is the
    relative distance kept from that. The distortion is p/((1−p)δ). To first order in δ (v₂: a Beta integral)

        t₂ = N/A + βδ·NM/A² + …,    v₂ = N/A − βδ·NM (H_A−1)/(A(A−1)) + …

    and the distortion tends to β NM [1/A² + (H_A−1)/(A(A−1))]/(v₁−t₁), at least `veto_lower_factor`. Where
    ln A comes from: the last of A near-clones arrives at a time of about ln A, so a rate 1 + 1/ln A times as
    high divides the chance to be last by e: a utility of 1/(β ln A) is enough to escape most vetoes.

    All plurality scores tend to 1/A as kappa → 0: no threshold θ/A with θ < 1 prunes anything in the limit
    (one of 1/A can prune the bad half). ValueError if δ > 1 or margin is outside (0, 1).
    """
    beta, A = check_bt_beta(bt_beta), _count(n_alternatives)
    bad = np.arange(A) >= A - A // 2
    delta = check_positive("kappa", kappa) / (beta * _harmonic(A))
    if delta > 1:
        raise ValueError(f"kappa = {kappa} is too large: delta = kappa/(bt_beta·H_A) = {delta} exceeds 1")
    if not 0 < margin < 1:
        raise ValueError(f"margin = {margin} must lie strictly between 0 and 1")
    utilities = np.array([~bad, delta * bad], dtype=np.float64)
    types = [Population(row[None]) for row in utilities]
    t1, t2 = (float(top_choice(users, beta)[bad].sum()) for users in types)
    v1, v2 = (float(bottom_choice(users, beta)[bad].sum()) for users in types)
    odds = (1 - margin) * (t2 - v2) / (v1 - t1)
    return Population(utilities, np.array([odds / (1 + odds), 1 / (1 + odds)]))


def random_dictator_upper_factor(bt_beta: float, n_alternatives: int) -> float:
    """min(1 + (A−1)e^β, max(2eA, 4βA²)): random dictator's distortion is never above (proof: `random_dictator`)."""
    beta, A = check_bt_beta(bt_beta), _count(n_alternatives)
    counted = max(2 * np.e * A, 4 * beta * A**2)
    return float(min(1 + (A - 1) * np.exp(min(beta, 700.0)), counted))


def veto_lower_factor(bt_beta: float, n_alternatives: int) -> float:
    """A lower bound on the distortion of Plurality Veto and pruned Plurality Veto (claim D7), shape ():

        β NM [1/A² + (H_A−1)/(A(A−1))] / (1 − N/(N + M e^β)) ≥ (β/4)·H_A,   N = ⌊A/2⌋, M = ⌈A/2⌉.

    The limit of `veto_family` with its v₁ bounded by 1 (at A = 2, where v₁ = σ(β), that family attains L(β)).
    For the last step NM [·] is ¼(1 + A(H_A−1)/(A−1)) for even A and ¼(H_A + (H_A−1−1/A)/A) for odd A.
    """
    beta, A = check_bt_beta(bt_beta), _count(n_alternatives)
    N, M = A // 2, A - A // 2
    slope = N * M * (1 / A**2 + (_harmonic(A) - 1) / (A * (A - 1)))
    return float(beta * slope / (M / (N * np.exp(-beta) + M)))


def _last_place(log_rates: Array, counts: Array) -> Array:
    """P(one alternative of class k is last), (K,), for classes of `counts` clones; least log-rate 0."""
    # log max T has the law F(s) = Π_k (1 − e^{−λ_k e^s})^{counts_k} ≤ e^s, and 1 − F(s) ≤ A·exp(−e^s): less
    # than 1e-18 lies outside [low, high].
    high = float(np.log(np.log(counts.sum()) + 45.0))
    probe = np.linspace(-45.0, high, 257)
    low = float(probe[np.argmax(_race(log_rates, counts, probe)[1] > -42.0) - 1])
    intervals, step = 32, (high - low) / 32
    law = step * _density(log_rates, counts, np.linspace(low, high, intervals + 1))
    for _ in range(12):
        midpoints = low + step * (np.arange(intervals, dtype=np.float64) + 0.5)
        finer = (law + step * _density(log_rates, counts, midpoints)) / 2
        change = float(np.max(counts * np.abs(finer - law)))
        law, intervals, step = finer, 2 * intervals, step / 2
        if change <= 0.1 * LAST_PLACE_TOLERANCE:
            break
    excess = abs(float(counts @ law) - 1.0)
    if not (change <= 0.1 * LAST_PLACE_TOLERANCE and excess <= LAST_PLACE_TOLERANCE):
        raise CertificateError(f"last places miss a sum of 1 by {excess:.1e}; last refinement {change:.1e}")
    return law


def _race(log_rates: Array, counts: Array, nodes: Array) -> tuple[Array, Array]:
    """z = λ e^s, (K, nodes), and log F(s), (nodes,), at s = `nodes`."""
    z = np.exp(np.minimum(log_rates[:, None] + nodes, 700.0))  # e^{−z} is zero long before
    # log(1 − e^{−z}) without cancellation: its rounding error is multiplied by the number of clones.
    small = z < np.log(2)
    log_faster: Array = np.where(small, np.log(-np.expm1(-z)), np.log1p(-np.exp(-np.maximum(z, np.log(2)))))
    return z, counts @ log_faster


def _density(log_rates: Array, counts: Array, nodes: Array) -> Array:
    """Σ over nodes of z e^{−z}·F/(1 − e^{−z}), the density of {log T_x = s, rest below}; (K,), in blocks."""
    total = np.zeros(log_rates.size)
    width = max(1, 2**20 // log_rates.size)
    for start in range(0, nodes.size, width):
        z, log_law = _race(log_rates, counts, nodes[start : start + width])
        total += (z * np.exp(-z) / -np.expm1(-z)) @ np.exp(log_law)
    return total


def _members(population: Population, members: ArrayLike | None) -> NDArray[np.bool_]:
    """The mask (A,) of the alternatives to rank; ValueError unless it is boolean and not empty."""
    size = population.utilities.shape[1]
    mask = np.ones(size, dtype=bool) if members is None else np.asarray(members)
    if mask.dtype != bool or mask.shape != (size,) or not mask.any():
        raise ValueError(f"members must be {size} booleans, at least one True, got {members!r}")
    return mask


def _spread(values: Array, inside: NDArray[np.bool_]) -> Array:
    """(A,) with `values` on the members and zero elsewhere."""
    full = np.zeros(inside.size)
    full[inside] = values
    return full


def _count(n_alternatives: int) -> int:
    """The number of alternatives, an integer ≥ 2."""
    if int(n_alternatives) != n_alternatives or n_alternatives < 2:
        raise ValueError(f"n_alternatives = {n_alternatives} must be an integer >= 2")
    return int(n_alternatives)


def _harmonic(n: int) -> float:
    """H_n = Σ_{k≤n} 1/k."""
    return float(np.sum(1.0 / np.arange(1, n + 1)))
