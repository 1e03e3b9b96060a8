"""Equilibria of the win-rate game: maximal lotteries and Nash learning from human feedback (NLHF).

Two players choose policies; π earns πᵀMπ' against π', where M = P − ½ (A, A) is antisymmetric. The game is
symmetric and worth 0, and an equilibrium strategy is one policy that no policy of the same set beats:

    max over π ∈ K of min over π' ∈ K of πᵀMπ',    K = {π : KL(π‖π_ref) ≤ tau}   (tau = ∞: every policy),

or its penalty form, with −weight·KL(π‖π_ref) + weight·KL(π'‖π_ref) in the payoff. The certificate of every
solution is its exploitability, what the best response to the returned policy gains, in closed form; the largest
that is accepted shrinks with the payoffs where they are faint, max|M| < 10⁻³. How it is
found is `theory.policy.equilibrium`; the status of a solution names the method.

Source: Munos et al., "Nash learning from human feedback" (arXiv 2312.00886), for the game; Gölz, Haghtalab,
Yang, "Distortion of AI Alignment" (arXiv 2505.23749), Theorem 7 and Corollary 8 for its distortion,
Propositions 13 and 14 for the equivalence of the constrained and the penalty form.

Shapes: A alternatives; policies and references are (A,); KL and tau are in nats.
"""

from __future__ import annotations

import math
import warnings
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from theory.policy.equilibrium import Game, equilibrium
from theory.policy.kl_ball import KLBall
from theory.policy.lottery import most_mixed_lottery
from theory.solution import GAP_TOLERANCE, CertificateError, Solution, certified
from theory.validate import Array, check_positive, check_reciprocal, check_win_rates, check_word, require_reference

#: The methods aim below the certificate by this factor, so that rounding does not decide it.
AIM = 0.01
#: A KL constraint counts as active where less than this share of tau is left.
ACTIVE = 1e-6
#: Games whose largest |M| is below this are scaled up to order one, so that a gap means the same in every game: at
#: most 1e-6 of the largest payoff at the default tolerance.
FAINT = 1e-3
#: Where P + Pᵀ misses 1 by more than this share of the largest |M|, its margins are not there to be read.
READABLE = 0.01


def maximal_lottery(
    win_rates: ArrayLike, *, tolerance: float = GAP_TOLERANCE, choice: Literal["first", "max_entropy"] = "first"
) -> Solution:
    """A mixed equilibrium of the win-rate game: π ≥ 0, Σπ = 1 and πᵀM ≥ −gap entrywise, M = P − ½.

    Special cases: a Condorcet winner; the uniform policy where all win rates are ½. Games drawn from a density have one
    equilibrium. Where there are several, `choice` says which is returned.

    Parameters
    ----------
    win_rates : array_like, (A, A)
        P(x≻y) in [0, 1], P(x≻y) + P(y≻x) = 1.
    tolerance : float
        Largest gap that may be returned, > 0; where max|M| < 10⁻³, at most this times 4·max|M|.
    choice : {"first", "max_entropy"}
        Of several equilibria, "first": the average of the alternatives that lose to none, if any; else the first that
        is found, which depends on the order of the alternatives and on rounding. "max_entropy": the one of largest
        entropy, which is unique and treats clones alike.

    Returns
    -------
    Solution
        `gap` = max_y −(πᵀM)_y and `value` = −gap, what π guarantees (the game is worth 0).

    Raises
    ------
    ValueError
        Malformed input; the message names the entry.
    CertificateError
        The gap stays above `tolerance`.

    References
    ----------
    Fishburn (1984); Gölz, Haghtalab, Yang (arXiv 2505.23749), Theorem 2.

    Examples
    --------
    >>> from theory.policy import maximal_lottery
    >>> cycle = [[0.5, 0.6, 0.3], [0.4, 0.5, 0.8], [0.7, 0.2, 0.5]]
    >>> maximal_lottery(cycle).policy.round(4)
    array([0.5   , 0.3333, 0.1667])
    """
    P = check_win_rates(win_rates)
    check_word("choice", choice, ("first", "max_entropy"))
    ball = KLBall.around(P.shape[0], None, None, math.inf)
    return _solve(P, ball, 0.0, tolerance, most_mixed=choice == "max_entropy")


