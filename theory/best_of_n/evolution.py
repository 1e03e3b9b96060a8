"""Density evolution of Speculative Rejection: the law of the survivors' scores, exact for finitely many rows.

A row (partial response) has scores S₁, …, S_J at the decision times and final reward R. Of n_{j−1} rows the n_j of
highest score stay at decision j; the best of the n_J survivors is returned. Theorem (ours, proved in
`paper/sections/best_of_n_proofs.tex`): take independent fractions U_j ~ Beta(n_{j−1} − n_j, n_j + 1) and alternately
drop the lowest share U_j of the law, renormalise, and let the rows go on to the next decision. Given U = (U₁, …,
U_J) the survivors are n_J independent draws of the resulting law F_U, whatever the law of a row's scores, if rows
are i.i.d. and ties are broken at random. So

    P(best reward ≤ r) = E_U[F_U(r)^{n_J}].

The N → ∞ closure replaces U_j by α_j = 1 − n_j/n_{j−1}, which overstates. The expectation over U is a sum over
`cut_fractions`: for few rows and decisions over all combinations of quadrature nodes, otherwise all U_j at their
means, plus the deviation that the spread of each U_j causes, plus the interactions of two spreads where both
decisions leave few rows. That is within 4·10⁻⁴ of the full sum, and mostly within 5·10⁻⁵; the first order alone is
off by up to 3·10⁻³ where several decisions leave a handful of rows.

Laws are masses on the lattice of a `RewardProcess`. Shapes: Q threshold paths, G distinct laws among them, K
nodes, J decisions.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfft, next_fast_len, rfft

from theory.best_of_n.order_statistics import beta_nodes
from theory.best_of_n.processes import RewardProcess
from theory.validate import LARGEST_TABLE, Array, as_numbers, check_whole

#: Quadrature nodes per random threshold (see `beta_nodes`), and for the interaction of two of them.
NODES, PAIR_NODES = 4, 3
#: Interactions are counted between decisions that leave n_i and n_j rows with n_i·n_j at most this.
FEW_SURVIVORS = 16
#: Below this many rows, thresholds are combined in full if that takes no more than so many paths.
FEW_ROWS, FEW_PATHS = 64, 64
#: Most rows: beyond, n times the rounding of the transforms (10⁻¹⁷) would show in the tail.
LARGEST_COUNT = 10**9


def survivor_counts(n: int, keep: ArrayLike, decisions: int) -> tuple[int, ...]:
    """Rows alive at first and after each decision: n₀ = n, n_j = max(1, round(keep_j·n_{j−1})).

    Parameters
    ----------
    n : int
        Rows at the start, ≥ 1.
    keep : float or array_like, (J,)
        Fraction kept, in (0, 1] (a rejected fraction α is keep = 1 − α).
    decisions : int
        J.

    Returns
    -------
    tuple of int, (J + 1,)
        Halves round to even, as in Python and in the published implementation.

    Raises
    ------
    ValueError
        n not whole, a fraction outside (0, 1], a vector of another length than J.

    References
    ----------
    Sun et al. (arXiv 2410.20290), section 3.

    Examples
    --------
    >>> from theory.best_of_n import survivor_counts
    >>> survivor_counts(30, keep=0.25, decisions=2)  # 7.5 rounds to 8
    (30, 8, 2)
    """
    counts = [check_whole("n", n)]
    for fraction in check_keep(keep, decisions):
        counts.append(max(1, round(float(fraction) * counts[-1])))
    return tuple(counts)


def check_keep(keep: ArrayLike, decisions: int) -> Array:
    """(J,) fractions in (0, 1] from a number or one per decision; ValueError names the offending decision."""
    decisions = check_whole("decisions", decisions, 0, LARGEST_TABLE)
    fractions = as_numbers("keep", keep)
    if fractions.ndim == 0:
        fractions = np.full(max(decisions, 1), float(fractions))
    elif fractions.shape != (decisions,):
        raise ValueError(
            f"keep must be a number or have one entry per decision, {decisions}, got shape {fractions.shape}"
        )
    for j, fraction in enumerate(fractions):
        if not 0.0 < fraction <= 1.0:
            raise ValueError(f"keep[{j}] = {fraction} is outside (0, 1] (the rejected fraction must be in [0, 1))")
    return fractions[:decisions]


def check_tokens(times: Sequence[int], limit: int) -> list[int]:
    """Decision times in whole tokens, 0 < t₁ < … < t_J ≤ limit; ValueError names the first that breaks this."""
    previous = 0
    for j, time in enumerate(times):
        if not previous < time <= limit or int(time) != time:
            raise ValueError(f"times[{j}] = {time} must be a whole token in ({previous}, {limit}]")
        previous = int(time)
    return [int(time) for time in times]


def check_counts(counts: Sequence[int], decisions: int) -> tuple[int, ...]:
    """Row counts n₀ ≥ n₁ ≥ … ≥ n_J ≥ 1, J = `decisions`; ValueError names the first that breaks this."""
    checked = tuple(check_whole(f"counts[{j}]", count) for j, count in enumerate(counts))
    if len(checked) != decisions + 1:
        raise ValueError(f"counts must have {decisions + 1} entries, one more than there are decisions: {counts}")
    if checked[0] > LARGEST_COUNT:
        raise ValueError(f"counts[0] = {checked[0]} exceeds {LARGEST_COUNT}, the largest n that the lattice resolves")
    for j in range(1, len(checked)):
        if checked[j] > checked[j - 1]:
            raise ValueError(f"counts[{j}] = {checked[j]} exceeds counts[{j - 1}] = {checked[j - 1]}")
    return checked


def cut_fractions(counts: Sequence[int], nodes: int = NODES, *, product: bool | None = None) -> tuple[Array, Array]:
    """A quadrature rule for the random fractions cut at each decision: fractions (Q, J) and weights (Q,), sum one.

    U_j ~ Beta(n_{j−1} − n_j, n_j + 1), independent; 0 where nothing is dropped. `product`: all combinations
    (Q = nodes^J). False: first order, the means plus each U_j's own deviations (Q = 1 + J·nodes; the first weight
    is 1 − J). None: the product for up to three decisions of fewer than 64 rows, otherwise the first order plus
    the interactions of pairs of decisions that leave few rows (weights of either sign).
    """
    laws = [(before - after, after + 1) for before, after in itertools.pairwise(counts)]
    rules = [beta_nodes(a, b, nodes) if a else (np.zeros(1), np.ones(1)) for a, b in laws]
    active = sum(a > 0 for a, _ in laws)
    if product or (product is None and counts[0] < FEW_ROWS and nodes**active <= FEW_PATHS):
        weights = np.ones(1)
        for _, w in rules:
            weights = np.multiply.outer(weights, w).ravel()
        grids = np.meshgrid(*(u for u, _ in rules), indexing="ij")
        return np.reshape([grid.ravel() for grid in grids], (len(laws), -1)).T if laws else np.zeros((1, 0)), weights
    means = np.array([a / (a + b) for a, b in laws])
    fractions, weights_list = [means], [1.0 - active]
    for j, (u, w) in enumerate(rules):
        if laws[j][0]:
            fractions += [np.where(np.arange(len(laws)) == j, node, means) for node in u]
            weights_list += list(w)
    first_order = np.reshape(fractions, (len(fractions), len(laws))), np.array(weights_list)
    return first_order if product is False else _with_interactions(*first_order, laws)


def _with_interactions(fractions: Array, weights: Array, laws: Sequence[tuple[int, int]]) -> tuple[Array, Array]:
    """The first-order rule plus E[g(U_i, U_j)] − E[g(U_i)] − E[g(U_j)] + g for pairs that leave few rows."""
    means, paths, path_weights = fractions[0], [fractions], [weights]
    # the deviation g(U_j) − g as a rule of its own: its nodes, and the mean with weight −1
    deviations = [
        (np.append(means[j], nodes), np.append(-1.0, node_weights))
        for j, (a, b) in enumerate(laws)
        for nodes, node_weights in [beta_nodes(a, b, PAIR_NODES) if a else (np.zeros(0), np.zeros(0))]
    ]
    for i, j in itertools.combinations(range(len(laws)), 2):
        (a_i, b_i), (a_j, b_j) = laws[i], laws[j]
        if a_i and a_j and (b_i - 1) * (b_j - 1) <= FEW_SURVIVORS:
            (u_i, w_i), (u_j, w_j) = deviations[i], deviations[j]
            pair = np.tile(means, (u_i.size * u_j.size, 1))
            pair[:, i], pair[:, j] = np.repeat(u_i, u_j.size), np.tile(u_j, u_i.size)
            paths.append(pair)
            path_weights.append(np.outer(w_i, w_j).ravel())
    distinct, index = np.unique(np.concatenate(paths), axis=0, return_inverse=True)
    return distinct, np.bincount(index.ravel(), np.concatenate(path_weights)).astype(np.float64)


def closure_fractions(counts: Sequence[int]) -> tuple[Array, Array]:
    """The N → ∞ closure as a rule of one path: the share dropped at decision j is 1 − n_j/n_{j−1}."""
    n = np.asarray(counts, dtype=np.float64)
    return (1.0 - n[1:] / n[:-1])[None, :], np.ones(1)


@dataclass(frozen=True, eq=False)
class Stage:
    """One decision along every threshold path. Paths that have been the same so far share one law.

    before     (G', K) laws of the scores of the rows that come to the decision
    source     (G,) which of them each of the G laws that leave it came from
    fractions  (G,) the share it dropped
    kept       (G, K) masses that stay: before[source]·P(pass), total 1 − fraction
    at_cut     (G, K) law of the one row whose score is the threshold, the best of the dropped
    path       (Q,) which of the G laws belongs to each path
    """

    before: Array
    source: NDArray[np.intp]
    fractions: Array
    kept: Array
    at_cut: Array
    path: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Evolution:
    """`stages` (J) and the law `final` (Q, K) of a survivor's final reward along every threshold path."""

    stages: tuple[Stage, ...]
    final: Array


def evolve(process: RewardProcess, fractions: Array) -> Evolution:
    """Alternately cut and convolve: the laws when the shares `fractions` (Q, J) are dropped at the decisions."""
    alive, path, stages = process.start(), np.zeros(len(fractions), dtype=np.intp), []
    for j in range(process.decisions):
        alive = convolve(alive, process.kernel(process.increments[j]))
        pairs, path = np.unique(np.column_stack([path, fractions[:, j]]), axis=0, return_inverse=True)
        source, dropped = pairs[:, 0].astype(np.intp), pairs[:, 1]
        pass_probability, at_cut = _select(alive[source], dropped, process.kernel(process.noise[j]))
        kept = alive[source] * pass_probability
        stages.append(Stage(alive, source, dropped, kept, at_cut, path))
        alive = kept / (1.0 - dropped)[:, None]
    return Evolution(tuple(stages), convolve(alive, process.kernel(process.increments[-1]))[path])


def convolve(masses: Array, kernel: Array) -> Array:
    """Law of X + Y on the lattice: masses (…, K) of X, kernel (2K − 1,) of Y. What leaves the lattice is lost."""
    K = masses.shape[-1]
    if kernel[K - 1] == 1.0:
        return masses
    size = next_fast_len(3 * K - 2, real=True)
    full = irfft(rfft(masses, size) * rfft(kernel, size), size)[..., K - 1 : 2 * K - 1]
    return np.maximum(full, 0.0)  # the transform leaves ±1e-17 where there is no mass


def _select(masses: Array, fractions: Array, noise: Array) -> tuple[Array, Array]:
    """A cut of the noisy score's lowest `fractions` (G,): P(pass) at each node and the law of the row at the cut.

    At the threshold node of the noisy score the share of mass that fits is kept: ties are broken at random.
    """
    K = masses.shape[1]
    scores = convolve(masses, noise)
    above = upper_tail(scores)
    wanted = above[:, 0] * (1.0 - fractions)
    node = K - 1 - np.argmax(above[:, ::-1] >= wanted[:, None], axis=1)
    rows = np.arange(len(masses))
    at, beyond = scores[rows, node], above[rows, node] - scores[rows, node]
    share = np.minimum(np.divide(wanted - beyond, at, out=np.ones_like(at), where=at > 0), 1.0)
    # noise kernel at lag (node − i): the probability that a row at node i scores exactly, and beyond, the threshold
    lag = node[:, None] - np.arange(K) + K - 1
    exactly = noise[lag]
    passes = np.append(upper_tail(noise)[1:], 0.0)[lag] + share[:, None] * exactly
    at_cut = masses * exactly
    return passes, at_cut / at_cut.sum(axis=1, keepdims=True)


def upper_tail(masses: Array) -> Array:
    """Σ of the masses at this node and above, along the last axis."""
    return np.cumsum(masses[..., ::-1], axis=-1)[..., ::-1]


def distribution_power(masses: Array, n: float) -> Array:
    """P(max of n draws ≤ node) (…, K) for masses of any total > 0: F^n by log1p of the upper tail, exact near F = 1."""
    if n == 0:
        return np.ones_like(masses)
    tail = upper_tail(masses)
    above = np.concatenate([tail[..., 1:], np.zeros_like(tail[..., :1])], axis=-1) / tail[..., :1]
    with np.errstate(divide="ignore", under="ignore"):  # F = 0 below the support: log 0 = −∞, F^n = 0
        return np.exp(n * np.log1p(-np.minimum(above, 1.0)))
