"""How bad the law of winners can be for the average user, by ascent from random populations: claim R11."""

from __future__ import annotations

from scipy.optimize import minimize
from scipy.special import expit, softmax

from simulate.montecarlo import Estimate, Experiments, Rng
from simulate.populations import describe
from simulate.profiles import Profile
from theory.bradley_terry import Population
from theory.density_ratio.limits import comparison_laws
from theory.validate import Array

#: Bounds of the logits of utilities, weights and μ.
LOGIT = 12.0


def worst_target(bt_beta: float, n_alternatives: int, *, rng: Rng, profile: Profile) -> Estimate:
    """The largest u(μ)/u(p⁺) over two types of users and μ, p⁺ the law of winners of comparisons from μ."""

    def built(x: Array) -> tuple[Population, Array]:
        utilities = expit(2.0 * x[: 2 * n_alternatives].reshape(2, n_alternatives))
        weights, mu = softmax(x[2 * n_alternatives : 2 * n_alternatives + 2]), softmax(x[2 * n_alternatives + 2 :])
        return Population(utilities, weights / weights.sum()), mu / mu.sum()

    def negative_ratio(x: Array) -> float:
        population, mu = built(x)
        winners, _ = comparison_laws(population.win_rates(bt_beta), mu)
        u = population.average_utility
        return -float((mu @ u) / (winners @ u))

    starts = 2.0 * rng.normal(size=(max(2, profile.repeats // 2), 3 * n_alternatives + 2))
    found = [minimize(negative_ratio, x, method="L-BFGS-B", bounds=[(-LOGIT, LOGIT)] * x.size) for x in starts]
    best = min(found, key=lambda result: float(result.fun))
    return Estimate(-float(best.fun), n=len(starts), witness=describe(built(best.x)[0]))


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {"R11.worst": worst_target}
