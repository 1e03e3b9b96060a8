"""Density ratios (DDRO) and relative ratios (RDRO): losses, their minimisers, variances."""

from __future__ import annotations

from theory.density_ratio.losses import (
    Bregman,
    batch_loss,
    ddro_loss,
    density_ratio,
    log_ratio_cap,
    measure_loss,
    measures,
    minimum,
    mixture,
    pooled_ratio,
    pooled_reference_weight,
    ratio_loss,
    ratio_variance,
    rdro_loss,
    relative_ratio,
    relative_variance_bound,
    repaired_alpha,
)

__all__ = [
    "Bregman",
    "batch_loss",
    "ddro_loss",
    "density_ratio",
    "log_ratio_cap",
    "measure_loss",
    "measures",
    "minimum",
    "mixture",
    "pooled_ratio",
    "pooled_reference_weight",
    "ratio_loss",
    "ratio_variance",
    "rdro_loss",
    "relative_ratio",
    "relative_variance_bound",
    "repaired_alpha",
]
