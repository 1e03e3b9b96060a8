"""Consistency is not welfare: how much worse for the average user the target p⁺ = 2μ(½ + s) can be than μ."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

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
        ≥ 1.

    Raises
    ------
    ValueError
        bt_beta is not a finite number > 0.

    References
    ----------
    Ours; proof in paper/sections/density_ratio.tex. The target: Higuchi, Suzuki (arXiv 2505.07558).

    Examples
    --------
    >>> from theory.density_ratio import consistency_factor
    >>> [round(consistency_factor(beta), 4) for beta in (5.0, 10.0, 20.0, 50.0, 100.0)]
    [1.0138, 1.0473, 1.1052, 1.2241, 1.3517]
    """
    beta = check_bt_beta(bt_beta)

    def negative_gain(logs: np.ndarray) -> float:
        e, t = np.exp(np.minimum(logs, 0.0))
        margin = t**2 * 0.5 * np.tanh(beta * e / 2) - e * 0.5 * np.tanh(beta / 2)
        return float(-2.0 * margin * (1.0 - t) / ((e + t**2) * (1.0 + t)))

    options = {"xatol": 1e-10, "fatol": 1e-15, "maxiter": 2000}
    best = min(minimize(negative_gain, start, method="Nelder-Mead", options=options).fun for start in STARTS)
    return float(1.0 / (1.0 + min(0.0, best)))
