"""The audit: how bad can a policy be for the users behind observed win rates? (claim D16, ours)

The users are an unknown law over utility vectors U ∈ [0,1]^A that produced the data:
P(x≻y) = E σ(bt_beta (U_x − U_y)) for every compared pair. With u = E U, the distortion of π on that
population is max_{π'∈K} u(π')/u(π), K the KL ball around a reference (all policies without one). `audit`
returns a certified interval for its supremum over ALL populations that could have produced the data. The
lower end is a witness, a population whose win rates and distortion are computed again after the search. The
upper end is the least of these bounds, each evaluated again from its multipliers with rounding included:

| bound | what it is | for | file |
|---|---|---|---|
| game | L(β) + payoff term: Corollary 4 of arXiv 2505.23749 | any A | averages.py |
| lemma | linear program in u with D1, Lemma 1 of arXiv 2505.23749 | any A | averages.py |
| pairs | the same with the convex hull of each pair (limit exact for A = 2) | any A | averages.py |
| types | dual over user types, proved by branch and bound | A ≤ `TYPES_MAX` | boxes.py |
| subset | `types` on the policy's support, the benchmark and a few more | small support | boxes.py |
| splits | the bounds above at further corners of a cover of K | finite tau | ball.py |

Gölz, Haghtalab, Yang wrote arXiv 2505.23749; the rest is ours. Types come from phase 1 and column generation
(types.py, columns.py), what the data say from observed.py; progress.py puts the steps in order.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from theory.distortion.audit.averages import Cuts, elastic, floor_utility, lemma_cuts, separate
from theory.distortion.audit.observed import Observed, from_counts, from_win_rates
from theory.distortion.audit.progress import CUT_ROUNDS, Audit, Run
from theory.distortion.audit.types import MATCH_TOLERANCE
from theory.numerics import centred_sigmoid
from theory.policy.kl_ball import KLBall
from theory.validate import Array, check_bt_beta, check_distribution, check_win_rates


def audit(
    win_rates: ArrayLike | None,
    policy: ArrayLike,
    bt_beta: float,
    *,
    reference: ArrayLike | None = None,
    log_reference: ArrayLike | None = None,
    tau: float = math.inf,
    counts: ArrayLike | None = None,
    n_users: int | None = None,
    confidence: float = 0.95,
) -> Audit:
    """Certified interval for the worst distortion of `policy` over all populations behind the data.

    The search is deterministic. Beyond `WITNESS_MAX` alternatives only the upper end is computed.

    Parameters
    ----------
    win_rates : array_like, (A, A), or None
        P(x≻y) in [0, 1], P(x≻y) + P(y≻x) = 1, taken as exact; None with `counts`.
    policy : array_like, (A,)
        Probabilities.
    bt_beta : float
        The users' Bradley–Terry temperature, above 4e-9: win rates are matched to 1e-9.
    reference : array_like, (A,), optional
        π_ref, probabilities with full support.
    log_reference : array_like, (A,), optional
        log π_ref in nats, in place of `reference` where that underflows.
    tau : float
        KL budget in nats, ≥ 0; inf: no constraint. A finite one needs a reference.
    counts : array_like of int, (A, A), optional
        How often x beat y. Confidence intervals in place of win rates, all of which cover with probability
        `confidence` (Clopper–Pearson, union bound over the compared pairs); a pair never compared carries no
        constraint.
    n_users : int, optional
        With counts: users who answered. Fewer than the comparisons: users answered several, and the intervals are the
        wider ones of `observed.user_half_width`, under its assumptions.
    confidence : float
        In (0, 1).

    Returns
    -------
    Audit
        The interval, its witness and its certificates; with counts it holds with the stated confidence.

    Raises
    ------
    ValueError
        Malformed input (the entry is named), or a proof that no population with this bt_beta produces the data.

    References
    ----------
    Gölz, Haghtalab, Yang (arXiv 2505.23749), Lemma 1 and Corollary 4; the rest is ours (D16).

    Examples
    --------
    >>> from theory.distortion import audit
    >>> found = audit([[0.5, 0.7], [0.3, 0.5]], [0.5, 0.5], bt_beta=5.0)
    >>> round(found.lower, 4), round(found.upper, 4)
    (2.0, 2.0)
    >>> audit(None, [0.5, 0.5], 5.0, counts=[[0, 70], [30, 0]]).upper > found.upper
    False
    """
    pi = check_distribution("policy", policy)
    ball = KLBall.around(pi.size, reference, log_reference, tau)
    observed = _observe(win_rates, counts, n_users, confidence, check_bt_beta(bt_beta), pi.size)
    cuts, floor = _moment_set(observed, pi)
    return Run(observed, pi, ball, cuts, floor).interval()


def _observe(
    win_rates: ArrayLike | None,
    counts: ArrayLike | None,
    n_users: int | None,
    confidence: float,
    beta: float,
    size: int,
) -> Observed:
    """The data as intervals; ValueError unless exactly one of the two forms is given, of shape (A, A)."""
    if counts is not None:
        if win_rates is not None:
            raise ValueError("give win_rates or counts, not both")
        observed = from_counts(counts, beta, n_users, confidence)
    elif win_rates is None:
        raise ValueError("give win_rates or counts")
    elif n_users is not None:
        raise ValueError("n_users needs counts: exact win rates have no sampling error")
    else:
        observed = from_win_rates(check_win_rates(win_rates), beta)
    if observed.size != size:
        raise ValueError(f"policy has {size} entries, the data are about {observed.size} alternatives")
    return observed


def _moment_set(observed: Observed, policy: Array) -> tuple[Cuts, float]:
    """Cuts that hold for the averages u, and a certified floor of π·u; ValueError where no u fits."""
    B = float(centred_sigmoid(observed.bt_beta))
    if not B > MATCH_TOLERANCE:
        raise ValueError(
            f"bt_beta = {observed.bt_beta:g} is too small: win rates are matched to {MATCH_TOLERANCE:g}, and users of "
            f"this temperature leave ½ by at most {B:.2g}"
        )
    beyond = np.maximum(observed.low - 0.5 - B, 0.5 - observed.high - B)
    if beyond.max(initial=-1.0) > MATCH_TOLERANCE:
        raise ValueError(
            f"{observed.pair_name(int(beyond.argmax()))} lies outside [{0.5 - B:.6g}, {0.5 + B:.6g}]: "
            f"no population with bt_beta = {observed.bt_beta} produces it"
        )
    cuts = lemma_cuts(observed)
    floor, u = floor_utility(policy, cuts)
    for _ in range(CUT_ROUNDS):
        new = None if u is None else separate(observed, u)
        if new is None or new.first.size == 0:
            break
        cuts = cuts.extend(new)
        floor, u = floor_utility(policy, cuts)
    if math.isinf(floor):
        slack, cut = elastic(cuts)
        if slack > MATCH_TOLERANCE:
            raise ValueError(
                f"no population with bt_beta = {observed.bt_beta} produces these win rates: "
                f"no average utilities in [0, 1] fit every pair; "
                f"most violated: win_rates[{cuts.first[cut]}, {cuts.second[cut]}], by {slack:.3g}"
            )
        floor = 0.0  # empty only within the solver's tolerance
    return cuts, floor
