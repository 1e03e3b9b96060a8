"""Claim B13: pessimism at inference beside Best-of-N, where the true reward turns.

>>> from theory.claims import find_claim
>>> round(find_claim("B13").check("limit").predict({"n": 4096, "chi_beta": 0.3}), 4)
1.4425
"""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

import numpy as np

from theory.best_of_n.examples import FAULTY, GOOD, OVERRATED, PROXY_TABLE, rare_table
from theory.best_of_n.faulty_proxy import FaultyProxy
from theory.best_of_n.law import best_of_n_law
from theory.best_of_n.pessimism import pessimism_law, pessimism_regret, pessimistic_policy
from theory.claim import Claim, at_most, equal, grid, of_topic
from theory.validate import check_positive


def rare_error(rare: float) -> float:
    """ε: standard deviation of proxy minus truth."""
    return OVERRATED * math.sqrt(rare * (1.0 - rare))


def rare_regret(rare: float) -> float:
    """B13: ε√χ² against the good response, χ² = 1/GOOD − 1: the bound at the best weight."""
    error, chi_square = rare_error(rare), 1.0 / GOOD - 1.0
    return pessimism_regret(error / math.sqrt(chi_square), error, chi_square)


def rare_best_of_n(rare: float, draws: float) -> float:
    """B13: true reward of Best-of-N at N = draws/rare."""
    policy, proxy, truth = rare_table(rare)
    return float(best_of_n_law(policy, proxy, round(check_positive("draws", draws) / rare)) @ truth)


def table_truth(n: int, chi_beta: float) -> float:
    """B13: expected true reward of the sampler's n draws on `PROXY_TABLE`."""
    return float(
        pessimism_law(PROXY_TABLE["policy"], PROXY_TABLE["proxy"], n, chi_beta) @ np.array(PROXY_TABLE["truth"])
    )


def limit_truth(chi_beta: float) -> float:
    """B13: its limit."""
    found = pessimistic_policy(PROXY_TABLE["policy"], PROXY_TABLE["proxy"], chi_beta)
    return float(found.policy @ np.array(PROXY_TABLE["truth"]))


def faulty_truth(share: float, chi_beta: float) -> float:
    """B13: expected true reward of pessimism where a share of the responses fools a Gaussian proxy."""
    return FaultyProxy(share=share, **FAULTY).pessimism(chi_beta).truth


def faulty_best_of_n(share: float, n: int) -> float:
    """B13: the same of Best-of-N."""
    return FaultyProxy(share=share, **FAULTY).best_of_n(n).truth


def at_equal_kl(method: Literal["pessimism", "soft"], share: float, n: int) -> float:
    """B13: true reward of Best-of-N less that of a method at the KL of Best-of-N."""
    law = FaultyProxy(share=share, **FAULTY)
    best = law.best_of_n(n)
    return best.truth - law.at(best.kl, method).truth


claim = of_topic("best_of_n")

PESSIMISM_CLAIMS: tuple[Claim, ...] = (
    claim(
        "B13", "Pessimism at inference",
        ("Best-of-N", "proxy reward", "overoptimisation", "pessimism", "chi-square", "regret"),
        "At the best weight the χ²-regularised policy of a proxy with error ε is at most ε√χ² worse than any policy at "
        "that χ², and no rule does better; drawn by rejection it keeps its true reward as N grows, where Best-of-N's "
        "falls by a constant; on Gaussian proxies Best-of-N up to N = 64 is ahead of it at equal KL.",
        "@huang2025 (InferenceTimePessimism); constants, their optimality and the finite-N law ours", "equality",
        equal("table", "true reward of N draws accepted or rejected by the proxy of a table", table_truth, within=0.02,
              at=grid(n=(4, 16, 32), chi_beta=(0.3, 1.0)), because="100 000 draws of a deviation below 1.5"),
        equal("limit", "the same at large N", limit_truth, measured=("n",), within=0.02,
              at=grid(n=4096, chi_beta=(0.1, 0.3, 1.0)), because="Monte Carlo, and terms of order 1/N"),
        equal("faulty", "true reward of pessimism, a Gaussian proxy that a share of the responses fools", faulty_truth,
              at=grid(share=(0.0, 0.01), chi_beta=(0.15, 0.7)), within=0.02,
              because="Monte Carlo, and terms of order 1/N at N = 1000"),
        equal("turns", "true reward of Best-of-N on the same rows", faulty_best_of_n, within=0.025,
              at=grid(share=0.01, n=(4, 16, 512)), because="Monte Carlo over samples"),
        equal("falls", "true reward of Best-of-N at N = draws/rare, a bad response that looks best", rare_best_of_n,
              at=grid(rare=(0.01, 0.001, 0.0001), draws=(0.05, 2.0)), within=0.02, because="Monte Carlo over samples"),
        equal("same_kl", "true reward of Best-of-N less that of pessimism at its KL, a Gaussian proxy",
              partial(at_equal_kl, "pessimism"), at=grid(share=(0.0, 0.01), n=(4, 16, 64)), within=0.01,
              because="Monte Carlo over the same rows"),
        equal("soft", "the same of soft Best-of-N among all rows", partial(at_equal_kl, "soft"), within=0.02,
              at=grid(share=(0.0, 0.01), n=(4, 16)), because="Monte Carlo, by few rows of large weight"),
        at_most("holds", "regret of pessimism at N = 2/rare on the same tables, at the best weight", rare_regret,
                at=grid(rare=(0.01, 0.001, 0.0001)), because="Monte Carlo, and the draws that set λ", within=0.01),
        at_most("bound", "largest regret over ε√χ² at the best weight, tables and policies by search", 1.0,
                because="rounding", within=1e-9),
    ),
)  # fmt: skip
