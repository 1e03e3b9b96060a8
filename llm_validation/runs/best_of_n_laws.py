"""Density evolution on a measured joint law: what Speculative Rejection returns, without a model of the scores.

The theorem of `theory.best_of_n.evolution` holds whatever the law of a row's scores: given independent fractions
U_j ~ Beta(n_{j−1} − n_j, n_j + 1), alternately drop the lowest share U_j and renormalise; the survivors are n_J draws
of what is left. Here the law is that of M measured rows, each with its scores at the decisions and its final reward,
so that nothing is assumed of the tails. The v(t) prediction of `theory.best_of_n.speculative_reward` is the case of
jointly normal scores.

Shapes: M measured rows, J decisions, Q threshold paths.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theory.best_of_n.evolution import check_counts, cut_fractions
from theory.validate import Array

Index = NDArray[np.intp]

#: Rows around a threshold that stand for the row at it.
AT_CUT = 25


@dataclass(frozen=True, eq=False)
class MeasuredRows:
    """Scores (M, J) at the decisions and final rewards (M,), ascending, of M measured rows; weights (M,), sum one."""

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


@dataclass(frozen=True, eq=False)
class _Stage:
    """Weights (M,) of the rows that a decision keeps and of those it drops, and of the row at its threshold."""

    kept: Array
    dropped: Array
    at_cut: Array


def _cut(weights: Array, order: Index, fraction: float) -> _Stage:
    """Drop the lowest `fraction` by score, `order` being the rows' places from the lowest score up."""
    ordered = weights[order]
    upper = np.cumsum(ordered)
    fractions = np.divide(upper - fraction * upper[-1], ordered, out=np.zeros_like(ordered), where=ordered > 0)
    kept = np.clip(fractions, 0.0, 1.0) * ordered
    occupied = np.flatnonzero(ordered > 0)
    place = int(np.searchsorted(occupied, int(np.argmax(kept > 0))))
    near = occupied[max(0, place - AT_CUT) : place + AT_CUT + 1]
    back, at_cut = np.empty_like(weights), np.zeros_like(weights)
    back[order] = kept
    at_cut[order[near]] = ordered[near] / ordered[near].sum()
    return _Stage(back, np.maximum(weights - back, 0.0), at_cut)


def _paths(rows: MeasuredRows, counts: Sequence[int]) -> Iterator[tuple[float, list[_Stage]]]:
    """Weight and stages (J) of every threshold path; what paths have in common is computed once."""
    counts = check_counts(counts, rows.scores.shape[1])
    orders = np.argsort(rows.scores, axis=0, kind="stable")
    seen: dict[tuple[float, ...], _Stage] = {}
    for fractions, weight in zip(*cut_fractions(counts), strict=True):
        stages: list[_Stage] = []
        for j, fraction in enumerate(fractions.tolist()):
            prefix = tuple(fractions[: j + 1].tolist())
            if prefix not in seen:
                seen[prefix] = _cut(stages[-1].kept if stages else rows.weights, orders[:, j], fraction)
            stages.append(seen[prefix])
        yield float(weight), stages


def _below(weights: Array) -> Array:
    """Distribution function (M,) at the rows, of rewards with these weights in the order of the rewards."""
    return np.minimum(np.cumsum(weights) / weights.sum(), 1.0)


def measured_reward(rows: MeasuredRows, counts: Sequence[int]) -> float:
    """Expected best reward when counts[j] rows stay after decision j, counts[0] at first."""
    total = 0.0
    for weight, stages in _paths(rows, counts):
        alive = stages[-1].kept if stages else rows.weights
        total += weight * float(np.diff(_below(alive) ** counts[-1], prepend=0.0) @ rows.rewards)
    return total


def measured_survival(rows: MeasuredRows, counts: Sequence[int]) -> float:
    """Probability that the row of highest final reward survives every decision
    (`theory.best_of_n.rejection.winner_survival`).

    The row at a threshold is stood for by the `AT_CUT` measured rows on each side of it.
    """
    dropped = [before - after for before, after in itertools.pairwise(counts)]
    total = 0.0
    for weight, stages in _paths(rows, counts):
        outdone = np.ones(rows.rewards.size)
        for stage, count in zip(stages, dropped, strict=True):
            if count:
                outdone *= _below(stage.dropped) ** (count - 1) * _below(stage.at_cut)
        best = np.diff(_below(stages[-1].kept if stages else rows.weights) ** counts[-1], prepend=0.0)
        middle = (outdone + np.concatenate(([0.0], outdone[:-1]))) / 2  # a dropped row of equal reward: half a win
        total += weight * float(best @ middle)
    return total
