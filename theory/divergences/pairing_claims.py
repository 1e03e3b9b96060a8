"""Claim V14: pairing loses information. Ours.

>>> from theory.claims import find_claim
>>> round(find_claim("V14").check("cost").predict({"separation": 3.0, "n_outcomes": 5}), 3)
2.087
"""

from __future__ import annotations

from theory.claim import Claim, equal, greater, grid, of_topic
from theory.divergences.pairing import pairing_cost
from theory.divergences.safety_data import example_pair


def mean_pairing_cost(separation: float, n_outcomes: int) -> float:
    """V14: mean over directions of DPO's variance over the unpaired one."""
    return float(pairing_cost(*example_pair(n_outcomes, separation)).mean())


claim = of_topic("divergences")

PAIRING_CLAIMS: tuple[Claim, ...] = (
    claim(
        "V14", "Pairing loses information", ("DPO", "pairs", "unpaired data", "covariance", "Cramér–Rao"),
        "From n winners and n losers DPO's estimate of log R has an asymptotic covariance no smaller than the unpaired "
        "one, diag(1/p⁺ + 1/p⁻)/n on contrasts, and equal to it only where D⁺ = D⁻.",
        "@rafailov2023 (the loss); ours", "equality",
        equal("unpaired", "variance of log p̂/q̂ over that predicted, mean over directions, n = 10⁵", 1.0,
              at=grid(separation=(0.0, 1.5, 3.0), n_outcomes=(3, 5)), within=0.02, because="Monte Carlo over samples"),
        equal("cost", "variance of DPO's log R over the unpaired one, mean over directions, n = 10⁵ pairs",
              mean_pairing_cost, at=grid(separation=(0.0, 1.5, 3.0), n_outcomes=(3, 5)), relative=0.02,
              because="Monte Carlo over samples"),
        greater("worse", "excess of that over one, least over directions, same samples", 0.0,
                at=grid(separation=(1.5, 3.0), n_outcomes=5), because="a paired difference"),
    ),
)  # fmt: skip
