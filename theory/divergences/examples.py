"""Instances on which claims are stated and measured, beside the tables of `theory.divergences.safety_data`."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from theory.divergences import custom_generator
from theory.divergences.generators import Generator
from theory.divergences.safety_data import example_pair
from theory.validate import Array

#: D⁺, D⁻ and π_ref of the fixed-constant checks: D⁺/D⁻ = (2, 2, 2/3, 2/3); λ > 0; λ > 0 with several local minima.
FIXED = {
    "two ratios": ((0.4, 0.1, 0.3, 0.2), (0.2, 0.05, 0.45, 0.3), (0.1, 0.4, 0.3, 0.2)),
    "too little mass": ((0.1, 0.2, 0.3, 0.4), (0.25, 0.3, 0.3, 0.15), (0.2, 0.4, 0.3, 0.1)),
    "far branch": ((0.75, 0.23, 0.02), (0.46, 0.41, 0.13), (0.11, 0.19, 0.7)),
}


def fixed_instance(instance: str) -> tuple[Array, Array, Array]:
    """D⁺, D⁻ and π_ref of an entry of `FIXED`."""
    p, q, reference = (np.array(values) for values in FIXED[instance])
    return p, q, reference


def triangular(u: Array) -> Array:
    """The user's generator of V5: (u − 1)²/(u + 1), the triangular discrimination Σ(p − q)²/(p + q)."""
    return (u - 1.0) ** 2 / (u + 1.0)


@lru_cache(maxsize=1)
def users_generator() -> Generator:
    """`triangular` with its computed conjugate."""
    return custom_generator.custom(triangular, name="user", at_zero=1.0, at_infinity=1.0)


def named(generator: str) -> str | Generator:
    """The generator of a setting."""
    return users_generator() if generator == "user" else generator


def minibatch_rewards() -> tuple[Array, Array]:
    """Rewards and D⁻ of the minibatch checks: the optimum log R of a table of six outcomes."""
    p, q = example_pair(6, 1.5)
    return np.log(p / q), q


def representation(class_axis: float) -> tuple[Array, Array, Array]:
    """Two means (4,) three units apart on axis 0, and variances (4,): class_axis on it, 9, 4, 1 on the others."""
    return 3.0 * np.eye(4)[0], np.zeros(4), np.array([class_axis, 9.0, 4.0, 1.0])
