"""Distortion: how far a policy falls short of the users' average utility, and what bounds it."""

from __future__ import annotations

from theory.distortion.audit.interval import audit
from theory.distortion.audit.progress import Audit
from theory.distortion.borda_certificate import certify_borda_factor
from theory.distortion.factors import (
    borda_factor,
    borda_lower_factor,
    borda_upper_factor,
    linear_factor,
    linear_slope,
    optimal_gamma,
)
from theory.distortion.instances import (
    Instance,
    borda_instance,
    condorcet_instance,
    copeland_instance,
    correlated_instance,
    rlhf_instance,
)
from theory.distortion.measure import distortion
from theory.distortion.methods import METHODS

__all__ = [
    "METHODS",
    "Audit",
    "Instance",
    "audit",
    "borda_factor",
    "borda_instance",
    "borda_lower_factor",
    "borda_upper_factor",
    "certify_borda_factor",
    "condorcet_instance",
    "copeland_instance",
    "correlated_instance",
    "distortion",
    "linear_factor",
    "linear_slope",
    "optimal_gamma",
    "rlhf_instance",
]
