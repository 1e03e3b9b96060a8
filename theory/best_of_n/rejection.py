"""What Speculative Rejection returns: expected reward, the survivors' law at each decision, survival of the winner.

All three are exact expectations over the random thresholds of `theory.best_of_n.evolution`, for a row process of
independent increments (`theory.best_of_n.processes`); jointly Gaussian scores of any correlation are in
`theory.best_of_n.gaussian`. Rewards are in standard deviations of the final reward of one response.

Algorithm: Sun et al. (arXiv 2410.20290), section 3; the analysis is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betainc

from theory.best_of_n.evolution import (
    check_counts,
    closure_fractions,
    convolve,
    cut_fractions,
    distribution_power,
    evolve,
    survivor_counts,
)
from theory.best_of_n.order_statistics import expected_max
from theory.best_of_n.processes import RewardProcess, gaussian_process
from theory.validate import Array, as_numbers, check_flag


def speculative_reward(
    n: int,
    explained_variance: ArrayLike,
    keep: ArrayLike,
    *,
    noise: ArrayLike | None = None,
    transform: Callable[[Array], Array] | None = None,
    closure: bool = False,
) -> float:
    """Expected best reward of Speculative Rejection on n rows, standard normal final reward (B4).

    Parameters
    ----------
    n : int
        Rows at the start, 1 … 10⁹.
    explained_variance : array_like, (J,)
        v_j = Var(score at decision j)/Var(reward), nondecreasing in [0, 1]; J = 0 is Best-of-N.
    keep : float or array_like, (J,)
        Fraction kept, in (0, 1]; 1 everywhere is Best-of-N.
    noise : array_like, (J,), optional
        Variance of the scorer's own error; none for a martingale score.
    transform : callable, optional
        The reward as an increasing function of a standard normal variable.
    closure : bool
        The N → ∞ closure followed by the maximum of n_J draws, instead of finite n.

    Returns
    -------
    float
        In standard deviations (or the unit of transform). Absolute error below 5·10⁻⁴, mostly below 10⁻⁴; if some v_j
        is positive but below 10⁻⁵, up to √v_j·E max_n.

    Raises
    ------
    ValueError
        A number outside its range, or vectors of different length.

    References
    ----------
    Algorithm: Sun et al. (arXiv 2410.20290), section 3; the value is ours.

    Examples
    --------
    >>> from theory.best_of_n import expected_max, speculative_reward
    >>> round(speculative_reward(64, [0.25, 0.5], keep=0.5), 3), round(expected_max(64), 3)
    (2.3, 2.344)
    """
    process = gaussian_process(explained_variance, noise)
    counts = survivor_counts(n, keep, process.decisions)
    if transform is None and counts[-1] == counts[0]:
        return expected_max(counts[0])
    return expected_reward(process, counts, transform=transform, closure=check_flag("closure", closure))


def expected_reward(
    process: RewardProcess,
    counts: Sequence[int],
    *,
    transform: Callable[[Array], Array] | None = None,
    closure: bool = False,
    product: bool | None = None,
) -> float:
    """Expected best reward when counts[j] rows stay after decision j: Σ over thresholds of ∫ r d(F_U(r)^{n_J}).

    counts     n₀ ≥ n₁ ≥ … ≥ n_J ≥ 1
    transform  as in `speculative_reward`;  closure, product  see `theory.best_of_n.evolution`
    """
    counts = check_counts(counts, process.decisions)
    fractions, weights = closure_fractions(counts) if closure else cut_fractions(counts, product=product)
    best = np.diff(distribution_power(evolve(process, fractions).final, counts[-1]), prepend=0.0, axis=-1)
    values = process.nodes if transform is None else _transformed(process.nodes, transform)
    return float(weights @ (best @ values))


def _transformed(nodes: Array, transform: Callable[[Array], Array]) -> Array:
    """The rewards (K,) at the nodes; ValueError unless `transform` is elementwise, finite and nondecreasing there."""
    if not callable(transform):
        raise TypeError(f"transform must be a function, got {type(transform).__name__}")
    values = as_numbers("the value of transform", transform(nodes))
    if values.shape != nodes.shape:
        raise ValueError(f"transform must act elementwise: shape {nodes.shape} gave {values.shape}")
    if not np.isfinite(values).all() or (np.diff(values) < 0).any():
        raise ValueError("transform must be finite and increasing")
    return values


def survivor_law(process: RewardProcess, counts: Sequence[int], decision: int) -> Array:
    """Masses (K,) of the score of one row that survives `decision` (1 … J; J + 1: its final reward).

    The law of a survivor drawn at random, on `process.nodes`. The earlier thresholds are summed over as in
    `expected_reward`; the decision's own is integrated out: a row whose rank among n is the quantile u is among the
    k best with probability I_u(n − k, k), the regularised incomplete beta function.
    """
    counts = check_counts(counts, process.decisions)
    if not 1 <= decision <= process.decisions + 1:
        raise ValueError(f"decision = {decision} is outside 1 … {process.decisions + 1}")
    j = min(decision, process.decisions)
    before = RewardProcess(process.increments[:j], process.noise[: j - 1], process.nodes)
    fractions, weights = cut_fractions(counts[:j])
    alive = evolve(before, fractions).final
    noise = process.kernel(process.noise[j - 1])
    scores = convolve(alive, noise)
    kept = np.diff(_kept_below(np.cumsum(scores, axis=1), counts[j - 1], counts[j]), prepend=0.0, axis=1)
    passes = np.divide(kept, scores, out=np.zeros_like(kept), where=scores > 0)
    survivors = weights @ (alive * convolve(passes, noise[::-1]))
    return survivors if decision == j else convolve(survivors, process.kernel(process.increments[-1]))


def _kept_below(u: Array, n: int, k: int) -> Array:
    """Share of the k best of n that have quantiles below u: (n/k)·∫₀^u I_s(n − k, k) ds."""
    if n == k:
        return u
    u = np.minimum(u, 1.0)
    return n / k * (u * betainc(n - k, k, u) - (n - k) / n * betainc(n - k + 1, k, u))


def survivor_distribution(process: RewardProcess, counts: Sequence[int], decision: int, score: float) -> float:
    """P(score of a survivor of `decision` ≤ score), linear between the edges of the lattice's cells."""
    below = np.cumsum(survivor_law(process, counts, decision))
    return float(np.interp(score, process.nodes + process.spacing / 2, below))


