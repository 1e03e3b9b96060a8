"""What tests of the audit share: populations, their true distortion, and how narrow an interval is."""

from __future__ import annotations

import math

import numpy as np

from theory.bradley_terry import Population
from theory.distortion.audit.progress import Audit
from theory.policy.kl_ball import maximize_in_kl_ball

#: What A ≤ 3 reaches; the measured gaps are about 2e-6 (see the module's last padding stage).
CLOSED = 1e-4


def population(rng: np.random.Generator, types: int, alternatives: int) -> Population:
    return Population(rng.random((types, alternatives)), rng.dirichlet(np.ones(types)))


def true_distortion(users: Population, policy: np.ndarray, reference=None, tau=math.inf) -> float:
    u = users.average_utility
    return float(u @ maximize_in_kl_ball(u, reference, tau)) / float(u @ policy)


def relative_gap(result: Audit) -> float:
    return 0.0 if result.lower == result.upper else result.upper / result.lower - 1.0
