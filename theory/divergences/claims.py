"""Claims V1–V13: alignment losses as divergence estimators (KLDO, the FDO family), the policies they lead to, and what
samples and minibatches make of them.

V1–V6 are of losses, V7, V8 and V13 of policies, V9–V12 of data. Predictions are in `theory.divergences.predictions`.
"""

from __future__ import annotations

from functools import partial

from theory.claim import Check, Claim, Setting, at_most, by, equal, greater, grid, of_topic, rate
from theory.divergences import predictions as predict
from theory.divergences.generators import GENERATORS
from theory.divergences.normaliser import REGIMES
from theory.divergences.separation import expected_silhouette

#: FDO generators of V5: all named ones, α on either side of 0 and 1, and a user's callable.
FDO_NAMES = (*GENERATORS, "alpha:-1", "alpha:0.5", "alpha:2", "alpha:3", "user")
#: Losses of V7 whose aligned policy is unique; KTO has checks of its own.
ALIGNED = ("kldo", "dpo", "bco", "hellinger", "kl", "jensen_shannon", "pearson")
#: One loss for each divergence, for the checks on samples.
SAMPLED = ("kldo", "dpo", "kto", "bco", "hellinger", "reverse_kl", "pearson", "neyman")
PROMPTS = grid(n_prompts=(2, 3), kl_beta=(0.5, 2.0), shared=("no", "yes"))
GAPS = ("kl", "jensen_shannon", "total_variation")

KS = grid(estimator=("k1", "k2", "k3"), separation=(0.5, 2.0))
K_GRADIENTS = grid(estimator=("k1", "k2", "k3"), separation=(0.5, 2.0), outcome=(0, 2))

SOLVED = "solved to rounding: L-BFGS or one bounded search per outcome"
PLACE = "a minimum known to 1e-15 fixes its place to about 1e-7"
FLAT = "a gradient of 1e-10 over curvatures of 1e-5 and more"
DESCENT = "L-BFGS to a gradient of 1e-10"
ORDER_N = "terms of order 1/n in n·bias, and Monte Carlo"
NEXT_TERM = "the next term, of relative order 1/B, and Monte Carlo"
SHARE = "a share of independent samples"
POINTS = "Monte Carlo over points"
TRAINED = "a trained policy"


def tables(*names: str) -> tuple[Setting, ...]:
    """Losses on two sizes of tables, at two separations."""
    return grid(name=names, n_outcomes=(2, 20), separation=(0.5, 2.0))


# Checks that several losses have in common; `at` is left.
minimum = partial(equal, "minimum", "least value of the loss over all functions r, by independent minimisation",
                  predict.least, within=1e-9, because=SOLVED)  # fmt: skip
minimiser = partial(equal, "minimiser", "largest reward of the minimiser found", predict.largest_reward,
                    within=1e-6, because=PLACE)  # fmt: skip
reward_range = partial(equal, "minimiser", "largest minus smallest reward of the policy trained to the minimum",
                       predict.reward_range, within=1e-6,
                       because="a gradient of 1e-10 over curvatures of 1e-3 and more")  # fmt: skip


def gaussian(*names: str) -> Check:
    """The least value for two Gaussians."""
    return equal("gaussian", "least value of the loss for N(shift, scale²) and N(0, 1), minimised point by point",
                 predict.gaussian_minimum, at=grid(name=names, shift=(0.5, 2.0), scale=(0.7, 1.0)), within=1e-9,
                 because="composite Gauss–Legendre quadrature, exact to 1e-12")  # fmt: skip


claim = of_topic("divergences")

