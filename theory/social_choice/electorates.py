"""Rules on rankings for many electorates of the same users at once: what a bootstrap over users asks for.

The users' utilities are given once, (V, A), and every electorate by its weights, a row of (R, V). What does not depend
on the weights, users' laws of first and last places, is computed once for all electorates. Rankings are Plackett–Luce
(`theory.social_choice.places`); every rule returns policies (R, A).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from theory.social_choice.places import LAST_PLACE_TOLERANCE
from theory.social_choice.ties import TIE_TOLERANCE, winners
from theory.solution import CertificateError
from theory.validate import Array, as_number, check_nonnegative

Mask = NDArray[np.bool_]
Counts = NDArray[np.intp]

#: Numbers in the largest table of a block of nodes, so that what is multiplied is near.
BLOCK = 2**20
#: Numbers in the tables that are kept; nodes beyond them are gone through block by block.
KEPT = 2**27
#: log of what may be left out of an integral: what lies left of the nodes, per node.
NEGLIGIBLE = -33.0
#: z from which on z e^{−z} is nothing.
LATE = 37.0
#: Nodes are made again when the slowest that is left is e to this times as fast as the slowest then, in users' mean.
FASTER = 3.0
#: Tables are cut down to what stands in some electorate once that is at most this share of their columns.
NARROWER = 0.9
#: Electorates that are taken through the veto process side by side.
TOGETHER = 256


def first_places(utilities: Array, weights: Array, bt_beta: float, standing: Mask | None = None) -> Array:
    """P(x is ranked first among the standing), (R, A); `standing` (R, A), all by default, one at least in a row."""
    logits = bt_beta * utilities
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    if standing is None or standing.all():
        return np.asarray(weights @ (shares / shares.sum(axis=1, keepdims=True)))
    found = np.zeros(standing.shape)
    for row, (weight, members) in enumerate(zip(weights, standing, strict=True)):
        inside = logits[:, members] - logits[:, members].max(axis=1, keepdims=True)
        own = np.exp(inside)
        found[row, members] = weight @ (own / own.sum(axis=1, keepdims=True))
    return found


@dataclass(frozen=True, eq=False)
class _Block:
    """Some nodes of all users, nodes · users = M long.

    back     (classes, M) 1/(1 − e^{−z}): what brings F back when one of the class is out
    density  (classes, M) z e^{−z}/(1 − e^{−z})
    law      (R, M) weight · step · F of every electorate; kept up to date in place
    """

    back: Array
    density: Array
    law: Array


class LastPlaces:
    """P(x is ranked last among the standing) for electorates whose standing sets shrink.

        P(T_x = max T) = ∫ z_x e^{−z_x}/(1 − e^{−z_x}) F(s) ds,   F = Π_y (1 − e^{−z_y}),   z_y = e^{βU[v,y] + s},

    by the trapezoidal rule, which converges geometrically: the integrand is analytic and decays at both ends. Nodes go
    from the right to where F is nothing, farther to the left as alternatives leave, and F is divided by the factors of
    those that are out. Nodes are made again when three quarters of their alternatives are out, or all slow ones, and
    closer together where probabilities miss their sum. Clones share a column: they tie to the last bit.

    An exit costs users · nodes products for each alternative that stands in some electorate, as all go through one
    matrix product; all exits cost an electorate users · nodes · A²/2, a little more where sets differ (10⁹/4 for 1500
    users and a hundred items at βU ≤ 5, with 33 nodes at first and 43 in the mean). Borda's win rates are users · A²/2,
    and as many hyperbolic tangents for all electorates together.
    """

    def __init__(self, utilities: Array, weights: Array, bt_beta: float) -> None:
        rows, group = np.unique(utilities, axis=0, return_inverse=True)
        self._log_rates = bt_beta * rows
        self._weights = np.zeros((len(weights), len(rows)))
        np.add.at(self._weights.T, group.ravel(), weights.T)
        self._finer, self._made_for, self._columns = 1.0, 0, np.zeros(0, dtype=int)

    def of(self, standing: Mask) -> Array:
        """(R, A), zero where an alternative is out. CertificateError if probabilities do not sum to one."""
        union = np.flatnonzero(standing.any(axis=0))
        fresh = 4 * union.size <= self._made_for or not self._shrunk(standing) or self._quickened(union) > FASTER
        if fresh:
            self._start(union)
        mass = np.where(standing.any(axis=1), self._weights.sum(axis=1), 0.0)
        for _ in range(12):
            found = self._integrals(standing)
            missed = float(np.abs(found.sum(axis=1) - mass).max())
            if missed <= LAST_PLACE_TOLERANCE:
                if union.size <= NARROWER * self._columns.size:
                    self._narrow(union)
                return found
            if fresh:  # the rule's error is e^{−c/step}; else F may have been too small for floating point
                self._finer *= float(np.clip(np.log(missed) / np.log(0.1 * LAST_PLACE_TOLERANCE), 0.5, 0.9))
            self._start(union)
            fresh = True
        raise CertificateError(f"last places miss a sum of 1 by {missed:.1e}")

    def _shrunk(self, standing: Mask) -> bool:
        """Whether all that stand stood before."""
        known = np.isin(np.flatnonzero(standing.any(axis=0)), self._columns).all()
        return bool(known and (self._counted(standing) <= self._counts).all())

    def _quickened(self, columns: NDArray[np.intp]) -> float:
        """How much less log max T is than when the nodes were made: about as much as the slowest is faster."""
        return float((self._log_rates[:, columns].min(axis=1) - self._slowest).mean())

    def _start(self, columns: NDArray[np.intp]) -> None:
        """Nodes for these alternatives; no tables yet."""
        self._columns, self._made_for = columns, columns.size
        rates, label = np.unique(self._log_rates[:, columns], axis=1, return_inverse=True)
        self._slowest, self._label = rates.min(axis=1), label.ravel()
        self._rates = rates.T - self._slowest
        self._step = self._finer * min(0.25, 1.2 / (1.5 + np.log(columns.size)))
        self._high = float(np.log(np.log(columns.size) + 34.0))
        self._width = int(np.clip(BLOCK // (rates.shape[0] * max(len(self._weights), rates.shape[1])), 1, 8))
        self._kept: list[_Block] = []
        self._counts = self._counted(np.ones((len(self._weights), self._log_rates.shape[1]), dtype=bool))

    def _narrow(self, columns: NDArray[np.intp]) -> None:
        """The same nodes, and of the tables what these alternatives need."""
        kinds, label = np.unique(self._label[np.isin(self._columns, columns)], return_inverse=True)
        self._columns, self._label = columns, label.ravel()
        self._rates, self._counts = self._rates[kinds], self._counts[:, kinds]
        self._kept = [replace(block, back=block.back[kinds], density=block.density[kinds]) for block in self._kept]

    def _counted(self, standing: Mask) -> Counts:
        """How many of a class stand, (R, classes)."""
        rows, columns = np.nonzero(standing[:, self._columns])
        shape = len(standing), len(self._rates)
        return np.bincount(rows * shape[1] + self._label[columns], minlength=math.prod(shape)).reshape(shape)

    def _block(self, nodes: Array, counts: Counts) -> _Block:
        """Tables of some nodes, and F for these counts."""
        log_z = (self._rates[:, None, :] + nodes[:, None]).reshape(len(self._rates), -1)
        z = np.exp(np.clip(log_z, -700.0, 10.0, out=log_z), out=log_z)
        faster = np.expm1(-z)
        density = 1.0 + faster
        density *= z
        density[z > LATE] = 0.0
        np.negative(faster, out=faster)
        density /= faster
        law = np.exp(counts @ np.log(faster))
        law *= counts.any(axis=1, keepdims=True)
        law.reshape(len(law), nodes.size, -1)[:] *= self._step * self._weights[:, None, :]
        return _Block(np.divide(1.0, faster, out=z), density, law)

    def _blocks(self, counts: Counts) -> Iterator[_Block]:
        """From right to left, with F for these counts."""
        over: Mask = np.logical_not(counts.any(axis=1))
        gone = np.where(over[:, None], 0, self._counts - counts)
        exits = np.repeat(np.argwhere(gone), gone[gone > 0], axis=0)
        self._counts = counts
        for block in self._kept:
            for electorate, kind in exits:
                np.multiply(block.law[electorate], block.back[kind], out=block.law[electorate])
            block.law[over] = 0.0
            yield block
        at = len(self._kept)
        while at == 0 or block.law[:, -self._weights.shape[1] :].sum(axis=1).max() > self._step * np.exp(NEGLIGIBLE):
            nodes = self._high - self._step * np.arange(at * self._width, (at + 1) * self._width)
            block = self._block(nodes, counts)
            if sum(kept.law.size + 2 * kept.back.size for kept in (*self._kept, block)) <= KEPT:
                self._kept.append(block)
            yield block
            at += 1

    def _integrals(self, standing: Mask) -> Array:
        """(R, A) by the present step."""
        counts = self._counted(standing)
        found = np.zeros(counts.shape)
        for block in self._blocks(counts):
            found += block.law @ block.density.T
        every = np.zeros(standing.shape)
        every[:, self._columns] = np.where(standing[:, self._columns], found[:, self._label], 0.0)
        return every


def veto_flows(
    scores: Array, utilities: Array, weights: Array, bt_beta: float, tie_tolerance: float = TIE_TOLERANCE
) -> tuple[Array, Array]:
    """Policies (R, A) and exit times (R, A) of the veto process from `scores` (R, A), in the limit of many users.

    Users come in random order; each takes a point from the alternative ranked last among those still standing, and an
    alternative without points (at most `tie_tolerance`) drops out. In the limit the score of a standing x falls at rate
    bottom_choice(standing)[x] per user, constant between exits, so the process is computed from exit to exit. The last
    to stand wins; those that drop out together at the end share evenly.

    scores      nonnegative, rows of sum one
    exit times  in [0, 1], the share of the users who have cast their veto when the alternative drops out (0: without
                points at the start; 1: a winner)
    """
    parts = [slice(at, at + TOGETHER) for at in range(0, len(scores), TOGETHER)]
    found = [_flows(scores[part], LastPlaces(utilities, weights[part], bt_beta), tie_tolerance) for part in parts]
    policies, exit_times = zip(*found, strict=True)
    return np.concatenate(policies), np.concatenate(exit_times)


def _flows(scores: Array, last: LastPlaces, tie_tolerance: float) -> tuple[Array, Array]:
    """From exit to exit, all electorates side by side: those that are at their end wait for the others."""
    tie_tolerance = check_nonnegative("tie_tolerance", tie_tolerance)
    standing = scores > tie_tolerance
    if not standing.any(axis=1).all():
        raise ValueError(f"tie_tolerance = {tie_tolerance} must be below the largest score")
    exit_times, elapsed = np.zeros(scores.shape), np.zeros((len(scores), 1))
    going = standing.sum(axis=1) > 1
    while going.any():
        rates = last.of(standing & going[:, None])
        lifetime = np.full(scores.shape, np.inf)
        np.divide(scores, rates, out=lifetime, where=standing & (rates > 0))
        step = np.where(going, lifetime.min(axis=1), 0.0)[:, None]
        scores = np.maximum(scores - step * rates, 0.0)
        out = standing & ((scores <= tie_tolerance) | (lifetime <= step)) & going[:, None]
        going &= ~(out == standing).all(axis=1)  # those that drop out together at the end share
        out &= going[:, None]
        elapsed += np.where(going[:, None], step, 0.0)
        exit_times = np.where(out, elapsed, exit_times)
        standing = standing & ~out
        going &= standing.sum(axis=1) > 1
    exit_times[standing] = 1.0
    return standing / standing.sum(axis=1, keepdims=True), exit_times


def plurality(utilities: Array, weights: Array, bt_beta: float, tie_tolerance: float = TIE_TOLERANCE) -> Array:
    """Most first places, see `rankings.plurality`."""
    return _winners(first_places(utilities, weights, bt_beta), tie_tolerance)


def veto(utilities: Array, weights: Array, bt_beta: float, tie_tolerance: float = TIE_TOLERANCE) -> Array:
    """Fewest last places, see `rankings.veto`."""
    everyone = np.ones((len(weights), utilities.shape[1]), dtype=bool)
    return _winners(-LastPlaces(utilities, weights, bt_beta).of(everyone), tie_tolerance)


def plurality_veto(utilities: Array, weights: Array, bt_beta: float, tie_tolerance: float = TIE_TOLERANCE) -> Array:
    """The veto process from the plurality scores, see `rankings.plurality_veto`."""
    return veto_flows(first_places(utilities, weights, bt_beta), utilities, weights, bt_beta, tie_tolerance)[0]


def pruned_plurality_veto(
    utilities: Array, weights: Array, bt_beta: float, threshold: float | None = None,
    tie_tolerance: float = TIE_TOLERANCE,
) -> Array:  # fmt: skip
    """Plurality Veto among those with scores of at least `threshold`, see `rankings.pruned_plurality_veto`."""
    scores = first_places(utilities, weights, bt_beta)
    bar = 0.5 / utilities.shape[1] if threshold is None else as_number("threshold", threshold)
    kept = scores >= bar - check_nonnegative("tie_tolerance", tie_tolerance)
    if not (bar >= 0 and kept.any(axis=1).all()):
        raise ValueError(f"threshold = {threshold} must lie between 0 and the largest score {scores.max()}")
    start = first_places(utilities, weights, bt_beta, kept)
    return veto_flows(start, utilities, weights, bt_beta, tie_tolerance)[0]


def _winners(scores: Array, tie_tolerance: float) -> Array:
    return np.array([winners(row, tie_tolerance) for row in scores])
