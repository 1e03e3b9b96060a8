"""Distortion: how far a policy falls short of the users' average utility, and the constants that bound it.

    distortion of π on an instance = max_{π'∈K} u(π') / u(π),   u(π) = Σ_x π(x) Σ_v w_v U[v,x],

K the KL ball of the instance.

Source: Gölz, Haghtalab, Yang (arXiv 2505.23749), section 2.
"""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from theory.bradley_terry import Population
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
    """max_{π'∈K} u(π') / u(policy) on one population; ≥ 1 for a policy inside K, `inf` where u(policy) = 0.

    policy (A,) probabilities; reference or log_reference (A,) and tau in nats give the KL ball K, tau = inf the
    whole simplex. ValueError if every policy in K has utility 0, where the ratio means nothing.
    """
    u = population.average_utility
    pi = check_distribution("policy", policy, u.size)
    best = float(u @ KLBall.around(u.size, reference, log_reference, tau).maximize(u))
    if best == 0.0:
        raise ValueError("every policy in the ball has average utility 0: distortion is undefined")
    achieved = float(u @ pi)
    return math.inf if achieved == 0.0 else best / achieved
