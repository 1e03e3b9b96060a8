"""Distortion: how far a policy falls short of the users' average utility, and what bounds it.

    distortion of π = max_{π'∈K} u(π') / u(π),   u(π) = Σ_x π(x) Σ_v w_v U[v,x],   K the KL ball of the instance

>>> from theory.distortion import audit, borda_factor, condorcet_instance, linear_factor
>>> round(linear_factor(5.0), 4), round(borda_factor(5.0), 4)  # no rule beats the first; Borda reaches the second
(2.5339, 3.4777)
>>> instance = condorcet_instance(bt_beta=5.0, n_alternatives=3, epsilon=1e-3)  # I3: every comparison is a fair coin
>>> round(instance.distortion([0.0, 0.5, 0.5]), 3)
2.534
>>> found = audit(instance.win_rates, [1 / 3, 1 / 3, 1 / 3], bt_beta=5.0)  # over all populations behind the win rates
>>> round(found.lower, 3), round(found.upper, 3)
(1.677, 1.677)

The package itself can be called, as `distortion` can: `from theory import distortion` gives the package, and
`theory.distortion(population, policy)` computes.
"""

from __future__ import annotations

import sys
from inspect import signature
from types import ModuleType

from theory.distortion.audit.interval import audit
from theory.distortion.audit.progress import Audit
from theory.distortion.ball_instances import ipo_factor, mismatch_instance, tight_ball_instance
from theory.distortion.borda_certificate import certify_borda_factor
from theory.distortion.factors import (
    borda_factor,
    borda_lower_factor,
    borda_upper_factor,
    linear_factor,
    linear_slope,
    optimal_gamma,
)
from theory.distortion.few import (
    audit_pair,
    comparisons_needed,
    minimax_beta,
    minimax_mass,
    safe_margin,
    uniform_borda_factor,
)
from theory.distortion.instance import Instance
from theory.distortion.instances import (
    borda_instance,
    condorcet_instance,
    copeland_instance,
    correlated_instance,
    rlhf_instance,
)
from theory.distortion.measure import distortion
from theory.distortion.methods import METHODS
from theory.distortion.proportional import (
    coalition_limit,
    electorate,
    least_win_rate,
    pair_proportional_factor,
    proportional_upper_factor,
    recovery_error,
    unanimous_distortion,
    worst_pair,
)

__all__ = [
    "METHODS",
    "Audit",
    "Instance",
    "audit",
    "audit_pair",
    "borda_factor",
    "borda_instance",
    "borda_lower_factor",
    "borda_upper_factor",
    "certify_borda_factor",
    "coalition_limit",
    "comparisons_needed",
    "condorcet_instance",
    "copeland_instance",
    "correlated_instance",
    "distortion",
    "electorate",
    "ipo_factor",
    "least_win_rate",
    "linear_factor",
    "linear_slope",
    "minimax_beta",
    "minimax_mass",
    "mismatch_instance",
    "optimal_gamma",
    "pair_proportional_factor",
    "proportional_upper_factor",
    "recovery_error",
    "rlhf_instance",
    "safe_margin",
    "tight_ball_instance",
    "unanimous_distortion",
    "uniform_borda_factor",
    "worst_pair",
]


class _Callable(ModuleType):
    """A package that can be called: importing it makes it the attribute `distortion` of `theory`, a function there."""

    __call__ = staticmethod(distortion)
    __signature__ = signature(distortion)


sys.modules[__name__].__class__ = _Callable
