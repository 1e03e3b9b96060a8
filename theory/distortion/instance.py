"""An instance: a population with everything that a method needs to run on it and its distortion is measured in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from theory.bradley_terry import Population
from theory.distortion.measure import distortion
from theory.validate import Array


@dataclass(frozen=True, eq=False)
class Instance:
    """A population with everything a method needs to run on it.

    Attributes
    ----------
    population
        user types over A alternatives (or classes of identical alternatives)
    pair_weights
        (A, A) law of the compared pair
    log_reference
        (A,) log π_ref, nats;  `reference` is its exponential and may underflow (I6)
    tau
        KL budget in nats
    multiplicity
        (A,) identical alternatives per class
    bt_beta
        the users' temperature that the instance was built for
    names
        (A,) one word per alternative

    References
    ----------
    Gölz, Haghtalab, Yang (arXiv 2505.23749), proofs of Theorems 3, 5, 6 and 9.

    Examples
    --------
    >>> from theory.distortion import rlhf_instance
    >>> instance = rlhf_instance(10.0)
    >>> instance.names, instance.multiplicity, instance.tau
    (('a', 'b', 'c'), array([1.0000e+00, 1.0000e+00, 7.1658e+04]), 1.0)
    """

    population: Population
    pair_weights: Array
    log_reference: Array
    tau: float
    multiplicity: Array
    bt_beta: float
    names: tuple[str, ...]

    @property
    def reference(self) -> Array:
        """π_ref (A,); entries below e^{-745} are 0 here, so solvers should be given `log_reference`."""
        return np.exp(self.log_reference)

    @property
    def mu(self) -> Array:
        """(A,) marginal of the pair law: how often each alternative (class) is compared."""
        return self.pair_weights.sum(axis=1)

    @property
    def win_rates(self) -> Array:
        """(A, A) population win rates at the instance's own bt_beta."""
        return self.population.win_rates(self.bt_beta)

    def distortion(self, policy: ArrayLike) -> float:
        """Distortion of a policy (A,) in the instance's own ball: max_{π'∈K} u(π') / u(policy).

        This is the number that the bounds are about. `theory.distortion.distortion(instance.population, policy)` is
        not: without `log_reference` and `tau` its benchmark may leave the ball, and on I6 it puts NLHF above L(β).
        """
        return distortion(self.population, policy, tau=self.tau, log_reference=self.log_reference)
