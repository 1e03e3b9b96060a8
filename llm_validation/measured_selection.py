"""Density evolution on a measured joint law: what Speculative Rejection returns, without a model of the scores.

The theorem of `theory/density_evolution.py` holds whatever the law of a row's scores: given independent fractions
U_j ~ Beta(n_{j−1} − n_j, n_j + 1), alternately drop the lowest share U_j and renormalise; the survivors are n_J draws
of what is left. Here the law is that of M measured rows, each with its scores at the decisions and its final reward,
so that nothing is assumed of the tails. The v(t) prediction of `theory.best_of_n.speculative_reward` is the case of
jointly normal scores.

Shapes: M measured rows, J decisions, Q threshold paths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from theory.checks import Array
from theory.density_evolution import check_counts, cut_fractions

#: Rows around a threshold that stand for the row at it.
AT_CUT = 25
#: From so many rows on thresholds are not combined in full: the sampled law is off by more than that leaves out.
FEW_ROWS = 16


@dataclass(frozen=True, eq=False)
class MeasuredRows:
    """Scores (M, J) at the decisions and final rewards (M,) of M measured rows, with weights (M,) that sum to one."""

    scores: Array
    rewards: Array
    weights: Array

    @classmethod
    def of(cls, scores: Array, rewards: Array, weights: Array | None = None) -> MeasuredRows:
        """Rows in the order of their rewards; equal weights by default. ValueError for shapes that do not agree."""
        if scores.ndim != 2 or rewards.shape != (len(scores),) or not len(scores):
            raise ValueError(f"scores {scores.shape} and rewards {rewards.shape} must be (M, J) and (M,), M >= 1")
        law = np.full(len(scores), 1.0 / len(scores)) if weights is None else weights
        order = np.argsort(rewards, kind="stable")
        return cls(scores[order], rewards[order], law[order])


def _cut(weights: Array, scores: Array, fraction: float) -> tuple[Array, Array]:
    """Weights (M,) kept and those of the row at the threshold, after dropping the lowest `fraction` by score."""
    order = np.argsort(scores, kind="stable")
    ordered = weights[order]
    below = np.concatenate(([0.0], np.cumsum(ordered)[:-1]))
    total = ordered.sum()
    kept = np.clip((below + ordered - fraction * total) / np.where(ordered > 0, ordered, 1.0), 0.0, 1.0) * ordered
    occupied = np.flatnonzero(ordered > 0)
    place = np.searchsorted(occupied, int(np.argmax(kept > 0)))
    near = occupied[max(0, place - AT_CUT) : place + AT_CUT + 1]
    at_cut = np.zeros_like(weights)
    at_cut[order[near]] = ordered[near] / ordered[near].sum()
    back = np.empty_like(weights)
    back[order] = kept
    return back, at_cut


def _below(weights: Array) -> Array:
    """Distribution function (M,) at the rows, of rewards with these weights in the order of the rewards."""
    return np.minimum(np.cumsum(weights) / weights.sum(), 1.0)


def measured_reward(rows: MeasuredRows, counts: Sequence[int]) -> float:
    """Expected best reward when counts[j] rows stay after decision j, counts[0] at first."""
    counts = check_counts(counts, rows.scores.shape[1])
    fractions, path_weights = cut_fractions(counts, product=counts[0] < FEW_ROWS)
    total = 0.0
    for path, weight in zip(fractions, path_weights, strict=True):
        alive = rows.weights
        for j, fraction in enumerate(path):
            alive, _ = _cut(alive, rows.scores[:, j], float(fraction))
        best = np.diff(_below(alive) ** counts[-1], prepend=0.0)
        total += float(weight * (best @ rows.rewards))
    return total


def measured_survival(rows: MeasuredRows, counts: Sequence[int]) -> float:
    """Probability that the row of highest final reward survives every decision (`theory.speculative.winner_survival`).

    The row at a threshold is stood for by the `AT_CUT` measured rows on each side of it.
    """
    counts = check_counts(counts, rows.scores.shape[1])
    fractions, path_weights = cut_fractions(counts, product=counts[0] < FEW_ROWS)
    total = 0.0
    for path, weight in zip(fractions, path_weights, strict=True):
        alive, outdone = rows.weights, np.ones(rows.rewards.size)
        for j, fraction in enumerate(path):
            kept, at_cut = _cut(alive, rows.scores[:, j], float(fraction))
            dropped = counts[j] - counts[j + 1]
            if dropped:
                outdone = outdone * _below(alive - kept) ** (dropped - 1) * _below(at_cut)
            alive = kept
        best = np.diff(_below(alive) ** counts[-1], prepend=0.0)
        middle = (outdone + np.concatenate(([0.0], outdone[:-1]))) / 2  # a dropped row of equal reward: half a win
        total += float(weight * (best @ middle))
    return total
