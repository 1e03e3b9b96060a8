"""Claims R1–R9: alignment by density ratios (DDRO, RDRO), what it reaches, how fast, and from which reference.

Predictions are in theory/density_ratio_predictions.py, R6 and R7 in theory/density_ratio_sample_claims.py.
Papers: Higuchi, Suzuki (arXiv 2505.07558), DDRO; Takahashi et al. (arXiv 2604.04410), RDRO.
"""

from __future__ import annotations

import math

import numpy as np

from theory.claim import Check, Claim, Value, grid
from theory.density_ratio import flow as flows
from theory.density_ratio import limits
from theory.density_ratio import losses as ratios
from theory.density_ratio import predictions as predict
from theory.density_ratio.sample_claims import SAMPLE_CLAIMS, TRAINED

MEMBERS = tuple(ratios.BREGMAN)
ALPHAS = (0.1, 0.3, 0.5, 0.8)
ROUNDING = "float64 rounding of a bisection"


def _ratio_checks(method: str, alphas: tuple[float, ...]) -> tuple[Check, ...]:
    """What R1 and R2 have in common; DDRO has no α."""
    alpha: dict[str, tuple[Value, ...]] = {"alpha": alphas} if alphas else {}
    law = "p⁻" if method == "ddro" else "p_α"
    return (
        Check(
            "ratio",
            f"largest |free log-ratio − log(p⁺/{law})| over random tables, each minimised by bisection",
            "equality",
            grid(method=method, member=MEMBERS, n_outcomes=(3, 20), **alpha),
            predict.constant(0.0),
            1e-9,
            ROUNDING,
        ),
        Check(
            "minimum",
            f"least loss over free log-ratios: 2 log 2 − 2 JS(p⁺, {law}) for the logistic member",
            "equality",
            grid(method=method, member=MEMBERS, table=("three", "six", "rare"), **alpha),
            predict.least_loss,
            1e-9,
            "rounding of a minimum found by its values",
        ),
        Check(
            "policy",
            f"total variation from p⁺ of the policy trained from {law}",
            "equality",
            grid(method=method, member=MEMBERS, table=("three", "rare"), **alpha),
            predict.constant(0.0),
            1e-6,
            TRAINED,
        ),
        Check(
            "only",
            f"smallest total variation from p⁺ of policies trained from references at TV ≥ 0.05 from {law}",
            "ordering",
            grid(method=method, table=("three", "six"), **({"alpha": (0.3, 0.5)} if alphas else {})),
            predict.constant(1e-3),
            0.0,
            "1e-3 is a thousand times what training leaves",
        ),
    )


