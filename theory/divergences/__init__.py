"""Divergences, and the alignment losses that estimate them (KLDO, KTO, BCO, DPO, FDO)."""

from __future__ import annotations

from theory.divergences.custom_generator import custom
from theory.divergences.gaussian import bhattacharyya_gaussian, f_divergence_gaussian, kl_gaussian
from theory.divergences.generators import GENERATORS, Generator, Infinite, alpha_divergence, f_divergence
from theory.divergences.losses import LOSSES, estimated_divergence, minimizer, minimum, population_loss
from theory.divergences.tables import chi_square, jensen_shannon, kl, squared_hellinger, total_variation

__all__ = [
    "GENERATORS",
    "LOSSES",
    "Generator",
    "Infinite",
    "alpha_divergence",
    "bhattacharyya_gaussian",
    "chi_square",
    "custom",
    "estimated_divergence",
    "f_divergence",
    "f_divergence_gaussian",
    "jensen_shannon",
    "kl",
    "kl_gaussian",
    "minimizer",
    "minimum",
    "population_loss",
    "squared_hellinger",
    "total_variation",
]
