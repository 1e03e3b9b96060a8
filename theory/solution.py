"""Solve or raise: the result every solver returns, and its certificate.

A solver of this package never hands back a point that it cannot vouch for. It returns a `Solution` whose `gap`
was recomputed from the returned policy (not read from the solver's own log), or raises `CertificateError`.
"""

from __future__ import annotations

from dataclasses import dataclass

from theory.validate import Array

#: Default certificate of every solver: the duality gap, in units of the objective.
GAP_TOLERANCE = 1e-9
#: Feasibility asked of HiGHS in every linear program: its smallest.
LP_OPTIONS = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


class CertificateError(RuntimeError):
    """A solver stopped without the certificate that was asked for; the message states the gap it reached."""


@dataclass(frozen=True, eq=False)
class Solution:
    """A certified solution of a convex program over policies.

    Attributes
    ----------
    policy
        (A,) probabilities
    value
        objective at `policy`
    gap
        certified bound on the distance of `value` from the optimum, recomputed from `policy`
    status
        one sentence: which path solved it and whether the KL constraint is active

    References
    ----------
    Ours.

    Examples
    --------
    >>> from theory.policy import maximal_lottery
    >>> solution = maximal_lottery([[0.5, 0.7], [0.3, 0.5]])
    >>> solution.policy, solution.gap, solution.status
    (array([1., 0.]), 0.0, 'unbeaten alternatives; no KL constraint')
    """

    policy: Array
    value: float
    gap: float
    status: str


def certified(solution: Solution, tolerance: float = GAP_TOLERANCE) -> Solution:
    """`solution` if its gap is at most `tolerance`; CertificateError otherwise (NaN included).

    A gap is nonnegative: one below −`tolerance` proves that whatever bounds the optimum falls short of it.
    """
    if solution.gap < -max(tolerance, GAP_TOLERANCE):
        raise CertificateError(
            f"gap {solution.gap:.3e} is negative: the bound on the optimum is too weak to certify ({solution.status})"
        )
    if not solution.gap <= tolerance:
        raise CertificateError(f"gap {solution.gap:.3e} exceeds the certificate {tolerance:.1e} ({solution.status})")
    return solution
