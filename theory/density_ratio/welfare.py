"""Consistency is not welfare: how much worse for the average user the target p⁺ = 2μ(½ + s) can be than μ."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from theory.distortion.factors import linear_factor
from theory.validate import check_bt_beta

#: Starting values of log e and log t.
STARTS = tuple((np.log(e), np.log(t)) for e in (0.3, 0.03, 0.003) for t in (0.7, 0.3))


def consistency_factor(bt_beta: float) -> float:
    """sup u(μ)/u(p⁺) over μ and populations of Bradley–Terry users with two alternatives; p⁺ the law of winners.

    With φ(z) = σ(βz) − ½ and B = φ(1) it is the maximum over e and t in (0, 1) of

        1/(1 − 2 (t²φ(e) − eB)(1 − t)/((e + t²)(1 + t))),

    at types (0, 1) and (e, 0). Searches over three alternatives find no more.

    Parameters
    ----------
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.

    Returns
    -------
    float
        ≥ 1; of order 1 + 4.4e-5·β⁵ for small β.

    Raises
    ------
    ValueError
        bt_beta is not a finite number > 0.

    References
    ----------
    Ours; proof in paper/sections/density_ratio_proofs.tex. The target: Higuchi, Suzuki (arXiv 2505.07558).

    Examples
    --------
    >>> from theory.density_ratio import consistency_factor
    >>> [round(consistency_factor(beta), 4) for beta in (5.0, 10.0, 20.0, 50.0, 100.0)]
    [1.0138, 1.0473, 1.1052, 1.2241, 1.3517]
    """
    beta = check_bt_beta(bt_beta)
    slope = np.tanh(beta / 2)

    def log_loss(logs: np.ndarray) -> float:
        """log of what stands below 1/(…), over (e + t²)(1 + t): a sum of positive parts, of any size."""
        e, t = np.exp(np.minimum(logs, 0.0))
        if e + t**2 == 0.0:
            return 0.0  # both types have left the range of numbers
        with np.errstate(over="ignore"):
            short = 2.0 / (1.0 + np.exp(beta * e))  # 1 − 2φ(e)
        kept = e * (1.0 + t + slope * (1.0 - t)) + t**2 * (short + t * (2.0 - short))
        return float(np.log(kept) - np.log(e + t**2) - np.log1p(t))

    options = {"xatol": 1e-10, "fatol": 1e-15, "maxiter": 2000}
    # as β → 0 the best is at e = .39 and 1 − t = .21(L − 1)
    starts = (*STARTS, (np.log(0.39), -0.21 * (linear_factor(beta) - 1.0)))
    best = min(minimize(log_loss, start, method="Nelder-Mead", options=options).fun for start in starts)
    return float(np.exp(-min(0.0, best)))
