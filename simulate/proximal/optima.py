"""Proximal preference optimisation by training: claims P1–P4, P9–P11 and P13.

One function per check. Each takes the entries of its setting as keyword arguments, `rng` (a generator spawned for the
cell) and `profile` (how much work is allowed), and returns an `Estimate`. Policies are tabular softmaxes,
trained on the losses of `simulate.proximal.losses`; thresholds are found by subsets, linear programs and bisection.

None of these functions calls the closed form or the solver that its estimate is judged against.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, log_softmax

from simulate.montecarlo import Estimate, Experiments, Rng, mean, slope
from simulate.populations import random_win_rates
from simulate.profiles import Profile
from simulate.proximal.losses import (
    RewardLoss,
    edpo,
    linear,
    of_rewards,
    population_dpo,
    pro_binary,
    pro_scalar,
    sampled_pairs,
    to_optimum,
    total,
)
from simulate.proximal.tables import random_start, random_table, threshold_over_subsets
from simulate.softmax import minimise
from theory.proximal.examples import preference_table
from theory.proximal.feedback import empirical_scores, feedback_scores
from theory.proximal.losses import dpo_loss, edpo_loss
from theory.proximal.settings import SCALAR_SCORES, TRIPLES
from theory.validate import Array

# P1, P2: the decomposition.


def population_policy(response: int, kl_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P1: minimise the population DPO loss from a random start; the probability of one response."""
    P, mu, reference = preference_table()
    trained = to_optimum(of_rewards(population_dpo(P, mu), np.log(reference), kl_beta), random_start(mu.size, rng))
    return Estimate(float(np.exp(trained[response])))


