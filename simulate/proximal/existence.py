"""Where the losses have no optimum, or too many: DPO (P5), PRO around its threshold (P7), both in training (P12)."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from scipy.optimize import linprog
from scipy.special import log_softmax, logsumexp

from simulate.montecarlo import Estimate, Experiments, Rng, slope
from simulate.profiles import Profile
from simulate.proximal.losses import coupled_pair, descend, edpo, of_rewards, sampled_dpo
from simulate.proximal.tables import random_table, threshold_over_subsets, win_shares
from simulate.softmax import minimise
from theory.proximal.examples import COMPARISONS, COUPLED, spread_table
from theory.proximal.existence import mixture_threshold, paper_threshold
from theory.proximal.losses import dpo_loss

# P5: DPO alone.


def flat_direction(drop: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P5: lower all labelled log-likelihoods by `drop` nats, give their mass to the others, evaluate the loss again."""
    worst = 0.0
    for _ in range(profile.repeats):
        reference = rng.dirichlet(np.full(8, 2.0))
        before = log_softmax(rng.normal(size=8))
        wins = np.zeros((8, 8))
        wins[:5, :5] = rng.poisson(1.0, (5, 5)) + 0.25
        np.fill_diagonal(wins, 0.0)
        after = before - drop
        after[5:] = before[5:] + np.log1p(-np.exp(logsumexp(after[:5]))) - logsumexp(before[5:])
        before_after = [dpo_loss(np.exp(logs), reference, *win_shares(wins), 1.0) for logs in (before, after)]
        worst = max(worst, abs(before_after[1] - before_after[0]))
    return Estimate(worst, n=profile.repeats)


def flat_dimension(data: str, *, rng: Rng, profile: Profile) -> Estimate:
    """P5: corank of the Hessian in r of the loss trained on, by central differences at a random r, minus the shift."""
    n, pairs = COMPARISONS[data]
    loss = sampled_dpo(np.array(pairs))
    r, step = rng.normal(size=n), 1e-4
    hessian = [(loss(r + step * e)[1] - loss(r - step * e)[1]) / (2 * step) for e in np.eye(n)]
    return Estimate(n - np.linalg.matrix_rank(np.array(hessian), tol=1e-6) - 1.0)


