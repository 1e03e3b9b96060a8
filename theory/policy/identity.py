"""IPO: ΨPO with the identity, the policy of a KL ball that wins most often against a fixed law of opponents.

    max_{π∈K} S_μ(π),   S_μ(π) = P(π ≻ μ) = Σ_x π(x) Σ_y μ(y) P(x≻y)

S_μ is Borda's score, so without a constraint this is Borda's rule, and in a ball Borda's score takes the place that
the Bradley–Terry reward has in RLHF. On-policy pairs mean μ = π_ref.

Source: Azar et al. (arXiv 2310.12036).
"""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from theory.policy.kl_ball import maximize_in_kl_ball
from theory.validate import Array, check_distribution, check_win_rates

#: Scores closer than this are ties, split by the reference: rounding of a sum of win rates.
SCORE_TIE_TOLERANCE = 1e-14


def ipo(
    win_rates: ArrayLike,
    mu: ArrayLike,
    reference: ArrayLike | None = None,
    tau: float = math.inf,
    *,
    log_reference: ArrayLike | None = None,
) -> Array:
    """IPO in the population limit: max_{π∈K} P(π ≻ μ), K = {π : KL(π‖π_ref) ≤ tau}. Ties follow the reference.

    Parameters
    ----------
    win_rates : array_like, (A, A)
        P(x≻y) in [0, 1], P(x≻y) + P(y≻x) = 1.
    mu : array_like, (A,)
        Law of the opponent, probabilities; class masses on a collapsed instance.
    reference : array_like, (A,), optional
        π_ref, probabilities with full support.
    tau : float
        KL budget in nats, ≥ 0; inf: no constraint. A finite one needs a reference.
    log_reference : array_like, (A,), optional
        log π_ref in nats, in place of `reference` where that underflows.

    Returns
    -------
    ndarray, (A,)
        The policy.

    Raises
    ------
    ValueError
        Malformed input; the message names the entry.

    References
    ----------
    Azar et al. (arXiv 2310.12036), section 4; what it loses: paper/sections/distortion_ball_proofs.tex.

    Examples
    --------
    >>> from theory.policy import ipo
    >>> P = [[0.5, 0.6, 0.7], [0.4, 0.5, 0.9], [0.3, 0.1, 0.5]]
    >>> ipo(P, mu=[0.2, 0.3, 0.5], reference=[0.2, 0.3, 0.5], tau=0.1).round(3)
    array([0.262, 0.455, 0.282])
    >>> ipo(P, mu=[0.2, 0.3, 0.5])
    array([0., 1., 0.])
    """
    P = check_win_rates(win_rates)
    scores = P @ check_distribution("mu", mu, P.shape[0])
    return maximize_in_kl_ball(scores, reference, tau, log_reference=log_reference, tie_tolerance=SCORE_TIE_TOLERANCE)
