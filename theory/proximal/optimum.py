"""The optimum of PRO as a policy: over all responses, and in sparse form over the labelled ones and the hyper response.

Responses of equal w/μ share one r*, in particular all unlabelled ones: the cost depends on the number K of different
values of w/μ, not on A, and the hyper response is exact (P6).

Source: Guo, Li, Chen (arXiv 2505.23316). Shapes: A responses, N labelled ones, K different values of w/μ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from theory.proximal.feedback import check_signal, log_remaining_mass, signal_of
from theory.proximal.solver import solve_rewards
from theory.validate import Array, as_vector, check_positive, require_reference


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
    tilt = r / check_positive("kl_beta", kl_beta)
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
    tilt = r / check_positive("kl_beta", kl_beta)
    log_all = np.append(log_ref, log_rest)
    ratio = tilt - np.logaddexp.reduce(log_all + tilt)
    return Optimum(log_ref + ratio[:-1], ratio[:-1], float(ratio[-1]), float(log_rest + ratio[-1]), residual)
