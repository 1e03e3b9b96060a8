"""Rules on Plackett–Luce rankings, on the families that show how badly they grow: claim D7."""

from __future__ import annotations

import numpy as np

from simulate.montecarlo import Estimate, Experiments, ratio_to_mean
from simulate.profiles import Profile
from simulate.users import play_plurality_veto, sample_keys
from theory.bradley_terry import Population
from theory.distortion.measure import distortion
from theory.social_choice import rankings

Rng = np.random.Generator


def plurality_family(bt_beta: float, n_alternatives: int, *, rng: Rng, profile: Profile) -> Estimate:
    """D7: plurality with 10¹⁵ voters, first places drawn type by type."""
    population = rankings.plurality_family(bt_beta, n_alternatives, margin=1e-4)
    tops = np.array([rankings.top_choice(Population(row[None]), bt_beta) for row in population.utilities])
    u = population.average_utility
    utilities = []
    for _ in range(profile.repeats):
        voters = rng.multinomial(10**15, population.weights)
        winner = int(rng.multinomial(voters, tops / tops.sum(axis=1, keepdims=True)).sum(axis=0).argmax())
        utilities.append(float(u[winner]))
    return ratio_to_mean(float(u.max()), utilities)


def random_dictator_family(bt_beta: float, n_alternatives: int, *, rng: Rng, profile: Profile) -> Estimate:
    """D7: dictators drawn one by one; the family's utilities are so faint that their choice is a coin of A sides."""
    population = rankings.random_dictator_family(bt_beta, n_alternatives)
    keys = sample_keys(population, bt_beta, 200 * profile.replicates, rng)
    u = population.average_utility
    return ratio_to_mean(float(u.max()), u[keys.argmax(axis=1)])


def veto_family(bt_beta: float, n_alternatives: int, rule: str, *, rng: Rng, profile: Profile) -> Estimate:
    """D7: Plurality Veto, or its pruned form, on the family, population limit."""
    population = rankings.veto_family(bt_beta, n_alternatives, kappa=1e-3)
    run = {"plain": rankings.plurality_veto, "pruned": rankings.pruned_plurality_veto}[rule]
    return Estimate(distortion(population, run(population, bt_beta)))


def veto_played(bt_beta: float, n_alternatives: int, *, rng: Rng, profile: Profile) -> Estimate:
    """D7: Plurality Veto played by 20 000 voters on a member of the family with a clear margin."""
    population = rankings.veto_family(bt_beta, n_alternatives, kappa=0.5, margin=0.5)
    u = population.average_utility
    winners = [play_plurality_veto(sample_keys(population, bt_beta, 20_000, rng)) for _ in range(profile.repeats)]
    return ratio_to_mean(float(u.max()), u[winners])


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "D7.plurality": plurality_family,
    "D7.random_dictator": random_dictator_family,
    "D7.veto": veto_family,
    "D7.veto_played": veto_played,
}
