"""Distortion by Monte Carlo and on the literature's instances: claims D1–D6 and D8–D13.

One function per check. Each takes the entries of its setting as keyword arguments, `rng` (a generator spawned for
the cell) and `profile` (how much work is allowed), and returns an `Estimate`.

None of these functions calls the closed form that its estimate is judged against. The bounds of D3, D4, D6, D9 and
D10 are searched for in `worst_cases`.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from simulate.montecarlo import Estimate, Experiments, ratio_to_mean, slope
from simulate.populations import random_population, worst_of
from simulate.profiles import Profile
from simulate.users import sample_comparisons
from theory.bradley_terry import Population, fit_rewards, product_pairs
from theory.distortion.borda_certificate import certify_borda_factor
from theory.distortion.factors import linear_slope, optimal_gamma
from theory.distortion.instance import Instance
from theory.distortion.instances import (
    borda_instance,
    condorcet_instance,
    copeland_instance,
    correlated_instance,
    rlhf_instance,
)
from theory.distortion.measure import distortion
from theory.policy.kl_ball import kl, maximize_in_kl_ball
from theory.policy.nash import maximal_lottery, nlhf, nlhf_regularized
from theory.policy.rewards import dpo_loss, rlhf, rlhf_penalty
from theory.social_choice.pairwise import borda, borda_scores, copeland
from theory.solution import CertificateError
from theory.validate import Array

Rng = np.random.Generator
#: How closely the least factor with a proof is bracketed, relative to it.
CERTIFIED = 1e-8


def _loss(instance: Instance, policy: Array) -> float:
    """Distortion of a policy on an instance, inside the instance's KL ball."""
    return distortion(instance.population, policy, tau=instance.tau, log_reference=instance.log_reference)


# D1, D2, D3: linear bounds on win rates, and what they cost any rule.


