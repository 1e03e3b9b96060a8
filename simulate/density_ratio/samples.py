"""Finite samples of preferred and dispreferred examples: estimated ratios and policies, claims R6 and R7."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from simulate.density_ratio.losses import example_loss, table_loss, total_variation, train_policy
from simulate.montecarlo import Estimate, Experiments, Rng, log_slope, mean, proportion, scaled
from simulate.profiles import Profile
from simulate.softmax import Loss
from theory.density_ratio.limits import TABLES
from theory.density_ratio.ratios import relative_variance_bound
from theory.validate import Array

#: Examples of either class behind the constants of R7; rare enough outcomes still have hundreds.
EXAMPLES = 20_000
ROOT = math.sqrt(EXAMPLES)


# R6: variances of estimated ratios.


def ratio_spread(alpha: float, outcome: int, n_p: int, n_q: int, *, rng: Rng, profile: Profile) -> Estimate:
    """Variance of the estimated ratio of one outcome of the table "three" over samples."""
    p, q = (law[outcome] for law in TABLES["three"])
    return _variance(_sampled_ratios(p, q, n_p, n_q, alpha, 200 * profile.replicates, rng))


def _sampled_ratios(p: float, q: float, n_p: int, n_q: int, alpha: float, draws: int, rng: Rng) -> Array:
    """Estimated (relative) ratios of one outcome; a count of an empirical law is binomial. inf where the ratio is."""
    chosen, rejected = rng.binomial(n_p, p, draws) / n_p, rng.binomial(n_q, q, draws) / n_q
    below = alpha * chosen + (1.0 - alpha) * rejected
    return np.divide(chosen, below, out=np.full(draws, np.inf), where=below > 0)


def _variance(x: Array) -> Estimate:
    """Sample variance with the standard error √((κ − 1)/n)·variance, κ the kurtosis."""
    centred = x - x.mean()
    variance = float(np.mean(centred**2))
    return Estimate(variance, float(np.sqrt((np.mean(centred**4) - variance**2) / x.size)), x.size)


def rare_spread(alpha: float, rejected: float, *, rng: Rng, profile: Profile) -> Estimate:
    """n times the variance of the estimated ratio of an outcome with p⁺ = .4, n = 10¹² examples of either class."""
    n = 10**12
    found = _variance(_sampled_ratios(0.4, rejected, n, n, alpha, 10 * profile.replicates, rng))
    return scaled(n, found)


def tail_exponent(alpha: float, *, rng: Rng, profile: Profile) -> Estimate:
    """Exponent of p⁻ in the variance of the estimated ratio as p⁻ → 0, p⁺ = .4, 10¹² examples of either class."""
    rejected = np.geomspace(1e-5, 1e-3, 5)
    n = 10**12
    found = [_variance(_sampled_ratios(0.4, float(q), n, n, alpha, 10 * profile.replicates, rng)) for q in rejected]
    return log_slope(rejected, found)


def worst_against_bound(alpha: float, *, rng: Rng, profile: Profile) -> Estimate:
    """Largest quotient of RDRO's sampled variance and its bound over p⁺ and p⁻, p⁻ from 0.9 down to 1e-6."""
    n, worst = 10**6, Estimate(0.0)
    for p in (0.1, 0.4, 0.8):
        bound = float(relative_variance_bound(np.array([p, 1.0 - p]), n, n, alpha)[0])
        for q in np.append(np.geomspace(1e-6, 0.1, 6), np.linspace(0.15, 0.9, 9)):
            found = _variance(_sampled_ratios(p, float(q), n, n, alpha, 50 * profile.replicates, rng))
            if found.value / bound > worst.value:
                worst = replace(scaled(1.0 / bound, found), witness=f"p+ = {p}, p- = {q:.3g}")
    return worst


def infinite_ratios(n_q: int, *, rng: Rng, profile: Profile) -> Estimate:
    """Share of samples whose plain ratio is infinite: an outcome with p⁻ = .01 that no rejected example shows."""
    ratios = _sampled_ratios(0.4, 0.01, 1000, n_q, 0.0, 50 * profile.replicates, rng)
    return proportion(int(np.isinf(ratios).sum()), ratios.size)


# R7: policies from samples.


def _samples(table: str, n: int, draws: int, rng: Rng) -> tuple[Array, Array, Array, Array]:
    """p⁺, p⁻ and `draws` empirical laws of each from n examples."""
    p, q = TABLES[table]
    return p, q, rng.multinomial(n, p, size=draws) / n, rng.multinomial(n, q, size=draws) / n


def _free_policies(method: str, p: Array, q: Array, p_hat: Array, q_hat: Array, alpha: float) -> Array:
    """π_ref times the estimated ratio (draws, A), the reference known exactly; not normalised."""
    if method == "sft":
        return p_hat
    if method == "ddro":
        return q * p_hat / q_hat
    return (alpha * p + (1.0 - alpha) * q) * p_hat / (alpha * p_hat + (1.0 - alpha) * q_hat)


def _distances(method: str, table: str, n: int, alpha: float, draws: int, rng: Rng) -> Array:
    p, q, p_hat, q_hat = _samples(table, n, draws, rng)
    return 0.5 * np.abs(_free_policies(method, p, q, p_hat, q_hat, alpha) - p).sum(axis=1)


