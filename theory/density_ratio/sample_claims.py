"""Claims R6 and R7: what ratios and policies estimated from finite samples are worth.

Papers: Higuchi, Suzuki (arXiv 2505.07558), DDRO; Takahashi et al. (arXiv 2604.04410), RDRO.
"""

from __future__ import annotations

from theory.claim import Check, Claim, grid
from theory.density_ratio import estimates, limits
from theory.density_ratio import predictions as predict

TRAINED = "a loss within 1e-15 of its minimum fixes a policy to about 1e-7"

SAMPLE_CLAIMS: tuple[Claim, ...] = (
    Claim(
        "R6",
        "The delta method gives the variance of both estimated ratios; DDRO's grows like (p⁻)⁻³ as p⁻ → 0, RDRO's "
        "vanishes like p⁻ and is bounded in it.",
        "ours; arXiv 2604.04410 for the bounded ratio",
        "equality",
        "density_ratio",
        (
            Check(
                "variance",
                "variance of the estimated ratio of one outcome, α = 0 for DDRO",
                "equality",
                grid(alpha=(0.0, 0.3, 0.5), outcome=(0, 1, 2), n_p=4000, n_q=6000),
                predict.spread,
                0.01,
                "second-order terms of the delta method at these sizes",
                relative=True,
            ),
            Check(
                "rare",
                "n times the variance for an outcome of p⁺ = .4 and p⁻ from .3 to 1e-5",
                "equality",
                grid(alpha=(0.0, 0.1, 0.3), rejected=(1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.3)),
                predict.rare_spread,
                0.05,
                "Monte Carlo over samples",
                relative=True,
            ),
            Check(
                "tail",
                "exponent of p⁻ in the variance as p⁻ → 0, α = 0 for DDRO",
                "rate",
                grid(alpha=(0.0, 0.3)),
                lambda alpha, **_: -3.0 if alpha == 0.0 else 1.0,
                0.02,
                "next order at p⁻ ≤ 1e-3",
            ),
            Check(
                "bound",
                "largest quotient of RDRO's variance and its bound over p⁺ and p⁻ down to 1e-6",
                "upper bound",
                grid(alpha=(0.1, 0.5)),
                predict.constant(1.0),
                0.0,
                "the bound has room",
            ),
            Check(
                "infinite",
                "share of samples in which DDRO's ratio is infinite: no rejected example shows an outcome of p⁻ = .01",
                "equality",
                grid(n_q=(50, 200)),
                lambda n_q, **_: float(estimates.infinite_share([0.01, 0.99], n_q)[0]),
                0.01,
                "a share of independent samples",
            ),
        ),
    ),
    Claim(
        "R7",
        "Policies estimated from n examples of either class are of order 1/√n from p⁺ in total variation: SFT, DDRO "
        "and RDRO alike; RDRO's variance is ((1−α)p⁻/p_α)² of DDRO's, and SFT is never worse than DDRO.",
        "arXiv 2505.07558, 2604.04410 for the rate and the order of the two; constants and SFT ours",
        "rate",
        "density_ratio",
        (
            Check(
                "rate",
                "slope of log E TV(π, p⁺) in log n, reference known exactly",
                "rate",
                grid(method=estimates.METHODS, table=("three", "rare")),
                predict.constant(-0.5),
                0.01,
                "Monte Carlo over samples, 2 % of bias at n p⁻ = 100",
            ),
            Check(
                "constant",
                "√n·E TV(π, p⁺), n examples of either class, free ratios",
                "equality",
                (
                    *grid(method=("sft", "ddro"), table=("three", "six", "rare")),
                    *grid(method="rdro", table=("three", "six", "rare"), alpha=(0.1, 0.3, 0.5, 0.7)),
                ),
                predict.distance_constant(normalised=False),
                0.02,
                "second-order terms at n p⁻ = 200",
                relative=True,
            ),
            Check(
                "trained",
                "the same for trained, hence normalised, policies; mle: maximum likelihood that knows p_α",
                "equality",
                (
                    *grid(method="ddro", table="three"),
                    *grid(method=("rdro", "mle"), table="three", alpha=(0.1, 0.3, 0.5)),
                ),
                predict.distance_constant(normalised=True),
                0.05,
                "Monte Carlo over samples that are each trained on",
                relative=True,
            ),
            Check(
                "quotient",
                "variance of RDRO's policy over DDRO's at one outcome, same samples",
                "equality",
                grid(table=("three", "six"), alpha=(0.3, 0.5), outcome=(0, 2)),
                lambda table, alpha, outcome, **_: float(
                    estimates.variance_quotient(*limits.TABLES[table], alpha)[outcome]
                ),
                0.02,
                "second-order terms at n p⁻ = 1000",
                relative=True,
            ),
            Check(
                "ddro_below_sft",
                "√n·(E TV of DDRO − E TV of SFT on chosen examples alone), same samples",
                "ordering",
                grid(table=("three", "six", "rare")),
                predict.constant(0.0),
                0.0,
                "a paired difference",
            ),
            Check(
                "rdro_against_sft",
                "√n·(E TV of RDRO − E TV of SFT), same samples: negative where knowing p_α helps",
                "equality",
                grid(table=("three", "six"), alpha=(0.1, 0.3, 0.5, 0.7)),
                predict.against_sft,
                0.01,
                "second-order terms at n p⁻ = 1000",
            ),
            Check(
                "own_reference",
                "largest total variation between SFT and a policy whose reference is fitted to the same examples",
                "equality",
                grid(method=("ddro", "rdro")),
                predict.constant(0.0),
                1e-6,
                TRAINED,
            ),
        ),
    ),
)
