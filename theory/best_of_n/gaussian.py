"""Speculative Rejection for jointly Gaussian scores of any correlation: no martingale, no Markov property needed.

Scores (S₁, …, S_J) and final reward R are centred with any covariance Σ: a scorer with a persistent bias, errors
that are correlated between decisions, a partial score that anticorrelates with the reward. The theorem of
`theory.best_of_n.evolution` holds as it stands (rows are i.i.d.); only the law given the cuts is no longer that of a
one-dimensional chain. Given thresholds c₁, …, c_J the survivors' reward has density proportional to

    φ(r) · P(S₁ > c₁, …, S_J > c_J | R = r).

With (R, S) = L z the orthant probability is a (J − 1)-dimensional integral over the unit cube (Genz's
transformation), done on a low-discrepancy sequence at every r of a lattice, so that its relative error is as small
in the tail, where the best reward lies, as anywhere. With one decision only ρ = corr(S₁, R) counts, and
`speculative_reward(n, [ρ²], keep)` is the same number for ρ ≥ 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from theory.best_of_n.evolution import check_counts, cut_fractions, distribution_power, survivor_counts
from theory.validate import Array, check_square

#: Points of the sequence at each r: errors of about 10⁻⁴ in the mean reward, 1.5·10⁻³ at most for up to three
#: decisions. Where a fourth score nearly repeats an earlier one and few rows are kept, 10⁻² and more; more points help.
POINTS = 192
#: Lattice of r in standard deviations of R.
SPAN, SPACING = 8.5, 0.05
#: Least standard deviation of a score given R and the earlier scores, in its own; a score that others determine is
#: blurred to it, which moves the mean reward by less than 2·10⁻³.
SMALLEST_PIVOT = 0.02
#: Of a threshold: most steps, and the last one's size in standard deviations of a score. Newton's takes two or three.
THRESHOLD_STEPS, THRESHOLD_TOLERANCE = 60, 1e-7


def correlated_reward(n: int, covariance: ArrayLike, keep: ArrayLike) -> float:
    """Expected best reward of Speculative Rejection on n rows whose scores and reward are jointly Gaussian.

    covariance  (J + 1, J + 1) of (S₁, …, S_J, R), symmetric, positive semidefinite, variances > 0; in the reward's
                unit
    keep        fraction kept, in (0, 1], a number or one per decision

    The random thresholds enter to first order (`theory.best_of_n.evolution.cut_fractions`): for few rows and several
    decisions that adds up to 2·10⁻³.
    Returns the expectation in the reward's unit (mean of R: 0). Raises ValueError on a covariance that is not one.
    """
    sigma = check_covariance(covariance)
    J = sigma.shape[0] - 1
    counts = check_counts(survivor_counts(n, keep, J), J)
    fractions, weights = cut_fractions(counts, product=False)
    scale = math.sqrt(sigma[J, J])
    laws = survivors(sigma, fractions)
    best = np.diff(distribution_power(laws.masses, counts[-1]), prepend=0.0, axis=-1)
    return scale * float(weights @ (best @ laws.nodes))


@dataclass(frozen=True, eq=False)
class SurvivorLaws:
    """Law `masses` (Q, K) of a survivor's standardised reward on `nodes` (K,), along Q threshold paths."""

    nodes: Array
    masses: Array


def survivors(sigma: Array, fractions: Array) -> SurvivorLaws:
    """The survivors' reward after dropping the shares `fractions` (Q, J), for the covariance of (S, R)."""
    J = fractions.shape[1]
    sd = np.sqrt(np.diag(sigma))
    order = [J, *range(J)]  # R first, then the scores in the order of the decisions
    L = _factor((sigma / np.outer(sd, sd))[np.ix_(order, order)])
    half = math.ceil(SPAN / SPACING)
    nodes = np.arange(-half, half + 1, dtype=np.float64) * SPACING
    edges = np.abs(nodes) - SPACING / 2
    prior = ndtr(-edges) - ndtr(-edges - SPACING)  # both tails to full relative precision
    cube = _sequence(POINTS, max(J - 1, 1))
    start = _Rows(np.broadcast_to(nodes[:, None], (1, nodes.size, POINTS)), prior[:, None] / np.full(POINTS, POINTS))
    seen: dict[tuple[float, ...], _Rows] = {(): start}
    for path in fractions:  # paths share what they have in common
        for j in range(1, J + 1):
            before, prefix = seen[tuple(path[: j - 1])], tuple(path[:j])
            if prefix not in seen:
                seen[prefix] = _decide(before, L[j], float(path[j - 1]), cube[:, min(j, J - 1) - 1])
    masses = np.array([seen[tuple(path)].weights.sum(axis=1) for path in fractions])
    return SurvivorLaws(nodes, masses / masses.sum(axis=1, keepdims=True))


