"""Distortion: how far a policy falls short of the users' average utility, and the constants that bound it.

    distortion of π on an instance = max_{π'∈K} u(π') / u(π),   u(π) = Σ_x π(x) Σ_v w_v U[v,x],

K the KL ball of the instance.

Source: Gölz, Haghtalab, Yang (arXiv 2505.23749), section 2.
"""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from theory.bradley_terry import Population, check_population
from theory.policy.kl_ball import KLBall
from theory.validate import check_distribution


def distortion(
    population: Population,
    policy: ArrayLike,
    reference: ArrayLike | None = None,
    tau: float = math.inf,
    *,
    log_reference: ArrayLike | None = None,
) -> float:
    """max_{π'∈K} u(π') / u(policy) on one population; ≥ 1 for a policy inside K = {π' : KL(π'‖π_ref) ≤ tau}.

    On an `Instance` use `instance.distortion(policy)`, which knows the instance's own ball: called with its population
    alone, this function's benchmark may leave the ball.

    Parameters
    ----------
    population : Population
        User types over A alternatives, each listed by itself.
    policy : array_like, (A,)
        Probabilities.
    reference : array_like, (A,), optional
        π_ref, probabilities with full support.
    tau : float
        KL budget in nats, ≥ 0; inf: no constraint. A finite one needs a reference.
    log_reference : array_like, (A,), optional
        log π_ref in nats, in place of `reference` where that underflows.

    Returns
    -------
    float
        inf where u(policy) = 0.

    Raises
    ------
    ValueError
        Malformed input, or every policy in K has utility 0, where the ratio means nothing.

    References
    ----------
    Gölz, Haghtalab, Yang (arXiv 2505.23749), section 2.

    Examples
    --------
    >>> from theory.distortion import distortion
    >>> from theory import Population
    >>> users = Population([[1.0, 0.2, 0.0], [0.0, 0.2, 0.3]], weights=[0.3, 0.7])
    >>> round(distortion(users, [0.0, 0.0, 1.0]), 4)
    1.4286
    """
    u = check_population(population).average_utility
    pi = check_distribution("policy", policy, u.size)
    best = float(u @ KLBall.around(u.size, reference, log_reference, tau).maximize(u))
    if best == 0.0:
        raise ValueError("every policy in the ball has average utility 0: distortion is undefined")
    achieved = float(u @ pi)
    return math.inf if achieved == 0.0 else best / achieved
