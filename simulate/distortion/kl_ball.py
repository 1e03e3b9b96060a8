"""What RLHF and NLHF do in KL balls of every size, where a prediction that is a little off shows: claims D8, D9, D10.

The best reply that NLHF is held against is `maximize_in_kl_ball`, one exponential tilt, and no game solver.
"""

from __future__ import annotations

import numpy as np

from simulate.montecarlo import Estimate, Experiments
from simulate.populations import random_population
from simulate.profiles import Profile
from theory.bradley_terry import fit_rewards, product_pairs
from theory.distortion.instances import rlhf_instance
from theory.distortion.measure import distortion
from theory.policy.kl_ball import kl, maximize_in_kl_ball
from theory.policy.nash import nlhf, nlhf_regularized
from theory.policy.rewards import rlhf, rlhf_penalty

Rng = np.random.Generator


def rlhf_in_small_balls(bt_beta: float, tau: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D8: RLHF on I6 with a budget that does not reach from {a, b} to one of them."""
    instance = rlhf_instance(bt_beta)
    log_ref = instance.log_reference
    policy = rlhf(instance.win_rates, instance.pair_weights, tau=tau, log_reference=log_ref)
    return Estimate(distortion(instance.population, policy, tau=tau, log_reference=log_ref))


def unbeaten(bt_beta: float, tau: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D9: the smallest win rate of NLHF against any policy in its ball, random populations and references."""
    rates = []
    for _ in range(profile.repeats):
        P = random_population(rng).win_rates(bt_beta)
        reference = rng.dirichlet(np.full(len(P), 2.0))
        policy = nlhf(P, reference, tau).policy
        reply = maximize_in_kl_ball(P @ policy, reference, tau)
        rates.append(float(policy @ P @ reply))
    return Estimate(min(rates), n=profile.repeats)


def multiplier(method: str, weight: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D10: what a nat more is worth at the penalty's policy, central differences of the best value in the ball.

    Of RLHF the fitted reward; of NLHF the win rate against the policy itself. The one farthest from the weight. What is
    within 1 % of a single alternative is passed over: a larger ball holds that alternative, and nothing more.
    """
    slopes: list[float] = []
    while len(slopes) < profile.repeats:
        P = random_population(rng).win_rates(5.0)
        reference = rng.dirichlet(np.full(len(P), 2.0))
        if method == "nlhf":
            policy = nlhf_regularized(P, reference, weight).policy
            values = P @ policy
        else:
            values = fit_rewards(P, product_pairs(rng.dirichlet(np.full(len(P), 2.0)))).rewards
            policy = rlhf_penalty(values, reference, weight)
        if policy.max() > 0.99:
            continue
        tau = kl(policy, reference)
        more, less = (float(values @ maximize_in_kl_ball(values, reference, tau * f)) for f in (1.001, 0.999))
        slopes.append((more - less) / (0.002 * tau))
    return Estimate(max(slopes, key=lambda slope: abs(slope - weight)), n=profile.repeats)


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "D8.small_balls": rlhf_in_small_balls,
    "D9.unbeaten": unbeaten,
    "D10.multiplier": multiplier,
}
