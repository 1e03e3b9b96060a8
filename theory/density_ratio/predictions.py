"""What R1–R9 predict at a setting: the formulas of the topic, called on the tables and preferences that checks share.

Formulas are called through their modules, so that a changed one changes every prediction that rests on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from theory.claim import Value
from theory.density_ratio import estimates, limits, policies
from theory.density_ratio import flow as flows
from theory.density_ratio import losses as ratios
from theory.divergences import tables
from theory.validate import Array

#: Examples of either class behind R7's constants.
EXAMPLES = 20_000


def constant(value: float) -> Callable[..., float]:
    """A prediction that is the same at every setting."""
    return lambda **_: value


def denominator(method: str, table: str, alpha: float = 0.5) -> tuple[Array, Array]:
    """p⁺ and the law in the ratio's denominator on a named table."""
    p, q = limits.TABLES[table]
    return p, q if method == "ddro" else ratios.mixture(p, q, alpha)


def least_loss(method: str, member: str, table: str, alpha: float = 0.5, **_: Value) -> float:
    """R1, R2: 2 log 2 − 2 JS(p⁺, d), and its LSIF and KLIEP relatives."""
    p, d = denominator(method, table, alpha)
    if member == "logistic":
        return 2.0 * math.log(2.0) - 2.0 * tables.jensen_shannon(p, d)
    return ratios.minimum(member, *limits.TABLES[table], None if method == "ddro" else alpha)


def winners(preferences: str, outcome: int, **_: Value) -> float:
    """R3: p⁺(x) = 2μ(x)(½ + s(x))."""
    return float(limits.comparison_laws(*limits.PREFERENCES[preferences])[0][outcome])


def distance_of_limit(preferences: str, method: str, **_: Value) -> float:
    """R3: TV of a method's population limit from p⁺."""
    P, mu = limits.PREFERENCES[preferences]
    reached = limits.population_limit(method, P, mu)
    return tables.total_variation(reached, limits.comparison_laws(P, mu)[0])


def flow_at(method: str, rejected: float, time: float, alpha: float = 0.3, **_: Value) -> float:
    """R4: a free log-ratio at a time, p⁺(y) = 0.4."""
    d = rejected if method == "ddro" else alpha * 0.4 + (1.0 - alpha) * rejected
    return float(flows.flow(time, 0.4, d))


def policy_flow_at(method: str, table: str, time: float, **_: Value) -> float:
    """R4: the log-ratio of outcome 0 of a normalised policy, uniform reference, α = 0.3."""
    p, d = denominator(method, table, 0.3)
    return float(flows.policy_flow([time], p, d, np.full(p.size, 1.0 / p.size))[0, 0])


def ratio_of_reduction(alpha: float, reduction: str, **_: Value) -> float:
    """R5: the table of one outcome with p⁺ = .5, p⁻ = .2, chosen fraction a = α."""
    p, q = np.array([0.5, 0.5]), np.array([0.2, 0.8])
    found = ratios.relative_ratio(p, q, alpha) if reduction == "class_mean" else ratios.pooled_ratio(p, q, alpha, alpha)
    return float(found[0])


def pooled_distance(table: str, alpha: float, chosen_fraction: float, **_: Value) -> float:
    """R5: TV from p⁺ of the pooled optimum over policies from π_ref = p_α."""
    p, q = limits.TABLES[table]
    reference = ratios.mixture(p, q, alpha)
    found = policies.constrained_optimum(p, q, reference, alpha=alpha, chosen_fraction=chosen_fraction)
    return tables.total_variation(found.policy, p)


def repaired_distance(table: str, chosen_fraction: float, **_: Value) -> float:
    """R5: the same from p_a with the repaired α; 0."""
    p, q = limits.TABLES[table]
    alpha = ratios.repaired_alpha(chosen_fraction)
    reference = ratios.mixture(p, q, ratios.pooled_reference_weight(alpha, chosen_fraction))
    found = policies.constrained_optimum(p, q, reference, alpha=alpha, chosen_fraction=chosen_fraction)
    return tables.total_variation(found.policy, p)


def minibatch_distance(table: str, alpha: float, reduction: str, **_: Value) -> float:
    """R5: 0 for class means, the pooled optimum's distance at a = α for a batch mean."""
    return 0.0 if reduction == "class_mean" else pooled_distance(table, alpha, alpha)


def spread(alpha: float, outcome: int, n_p: int, n_q: int, **_: Value) -> float:
    """R6: the delta-method variance."""
    p, q = limits.TABLES["three"]
    return float(ratios.ratio_variance(p, q, n_p, n_q, alpha)[outcome])


def distance_constant(normalised: bool) -> Callable[..., float]:
    """R7: √n·E TV(π̂, p⁺), n examples of either class."""

    def predict(method: str, table: str, alpha: float = 0.5, **_: Value) -> float:
        p, q = limits.TABLES[table]
        if method == "mle":
            covariance = estimates.efficient_covariance(p, q, EXAMPLES, EXAMPLES, alpha)
        else:
            covariance = estimates.policy_covariance(method, p, q, EXAMPLES, EXAMPLES, alpha, normalised=normalised)
        return math.sqrt(EXAMPLES) * estimates.expected_total_variation(covariance)

    return predict


def against_sft(table: str, alpha: float, **_: Value) -> float:
    """R7: √n·(E TV of RDRO − E TV of SFT)."""
    free = distance_constant(normalised=False)
    return free("rdro", table, alpha) - free("sft", table)


def rare_spread(alpha: float, rejected: float, **_: Value) -> float:
    """R6: n times the variance of the ratio of an outcome with p⁺ = 0.4, n examples of either class."""
    p, q = np.array([0.4, 0.6]), np.array([rejected, 1.0 - rejected])
    return float(ratios.ratio_variance(p, q, 1, 1, alpha)[0])


def misspecified_distance(method: str, member: str, table: str, share: float, **_: Value) -> float:
    """R8: TV from p⁺ of the optimum from the reference share·p⁺ + (1 − share)·p⁻, α = 0.3 for RDRO."""
    p, q = limits.TABLES[table]
    reference, alpha = share * p + (1.0 - share) * q, None if method == "ddro" else 0.3
    found = policies.constrained_optimum(p, q, reference, alpha=alpha, member=member)
    return tables.total_variation(found.policy, p)


def trap_loss(start: str, **_: Value) -> float:
    """R8: the losses of DDRO's two local minima on the table "trap"."""
    found = policies.local_minima(*limits.TABLES["trap"], [0.05, 0.95])
    return found[0 if start == "everywhere" else 1].value


def page_distance(method: str, reference: str, **_: Value) -> float:
    """R9: TV from p⁺ on the table "rare", kl_beta = 1."""
    p, q = limits.TABLES["rare"]
    w = {"rejected": q, "mixture": 0.5 * p + 0.5 * q, "uniform": np.full(p.size, 0.25)}[reference]
    return tables.total_variation(limits.reached_policy(method, p, q, w), p)