def nlhf(
    win_rates: ArrayLike,
    reference: ArrayLike | None = None,
    tau: float = math.inf,
    *,
    log_reference: ArrayLike | None = None,
    tolerance: float = GAP_TOLERANCE,
) -> Solution:
    """NLHF in the KL ball: max over π ∈ K of min over π' ∈ K of πᵀMπ', K = {π : KL(π‖π_ref) ≤ tau}, M = P − ½.

    Special cases: tau = inf is the maximal lottery, tau = 0 the reference.

    Parameters
    ----------
    win_rates : array_like, (A, A)
        P(x≻y) in [0, 1], P(x≻y) + P(y≻x) = 1.
    reference : array_like, (A,), optional
        π_ref, probabilities with full support.
    tau : float
        KL budget in nats, ≥ 0; inf: no constraint. A finite one needs a reference.
    log_reference : array_like, (A,), optional
        log π_ref in nats, in place of `reference` where that underflows.
    tolerance : float
        Largest gap that may be returned, > 0, as in `maximal_lottery`.

    Returns
    -------
    Solution
        π in K up to rounding (1e-12); `gap` = max over π' ∈ K of −πᵀMπ', `value` = −gap.

    Raises
    ------
    ValueError
        Malformed input; the message names the entry.
    CertificateError
        The gap stays above `tolerance`.

    References
    ----------
    Munos et al. (arXiv 2312.00886); Gölz, Haghtalab, Yang (arXiv 2505.23749), Theorem 7.

    Examples
    --------
    >>> from theory.policy import nlhf
    >>> cycle = [[0.5, 0.6, 0.3], [0.4, 0.5, 0.8], [0.7, 0.2, 0.5]]
    >>> nlhf(cycle, reference=[0.6, 0.2, 0.2], tau=0.01).policy.round(4)
    array([0.532, 0.223, 0.245])
    """
    P = check_win_rates(win_rates)
    return _solve(P, KLBall.around(P.shape[0], reference, log_reference, tau), 0.0, tolerance)


def nlhf_regularized(
    win_rates: ArrayLike,
    reference: ArrayLike | None,
    weight: float,
    *,
    log_reference: ArrayLike | None = None,
    tolerance: float = GAP_TOLERANCE,
) -> Solution:
    """NLHF with a KL penalty: max over π of min over π' of πᵀMπ' − weight·KL(π‖π_ref) + weight·KL(π'‖π_ref).

    The equilibrium is unique: π(x) ∝ π_ref(x)·exp((Mπ)(x)/weight). It solves `nlhf` at tau = KL(π‖π_ref). The gap is
    what the best response gains,

        gap = weight·log Σ_y π_ref(y)·exp(−(πᵀM)(y)/weight) + weight·KL(π‖π_ref).

    Parameters
    ----------
    win_rates : array_like, (A, A)
        P(x≻y) in [0, 1], P(x≻y) + P(y≻x) = 1.
    reference : array_like, (A,), or None
        π_ref, probabilities with full support; None with `log_reference`.
    weight : float
        > 0, win rate per nat.
    log_reference : array_like, (A,), optional
        log π_ref in nats, in place of `reference` where that underflows.
    tolerance : float
        Largest gap that may be returned, > 0, as in `maximal_lottery`.

    Returns
    -------
    Solution
        `value` = −gap, the payoff that π guarantees.

    Raises
    ------
    ValueError
        Malformed input; the message names the entry.
    CertificateError
        The gap stays above `tolerance`.

    References
    ----------
    Gölz, Haghtalab, Yang (arXiv 2505.23749), Corollary 8 and Proposition 14.

    Examples
    --------
    >>> from theory.policy import nlhf_regularized
    >>> cycle = [[0.5, 0.6, 0.3], [0.4, 0.5, 0.8], [0.7, 0.2, 0.5]]
    >>> nlhf_regularized(cycle, [0.6, 0.2, 0.2], weight=1.0).policy.round(4)
    array([0.5871, 0.2011, 0.2119])
    """
    P = check_win_rates(win_rates)
    weight = check_reciprocal("weight", weight)
    log_ref = require_reference(reference, log_reference, P.shape[0], "nlhf_regularized")
    return _solve(P, KLBall(log_ref), weight, tolerance)


