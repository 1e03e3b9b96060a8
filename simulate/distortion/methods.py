"""Every rule and method on finite samples of the literature's instances and of a random population.

These rows are measurements beside the claims: no theorem predicts what Borda does with 10⁴ users of I5. They show how
many users it takes until the population limits of D1–D13 can be seen.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from simulate.montecarlo import Estimate, Experiments, generator, mean, ratio_to_mean
from simulate.populations import population_of
from simulate.profiles import Profile
from simulate.users import sample_comparisons
from theory.bradley_terry import Population
from theory.claim import Setting, grid
from theory.distortion.instance import Instance
from theory.distortion.instances import borda_instance, condorcet_instance, correlated_instance, uniform_instance
from theory.distortion.measure import distortion
from theory.distortion.methods import METHODS, Situation
from theory.policy.kl_ball import maximize_in_kl_ball

Rng = np.random.Generator

#: KL budget of the constrained methods, nats, around the uniform policy.
TAU = 0.5
SETTINGS: tuple[Setting, ...] = grid(population=("I3", "I5", "I9", "random"), bt_beta=(5.0,), n_users=(10**4, 10**8))


def instance_by_name(population: str, bt_beta: float) -> Instance:
    """I3, I5 and I9 with parameters mild enough for finite samples to resolve, or a random population (fixed)."""
    if population == "I3":
        return condorcet_instance(bt_beta, 4, 0.05, xi=1.2)
    if population == "I5":
        return borda_instance(bt_beta, 0.05)
    if population == "I9":
        return correlated_instance(bt_beta, 12, 12.0**-3)
    if population == "random":
        rng = generator(0, "random population")
        return uniform_instance(Population(rng.random((5, 6)), rng.dirichlet(np.ones(5))), bt_beta)
    raise ValueError(f"population = {population!r} must be I3, I5, I9 or random")


def sampled_method(
    method: str, population: str, bt_beta: float, n_users: int, *, rng: Rng, profile: Profile
) -> Estimate:
    """Distortion u*/E[u(π̂)] of one method on samples of n users, one comparison (or one ranking) each.

    A pair that no sampled user compared counts as a tie. Rules on rankings see the sampled types' exact rankings law.
    """
    entry = METHODS[method]
    instance = instance_by_name(population, bt_beta)
    people, u = instance.population, instance.population.average_utility
    tau = TAU if entry.ball else math.inf
    best = float(u @ maximize_in_kl_ball(u, tau=tau, log_reference=instance.log_reference))
    utilities = []
    for _ in range(max(profile.repeats, 2)):
        data = sample_comparisons(people, bt_beta, instance.pair_weights, n_users, rng=rng)
        voters = Population(people.utilities, rng.multinomial(n_users, people.weights) / n_users)
        seen = Situation(
            data.win_rates(unobserved=0.5), bt_beta, instance.pair_weights, instance.log_reference, TAU, voters
        )
        utilities.append(float(u @ entry.run(seen)))
    return ratio_to_mean(best, utilities)


def on_family(
    method: str, family: str, n_types: int, n_alternatives: int, bt_beta: float, *, rng: Rng, profile: Profile
) -> Estimate:
    """Mean distortion of one method over random populations of a family, population limit."""
    entry, distortions = METHODS[method], []
    tau = TAU if entry.ball else math.inf
    for _ in range(max(profile.repeats, 2)):
        users = population_of(family, n_types, n_alternatives, rng)
        instance = uniform_instance(users, bt_beta)
        seen = Situation(
            instance.win_rates, bt_beta, instance.pair_weights, instance.log_reference, TAU, instance.population
        )
        distortions.append(distortion(users, entry.run(seen), tau=tau, log_reference=instance.log_reference))
    return mean(distortions)


#: Rows that no claim judges: `claim.name` → what measures them, and at which settings. Tables and figures show them.
MEASUREMENTS = {f"D14.sampled_{method}": (partial(sampled_method, method), SETTINGS) for method in METHODS}
#: For sweeps: `methods.METHOD` → its distortion on families of populations.
ON_FAMILIES: Experiments = {f"methods.{method}": partial(on_family, method) for method in METHODS}
