"""Claims V1–V8: alignment losses as divergence estimators, KLDO and the FDO family, and the policies they lead to.

V9–V12 are in theory/divergences_sample_claims.py, predictions in theory/divergences_predictions.py. Paper: Haldar,
Wang, Song, Lin, Xing (arXiv 2502.00657).
"""

from __future__ import annotations

from theory.claim import Check, Claim, grid
from theory.divergences import generators
from theory.divergences import predictions as predict
from theory.divergences.sample_claims import DATA_CLAIMS, SAMPLE_CLAIMS

SOLVED = "solved to rounding: L-BFGS or one bounded search per outcome"
#: FDO generators of V5: all named ones, α on either side of 0 and 1, and a user's callable.
FDO_NAMES = (*generators.GENERATORS, "alpha:-1", "alpha:0.5", "alpha:2", "alpha:3", "user")
#: Losses of V7 whose aligned policy is unique; KTO has checks of its own.
ALIGNED = ("kldo", "dpo", "bco", "hellinger", "kl", "jensen_shannon", "pearson")


def minimum_check(*names: str) -> Check:
    return Check(
        "minimum",
        "least value of the loss over all functions r, by independent minimisation on tables",
        "equality",
        grid(name=names, n_outcomes=(2, 20), separation=(0.5, 2.0)),
        predict.least,
        1e-9,
        SOLVED,
    )


def minimiser_check(*names: str) -> Check:
    return Check(
        "minimiser",
        "largest reward of the minimiser found",
        "equality",
        grid(name=names, n_outcomes=(2, 20), separation=(0.5, 2.0)),
        predict.largest_reward,
        1e-6,
        "a minimum known to 1e-15 fixes its place to about 1e-7",
    )


def range_check(name: str) -> Check:
    return Check(
        "minimiser",
        "largest minus smallest reward of the policy trained to the minimum",
        "equality",
        grid(name=(name,), n_outcomes=(2, 20), separation=(0.5, 2.0)),
        predict.reward_range,
        1e-6,
        "a gradient of 1e-10 over curvatures of 1e-3 and more",
    )


def gaussian_check(*names: str) -> Check:
    return Check(
        "gaussian",
        "least value of the loss for D⁺ = N(shift, scale²) and D⁻ = N(0, 1), minimised point by point",
        "equality",
        grid(name=names, shift=(0.5, 2.0), scale=(0.7, 1.0)),
        predict.gaussian_minimum,
        1e-9,
        "composite Gauss–Legendre quadrature, exact to 1e-12",
    )


LOSS_CLAIMS: tuple[Claim, ...] = (
    Claim(
        "V1",
        "KLDO, −E₊[r] + log E₋[exp r], has minimum −KL(D⁺‖D⁻), at r = log R + const.",
        "arXiv 2502.00657, KLDO",
        "equality",
        "divergences",
        (minimum_check("kldo"), range_check("kldo"), gaussian_check("kldo")),
    ),
    Claim(
        "V2",
        "KTO with unit weights and z₀ fixed has infimum 1 − TV(D⁺, D⁻), approached as r → ±∞ by the sign of R − 1.",
        "arXiv 2502.00657, KTO",
        "equality",
        "divergences",
        (
            minimum_check("kto"),
            Check(
                "rising",
                "outcomes whose reward rises without end, as a binary number",
                "equality",
                grid(name=("kto", "total_variation"), n_outcomes=(2, 5, 20), separation=(0.5, 2.0)),
                predict.rising_set,
                0.0,
                "a set",
            ),
            gaussian_check("kto"),
        ),
    ),
    Claim(
        "V3",
        "BCO has minimum 2 log 2 − 2 JS(D⁺, D⁻), at r = δ + log R; DDRO is BCO with δ = 0.",
        "arXiv 2502.00657, BCO",
        "equality",
        "divergences",
        (minimum_check("bco", "ddro"), minimiser_check("bco"), gaussian_check("bco")),
    ),
    Claim(
        "V4",
        "DPO on independent pairs has minimum log 2 − JS(D⁺⊗D⁻, D⁻⊗D⁺) exactly, at r = log R + const.",
        "ours; arXiv 2502.00657 shows that it moves with TV",
        "equality",
        "divergences",
        (
            minimum_check("dpo"),
            range_check("dpo"),
            Check(
                "gaussian",
                "least value of DPO for D⁺ = N(δ, 1) and D⁻ = N(0, 1), minimised over linear rewards",
                "equality",
                grid(separation=(0.5, 1.0, 3.0)),
                predict.gaussian_pairs,
                1e-9,
                "Gauss–Legendre quadrature on both sides, exact to 1e-12",
            ),
            Check(
                "above_js",
                "JS that pairs reveal minus the JS that single responses reveal (BCO), both by minimisation",
                "ordering",
                grid(n_outcomes=(2, 5, 20), separation=(0.5, 2.0)),
                predict.zero,
                0.0,
                "data processing: a pair says more than its first member",
            ),
        ),
    ),
    Claim(
        "V5",
        "FDO, −E₊[g(r)] + E₋[f*(g(r))], has infimum −D_f(D⁺‖D⁻) for every generator f, at r = g⁻¹(f'(R)).",
        "arXiv 2502.00657, FDO; conjugate of a user's f computed and checked here",
        "equality",
        "divergences",
        (
            Check(
                "minimum",
                "least value of the loss over all functions r, one bounded search per outcome",
                "equality",
                grid(name=FDO_NAMES, n_outcomes=5, separation=(0.5, 2.0)),
                predict.least,
                1e-9,
                SOLVED,
            ),
            Check(
                "minimiser",
                "largest reward of the minimiser found",
                "equality",
                grid(name=tuple(n for n in FDO_NAMES if n != "total_variation"), n_outcomes=5, separation=1.0),
                predict.largest_reward,
                1e-6,
                "a minimum known to 1e-15 fixes its place to about 1e-7",
            ),
            gaussian_check("kl", "reverse_kl", "jensen_shannon", "squared_hellinger", "pearson"),
        ),
    ),
    Claim(
        "V6",
        "The Hellinger loss E₊[exp(−r/2)] + E₋[exp(r/2)] has minimum 2 Σ√(D⁺D⁻), at r = log R.",
        "arXiv 2502.00657, HDO",
        "equality",
        "divergences",
        (minimum_check("hellinger"), minimiser_check("hellinger"), gaussian_check("hellinger")),
    ),
)