def gradient_ratio(kl_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P1: directional derivatives of both losses by central differences, at random policies on random tables."""
    step, pairs = 1e-4, []
    for _ in range(5 * profile.repeats):
        A = int(rng.integers(2, 7))
        P = random_win_rates(A, rng)
        mu, reference = rng.dirichlet(np.full(A, 2.0)), rng.dirichlet(np.full(A, 2.0))
        scores = P @ mu - 0.5
        logits, direction = rng.normal(size=A), rng.normal(size=A)
        ends = [np.exp(log_softmax(logits + sign * step * direction)) for sign in (1.0, -1.0)]
        dpo = [dpo_loss(pi / pi.sum(), reference, P, mu, kl_beta) for pi in ends]
        edpo_ = [edpo_loss(pi / pi.sum(), reference, scores, mu, mu, 1.0, kl_beta) for pi in ends]
        pairs.append(((edpo_[0] - edpo_[1]) / (2 * step), (dpo[0] - dpo[1]) / (2 * step)))
    x, y = np.array(pairs).T
    return slope(x, y)


def sampled_loss(kl_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P1: the mean loss of the uniform policy over comparisons drawn one by one."""
    P, mu, reference = preference_table()
    n = 400 * profile.replicates
    first, second = rng.choice(mu.size, size=(2, n), p=mu)
    won = rng.random(n) < P[first, second]
    r = -kl_beta * np.log(mu.size * reference)
    margin = np.where(won, 1.0, -1.0) * (r[first] - r[second])
    return mean(np.logaddexp(0.0, -margin))


def mean_score(feedback: str, *, rng: Rng, profile: Profile) -> Estimate:
    """P2: largest |E_μ̂ ŝ| over random data sets of one kind."""
    worst = 0.0
    for _ in range(10 * profile.repeats):
        A, N = int(rng.integers(2, 9)), int(rng.integers(1, 100))
        first = rng.integers(0, A, N)
        if feedback == "pairs":
            second = (first + rng.integers(1, A, N)) % A
            scores, empirical = empirical_scores(A, np.column_stack([first, second]))
        else:
            values = rng.normal(size=N) if feedback == "scalar" else (rng.random(N) < 0.3).astype(float)
            scores, empirical = feedback_scores(A, first, values)
        worst = max(worst, abs(float(scores @ empirical)))
    return Estimate(worst, n=10 * profile.repeats)


# P3, P4: the optimum on random tables.


def residual(factor: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P3: train eDPO on random tables at factor·α*; the worst violation of the optimality condition."""
    worst = 0.0
    for _ in range(profile.repeats):
        n = int(rng.integers(3, 8))
        w, mu = random_table(rng, n, int(rng.integers(0, n - 1)))
        alpha = factor * threshold_over_subsets(w, mu)
        log_ref = np.log(rng.dirichlet(np.full(n, 3.0)))
        r = to_optimum(of_rewards(edpo(w, mu, alpha), log_ref, 1.0), random_start(n, rng)) - log_ref
        left = (expit(r[:, None] - r[None, :]) - 0.5) @ mu
        worst = max(worst, float(np.abs(left - w / (alpha * mu)).max()))
    return Estimate(worst, n=profile.repeats)


def log_ratio_order(kl_beta: float, what: str, *, rng: Rng, profile: Profile) -> Estimate:
    """P4: on trained policies, the spread of unscored log-ratios, or the least distance of a scored one to its side."""
    spread, order = 0.0, math.inf
    for _ in range(profile.repeats):
        n = int(rng.integers(5, 9))
        w, mu = random_table(rng, n, 2)
        alpha = 1.5 * threshold_over_subsets(w, mu)
        log_ref = np.log(rng.dirichlet(np.full(n, 3.0)))
        trained = to_optimum(of_rewards(edpo(w, mu, alpha), log_ref, kl_beta), random_start(n, rng))
        ratio = trained - log_ref
        spread = max(spread, float(np.ptp(ratio[w == 0])))
        order = min(order, float((np.sign(w) * (ratio - ratio[-1]))[w != 0].min()))
    return Estimate(spread if what == "spread" else order, n=profile.repeats)


# P9, P10, P11, P13: small programs with closed forms.


def _gap(loss: RewardLoss, log_ref: Array, kl_beta: float, rng: Rng) -> Array:
    """Train over Y_H from a random start; r(y) − r(H) (N,), H last."""
    start = log_ref + random_start(log_ref.size, rng)
    r = kl_beta * (to_optimum(of_rewards(loss, log_ref, kl_beta), start) - log_ref)
    return r[:-1] - r[-1]


def pair_gap(response: int, alpha: float, kl_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P9: one pair and H, random reference: −(r_w − r_l)/8 + α/9 times klB over the three pairs."""
    loss = total((0.125, linear(np.array([1.0, -1.0, 0.0]))), (alpha / 9.0, sampled_pairs(*np.triu_indices(3, 1))))
    return Estimate(float(_gap(loss, np.log(rng.dirichlet(np.full(3, 3.0))), kl_beta, rng)[response]))


def binary_gap(
    form: str, score: float, alpha: float, kl_beta: float = 0.1, reference: float = 0.3, *, rng: Rng, profile: Profile
) -> Estimate:
    """P10: one response and H, the loss in one of its forms."""
    log_ref = np.log([reference, 1.0 - reference])
    start = minimise(of_rewards(pro_binary(score, alpha, form), log_ref, kl_beta), log_ref, tolerance=1e-8).log_policy
    r = kl_beta * (to_optimum(of_rewards(pro_binary(score, alpha, form), log_ref, kl_beta), start) - log_ref)
    return Estimate(float(r[0] - r[1]))


def scalar_gap(n: int, response: int, alpha: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P11: n scored responses and H, random reference."""
    loss = pro_scalar(np.array(SCALAR_SCORES[:n]), alpha)
    return Estimate(float(_gap(loss, np.log(rng.dirichlet(np.full(n + 1, 3.0))), 0.5, rng)[response]))


def _positive_score(negatives: int) -> float:
    """The label 1 among `negatives` labels 0, minus their mean."""
    labels = np.append(1.0, np.zeros(negatives))
    return float(1.0 - labels.mean())


def imbalanced_threshold(negatives: int, kl_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P13: the α at which PRO-B, as a function of log π, has slope 0 at r(y) − r(H) = 200: below it, it falls."""
    log_ref = np.log([0.3, 0.7])
    far = log_softmax(log_ref + np.array([200.0 / kl_beta, 0.0]))

    def far_slope(alpha: float) -> float:
        gradient = of_rewards(pro_binary(_positive_score(negatives), alpha), log_ref, kl_beta)(far)[1]
        return float(gradient[0])

    return Estimate(float(brentq(far_slope, 1e-3, 1e3, xtol=1e-14)))


def positive_log_ratio(negatives: int, alpha: float, kl_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P13: train PRO-B on the positive response; its log-ratio minus that of H, nats."""
    log_ref = np.log([0.3, 0.7])
    gap = _gap(pro_binary(_positive_score(negatives), alpha), log_ref, kl_beta, rng)
    return Estimate(float(gap[0]) / kl_beta)


def triples_spread(negatives: int, *, rng: Rng, profile: Profile) -> Estimate:
    """P13: (max − min)/mean of the trained log-ratios over the paper's triples."""
    ratios = [
        positive_log_ratio(negatives, alpha, kl_beta, rng=rng, profile=profile).value for alpha, kl_beta in TRIPLES
    ]
    return Estimate(float(np.ptp(ratios) / np.mean(ratios)), n=len(ratios))


def slope_balance(alpha: float, kl_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P13: at π_ref, curvature of PRO-B's regulariser over slope of its linear term in log π(y) − log π(H); s = ½."""
    log_ref, step = np.log([0.3, 0.7]), 1e-3 / kl_beta

    def at(x: float, score: float) -> float:
        log_policy = log_softmax(log_ref + np.array([x, 0.0]))
        return of_rewards(pro_binary(score, alpha), log_ref, kl_beta)(log_policy)[0]

    curvature = (at(step, 0.0) - 2.0 * at(0.0, 0.0) + at(-step, 0.0)) / step**2
    gain = (at(step, 0.5) - at(-step, 0.5)) / (2.0 * step)  # the regulariser is even
    return Estimate(curvature / -gain)


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "P1.policy": population_policy,
    "P1.gradient": gradient_ratio,
    "P1.loss": sampled_loss,
    "P2.mean": mean_score,
    "P3.residual": residual,
    "P4.one_constant": partial(log_ratio_order, what="spread"),
    "P4.order": partial(log_ratio_order, what="order"),
    "P9.gap": pair_gap,
    "P10.gap": partial(binary_gap, "exact"),
    "P10.printed": partial(binary_gap, "printed"),
    "P10.zero_hyper": partial(binary_gap, "zero"),
    "P11.gap": scalar_gap,
    "P13.threshold": imbalanced_threshold,
    "P13.log_ratio": positive_log_ratio,
    "P13.spread": triples_spread,
    "P13.within": triples_spread,
    "P13.balance": slope_balance,
}
