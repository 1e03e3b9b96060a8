"""Best-of-N and Speculative Rejection: laws, rewards, divergences, tokens and time."""

from __future__ import annotations

from theory.best_of_n.cost import Cost, speculative_cost, speculative_tokens, speedup
from theory.best_of_n.evolution import cut_fractions, evolve, survivor_counts
from theory.best_of_n.gaussian import correlated_reward
from theory.best_of_n.law import (
    best_of_n_kl,
    best_of_n_law,
    best_of_n_reward,
    kl_bound,
    kl_with_atoms,
    win_rate,
    win_rate_with_atoms,
)
from theory.best_of_n.order_statistics import equivalent_n, expected_best, expected_inverse_range, expected_max
from theory.best_of_n.processes import RewardProcess, gamma_process, gaussian_process
from theory.best_of_n.rejection import expected_reward, speculative_reward, survivor_law, winner_survival

__all__ = [
    "Cost",
    "RewardProcess",
    "best_of_n_kl",
    "best_of_n_law",
    "best_of_n_reward",
    "correlated_reward",
    "cut_fractions",
    "equivalent_n",
    "evolve",
    "expected_best",
    "expected_inverse_range",
    "expected_max",
    "expected_reward",
    "gamma_process",
    "gaussian_process",
    "kl_bound",
    "kl_with_atoms",
    "speculative_cost",
    "speculative_reward",
    "speculative_tokens",
    "speedup",
    "survivor_counts",
    "survivor_law",
    "win_rate",
    "win_rate_with_atoms",
    "winner_survival",
]