DENSITY_RATIO_CLAIMS: tuple[Claim, ...] = (
    Claim(
        "R1",
        "DDRO's minimiser is the ratio p⁺/p⁻, its minimum 2 log 2 − 2 JS(p⁺, p⁻); from full-support p⁺ the policy is "
        "p⁺ iff the reference is p⁻.",
        "arXiv 2505.07558; uniqueness of the reference ours",
        "equality",
        "density_ratio",
        _ratio_checks("ddro", ()),
    ),
    Claim(
        "R2",
        "RDRO's minimiser is p⁺/p_α ≤ 1/α, its minimum 2 log 2 − 2 JS(p⁺, p_α); from full-support p⁺ the "
        "policy is p⁺ iff the reference is p_α.",
        "arXiv 2604.04410; uniqueness of the reference ours",
        "equality",
        "density_ratio",
        (
            *_ratio_checks("rdro", (0.1, 0.5, 0.8)),
            Check(
                "cap",
                "largest free ratio over random tables, half of them with outcomes that are never rejected",
                "upper bound",
                grid(alpha=ALPHAS),
                lambda alpha, **_: math.exp(ratios.log_ratio_cap(alpha)),
                1e-9,
                ROUNDING,
                relative=True,
            ),
        ),
    ),
    Claim(
        "R3",
        "No preference model is needed: on comparisons of draws from μ DDRO (from p⁻) and RDRO (α = ½, from μ) "
        "reach the winners' law p⁺ whatever the preferences; DPO, RLHF and NLHF reach other policies.",
        "arXiv 2505.07558, 2604.04410; limits side by side ours",
        "equality",
        "density_ratio",
        (
            Check(
                "limit",
                "total variation from p⁺ after 10¹² comparisons",
                "equality",
                grid(preferences=tuple(limits.PREFERENCES), method=limits.LIMITS),
                predict.distance_of_limit,
                2e-5,
                "10¹² comparisons fix laws to 1e-6; an NLHF equilibrium is 1e-9 in value",
            ),
            Check(
                "any",
                "largest total variation from p⁺ over random win rates without structure",
                "equality",
                grid(method=("ddro", "rdro")),
                predict.constant(0.0),
                1e-6,
                TRAINED,
            ),
            Check(
                "laws",
                "share of comparisons won by a response: 2μ(½ + s)",
                "equality",
                grid(preferences=tuple(limits.PREFERENCES), outcome=(0, 2)),
                predict.winners,
                2e-3,
                "Monte Carlo over comparisons",
            ),
        ),
    ),
    Claim(
        "R4",
        "RDRO's log-ratio is capped at log(1/α), approached at rate p⁺ α/(1 + α) and restored from above; "
        "DDRO's drifts like log t where p⁻ = 0, unless normalisation stops it.",
        "arXiv 2604.04410 for the cap; laws of motion and rates ours",
        "equality",
        "density_ratio",
        (
            Check(
                "flow",
                "free log-ratio of a response with p⁺ = 0.4 after gradient flow for a time",
                "equality",
                grid(method=("ddro", "rdro"), rejected=(0.0, 0.02), time=(1.0, 10.0, 100.0, 1000.0, 1e4, 1e5)),
                predict.flow_at,
                1e-7,
                "integration to 1e-11 over 1e5 units of time",
            ),
            Check(
                "drift",
                "slope of DDRO's log-ratio in log t where p⁻ = 0, t = 10⁵ … 10⁸",
                "rate",
                ({},),
                predict.constant(1.0),
                2e-3,
                "log ω(pt) = log pt − O(log(pt)/pt)",
            ),
            Check(
                "rate",
                "rate at which RDRO's log-ratio approaches the cap where p⁻ = 0, p⁺ = 0.4",
                "rate",
                grid(alpha=ALPHAS),
                lambda alpha, **_: flows.convergence_rate(0.4, 0.4 * alpha),
                5e-3,
                "distances of 1e-3 and less",
                relative=True,
            ),
            Check(
                "cap",
                "RDRO's free log-ratio after training, started below or above the cap, p⁻ = 0",
                "equality",
                grid(alpha=(0.1, 0.3, 0.8), start=(-3.0, 0.0, 8.0)),
                lambda alpha, **_: ratios.log_ratio_cap(alpha),
                1e-9,
                ROUNDING,
            ),
            Check(
                "push",
                "largest derivative in lr of a chosen example's loss: α for RDRO, 0 (none pushes back) for DDRO",
                "equality",
                grid(method=("ddro", "rdro"), alpha=(0.1, 0.5)),
                lambda method, alpha, **_: float(
                    np.max(flows.chosen_gradient(np.linspace(-30.0, 30.0, 601), None if method == "ddro" else alpha))
                ),
                1e-7,
                "central differences",
            ),
            Check(
                "simplex",
                "log-ratio of a never rejected response of a normalised policy under gradient descent",
                "equality",
                grid(method=("ddro", "rdro"), table=("partly_apart", "opposite"), time=(1.0, 10.0, 50.0, 200.0)),
                predict.policy_flow_at,
                1e-3,
                "finite steps, extrapolated",
            ),
        ),
    ),
    Claim(
        "R5",
        "Averaging chosen and rejected losses of a batch together estimates the relative ratio only if half of the "
        "examples are chosen; class means estimate it always.",
        "ours",
        "equality",
        "density_ratio",
        (
            Check(
                "ratio",
                "free ratio at p⁺ = .5, p⁻ = .2 with a share α of chosen examples",
                "equality",
                grid(alpha=(0.2, 0.39, 0.5, 0.8), reduction=("class_mean", "pooled")),
                predict.ratio_of_reduction,
                1e-9,
                ROUNDING,
            ),
            Check(
                "policy",
                "total variation from p⁺ of the policy trained by pooled RDRO from p_α",
                "equality",
                grid(
                    table=("six",), alpha=(0.2, 0.3, 0.39, 0.5, 0.7), chosen_fraction=(0.2, 0.3, 0.39, 0.5, 0.7, 0.85)
                ),
                predict.pooled_distance,
                1e-6,
                TRAINED,
            ),
            Check(
                "repaired",
                "the same from the law p_a of all examples with α = 1/(1 + 2a), a ≥ ½ the share of chosen ones",
                "equality",
                grid(table=("three", "six"), chosen_fraction=(0.5, 0.6, 0.8)),
                predict.repaired_distance,
                1e-6,
                TRAINED,
            ),
            Check(
                "minibatch",
                "total variation from p⁺ after minibatch training from p_α, a = α = 0.3",
                "equality",
                grid(table=("six",), alpha=(0.3,), reduction=("class_mean", "pooled")),
                predict.minibatch_distance,
                0.02,
                "batches of 64, step size decayed to 0",
            ),
        ),
    ),
    *SAMPLE_CLAIMS,
    Claim(
        "R8",
        "From any reference the policy of least loss solves a quadratic per outcome with one multiplier; if the ratio "
        "is too small for a policy the problem is not convex, and one outcome may take the upper root.",
        "ours",
        "equality",
        "density_ratio",
        (
            Check(
                "optimum",
                "largest |predicted loss − least loss of descents from everywhere| over random tables and references",
                "equality",
                grid(side=("below", "above"), n_outcomes=(3, 6), method=("ddro", "rdro")),
                predict.constant(0.0),
                1e-9,
                "rounding of a loss",
            ),
            Check(
                "one_upper",
                "most outcomes of a trained optimum where the loss is concave",
                "upper bound",
                grid(n_outcomes=(3, 6), what=("most",)),
                predict.constant(1.0),
                0.0,
                "a count",
            ),
            Check(
                "upper_needed",
                "share of random tables (ratio too small for a policy) whose trained optimum has one",
                "ordering",
                grid(n_outcomes=(3,), what=("share",)),
                predict.constant(0.0),
                0.0,
                "a share of independent tables",
            ),
            Check(
                "distance",
                "total variation from p⁺ of the policy trained from the reference share·p⁺ + (1 − share)·p⁻",
                "equality",
                (
                    *grid(method=("ddro", "rdro"), member=MEMBERS, table="six", share=(0.0, 0.15, 0.3, 0.5, 0.8)),
                    *grid(method=("ddro", "rdro"), member="logistic", table=("three", "rare"), share=(0.0, 0.15, 0.5)),
                ),
                predict.misspecified_distance,
                1e-6,
                TRAINED,
            ),
            Check(
                "trap",
                "DDRO's loss after training from a reference of (.05, .95), or from everywhere: two local minima",
                "equality",
                grid(start=("everywhere", "reference")),
                predict.trap_loss,
                1e-9,
                "rounding of a loss",
            ),
        ),
    ),
    Claim(
        "R9",
        "At kl_beta = 1 BCO with δ = 0 is DDRO; each unpaired method but KTO has one reference from which it is "
        "consistent.",
        "ours",
        "equality",
        "density_ratio",
        (
            Check(
                "same",
                "largest difference of BCO (kl_beta = 1, δ = 0) and DDRO per example",
                "equality",
                grid(what=("loss", "slope")),
                predict.constant(0.0),
                1e-12,
                "float64 rounding",
            ),
            Check(
                "own_reference",
                "largest total variation from p⁺ from the method's own reference",
                "equality",
                (*grid(method=("bco", "kldo"), kl_beta=(0.5, 1.0, 2.0)), *grid(method=("ddro", "rdro"), kl_beta=1.0)),
                predict.constant(0.0),
                2e-6,
                "a loss within 1e-15 of its minimum fixes a policy to about 1e-7; curvature falls with kl_beta",
            ),
            Check(
                "page",
                "total variation from p⁺ by method and reference, kl_beta = 1",
                "equality",
                grid(method=tuple(limits.UNPAIRED), reference=("rejected", "mixture", "uniform")),
                predict.page_distance,
                1e-5,
                "KTO empties outcomes slowly",
            ),
        ),
    ),
)
