"""Finite samples: how fast rules on n users approach their population limits, claim D14."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logit

from simulate.montecarlo import Estimate, Experiments, proportion, root_mean_square, slope
from simulate.profiles import Profile
from simulate.users import sample_comparisons
from theory.bradley_terry import Population, product_pairs
from theory.distortion.samples import SAMPLED, SAMPLED_BETA
from theory.policy.nash import maximal_lottery
from theory.validate import Array

Rng = np.random.Generator

#: A Condorcet cycle with unequal stakes: its equilibrium mixes all three alternatives.
CYCLE = Population(np.array([[1.0, 0.6, 0.1], [0.0, 0.9, 0.5], [0.5, 0.1, 0.8]]), np.array([0.36, 0.34, 0.30]))
SQUARE = np.full(4, 0.25)
#: Margins c of the local family's pilots, and the sample whose loss is read off.
MARGINS, LARGEST = np.arange(0.2, 0.65, 0.05), 4**10


def uniform_error(n_users: int, per_user: int, *, rng: Rng, profile: Profile) -> Estimate:
    """D14: 95 % quantile of the largest error over the uniform bound of Lemma 10 at δ = 5 %, A = 4, μ uniform."""
    errors = _errors(n_users, per_user, profile.replicates // 4, rng) / win_rate_bound(n_users, per_user, 0.25, 4, 0.05)
    rank = math.sqrt(0.05 * 0.95 / errors.size)  # one standard error of the share below a quantile
    low, value, high = np.quantile(errors, [0.95 - rank, 0.95, min(1.0, 0.95 + rank)])
    return Estimate(float(value), float(0.5 * (high - low)), errors.size)


def largest_error(n_users: int, *, rng: Rng, profile: Profile) -> Estimate:
    """D14: √n·root mean square of the largest win-rate error, one comparison a user."""
    rms = root_mean_square(_errors(n_users, 1, 4 * profile.replicates, rng))
    root = math.sqrt(n_users)
    return Estimate(root * rms.value, root * rms.stderr, rms.n)


def win_rate_bound(n_users: int, per_user: int, mu_min: float, n_alternatives: int, delta: float) -> float:
    """8·√(log(4/δ')/(n·min(1, d μ_min²))) + 16·log(4/δ')/(n μ_min²), δ' = δ/A² (Lemma 10 of arXiv 2505.23749)."""
    log_term = math.log(4 * n_alternatives**2 / delta)
    effective = n_users * min(1.0, per_user * mu_min**2)
    return 8 * math.sqrt(log_term / effective) + 16 * log_term / (n_users * mu_min**2)


def uniform_rate(per_user: int, *, rng: Rng, profile: Profile) -> Estimate:
    """D14: slope of log(root mean square of the largest win-rate error) in log n."""
    sizes = 10 ** np.arange(4, 10)
    rms = [root_mean_square(_errors(int(n), per_user, profile.replicates // 4, rng)) for n in sizes]
    return _log_slope(sizes, rms)


def _errors(n_users: int, per_user: int, replicates: int, rng: Rng) -> Array:
    """Largest |P̂ − P| over pairs, for each of `replicates` samples of a fixed population of 4 alternatives."""
    exact, pairs = SAMPLED.win_rates(SAMPLED_BETA), product_pairs(SQUARE)
    draws = (sample_comparisons(SAMPLED, SAMPLED_BETA, pairs, n_users, per_user, rng=rng) for _ in range(replicates))
    return np.array([np.abs(data.win_rates() - exact).max() for data in draws])


def local_family(bt_beta: float, what: str, *, rng: Rng, profile: Profile) -> Estimate:
    """D14: the worst expected utility loss over margins c/√n: its slope in log n, or √n times it.

    Users are alike and compare a with b; the loss is Δu if b wins more often. The number of wins is the sufficient
    statistic, so each sample is one binomial draw.
    """
    draws = 50 * profile.replicates
    if what == "slope":
        sizes = 4 ** np.arange(5, 11)
        return _log_slope(sizes, [_worst_local_loss(int(n), bt_beta, draws, draws, rng) for n in sizes])
    worst = _worst_local_loss(LARGEST, bt_beta, 4 * draws, 16 * draws, rng)
    root = math.sqrt(LARGEST)
    return Estimate(root * worst.value, root * worst.stderr, worst.n)


def _worst_local_loss(n: int, bt_beta: float, pilots: int, draws: int, rng: Rng) -> Estimate:
    """The loss at the worst margin: where a cubic through nine noisy losses is largest, measured there anew.

    The largest of the nine would be too large by their noise.
    """
    losses = [_local_loss(n, c, bt_beta, pilots, rng).value for c in MARGINS]
    fine = np.linspace(MARGINS[0], MARGINS[-1], 1000)
    worst = fine[np.polynomial.Polynomial.fit(MARGINS, losses, 3)(fine).argmax()]
    return _local_loss(n, float(worst), bt_beta, draws, rng)


def _local_loss(n: int, c: float, bt_beta: float, draws: int, rng: Rng) -> Estimate:
    """E[Δu·1{b is picked}] when P(a≻b) = ½ + c/√n; a tie is a fair coin."""
    probability = 0.5 + c / math.sqrt(n)
    gap = float(logit(probability)) / bt_beta
    wins = rng.binomial(n, probability, size=draws)
    wrong = (2 * wins < n) + 0.5 * (2 * wins == n)
    return Estimate(gap * wrong.mean(), gap * wrong.std(ddof=1) / math.sqrt(draws), draws)


def fixed_instance(win_rate: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D14: on one fixed instance the chance of the wrong winner falls exponentially: slope of log(√n·P) in n.

    P ≈ C·n^{−1/2}·e^{−nI} (Bahadur–Rao), so √n·P isolates the exponent I.
    """
    sizes = np.array([81, 161, 241, 321])  # odd: no ties
    draws = 2000 * profile.replicates
    wrong = [proportion(int((2 * rng.binomial(n, win_rate, draws) < n).sum()), draws) for n in sizes]
    if any(estimate.value == 0 for estimate in wrong):
        return Estimate(math.nan, math.nan, draws)  # too few draws to see one error: inconclusive, not a pass
    logs = [math.log(math.sqrt(n) * e.value) for n, e in zip(sizes, wrong, strict=True)]
    return slope(sizes, logs, [e.stderr / e.value for e in wrong])


def lottery_rate(bt_beta: float, *, rng: Rng, profile: Profile) -> Estimate:
    """D14: slope in log n of the root mean square of u(π̂) − u(π), π the mixed equilibrium of a cycle."""
    u = CYCLE.average_utility
    target = float(u @ maximal_lottery(CYCLE.win_rates(bt_beta)).policy)
    pairs = product_pairs(np.full(3, 1 / 3))
    sizes = 10 ** np.arange(5, 11)
    rms = []
    for n in sizes:
        errors = []
        for _ in range(max(profile.replicates // 10, 10)):
            data = sample_comparisons(CYCLE, bt_beta, pairs, int(n), rng=rng)
            errors.append(float(u @ maximal_lottery(data.win_rates()).policy) - target)
        rms.append(root_mean_square(errors))
    return _log_slope(sizes, rms)


def _log_slope(sizes: ArrayLike, estimates: list[Estimate]) -> Estimate:
    """Slope of log(estimate) in log(size), errors propagated."""
    values = np.array([e.value for e in estimates])
    errors = np.array([e.stderr for e in estimates])
    return slope(np.log(sizes), np.log(values), errors / values)


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "D14.bound": uniform_error,
    "D14.error": largest_error,
    "D14.win_rates": uniform_rate,
    "D14.local_family": local_family,
    "D14.local_constant": local_family,
    "D14.lottery": lottery_rate,
    "D14.fixed": fixed_instance,
}
