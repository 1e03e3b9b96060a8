"""What theory says of correctors prompt by prompt: laws (P, A) of answers, kernels (P, A, A) of their corrections."""

from __future__ import annotations

import numpy as np

from theory.correction import composition
from theory.correction.copying import unchanged_share
from theory.validate import Array


def composed(laws: Array, kernels: Array) -> Array:
    """πK (P, A), one round of correction."""
    return np.array([composition.compose(pi, K) for pi, K in zip(laws, kernels, strict=True)])


def gains(laws: Array, kernels: Array, utilities: Array) -> Array:
    """What a round adds to the mean utility (P,), by utilities (P, A), or (A,) of every prompt."""
    each = zip(laws, kernels, np.broadcast_to(utilities, laws.shape), strict=True)
    return np.array([composition.gain(pi, K, u) for pi, K, u in each])


def unchanged_shares(laws: Array, kernels: Array) -> Array:
    """How often an answer comes back as it was (P,)."""
    return np.array([unchanged_share(pi, K) for pi, K in zip(laws, kernels, strict=True)])


def transfer_bounds(laws: Array, training: Array, kernels: Array, trained: Array, utilities: Array) -> Array:
    """How far the gain (P,) of `trained` kernels may be from that of `kernels`, on laws not seen in training."""
    each = zip(laws, training, kernels, trained, np.broadcast_to(utilities, laws.shape), strict=True)
    bounds = []
    for pi, seen, K, M, u in each:
        excess = float(seen @ (K * np.log(K / M)).sum(axis=1))  # of the training loss over its floor, nats
        bounds.append(composition.transfer_bound(pi, seen, max(0.0, excess), u))
    return np.array(bounds)