def linearisation(bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D1: largest violation of either inequality of Lemma 1, over populations that include the corners."""
    slope_l = linear_slope(bt_beta)

    def violation(population: Population) -> float:
        margins = population.win_rates(bt_beta) - 0.5
        u = population.average_utility
        below = bt_beta * (slope_l * u[:, None] - 0.25 * u[None, :]) - margins
        # the upper inequality is the lower one for the pair (y, x), so both are tested at once
        np.fill_diagonal(below, -np.inf)
        return float(below.max())

    found = worst_of(violation, rng, profile)
    corner = violation(Population(np.array([[1.0, 0.0]])))  # where the bound is attained
    return found if found.value >= corner else Estimate(corner, n=found.n, witness="one user, utilities (1, 0)")


def fair_coins(bt_beta: float, n_alternatives: int, *, rng: Rng, profile: Profile) -> Estimate:
    """D2: on I3 with ξ = 1 all comparisons are fair coins, so Borda's winner is whichever coins fell well."""
    instance = condorcet_instance(bt_beta, n_alternatives, 1e-3)
    u = instance.population.average_utility
    utilities = [float(u @ borda(_sampled_rates(instance, 10**6, rng))) for _ in range(2 * profile.replicates)]
    return ratio_to_mean(float(u.max()), utilities)


def condorcet_loser(bt_beta: float, n_alternatives: int, *, rng: Rng, profile: Profile) -> Estimate:
    """D2: the least distortion of any rule on I3 with s a Condorcet loser (ξ slightly above 1)."""
    instance = condorcet_instance(bt_beta, n_alternatives, 1e-4, 1 + 1e-6)
    P = instance.win_rates
    policies = {
        "borda": borda(P),
        "copeland": copeland(P),
        "maximal lottery": maximal_lottery(P).policy,
        "rlhf": rlhf(P, instance.pair_weights),
    }
    losses = {name: _loss(instance, policy) for name, policy in policies.items()}
    best = min(losses, key=losses.__getitem__)
    return Estimate(losses[best], n=len(losses), witness=best)


def lottery_attained(bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D3: the maximal lottery gives a Condorcet loser nothing, although it is worth L(β) times the rest."""
    instance = condorcet_instance(bt_beta, 3, 1e-4, 1 + 1e-6)
    return Estimate(_loss(instance, maximal_lottery(instance.win_rates).policy))


# D4, D5, D6: Borda and Copeland.


def borda_certified(bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D4: the least upper bound on Borda's distortion that interval branch and bound proves over all of [0,1]³.

    Found by bisection between 1 and 1 + β, with the proof's weights at γ*; they prove nothing below the factor.
    """
    gamma, unproved = optimal_gamma(bt_beta), 1.0
    proved = certify_borda_factor(bt_beta, gamma=gamma, factor=1.0 + bt_beta)
    while proved.factor > unproved * (1.0 + CERTIFIED):
        middle = 0.5 * (unproved + proved.factor)
        try:
            proved = certify_borda_factor(bt_beta, gamma=gamma, factor=middle)
        except CertificateError:
            unproved = middle
    return Estimate(proved.certified_factor, n=proved.boxes)


def borda_attained(bt_beta: float, epsilon: float = 1e-3, *, rng: Rng, profile: Profile) -> Estimate:
    """D4: Borda on samples of 10¹⁸ users from I5 at γ*; c must win by a margin of order ε²."""
    instance = borda_instance(bt_beta, epsilon, optimal_gamma(bt_beta))
    u = instance.population.average_utility
    utilities = [float(u @ borda(_sampled_rates(instance, 10**18, rng), instance.mu)) for _ in range(profile.repeats)]
    return ratio_to_mean(float(u.max()), utilities)


def borda_on_i5(bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D5: Borda on I5 with the paper's γ, population limit."""
    instance = borda_instance(bt_beta, 1e-5)
    return Estimate(_loss(instance, borda(instance.win_rates, instance.mu)))


def borda_above_lottery(bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D5: Borda's loss on I5 minus the worst that a maximal lottery can lose (attained on I3)."""
    worst = borda_on_i5(bt_beta, rng=rng, profile=profile).value
    return Estimate(worst - lottery_attained(bt_beta, rng=rng, profile=profile).value)


def copeland_attained(bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D6: Copeland on I5 with cloned b."""
    instance = copeland_instance(bt_beta, 1e-6, optimal_gamma(bt_beta))
    return Estimate(_loss(instance, copeland(instance.win_rates)))


# D8, D9, D10: RLHF and NLHF in a KL ball.


def rlhf_in_ball(bt_beta: float, eta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D8: RLHF on I6, population limit: fitted rewards, then the best policy in the ball."""
    instance = rlhf_instance(bt_beta, eta)
    return Estimate(_loss(instance, _run_rlhf(instance, instance.win_rates, instance.pair_weights)))


def rlhf_sampled(bt_beta: float, eta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D8: RLHF on samples of 10¹⁸ users from I6; the pair (a, b) is hardly ever compared, c decides."""
    instance = rlhf_instance(bt_beta, eta)
    u = instance.population.average_utility
    best = float(u @ maximize_in_kl_ball(u, tau=instance.tau, log_reference=instance.log_reference))
    utilities = []
    for _ in range(profile.repeats):
        data = sample_comparisons(instance.population, bt_beta, instance.pair_weights, 10**18, rng=rng)
        utilities.append(float(u @ _run_rlhf(instance, data.win_rates(unobserved=0.5), data.pair_weights())))
    return ratio_to_mean(best, utilities)


def nlhf_on_i6(bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D9: NLHF on the instance that ruins RLHF."""
    instance = rlhf_instance(bt_beta)
    solution = nlhf(instance.win_rates, tau=instance.tau, log_reference=instance.log_reference)
    return Estimate(_loss(instance, solution.policy))


def rlhf_above_nlhf(bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D9: log distortion of RLHF minus that of NLHF on I6."""
    worst = rlhf_in_ball(bt_beta, 1e-9, rng=rng, profile=profile).value
    return Estimate(math.log(worst / nlhf_on_i6(bt_beta, rng=rng, profile=profile).value))


def same_family(method: str, weight: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D10: total variation between the regularised policy and the constrained one at its own KL, worst case."""
    worst = 0.0
    for _ in range(profile.repeats):
        population = random_population(rng)
        P = population.win_rates(5.0)
        reference = rng.dirichlet(np.full(P.shape[0], 2.0))
        pairs = product_pairs(rng.dirichlet(np.full(P.shape[0], 2.0)))
        if method == "nlhf":
            regularised = nlhf_regularized(P, reference, weight).policy
            constrained = nlhf(P, reference, kl(regularised, reference)).policy
        else:
            rewards = fit_rewards(P, pairs).rewards
            regularised = rlhf_penalty(rewards, reference, weight)
            constrained = rlhf(P, pairs, reference, kl(regularised, reference))
        worst = max(worst, 0.5 * float(np.abs(regularised - constrained).sum()))
    return Estimate(worst, n=profile.repeats)


# D11: correlated pairs.


def correlated_chain(bt_beta: float, n_alternatives: int, *, rng: Rng, profile: Profile) -> Estimate:
    """D11: RLHF on samples of 10¹⁵ users from I9, adjacent pairs asked almost always."""
    instance = correlated_instance(bt_beta, n_alternatives, n_alternatives**-3.0)
    u = instance.population.average_utility
    utilities = []
    for _ in range(profile.repeats):
        data = sample_comparisons(instance.population, bt_beta, instance.pair_weights, 10**15, rng=rng)
        utilities.append(float(u @ _run_rlhf(instance, data.win_rates(unobserved=0.5), data.pair_weights())))
    return ratio_to_mean(float(u.max()), utilities)


def correlated_growth(bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D11: exponent of A in RLHF's distortion on I9, population limit."""
    sizes = np.array([100, 160, 250, 400, 630])
    losses = []
    for A in sizes:
        instance = correlated_instance(bt_beta, int(A), float(A) ** -3.0)
        losses.append(_loss(instance, _run_rlhf(instance, instance.win_rates, instance.pair_weights)))
    return slope(np.log(sizes), np.log(losses))


# D12, D13: DPO, RLHF and Borda are the same order in the population limit.


def dpo_by_descent(P: Array, pairs: Array, reference: Array, kl_beta: float, start: Array) -> tuple[Array, float]:
    """The policy that minimises the DPO loss, by BFGS on its logits; returns the policy and its loss."""
    off = pairs * (1 - np.eye(len(P)))
    mass = off.sum()

    def policy_of(theta: Array) -> Array:
        weights = np.exp(theta - theta.max())
        return weights / weights.sum()

    def loss_and_gradient(theta: Array) -> tuple[float, Array]:
        pi = policy_of(theta)
        r = kl_beta * np.log(pi / reference)
        gradient_r = -2.0 * (off * (P - expit(r[:, None] - r[None, :]))).sum(axis=1) / mass
        return dpo_loss(pi, P, pairs, reference, kl_beta), kl_beta * (gradient_r - pi * gradient_r.sum())

    found = minimize(loss_and_gradient, start, jac=True, method="BFGS", options={"gtol": 1e-11, "maxiter": 5000})
    return policy_of(found.x), float(found.fun)


def dpo_is_rlhf(kl_beta: float, what: str, *, rng: Rng, profile: Profile) -> Estimate:
    """D12: worst difference between DPO trained by descent and penalty-form RLHF, in policy (TV) or in loss."""
    worst = 0.0
    for _ in range(profile.repeats):
        P = random_population(rng, max_alternatives=5).win_rates(2.0)
        A = P.shape[0]
        pairs = rng.random((A, A)) + 0.1  # correlated pairs: any symmetric law
        pairs = (pairs + pairs.T) / (pairs + pairs.T).sum()
        reference = rng.dirichlet(np.full(A, 3.0))
        trained, loss = dpo_by_descent(P, pairs, reference, kl_beta, np.zeros(A))
        predicted = rlhf_penalty(fit_rewards(P, pairs).rewards, reference, kl_beta)
        if what == "policy":
            worst = max(worst, 0.5 * float(np.abs(trained - predicted).sum()))
        else:
            worst = max(worst, abs(loss - dpo_loss(predicted, P, pairs, reference, kl_beta)))
    return Estimate(worst, n=profile.repeats)


def order_of_rewards(bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D13: share of pairs that the Bradley–Terry MLE and Borda order differently under product sampling."""
    discordant = pairs = 0
    for _ in range(profile.replicates // 4):
        P = random_population(rng).win_rates(bt_beta)
        mu = rng.dirichlet(np.full(P.shape[0], 0.7)) * (1 - 1e-3) + 1e-3 / P.shape[0]
        discordant += _discordant(fit_rewards(P, product_pairs(mu)).rewards, borda_scores(P, mu))
        pairs += P.shape[0] * (P.shape[0] - 1) // 2
    return Estimate(discordant / pairs, n=pairs)


def order_under_correlation(bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D13: the same share on I9, whose pairs are not a product (it must be positive, or the check could not fail)."""
    instance = correlated_instance(bt_beta, 20, 1e-6)
    P = instance.win_rates
    scores = borda_scores(P, instance.mu)
    discordant = _discordant(fit_rewards(P, instance.pair_weights).rewards, scores)
    return Estimate(discordant / (20 * 19 / 2), n=190)


def _discordant(a: Array, b: Array) -> int:
    """Pairs ordered strictly one way by a and strictly the other way by b, beyond rounding."""
    first = np.subtract.outer(a, a)
    second = np.subtract.outer(b, b)
    return int(((first > 1e-10) & (second < -1e-10)).sum())


def _run_rlhf(instance: Instance, win_rates: Array, pairs: Array) -> Array:
    return rlhf(win_rates, pairs, tau=instance.tau, log_reference=instance.log_reference)


def _sampled_rates(instance: Instance, n_users: int, rng: Rng) -> Array:
    data = sample_comparisons(instance.population, instance.bt_beta, instance.pair_weights, n_users, rng=rng)
    return data.win_rates(unobserved=0.5)


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "D1.violation": linearisation,
    "D2.fair_coins": fair_coins,
    "D2.condorcet_loser": condorcet_loser,
    "D3.attained": lottery_attained,
    "D4.certified": borda_certified,
    "D4.attained": borda_attained,
    "D5.attained": borda_on_i5,
    "D5.above_L": borda_above_lottery,
    "D6.attained": copeland_attained,
    "D8.limit": rlhf_in_ball,
    "D8.sampled": rlhf_sampled,
    "D8.exponential": rlhf_in_ball,
    "D9.on_I6": nlhf_on_i6,
    "D9.beside_rlhf": rlhf_above_nlhf,
    "D10.same_family": same_family,
    "D11.chain": correlated_chain,
    "D11.growth": correlated_growth,
    "D12.same": dpo_is_rlhf,
    "D13.discordant": order_of_rewards,
    "D13.needs_product": order_under_correlation,
}
