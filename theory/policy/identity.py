"""IPO: ΨPO with the identity, the policy of a KL ball that wins most often against a fixed law of opponents.

    max_{π∈K} S_μ(π),   S_μ(π) = P(π ≻ μ) = Σ_x π(x) Σ_y μ(y) P(x≻y)

S_μ is Borda's score, so without a constraint this is Borda's rule, and in a ball Borda's score takes the place that
the Bradley–Terry reward has in RLHF. On-policy pairs mean μ = π_ref. What is trained is the squared loss of `ipo_loss`;
its minimum is `ipo_penalty`, which is the same with a penalty, as long as pairs are drawn from a product law.

Source: Azar et al. (arXiv 2310.12036).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse.csgraph import connected_components

from theory.bradley_terry import compared_pairs
from theory.policy.kl_ball import maximize_in_kl_ball
from theory.policy.rewards import mean_over_comparisons, rlhf_penalty
from theory.validate import (
    Array,
    as_vector,
    check_distribution,
    check_positive,
    check_reciprocal,
    check_squares,
    check_win_rates,
)

#: Scores closer than this are ties, split by the reference: rounding of a sum of win rates.
SCORE_TIE_TOLERANCE = 1e-14


def ipo(
    win_rates: ArrayLike,
    mu: ArrayLike,
    reference: ArrayLike | None = None,
    tau: float = math.inf,
    *,
    log_reference: ArrayLike | None = None,
) -> Array:
    """IPO in the population limit: max_{π∈K} P(π ≻ μ), K = {π : KL(π‖π_ref) ≤ tau}. Ties follow the reference.

    Parameters
    ----------
    win_rates : array_like, (A, A)
        P(x≻y) in [0, 1], P(x≻y) + P(y≻x) = 1.
    mu : array_like, (A,)
        Law of the opponent, probabilities; class masses on a collapsed instance.
    reference : array_like, (A,), optional
        π_ref, probabilities with full support.
    tau : float
        KL budget in nats, ≥ 0; inf: no constraint. A finite one needs a reference.
    log_reference : array_like, (A,), optional
        log π_ref in nats, in place of `reference` where that underflows.

    Returns
    -------
    ndarray, (A,)
        The policy.

    Raises
    ------
    ValueError
        Malformed input; the message names the entry.

    References
    ----------
    Azar et al. (arXiv 2310.12036), section 4; what it loses: paper/sections/distortion_ball_proofs.tex.

    Examples
    --------
    >>> from theory.policy import ipo
    >>> P = [[0.5, 0.6, 0.7], [0.4, 0.5, 0.9], [0.3, 0.1, 0.5]]
    >>> ipo(P, mu=[0.2, 0.3, 0.5], reference=[0.2, 0.3, 0.5], tau=0.1).round(3)
    array([0.262, 0.455, 0.282])
    >>> ipo(P, mu=[0.2, 0.3, 0.5])
    array([0., 1., 0.])
    """
    P = check_win_rates(win_rates)
    scores = P @ check_distribution("mu", mu, P.shape[0])
    return maximize_in_kl_ball(scores, reference, tau, log_reference=log_reference, tie_tolerance=SCORE_TIE_TOLERANCE)


def ipo_scores(win_rates: ArrayLike, pair_weights: ArrayLike) -> Array:
    """The scores g that IPO's loss fits: least squares of g(x) − g(y) on P(x≻y) − ½ over the compared pairs.

    With pairs drawn from a product law μ × μ they are Borda's scores S_μ less a constant; with other pairs they are
    not, and go the way of the fitted reward (D11).

    Parameters
    ----------
    win_rates : array_like, (A, A)
        P(x≻y) in [0, 1], P(x≻y) + P(y≻x) = 1.
    pair_weights : array_like, (A, A)
        Law of the compared pair: symmetric, nonnegative, sum one; class masses on a collapsed instance.

    Returns
    -------
    ndarray, (A,)
        Of mean zero under the marginal of the pair law.

    Raises
    ------
    ValueError
        Malformed input, or alternatives that no chain of pairs joins.

    Examples
    --------
    >>> from theory.policy import ipo_scores
    >>> P, third = [[0.5, 0.6, 0.7], [0.4, 0.5, 0.9], [0.3, 0.1, 0.5]], 1 / 3
    >>> ipo_scores(P, [[third * third] * 3] * 3).round(4)
    array([ 0.1,  0.1, -0.2])
    """
    P = check_win_rates(win_rates)
    A = len(P)
    Q = compared_pairs(pair_weights, A)
    if A == 1:
        return np.zeros(1)
    part = connected_components(Q > 0.0, directed=False)[1]  # one label for all that chains of pairs join
    if part.any():
        raise ValueError(
            f"pair_weights joins alternatives 0 and {int((part > 0).argmax())} by no chain of compared pairs"
        )
    # each row by its own mass: a class that is hardly compared weighs 1/N
    mass = Q.sum(axis=1)
    rows = np.eye(A) - Q / mass[:, None]
    aims = (Q * (P - 0.5)).sum(axis=1) / mass
    ground = int(mass.argmax())
    keep = np.arange(A) != ground
    g = np.zeros(A)
    g[keep] = np.linalg.solve(rows[np.ix_(keep, keep)], aims[keep])
    return g - np.asarray(pair_weights, dtype=np.float64).sum(axis=1) @ g


def ipo_penalty(
    win_rates: ArrayLike,
    pair_weights: ArrayLike,
    reference: ArrayLike | None,
    kl_beta: float,
    *,
    log_reference: ArrayLike | None = None,
) -> Array:
    """Tabular IPO on all alternatives, argmin over policies of `ipo_loss`: π ∝ π_ref·exp(g/kl_beta), g `ipo_scores`.

    Parameters
    ----------
    win_rates : array_like, (A, A)
        P(x≻y) in [0, 1], P(x≻y) + P(y≻x) = 1.
    pair_weights : array_like, (A, A)
        Law of the compared pair: symmetric, nonnegative, sum one; class masses on a collapsed instance.
    reference : array_like, (A,), or None
        π_ref, probabilities with full support; None with `log_reference`.
    kl_beta : float
        τ of the paper, > 0: log-ratios are at most 1/(2·kl_beta) apart on a pair that always ends the same way.
    log_reference : array_like, (A,), optional
        log π_ref in nats, in place of `reference` where that underflows.

    Returns
    -------
    ndarray, (A,)
        The policy.

    Raises
    ------
    ValueError
        Malformed input, or alternatives that no chain of pairs joins.

    References
    ----------
    Azar et al. (arXiv 2310.12036), section 5.2.

    Examples
    --------
    >>> from theory.policy import ipo_penalty
    >>> ipo_penalty([[0.5, 1.0], [0.0, 0.5]], [[0.25, 0.25], [0.25, 0.25]], [0.5, 0.5], kl_beta=0.5).round(4)
    array([0.7311, 0.2689])
    """
    weight = check_positive("kl_beta", kl_beta)
    return rlhf_penalty(ipo_scores(win_rates, pair_weights), reference, weight, log_reference=log_reference)


def ipo_loss(log_ratio: ArrayLike, win_rates: ArrayLike, pair_weights: ArrayLike, kl_beta: float) -> float:
    """Population IPO loss E[(h − 1/(2·kl_beta))²], h the winner's log-ratio less the loser's, over compared pairs.

    Parameters
    ----------
    log_ratio : array_like, (A,)
        log π/π_ref, nats; a constant that all share does not matter.
    win_rates : array_like, (A, A)
        P(x≻y) in [0, 1], P(x≻y) + P(y≻x) = 1.
    pair_weights : array_like, (A, A)
        Law of the compared pair: symmetric, nonnegative, sum one.
    kl_beta : float
        τ of the paper, > 0.

    Returns
    -------
    float
        In nats squared.

    Raises
    ------
    ValueError
        Malformed input, or no mass on pairs of different alternatives.

    References
    ----------
    Azar et al. (arXiv 2310.12036), equation 17.

    Examples
    --------
    >>> from theory.policy import ipo_loss
    >>> ipo_loss([0.0, 0.0], [[0.5, 0.7], [0.3, 0.5]], [[0.25, 0.25], [0.25, 0.25]], kl_beta=0.5)
    1.0
    """
    P = check_win_rates(win_rates)
    lr = check_squares("log_ratio", as_vector("log_ratio", log_ratio, len(P)))
    margin = 0.5 / check_reciprocal("kl_beta", kl_beta)
    return mean_over_comparisons((lr[:, None] - lr[None, :] - margin) ** 2, P, pair_weights)