DIVERGENCES_CLAIMS: tuple[Claim, ...] = (
    claim(
        "V1", "KLDO estimates KL", ("KLDO", "Kullback–Leibler", "divergence"),
        "KLDO, −E₊[r] + log E₋[exp r], has minimum −KL(D⁺‖D⁻), at r = log R + const.",
        "@haldar2025 KLDO", "equality",
        minimum(at=tables("kldo")), reward_range(at=tables("kldo")), gaussian("kldo"),
    ),
    claim(
        "V2", "KTO estimates total variation", ("KTO", "total variation", "divergence"),
        "KTO with unit weights and z₀ fixed has infimum 1 − TV(D⁺, D⁻), approached as r → ±∞ by the sign of "
        "R − 1.", "@haldar2025 KTO; @ethayarajh2024 (the loss)", "equality",
        minimum(at=tables("kto")),
        equal("rising", "outcomes whose reward rises without end, as a binary number", predict.rising_set,
              at=grid(name=("kto", "total_variation"), n_outcomes=(2, 5, 20), separation=(0.5, 2.0)), because="a set"),
        gaussian("kto"),
    ),
    claim(
        "V3", "BCO estimates Jensen–Shannon", ("BCO", "DDRO", "Jensen–Shannon", "divergence"),
        "BCO has minimum 2 log 2 − 2 JS(D⁺, D⁻), at r = δ + log R; DDRO is BCO with δ = 0.",
        "@haldar2025 BCO; @jung2024 (the loss); @higuchi2025 (DDRO)", "equality",
        minimum(at=tables("bco", "ddro")), minimiser(at=tables("bco")), gaussian("bco"),
    ),
    claim(
        "V4", "DPO on independent pairs", ("DPO", "Jensen–Shannon", "independent pairs"),
        "DPO on independent pairs has minimum log 2 − JS(D⁺⊗D⁻, D⁻⊗D⁺) exactly, at r = log R + const.",
        "ours; @rafailov2023 (the loss); @haldar2025 (that it moves with TV)", "equality",
        minimum(at=tables("dpo")), reward_range(at=tables("dpo")),
        equal("gaussian", "least value of DPO for D⁺ = N(δ, 1) and D⁻ = N(0, 1), minimised over linear rewards",
              predict.gaussian_pairs, at=grid(separation=(0.5, 1.0, 3.0)), within=1e-9,
              because="Gauss–Legendre quadrature on both sides, exact to 1e-12"),
        greater("above_js", "JS that pairs reveal minus the JS that single responses reveal, both by minimisation", 0.0,
                at=grid(n_outcomes=(2, 5, 20), separation=(0.5, 2.0)),
                because="data processing: a pair says more than its first member"),
    ),
    claim(
        "V5", "FDO: every f-divergence", ("FDO", "f-divergence", "generator", "conjugate"),
        "FDO, −E₊[g(r)] + E₋[f*(g(r))], has infimum −D_f(D⁺‖D⁻) for every generator f, at r = g⁻¹(f'(R)).",
        "@haldar2025 FDO; conjugate of a user's f computed and checked here", "equality",
        minimum(at=grid(name=FDO_NAMES, n_outcomes=5, separation=(0.5, 2.0))),
        minimiser(at=grid(name=tuple(n for n in FDO_NAMES if n != "total_variation"), n_outcomes=5, separation=1.0)),
        gaussian("kl", "reverse_kl", "jensen_shannon", "squared_hellinger", "pearson"),
    ),
    claim(
        "V6", "The Hellinger loss", ("Hellinger", "FDO", "divergence"),
        "The Hellinger loss E₊[exp(−r/2)] + E₋[exp(r/2)] has minimum 2 Σ√(D⁺D⁻), at r = log R.",
        "@haldar2025 HDO", "equality",
        minimum(at=tables("hellinger")), minimiser(at=tables("hellinger")), gaussian("hellinger"),
    ),
    claim(
        "V7", "Fitted and fixed constants", ("policy", "constant", "monotone", "consistency"),
        "With its constant fitted a loss leads to π* ∝ π_ref h(R), h nondecreasing; with the constant fixed the "
        "optimum over normalised policies is in general no function of R, nor monotone in it.",
        "@haldar2025 (h); fixed constant ours", "equality",
        equal("aligned", "π/π_ref at one response, policy and constant trained together", predict.aligned_ratio,
              at=grid(name=ALIGNED, kl_beta=(0.25, 1.0), outcome=(0, 4)), relative=1e-5, because=FLAT),
        equal("fixed", "π/π_ref at one response, constant fixed at 0, policy trained", predict.fixed_ratio,
              at=grid(name=("hellinger", "bco", "kl"), instance=("two ratios", "too little mass"), outcome=(0, 1, 2),
                      kl_beta=1.0), relative=1e-5, because=FLAT),
        equal("branches", "π/π_ref, constant fixed at 0, not convex: best of many starts", predict.fixed_ratio,
              at=grid(name=("hellinger", "bco"), instance="far branch", outcome=(0, 2), kl_beta=(0.3, 0.5, 0.7)),
              relative=1e-5, because=FLAT),
        greater("not_monotone", "π/π_ref of a response with R = 2/3 minus that of one with R = 2, constant fixed", 0.0,
                at=grid(name="kl", instance="two ratios"), because=TRAINED),
        equal("kto_support", "mass that KTO with a fitted constant puts on R > 1", 1.0, at=grid(kl_beta=(0.25, 1.0)),
              within=1e-6, because="training stops where the loss is within 1e-8 of its infimum"),
        greater("kto_split", "total variation between two such KTO policies from different starts, minus 0.05", 0.0,
                at=grid(kl_beta=(0.25, 1.0)), because="both losses are within 1e-8 of the infimum"),
    ),
    claim(
        "V8", "Several prompts, one normaliser", ("KLDO", "prompts", "normalised policy", "gap"),
        "With several prompts a normalised policy reaches −KL(D⁺‖D⁻) under KLDO iff all c_x = −kl_beta log Σ "
        "π_ref R^(1/kl_beta) are equal; the gap is at most log E₊ exp c_x − E₊ c_x; one log per prompt closes it for "
        "a common prompt law.", "@haldar2025 (KLDO); ours", "equality",
        equal("gap", "least KLDO loss over normalised policies plus KL(D⁺‖D⁻), best of many starts",
              predict.prompts_gap, at=PROMPTS, within=1e-8, because=DESCENT),
        at_most("bound", "the same gap, against its bound", predict.prompts_bound, at=PROMPTS, within=1e-9,
                because=DESCENT),
        equal("tilted", "global KLDO loss, plus KL, of the policy trained with one log per prompt",
              predict.prompts_bound, at=PROMPTS, within=1e-8, because=DESCENT),
        equal("per_prompt", "least KLDO loss with one log per prompt, policy trained", predict.per_prompt,
              at=PROMPTS, measured=("kl_beta",), within=1e-9, because=DESCENT),
        equal("bco_shift", "δ_x at which BCO with one trained δ per prompt comes to rest", predict.prompt_constant,
              at=grid(n_prompts=2, kl_beta=(0.5, 1.0), prompt=(0, 1)), within=1e-5, because=FLAT),
    ),
    claim(
        "V9", "Divergence estimates from samples", ("samples", "bias", "coverage", "minibatch", "rate"),
        "On samples: errors of divergence estimates fall like n^(−½), with known bias and coverage; KLDO's "
        "minibatch log-mean-exp is biased low by Var(exp r)/(2B (E exp r)²), and has no minimum unless B > max "
        "log(1−D⁺(S))/log(1−D⁻(S)).",
        "@haldar2025 (estimators); @belghazi2018 (moving average); the rest ours", "equality",
        equal("estimate", "divergence from the loss minimised on 200 000 draws of each class (dpo: pairs), mean",
              predict.exact_divergence, at=grid(name=SAMPLED, separation=(0.25, 0.75, 1.5, 2.5)), relative=0.01,
              because="bias of order A/2n against divergences of 0.0036 and more, and Monte Carlo"),
        equal("bias", "n times: mean of the minimum on n draws of each class, minus the minimum", predict.scaled_bias,
              at=grid(name=predict.SMOOTH, n=(1000, 4000)), relative=0.1, because=ORDER_N),
        equal("held_out", "n times: loss of the fitted r on fresh data, minus the minimum", predict.scaled_excess,
              at=grid(name=("kldo", "kl", "dpo", "bco", "hellinger"), n=(1000, 4000)), relative=0.1, because=ORDER_N),
        equal("stderr", "√n times the standard deviation of the minimum on n draws of each class",
              predict.scaled_error, at=grid(name=SAMPLED, n=4000), relative=0.06, because="Monte Carlo over samples"),
        equal("coverage", "share of samples of 4000 per class whose 95 % interval covers the minimum", 0.95,
              at=grid(name=SAMPLED), within=0.015, because=f"{SHARE}; bias is 1 to 3 % of the interval"),
        rate("rate", "slope of log(root mean square error) in log n", -0.5, at=grid(name=SAMPLED), within=0.03,
             because="Monte Carlo over samples, and bias of order 1/n"),
        equal("log_mean_exp", "B times the bias of the log-mean-exp of B rewards", predict.mean_exp_bias,
              at=grid(batch=(32, 128, 512)), relative=0.05, because=NEXT_TERM),
        equal("small_batches", "bias of the log-mean-exp of a few rewards", predict.exact_mean_exp_bias,
              at=grid(batch=(1, 2, 4, 8, 16)), relative=0.01, seeds=6, because="Monte Carlo"),
        equal("leave_one_out", "B² times the bias of the leave-one-out log-mean-exp of B rewards",
              predict.one_out_bias, at=grid(batch=(32, 64, 128)), relative=0.2, because=NEXT_TERM),
        equal("moving_average", "B times the bias of a response's weight in the minibatch gradient of log E₋[exp r]",
              predict.weight_bias, at=grid(batch=256, rate=(1.0, 0.1), outcome=(0, 4)), within=0.004,
              seeds=by("rate", {1.0: 6, 0.1: 2}), because="the next term, of order 1/B, and Monte Carlo"),
        equal("threshold", "least number of rejected responses per batch at which KLDO has a minimum, linear program",
              predict.first_batch_size, at=grid(separation=(0.25, 0.5, 1.0, 1.5)), because="an integer"),
        equal("minibatch_optimum", "range of the rewards that stochastic gradients with B rejected responses lead to",
              predict.minibatch_range, at=grid(batch=(4, 8, 32)), seeds=by("batch", {4: 4, 8: 2, 32: 1}),
              within=0.035, because="half of the 0.07 that batches of 32 add to the range of log R"),
        greater("average_helps", "distance of that range from log R's, plain minus moving average (rate 0.1)", 0.0,
                at=grid(batch=(4, 8)), because="noise of the averaged iterates"),
    ),
    claim(
        "V10", "Refusals separate more", ("safety", "compliance–refusal data", "preference data"),
        "Compliance–refusal data separate more than preference data by Σ over safe x of P(x)[D_f(D⁺_x‖refusal) "
        "− D_f(D⁺_x‖weak)]: positive iff refusals are farther from good answers than weak answers are.",
        "ours; @haldar2025 (as an inequality)", "equality",
        equal("gap", "difference of the least FDO losses on the joint tables of the two kinds of data",
              predict.safety_gap, at=grid(generator=(*GAPS, "pearson"), overlap=(0.05, 0.5, 0.8)), within=1e-8,
              because="solved to rounding: one bounded search per outcome"),
        equal("sampled", "difference of the plug-in divergences of 10⁶ draws of either kind", predict.safety_gap,
              at=grid(generator=GAPS, overlap=(0.05, 0.5, 0.8)), within=0.01, because="Monte Carlo"),
        equal("disjoint", "that difference when refusals never answer (overlap 0)", predict.safety_gap,
              at=grid(generator=GAPS, overlap=0.0), within=0.01, because="Monte Carlo; KL is infinite"),
        greater("cr_above", "plug-in divergence of compliance–refusal data minus that of preference data", 0.0,
                at=grid(generator=("jensen_shannon", "total_variation"), overlap=(0.0, 0.05, 0.5)),
                because="Monte Carlo"),
    ),
    claim(
        "V11", "The separation metric", ("Bhattacharyya", "representations", "PCA", "silhouette", "bias"),
        "Separation metric: the Bhattacharyya distance of Gaussians fitted to two classes of representations is "
        "the true one plus a bias of order d²/n; PCA loses a class axis of small variance; growth under alignment is "
        "for the language model to show.",
        "@haldar2025 (the metric); bias, PCA limit and silhouette ours", "equality",
        equal("bhattacharyya", "n times the excess over δ²/8 of the plug-in distance, n points per spherical Gaussian",
              predict.excess_distance, at=grid(separation=(0.0, 1.0, 3.0), dimension=(2, 8), n=800), relative=0.05,
              because="terms of relative order d/n, and Monte Carlo"),
        equal("distance", "plug-in distance of 200 000 points per class, mean, Gaussians of different covariance",
              predict.known_distance, at=grid(separation=(0.0, 1.0, 3.0), dimension=(2, 8)), within=0.01,
              because=POINTS),
        equal("after_pca", "distance after two principal axes, 20 000 points, by the variance of the class axis",
              predict.distance_after_pca, at=grid(class_axis=(0.25, 1.0, 4.0)), within=0.02, because=POINTS),
        equal("silhouette", "silhouette of 500 points per class, spherical Gaussians", expected_silhouette,
              at=grid(separation=(0.0, 1.0, 3.0), dimension=(1, 2, 8)), within=0.004, because=POINTS,
              seeds=by("separation", {0.0: 2}, 12)),
        greater("shrinkage", "error of the plug-in distance minus that with shrinkage 0.5, d = 40, 60 points per class",
                0.0, at=grid(separation=(1.0, 3.0)), because=POINTS),
        equal("rank_interval", "share of 95 % intervals for Spearman's rank correlation that cover it, 20 pairs", 0.95,
              at=grid(correlation=(0.0, 0.6)), within=0.015, because=f"{SHARE}; the interval is approximate"),
    ),
    claim(
        "V12", "Public KLDO code can push the wrong way", ("KLDO", "warning", "public code", "sign"),
        "The public KLDO code multiplies its rejected term by min(A, U)/U, detached; where A < 0 < U this "
        "pushes the likelihood of rejected responses up.",
        "@haldar2025 (their public code); a warning of ours", "equality",
        equal("coefficient", "that factor at batches of 10⁵ responses, mean", predict.regime_coefficient,
              at=grid(case=("healthy", "damped", "amplified", "flipped")), relative=0.02,
              because="Monte Carlo over batches"),
        equal("drift", "rate at which one small training step changes the mean log-likelihood of rejected responses",
              predict.regime_drift, at=grid(case=tuple(REGIMES), loss=("normalised", "kldo")), within=1e-5,
              because="curvature over a step of 1e-6"),
        greater("pushed_up", "change of that log-likelihood over training steps with the factor, from A < 0 < U", 0.0,
                at=grid(case="flipped", steps=(1, 10, 100)), because=TRAINED),
        greater("kldo_down", "minus the same change under KLDO", 0.0, at=grid(case="flipped", steps=(1, 10, 100)),
                because=TRAINED),
    ),
    claim(
        "V13", "KL estimators: value and gradient", ("KL", "k1", "k2", "k3", "estimator", "gradient"),
        "From a draw of π, k1 = ℓ and k3 = exp(−ℓ) − 1 + ℓ, ℓ = log π/ρ, have mean KL(π‖ρ), k2 = ℓ²/2 has not. Its "
        "gradient on policy has k1 as a reward and k2 as a loss; k1 as a loss has none, k3 as a loss that of KL(ρ‖π), "
        "k3 as a reward their difference.", "@schulman2020 (the estimators); ours", "equality",
        equal("mean", "mean of the estimator over draws of the policy", predict.estimator_mean, at=KS, relative=0.01,
              because="Monte Carlo"),
        equal("variance", "its variance over draws of the policy", predict.estimator_variance, at=KS, relative=0.02,
              because="Monte Carlo"),
        equal("as_reward", "mean of the estimator times the score of one logit", predict.gradient_as_reward,
              at=K_GRADIENTS, within=2e-3, because="Monte Carlo; gradients of 0.012 to 0.42"),
        equal("as_loss", "derivative in one logit of the estimator's mean over draws that are held",
              predict.gradient_as_loss, at=K_GRADIENTS, within=2e-3, because="Monte Carlo; gradients of 0.025 to 0.41"),
    ),
)  # fmt: skip