def winner_survival(process: RewardProcess, counts: Sequence[int]) -> float:
    """Probability that the row Best-of-N would return (highest final reward of all n) survives every decision.

    Given the thresholds, the n_{j−1} − n_j rows dropped at decision j are independent too: one has its score at
    the threshold, the others are draws of the law below it. With G_j and H_j the distributions of their final
    rewards, the winner is a survivor with probability ∫ Π_j G_j(r)^{n_{j−1}−n_j−1} H_j(r) d(F_U(r)^{n_J}).
    """
    counts = check_counts(counts, process.decisions)
    fractions, weights = cut_fractions(counts)
    evolution = evolve(process, fractions)
    outdone = np.ones_like(evolution.final)
    to_go = process.kernel(None)
    for j in reversed(range(process.decisions)):
        to_go = convolve_kernels(process.kernel(process.increments[j + 1]), to_go)
        dropped = counts[j] - counts[j + 1]
        if dropped == 0:
            continue
        stage = evolution.stages[j]
        below = np.maximum(stage.before[stage.source] - stage.kept, 0.0)  # rounding where P(pass) = 1
        others = distribution_power(convolve(below, to_go), dropped - 1)
        last = distribution_power(convolve(stage.at_cut, to_go), 1)
        outdone *= (others * last)[stage.path]
    best = np.diff(distribution_power(evolution.final, counts[-1]), prepend=0.0, axis=-1)
    # trapezoid rule: the best survivor lies anywhere in its cell, the dropped rows are judged at both edges
    middle = (outdone + np.concatenate([np.zeros_like(outdone[:, :1]), outdone[:, :-1]], axis=1)) / 2
    return float(weights @ (best * middle).sum(axis=1))


def convolve_kernels(first: Array, second: Array) -> Array:
    """Kernel (2K − 1,) of the sum of two independent increments; what leaves the lags is lost."""
    size = first.size
    return convolve(first, np.pad(second, (size // 2, size - 1 - size // 2)))
