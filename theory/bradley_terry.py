"""Individual Bradley–Terry users: populations, win rates, and the maximum-likelihood rewards that RLHF fits to them.

A population is V user types with weights w and utilities U ∈ [0,1]^{V×A}. A user of type v who compares x with y
answers "x" with probability σ(bt_beta·(U[v,x] − U[v,y])). No single reward explains the mixture, and that misfit
is what the distortion of alignment measures.

Source: Gölz, Haghtalab, Yang, "Distortion of AI Alignment" (arXiv 2505.23749), section 2.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from theory.numerics import centred_sigmoid
from theory.solution import CertificateError
from theory.validate import (
    Array,
    as_numbers,
    check_bt_beta,
    check_distribution,
    check_pair_weights,
    check_positive,
    check_whole,
    check_win_rates,
)

#: A range of the Newton step, nats, at which rewards are still on their way.
MOVING = 1e-3
#: One at which the newest rewards are the best: the rounding of other scores may hide what a rare win misses.
SETTLED = 1e-9
#: Numbers that `Population.win_rates` holds at a time beyond its answer: they stay in a cache.
WIN_RATES_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class Population:
    """V user types: `utilities` (V, A) in [0,1], `weights` (V,) nonnegative with sum one (uniform by default).

    ValueError names an entry outside its range. Arrays are copied and frozen.

    References
    ----------
    Gölz, Haghtalab, Yang (arXiv 2505.23749), section 2.

    Examples
    --------
    >>> from theory import Population
    >>> users = Population([[1.0, 0.0], [0.2, 0.6]], weights=[0.25, 0.75])
    >>> users.average_utility, users.win_rates(bt_beta=2.0).round(4)
    (array([0.4 , 0.45]), array([[0.5   , 0.4527],
           [0.5473, 0.5   ]]))
    """

    utilities: Array
    weights: Array = None  # type: ignore[assignment]  # None on the way in only: uniform

    def __post_init__(self) -> None:
        U = as_numbers("utilities", self.utilities).copy()
        if U.ndim != 2 or U.size == 0:
            raise ValueError(f"utilities must be (types, alternatives), got shape {U.shape}")
        outside = ~((U >= 0) & (U <= 1))  # written so that NaN counts as outside
        if outside.any():
            v, x = np.argwhere(outside)[0]
            raise ValueError(f"utilities[{v}, {x}] = {U[v, x]} is outside [0, 1]")
        V = U.shape[0]
        w = np.full(V, 1.0 / V) if self.weights is None else check_distribution("weights", self.weights, V).copy()
        U.flags.writeable = w.flags.writeable = False
        object.__setattr__(self, "utilities", U)
        object.__setattr__(self, "weights", w)

    @property
    def average_utility(self) -> Array:
        """u(x) = Σ_v w_v U[v,x], shape (A,)."""
        return self.weights @ self.utilities

    def win_rates(self, bt_beta: float) -> Array:
        """P(x≻y) = Σ_v w_v σ(bt_beta (U[v,x] − U[v,y])), shape (A, A), with P + Pᵀ = 1 exactly.

        The sum runs over blocks of types on tanh(z/2)/2 = σ(z) − ½, which is odd in floating point too: memory
        O(A²), and clones tie exactly. Weights that sum to one with rounding above it leave no rate outside [0, 1].
        """
        beta, (V, A) = check_bt_beta(bt_beta), self.utilities.shape
        margins = np.zeros((A, A))
        size = max(1, WIN_RATES_BLOCK // A**2)
        for start in range(0, V, size):
            U, w = self.utilities[start : start + size], self.weights[start : start + size]
            margins += (w[:, None, None] * centred_sigmoid(beta * (U[:, :, None] - U[:, None, :]))).sum(axis=0)
        return 0.5 + np.clip(margins, -0.5, 0.5)


def check_population(population: Population) -> Population:
    """TypeError where something else stands for a population."""
    if not isinstance(population, Population):
        raise TypeError(f"population must be a Population, got {type(population).__name__}")
    return population


def product_pairs(mu: ArrayLike) -> Array:
    """Pair law of product sampling: both alternatives drawn from mu (A,), independently; μ μᵀ, shape (A, A)."""
    mu = check_distribution("mu", mu)
    return np.outer(mu, mu)


def compared_pairs(pair_weights: ArrayLike, size: int) -> Array:
    """The pair law (A, A) without its diagonal: comparisons of an alternative with itself say nothing."""
    Q = check_pair_weights(pair_weights, size).copy()
    np.fill_diagonal(Q, 0.0)
    return Q


@dataclass(frozen=True, eq=False)
class RewardFit:
    """Bradley–Terry maximum likelihood: `rewards` (A,), largest 0, and the `residual` of the fit.

    residual: the largest |row score|/row mass, where row x's score is Σ_y Q[x,y](P(x≻y) − σ(r_x − r_y)). Dividing
    by the row's mass matters: on I6 at bt_beta = 20 masses span 1 to 10⁻¹⁹, and an absolute residual looks
    converged long before the small classes have moved.
    """

    rewards: Array
    residual: float


def fit_rewards(
    win_rates: ArrayLike, pair_weights: ArrayLike, *, tolerance: float = 1e-10, max_steps: int = 10_000
) -> RewardFit:
    """The Bradley–Terry maximum-likelihood reward of a population of comparisons,

        max_r Σ_{x,y} Q[x,y] P(x≻y) log σ(r_x − r_y),   Q = pair_weights,

    up to a constant. Newton's method with the step log(1+δ)/δ, δ the range of the full step: log σ has |f‴| ≤ |f″|, for
    which this step decreases the loss at every iterate without a line search, and tends to the full step.

    Parameters
    ----------
    win_rates : array_like, (A, A)
        P(x≻y) in [0, 1], P(x≻y) + P(y≻x) = 1.
    pair_weights : array_like, (A, A)
        Law of the compared pair: symmetric, nonnegative, sum one; class masses on a collapsed instance.
    tolerance : float
        Largest residual accepted (see `RewardFit`); the iteration itself runs on to rounding error.
    max_steps : int
        Newton steps, of about a nat each where wins are rare.

    Returns
    -------
    RewardFit
        Rewards (A,), nats, the largest 0, and the residual.

    Raises
    ------
    ValueError
        Malformed input, a disconnected comparison graph, or separable data (a group that loses no comparison with the
        rest: the maximum is not attained).
    CertificateError
        The residual stays above `tolerance`, or the rewards are still on their way after `max_steps`.

    References
    ----------
    Gölz, Haghtalab, Yang (arXiv 2505.23749), section 2; the step: Bach (2010), "Self-concordant analysis for logistic
    regression", Prop. 1.

    Examples
    --------
    >>> from theory.bradley_terry import fit_rewards
    >>> P = [[0.5, 0.6, 0.8], [0.4, 0.5, 0.7], [0.2, 0.3, 0.5]]
    >>> uniform = [[1 / 9] * 3] * 3
    >>> fit_rewards(P, uniform).rewards.round(3)
    array([ 0.   , -0.442, -1.332])
    """
    P = check_win_rates(win_rates)
    Q = compared_pairs(pair_weights, P.shape[0])
    tolerance, max_steps = check_positive("tolerance", tolerance), check_whole("max_steps", max_steps)
    if P.shape[0] == 1:
        return RewardFit(np.zeros(1), 0.0)
    _require_maximum(P, Q)
    Q /= Q.sum()  # on I6 the informative mass is 1/N: bring the Newton step to scale one
    row_mass = Q.sum(axis=1)
    rewards = np.zeros(P.shape[0])
    best = RewardFit(rewards, np.inf)
    stalled, spread = 0, np.inf
    for _ in range(max_steps):
        expected = expit(rewards[:, None] - rewards[None, :])
        miss = P - expected
        # of P and 1 − P the smaller has the digits
        score = (Q * np.where(P > 0.5, -miss.T, miss)).sum(axis=1)
        residual = float(np.max(np.abs(score) / row_mass))
        # a rare win moves its reward by a nat a step, which halves the residual and no more
        stalled = 0 if residual < 0.5 * best.residual or spread > MOVING else stalled + 1
        if residual < best.residual or spread > SETTLED:
            best = RewardFit(rewards - rewards.max(), residual)
        if residual == 0.0 or (stalled >= 3 and best.residual <= tolerance):
            break
        curvature = Q * expected * expected.T
        if curvature.max(axis=1).min() < sys.float_info.min:
            raise CertificateError("Bradley–Terry fit: wins as rare as 1e-308 have no digits left in float64")
        step = _solve_laplacian(curvature, score)
        spread = float(np.ptp(step))
        rewards = rewards + (np.log1p(spread) / spread if spread > 0 else 1.0) * step
        rewards -= rewards.mean()
    else:  # where wins are rare a small residual says little
        if spread > MOVING:
            raise CertificateError(
                f"Bradley–Terry fit: the rewards still move by {spread:.2g} nats after {max_steps} steps"
            )
    if not best.residual <= tolerance:
        raise CertificateError(f"Bradley–Terry fit stopped at residual {best.residual:.2e} > {tolerance:.0e}")
    return best


def _require_maximum(P: Array, Q: Array) -> None:
    """ValueError unless the maximum is attained: the graph with an edge x→y where x wins at times is strong."""
    pieces, label = connected_components(Q > 0, directed=False)
    if pieces > 1:
        members = np.flatnonzero(label == label[0])
        raise ValueError(
            f"pair_weights: the comparison graph is disconnected ({pieces} pieces; alternatives "
            f"{members[:5].tolist()}… are never compared with the rest): there is no maximum-likelihood reward"
        )
    groups, label = connected_components((Q > 0) & (P > 0), directed=True, connection="strong")
    if groups > 1:
        # Some strong component wins every comparison with the rest: its reward diverges.
        for group in range(groups):
            inside = label == group
            if not ((Q > 0) & (P > 0))[np.ix_(~inside, inside)].any():
                raise ValueError(
                    f"win_rates are separable: alternatives {np.flatnonzero(inside)[:5].tolist()} never lose to the "
                    "rest, so the maximum-likelihood reward is infinite"
                )


def _solve_laplacian(weights: Array, right_side: Array) -> Array:
    """d with Σ_y weights[x,y](d_x − d_y) = right_side[x]; weights symmetric ≥ 0, connected; Σ right_side = 0.

    The heaviest node is grounded (d = 0) and the rest scaled to unit diagonal, so that classes of mass 1 and
    10⁻¹⁹ in one graph do not meet in one pivot.
    """
    degree = weights.sum(axis=1)
    ground = int(degree.argmax())
    keep = np.arange(degree.size) != ground
    scale = 1.0 / np.sqrt(degree[keep])
    matrix = -weights[np.ix_(keep, keep)] * scale[:, None] * scale[None, :]
    np.fill_diagonal(matrix, 1.0 - weights.diagonal()[keep] / degree[keep])
    d = np.zeros(degree.size)
    d[keep] = scale * solve(matrix, scale * right_side[keep], assume_a="pos")
    return d
