"""DPO split into an optimiser and a regulariser (PRO): losses, optima, existence, closed forms."""

from __future__ import annotations

from theory.proximal.closed_forms import (
    binary_log_ratio,
    pair_log_ratio,
    paper_binary_gap,
    scalar_log_ratio,
    zero_hyper_binary_gap,
)
from theory.proximal.existence import (
    dpo_attained,
    existence_threshold,
    flat_directions,
    mixture_threshold,
    paper_threshold,
    separation,
)
from theory.proximal.feedback import (
    empirical_scores,
    feedback_scores,
    merge_unlabelled,
    mixture_weights,
    population_scores,
)
from theory.proximal.losses import dpo_loss, edpo_loss, kl_bernoulli_half
from theory.proximal.optimum import Optimum, hyper_optimum, proximal_log_ratio, proximal_optimum
from theory.proximal.solver import optimality_residual, solve_rewards

__all__ = [
    "Optimum",
    "binary_log_ratio",
    "dpo_attained",
    "dpo_loss",
    "edpo_loss",
    "empirical_scores",
    "existence_threshold",
    "feedback_scores",
    "flat_directions",
    "hyper_optimum",
    "kl_bernoulli_half",
    "merge_unlabelled",
    "mixture_threshold",
    "mixture_weights",
    "optimality_residual",
    "pair_log_ratio",
    "paper_binary_gap",
    "paper_threshold",
    "population_scores",
    "proximal_log_ratio",
    "proximal_optimum",
    "scalar_log_ratio",
    "separation",
    "solve_rewards",
    "zero_hyper_binary_gap",
]
