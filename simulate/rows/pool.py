"""Seeds pooled, and the degrees of freedom that the error of what they say has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import fdtrc

from simulate.rows.store import Row
from theory.claim import CONFIDENCE, Check, Verdict, parse_setting, verdict


@dataclass(frozen=True)
class Pooled:
    """An estimate pooled over seeds, `stderr` its standard error with `dof` degrees of freedom."""

    estimate: float
    stderr: float
    dof: float


def pool(estimates: Sequence[float], stderrs: Sequence[float], *, shared: bool = False) -> tuple[float, float]:
    """Mean over seeds and its standard error.

    One seed: its own error. Several: the larger of the propagated errors √(Σ se²)/S and the spread between seeds
    sd/√S, so that a table (se 0) that varies over seeds is not taken as exact. Where what seeds draw is `shared`, their
    errors do not average out: Σ se/S. NaN where some seeds alone are infinite.
    """
    S = len(estimates)
    centre = sum(estimates) / S
    propagated = (sum(stderrs) if shared else math.hypot(*stderrs)) / S
    if S == 1 or len(set(estimates)) == 1:
        return centre, propagated
    spread = math.sqrt(sum((e - centre) ** 2 for e in estimates) / (S - 1) / S)
    return centre, spread if math.isnan(spread) else max(propagated, spread)


def worst(check: Check, predicted: float, rows: Sequence[Row]) -> Row:
    """The seed that is farthest on the wrong side of the prediction; the first of those that are no number."""
    excess = [check.excess(predicted, row.estimate) for row in rows]
    return rows[max(range(len(rows)), key=lambda i: (math.isnan(excess[i]), excess[i]))]


def pooled(check: Check, predicted: float, rows: Sequence[Row]) -> Pooled:
    """Rows of one check and setting as one estimate.

    Where one seed is enough to break the check it is the worst one's: exact numbers that must be as predicted (what is
    counted, with no resolution), and the ends of searches beside a bound. Else their mean. Its degrees of freedom are
    those of the seeds' own errors together (n − 1 replicates of each, n − 2 points of each line that was fitted, a
    rate; at least one); but S − 1 where those errors do not explain the spread between the S seeds: an F test at the
    level of the intervals, or errors of 0. Seeds that share what they drew have those of one.
    """
    each = [max(row.n - (2 if check.kind == "rate" else 1), 1) for row in rows]
    own = min(each) if check.shared else sum(each)
    if _one_is_enough(check, predicted, rows):
        return Pooled(worst(check, predicted, rows).estimate, 0.0, own)
    estimates, stderrs = [row.estimate for row in rows], [row.stderr for row in rows]
    estimate, stderr = pool(estimates, stderrs, shared=check.shared)
    propagated, others = (sum(stderrs) if check.shared else math.hypot(*stderrs)) / len(rows), len(rows) - 1
    explained = stderr <= propagated or (
        propagated and fdtrc(others, own, (stderr / propagated) ** 2) >= 1.0 - CONFIDENCE
    )
    return Pooled(estimate, stderr, own if explained else others)


def _one_is_enough(check: Check, predicted: float, rows: Sequence[Row]) -> bool:
    """Does one seed break the check, whatever the others say?"""
    counted = check.kind in ("equality", "invariant") and check.tolerance(predicted) == 0.0
    searched = check.kind in ("upper bound", "lower bound") and not check.trained
    return (counted or searched) and all(row.stderr == 0.0 for row in rows)


def judge(check: Check, rows: Sequence[Row]) -> Verdict:
    """The verdict on rows of one check and setting."""
    predicted = check.predict(parse_setting(rows[0].setting))
    found = pooled(check, predicted, rows)
    return verdict(check, predicted, found.estimate, found.stderr, found.dof)
