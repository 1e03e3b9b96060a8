"""The convex program of PRO, and its optimum as a policy: over all responses, and over the labelled ones and H alone.

    min over r of  −Σ_y w(y) r(y) + (α/2) Σ_{y,y'} μ(y)μ(y') klB(r(y) − r(y')),      klB(δ) = log cosh(δ/2),

is solved by Newton's method on merged responses and certified by its optimality condition (P3, Theorem 3.2).

Responses of equal w/μ share one r*, in particular all unlabelled ones: the cost depends on the number K of different
values of w/μ, not on A, and the hyper response H is exact (P6).

Source: Guo, Li, Chen (arXiv 2505.23316). Shapes: A responses, N labelled ones, K different values of w/μ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.special import expit

from theory.numerics import centred_sigmoid
from theory.proximal.existence import check_alpha, check_weights, separation
from theory.proximal.feedback import check_signal, log_remaining_mass, signal_of
from theory.solution import CertificateError
from theory.validate import Array, as_vector, check_positive, require_reference

#: Largest residual of P3 at a returned optimum; both sides of P3 lie in (−½, ½).
RESIDUAL_TOLERANCE = 1e-12
#: Far above the 6 to 60 Newton steps that any instance needed.
MAX_STEPS = 500


@dataclass(frozen=True, eq=False)
class Optimum:
    """The optimum of PRO over N labelled responses and the hyper response H.

    log_policy     (N,) log π*(y), nats
    log_ratio      (N,) log π*(y)/π_ref(y), nats
    hyper_ratio    log C = log π*(y)/π_ref(y) of every unlabelled y, hence also log π*(H)/π_ref(H)
    hyper_policy   log π*(H), nats
    residual       largest residual of P3
    """

    log_policy: Array
    log_ratio: Array
    hyper_ratio: float
    hyper_policy: float
    residual: float


def proximal_optimum(
    reference: ArrayLike | None,
    scores: ArrayLike,
    empirical: ArrayLike,
    weights: ArrayLike,
    alpha: float,
    kl_beta: float,
    *,
    log_reference: ArrayLike | None = None,
) -> Array:
    """The policy π* that minimises L_eDPO, absolute likelihoods included; over Y_H if the arguments are merged to it.

    Parameters
    ----------
    reference : array_like, (A,), or None
        π_ref with full support; None where log_reference is given.
    scores, empirical : array_like, (A,)
        ŝ with μ̂-mean 0, and μ̂.
    weights : array_like, (A,)
        μ, a law with full support.
    alpha : float
        Weight of the regulariser, above α* (`existence_threshold`).
    kl_beta : float
        Weight of the KL term, > 0.
    log_reference : array_like, (A,), optional
        The reference in nats.

    Returns
    -------
    ndarray, (A,)
        π*; below e^{−745} it comes out as 0 (`theory.proximal.optimum.proximal_log_ratio` has the logarithms).

    Raises
    ------
    ValueError
        alpha ≤ α*, which the message states; what is not a law.
    CertificateError
        The optimality condition P3 is missed by more than 1e-12.

    References
    ----------
    Guo, Li, Chen (arXiv 2505.23316), Theorems 3.2 and 4.1.

    Examples
    --------
    >>> from theory.proximal import empirical_scores, proximal_optimum
    >>> scores, empirical = empirical_scores(3, [(0, 1)])
    >>> uniform = [1 / 3] * 3
    >>> proximal_optimum(uniform, scores, empirical, uniform, alpha=9 / 4, kl_beta=1.0).round(4)  # e^{±t} of P9
    array([0.5918, 0.1304, 0.2778])
    """
    w = signal_of(scores, empirical)
    log_ref = require_reference(reference, log_reference, w.size, "proximal_optimum")
    log_policy = log_ref + proximal_log_ratio(log_ref, w, weights, alpha, kl_beta)
    policy = np.exp(log_policy)
    return policy / policy.sum()  # log_policy is normalised up to rounding


def proximal_log_ratio(
    log_reference: ArrayLike, signal: ArrayLike, weights: ArrayLike, alpha: float, kl_beta: float
) -> Array:
    """log π*/π_ref (A,) = r*/kl_beta − log Σ π_ref e^{r*/kl_beta}, nats: `proximal_optimum` where it underflows.

    signal  w = μ̂ŝ (A,), or any other vector with Σ w = 0;  the other arguments as there, log_reference (A,) nats
    """
    w = check_signal("signal", signal)
    log_ref = require_reference(None, log_reference, w.size, "proximal_log_ratio")
    r, _ = solve_rewards(w, weights, alpha)
    tilt = (r - r.max()) / check_positive("kl_beta", kl_beta)
    return tilt - np.logaddexp.reduce(log_ref + tilt)


def hyper_optimum(
    log_reference: ArrayLike,
    scores: ArrayLike,
    empirical: ArrayLike,
    weights: ArrayLike,
    alpha: float,
    kl_beta: float,
    *,
    log_hyper_reference: float | None = None,
) -> Optimum:
    """`proximal_optimum` in sparse form: the labelled responses alone, H being all others. No cost in |Y|.

    log_reference  (N,) nats, of the labelled responses; their probabilities sum to less than 1
    scores, empirical, weights  (N,): ŝ with μ̂-mean 0; μ̂, sum 1; μ, sum less than 1, the rest being μ(H)
    log_hyper_reference  log π_ref(H) where it is known better than log(1 − Σπ_ref), which loses digits as
                         π_ref(H) → 0; None: computed so (log1mexp)
    """
    w = signal_of(scores, empirical)
    log_ref = as_vector("log_reference", log_reference, w.size)
    mu = as_vector("weights", weights, w.size)
    if (mu <= 0).any():
        raise ValueError(f"weights[{int(mu.argmin())}] = {mu.min()} must be > 0")
    if not mu.sum() < 1.0:
        raise ValueError(f"weights sum to {mu.sum()!r}, which leaves nothing to H")
    if log_hyper_reference is None:
        log_rest = log_remaining_mass("log_reference", log_ref)
    else:
        log_rest = float(log_hyper_reference)
        total = float(np.logaddexp.reduce(np.append(log_ref, log_rest)))
        if not abs(total) <= 1e-9:
            raise ValueError(f"log_reference and log_hyper_reference sum to exp({total!r}), not to 1")
    r, residual = solve_rewards(np.append(w, 0.0), np.append(mu, 1.0 - mu.sum()), alpha)
    tilt = (r - r.max()) / check_positive("kl_beta", kl_beta)
    log_all = np.append(log_ref, log_rest)
    ratio = tilt - np.logaddexp.reduce(log_all + tilt)
    return Optimum(log_ref + ratio[:-1], ratio[:-1], float(ratio[-1]), float(log_rest + ratio[-1]), residual)


def solve_rewards(signal: ArrayLike, weights: ArrayLike, alpha: float) -> tuple[Array, float]:
    """r* (A,) up to its shift (here Σ μ r* = 0) and the residual of P3 there.

    Newton's method on the K merged responses. klB''' ≤ klB'' makes the loss generalised self-concordant, for which the
    step length log(1 + ν)/ν, ν the spread of the Newton step, decreases the loss without a line search (Sun,
    Tran-Dinh, Math. Program. 2019) and tends to 1. Each system is the Laplacian of a weighted graph, grounded at
    its heaviest response.

    ValueError at α ≤ α*; CertificateError where float64 does not reach `RESIDUAL_TOLERANCE` (α within rounding of α*).
    """
    w = check_signal("signal", signal)
    mu = check_weights(weights, w.size)
    alpha = check_alpha(alpha, separation(w, mu).threshold)
    levels, place = np.unique(w / mu, return_inverse=True)
    M = np.bincount(place, weights=mu)
    # the target of P3, measured from its μ-mean, which is 0 up to the rounding of Σ w
    target = levels / alpha
    target -= M @ target / M.sum()
    r = np.zeros(M.size)
    ground = int(M.argmax())
    free = np.arange(M.size) != ground
    best_r, best = r, math.inf
    for _ in range(MAX_STEPS):
        distances = r[:, None] - r[None, :]
        miss = target - centred_sigmoid(distances) @ M
        residual = float(np.abs(miss).max())
        if residual < best:
            best_r, best = r, residual
        elif best <= RESIDUAL_TOLERANCE:
            break  # rounding has the last word
        if residual == 0.0 or M.size == 1:
            break
        slopes = expit(distances)
        edges = slopes * slopes.T * M[:, None] * M[None, :]
        laplacian = np.diag(edges.sum(axis=1)) - edges
        step = np.zeros(M.size)
        try:
            factor = cho_factor(laplacian[np.ix_(free, free)])
        except LinAlgError:
            break
        step[free] = cho_solve(factor, (M * miss)[free])
        spread = float(np.ptp(step))
        if spread == 0.0:
            break
        r = r + math.log1p(spread) / spread * step
    if not best <= RESIDUAL_TOLERANCE:
        raise CertificateError(f"residual {best:.3e} of P3 exceeds {RESIDUAL_TOLERANCE:.1e} at alpha = {alpha}")
    return (best_r - M @ best_r / M.sum())[place], best
