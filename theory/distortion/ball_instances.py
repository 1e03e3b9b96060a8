"""Instances on which methods lose in a KL ball whatever its radius, and the factor of IPO for pairs of any law.

| function | what it shows |
|---|---|
| tight_ball_instance | L(β) is lost at every KL budget by NLHF, RLHF and IPO alike (D9, D19) |
| mismatch_instance | IPO and RLHF lose cosh²(β/2) in a ball when the pairs do not come from the reference (D18) |

Both are ours; proofs in `paper/sections/distortion_ball_proofs.tex`.
"""

from __future__ import annotations

import math

import numpy as np

from theory.bradley_terry import Population, product_pairs
from theory.distortion.instance import Instance
from theory.distortion.instances import clone_names, require_normal
from theory.numerics import centred_sigmoid
from theory.validate import (
    LARGEST_TABLE,
    as_number,
    check_between,
    check_bt_beta,
    check_finite,
    check_reciprocal,
    check_tau,
    check_whole,
)

#: Share of the margin for a that comparisons among a and b may take away in `mismatch_instance`.
SPOILED = 0.1


def ipo_factor(bt_beta: float) -> float:
    """cosh²(β/2) = φ′(0)/φ′(1): the exact worst case of IPO in a KL ball, for pairs of any law μ.

    With on-policy pairs (μ in the ball, for instance μ = π_ref) the worst case is `borda_factor` instead.

    Parameters
    ----------
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.

    Returns
    -------
    float
        ≥ 1; inf where it exceeds float64, from β = 708.

    Raises
    ------
    ValueError
        bt_beta is not a finite number > 0.

    References
    ----------
    Ours; proof in paper/sections/distortion_ball_proofs.tex.

    Examples
    --------
    >>> from theory.distortion import ipo_factor
    >>> round(ipo_factor(5.0), 4)
    37.605
    """
    half = check_bt_beta(bt_beta) / 2
    return math.cosh(half) ** 2 if half < 354.0 else math.inf


def tight_ball_instance(
    bt_beta: float, xi: float, log_epsilon: float, tau: float, epsilon: float = 1e-4, *, clones: int = 1
) -> Instance:
    """Alternatives s, o and z on which methods lose L(β)/ξ at every KL budget, as log ε → −∞.

    Two types with the utilities of I3 on s and o, and 0 on z: a share w_s = (σ(βε₀) − ½)/(σ(β) + σ(βε₀) − 1) values s
    at 1, the rest values o at ξε₀, ε₀ = `epsilon`. The reference has mass ε = e^log_epsilon on s and on each o, and the
    rest on z. A budget buys about tau/|log ε| ≫ ε of mass for s and o, so z hardly counts; o beats s if ξ > 1, although
    s is worth L/ξ times o. Pairs are uniform; the loss does not depend on them.

    Parameters
    ----------
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.
    xi : float
        ξ ≥ 1 with ξ·epsilon ≤ 1; at ξ = 1 all comparisons among s and o are fair coins, above L(β) nothing is lost.
    log_epsilon : float
        log ε, nats; ε(1 + clones) < 1.
    tau : float
        KL budget of the ball, nats, > 0 and finite.
    epsilon : float
        ε₀ in (0, 1].
    clones : int
        ≥ 1 identical alternatives o.

    Returns
    -------
    Instance
        Population, pair law, reference, budget and names.

    Raises
    ------
    ValueError
        An argument out of range.

    References
    ----------
    Ours; proof in paper/sections/distortion_ball_proofs.tex. Types: Gölz, Haghtalab, Yang (arXiv 2505.23749), Thm 3.

    Examples
    --------
    >>> from theory.distortion import linear_factor, tight_ball_instance
    >>> from theory.policy import nlhf
    >>> i = tight_ball_instance(10.0, xi=1.03, log_epsilon=-650.0, tau=0.1)
    >>> nash = nlhf(i.win_rates, tau=i.tau, log_reference=i.log_reference, tolerance=1e-13)
    >>> round(i.distortion(nash.policy), 3), round(linear_factor(10.0) / 1.03, 3)
    (4.855, 4.855)
    """
    beta = check_bt_beta(bt_beta)
    epsilon = check_between("epsilon", epsilon, ends="(]")
    xi, log_epsilon = as_number("xi", xi), check_finite("log_epsilon", log_epsilon)
    if not (xi >= 1.0 and xi * epsilon <= 1.0):
        raise ValueError(f"xi = {xi} must be >= 1 with xi * epsilon <= 1 (epsilon = {epsilon})")
    clones = check_whole("clones", clones, 1, LARGEST_TABLE)
    if not log_epsilon < -math.log(1 + clones):
        raise ValueError(f"log_epsilon = {log_epsilon} must be below {-math.log(1 + clones):.4g}: z needs a mass")
    if not 0.0 < check_tau(tau) < math.inf:
        raise ValueError(f"tau = {tau} must be > 0 and finite")
    require_normal(beta, epsilon)
    faint, full = centred_sigmoid([beta * epsilon, beta]).tolist()
    share = faint / (full + faint)
    U = np.zeros((2, clones + 2))
    U[0, 0] = 1.0
    U[1, 1:-1] = xi * epsilon
    logs = np.full(clones + 2, float(log_epsilon))
    logs[-1] = math.log1p(-(1 + clones) * math.exp(log_epsilon))
    return Instance(
        population=Population(U, np.array([share, 1.0 - share])),
        pair_weights=product_pairs(np.full(clones + 2, 1.0 / (clones + 2))),
        log_reference=logs,
        tau=float(tau),
        multiplicity=np.ones(clones + 2),
        bt_beta=beta,
        names=("s", *clone_names("o", clones), "z"),
    )


