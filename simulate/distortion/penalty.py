"""DPO and IPO with a KL penalty on I5, I6 and I9, and IPO trained by descent: claims D5, D8, D11 and D23."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from simulate.montecarlo import Estimate, Experiments
from simulate.populations import random_population
from simulate.profiles import Profile
from theory.bradley_terry import product_pairs
from theory.distortion.instance import Instance
from theory.distortion.instances import borda_instance, correlated_instance, rlhf_instance
from theory.distortion.measure import distortion
from theory.policy.identity import ipo_loss, ipo_penalty
from theory.policy.kl_ball import tilt
from theory.policy.rewards import dpo
from theory.social_choice.pairwise import borda_scores
from theory.validate import Array

Rng = np.random.Generator
METHODS = {"dpo": dpo, "ipo": ipo_penalty}


def _policy(method: str, i: Instance, kl_beta: float) -> Array:
    return METHODS[method](i.win_rates, i.pair_weights, None, kl_beta, log_reference=i.log_reference)


def on_i5(method: str, bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D5: DPO or IPO on I5 with a penalty far below the differences of rewards, of order ε²."""
    instance = borda_instance(bt_beta, 1e-5)
    return Estimate(instance.distortion(_policy(method, instance, 1e-13)))


def on_i6(bt_beta: float, kl_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D8: DPO on I6, against the best policy of the ball that it is on the boundary of."""
    instance = rlhf_instance(bt_beta)
    policy, logs = _policy("dpo", instance, kl_beta), instance.log_reference
    tau = float(policy[:2] @ (np.log(policy[:2]) - logs[:2]))  # the clones have no mass left
    return Estimate(distortion(instance.population, policy, tau=tau, log_reference=logs))


def on_i9(method: str, bt_beta: float, n_alternatives: int, kl_beta: float) -> Estimate:
    """D11: DPO or IPO's loss on I9, whose pairs are mostly neighbours."""
    instance = correlated_instance(bt_beta, n_alternatives, n_alternatives**-3.0)
    return Estimate(instance.distortion(_policy(method, instance, kl_beta)))


def dpo_on_i9(bt_beta: float, n_alternatives: int, kl_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D11: DPO on I9."""
    return on_i9("dpo", bt_beta, n_alternatives, kl_beta)


def ipo_on_i9(bt_beta: float, n_alternatives: int, *, rng: Rng, profile: Profile) -> Estimate:
    """D11: IPO's loss on I9 with next to no penalty."""
    return on_i9("ipo", bt_beta, n_alternatives, 1e-9)


def ipo_by_descent(P: Array, pairs: Array, kl_beta: float) -> Array:
    """Log-ratios (A,) that minimise the IPO loss, by BFGS, from 0."""
    off = pairs * (1.0 - np.eye(len(P)))

    def loss_and_gradient(lr: Array) -> tuple[float, Array]:
        excess = 2.0 * off * P * (lr[:, None] - lr[None, :] - 0.5 / kl_beta) / off.sum()
        return ipo_loss(lr, P, pairs, kl_beta), 2.0 * (excess.sum(axis=1) - excess.sum(axis=0))

    options = {"gtol": 1e-11, "maxiter": 5000}
    return np.asarray(minimize(loss_and_gradient, np.zeros(len(P)), jac=True, method="BFGS", options=options).x)


def descent_is_borda(kl_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D23: largest total variation between IPO by descent and π_ref·exp(S_μ/kl_beta)/Z, product pairs."""
    worst = 0.0
    for _ in range(profile.repeats):
        P = random_population(rng, max_alternatives=5).win_rates(5.0)
        mu, reference = rng.dirichlet(np.full(len(P), 3.0)), rng.dirichlet(np.full(len(P), 3.0))
        trained = tilt(np.log(reference), ipo_by_descent(P, product_pairs(mu), kl_beta))
        weights = reference * np.exp(borda_scores(P, mu) / kl_beta)
        worst = max(worst, 0.5 * float(np.abs(trained - weights / weights.sum()).sum()))
    return Estimate(worst, n=profile.repeats)


def pair_by_descent(win_rate: float, kl_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D23: two responses, compared with each other."""
    P = np.array([[0.5, win_rate], [1.0 - win_rate, 0.5]])
    first, second = ipo_by_descent(P, np.array([[0.0, 0.5], [0.5, 0.0]]), kl_beta)
    return Estimate(first - second)


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "D5.penalty": on_i5,
    "D8.dpo": on_i6,
    "D11.dpo": dpo_on_i9,
    "D11.ipo": ipo_on_i9,
    "D23.same": descent_is_borda,
    "D23.pair": pair_by_descent,
}