POLICY_CLAIMS: tuple[Claim, ...] = (
    Claim(
        "V7",
        "With its constant fitted a loss leads to π* ∝ π_ref h(R), h nondecreasing; with the constant fixed the "
        "optimum over normalised policies is in general no function of R, nor monotone in it.",
        "arXiv 2502.00657, for h; fixed constant ours",
        "equality",
        "divergences",
        (
            Check(
                "aligned",
                "π/π_ref at one response, policy and constant trained together",
                "equality",
                grid(name=ALIGNED, kl_beta=(0.25, 1.0), outcome=(0, 4)),
                predict.aligned_ratio,
                1e-5,
                "a gradient of 1e-10 over curvatures of 1e-5 and more",
                relative=True,
            ),
            Check(
                "fixed",
                "π/π_ref at one response, constant fixed at 0, policy trained",
                "equality",
                grid(
                    name=("hellinger", "bco", "kl"),
                    instance=("two ratios", "too little mass"),
                    outcome=(0, 1, 2),
                    kl_beta=1.0,
                ),
                predict.fixed_ratio,
                1e-5,
                "a gradient of 1e-10 over curvatures of 1e-5 and more",
                relative=True,
            ),
            Check(
                "branches",
                "π/π_ref at one response, constant fixed at 0, problem not convex: best of many starts",
                "equality",
                grid(name=("hellinger", "bco"), instance="far branch", outcome=(0, 2), kl_beta=(0.3, 0.5, 0.7)),
                predict.fixed_ratio,
                1e-5,
                "a gradient of 1e-10 over curvatures of 1e-5 and more",
                relative=True,
            ),
            Check(
                "not_monotone",
                "π/π_ref of a response with R = 2/3 minus that of one with R = 2, constant fixed",
                "ordering",
                grid(name="kl", instance="two ratios"),
                predict.zero,
                0.0,
                "a trained policy",
            ),
            Check(
                "kto_support",
                "mass that KTO with a fitted constant puts on R > 1",
                "equality",
                grid(kl_beta=(0.25, 1.0)),
                lambda **_: 1.0,
                1e-6,
                "training stops where the loss is within 1e-8 of its infimum",
            ),
            Check(
                "kto_split",
                "total variation between two such KTO policies from different starts, minus 0.05",
                "ordering",
                grid(kl_beta=(0.25, 1.0)),
                predict.zero,
                0.0,
                "both losses are within 1e-8 of the infimum",
            ),
        ),
    ),
    Claim(
        "V8",
        "With several prompts a normalised policy reaches −KL(D⁺‖D⁻) under KLDO iff all c_x = −kl_beta log Σ π_ref "
        "R^(1/kl_beta) are equal; the gap is at most log E₊ exp c_x − E₊ c_x; one log per prompt closes it for a "
        "common prompt law.",
        "ours",
        "equality",
        "divergences",
        (
            Check(
                "gap",
                "least KLDO loss over normalised policies plus KL(D⁺‖D⁻), best of many starts",
                "equality",
                grid(n_prompts=(2, 3), kl_beta=(0.5, 2.0), shared=("no", "yes")),
                lambda n_prompts, kl_beta, shared, **_: predict.prompts_minimum(n_prompts, kl_beta, shared).gap,
                1e-8,
                "L-BFGS to a gradient of 1e-10",
            ),
            Check(
                "bound",
                "the same gap, against its bound",
                "upper bound",
                grid(n_prompts=(2, 3), kl_beta=(0.5, 2.0), shared=("no", "yes")),
                predict.prompts_bound,
                1e-9,
                "L-BFGS to a gradient of 1e-10",
            ),
            Check(
                "tilted",
                "global KLDO loss, plus KL, of the policy trained with one log per prompt (π ∝ π_ref R^(1/kl_beta))",
                "equality",
                grid(n_prompts=(2, 3), kl_beta=(0.5, 2.0), shared=("no", "yes")),
                predict.prompts_bound,
                1e-8,
                "L-BFGS to a gradient of 1e-10",
            ),
            Check(
                "per_prompt",
                "least KLDO loss with one log per prompt, policy trained",
                "equality",
                grid(n_prompts=(2, 3), kl_beta=(0.5, 2.0), shared=("no", "yes")),
                predict.per_prompt,
                1e-9,
                "L-BFGS to a gradient of 1e-10",
            ),
            Check(
                "bco_shift",
                "δ_x at which BCO with one trained δ per prompt comes to rest",
                "equality",
                grid(n_prompts=2, kl_beta=(0.5, 1.0), prompt=(0, 1)),
                predict.prompt_constant,
                1e-5,
                "a gradient of 1e-10 over curvatures of 1e-5 and more",
            ),
        ),
    ),
)

DIVERGENCES_CLAIMS: tuple[Claim, ...] = (*LOSS_CLAIMS, *POLICY_CLAIMS, *SAMPLE_CLAIMS, *DATA_CLAIMS)
