"""Claims D8–D17: RLHF, DPO and NLHF in a KL ball and under correlated pairs, finite samples, the audit, real people.

Papers: [1] Gölz, Haghtalab, Yang (arXiv 2505.23749); [3] Oko, Ulichney, Haghtalab, Bao (arXiv 2609.12651). Predictions
are called through their modules, as in theory/distortion_rule_claims.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from theory.claim import Check, Claim, Value, grid
from theory.distortion import instances
from theory.distortion.methods import METHODS
from theory.distortion.rule_claims import BETAS, ROUNDING, L, constant

#: I6 needs η ≤ 1e-3·δ, δ = 10/(10 + e^β): at β = 25 and 30 (10¹³ clones) that is far below 1e-9.
I6_EXTREMES = ({"bt_beta": 25.0, "eta": 1e-13}, {"bt_beta": 30.0, "eta": 1e-16})


def rlhf_in_a_ball(bt_beta: float, eta: float, **_: Value) -> float:
    """D8 on I6: ((1−δ)/β + m)/(δ + m), m = (1 − log 2)/2·η the mass that the rest of the KL budget buys on c.

    Leaving one of two references costs log 2 of the 1 nat; mass m on the clones costs 2m/η. As η → 0 this is
    (1−δ)/(βδ) = e^β/(10β).
    """
    delta = 10.0 / (10.0 + math.exp(bt_beta))
    leak = 0.5 * (1.0 - math.log(2.0)) * eta
    return ((1.0 - delta) / bt_beta + leak) / (delta + leak)


def correlated_ratio(bt_beta: float, n_alternatives: int, **_: Value) -> float:
    """D11: u(y₁)/u(y_A), the loss of a method that goes to the end of the chain I9."""
    u = instances.correlated_instance(bt_beta, n_alternatives, n_alternatives**-3.0).population.average_utility
    return float(u.max() / u[-1])


def local_family_constant(bt_beta: float, **_: Value) -> float:
    """D14: lim √n·sup_c E[utility loss] when one pair with margin c/√n decides.

    Users are alike; the worse of two alternatives wins with probability Φ(−2c), and costs 4c/(β√n) because
    P − ½ ≈ β·Δu/4. sup_c (4c/β)·Φ(−2c) = (2/β)·sup_t t·Φ(−t) = (2/β)·0.16998 at t = 0.7518.
    """
    return 2.0 / bt_beta * 0.1699830


def people_bound(method: str) -> Callable[..., float]:
    """D17: the method's proved bound; files say how many items they have, the generated population has 6."""
    bound = METHODS[method].bound
    assert bound is not None
    return lambda bt_beta, items=6, **_: bound(bt_beta, items)