@dataclass(frozen=True, eq=False)
class _Rows:
    """Coordinates z (1 + decisions so far, K, P) of the surviving rows at every r, and their weights (K, P)."""

    z: Array
    weights: Array


def _decide(rows: _Rows, loadings: Array, fraction: float, cube: Array) -> _Rows:
    """One decision: drop the lowest `fraction` of S = loadings·z, and draw this decision's coordinate for the rest."""
    j = len(rows.z)
    mean, pivot = np.tensordot(loadings[:j], rows.z, 1), float(loadings[j])
    if fraction == 0.0:
        beyond = np.ones_like(mean)
    else:
        cut = float(ndtri(fraction)) if j == 1 else _threshold(mean, pivot, rows.weights, fraction)
        beyond = ndtr((mean - cut) / pivot)
    # the coordinate given that it lies above (cut − mean)/pivot, by its upper quantiles, precise far out
    drawn = -ndtri(np.maximum(beyond * (1.0 - cube), 1e-300))
    return _Rows(np.concatenate([rows.z, drawn[None]]), rows.weights * beyond)


def _threshold(mean: Array, pivot: float, weights: Array, fraction: float) -> float:
    """The score below which the share `fraction` of the mixture of N(mean, pivot²) with `weights` lies.

    Newton's steps from the quantile of one normal with the mixture's moments, kept between Cantelli's bounds and halved
    into what is left of them where they leave it.
    """
    total = float(weights.sum())
    centre = float(np.vdot(weights, mean)) / total
    sd = math.sqrt(float(np.vdot(weights, (mean - centre) ** 2)) / total + pivot**2)
    odds = math.sqrt(fraction / (1.0 - fraction))
    low, high = centre - sd / odds, centre + sd * odds
    cut = min(max(centre + sd * float(ndtri(fraction)), low), high)
    for _ in range(THRESHOLD_STEPS):
        z = (mean - cut) / pivot
        missing = (1.0 - fraction) * total - float(np.vdot(weights, ndtr(z)))  # of what is to be kept
        density = float(np.vdot(weights, np.exp(-0.5 * z * z))) / (pivot * math.sqrt(2.0 * math.pi))
        low, high = (cut, high) if missing < 0.0 else (low, cut)
        last, cut = cut, cut - missing / density if density > 0.0 else math.nan
        cut = cut if low <= cut <= high else 0.5 * (low + high)
        if abs(cut - last) <= THRESHOLD_TOLERANCE:
            return cut
    raise ArithmeticError(f"no threshold of {fraction} found between {low} and {high}")


def _sequence(points: int, dimensions: int) -> Array:
    """The Kronecker sequence of the generalised golden ratio in (0, 1)^d, folded by the tent map (P, d)."""
    golden = 2.0
    for _ in range(64):  # the root of g^{d+1} = g + 1
        golden = (1.0 + golden) ** (1.0 / (dimensions + 1))
    steps = golden ** -np.arange(1.0, dimensions + 1.0)
    fractional = np.mod(np.outer(np.arange(points) + 0.5, steps), 1.0)
    return np.clip(1.0 - np.abs(2.0 * fractional - 1.0), 1e-12, 1.0 - 1e-12)


def check_covariance(covariance: ArrayLike) -> Array:
    """A symmetric positive semidefinite matrix with positive variances; ValueError names what is wrong."""
    sigma = check_square("covariance", covariance)
    for j, variance in enumerate(np.diag(sigma)):
        if not variance > 0:
            raise ValueError(f"covariance[{j}, {j}] = {variance} must be > 0")
    sd = np.sqrt(np.diag(sigma))
    asymmetry = np.abs(sigma - sigma.T) / np.outer(sd, sd)
    if asymmetry.max() > 1e-9:
        x, y = np.unravel_index(int(asymmetry.argmax()), sigma.shape)
        raise ValueError(f"covariance[{x}, {y}] = {sigma[x, y]} differs from covariance[{y}, {x}] = {sigma[y, x]}")
    smallest = float(np.linalg.eigvalsh(sigma / np.outer(sd, sd)).min())
    if smallest < -1e-9:
        raise ValueError(f"covariance is not positive semidefinite: its correlations have eigenvalue {smallest:.3g}")
    return sigma


def _factor(correlation: Array) -> Array:
    """Cholesky factor whose pivots are at least `SMALLEST_PIVOT`: a score that others determine gets a little noise."""
    size = len(correlation)
    L = np.zeros_like(correlation)
    for j in range(size):
        left = correlation[:, j] - L[:, :j] @ L[j, :j]
        L[j, j] = max(math.sqrt(max(left[j], 0.0)), SMALLEST_PIVOT)
        L[j + 1 :, j] = left[j + 1 :] / L[j, j]
    return L
