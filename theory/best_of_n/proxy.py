"""Best-of-N on a reward that is not the truth, its soft form, and which rewards allow free rejections. Ours but for the
soft form.

    proxy        the proxy's best of N has true reward correlation · E max in the Gaussian case: it never turns
    soft         one of N draws is returned with probability ∝ exp(reward/temperature)
    survival     Speculative Rejection keeps N^{1−a} rows by a score that explains a share v of the reward's variance;
                 the limit N → ∞ of the chance that the best row is among them depends on the reward's tail

Source of the soft form: Aminian et al. (arXiv 2507.05913); proofs in paper/sections/best_of_n_proofs.tex.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincc, logsumexp

from theory.best_of_n.order_statistics import expected_max
from theory.validate import (
    Array,
    as_vector,
    check_between,
    check_distribution,
    check_positive,
    check_reciprocal,
    check_share,
    check_squares,
    check_whole,
)

#: Least points of the trapezoidal rule in log t, its longest step, and how far below its mass it begins, nats.
POINTS, STEP, REACH = 4001, 0.05, 45.0
#: Largest range of rewards in units of the temperature: beyond it the integral has millions of points.
LARGEST_GAP = 1e4


def proxy_best_of_n(n: float, correlation: float) -> float:
    """Expected true reward, in standard deviations, of the row whose proxy reward is best of n; jointly Gaussian.

    Parameters
    ----------
    n : float
        In [1, 10¹⁵], as in `expected_max`.
    correlation : float
        Of proxy and truth, in [−1, 1].

    Returns
    -------
    float
        correlation · expected_max(n).

    Raises
    ------
    ValueError
        An argument out of range.

    References
    ----------
    Ours; proof in paper/sections/best_of_n_proofs.tex.

    Examples
    --------
    >>> from theory.best_of_n import proxy_best_of_n
    >>> round(proxy_best_of_n(64, 0.6), 4)
    1.4062
    """
    return check_between("correlation", correlation, -1.0) * expected_max(n)


def soft_best_of_n_law(policy: ArrayLike, rewards: ArrayLike, n: int, temperature: float) -> Array:
    """Law of soft Best-of-N: n draws from the policy, one of them returned with probability ∝ exp(reward/temperature).

    With a = exp(reward/T) and 1/(a + S) = ∫₀^∞ e^{−t(a+S)} dt,

        law(y) = n π(y) ∫₀^∞ a_y e^{−t a_y} (Σ_z π(z) e^{−t a_z})^{n−1} dt.

    Parameters
    ----------
    policy : array_like, (A,)
        Probabilities.
    rewards : array_like, (A,)
        Finite.
    n : int
        ≥ 1.
    temperature : float
        > 0, in the unit of the reward; 0 would be Best-of-N, inf the policy.

    Returns
    -------
    ndarray, (A,)
        Absolute error below 1e-9.

    Raises
    ------
    ValueError
        Malformed input; the message names it.

    References
    ----------
    Aminian et al. (arXiv 2507.05913).

    Examples
    --------
    >>> from theory.best_of_n import soft_best_of_n_law
    >>> soft_best_of_n_law([0.5, 0.3, 0.2], [0.0, 1.0, 2.0], n=4, temperature=0.5).round(4)
    array([0.1384, 0.3426, 0.519 ])
    """
    pi = check_distribution("policy", policy)
    r = check_squares("rewards", as_vector("rewards", rewards, pi.size))
    count, scaled = check_whole("n", n), (r - r.max()) / check_reciprocal("temperature", temperature)
    # u = log t: a_y t = e^{u + scaled}. From where the largest a is not yet seen to where the smallest is used up.
    if count == 1:
        return pi.copy()
    if scaled.min() < -LARGEST_GAP:
        raise ValueError(f"temperature = {temperature} is below 1/{LARGEST_GAP:g} of the range of the rewards")
    low, high = -REACH - math.log(count), 8.0 - float(scaled.min())
    u, step = np.linspace(low, high, max(POINTS, math.ceil((high - low) / STEP)), retstep=True)
    with np.errstate(divide="ignore", over="ignore"):
        exponents = np.exp(u[:, None] + scaled)  # (points, A); inf where nothing is left
        log_laplace = (count - 1) * logsumexp(np.log(pi) - exponents, axis=1)
        integrand = np.exp(u[:, None] + scaled - exponents + log_laplace[:, None])
    return count * pi * integrand.sum(axis=0) * step


def free_rejection_survival(
    v: float, a: float, tail: Literal["gaussian", "gamma", "regular"], shape: float | None = None
) -> float:
    """Limit, as N → ∞, of the chance that the best of N rows survives when the N^{1−a} best by an early score are kept.

    The reward is the early score plus an independent rest, the score's share of the variance (of the jumps, for
    regularly varying tails) being v.

    | tail | survival |
    |---|---|
    | gaussian | a step: 1 for a < v, 0 for a > v |
    | gamma, increments of shape k·v and k·(1−v) | P(Beta(kv, k(1−v)) > a) |
    | regular (Pareto and the like) | v, for every a in (0, 1) |

    Parameters
    ----------
    v : float
        In (0, 1).
    a : float
        In (0, 1): a share N^{−a} of the rows is kept.
    tail : {"gaussian", "gamma", "regular"}
        Of the reward.
    shape : float, optional
        k > 0 of the whole reward; for "gamma" alone, where it is needed.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        An argument out of range; a = v for "gaussian", where the limit is not one number; a shape that is missing or
        not used.

    References
    ----------
    Ours; proof in paper/sections/best_of_n_proofs.tex.

    Examples
    --------
    >>> from theory.best_of_n import free_rejection_survival
    >>> round(free_rejection_survival(0.3, 0.3, "gamma", shape=2.0), 4), free_rejection_survival(0.3, 0.9, "regular")
    (0.4168, 0.3)
    """
    v, a = check_share("v", v), check_share("a", a)
    if (shape is not None) != (tail == "gamma"):
        raise ValueError(f"shape = {shape}: tail 'gamma' needs one, and tail {tail!r} was asked for")
    if tail == "gamma":
        k = check_positive("shape", shape)  # type: ignore[arg-type]
        return float(betaincc(k * v, k * (1.0 - v), a))
    if tail == "regular":
        return v
    if tail != "gaussian":
        raise ValueError(f"tail = {tail!r} must be 'gaussian', 'gamma' or 'regular'")
    if a == v:
        raise ValueError(f"a = v = {v}: at the step of a Gaussian reward the limit depends on lower orders")
    return 1.0 if a < v else 0.0
