"""What IPO, RLHF and NLHF lose in a KL ball whatever its radius: claims D9 (attained), D18 and D19.

None of these functions calls the closed form that its estimate is judged against.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulate.montecarlo import Estimate, Experiments, ratio_to_mean
from simulate.profiles import Profile
from simulate.users import sample_comparisons
from theory.distortion.ball_instances import mismatch_instance, tight_ball_instance
from theory.distortion.factors import optimal_gamma
from theory.distortion.instance import Instance
from theory.distortion.instances import borda_instance
from theory.policy.identity import ipo
from theory.policy.kl_ball import maximize_in_kl_ball
from theory.policy.nash import nlhf
from theory.policy.rewards import rlhf
from theory.validate import Array

Rng = np.random.Generator

#: Users of a sample: their cost does not grow with their number, and margins of 1e-7 are seen.
USERS = 10**18
#: Gap of NLHF: what is at stake among faint alternatives that a small budget hardly reaches is about 1e-10.
GAP = 1e-13
#: method → policy of the instance's own ball from these win rates.
IN_BALL: dict[str, Callable[[Instance, Array], Array]] = {
    "ipo": lambda i, rates: ipo(rates, i.mu, tau=i.tau, log_reference=i.log_reference),
    "rlhf": lambda i, rates: rlhf(rates, i.pair_weights, tau=i.tau, log_reference=i.log_reference),
    "nlhf": lambda i, rates: nlhf(rates, tau=i.tau, log_reference=i.log_reference, tolerance=GAP).policy,
}


def _sampled(instance: Instance, method: str, rng: Rng, profile: Profile) -> Estimate:
    """Distortion max_K u / E[u(policy)] of a method on samples of the instance."""
    u = instance.population.average_utility
    best = float(u @ maximize_in_kl_ball(u, tau=instance.tau, log_reference=instance.log_reference))
    utilities = []
    for _ in range(profile.repeats):
        data = sample_comparisons(instance.population, instance.bt_beta, instance.pair_weights, USERS, rng=rng)
        utilities.append(float(u @ IN_BALL[method](instance, data.win_rates(unobserved=0.5))))
    return ratio_to_mean(best, utilities)


def attained(bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D18: IPO on I5 at γ* with its sampling law as the reference and room to reach every alternative."""
    i = borda_instance(bt_beta, 1e-3, optimal_gamma(bt_beta))
    on_policy = Instance(i.population, i.pair_weights, np.log(i.mu), 50.0, i.multiplicity, bt_beta, i.names)
    return _sampled(on_policy, "ipo", rng, profile)


def mismatch(method: str, bt_beta: float, xi: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D18: IPO or RLHF on samples, where nearly every comparison is with an alternative outside the ball."""
    return _sampled(mismatch_instance(bt_beta, xi, 3e-3, 1e-11), method, rng, profile)


def mismatch_limit(method: str, bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D18: the same in the population limit, closer to the limits of the instance's parameters."""
    instance = mismatch_instance(bt_beta)
    return Estimate(instance.distortion(IN_BALL[method](instance, instance.win_rates)))


def tight_ball(method: str, bt_beta: float, tau: float, xi: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D19: a method in a ball whose reference hardly has s and o."""
    return _sampled(tight_ball_instance(bt_beta, xi, -650.0, tau), method, rng, profile)


def nlhf_in_tight_ball(bt_beta: float, tau: float, xi: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D9: the same for NLHF."""
    return tight_ball("nlhf", bt_beta, tau, xi, rng=rng, profile=profile)


def clones_in_tight_ball(bt_beta: float, tau: float, clones: int, *, rng: Rng, profile: Profile) -> Estimate:
    """D19: NLHF where every comparison but those with z is a fair coin, so that it cannot know which is s."""
    instance = tight_ball_instance(bt_beta, 1.0, -650.0, tau, clones=clones)
    return Estimate(instance.distortion(IN_BALL["nlhf"](instance, instance.win_rates)))


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "D9.attained": nlhf_in_tight_ball,
    "D18.attained": attained,
    "D18.mismatch": mismatch,
    "D18.mismatch_limit": mismatch_limit,
    "D19.rules": tight_ball,
    "D19.clones": clones_in_tight_ball,
}
