"""Tables of scores and references that the tests of theory/proximal*.py draw."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from scipy.special import expit

SEEDS = st.integers(0, 2**32 - 1)
THIRDS = np.full(3, 1 / 3)


def random_table(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(ŝ, μ̂, μ) with some unlabelled responses."""
    rng = np.random.default_rng(seed)
    empirical = rng.dirichlet(np.full(n, 0.8)) * (np.arange(n) < max(2, n - 2))
    empirical /= empirical.sum()
    scores = np.where(empirical > 0, rng.normal(size=n), 0.0)
    scores = np.where(empirical > 0, scores - empirical @ scores, 0.0)
    return scores, empirical, rng.dirichlet(np.full(n, 2.0)) * 0.98 + 0.02 / n


def optimality_residual(rewards: np.ndarray, signal: np.ndarray, weights: np.ndarray, alpha: float) -> float:
    """max_y |Σ_{y'} μ(y')(σ(r(y) − r(y')) − ½) − w(y)/(αμ(y))|: 0 at the optimum only (P3)."""
    left = (expit(rewards[:, None] - rewards) - 0.5) @ weights
    return float(np.abs(left - signal / (alpha * weights)).max())