def nlhf_cvxpy(win_rates: ArrayLike, reference: ArrayLike, tau: float, *, tolerance: float = 1e-6) -> Solution:
    """`nlhf` as one conic program in cvxpy (CLARABEL): the independent oracle, slow, to about 1e-8.

    The inner minimum is replaced by its dual: minimise t + tau·λ over π ∈ K, λ ≥ 0 and t subject to
    λ·Σ_y π_ref(y)·exp(((Mπ)(y) − t)/λ) ≤ λ, an exponential cone per alternative.

    Arguments, errors and certificate are those of `nlhf`, with tau finite and > 0. Feasibility and gap
    decide, not the status that CLARABEL reports: negative entries are set to 0, a policy outside the ball is
    mixed with the reference until it is inside, and the gap of the result is certified.
    """
    import cvxpy as cp

    P = check_win_rates(win_rates)
    tolerance = check_positive("tolerance", tolerance)
    A = P.shape[0]
    ball = KLBall.around(A, reference, None, check_positive("tau", tau))
    ref = np.exp(ball.log_reference)
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
        warnings.filterwarnings("ignore", "Solution may be inaccurate", UserWarning)  # the certificate below decides
        try:
            # The data are of order one, and CLARABEL's rescaling makes it stall at A = 2000.
            problem.solve(solver="CLARABEL", equilibrate_enable=False)
        except cp.error.SolverError as error:
            raise CertificateError(f"CLARABEL stopped without a point: {error}") from error
    if policy.value is None:
        raise CertificateError(f"CLARABEL stopped without a point: {problem.status}")
    game, scale = _scaled(P, ball, 0.0)
    inside = game.inside(np.maximum(policy.value, 0.0))
    return _vouched(game, scale, inside, f"cvxpy, CLARABEL: {problem.status}", tolerance)


def _solve(P: Array, ball: KLBall, weight: float, tolerance: float, *, most_mixed: bool = False) -> Solution:
    """The certified equilibrium of the game; of a free one the most mixed, if asked for."""
    tolerance = check_positive("tolerance", tolerance)
    # KL is convex and largest at a vertex, −log π_ref(x): from there on the ball holds every policy
    whole = ball.tau >= -ball.log_reference.min()
    game, scale = _scaled(P, KLBall(ball.log_reference) if whole else ball, weight)
    find = partial(most_mixed_lottery, game.P) if most_mixed else partial(equilibrium, game)
    policy, method = find(AIM * tolerance)
    if weight > 0:
        form = f"KL weight {weight:g}"
    elif not ball.bounded:
        form = "no KL constraint"
    else:
        slack = ball.tau - ball.distance(policy)
        # distances below rounding are told apart by what the ball keeps the best response from
        active = slack <= ACTIVE * ball.tau or float(game.payoffs(policy).max()) > tolerance
        form = "KL constraint " + ("active" if active else "inactive")
    return _vouched(game, scale, policy, f"{method}; {form}", tolerance)


def _vouched(game: Game, scale: float, policy: Array, status: str, tolerance: float) -> Solution:
    """The policy with its gap in the payoffs' own unit; judged in that of the game, whose payoffs are of order one."""
    gap = game.gap(policy)
    certified(Solution(policy, 0.0 - gap, gap, status), tolerance)
    return Solution(policy, 0.0 - gap * scale, gap * scale, status)


def _scaled(P: Array, ball: KLBall, weight: float) -> tuple[Game, float]:
    """The game, M over a power of two (which is exact) where it is faint, so that max|M| ≥ ¼; and that power, else 1.

    Scaled up, what P + Pᵀ misses of 1 counts too: a faint game is read as M = ½(P − Pᵀ).
    """
    largest = max(float(P.max()) - 0.5, 0.5 - float(P.min()))
    if largest >= FAINT or largest == 0.0:
        return Game(P, ball, weight), 1.0
    margins = P - 0.5
    slack = np.abs(margins + margins.T)
    if slack.max() > READABLE * largest:
        x, y = np.unravel_index(int(slack.argmax()), P.shape)
        raise ValueError(
            f"win_rates[{x}, {y}] + win_rates[{y}, {x}] misses 1 by {slack.max():.1e}, too much beside margins "
            f"of at most {largest:.1e}"
        )
    scale = math.ldexp(1.0, math.frexp(largest)[1] + 1)
    return Game(0.5 + 0.5 * (margins - margins.T) / scale, ball, weight / scale), scale