METHOD_CLAIMS: tuple[Claim, ...] = (
    Claim(
        "D8",
        "RLHF in a KL ball with product sampling loses e^β/(44β) and more for β ≥ 10; on I6 the limit is e^β/(10β).",
        "[1] Thm 6",
        "equality",
        "distortion",
        (
            Check(
                "limit",
                "distortion of RLHF on I6, population limit",
                "equality",
                (*grid(bt_beta=(5.0, 8.0, 10.0, 12.0, 15.0, 20.0), eta=1e-9), *I6_EXTREMES),
                rlhf_in_a_ball,
                1e-4,
                "second-order terms in η and 1/N",
                relative=True,
            ),
            Check(
                "sampled",
                "distortion of RLHF on I6, from samples of 10¹⁸ users",
                "equality",
                grid(bt_beta=(5.0, 8.0, 10.0, 12.0), eta=(1e-9,)),
                rlhf_in_a_ball,
                1e-3,
                "the policy does not vary between samples",
                relative=True,
            ),
            Check(
                "exponential",
                "distortion of RLHF on I6 for β ≥ 10",
                "lower bound",
                grid(bt_beta=(10.0, 12.0, 15.0, 20.0), eta=(1e-9,)),
                lambda bt_beta, **_: math.exp(bt_beta) / (44.0 * bt_beta),
                0.0,
                "the paper's bound has room",
            ),
        ),
    ),
    Claim(
        "D9",
        "NLHF has distortion at most L(β) under any KL constraint, on I6 too.",
        "[1] Thm 7",
        "upper bound",
        "distortion",
        (
            Check(
                "on_I6",
                "distortion of NLHF on I6",
                "upper bound",
                grid(bt_beta=(5.0, 8.0, 10.0, 12.0, 15.0, 20.0, 30.0)),
                L,
                1e-6,
                "gap of the equilibrium",
            ),
            Check(
                "bound",
                "worst distortion of NLHF in a KL ball found by adversarial search",
                "upper bound",
                grid(bt_beta=(2.0, 5.0, 10.0), tau=(0.05, 0.5, 2.0)),
                L,
                1e-6,
                "gap of the equilibrium",
            ),
            Check(
                "beside_rlhf",
                "log distortion of RLHF minus that of NLHF on I6",
                "ordering",
                grid(bt_beta=(5.0, 8.0, 10.0, 12.0, 15.0, 20.0)),
                constant(0.0),
                0.0,
                "population limits",
            ),
        ),
    ),
    Claim(
        "D10",
        "Regularised NLHF keeps the factor L(β) against every policy no farther from π_ref than itself; penalty and "
        "constraint give the same family of policies, for NLHF and for RLHF.",
        "[1] Cor 8, Prop 13, 14",
        "equality",
        "distortion",
        (
            Check(
                "same_family",
                "largest total variation between the penalty's policy and the constraint's at its KL",
                "equality",
                grid(method=("nlhf", "rlhf"), weight=(0.02, 0.1, 0.5)),
                constant(0.0),
                1e-5,
                "a gap of 1e-9 on a weight of 0.02 fixes policies to about √(1e-9/0.02)/10",
            ),
            Check(
                "bound",
                "worst distortion of regularised NLHF against policies in its own ball, adversarial search",
                "upper bound",
                grid(bt_beta=(2.0, 10.0), weight=(0.01, 0.1)),
                L,
                1e-6,
                "gap of the equilibrium",
            ),
        ),
    ),
    Claim(
        "D11",
        "RLHF under correlated sampling is unbounded: on I9 its distortion grows like √A at fixed β.",
        "[1] Thm 9, Lemma 15",
        "equality",
        "distortion",
        (
            Check(
                "chain",
                "distortion of RLHF on I9, from samples of 10¹⁵ users",
                "equality",
                grid(bt_beta=(5.0, 10.0), n_alternatives=(5, 20, 100, 300)),
                correlated_ratio,
                1e-6,
                "the policy does not vary between samples",
                relative=True,
            ),
            Check(
                "growth",
                "exponent of A in the distortion of RLHF on I9, A = 100 … 630",
                "rate",
                grid(bt_beta=(5.0, 10.0)),
                constant(0.5),
                0.03,
                "lower-order terms at A ≤ 630",
            ),
        ),
    ),
    Claim(
        "D12",
        "Tabular DPO with full support is penalty-form RLHF: same policy, same loss.",
        "[1] App. F.3",
        "equality",
        "distortion",
        (
            Check(
                "same",
                "largest difference between DPO trained by descent and penalty-form RLHF",
                "equality",
                grid(kl_beta=(0.1, 1.0), what=("policy", "loss")),
                constant(0.0),
                1e-5,
                "where the descent's line search runs out of digits",
            ),
        ),
    ),
    Claim(
        "D13",
        "Under product sampling the Bradley–Terry MLE orders alternatives as Borda does, so RLHF without a "
        "constraint is Borda.",
        "[1] proof of Thm 2",
        "equality",
        "distortion",
        (
            Check(
                "discordant",
                "share of pairs that the MLE and Borda order differently, random populations and μ",
                "equality",
                grid(bt_beta=(1.0, 5.0, 20.0)),
                constant(0.0),
                0.0,
                ROUNDING,
            ),
            Check(
                "needs_product",
                "the same share on I9, whose pairs are correlated",
                "ordering",
                grid(bt_beta=(5.0,)),
                constant(0.0),
                0.0,
                "population limit",
            ),
        ),
    ),
    Claim(
        "D14",
        "Finite samples: win rates and equilibrium utilities err by O(n^{−1/2}); the worst local family loses exactly "
        "that, a fixed instance exponentially little.",
        "[1] Lemma 10, 11; local family ours",
        "rate",
        "distortion",
        (
            Check(
                "bound",
                "share of samples whose win rates leave the uniform bound at δ = 5 %",
                "upper bound",
                grid(n_users=(1000, 10**6), per_user=(1, 10)),
                constant(0.05),
                0.0,
                "a share of independent samples",
            ),
            Check(
                "win_rates",
                "slope of the largest win-rate error (rms) in n",
                "rate",
                grid(per_user=(1, 20)),
                constant(-0.5),
                0.01,
                "Monte Carlo over samples",
            ),
            Check(
                "local_family",
                "slope in n of the worst expected utility loss over margins c·n^{−1/2}",
                "rate",
                grid(bt_beta=(5.0,), what=("slope",)),
                constant(-0.5),
                0.01,
                "Monte Carlo over samples",
            ),
            Check(
                "local_constant",
                "√n times that loss",
                "equality",
                grid(bt_beta=(2.0, 5.0), what=("constant",)),
                local_family_constant,
                0.02,
                "margins on a grid of 0.05, n = 4¹⁰",
                relative=True,
            ),
            Check(
                "lottery",
                "slope in n of the rms error of u(π̂), π̂ the lottery of a cycle",
                "rate",
                grid(bt_beta=(4.0,)),
                constant(-0.5),
                0.02,
                "Monte Carlo over samples",
            ),
            Check(
                "fixed",
                "exponent of Borda's error on a fixed instance, slope of log(√n·P) in n",
                "rate",
                grid(win_rate=(0.6,)),
                lambda win_rate, **_: 0.5 * math.log(4.0 * win_rate * (1.0 - win_rate)),
                1e-3,
                "terms of order 1/n in log(√n·P)",
            ),
        ),
    ),
    Claim(
        "D15",
        "Clipped RLHF on I6: distortion grows with B, the bound on |log μ/π_ref|, and is O(β) when μ = π_ref.",
        "[3]; constants not public, explored on I6",
        "ordering",
        "distortion",
        (
            Check(
                "grows",
                "distortion with uniform pairs (B = 200) minus that with pairs from the reference (B = 0)",
                "ordering",
                grid(bt_beta=(5.0, 10.0, 15.0), clip=(1.0, 5.0, 1000.0)),
                constant(0.0),
                0.0,
                "population limits",
            ),
            Check(
                "exponent",
                "exponent of B in the distortion on I6, B = 250 … 2000",
                "rate",
                grid(bt_beta=(15.0,), clip=(1000.0,)),
                constant(1.0),
                0.1,
                "the formula of D8 is (1/β + m)/(δ + m) with m ∝ 1/B, linear in B while δ ≪ m ≪ 1/β",
            ),
            Check(
                "at_reference",
                "distortion when pairs are drawn from the reference",
                "upper bound",
                grid(bt_beta=(5.0, 10.0, 15.0), clip=(1.0, 5.0, 1000.0)),
                lambda bt_beta, **_: float(bt_beta),
                0.0,
                "the paper's O(β), here with constant 1",
            ),
        ),
    ),
    Claim(
        "D16",
        "From win rates, a policy and β alone, the audit brackets the worst distortion over all populations that could "
        "have produced them.",
        "ours",
        "lower bound",
        "distortion",
        (
            Check(
                "contains",
                "smallest ratio of the audit's upper end to the true distortion, random populations",
                "lower bound",
                grid(n_alternatives=(2, 3, 6), policy=("borda", "lottery")),
                constant(1.0),
                1e-7,
                "programs solved to 1e-9",
            ),
            Check(
                "within_L",
                "largest excess of the audit's upper end over L(β), maximal lottery",
                "upper bound",
                grid(n_alternatives=(2, 3, 6)),
                constant(0.0),
                1e-6,
                "gap of the lottery",
            ),
            Check(
                "closes",
                "largest relative width (upper − lower)/lower, random populations",
                "upper bound",
                grid(n_alternatives=(2, 3)),
                constant(0.0),
                0.01,
                "one per cent of the distortion",
            ),
            Check(
                "coverage",
                "share of samples whose audit's upper end covers the true distortion, 95 % asked",
                "lower bound",
                grid(n_users=(2000,)),
                constant(0.95),
                0.0,
                "a share of independent samples",
            ),
        ),
    ),
    Claim(
        "D17",
        "On real people's ratings no method exceeds its bound: L(β) for lotteries and NLHF, K*(β) for Borda and "
        "Copeland.",
        "ours; populations from files",
        "upper bound",
        "distortion",
        tuple(
            Check(
                name,
                f"distortion of {METHODS[name].label} on a population of real or generated raters",
                "upper bound",
                grid(population=("generated",), bt_beta=BETAS),
                people_bound(name),
                1e-6,
                "certificates of the solvers",
            )
            for name in METHODS
            if METHODS[name].bound is not None
        ),
    ),
)
