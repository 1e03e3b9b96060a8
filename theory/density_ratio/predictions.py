"""What R1–R9 predict at a setting: the formulas of the topic, called on the tables and preferences that checks share.

Formulas are called through their modules, so that a changed one changes every prediction that rests on it.
"""

from __future__ import annotations

import math

import numpy as np

from theory.density_ratio import estimates, limits, losses, policies, ratios
from theory.density_ratio import flow as flows
from theory.divergences import tables
from theory.validate import Array, check_between

#: Examples of either class behind R7's constants.
EXAMPLES = 20_000


def denominator(method: str, table: str, alpha: float = 0.5) -> tuple[Array, Array]:
    """p⁺ and the law in the ratio's denominator on a named table."""
    p, q = limits.TABLES[table]
    return p, q if method == "ddro" else ratios.mixture(p, q, alpha)


def least_loss(method: str, member: str, table: str, alpha: float | None = None) -> float:
    """R1, R2: 2 log 2 − 2 JS(p⁺, d), and its LSIF and KLIEP relatives."""
    if method == "ddro" and alpha is not None:
        raise ValueError(f"alpha = {alpha} is of RDRO: DDRO has none")
    share = 0.5 if alpha is None else alpha
    if member == "logistic":
        return 2.0 * math.log(2.0) - 2.0 * tables.jensen_shannon(*denominator(method, table, share))
    return losses.minimum(member, *limits.TABLES[table], None if method == "ddro" else share)


def ratio_cap(alpha: float) -> float:
    """R2: 1/α."""
    return math.exp(ratios.log_ratio_cap(alpha))


def winners(preferences: str, outcome: int) -> float:
    """R3: p⁺(x) = 2μ(x)(½ + s(x))."""
    return float(limits.comparison_laws(*limits.PREFERENCES[preferences])[0][outcome])


def distance_of_limit(preferences: str, method: str) -> float:
    """R3: TV of a method's population limit from p⁺."""
    P, mu = limits.PREFERENCES[preferences]
    return tables.total_variation(limits.population_limit(method, P, mu), limits.comparison_laws(P, mu)[0])


def flow_at(method: str, rejected: float, time: float) -> float:
    """R4: a free log-ratio at a time, p⁺(y) = 0.4, α = 0.3."""
    q = check_between("rejected", rejected)
    d = q if method == "ddro" else 0.3 * 0.4 + (1.0 - 0.3) * q
    return float(flows.flow(time, 0.4, d))


def approach_rate(alpha: float) -> float:
    """R4: the rate at which the cap is approached, p⁺(y) = 0.4."""
    return flows.convergence_rate(0.4, 0.4 * alpha)


def largest_push(method: str, alpha: float) -> float:
    """R4: the largest derivative of a chosen example's loss."""
    slopes = flows.chosen_gradient(np.linspace(-30.0, 30.0, 601), None if method == "ddro" else alpha)
    return float(np.max(slopes))


def policy_flow_at(method: str, table: str, time: float) -> float:
    """R4: the log-ratio of outcome 0 of a normalised policy, uniform reference, α = 0.3."""
    p, d = denominator(method, table, 0.3)
    return float(flows.policy_flow([time], p, d, np.full(p.size, 1.0 / p.size))[0, 0])


def ratio_of_reduction(alpha: float, reduction: str) -> float:
    """R5: the table of one outcome with p⁺ = .5, p⁻ = .2, chosen fraction a = α."""
    p, q = np.array([0.5, 0.5]), np.array([0.2, 0.8])
    ratio = ratios.relative_ratio(p, q, alpha) if reduction == "class_mean" else ratios.pooled_ratio(p, q, alpha, alpha)
    return float(ratio[0])


def pooled_distance(table: str, alpha: float, chosen_fraction: float, weight: float | None = None) -> float:
    """R5: TV from p⁺ of the pooled optimum over policies from weight·p⁺ + (1 − weight)·p⁻, p_α if None."""
    p, q = limits.TABLES[table]
    reference = ratios.mixture(p, q, alpha if weight is None else weight)
    optimum = policies.constrained_optimum(p, q, reference, alpha=alpha, chosen_fraction=chosen_fraction)
    return tables.total_variation(optimum.policy, p)


