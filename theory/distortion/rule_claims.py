"""Claims D1–D7: what average utility any rule can be sure of, and what Borda, Copeland and rules on rankings lose.

Predictions are called through their modules (`factors.linear_factor`, not a copied name), so that a changed formula
changes every prediction that rests on it. Papers: [1] Gölz, Haghtalab, Yang (arXiv 2505.23749); [2] Alipour, Goyal
(arXiv 2602.11152).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from theory.claim import Check, Claim, Value, grid
from theory.distortion import factors
from theory.distortion.measure import distortion
from theory.social_choice import rankings

BETAS = (1.0, 2.0, 5.0, 10.0, 20.0)
ROUNDING = "exact arithmetic up to float64 rounding"


def constant(value: float) -> Callable[..., float]:
    """A prediction that is the same at every setting."""
    return lambda **_: value


def L(bt_beta: float, **_: Value) -> float:
    return factors.linear_factor(bt_beta)


def K(bt_beta: float, **_: Value) -> float:
    return factors.borda_factor(bt_beta)


def no_rule_beats(bt_beta: float, n_alternatives: int, **_: Value) -> float:
    """D2: with s given 1/A of the mass and worth L(β) times the rest, u(s)/u(π) = 1/(1/A + (1 − 1/A)/L(β))."""
    share = 1.0 / n_alternatives
    return 1.0 / (share + (1.0 - share) / factors.linear_factor(bt_beta))


def plurality_ratio(bt_beta: float, n_alternatives: int, **_: Value) -> float:
    """D7: (1 + m e^β)/(e^β + m), m = A − 1, between min(e^β, m)/2 and min(e^β, m)."""
    return (1 + (n_alternatives - 1) * math.exp(bt_beta)) / (math.exp(bt_beta) + n_alternatives - 1)


def veto_flow_ratio(bt_beta: float, n_alternatives: int, **_: Value) -> float:
    """D7: distortion of Plurality Veto in its population limit, on the member of the family that voters play."""
    population = rankings.veto_family(bt_beta, n_alternatives, kappa=0.5, margin=0.5)
    return distortion(population, rankings.plurality_veto(population, bt_beta))


RULE_CLAIMS: tuple[Claim, ...] = (
    Claim(
        "D1",
        "Win rates are squeezed between linear functions of average utility: "
        "β(ℓ u(x) − ¼ u(y)) ≤ P(x≻y) − ½ ≤ β(¼ u(x) − ℓ u(y)).",
        "[1] Lemma 1",
        "equality",
        "distortion",
        (
            Check(
                "violation",
                "largest violation of either inequality over populations (0: never broken, and attained)",
                "equality",
                grid(bt_beta=BETAS),
                constant(0.0),
                1e-12,
                ROUNDING,
            ),
        ),
    ),
    Claim(
        "D2",
        "No rule beats L(β): on I3 the worst labelling costs every rule 1/(1/A + (1 − 1/A)/L(β)).",
        "[1] Thm 3",
        "equality",
        "distortion",
        (
            Check(
                "fair_coins",
                "distortion of Borda on I3 (ξ = 1) averaged over samples of 10⁶ users, 1/E of utility",
                "equality",
                grid(bt_beta=(2.0, 5.0, 10.0), n_alternatives=(3, 10)),
                no_rule_beats,
                0.03,
                "Monte Carlo over which alternative the coin flips favour; ε = 1e-3 is worth 1e-4",
                relative=True,
            ),
            Check(
                "condorcet_loser",
                "smallest distortion among all rules on I3 (ξ slightly above 1)",
                "lower bound",
                grid(bt_beta=(2.0, 5.0, 10.0), n_alternatives=(10, 100)),
                no_rule_beats,
                1e-3,
                "ε = 1e-4 and ξ − 1 = 1e-6 in place of their limits",
                relative=True,
            ),
        ),
    ),
    Claim(
        "D3",
        "The maximal lottery has utility at least u*/L(β) on every population, and L(β) is attained.",
        "[1] Cor 4",
        "upper bound",
        "distortion",
        (
            Check(
                "bound",
                "worst distortion of the maximal lottery found by adversarial search over populations",
                "upper bound",
                grid(bt_beta=BETAS),
                L,
                1e-6,
                "gap of the equilibrium, 1e-9, against utilities of order 1e-3",
            ),
            Check(
                "attained",
                "distortion of the maximal lottery on I3 with s a Condorcet loser",
                "equality",
                grid(bt_beta=BETAS),
                L,
                1e-3,
                "ε = 1e-4 and ξ − 1 = 1e-6 in place of their limits",
                relative=True,
            ),
        ),
    ),
    Claim(
        "D4",
        "Borda's distortion is at most K*(β) = C(β, γ*) for every sampling law μ, and K*(β) is the supremum.",
        "[1] Thm 2 and [2] (upper bounds L², 2L); exact value ours",
        "equality",
        "distortion",
        (
            Check(
                "bound",
                "worst distortion of Borda found by adversarial search over populations and μ",
                "upper bound",
                grid(bt_beta=BETAS),
                K,
                1e-9,
                ROUNDING,
            ),
            Check(
                "certified",
                "upper bound on Borda's distortion certified over [0,1]³ by interval branch and bound",
                "equality",
                grid(bt_beta=BETAS),
                K,
                1e-6,
                "tolerance of the certificate",
                relative=True,
            ),
            Check(
                "attained",
                "distortion of Borda on I5 with γ*, from samples of 10¹⁸ users",
                "equality",
                grid(bt_beta=BETAS),
                K,
                5e-3,
                "ε = 1e-3 in place of its limit",
                relative=True,
            ),
        ),
    ),
    Claim(
        "D5",
        "Borda reaches C(β, γ) > L(β) on I5 with γ = log(β+1)/β, so RLHF without a constraint is not optimal.",
        "[1] Thm 5 / 12",
        "equality",
        "distortion",
        (
            Check(
                "attained",
                "distortion of Borda on I5, population limit",
                "equality",
                grid(bt_beta=(2.0, 5.0, 10.0, 20.0, 50.0)),
                lambda bt_beta, **_: factors.borda_lower_factor(bt_beta),
                1e-3,
                "ε = 1e-5 in place of its limit",
                relative=True,
            ),
            Check(
                "above_L",
                "distortion of Borda on I5 minus that of the maximal lottery on I3",
                "ordering",
                grid(bt_beta=(2.0, 5.0, 10.0, 20.0, 50.0)),
                constant(0.0),
                0.0,
                "a difference of limits",
            ),
        ),
    ),
    Claim(
        "D6",
        "Copeland's worst distortion is K*(β) too, at most 2L(β).",
        "[2] (upper bound 2L, lower bound (1−ε)β); exact value ours",
        "equality",
        "distortion",
        (
            Check(
                "bound",
                "worst distortion of Copeland found by adversarial search over populations",
                "upper bound",
                grid(bt_beta=BETAS),
                K,
                1e-9,
                ROUNDING,
            ),
            Check(
                "attained",
                "distortion of Copeland on I5 with γ*, b cloned 3 times, w_B lowered by 1e-3",
                "equality",
                grid(bt_beta=BETAS),
                K,
                2e-3,
                "the factor 1 − 1e-3 on w_B and ε = 1e-6 in place of their limits",
                relative=True,
            ),
        ),
    ),
    Claim(
        "D7",
        "On Plackett–Luce rankings plurality is Ω(min(e^β, A)), random dictator Θ(A) at fixed β, Plurality Veto and "
        "its pruned form Ω(β ln A); every deterministic finite-precision tournament rule is ≥ (5/8−ε)β (cited).",
        "[2]; families for the veto rules ours",
        "lower bound",
        "distortion",
        (
            Check(
                "plurality",
                "distortion of plurality on its family, from samples of 10¹⁵ voters",
                "equality",
                grid(bt_beta=(1.0, 5.0, 10.0), n_alternatives=(10, 100, 1000)),
                plurality_ratio,
                1e-3,
                "margin 1e-4 of the family in place of its limit",
                relative=True,
            ),
            Check(
                "random_dictator",
                "distortion of random dictator on its family, dictators drawn one by one",
                "equality",
                grid(bt_beta=(1.0, 10.0), n_alternatives=(10, 100)),
                lambda n_alternatives, **_: float(n_alternatives),
                0.05,
                "Monte Carlo over who dictates",
                relative=True,
            ),
            Check(
                "veto",
                "distortion of Plurality Veto on its family",
                "lower bound",
                grid(bt_beta=(1.0, 5.0, 10.0), n_alternatives=(10, 100, 1000), rule=("plain", "pruned")),
                lambda bt_beta, n_alternatives, **_: rankings.veto_lower_factor(bt_beta, n_alternatives),
                1e-3,
                "kappa = 1e-3 and margin 1e-4 of the family in place of their limits",
                relative=True,
            ),
            Check(
                "veto_played",
                "distortion of Plurality Veto played by 20 000 voters on a member of the family",
                "equality",
                grid(bt_beta=(5.0,), n_alternatives=(6, 20)),
                veto_flow_ratio,
                1e-9,
                "a clear margin: the winner does not vary",
                relative=True,
            ),
        ),
    ),
)
