"""Correction data as counts: how often an answer o was turned into c. Sampling, training and means on counts.

Counts are sufficient statistics, so that 10¹⁰ pairs cost what a table costs. Shapes: A answers, (..., A, A) tables.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from simulate.montecarlo import Estimate, Rng
from simulate.profiles import Profile
from simulate.softmax import minimise
from theory.validate import Array

Counts = NDArray[np.int64]


def samples(profile: Profile) -> int:
    """How many answers are sampled: 2·10¹⁰ at profile cpu."""
    return 10_000_000 * profile.replicates


def draw(law: Array, n: int, rng: Rng) -> Counts:
    """Counts (of the law's shape) of n draws."""
    return rng.multinomial(n, law.ravel()).reshape(law.shape)


def corrected(originals: Counts, kernel: Array, rng: Rng) -> Counts:
    """Counts (A, A) of (o, c), every one of the originals (A,) corrected on its own."""
    return np.array([rng.multinomial(n, row) for n, row in zip(originals, kernel, strict=True)])


def train_rows(counts: Counts) -> Array:
    """The corrector (..., A, C) trained by maximum likelihood on counts (..., A, C), from uniform logits.

    Full-batch descent on the logits of each row; rows are weighed evenly, which leaves the optimum where it is.
    A row without data stays uniform.
    """
    totals = counts.sum(axis=-1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    trained = minimise(lambda log_k: (-float((shares * log_k).sum()), -shares), np.zeros(counts.shape), tolerance=1e-7)
    kernel = np.exp(trained.log_policy)
    return kernel / kernel.sum(axis=-1, keepdims=True)


def held_out(counts: Counts, log_model: Array) -> Estimate:
    """−E log model over fresh data, nats: counts and log-probabilities of one shape."""
    return mean_of_counts(-log_model, counts)


def mean_of_counts(values: Array, counts: Counts) -> Estimate:
    """Mean of values over counts with its standard error; values are not looked at where nothing was counted."""
    seen = counts > 0
    x, n = values[seen], counts[seen].astype(np.float64)
    total = float(n.sum())
    centre = float(n @ x) / total
    variance = float(n @ (x - centre) ** 2) / (total - 1.0)
    return Estimate(centre, math.sqrt(variance / total), int(total))


def with_training(found: Estimate, values: Array, policy: Array, pairs: Counts) -> Estimate:
    """The same mean on answers of a policy (A,), its error that of the corrector's training as well.

    Row o was learnt from n_o of the pairs (A, A), so that Σ_o π(o)² Var_K(v | o)/n_o is added to the variance; v are
    values (A,) of what an answer is turned into, or (A, A).
    """
    n = pairs.sum(axis=1)
    kernel = pairs / n[:, None]
    centre = (kernel * values).sum(axis=1, keepdims=True)
    spread = (kernel * (values - centre) ** 2).sum(axis=1)
    return Estimate(found.value, math.hypot(found.stderr, math.sqrt(float((policy**2 * spread / n).sum()))), found.n)
