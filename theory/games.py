"""Equilibria of the win-rate game: maximal lotteries and Nash learning from human feedback (NLHF).

Two players choose policies; π earns πᵀMπ' against π', where M = P − ½ (A, A) is antisymmetric. The game is
symmetric and worth 0, and an equilibrium strategy is one policy that no policy of the same set beats:

    max over π ∈ K of min over π' ∈ K of πᵀMπ',    K = {π : KL(π‖π_ref) ≤ tau}   (tau = ∞: every policy),

or its penalty form, with −weight·KL(π‖π_ref) + weight·KL(π'‖π_ref) in the payoff. The certificate of every
solution is its exploitability, what the best response to the returned policy gains, in closed form.

Three methods share the work; which one answered is said in the status of the solution:
  theory.fixed_point     Newton on the response map where the KL term binds: a few products with P
  growing support        equilibrium of the game on a few alternatives, to which best responses are added
  theory.interior_point  central path, one dense factorisation per step: dense equilibria, and everything else

Source: Munos et al., "Nash learning from human feedback" (arXiv 2312.00886), for the game; Gölz, Haghtalab, Yang,
"Distortion of AI Alignment" (arXiv 2505.23749), Theorem 7 and Corollary 8 for its distortion, Propositions 13 and
14 for the equivalence of the constrained and the penalty form.

Shapes: A alternatives; policies, values and references are (A,); KL and tau are in nats.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from theory.checks import (
    Array,
    check_positive,
    check_tau,
    check_win_rates,
    require_reference,
    resolve_log_reference,
)
from theory.convex import GAP_TOLERANCE, CertificateError, Solution, certified
from theory.fixed_point import fixed_point
from theory.interior_point import PathPoint, central_path
from theory.kl_ball import kl_from_log, maximize_in_kl_ball

#: The methods aim below the certificate by this factor, so that rounding does not decide it.
AIM = 0.01
#: Complementarity of the central path from which its points are worth a certificate, and a Newton start.
NEAR_END = 1e-3
#: Complementarity from which the path has told the support of an equilibrium apart.
SUPPORT_SEEN = 1e-6
#: Points of the path without a better gap before it stops.
PATIENCE = 4
#: Games up to this size go to the interior point at once, and supports grow from this size.
SMALL = 32
#: A support grown beyond this share of the alternatives is dense: the whole game is then cheaper.
SPARSE_SHARE = 0.25


def maximal_lottery(win_rates: ArrayLike, *, tolerance: float = GAP_TOLERANCE) -> Solution:
    """A mixed equilibrium of the win-rate game: π ≥ 0, Σπ = 1 and πᵀM ≥ −gap entrywise.

    win_rates  P (A, A) in [0, 1] with P + Pᵀ = 1
    tolerance  largest gap = max_y −(πᵀM)_y that may be returned, > 0

    Returns a Solution with value = −gap, the payoff that π guarantees (the game is worth 0). Where several
    policies are equilibria it returns one of them: the average of the alternatives that lose to none, if there
    are any. Raises ValueError for bad input and CertificateError for a gap above `tolerance`.
    Special cases: a Condorcet winner; the uniform policy where all win rates are ½.
    """
    P = check_win_rates(win_rates)
    tolerance = check_positive("tolerance", tolerance)
    policy, method = _lottery(P, AIM * tolerance)
    gap = _lottery_gap(P, policy)
    return certified(Solution(policy, 0.0 - gap, gap, f"{method}; no KL constraint"), tolerance)


def nlhf(
    win_rates: ArrayLike,
    reference: ArrayLike | None = None,
    tau: float = math.inf,
    *,
    log_reference: ArrayLike | None = None,
    tolerance: float = GAP_TOLERANCE,
) -> Solution:
    """NLHF in the KL ball: max over π ∈ K of min over π' ∈ K of πᵀMπ', K = {π : KL(π‖π_ref) ≤ tau}.

    win_rates  P (A, A) in [0, 1] with P + Pᵀ = 1
    reference  (A,) probabilities with full support, or `log_reference` (A,) nats; needed for a finite tau
    tau        KL budget in nats, ≥ 0
    tolerance  largest gap = max over π' ∈ K of −πᵀMπ' that may be returned, > 0

    Returns a Solution with π in K up to rounding (1e-12) and value = −gap, the payoff that π guarantees within K
    (the game is worth 0). Raises ValueError for bad input and CertificateError for a gap above `tolerance`.
    Special cases: tau = inf is the maximal lottery, tau = 0 the reference. Source: arXiv 2505.23749, Theorem 7.
    """
    P = check_win_rates(win_rates)
    tau = check_tau(tau)
    tolerance = check_positive("tolerance", tolerance)
    log_ref = resolve_log_reference(reference, log_reference, P.shape[0])
    if log_ref is None:
        if tau < math.inf:
            raise ValueError(f"tau = {tau} needs reference or log_reference")
        log_ref = np.full(P.shape[0], -math.log(P.shape[0]))
    policy, method = _in_ball(P, log_ref, tau, AIM * tolerance)
    gap = _ball_gap(P, policy, log_ref, tau)
    slack = tau - kl_from_log(policy, log_ref)
    bound = "no KL constraint" if tau == math.inf else f"KL constraint {'in' if slack > 1e-6 * tau else ''}active"
    return certified(Solution(policy, 0.0 - gap, gap, f"{method}; {bound}"), tolerance)


def nlhf_regularized(
    win_rates: ArrayLike,
    reference: ArrayLike | None = None,
    weight: float = 1.0,
    *,
    log_reference: ArrayLike | None = None,
    tolerance: float = GAP_TOLERANCE,
) -> Solution:
    """NLHF with a KL penalty: max over π of min over π' of πᵀMπ' − weight·KL(π‖π_ref) + weight·KL(π'‖π_ref).

    win_rates  P (A, A) in [0, 1] with P + Pᵀ = 1
    reference  (A,) probabilities with full support, or `log_reference` (A,) nats
    weight     of the penalty, > 0, in units of win rates per nat
    tolerance  largest gap that may be returned, > 0

    The equilibrium is unique and the fixed point π(x) ∝ π_ref(x)·exp((Mπ)(x)/weight), (Mπ)(x) = Σ_y M[x, y] π(y).
    Returns a Solution with value = −gap and

        gap = weight·log Σ_y π_ref(y)·exp((Mπ)(y)/weight) + weight·KL(π‖π_ref),

    what the best response gains. Raises ValueError for bad input and CertificateError for a gap above `tolerance`.
    It solves `nlhf` at tau = KL(π‖π_ref) (Proposition 14). Source: arXiv 2505.23749, Corollary 8.
    """
    P = check_win_rates(win_rates)
    weight = check_positive("weight", weight)
    tolerance = check_positive("tolerance", tolerance)
    log_ref = require_reference(reference, log_reference, P.shape[0], "nlhf_regularized")
    def gap_of(policy: Array) -> float:
        return _penalty_gap(P, policy, log_ref, weight)

    target = AIM * tolerance
    policy, method = fixed_point(P, log_ref, target, weight=weight), "Newton on the response map"
    if policy is None or not gap_of(policy) <= tolerance:
        method = "interior point"
        path = central_path(P, log_reference=log_ref, weight=weight)
        policy = _best_on_path(path, lambda point: point.policy(), gap_of, target)
    gap = gap_of(policy)
    return certified(Solution(policy, 0.0 - gap, gap, method), tolerance)


def nlhf_cvxpy(
    win_rates: ArrayLike, reference: ArrayLike, tau: float, *, tolerance: float = 1e-6
) -> Solution:
    """`nlhf` as one conic program in cvxpy (CLARABEL): the independent oracle, slow, to about 1e-8.

    The inner minimum is replaced by its dual: minimise t + tau·λ over π ∈ K, λ ≥ 0, t subject to
    λ·Σ_y π_ref(y)·exp(((Mπ)(y) − t)/λ) ≤ λ, an exponential cone per alternative.

    Arguments, errors and the certificate are those of `nlhf`, with tau finite and > 0. Whether the answer is one
    is decided by feasibility and gap, not by the status CLARABEL reports: a policy outside the ball is moved
    towards the reference until it is inside, and then certified.
    """
    import cvxpy as cp

    P = check_win_rates(win_rates)
    tau = check_positive("tau", tau)
    A = P.shape[0]
    log_ref = require_reference(reference, None, A, "nlhf_cvxpy")
    ref = np.exp(log_ref)
    policy, cone = cp.Variable(A, nonneg=True), cp.Variable(A)
    multiplier, level = cp.Variable(nonneg=True), cp.Variable()
    constraints = [
        cp.sum(policy) == 1,
        cp.sum(cp.rel_entr(policy, ref)) <= tau,
        cp.ExpCone((P - 0.5) @ policy - level, multiplier * np.ones(A), cone),
        (A * ref) @ cone <= A * multiplier,
    ]
    problem = cp.Problem(cp.Minimize(level + tau * multiplier), constraints)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "may be inaccurate": the certificate below decides
        try:
            problem.solve(solver="CLARABEL", equilibrate_enable=False)
        except cp.error.SolverError as error:
            raise CertificateError(f"CLARABEL stopped without a point: {error}") from error
    if policy.value is None:
        raise CertificateError(f"CLARABEL stopped without a point: {problem.status}")
    inside = _inside(np.maximum(policy.value, 0.0), log_ref, tau)
    gap = _ball_gap(P, inside, log_ref, tau)
    return certified(Solution(inside, 0.0 - gap, gap, f"cvxpy, CLARABEL: {problem.status}"), tolerance)


def _lottery_gap(P: Array, policy: Array) -> float:
    """max_y −(πᵀM)_y."""
    return float((0.5 - policy @ P).max())


def _ball_gap(P: Array, policy: Array, log_ref: Array, tau: float) -> float:
    """max over π' ∈ K of −πᵀMπ'."""
    values = 0.5 - policy @ P
    return float(maximize_in_kl_ball(values, tau=tau, log_reference=log_ref) @ values)


def _penalty_gap(P: Array, policy: Array, log_ref: Array, weight: float) -> float:
    """max over π' of −πᵀMπ' − weight·KL(π'‖π_ref), plus weight·KL(π‖π_ref)."""
    values = 0.5 - policy @ P
    return weight * (float(logsumexp(log_ref + values / weight)) + kl_from_log(policy, log_ref))


def _inside(policy: Array, log_ref: Array, tau: float) -> Array:
    """`policy`, summing to one, mixed with the reference until KL ≤ tau: KL is convex and 0 at the reference."""
    policy = policy / policy.sum()
    distance = kl_from_log(policy, log_ref)
    if distance <= tau:
        return policy
    share = (distance - tau) / distance
    return (1.0 - share) * policy + share * np.exp(log_ref)


def _in_ball(P: Array, log_ref: Array, tau: float, target: float) -> tuple[Array, str]:
    """The candidate for `nlhf` and the method it comes from, easiest game first."""
    if tau == math.inf:
        return _lottery(P, target)
    reference = np.exp(log_ref)
    if tau == 0.0:
        return reference, "the reference"

    def gap(policy: Array) -> float:
        return _ball_gap(P, policy, log_ref, tau)

    newton = fixed_point(P, log_ref, target, tau=tau)
    if newton is not None:
        newton = _inside(newton, log_ref, tau)
        if gap(newton) <= target / AIM:
            return newton, "Newton on the response map"
    # A sparse equilibrium of the unconstrained game is cheap to find, and is the answer where the ball contains it.
    sparse = _sparse_lottery(P, target)
    if sparse is not None and kl_from_log(sparse, log_ref) <= tau:
        return sparse, "growing support"
    attempts = [NEAR_END, 0.01 * NEAR_END]

    def candidate(point: PathPoint) -> Array:
        """The point itself, or where Newton leads from it: tried twice, where the ball looks active."""
        policy = _inside(point.policy(), log_ref, tau)
        if attempts and point.complementarity() <= attempts[0] and point.lam > point.k:
            attempts.pop(0)
            finished = fixed_point(P, log_ref, target, tau=tau, start=policy, slope=1.0 / point.lam)
            if finished is not None:
                return _inside(finished, log_ref, tau)
        return policy

    path = central_path(P, log_reference=log_ref, tau=tau)
    return _best_on_path(path, candidate, gap, target), "interior point"


def _lottery(P: Array, target: float) -> tuple[Array, str]:
    """An equilibrium of the game on all policies and the method it comes from."""
    unbeaten = P.min(axis=1) >= 0.5
    if unbeaten.any():
        return unbeaten / unbeaten.sum(), "unbeaten alternatives"
    sparse = _sparse_lottery(P, target)
    if sparse is not None:
        return sparse, "growing support"
    return _dense_lottery(P, target), "interior point"


def _dense_lottery(P: Array, target: float) -> Array:
    """An equilibrium by the central path, its support solved exactly as soon as the path has told it apart."""
    return _best_on_path(
        central_path(P), lambda point: _crossover(P, point), lambda policy: _lottery_gap(P, policy), target
    )


def _sparse_lottery(P: Array, target: float) -> Array | None:
    """An equilibrium by growing support (double oracle), None once the support is no longer small.

    The support at least keeps pace with its own size, so that all the games on the way cost less than the last.
    """
    A = P.shape[0]
    if A <= SMALL:
        return None
    # The alternatives of the highest Borda score are the ones a lottery mostly uses.
    support = np.argpartition(-P.sum(axis=1), SMALL // 4)[: SMALL // 4]
    while support.size <= max(SMALL, SPARSE_SHARE * A):
        policy = np.zeros(A)
        policy[support] = _dense_lottery(P[np.ix_(support, support)], target)
        used = np.flatnonzero(policy)
        values = 0.5 - policy[used] @ P[used]
        values[support] = -np.inf
        better = np.flatnonzero(values > target)
        if better.size == 0:
            return policy
        room = max(SMALL // 4, support.size)
        if better.size > room:
            better = better[np.argpartition(-values[better], room)[:room]]
        support = np.concatenate([support, better])
    return None


def _crossover(P: Array, point: PathPoint) -> Array:
    """The policy whose support B = {π > s} is indifferent: P_BB-payoffs all equal; the path's own policy if not ≥ 0."""
    policy = point.policy()
    B = np.flatnonzero(point.pi > point.s)
    size = B.size
    if size == 0 or point.complementarity() > SUPPORT_SEEN:
        return policy
    system = np.zeros((size + 1, size + 1))
    system[:size, :size] = P[np.ix_(B, B)] - 0.5
    system[:size, size] = -1.0
    system[size, :size] = 1.0
    right = np.zeros(size + 1)
    right[size] = 1.0
    right -= system @ np.append(policy[B], 0.0)
    try:
        change = np.linalg.solve(system, right)
    except np.linalg.LinAlgError:
        change = np.linalg.lstsq(system, right, rcond=None)[0]
    exact = np.zeros(policy.size)
    exact[B] = policy[B] + change[:size]
    if not (np.isfinite(change).all() and exact.min() >= 0 and exact.sum() > 0):
        return policy
    return exact / exact.sum()


def _best_on_path(
    path: Iterable[PathPoint],
    candidate: Callable[[PathPoint], Array],
    gap: Callable[[Array], float],
    target: float,
) -> Array:
    """The candidate of smallest gap along the path, which ends at a gap ≤ target or where it stops falling."""
    best, best_gap, waited = None, math.inf, 0
    for point in path:
        if best is not None and point.complementarity() > NEAR_END:
            continue
        policy = candidate(point)
        now = gap(policy)
        waited = 0 if now < 0.5 * best_gap else waited + 1
        if now < best_gap or best is None:
            best, best_gap = policy, now
        if best_gap <= target or (waited >= PATIENCE and point.complementarity() < target):
            break
    assert best is not None  # the path yields its start
    return best
