"""Alignment losses as divergence estimators (KLDO, KTO, BCO, DPO, FDO): claims V1 – V14.

D⁺ = p and D⁻ = q are the laws of preferred and dispreferred responses. Each loss, minimised over implicit rewards
r = kl_beta·log(π/π_ref), estimates a divergence of the two: its minimum is offset − scale·D(p‖q), its minimiser a
function of R = p/q alone. What is not a function of R is what training leaves to chance.

`LOSSES` holds the losses by name, `GENERATORS` the f-divergences of FDO; a user's own f enters by `custom`. Source:
Haldar, Wang, Song, Lin, Xing (arXiv 2502.00657).

Examples
--------
>>> p, q = [0.8, 0.2], [0.2, 0.8]
>>> best = minimizer("kldo", p, q)
>>> best.round(4)  # log R
array([ 1.3863, -1.3863])
>>> round(population_loss("kldo", best, p, q), 6), round(-kl(p, q), 6)
(-0.831777, -0.831777)
>>> round(estimated_divergence("bco", minimum("bco", p, q)), 6), round(jensen_shannon(p, q), 6)
(0.192745, 0.192745)
"""

from __future__ import annotations

from theory.divergences.by_generator import f_divergence
from theory.divergences.custom_generator import custom
from theory.divergences.gaussian import bhattacharyya_gaussian
from theory.divergences.generators import GENERATORS
from theory.divergences.losses import LOSSES, estimated_divergence, minimizer, minimum, population_loss
from theory.divergences.pairing import pair_covariance, unpaired_covariance
from theory.divergences.tables import chi_square, jensen_shannon, kl, squared_hellinger, total_variation

__all__ = [
    "GENERATORS",
    "LOSSES",
    "bhattacharyya_gaussian",
    "chi_square",
    "custom",
    "estimated_divergence",
    "f_divergence",
    "jensen_shannon",
    "kl",
    "minimizer",
    "minimum",
    "pair_covariance",
    "population_loss",
    "squared_hellinger",
    "total_variation",
    "unpaired_covariance",
]
