"""Claims D24 and D25: Condorcet cycles among Bradley–Terry users, and what a small KL budget buys.

>>> round(margin_correlation(5.0), 4), round(cycle_probability(5.0), 4)
(0.4764, 0.0129)
"""

from __future__ import annotations

import math

from theory.claim import Claim, at_least, equal, grid, of_topic
from theory.numerics import centred_sigmoid, gauss_legendre, log_cosh
from theory.validate import check_bt_beta

#: Nodes of the quadrature over a user's utilities, in each of three parts.
NODES = 400
#: β times the part at either end where a large β bends margins.
BEND = 40.0
#: Below it the correlation is ½ to float64: it is ½ − 1.7e-4·β⁴.
FAINT = 1e-4


def margin_correlation(bt_beta: float) -> float:
    """D24: correlation of φ(u_x − u_y) and φ(u_x − u_z), utilities independent and uniform on [0, 1].

    ½ as β → 0, where margins are linear and orders the sum of them; ⅓ as β → ∞, where votes are ±½.
    """
    beta = max(check_bt_beta(bt_beta), FAINT)
    end = min(0.25, BEND / beta)
    u, weight = gauss_legendre([0.0, end, 1.0 - end, 1.0], NODES)
    # E φ(u − U) = [log cosh(βu/2) − log cosh(β(1 − u)/2)]/β
    mean = (log_cosh(0.5 * beta * u) - log_cosh(0.5 * beta * (1.0 - u))) / beta
    # |u − U′| has density 2(1 − d)
    square = float(weight @ (2.0 * (1.0 - u) * centred_sigmoid(beta * u) ** 2))
    return float(weight @ mean**2) / square


def cycle_probability(bt_beta: float) -> float:
    """D24: 1 − 3(¼ + arcsin(ρ)/2π): no one of three alternatives beats both others, in the limit of many users."""
    return max(0.0, 1.0 - 3.0 * (0.25 + math.asin(margin_correlation(bt_beta)) / (2.0 * math.pi)))


def first_gain(method: str) -> float:
    """D25 on I6: RLHF's and IPO's scores, decided by the clones, put b above a, NLHF's and utility put a above b."""
    return 1.0 if method == "nlhf" else -1.0


claim = of_topic("distortion")

REGIME_CLAIMS: tuple[Claim, ...] = (
    claim(
        "D24", "How often majorities cycle", ("Condorcet cycle", "NLHF", "mixed policy", "majority", "impossibility"),
        "Among many Bradley–Terry users with independent uniform utilities three alternatives form a Condorcet cycle "
        "with probability ¼ − (3/2π) arcsin ρ(β), from 0 as β → 0 to 0.0877; NLHF mixes exactly there.",
        "@liu2025 (cycles, and when NLHF mixes); probability under these users ours", "equality",
        equal("probability", "share of populations of 200 users in which no alternative beats both others",
              cycle_probability, at=grid(bt_beta=(5.0, 10.0, 20.0, 100.0)), within=2e-3,
              because="200 users are not infinitely many, and a share of samples"),
        equal("mixed", "share of populations in which NLHF mixes and there is a winner, or the other way round", 0.0,
              at=grid(bt_beta=(5.0, 100.0), n_alternatives=(3, 6)), scale=1.0, because="a count"),
    ),
    claim(
        "D25", "What a small KL budget buys", ("RLHF", "NLHF", "IPO", "KL ball", "small budgets", "regimes"),
        "As τ → 0 a method gets of the gain in utility that the ball allows the correlation, under the reference, of "
        "utility with its scores: Bradley–Terry rewards, Borda's scores, win rates against the reference. On I6 RLHF "
        "and IPO get −1, NLHF 1; users of faint temperature get 1 from all.",
        "@oko2026 (regimes of KL strength); ours", "equality",
        equal("share", "largest difference of share and correlation at τ = 1e-7, random populations", 0.0, within=2e-3,
              at=grid(method=("rlhf", "ipo", "nlhf")), scale=1.0, because="terms of order √τ"),
        equal("on_I6", "gain in utility at τ = 1e-6 over the largest in the ball, I6", first_gain, within=1e-3,
              at=grid(method=("rlhf", "ipo", "nlhf"), bt_beta=10.0), measured=("bt_beta",),
              because="terms of order √τ"),
        at_least("faint", "smallest share at β = 0.01 and τ = 1e-7, random populations, pairs from the reference", 1.0,
                 at=grid(method=("rlhf", "ipo", "nlhf")), within=1e-3, because="terms of order √τ and β²"),
    ),
)  # fmt: skip