def distance_rate(method: str, table: str, *, rng: Rng, profile: Profile) -> Estimate:
    """Slope of log E TV(π̂, p⁺) in log n, n = 10⁴ … 10⁷ examples of either class, α = ½."""
    sizes = 10 ** np.arange(4, 8)
    found = [mean(_distances(method, table, int(n), 0.5, 2 * profile.replicates, rng)) for n in sizes]
    return log_slope(sizes, found)


def distance_constant(method: str, table: str, alpha: float = 0.5, *, rng: Rng, profile: Profile) -> Estimate:
    """√n·E TV(π̂, p⁺) of the free estimators."""
    return scaled(ROOT, mean(_distances(method, table, EXAMPLES, alpha, 10 * profile.replicates, rng)))


def trained_constant(method: str, table: str, alpha: float = 0.5, *, rng: Rng, profile: Profile) -> Estimate:
    """√n·E TV(π̂, p⁺) of softmax policies trained on samples; "mle": maximum likelihood that knows p_α exactly."""
    p, q, p_hats, q_hats = _samples(table, EXAMPLES, max(8, profile.replicates // 4), rng)
    log_w = np.log(q if method == "ddro" else alpha * p + (1.0 - alpha) * q)
    distances = []
    for p_hat, q_hat in zip(p_hats, q_hats, strict=True):
        if method == "mle":
            loss = known_mixture_likelihood(p_hat, q_hat, log_w, alpha)
        else:
            loss = table_loss(example_loss(method, alpha=alpha), p_hat, q_hat, log_w)
        distances.append(total_variation(train_policy(loss, np.log(p))[0], p))
    return scaled(ROOT, mean(distances))


def known_mixture_likelihood(p_hat: Array, q_hat: Array, log_mixture: Array, alpha: float) -> Loss:
    """−Σ p̂⁺ log π − Σ p̂⁻ log p⁻, p⁻ = (p_α − απ)/(1−α), as many examples of either class.

    The likelihood ends where p⁻ = 0. There log p⁻ is continued below 5 % of p_α by its tangent, so that a descent that
    steps over the edge is sent back; optima are far inside.
    """
    mixture = np.exp(log_mixture)
    edge = 0.05 * mixture

    def evaluate(log_policy: Array) -> tuple[float, Array]:
        rest = (mixture - alpha * np.exp(log_policy)) / (1.0 - alpha)
        inside = np.maximum(rest, edge)
        value = -p_hat @ log_policy - q_hat @ (np.log(inside) + (rest - inside) / inside)
        return float(value), -p_hat + q_hat * alpha / (1.0 - alpha) * np.exp(log_policy) / inside

    return evaluate


def variance_quotient(table: str, alpha: float, outcome: int, *, rng: Rng, profile: Profile) -> Estimate:
    """Variance of RDRO's policy over DDRO's at one outcome, on the same samples; error from 20 batches."""
    p, q, p_hat, q_hat = _samples(table, EXAMPLES, 20 * profile.replicates, rng)
    rdro, ddro = (_free_policies(m, p, q, p_hat, q_hat, alpha)[:, outcome] for m in ("rdro", "ddro"))
    batches = [a.var() / b.var() for a, b in zip(np.array_split(rdro, 20), np.array_split(ddro, 20), strict=True)]
    return mean(batches)


def rejected_examples_cost(table: str, *, rng: Rng, profile: Profile) -> Estimate:
    """√n·(E TV of DDRO − E TV of SFT) on the same samples."""
    return _paired("ddro", table, 0.5, rng, profile)


def mixture_gain(table: str, alpha: float, *, rng: Rng, profile: Profile) -> Estimate:
    """√n·(E TV of RDRO − E TV of SFT) on the same samples."""
    return _paired("rdro", table, alpha, rng, profile)


def _paired(method: str, table: str, alpha: float, rng: Rng, profile: Profile) -> Estimate:
    p, q, p_hat, q_hat = _samples(table, EXAMPLES, 10 * profile.replicates, rng)
    found, sft = (np.abs(_free_policies(m, p, q, p_hat, q_hat, alpha) - p).sum(axis=1) for m in (method, "sft"))
    return scaled(ROOT, mean(0.5 * (found - sft)))


def own_reference(method: str, *, rng: Rng, profile: Profile) -> Estimate:
    """Largest TV between SFT and the policy trained with a reference fitted to the same 1000 + 1000 examples."""
    _, _, p_hats, q_hats = _samples("three", 1000, profile.repeats, rng)
    worst = 0.0
    for p_hat, q_hat in zip(p_hats, q_hats, strict=True):
        log_w = np.log(q_hat if method == "ddro" else 0.5 * p_hat + 0.5 * q_hat)
        trained, _ = train_policy(table_loss(example_loss(method), p_hat, q_hat, log_w), log_w)
        worst = max(worst, total_variation(trained, p_hat))
    return Estimate(worst, n=profile.repeats)


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "R6.variance": ratio_spread,
    "R6.rare": rare_spread,
    "R6.tail": tail_exponent,
    "R6.bound": worst_against_bound,
    "R6.infinite": infinite_ratios,
    "R7.rate": distance_rate,
    "R7.constant": distance_constant,
    "R7.trained": trained_constant,
    "R7.quotient": variance_quotient,
    "R7.ddro_below_sft": rejected_examples_cost,
    "R7.rdro_against_sft": mixture_gain,
    "R7.own_reference": own_reference,
}
