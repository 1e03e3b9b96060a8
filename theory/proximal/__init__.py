"""Proximal preference optimisation (PRO): what its losses lead to, as numbers (claims P1 – P16).

Maximum likelihood of preferences (DPO) is a linear term plus a regulariser over all pairs of responses; samples keep
the first and lose most of the second, so DPO does not determine likelihoods (P5). PRO restores it,

    min over π of  −Σ_y w(y) r(y) + (α/2) Σ_{y,y'} μ(y)μ(y') klB(r(y) − r(y')),      r = kl_beta·log(π/π_ref),

and has one optimum, absolute likelihoods included, iff α > α*. The program is convex and shift-invariant in r: it is
solved there, certified by its optimality condition (P3)

    Σ_{y'} μ(y')(σ(r(y) − r(y')) − ½) = w(y)/(αμ(y))     for every y,

and normalised afterwards. Source: Guo, Li, Chen (arXiv 2505.23316).

Examples
--------
Response 0 was preferred to 1 and nothing is known of 2; DPO raises the margin for ever, PRO stops:

>>> scores, empirical = empirical_scores(3, [(0, 1)])
>>> weights = [1 / 3] * 3
>>> dpo_attained(3, [(0, 1)])
False
>>> round(existence_threshold(scores, empirical, weights), 12)
1.125
>>> proximal_optimum(weights, scores, empirical, weights, alpha=9 / 4, kl_beta=1.0).round(4)
array([0.5918, 0.1304, 0.2778])
"""

from __future__ import annotations

from theory.proximal.closed_forms import binary_log_ratio, pair_log_ratio, scalar_log_ratio
from theory.proximal.descent import coupled_path
from theory.proximal.existence import dpo_attained, existence_threshold
from theory.proximal.feedback import empirical_scores, feedback_scores, population_scores
from theory.proximal.losses import dpo_loss, edpo_loss
from theory.proximal.optimum import proximal_optimum

__all__ = [
    "binary_log_ratio",
    "coupled_path",
    "dpo_attained",
    "dpo_loss",
    "edpo_loss",
    "empirical_scores",
    "existence_threshold",
    "feedback_scores",
    "pair_log_ratio",
    "population_scores",
    "proximal_optimum",
    "scalar_log_ratio",
]
