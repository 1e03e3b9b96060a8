"""Claims D18, D19 and D22: what IPO, RLHF and NLHF lose in a KL ball, whatever its radius. Ours.

>>> from theory.claims import find_claim
>>> round(find_claim("D18").check("mismatch").predict({"method": "rlhf", "bt_beta": 5.0, "xi": 1.01}), 4)
37.2326
"""

from __future__ import annotations

from theory.claim import Claim, at_most, equal, grid, of_topic
from theory.distortion.ball_instances import ipo_factor
from theory.distortion.factors import borda_factor, linear_factor, neutral_factor
from theory.validate import check_between

SEARCH = "float64 rounding of a distortion"
TAUS = (0.01, 0.1, 1.0)


def linear_factor_over(bt_beta: float, xi: float) -> float:
    """D19: L(β)/ξ, where o is worth ξ/L of s and wins."""
    return linear_factor(bt_beta) / check_between("xi", xi, 1.0, linear_factor(bt_beta), "[)")


def ipo_factor_over(bt_beta: float, xi: float) -> float:
    """D18: cosh²(β/2)/ξ, where the users who favour b see 1/ξ of what the others do."""
    return ipo_factor(bt_beta) / check_between("xi", xi, 1.0, ipo_factor(bt_beta), "[)")


def neutral_factor_over(bt_beta: float, clones: int) -> float:
    """The most that a rule which treats o and its clones alike can be sure of, as a factor (D19)."""
    return neutral_factor(bt_beta, clones + 1)


claim = of_topic("distortion")

BALL_CLAIMS: tuple[Claim, ...] = (
    claim(
        "D18", "IPO in a ball: K*(β) on-policy", ("IPO", "RLHF", "KL ball", "Borda", "on-policy", "exact factor"),
        "With pairs from the reference IPO in a KL ball has distortion at most K*(β), exact over all budgets, and at "
        "most L(β) as the budget vanishes; with pairs of any law exactly cosh²(β/2), which RLHF in a ball loses too.",
        "@azar2024 (the method); factors and instance ours", "equality",
        at_most("on_policy", "worst distortion of IPO with pairs from π_ref, adversarial search", borda_factor,
                at=grid(bt_beta=(2.0, 10.0), tau=(0.1, 1.0, 10.0)), measured=("tau",), within=1e-9, because=SEARCH),
        equal("attained", "distortion of IPO on I5 with γ*, pairs from π_ref, samples of 10¹⁸ users", borda_factor,
              at=grid(bt_beta=(1.0, 2.0, 5.0, 10.0)), relative=5e-3, because="ε = 1e-3 in place of its limit"),
        at_most("any_law", "worst distortion of IPO in a ball that shuns the opponent, adversarial search", ipo_factor,
                at=grid(bt_beta=(2.0, 5.0)), relative=1e-9, because=SEARCH),
        equal("mismatch", "distortion where all opponents lie outside the ball, samples of 10¹⁸ users",
              ipo_factor_over, at=grid(method=("ipo", "rlhf"), bt_beta=(1.0, 2.0, 5.0), xi=1.01),
              measured=("method",), relative=0.01, because="ε = 3e-3 in place of its limit: βε/2 at β = 5"),
        equal("mismatch_limit", "the same in the population limit", ipo_factor, measured=("method",),
              at=grid(method=("ipo", "rlhf"), bt_beta=(5.0, 8.0, 10.0, 12.0)), relative=5e-3,
              because="ξ = 1.001 and ε = 1e-4 in place of their limits"),
    ),
    claim(
        "D19", "L(β) is lost at every KL budget", ("NLHF", "RLHF", "IPO", "KL ball", "every rule", "lower bound"),
        "At every budget τ > 0 instances cost NLHF, RLHF and IPO up to the whole of L(β), and with A′ clones every "
        "rule that treats them alike 1/(1/A′ + (1 − 1/A′)/L(β)).", "@golz2025 Thm 3 (the types); ours", "equality",
        equal("rules", "distortion on s, o, z with log ε = −650, from samples of 10¹⁸ users", linear_factor_over,
              at=grid(method=("rlhf", "ipo"), bt_beta=(2.0, 5.0, 10.0), tau=TAUS, xi=1.03), measured=("method", "tau"),
              relative=2e-3, because="utilities of 1e-4 and log ε = −650 in place of their limits"),
        equal("clones", "distortion of NLHF with clones of o, all comparisons but those with z ties",
              neutral_factor_over, at=grid(bt_beta=(5.0, 10.0), tau=(0.1, 1.0), clones=(1, 9, 99)), measured=("tau",),
              relative=0.01, because="the budget buys log(A′)/650 less on one alternative than on all"),
    ),
    claim(
        "D22", "On-policy RLHF in a ball (conjecture)", ("RLHF", "KL ball", "on-policy", "conjecture"),
        "Conjecture: unclipped RLHF with pairs from the reference loses at most K*(β) at every KL budget; a search "
        "found nothing above it.", "@golz2025 (the question); a conjecture of ours", "upper bound",
        at_most("bound", "worst distortion of RLHF with pairs from π_ref found by adversarial search", borda_factor,
                at=grid(bt_beta=(5.0, 10.0), tau=(0.1, 1.0, 10.0)), measured=("tau",), within=1e-9,
                because=SEARCH),
        equal("reach", "the same at a budget of 10 nats: how close the search comes", borda_factor, measured=("tau",),
              at=grid(bt_beta=(5.0, 10.0), tau=10.0), relative=0.01, because="the winner is ahead by 1e-3"),
    ),
)  # fmt: skip
