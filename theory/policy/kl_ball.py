"""The KL ball K = {π : KL(π‖π_ref) ≤ tau} around a reference policy: distance, tilting, linear maximisation.

Everything runs on log-probabilities of the reference, so that a reference of e^{-2·10⁹} (instance I6) is as good
as one of ½. Shapes: A alternatives; policies, values and log-references are (A,); KL is in nats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import xlogy

from theory.numerics import log1mexp
from theory.validate import LARGEST, Array, as_vector, check_laws, check_nonnegative, check_tau, resolve_log_reference

#: Budgets below this, nats, need the KL of a tilt to its own relative accuracy.
SMALL_BUDGET = 1e-6
#: How far inside the ball, relative to tau, a maximiser may lie.
RADIUS_ACCURACY = 1e-12
#: log of the largest slope that is tried, beside the spread of the values.
LARGEST_SLOPE = 690.0
#: Most steps of Newton's method for the radius, which takes four or five, before a bracketed search does it.
NEWTON_STEPS = 12


def kl(p: ArrayLike, q: ArrayLike) -> float:
    """KL(p‖q) = Σ_x p(x) log(p(x)/q(x)), with 0 log 0 = 0.

    Parameters
    ----------
    p, q : array_like, (A,)
        Probabilities.

    Returns
    -------
    float
        Nats; inf where p > 0 = q.

    Raises
    ------
    ValueError
        Either is not a probability vector.

    References
    ----------
    Kullback, Leibler (1951).

    Examples
    --------
    >>> from theory.policy import kl
    >>> round(kl([0.5, 0.5], [0.9, 0.1]), 4), kl([0.5, 0.5], [1.0, 0.0])
    (0.5108, inf)
    """
    p, q = check_laws(p, q)
    if ((q == 0) & (p > 0)).any():
        return math.inf
    with np.errstate(divide="ignore"):
        log_q = np.where(q > 0, np.log(q), 0.0)
    return kl_from_log(p, log_q)


def kl_from_log(p: Array, log_q: Array) -> float:
    """KL(p‖q) for q given by its logarithms (which may lie far below the underflow of exp). No checks."""
    return max(0.0, float(np.sum(xlogy(p, p) - np.where(p > 0, p * log_q, 0.0))))


def kl_terms(d: Array) -> Array:
    """d·e^d − e^d + 1 ≥ 0 for d = log p/q, elementwise and to its own relative accuracy: KL(p‖q) = Σ q·(this)."""
    near = np.clip(d, -1.0, 1.0)
    series = near * near * (0.5 + near * (1 / 3 + near * (0.125 + near / 30)))
    return np.where(
        np.abs(d) < 1e-4, series, np.where(d > -np.inf, np.maximum(d, -1e300) * np.exp(d), 0.0) - np.expm1(d)
    )


@dataclass(frozen=True, eq=False)
class KLBall:
    """K = {π : KL(π‖π_ref) ≤ tau}. Made at the public edge by `around`, which checks, and passed on as one value.

    log_reference  (A,) log π_ref, nats; the uniform policy where there is none
    tau            budget in nats, ≥ 0; inf for every policy
    """

    log_reference: Array
    tau: float = math.inf

    @classmethod
    def around(cls, size: int, reference: ArrayLike | None, log_reference: ArrayLike | None, tau: float) -> KLBall:
        """The ball of either form of the reference; ValueError names what is wrong, or missing for a finite tau."""
        tau = check_tau(tau)
        logs = resolve_log_reference(reference, log_reference, size)
        if logs is None and tau < math.inf:
            raise ValueError(f"tau = {tau} needs reference or log_reference")
        return cls(np.full(size, -math.log(size)) if logs is None else logs, tau)

    @property
    def bounded(self) -> bool:
        """Whether there is a constraint at all."""
        return self.tau < math.inf

    def distance(self, policy: Array) -> float:
        """KL(policy‖π_ref), nats."""
        return kl_from_log(policy, self.log_reference)

    def maximize(self, values: Array, tie_tolerance: float = 0.0) -> Array:
        """As `maximize_in_kl_ball`; no checks."""
        v = values - values.max()
        top = v >= -tie_tolerance
        if self.tau >= _distance_of(self.log_reference, top):
            return restrict(self.log_reference, top)
        if self.tau == 0.0:
            return np.exp(self.log_reference)
        return _on_the_sphere(v, self.log_reference, self.tau)


def tilt(log_reference: Array, scores: Array) -> Array:
    """π ∝ π_ref·exp(scores), the optimum of the penalty form with scores = values/weight. No checks.

    Parameters
    ----------
    log_reference : ndarray, (A,)
        log π_ref, nats.
    scores : ndarray, (A,)
        Nats.

    Returns
    -------
    ndarray, (A,)
        The policy.

    References
    ----------
    Gölz, Haghtalab, Yang (arXiv 2505.23749), section 2.

    Examples
    --------
    >>> import numpy as np
    >>> from theory.policy import tilt
    >>> tilt(np.log([0.5, 0.5]), np.array([np.log(3.0), 0.0]))
    array([0.75, 0.25])
    """
    logits = log_reference + (scores - scores.max())  # beside large scores the reference would lose its digits
    policy = np.exp(logits - logits.max())
    return policy / policy.sum()


def restrict(log_reference: Array, members: Array) -> Array:
    """π_ref conditioned on a set, `members` (A,) boolean."""
    return tilt(np.where(members, log_reference, -np.inf), np.zeros(members.size))


def _distance_of(log_reference: Array, members: NDArray[np.bool_]) -> float:
    """KL(π_ref given a set ‖ π_ref) = −log π_ref(set), by its complement where that is small: to its own accuracy."""
    log_mass = float(np.logaddexp.reduce(log_reference[members]))
    if log_mass < -0.5:
        return -log_mass
    return -float(log1mexp(np.logaddexp.reduce(log_reference[~members], initial=-math.inf)))


def maximize_in_kl_ball(
    values: ArrayLike,
    reference: ArrayLike | None = None,
    tau: float = math.inf,
    *,
    log_reference: ArrayLike | None = None,
    tie_tolerance: float = 0.0,
) -> Array:
    """The policy that maximises Σ_x π(x) values(x) over KL(π‖π_ref) ≤ tau.

    Lagrange: π_s ∝ π_ref·exp(s·values) with KL(π_s‖π_ref) = tau, or, where the ball reaches it, π_ref conditioned on
    the maximisers (KL = −log π_ref(maximisers)). KL(π_s‖π_ref) grows in s, so s is one bracketed root.

    Parameters
    ----------
    values : array_like, (A,)
        Finite.
    reference : array_like, (A,), optional
        π_ref, probabilities with full support.
    tau : float
        KL budget in nats, ≥ 0; inf: no constraint. A finite one needs a reference.
    log_reference : array_like, (A,), optional
        log π_ref in nats, in place of `reference` where that underflows.
    tie_tolerance : float
        Values this close to the maximum count as maximisers; ties follow the reference, evenly without one.

    Returns
    -------
    ndarray, (A,)
        The policy, inside the ball up to rounding (1e-12 relative).

    Raises
    ------
    ValueError
        Malformed input, or a finite tau without a reference.

    References
    ----------
    Gölz, Haghtalab, Yang (arXiv 2505.23749), section 2: the constrained form of RLHF.

    Examples
    --------
    >>> from theory.policy import maximize_in_kl_ball
    >>> maximize_in_kl_ball([1.0, 0.0, 0.0], [0.2, 0.3, 0.5], tau=0.1).round(4)
    array([0.3952, 0.2268, 0.378 ])
    >>> maximize_in_kl_ball([1.0, 1.0, 0.0])
    array([0.5, 0.5, 0. ])
    """
    v = as_vector("values", values)
    tie_tolerance = check_nonnegative("tie_tolerance", tie_tolerance)
    if np.abs(v).max() > LARGEST:  # their differences may leave float64, those of quarters do not
        v, tie_tolerance = 0.25 * v, 0.25 * tie_tolerance
    return KLBall.around(v.size, reference, log_reference, tau).maximize(v, tie_tolerance)


def _on_the_sphere(v: Array, log_ref: Array, tau: float) -> Array:
    """π_s ∝ π_ref·e^{sv} with KL(π_s‖π_ref) = tau, from inside; v ≤ 0, its maximum 0, the maximisers out of reach."""
    spread = float(-v.min())
    if not 1e-100 < spread < 1e100:
        v, spread = v / spread, 1.0
    small = tau < SMALL_BUDGET

    def excess(log_slope: float) -> float:
        scores = math.exp(log_slope) * v
        return (_small_kl(scores, log_ref) if small else kl_of_tilt(scores, log_ref)[0]) - tau

    root = None if small else _newton_root(v, log_ref, tau)
    if root is None:
        # The spread of v sets the scale; each end then moves by a factor of ten until the root is inside.
        low = high = -math.log(spread)
        farthest = min(low + LARGEST_SLOPE, LARGEST_SLOPE)
        while excess(low) > 0:
            low -= math.log(10)
        while excess(high) < 0:
            if high > farthest:  # no slope of float64 tells the maximisers from the next best, or the KL from tau
                return tilt(log_ref, math.exp(high) * v)
            high += math.log(10)
        root = brentq(excess, low, high, xtol=1e-15, rtol=1e-15)
    # The search may stop a rounding error outside the ball: step back in.
    step = 1e-15
    while excess(root) > 0 and step < 1e-9:
        root, step = root - step * max(1.0, abs(root)), 2 * step
    inside = tilt(log_ref, math.exp(root) * v)
    if tau < SMALL_BUDGET or excess(root) > -RADIUS_ACCURACY * tau:
        return inside
    # At log π_ref = −10⁹ neighbouring slopes differ in their policies: the radius lies on the segment between two.
    outside = tilt(log_ref, math.exp(root + 2.0 * step * max(1.0, abs(root))) * v)

    def miss(share: float) -> float:
        return kl_from_log((1.0 - share) * inside + share * outside, log_ref) - tau

    if not miss(0.0) < 0.0 < miss(1.0):
        return inside
    share = brentq(miss, 0.0, 1.0, xtol=1e-15)
    return (1.0 - share) * inside + share * outside


def _newton_root(v: Array, log_ref: Array, tau: float) -> float | None:
    """log s of the same by Newton's method, a third of the evaluations of a bracket; None where it has not converged.

    log KL against log s is nearly straight, with slope Var(sv)/KL.
    """
    ref = np.exp(log_ref)
    spread = float(ref @ (v - ref @ v) ** 2)
    if not (spread > 0.0 and 2.0 * tau / spread < math.inf):
        return None
    root = 0.5 * math.log(2.0 * tau / spread)
    for _ in range(NEWTON_STEPS):
        distance, variance, _ = kl_of_tilt(math.exp(root) * v, log_ref)
        if not (distance > 0.0 and variance > 1e-6 * distance):
            return None
        miss = math.log(tau / distance)
        root += min(2.0, max(-2.0, miss * distance / variance))
        if abs(miss) < 1e-8:  # the step just taken leaves its square
            return root
    return None


def kl_of_tilt(scores: Array, log_ref: Array) -> tuple[float, float, Array]:
    """KL(π‖π_ref) = Σ π·scores − log Σ π_ref e^{scores}, the variance of scores under π, and π ∝ π_ref·e^{scores}."""
    logits = log_ref + scores
    peak = logits.max()
    policy = np.exp(logits - peak)
    total = float(policy.sum())
    policy /= total
    mean = float(policy @ scores)
    with np.errstate(over="ignore", invalid="ignore"):  # of steep scores it may be infinite, or nothing
        variance = float(policy @ (scores - mean) ** 2)
    return mean - float(peak) - math.log(total), variance, policy


def _small_kl(scores: Array, log_ref: Array) -> float:
    """The same without a difference of numbers larger than itself: Σ π_ref φ(log π/π_ref), φ(d) = d·e^d − e^d + 1."""
    ref = np.exp(log_ref)
    x = scores - ref @ scores / ref.sum()
    # beyond d = 1 by log π_ref + d, which is finite where π_ref has underflowed
    with np.errstate(over="ignore", under="ignore"):
        grown = np.where(x > 1.0, np.exp(log_ref + x) - ref, ref * np.expm1(np.minimum(x, 1.0)))
        if not math.isfinite(total := float(grown.sum())):
            return math.inf  # far beyond any budget
        d = x - math.log1p(total / float(ref.sum()))
        terms = ref * kl_terms(np.minimum(d, 1.0))
        return float(np.where(d > 1.0, np.exp(log_ref + d) * (d - 1.0) + ref, terms).sum())
