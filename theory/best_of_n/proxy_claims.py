"""Claims B11 and B12: which rewards allow free rejections, and Best-of-N on a proxy of the reward.

>>> from theory.claims import find_claim
>>> round(find_claim("B11").check("gamma").predict({"v": 0.3, "a": 0.3, "shape": 2.0, "log_n": 10000.0}), 4)
0.4168
"""

from __future__ import annotations

import numpy as np

from theory.best_of_n.examples import PROXY_TABLE
from theory.best_of_n.proxy import free_rejection_survival, proxy_best_of_n, soft_best_of_n_law
from theory.claim import Claim, equal, grid, of_topic
from theory.validate import check_whole


def gamma_survival(v: float, a: float, shape: float) -> float:
    """B11: P(Beta(kv, k(1−v)) > a)."""
    return free_rejection_survival(v, a, "gamma", shape)


def gaussian_survival(v: float, a: float) -> float:
    """B11: 1 or 0."""
    return free_rejection_survival(v, a, "gaussian")


def regular_survival(v: float, a: float, n: int) -> float:
    """B11: v, whatever a; at finite N the best row is also kept by chance where its jump is in the rest."""
    share = free_rejection_survival(v, a, "regular")
    n = check_whole("n", n)
    return share + (1.0 - share) * n**-a


def soft_truth(n: int, temperature: float) -> float:
    """B12: expected true reward of soft Best-of-N by the proxy, on `PROXY_TABLE`."""
    law = soft_best_of_n_law(PROXY_TABLE["policy"], PROXY_TABLE["proxy"], n, temperature)
    return float(law @ np.array(PROXY_TABLE["truth"]))


claim = of_topic("best_of_n")

PROXY_CLAIMS: tuple[Claim, ...] = (
    claim(
        "B11", "Which rewards allow free rejections",
        ("Speculative Rejection", "tail", "survival", "explained variance"),
        "Of N rows the N^{1−a} best by a score that explains a share v are kept: as N → ∞ the best survives surely for "
        "a < v with Gaussian rewards, with chance P(Beta(kv, k(1−v)) > a) for Gamma, v for regularly varying ones.",
        "@sun2024 (the method); ours", "equality",
        equal("gamma", "share of samples in which the best survives, log N = 10⁴", gamma_survival, measured=("log_n",),
              at=grid(v=(0.3, 0.55), a=(0.1, 0.3, 0.6), shape=2.0, log_n=10000.0), within=0.01,
              because="a share of samples, and terms of order (log log N)/log N"),
        equal("gaussian", "the same, Gaussian rewards", gaussian_survival, measured=("log_n",), within=0.01,
              at=grid(v=0.3, a=(0.25, 0.35), log_n=10000.0), because="at |a − v| = 0.05 the tails are beyond float64"),
        equal("regular", "the same, Pareto rewards, N = 4000", regular_survival, within=0.02,
              at=grid(v=(0.3, 0.55), a=(0.1, 0.3, 0.6), n=4000), because="a share of samples, and more than one jump"),
    ),
    claim(
        "B12", "Best-of-N on a proxy reward", ("Best-of-N", "proxy reward", "overoptimisation", "soft Best-of-N"),
        "By a Gaussian proxy of correlation ρ Best-of-N gains ρ times what it gains in the proxy and never turns; on a "
        "table whose best proxy is bad it turns, and soft Best-of-N at a temperature does not.",
        "@aminian2025 (soft Best-of-N); closed forms ours", "equality",
        equal("gaussian", "true reward of the row of best proxy reward, drawn rows", proxy_best_of_n, within=0.02,
              at=grid(n=(4, 64, 512), correlation=(0.3, 0.8)), because="Monte Carlo over samples"),
        equal("soft", "true reward of soft Best-of-N by the proxy of a table, drawn rows", soft_truth, within=0.01,
              at=grid(n=(4, 64, 512), temperature=(0.05, 1.0)), because="200 000 draws of a deviation below 1.5"),
    ),
)  # fmt: skip