def mismatch_instance(bt_beta: float, xi: float = 1.001, epsilon: float = 1e-4, eta: float = 1e-13) -> Instance:
    """Alternatives a, b, y on which IPO and RLHF in a ball pick a, although u(b)/u(a) → cosh²(β/2)/ξ as ε → 0.

    Nearly every comparison is with y. A share w₁ of the users has utilities (a, b, y) = (0, ε, 1) and hardly sees the
    difference between b and a from so far away: it is worth φ(1) − φ(1−ε) ≈ φ′(1)ε against y. The rest has (ξε, 0, 0),
    sees it from near, φ(ξε) ≈ φ′(0)ξε, and decides for a where ξ > 1; w₁ is where the two are equal at ξ = 1. The
    reference has (1−ε′)/2 on a and on b and ε′ = e^{−2/η} on y; tau = 1 nat, so that y is out of reach as in I6.

    Parameters
    ----------
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.
    xi : float
        ξ > 1 with ξ·epsilon ≤ 1.
    epsilon : float
        ε in (0, 1].
    eta : float
        η > 0: the mass that the budget buys on y is about 0.15·η, which must be small beside the utility of a, about
        ε/cosh²(β/2).

    Returns
    -------
    Instance
        Population, pair law, reference, budget and names.

    Raises
    ------
    ValueError
        An argument out of range.

    References
    ----------
    Ours; proof in paper/sections/distortion_ball_proofs.tex.

    Examples
    --------
    >>> from theory.distortion import mismatch_instance
    >>> from theory.policy import ipo, rlhf
    >>> i = mismatch_instance(5.0)  # cosh²(2.5) = 37.605
    >>> by_ipo = ipo(i.win_rates, i.mu, tau=i.tau, log_reference=i.log_reference)
    >>> by_rlhf = rlhf(i.win_rates, i.pair_weights, tau=i.tau, log_reference=i.log_reference)
    >>> round(i.distortion(by_ipo), 2), round(i.distortion(by_rlhf), 2)
    (37.56, 37.56)
    """
    beta, xi, epsilon = check_bt_beta(bt_beta), as_number("xi", xi), as_number("epsilon", epsilon)
    if not 1e-150 < beta < 700.0:
        raise ValueError(f"bt_beta = {bt_beta} must be in (1e-150, 700): cosh(bt_beta) is beyond float64 otherwise")
    if not (xi > 1.0 and epsilon > 0.0 and xi * epsilon <= 1.0):
        raise ValueError(f"xi = {xi} must be > 1 and epsilon = {epsilon} > 0 with xi * epsilon <= 1")
    log_rare = -2.0 / check_reciprocal("eta", eta)
    if not (math.exp(log_rare) < 1.0 and beta * epsilon * epsilon > 1e-300):
        raise ValueError(f"eta = {eta} or epsilon = {epsilon} leaves a and b, or a type of user, no mass")
    near, above = centred_sigmoid([beta * epsilon, beta * xi * epsilon]).tolist()
    # φ(1) − φ(1−ε) without the difference: tanh x − tanh y = sinh(x − y)/(cosh x cosh y)
    far = 0.5 * math.sinh(beta * epsilon / 2) / (math.cosh(beta / 2) * math.cosh(beta * (1 - epsilon) / 2))
    share = near / (near + far)
    margin = (1 - share) * above - share * far
    if not margin > 0.0:
        raise ValueError(f"xi = {xi} is too close to 1 for epsilon = {epsilon} and bt_beta = {beta}: b does not win")
    kappa = min(0.1, SPOILED * margin / (2 * share * near))
    log_half = math.log1p(-math.exp(log_rare)) - math.log(2.0)
    return Instance(
        population=Population(np.array([[0.0, epsilon, 1.0], [xi * epsilon, 0.0, 0.0]]), np.array([share, 1 - share])),
        pair_weights=product_pairs(np.array([kappa, kappa, 1 - 2 * kappa])),
        log_reference=np.array([log_half, log_half, log_rare]),
        tau=1.0,
        multiplicity=np.ones(3),
        bt_beta=beta,
        names=("a", "b", "y"),
    )