def mass_after_dpo(start: float, kl_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P5: the mass of a pair, won 3 : 1, after DPO was minimised from a policy that gives it `start`."""
    pairs = np.array([[0, 1], [0, 1], [0, 1], [1, 0]])
    law = np.array([start / 2, start / 2, (1 - start) / 2, (1 - start) / 2])
    loss = of_rewards(sampled_dpo(pairs), np.log(np.full(4, 0.25)), kl_beta)
    return Estimate(float(np.exp(minimise(loss, np.log(law)).log_policy[:2]).sum()))


def margin_growth(kl_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P5: descent on one separable pair: the margin against the logarithm of the steps."""
    log_ref = np.log(np.full(3, 1 / 3))
    loss = of_rewards(sampled_dpo(np.array([[0, 1]])), log_ref, kl_beta)
    path = descend(loss, np.eye(3), log_ref, 4.0 / kl_beta**2, 10_000)
    steps = np.unique(np.geomspace(1000, 10_000, 12).astype(int))
    return slope(np.log(steps), kl_beta * (path[steps, 0] - path[steps, 1]))


def coupled_path(method: str, response: int, step: int, *, rng: Rng, profile: Profile) -> Estimate:
    """P5, P12: descent on a softmax of shared features, chain rule and all; one log-ratio after `step` steps."""
    c = COUPLED
    log_ref = np.log(c.reference)
    path = descend(of_rewards(coupled_pair(method), log_ref, c.kl_beta), c.features, log_ref, c.rate, step)
    return Estimate(float(path[-1, response] - log_ref[response]))


# P7: the threshold.


def over_subsets(n: int, *, rng: Rng, profile: Profile) -> Estimate:
    """P7: α* of a table over all of its subsets."""
    return Estimate(threshold_over_subsets(*spread_table(n)), n=2**n - 2)


def one_pair(share: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P7: α* of one pair and H over its six subsets; w = ±⅛ by hand."""
    weights = np.array([share / 2, share / 2, 1.0 - share])
    return Estimate(threshold_over_subsets(np.array([0.125, -0.125, 0.0]), weights), n=6)


def linear_program(n: int, *, rng: Rng, profile: Profile) -> Estimate:
    """P7: the largest gain w·d among directions of spread ¼ Σ μμ'|d − d'| ≤ 1: the α at which cost meets gain.

    Variables d (n,) and e ≥ |d_i − d_j| per pair; d_0 = 0, as shifts are free.
    """
    w, mu = spread_table(n)
    first, second = np.triu_indices(n, 1)
    m = first.size
    differences = np.zeros((m, n))
    differences[np.arange(m), first], differences[np.arange(m), second] = 1.0, -1.0
    above = np.block([[differences, -np.eye(m)], [-differences, -np.eye(m)]])
    cost = np.concatenate([np.zeros(n), 0.5 * mu[first] * mu[second]])
    found = linprog(
        np.concatenate([-w, np.zeros(m)]),
        A_ub=np.vstack([above, cost]),
        b_ub=np.append(np.zeros(2 * m), 1.0),
        bounds=[(0, 0)] + [(None, None)] * (n - 1) + [(0, None)] * m,
        method="highs",
    )
    return Estimate(-float(found.fun)) if found.success else Estimate(math.nan, math.nan)


def descent_growth(n: int, factor: float, *, rng: Rng, profile: Profile) -> Estimate:
    """P7: exponent of the steps in the spread of log π − log π_ref along descent, from 2000 steps on."""
    w, mu = spread_table(n)
    alpha = factor * threshold_over_subsets(w, mu)
    log_ref = np.full(n, -math.log(n))
    # the Hessian's largest eigenvalue is at most α·max μ/4: half of the largest stable step
    rate = 4.0 / (alpha * mu.max())
    path = descend(of_rewards(edpo(w, mu, alpha), log_ref, 1.0), np.eye(n), log_ref, rate, 8000)
    steps = np.unique(np.geomspace(2000, 8000, 8).astype(int))
    return slope(np.log(steps), np.log(np.ptp(path[steps], axis=1)))


def corollary(n: int, *, rng: Rng, profile: Profile) -> Estimate:
    """P7: largest α*/α₀ over random tables with Corollary B.2's α₀."""
    worst = 0.0
    for _ in range(2 * profile.repeats):
        w, mu = random_table(rng, n, int(rng.integers(0, n - 1)))
        empirical = np.abs(w) / np.abs(w).sum()
        scores = np.sign(w) * np.abs(w).sum()
        worst = max(worst, threshold_over_subsets(w, mu) / paper_threshold(scores, empirical, mu))
    return Estimate(worst, n=2 * profile.repeats)


def mixture(n: int, *, rng: Rng, profile: Profile) -> Estimate:
    """P7: largest α*·η² over random pairwise data, μ = η·μ̂ + (1 − η)·ρ on the unlabelled rest."""
    worst = 0.0
    for _ in range(2 * profile.repeats):
        labelled = int(rng.integers(2, n))
        wins = np.zeros((n, n))
        wins[:labelled, :labelled] = np.triu(rng.poisson(1.0, (labelled, labelled)), 1)  # 0 ≻ 1 ≻ 2 …: the extreme
        wins[0, labelled - 1] += 1
        P, empirical = win_shares(wins)
        rest = np.where(empirical > 0, 0.0, rng.random(n))
        share = rng.uniform(0.2, 0.999)
        mu = share * empirical + (1.0 - share) * rest / rest.sum()
        exact = threshold_over_subsets(empirical * ((P - 0.5) @ empirical), mu)
        worst = max(worst, exact / mixture_threshold(share))
    return Estimate(worst, n=2 * profile.repeats)


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "P5.flat": flat_direction,
    "P5.directions": flat_dimension,
    "P5.start": mass_after_dpo,
    "P5.growth": margin_growth,
    "P5.path": partial(coupled_path, "dpo"),
    "P7.subsets": over_subsets,
    "P7.one_pair": one_pair,
    "P7.program": linear_program,
    "P7.growth": descent_growth,
    "P7.corollary": corollary,
    "P7.mixture": mixture,
    "P12.path": partial(coupled_path, "pro"),
}
