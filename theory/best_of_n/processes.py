"""Reward processes of partial responses: sums of independent increments on a lattice, Gaussian and Gamma.

A row's score at decision j is S_j = X₁ + … + X_j and its final reward R = S_J + X_{J+1}, with independent
increments; the scorer sees S_j plus an independent error. Where all E[X_{j+1}] = 0 the score is a martingale, the
conditional expectation of R. Ranks are all that selection uses, so an increasing transformation of the reward
changes nothing but the reward's own scale.

A law is a vector of masses on the nodes of a lattice of spacing h. A lattice process is represented exactly; a
continuous one is rounded to it, which adds h²/12 to the variance of each increment.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammainc, gammainccinv, ndtr

from theory.validate import Array, as_numbers, check_positive

#: A distribution function x ↦ P(X ≤ x), vectorised.
Distribution = Callable[[Array], Array]
#: Half-width of the lattice of a Gaussian process, in standard deviations of the final reward.
SPAN = 8.5
#: Spacing of the lattice: a quarter of the smallest increment's standard deviation, within these bounds.
FINEST, COARSEST = SPAN / 4096, 0.0125
#: Most nodes on either side of 0: beyond it a kernel of scores that are nothing but noise fills the memory.
LARGEST_HALF = 2**18
#: A Gamma process is cut off where less than this mass lies beyond.
TAIL = 1e-17


@dataclass(frozen=True, eq=False)
class RewardProcess:
    """Rows that are sums of independent increments, on a lattice.

    increments  J + 1 distributions, of X₁ … X_{J+1}; None for an increment that is 0
    noise       J distributions of the scorer's independent error at each decision; None for an exact score
    nodes       (K,) the lattice: equally spaced, through 0, wide enough to hold the scores and the noisy scores
    """

    increments: tuple[Distribution | None, ...]
    noise: tuple[Distribution | None, ...]
    nodes: Array

    def __post_init__(self) -> None:
        if len(self.increments) != len(self.noise) + 1:
            raise ValueError(
                f"{len(self.noise)} decisions need {len(self.noise) + 1} increments, got {len(self.increments)}"
            )

    @property
    def decisions(self) -> int:
        """J."""
        return len(self.noise)

    @property
    def spacing(self) -> float:
        """h."""
        return float(self.nodes[1] - self.nodes[0])

    def start(self) -> Array:
        """All mass at 0: the law (1, K) before anything is written."""
        return (np.arange(self.nodes.size) == np.abs(self.nodes).argmin()).astype(np.float64)[None]

    def kernel(self, distribution: Distribution | None) -> Array:
        """Masses (2K − 1,) of an increment at the lags −(K−1)h … (K−1)h; the ends take what lies beyond."""
        lags = np.arange(1 - self.nodes.size, self.nodes.size)
        if distribution is None:
            return (lags == 0).astype(np.float64)
        below = distribution(np.asarray((lags[:-1] + 0.5) * self.spacing, dtype=np.float64))
        return np.diff(np.concatenate(([0.0], below, [1.0])))


def gaussian_process(
    explained_variance: ArrayLike,
    noise: ArrayLike | None = None,
    *,
    spacing: float | None = None,
    coarsest: float = COARSEST,
) -> RewardProcess:
    """The Gaussian martingale: R standard normal, S_j = E[R | what is written at t_j], Var S_j = v_j.

    explained_variance  (J,) v_j, nondecreasing in [0, 1]: the share of the reward's variance known at decision j
    noise               (J,) variance of the scorer's error, ≥ 0, in units of Var R; None for none. A score that
                        correlates with R at ρ_j has v_j/√(v_j + noise_j) = ρ_j
    spacing             of the lattice; None: a quarter of the smallest increment's standard deviation, within
                        [`FINEST`, `coarsest`]
    """
    v = check_explained_variance(explained_variance)
    errors = np.zeros(v.size) if noise is None else check_noise(noise, v.size)
    steps = np.diff(np.concatenate(([0.0], v, [1.0])))
    spacing = _spacing(steps, coarsest) if spacing is None else check_positive("spacing", spacing)
    # Scores that are mostly noise range further than the reward itself.
    half = math.ceil(SPAN * math.sqrt(max(1.0, float((v + errors).max(initial=1.0)))) / spacing)
    if half > LARGEST_HALF:
        j = int((v + errors).argmax())
        raise ValueError(f"noise[{j}] = {errors[j]:g} is too large: its lattice would have {2 * half + 1:,} nodes")
    nodes = np.arange(-half, half + 1, dtype=np.float64) * spacing
    last = int(np.flatnonzero(steps)[-1])
    # Rounding adds h²/12 to each variance, which the increments give up beforehand (Sheppard's correction); the
    # last rounding moves no row past another.
    increments = tuple(_normal(step, 0.0 if j == last else spacing) for j, step in enumerate(steps))
    return RewardProcess(increments, tuple(_normal(error, spacing) for error in errors), nodes)


def gamma_process(explained_variance: ArrayLike, shape: float) -> RewardProcess:
    """A skewed martingale: S_j = (Γ(shape·v_j) − shape·v_j)/√shape for a Gamma process Γ; Var S_j = v_j.

    Scores rise by jumps and fall steadily; the skewness of R is 2/√shape > 0 and its upper tail is exponential.

    explained_variance  (J,) nondecreasing in [0, 1];  shape  > 0
    """
    v = check_explained_variance(explained_variance)
    k = check_positive("shape", shape)
    steps = np.diff(np.concatenate(([0.0], v, [1.0])))
    spacing = _spacing(steps)
    highest = (float(gammainccinv(k, TAIL)) - k) / math.sqrt(k)
    ends = -math.ceil(math.sqrt(k) / spacing) - 2, math.ceil(highest / spacing) + 2
    nodes = np.arange(*ends, dtype=np.float64) * spacing
    return RewardProcess(tuple(_gamma(k * step, math.sqrt(k)) for step in steps), (None,) * v.size, nodes)


def _spacing(steps: Array, coarsest: float = COARSEST) -> float:
    smallest = math.sqrt(float(steps[steps > 0].min()))
    return min(max(smallest / 4, FINEST), coarsest)


def _normal(variance: float, spacing: float) -> Distribution | None:
    """Centred normal distribution, less the variance of rounding to `spacing` where there is enough of it."""
    if variance == 0:
        return None
    rounding = spacing**2 / 12
    scale = math.sqrt(variance - rounding if variance > 3 * rounding else variance)
    return lambda x: ndtr(x / scale)


def _gamma(shape: float, scale: float) -> Distribution | None:
    """(Γ(shape) − shape)/scale."""
    return (lambda x: gammainc(shape, np.maximum(x * scale + shape, 0.0))) if shape > 0 else None


def check_explained_variance(explained_variance: ArrayLike) -> Array:
    """(J,) nondecreasing numbers in [0, 1], J = 0 allowed; ValueError names the first entry that is not."""
    v = as_numbers("explained_variance", explained_variance)
    if v.ndim != 1:
        raise ValueError(f"explained_variance must be a vector, one entry per decision, got shape {v.shape}")
    for j, value in enumerate(v):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"explained_variance[{j}] = {value} is outside [0, 1]")
        if j and value < v[j - 1]:
            raise ValueError(f"explained_variance[{j}] = {value} is below explained_variance[{j - 1}] = {v[j - 1]}")
    return v


def check_noise(noise: ArrayLike, decisions: int) -> Array:
    """(J,) finite variances ≥ 0; ValueError names the first entry that is not."""
    w = as_numbers("noise", noise)
    if w.shape != (decisions,):
        raise ValueError(f"noise must have one entry per decision, {decisions}, got shape {w.shape}")
    for j, value in enumerate(w):
        if not 0.0 <= value < math.inf:
            raise ValueError(f"noise[{j}] = {value} must be a finite variance >= 0")
    return w
