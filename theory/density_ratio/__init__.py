"""Alignment from unpaired examples by density ratios (DDRO) and relative ratios (RDRO): claims R1 – R11.

Preferred examples y ~ p and dispreferred ones y ~ q train a policy through ρ = π/π_ref. DDRO's minimiser is p/q, which
is unbounded, and so is its variance; RDRO's is p/(αp + (1−α)q) ≤ 1/α. Averaging both classes in one batch changes
what is estimated unless they are equally many (R5). Sources: Higuchi, Suzuki (arXiv 2505.07558); Takahashi et al.
(arXiv 2604.04410); pooled batches, variances and limits are ours.

Examples
--------
>>> p, q = [0.75, 0.25], [0.25, 0.75]
>>> density_ratio(p, q).round(3), relative_ratio(p, q, alpha=0.5)
(array([3.   , 0.333]), array([1.5, 0.5]))
>>> pooled_ratio(p, q, alpha=0.5, chosen_fraction=0.2).round(3)
array([0.857, 0.154])
>>> ratio_variance(p, q, n_p=100, n_q=100).round(4), ratio_variance(p, q, n_p=100, n_q=100, alpha=0.5).round(4)
(array([0.3   , 0.0037]), array([0.0047, 0.0047]))
"""

from __future__ import annotations

from theory.density_ratio.losses import ddro_loss, rdro_loss
from theory.density_ratio.ratios import (
    density_ratio,
    pooled_ratio,
    ratio_variance,
    relative_ratio,
    relative_variance_bound,
)
from theory.density_ratio.reference import best_alpha, estimated_reference_covariance
from theory.density_ratio.welfare import consistency_factor

__all__ = [
    "best_alpha",
    "consistency_factor",
    "ddro_loss",
    "density_ratio",
    "estimated_reference_covariance",
    "pooled_ratio",
    "ratio_variance",
    "rdro_loss",
    "relative_ratio",
    "relative_variance_bound",
]