def repaired_distance(table: str, chosen_fraction: float) -> float:
    """R5: the same from p_a with the repaired α; 0."""
    alpha = ratios.repaired_alpha(chosen_fraction)
    return pooled_distance(table, alpha, chosen_fraction, ratios.pooled_reference_weight(alpha, chosen_fraction))


def minibatch_distance(table: str, alpha: float, reduction: str) -> float:
    """R5: 0 for class means, the pooled optimum's distance at a = α for a batch mean."""
    return 0.0 if reduction == "class_mean" else pooled_distance(table, alpha, alpha)


def spread(alpha: float, outcome: int, n_p: int, n_q: int) -> float:
    """R6: the delta-method variance."""
    return float(ratios.ratio_variance(*limits.TABLES["three"], n_p, n_q, alpha)[outcome])


def rare_spread(alpha: float, rejected: float) -> float:
    """R6: n times the variance of the ratio of an outcome with p⁺ = 0.4, n examples of either class."""
    return float(ratios.ratio_variance([0.4, 0.6], [rejected, 1.0 - rejected], 1, 1, alpha)[0])


def tail_exponent(alpha: float) -> float:
    """R6: of p⁻ in that variance as p⁻ → 0."""
    return -3.0 if alpha == 0.0 else 1.0


def infinite_share(n_q: int) -> float:
    """R6: how often no rejected example shows an outcome of p⁻ = .01."""
    return float(estimates.infinite_share([0.01, 0.99], n_q)[0])


def free_distance(method: str, table: str, alpha: float = 0.5, *, normalised: bool = False) -> float:
    """R7: √n·E TV(π̂, p⁺) of free ratios, n examples of either class."""
    p, q = limits.TABLES[table]
    if method == "mle":
        covariance = estimates.efficient_covariance(p, q, EXAMPLES, EXAMPLES, alpha)
    else:
        covariance = estimates.policy_covariance(method, p, q, EXAMPLES, EXAMPLES, alpha, normalised=normalised)
    return math.sqrt(EXAMPLES) * estimates.expected_total_variation(covariance)


def trained_distance(method: str, table: str, alpha: float = 0.5) -> float:
    """R7: the same of trained, hence normalised, policies."""
    return free_distance(method, table, alpha, normalised=True)


def variance_quotient(table: str, alpha: float, outcome: int) -> float:
    """R7: variance of RDRO's policy over DDRO's."""
    return float(estimates.variance_quotient(*limits.TABLES[table], alpha)[outcome])


def against_sft(table: str, alpha: float) -> float:
    """R7: √n·(E TV of RDRO − E TV of SFT)."""
    return free_distance("rdro", table, alpha) - free_distance("sft", table)


def misspecified_distance(method: str, member: str, table: str, share: float) -> float:
    """R8: TV from p⁺ of the optimum from the reference share·p⁺ + (1 − share)·p⁻, α = 0.3 for RDRO."""
    p, q = limits.TABLES[table]
    reference, alpha = share * p + (1.0 - share) * q, None if method == "ddro" else 0.3
    optimum = policies.constrained_optimum(p, q, reference, alpha=alpha, member=member)
    return tables.total_variation(optimum.policy, p)


def trap_loss(start: str) -> float:
    """R8: the losses of DDRO's two local minima on the table "trap"."""
    return policies.local_minima(*limits.TABLES["trap"], [0.05, 0.95])[0 if start == "everywhere" else 1].value


def page_distance(method: str, reference: str) -> float:
    """R9: TV from p⁺ on the table "rare", kl_beta = 1."""
    p, q = limits.TABLES["rare"]
    w = {"rejected": q, "mixture": 0.5 * p + 0.5 * q, "uniform": np.full(p.size, 0.25)}[reference]
    return tables.total_variation(limits.reached_policy(method, p, q, w), p)
