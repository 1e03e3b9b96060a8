"""Claims R1–R9: alignment by density ratios (DDRO, RDRO), what it reaches, how fast, and from which reference.

Predictions are in `theory.density_ratio.predictions`.
"""

from __future__ import annotations

from theory.claim import Check, Claim, Setting, Value, at_most, by, equal, greater, grid, of_topic, rate
from theory.density_ratio import predictions as predict
from theory.density_ratio.estimates import METHODS
from theory.density_ratio.limits import LIMITS, PREFERENCES, UNPAIRED
from theory.density_ratio.losses import BREGMAN
from theory.density_ratio.ratios import log_ratio_cap

MEMBERS = tuple(BREGMAN)
ALPHAS = (0.1, 0.3, 0.5, 0.8)
BOTH = ("ddro", "rdro")
NAMED = ("three", "six", "rare")
TIMES = (1.0, 10.0, 100.0, 1000.0, 1e4, 1e5)

ROUNDING = "float64 rounding of a bisection"
TRAINED = "a loss within 1e-15 of its minimum fixes a policy to about 1e-7"
SECOND_ORDER = "second-order terms at n p⁻ = 1000"


def ratio_checks(method: str, *alphas: float) -> tuple[Check, ...]:
    """What R1 and R2 have in common; DDRO has no α."""
    alpha: dict[str, tuple[Value, ...]] = {"alpha": alphas} if alphas else {}
    two: dict[str, tuple[Value, ...]] = {"alpha": (0.3, 0.5)} if alphas else {}
    law = "p⁻" if method == "ddro" else "p_α"
    return (
        equal("ratio", f"largest |free log-ratio − log(p⁺/{law})| over random tables, each minimised by bisection", 0.0,
              at=grid(method=method, member=MEMBERS, n_outcomes=(3, 20), **alpha), within=1e-9, because=ROUNDING),
        equal("minimum", f"least loss over free log-ratios: 2 log 2 − 2 JS(p⁺, {law}) for the logistic member",
              predict.least_loss, at=grid(method=method, member=MEMBERS, table=("three", "six", "rare"), **alpha),
              within=1e-9, because="rounding of a minimum found by its values"),
        equal("policy", f"total variation from p⁺ of the policy trained from {law}", 0.0, within=1e-6, because=TRAINED,
              at=grid(method=method, member=MEMBERS, table=("three", "rare"), **alpha)),
        greater("only", f"least total variation from p⁺ of policies trained from references at TV ≥ 0.05 from {law}",
                1e-3, at=grid(method=method, table=("three", "six"), **two),
                because="1e-3 is a thousand times what training leaves"),
    )  # fmt: skip


#: DDRO and RDRO with the known reference, and maximum likelihood, whose policies are trained (R7).
TRAINED_POLICIES: tuple[Setting, ...] = (
    {"method": "ddro", "table": "three"},
    *grid(method=("rdro", "mle"), table="three", alpha=(0.1, 0.3, 0.5)),
)
#: R8: shares of p⁺ in the reference, on three tables.
MISSPECIFIED = (
    *grid(method=BOTH, member=MEMBERS, table="six", share=(0.0, 0.15, 0.3, 0.5, 0.8)),
    *grid(method=BOTH, member="logistic", table=("three", "rare"), share=(0.0, 0.15, 0.5)),
)

claim = of_topic("density_ratio")

