"""Games of known kinds, and certificates of their equilibria by routes that the solvers do not share.

A maximum over columns for lotteries, the dual function of the ball (a scalar convex problem) for NLHF.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import linprog, minimize_scalar
from scipy.special import logsumexp

from theory.policy.kl_ball import kl, kl_from_log

GAP = 1e-9


def random_game(size: int, seed: int) -> np.ndarray:
    """Independent uniform win rates: equilibria on about half of the alternatives."""
    return complement(np.random.default_rng(seed).random((size, size)))


def bradley_terry_mixture(size: int, seed: int, bt_beta: float = 5.0, users: int = 10) -> np.ndarray:
    rng = np.random.default_rng(seed)
    utilities, weights = rng.random((users, size)), rng.dirichlet(np.ones(users))
    P = np.zeros((size, size))
    for u, w in zip(utilities, weights, strict=True):
        P += w / (1.0 + np.exp(-bt_beta * (u[:, None] - u[None, :])))
    return complement(P)


def complement(P: np.ndarray) -> np.ndarray:
    upper = np.triu(P, 1)
    return upper + np.tril(1.0 - upper.T, -1) + 0.5 * np.eye(P.shape[0])


def dirichlet(size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(size, 2.0))


def lottery_by_program(P: np.ndarray) -> np.ndarray:
    """max t with πᵀM ≥ t, Σπ = 1, π ≥ 0, by HiGHS."""
    size = P.shape[0]
    found = linprog(
        np.r_[np.zeros(size), -1.0], A_ub=np.hstack([0.5 - P.T, np.ones((size, 1))]), b_ub=np.zeros(size),
        A_eq=np.r_[np.ones(size), 0.0][None, :], b_eq=[1.0], bounds=[(0, 1)] * size + [(None, None)],
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )  # fmt: skip
    return np.asarray(found.x[:-1])


def exploitability(P: np.ndarray, policy: np.ndarray) -> float:
    return float(np.max((P - 0.5) @ policy))


def ball_exploitability(P: np.ndarray, policy: np.ndarray, log_ref: np.ndarray, tau: float) -> float:
    """max of π'ᵀMπ over the ball as the least λ·tau + λ·log Σ π_ref e^{Mπ/λ}: an upper bound at any λ."""
    values = (P - 0.5) @ policy
    shifted = values - values.max()

    def dual(log_weight: float) -> float:
        weight = math.exp(log_weight)
        return weight * tau + weight * float(logsumexp(log_ref + shifted / weight))

    grid = np.linspace(-30.0, 15.0, 181)
    start = grid[int(np.argmin([dual(x) for x in grid]))]
    best = minimize_scalar(dual, bounds=(start - 0.3, start + 0.3), method="bounded", options={"xatol": 1e-9})
    return float(min(best.fun, 0.0) + values.max())


def assert_solves_ball(P: np.ndarray, log_ref: np.ndarray, tau: float, policy: np.ndarray, gap: float = 1e-8) -> None:
    """Feasible, and of dual gap at most `gap`; the default allows for the scalar search, good to 1e-9."""
    assert policy.min() >= 0
    assert policy.sum() == pytest.approx(1.0, abs=1e-12)
    assert kl_from_log(policy, log_ref) <= tau + 1e-10
    assert ball_exploitability(P, policy, log_ref, tau) <= gap


def penalty_gap(P: np.ndarray, policy: np.ndarray, ref: np.ndarray, weight: float) -> float:
    """What a best response gains against `policy`, with the penalty weight·KL on both sides."""
    values = (P - 0.5) @ policy
    return weight * (float(logsumexp(np.log(ref) + values / weight)) + kl(policy, ref))