DENSITY_RATIO_CLAIMS: tuple[Claim, ...] = (
    claim(
        "R1", "DDRO finds p⁺/p⁻", ("DDRO", "density ratio", "consistency"),
        "DDRO's minimiser is the ratio p⁺/p⁻, its minimum 2 log 2 − 2 JS(p⁺, p⁻); from full-support p⁺ the "
        "policy is p⁺ iff the reference is p⁻.", "@higuchi2025; uniqueness of the reference ours", "equality",
        *ratio_checks("ddro"),
    ),
    claim(
        "R2", "RDRO finds the capped ratio", ("RDRO", "relative density ratio", "consistency", "cap"),
        "RDRO's minimiser is p⁺/p_α ≤ 1/α, its minimum 2 log 2 − 2 JS(p⁺, p_α); from full-support p⁺ the "
        "policy is p⁺ iff the reference is p_α.", "@takahashi2026; uniqueness of the reference ours", "equality",
        *ratio_checks("rdro", 0.1, 0.5, 0.8),
        at_most("cap", "largest free ratio over random tables, half of them with outcomes that are never rejected",
                predict.ratio_cap, at=grid(alpha=ALPHAS), relative=1e-9, because=ROUNDING),
    ),
    claim(
        "R3", "No preference model is needed", ("DDRO", "RDRO", "preferences", "DPO", "RLHF", "NLHF"),
        "No preference model is needed: on comparisons of draws from μ DDRO (from p⁻) and RDRO (α = ½, from μ) "
        "reach the winners' law p⁺ whatever the preferences; DPO, RLHF and NLHF reach other policies.",
        "@higuchi2025; @takahashi2026; limits side by side ours", "equality",
        equal("limit", "total variation from p⁺ after 10¹² comparisons", predict.distance_of_limit,
              at=grid(preferences=tuple(PREFERENCES), method=LIMITS), within=2e-5,
              because="10¹² comparisons fix laws to 1e-6; an NLHF equilibrium is 1e-9 in value"),
        equal("any", "largest total variation from p⁺ over random win rates without structure", 0.0,
              at=grid(method=BOTH), within=1e-6, because=TRAINED),
        equal("laws", "share of comparisons won by a response: 2μ(½ + s)", predict.winners, within=2e-3,
              at=grid(preferences=tuple(PREFERENCES), outcome=(0, 2)), because="Monte Carlo over comparisons"),
    ),
    claim(
        "R4", "RDRO is capped, DDRO drifts", ("RDRO", "DDRO", "training path", "cap", "drift"),
        "RDRO's log-ratio is capped at log(1/α), approached at rate p⁺ α/(1 + α) and restored from above; "
        "DDRO's drifts like log t where p⁻ = 0, unless normalisation stops it.",
        "@takahashi2026 (the cap); laws of motion and rates ours", "equality",
        equal("flow", "free log-ratio of a response with p⁺ = 0.4 after gradient flow for a time", predict.flow_at,
              at=grid(method=BOTH, rejected=(0.0, 0.02), time=TIMES), within=1e-7,
              because="integration to 1e-11 over 1e5 units of time"),
        rate("drift", "slope of DDRO's log-ratio in log t where p⁻ = 0, t = 10⁵ … 10⁸", 1.0, within=2e-3,
             because="log ω(pt) = log pt − O(log(pt)/pt)"),
        rate("rate", "rate at which RDRO's log-ratio approaches the cap where p⁻ = 0, p⁺ = 0.4", predict.approach_rate,
             at=grid(alpha=ALPHAS), relative=5e-3, because="distances of 1e-3 and less"),
        equal("cap", "RDRO's free log-ratio after training, started below or above the cap, p⁻ = 0", log_ratio_cap,
              at=grid(alpha=(0.1, 0.3, 0.8), start=(-3.0, 0.0, 8.0)), measured=("start",), within=1e-9,
              because="what 10⁴ steps of descent leave is below rounding"),
        equal("push", "largest derivative in lr of a chosen example's loss: α for RDRO, 0 (none pushes back) for DDRO",
              predict.largest_push, at=grid(method=BOTH, alpha=(0.1, 0.5)), within=1e-7, because="central differences"),
        equal("simplex", "log-ratio of a never rejected response of a normalised policy under gradient descent",
              predict.policy_flow_at, within=1e-3, because="finite steps, extrapolated",
              at=grid(method=BOTH, table=("partly_apart", "opposite"), time=(1.0, 10.0, 50.0, 200.0))),
    ),
    claim(
        "R5", "Weights of an unbalanced batch", ("RDRO", "batches", "imbalance", "class means"),
        "Averaging chosen and rejected losses of a batch together estimates the relative ratio only if half of "
        "the examples are chosen; class means estimate it always.", "@takahashi2026 (the loss); ours", "equality",
        equal("ratio", "free ratio at p⁺ = .5, p⁻ = .2 with a share α of chosen examples", predict.ratio_of_reduction,
              at=grid(alpha=(0.2, 0.39, 0.5, 0.8), reduction=("class_mean", "pooled")), within=1e-9, because=ROUNDING),
        equal("policy", "total variation from p⁺ of the policy trained by pooled RDRO from p_α",
              predict.pooled_distance, within=1e-6, because=TRAINED,
              at=grid(table="six", alpha=(0.2, 0.3, 0.39, 0.5, 0.7), chosen_fraction=(0.2, 0.3, 0.39, 0.5, 0.7, 0.85))),
        equal("repaired", "the same from the law p_a of all examples, α = 1/(1 + 2a), a ≥ ½ the share of chosen ones",
              predict.repaired_distance, at=grid(table=("three", "six"), chosen_fraction=(0.5, 0.6, 0.8)), within=1e-6,
              because=TRAINED),
        equal("minibatch", "total variation from p⁺ after minibatch training from p_α, a = α = 0.3",
              predict.minibatch_distance, at=grid(table="six", alpha=0.3, reduction=("class_mean", "pooled")),
              within=0.02, because="batches of 64, step size decayed to 0"),
    ),
    claim(
        "R6", "Variance of the estimated ratios", ("RDRO", "DDRO", "delta method", "variance"),
        "The delta method gives the variance of both estimated ratios; DDRO's grows like (p⁻)⁻³ as p⁻ → 0, "
        "RDRO's vanishes like p⁻ and is bounded in it.", "ours; @takahashi2026 (the bounded ratio)", "equality",
        equal("variance", "variance of the estimated ratio of one outcome, α = 0 for DDRO", predict.spread,
              at=grid(alpha=(0.0, 0.3, 0.5), outcome=(0, 1, 2), n_p=4000, n_q=6000), relative=0.01,
              because="second-order terms of the delta method at these sizes"),
        equal("rare", "n times the variance for an outcome of p⁺ = .4 and p⁻ from .3 to 1e-5", predict.rare_spread,
              at=grid(alpha=(0.0, 0.1, 0.3), rejected=(1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.3)), relative=0.05,
              because="Monte Carlo over samples"),
        rate("tail", "exponent of p⁻ in the variance as p⁻ → 0, α = 0 for DDRO", predict.tail_exponent,
             at=grid(alpha=(0.0, 0.3)), within=0.02, seeds=3, because="next order at p⁻ ≤ 1e-3"),
        at_most("bound", "largest quotient of RDRO's variance and its bound over p⁺ and p⁻ down to 1e-6", 1.0,
                at=grid(alpha=(0.1, 0.5)), because="the bound has room"),
        equal("infinite", "share of samples whose DDRO ratio is infinite: no rejected example of p⁻ = .01",
              predict.infinite_share, at=grid(n_q=(50, 200)), within=0.01, because="a share of independent samples"),
    ),
    claim(
        "R7", "Policies from n examples", ("SFT", "DDRO", "RDRO", "samples", "rate"),
        "Policies estimated from n examples of either class are of order 1/√n from p⁺ in total variation: SFT, "
        "DDRO and RDRO alike; RDRO's variance is ((1−α)p⁻/p_α)² of DDRO's, and SFT is never worse than DDRO.",
        "@higuchi2025; @takahashi2026 (the rate and the order of the two); constants and SFT ours", "rate",
        rate("rate", "slope of log E TV(π, p⁺) in log n, reference known exactly", -0.5,
             at=grid(method=METHODS, table=("three", "rare")), within=0.01,
             seeds=3, because="Monte Carlo over samples, 2 % of bias at n p⁻ = 100"),
        equal("constant", "√n·E TV(π, p⁺), n examples of either class, free ratios", predict.free_distance,
              at=(*grid(method=("sft", "ddro"), table=NAMED), *grid(method="rdro", table=NAMED,
              alpha=(0.1, 0.3, 0.5, 0.7))), relative=0.02, because="second-order terms at n p⁻ = 200"),
        equal("trained", "the same of trained, normalised policies; mle: maximum likelihood that knows p_α",
              predict.trained_distance, at=TRAINED_POLICIES, relative=0.05, seeds=by("alpha", {0.1: 9}, 3),
              because="Monte Carlo of samples"),
        equal("quotient", "variance of RDRO's policy over DDRO's at one outcome, same samples",
              predict.variance_quotient, at=grid(table=("three", "six"), alpha=(0.3, 0.5), outcome=(0, 2)),
              relative=0.02, because=SECOND_ORDER),
        greater("ddro_below_sft", "√n·(E TV of DDRO − E TV of SFT on chosen examples alone), same samples", 0.0,
                at=grid(table=NAMED), because="a paired difference"),
        equal("rdro_against_sft", "√n·(E TV of RDRO − E TV of SFT), same samples: negative where knowing p_α helps",
              predict.against_sft, at=grid(table=("three", "six"), alpha=(0.1, 0.3, 0.5, 0.7)), within=0.01,
              because=SECOND_ORDER),
        equal("own_reference", "largest TV between SFT and a policy whose reference is fitted to the same examples",
              0.0, at=grid(method=BOTH), within=1e-6, because=TRAINED),
    ),
    claim(
        "R8", "The optimum from any reference", ("policy", "reference", "quadratic", "not convex"),
        "From any reference the policy of least loss solves a quadratic per outcome with one multiplier; if the "
        "ratio is too small for a policy the problem is not convex, and one outcome may take the upper root.",
        "@higuchi2025; @takahashi2026 (the losses); ours", "equality",
        equal("optimum", "largest |predicted loss − least loss of descents from everywhere|, random tables, references",
              0.0, at=grid(side=("below", "above"), n_outcomes=(3, 6), method=BOTH), within=1e-9,
              because="rounding of a loss"),
        at_most("one_upper", "most outcomes of a trained optimum where the loss is concave", 1.0,
                at=grid(n_outcomes=(3, 6), what="most"), because="a count"),
        greater("upper_needed", "share of random tables (ratio too small for a policy) whose trained optimum has one",
                0.0, at=grid(n_outcomes=3, what="share"), because="a share of independent tables"),
        equal("distance", "total variation from p⁺ of the policy trained from share·p⁺ + (1 − share)·p⁻",
              predict.misspecified_distance, at=MISSPECIFIED, within=1e-6, because=TRAINED),
        equal("trap", "DDRO's loss after training from (.05, .95), or from everywhere: two local minima",
              predict.trap_loss, at=grid(start=("everywhere", "reference")), within=1e-9, because="rounding of a loss"),
    ),
    claim(
        "R9", "One consistent reference per method", ("BCO", "DDRO", "KTO", "reference", "consistency"),
        "At kl_beta = 1 BCO with δ = 0 is DDRO; each unpaired method but KTO has one reference from which it is "
        "consistent, BCO at the δ that belongs to it.",
        "@ethayarajh2024; @jung2024; @haldar2025; @higuchi2025; @takahashi2026 (the losses); page ours", "equality",
        equal("same", "largest difference of BCO (kl_beta = 1, δ = 0) and DDRO per example", 0.0,
              at=grid(what=("loss", "slope")), within=1e-12, because="float64 rounding"),
        equal("own_reference", "largest total variation from p⁺ from the method's own reference", 0.0, within=2e-6,
              at=(*grid(method=("bco", "kldo"), kl_beta=(0.5, 1.0, 2.0)), *grid(method=BOTH, kl_beta=1.0)),
              because=f"{TRAINED}; curvature falls with kl_beta"),
        equal("page", "total variation from p⁺ by method and reference, kl_beta = 1", predict.page_distance,
              at=grid(method=tuple(UNPAIRED), reference=("rejected", "mixture", "uniform")), within=1e-5,
              because="KTO empties outcomes slowly"),
    ),
)  # fmt: skip
