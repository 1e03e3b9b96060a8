"""Claims D1–D17: what average utility rules and alignment methods lose under individual Bradley–Terry users.

D1–D7 are of rules, D8–D15 of RLHF, DPO and NLHF, D16 of the audit, D17 of real people. A check is one call: its kind,
name, quantity and prediction, then the settings, how close is close enough, and why.

>>> from theory.claims import find_claim
>>> check = find_claim("D3").check("bound")
>>> check.theory.__name__, round(check.predict({"bt_beta": 5.0}), 4)
('linear_factor', 2.5339)
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.optimize import brentq
from scipy.special import xlogy

from theory.claim import Check, Claim, at_least, at_most, by, cited, equal, greater, grid, of_topic, rate
from theory.distortion.ball_claims import TAUS, linear_factor_over
from theory.distortion.factors import borda_factor, borda_lower_factor, linear_factor, neutral_factor
from theory.distortion.instances import rlhf_sizes
from theory.distortion.measure import distortion
from theory.distortion.methods import METHODS
from theory.distortion.penalty_claims import PENALTY_CHECKS, correlated_ratio
from theory.distortion.samples import largest_error
from theory.distortion.settings import BETAS
from theory.social_choice.rankings import plurality_veto, veto_family, veto_lower_factor
from theory.validate import check_between

ROUNDING = "exact arithmetic up to float64 rounding"
SHARE = "a share of independent samples"
SAMPLES = "Monte Carlo over samples"
FIXED_POLICY = "the policy does not vary between samples"
GAP = "gap of the equilibrium"
#: I6 needs η ≤ 1e-3·δ, δ = 10/(10 + e^β): at β = 25 and 30 (10¹³ clones) that is far below 1e-9.
I6 = (
    *grid(bt_beta=(5.0, 8.0, 10.0, 12.0, 15.0, 20.0), eta=1e-9),
    {"bt_beta": 25.0, "eta": 1e-13},
    {"bt_beta": 30.0, "eta": 1e-16},
)


def plurality_ratio(bt_beta: float, n_alternatives: int) -> float:
    """D7: (1 + m e^β)/(e^β + m), m = A − 1, between min(e^β, m)/2 and min(e^β, m)."""
    return (1 + (n_alternatives - 1) * math.exp(bt_beta)) / (math.exp(bt_beta) + n_alternatives - 1)


def dictator_ratio(n_alternatives: int) -> float:
    """D7: A, at every β."""
    return float(n_alternatives)


def veto_flow_ratio(bt_beta: float, n_alternatives: int) -> float:
    """D7: distortion of Plurality Veto in its population limit, on the member of the family that voters play."""
    population = veto_family(bt_beta, n_alternatives, kappa=0.5, margin=0.5)
    return distortion(population, plurality_veto(population, bt_beta))


def tournament_lower_factor(bt_beta: float) -> float:
    """D7: (5/8)·β, cited."""
    return 0.625 * bt_beta


def rlhf_in_a_ball(bt_beta: float, eta: float) -> float:
    """D8 on I6: ((1−δ)/β + m)/(δ + m), m = (1 − log 2)/2·η the mass that the rest of the KL budget buys on c.

    Leaving one of two references costs log 2 of the 1 nat; mass m on the clones costs 2m/η. As η → 0 this is
    (1−δ)/(βδ) = e^β/(10β).
    """
    delta, _ = rlhf_sizes(bt_beta)
    leak = 0.5 * (1.0 - math.log(2.0)) * eta
    return ((1.0 - delta) / bt_beta + leak) / (delta + leak)


def rlhf_in_small_ball(bt_beta: float, tau: float) -> float:
    """D8 on I6, τ < log 2: the budget buys a share p of {a, b}, log 2 − H(p) = τ; RLHF takes it on b, the best on a.

    (p·(1−δ)/β + (1−p)·δ)/((1−p)·(1−δ)/β + p·δ): at every β it begins at 1 and grows with τ.
    """
    check_between("tau", tau, 0.0, math.log(2.0), "[)")
    delta, _ = rlhf_sizes(bt_beta)
    p = brentq(lambda p: math.log(2.0) + xlogy(p, p) + xlogy(1.0 - p, 1.0 - p) - tau, 0.5, 1.0)
    a, b = (1.0 - delta) / bt_beta, delta
    return float((p * a + (1.0 - p) * b) / ((1.0 - p) * a + p * b))


def penalty_weight(weight: float) -> float:
    """D10: the penalty's weight is the multiplier of the constraint."""
    return weight


def leak_exponent(bt_beta: float) -> float:
    """D15: the exponent of B in `rlhf_in_a_ball` with η = 2/B, from B = 1000 to 2000."""
    return math.log(rlhf_in_a_ball(bt_beta, 1e-3) / rlhf_in_a_ball(bt_beta, 2e-3)) / math.log(2.0)


def rlhf_at_bound(bt_beta: float, bound: float) -> float:
    """D15: `rlhf_in_a_ball` with |log μ/π_ref| ≤ B, which is 2/η on I6."""
    return rlhf_in_a_ball(bt_beta, 2.0 / bound)


def rlhf_lower_factor(bt_beta: float) -> float:
    """D8: e^β/(44β)."""
    return math.exp(bt_beta) / (44.0 * bt_beta)


def local_family_constant(bt_beta: float) -> float:
    """D14: lim √n·sup_c E[utility loss] when one pair with margin c/√n decides.

    Users are alike; the worse of two alternatives wins with probability Φ(−2c), and costs 4c/(β√n) because
    P − ½ ≈ β·Δu/4. sup_c (4c/β)·Φ(−2c) = (2/β)·sup_t t·Φ(−t) = (2/β)·0.16997 at t = 0.7518.
    """
    return 2.0 / bt_beta * 0.1699712074798944


def error_exponent(win_rate: float) -> float:
    """D14: ½ log(4p(1−p)), the exponent of the probability that a majority of n users is wrong."""
    return 0.5 * math.log(4.0 * win_rate * (1.0 - win_rate))


def people_check(name: str, bound: Callable[[float, int], float]) -> Check:
    """D17 for one method: its proved bound. Files say how many items they have, the survey has 14."""

    def proved(bt_beta: float, items: int = 14) -> float:
        return bound(bt_beta, items)

    return at_most(name, f"distortion of {METHODS[name].label} on a population of real raters", proved,
                   at=grid(population="starwars", bt_beta=BETAS), measured=("population", "data", "missing", "scale"),
                   within=1e-6, because="certificates of the solvers")  # fmt: skip


claim = of_topic("distortion")

DISTORTION_CLAIMS: tuple[Claim, ...] = (
    claim(
        "D1", "Win rates, nearly linear in utility", ("win rates", "average utility", "linear bounds"),
        "Win rates are squeezed between linear functions of average utility: "
        "β(ℓ u(x) − ¼ u(y)) ≤ P(x≻y) − ½ ≤ β(¼ u(x) − ℓ u(y)).", "@golz2025 Lemma 1", "equality",
        equal("violation", "largest violation of either inequality over populations (0: never broken, and attained)",
              0.0, at=grid(bt_beta=BETAS), scale=0.25, within=1e-12, because=ROUNDING),
    ),
    claim(
        "D2", "No rule beats L(β)", ("lower bound", "every rule", "instance I3"),
        "No rule beats L(β): on I3 the worst labelling costs every rule 1/(1/A + (1 − 1/A)/L(β)).",
        "@golz2025 Thm 3", "equality",
        equal("fair_coins", "distortion of Borda on I3 (ξ = 1) averaged over samples of 10⁶ users, 1/E of utility",
              neutral_factor, at=grid(bt_beta=(2.0, 5.0, 10.0), n_alternatives=(3, 10)), relative=0.03,
              seeds=by("bt_beta", {2: 1, 5: 2, 10: 3}), because="which one coins favour; ε = 1e-3 is worth 1e-4"),
        at_least("condorcet_loser", "least distortion of Borda, Copeland, lottery, RLHF on I3 (ξ slightly above 1)",
                 neutral_factor, at=grid(bt_beta=(2.0, 5.0, 10.0), n_alternatives=(10, 100)), relative=1e-3,
                 because="ε = 1e-4 and ξ − 1 = 1e-6 in place of their limits"),
    ),
    claim(
        "D3", "The maximal lottery attains L(β)", ("maximal lottery", "upper bound", "adversarial search"),
        "The maximal lottery has utility at least u*/L(β) on every population, and L(β) is attained.",
        "@golz2025 Cor 4", "upper bound",
        at_most("bound", "worst distortion of the maximal lottery found by adversarial search over populations",
                linear_factor, at=grid(bt_beta=BETAS), within=1e-6,
                because="gap of the equilibrium, 1e-9, against utilities of order 1e-3"),
        equal("attained", "distortion of the maximal lottery on I3 with s a Condorcet loser", linear_factor,
              at=grid(bt_beta=BETAS), relative=1e-3, because="ε = 1e-4 and ξ − 1 = 1e-6 in place of their limits"),
    ),
    claim(
        "D4", "Borda's exact factor K*(β)", ("Borda", "exact factor", "certificate"),
        "Borda's distortion is at most K*(β) = C(β, γ*) for every sampling law μ, and K*(β) is the supremum.",
        "@golz2025 Thm 2 (upper bound L²); @alipour2026 (2L); exact value ours", "equality",
        at_most("bound", "worst distortion of Borda found by adversarial search over populations and μ", borda_factor,
                at=grid(bt_beta=BETAS), within=1e-9, because=ROUNDING),
        equal("certified", "least upper bound on Borda's distortion certified over [0,1]³ by interval branch and bound",
              borda_factor, at=grid(bt_beta=BETAS), relative=1e-6, because="bisection to 1e-8, tolerance of proofs"),
        equal("attained", "distortion of Borda on I5 with γ*, population limit (10¹⁸ users)", borda_factor,
              at=grid(bt_beta=BETAS), relative=5e-3, because="ε = 1e-3 in place of its limit"),
    ),
    claim(
        "D5", "Borda exceeds L(β)", ("Borda", "RLHF", "lower bound", "instance I5"),
        "Borda reaches C(β, γ) > L(β) on I5 with γ = log(β+1)/β, so RLHF without a constraint is not optimal.",
        "@golz2025 Thm 5 / 12", "equality",
        equal("attained", "distortion of Borda on I5, population limit", borda_lower_factor,
              at=grid(bt_beta=(2.0, 5.0, 10.0, 20.0, 50.0)), relative=1e-3, because="ε = 1e-5 in place of its limit"),
        greater("above_L", "distortion of Borda on I5 minus that of the maximal lottery on I3", 0.0,
                at=grid(bt_beta=(2.0, 5.0, 10.0, 20.0, 50.0)), because="a difference of limits"),
        *PENALTY_CHECKS["D5"],
    ),
    claim(
        "D6", "Copeland's exact factor", ("Copeland", "exact factor", "clones"),
        "Copeland's worst distortion is K*(β) too, at most 2L(β).",
        "@alipour2026 (upper bound 2L, lower bound (1−ε)β); exact value ours", "equality",
        at_most("bound", "worst distortion of Copeland found by adversarial search over populations", borda_factor,
                at=grid(bt_beta=BETAS), within=1e-9, because=ROUNDING),
        equal("attained", "distortion of Copeland on I5 with γ*, b cloned 3 times, w_B lowered by 1e-3", borda_factor,
              at=grid(bt_beta=BETAS), relative=2e-3,
              because="the factor 1 − 1e-3 on w_B and ε = 1e-6 in place of their limits"),
    ),
    claim(
        "D7", "Rules on rankings", ("Plackett–Luce", "plurality", "random dictator", "Plurality Veto", "rankings"),
        "On Plackett–Luce rankings plurality is Ω(min(e^β, A)), random dictator Θ(A) at fixed β, Plurality Veto "
        "and its pruned form Ω(β ln A); every deterministic finite-precision tournament rule is ≥ (5/8−ε)β.",
        "@alipour2026; families for the veto rules ours", "lower bound",
        equal("plurality", "distortion of plurality on its family, population limit (10¹⁵ voters)", plurality_ratio,
              at=grid(bt_beta=(1.0, 5.0, 10.0), n_alternatives=(10, 100, 1000)), relative=1e-3,
              because="margin 1e-4 of the family in place of its limit"),
        equal("random_dictator", "distortion of random dictator on its family, dictators drawn one by one",
              dictator_ratio, at=grid(bt_beta=(1.0, 10.0), n_alternatives=(10, 100)), measured=("bt_beta",),
              relative=0.05, because="Monte Carlo over who dictates"),
        at_least("veto", "distortion of Plurality Veto on its family", veto_lower_factor, measured=("rule",),
                 at=grid(bt_beta=(1.0, 5.0, 10.0), n_alternatives=(10, 100, 1000), rule=("plain", "pruned")),
                 relative=1e-3, because="kappa = 1e-3 and margin 1e-4 of the family in place of their limits"),
        equal("veto_played", "distortion of Plurality Veto played by 20 000 voters on a member of the family",
              veto_flow_ratio, at=grid(bt_beta=5.0, n_alternatives=(6, 20)), relative=1e-9,
              because="a clear margin: the winner does not vary"),
        cited("tournament", "distortion of the best deterministic finite-precision tournament rule, ε → 0",
              tournament_lower_factor, at=grid(bt_beta=(1.0, 5.0, 10.0)),
              because="proved in the paper; no search here ranges over all such rules"),
    ),
    claim(
        "D8", "RLHF in a KL ball: exponential loss", ("RLHF", "KL ball", "reward hacking", "instance I6"),
        "RLHF in a KL ball with product sampling loses e^β/(44β) and more for β ≥ 10; on I6 the limit is "
        "e^β/(10β).", "@golz2025 Thm 6", "equality",
        equal("limit", "distortion of RLHF on I6, population limit", rlhf_in_a_ball, at=I6, relative=1e-4,
              because="second-order terms in η and 1/N"),
        equal("sampled", "distortion of RLHF on I6, sampled, but of 10¹⁸ users: the population limit",
              rlhf_in_a_ball, at=grid(bt_beta=(5.0, 8.0, 10.0, 12.0), eta=1e-9), relative=1e-3, because=FIXED_POLICY),
        equal("small_balls", "distortion of RLHF on I6 with a budget below log 2, population limit", rlhf_in_small_ball,
              at=grid(bt_beta=(5.0, 10.0, 15.0), tau=(0.05, 0.2, 0.5)), relative=1e-6,
              because="η = 1e-9 in place of its limit"),
        at_least("exponential", "distortion of RLHF on I6 for β ≥ 10", rlhf_lower_factor, measured=("eta",),
                 at=grid(bt_beta=(10.0, 12.0, 15.0, 20.0), eta=1e-9), because="the paper's bound has room"),
        *PENALTY_CHECKS["D8"],
    ),
    claim(
        "D9", "NLHF keeps L(β) in every KL ball", ("NLHF", "KL ball", "Nash learning", "upper bound"),
        "NLHF has distortion at most L(β) under any KL constraint, on I6 too; instances cost it up to L(β) at every "
        "budget.", "@golz2025 Thm 7; lower half ours", "upper bound",
        at_most("on_I6", "distortion of NLHF on I6", linear_factor,
                at=grid(bt_beta=(5.0, 8.0, 10.0, 12.0, 15.0, 20.0, 30.0)), within=1e-6, because=GAP),
        at_most("bound", "worst distortion of NLHF in a KL ball found by adversarial search", linear_factor,
                at=grid(bt_beta=(2.0, 5.0, 10.0), tau=(0.05, 0.5, 2.0)), measured=("tau",), within=1e-6, because=GAP),
        equal("unbeaten", "smallest win rate of NLHF against any policy in its ball, random populations, references",
              0.5, at=grid(bt_beta=(2.0, 5.0, 10.0), tau=(0.05, 0.5, 2.0)), within=1e-6, because=GAP),
        greater("beside_rlhf", "log distortion of RLHF minus that of NLHF on I6", 0.0,
                at=grid(bt_beta=(5.0, 8.0, 10.0, 12.0, 15.0, 20.0)), because="population limits"),
        equal("attained", "distortion of NLHF on s, o, z with log ε = −650, from samples of 10¹⁸ users",
              linear_factor_over, at=grid(bt_beta=(2.0, 5.0, 10.0), tau=TAUS, xi=1.03), measured=("tau",),
              relative=2e-3, because="utilities of 1e-4 and log ε = −650 in place of their limits"),
    ),
    claim(
        "D10", "Penalty and constraint agree", ("NLHF", "RLHF", "KL penalty", "KL ball"),
        "Regularised NLHF keeps the factor L(β) against every policy no farther from π_ref than itself; penalty "
        "and constraint give the same family of policies, for NLHF and for RLHF.",
        "@golz2025 Cor 8, Prop 13, 14", "equality",
        equal("same_family", "largest total variation between the penalty's policy and the constraint's at its KL",
              0.0, at=grid(method=("nlhf", "rlhf"), weight=(0.02, 0.1, 0.5)), within=1e-5,
              because="a gap of 1e-9 on a weight of 0.02 fixes policies to about √(1e-9/0.02)/10"),
        equal("multiplier", "gain of the best value in the ball per nat, at the penalty's policy",
              penalty_weight, at=grid(method=("nlhf", "rlhf"), weight=(0.1, 0.5)), measured=("method",),
              relative=1e-3, because="differences over two per mille of the budget"),
        at_most("bound", "worst distortion of regularised NLHF against policies in its own ball, adversarial search",
                linear_factor, at=grid(bt_beta=(2.0, 10.0), weight=(1e-5, 0.01, 0.1)), measured=("weight",),
                within=1e-6, because=GAP),
    ),
    claim(
        "D11", "Correlated sampling: unbounded loss", ("RLHF", "correlated sampling", "reward hacking", "instance I9"),
        "RLHF under correlated sampling is unbounded: on I9 its distortion grows like √A at fixed β.",
        "@golz2025 Thm 9, Lemma 15", "equality",
        equal("chain", "distortion of RLHF on I9, population limit (10¹⁵ users)", correlated_ratio,
              at=grid(bt_beta=(5.0, 10.0), n_alternatives=(5, 20, 100, 300)), relative=1e-6, because=FIXED_POLICY),
        rate("growth", "exponent of A in the distortion of RLHF on I9, A = 100 … 630", 0.5,
             at=grid(bt_beta=(5.0, 10.0)), within=0.03, because="lower-order terms at A ≤ 630"),
        *PENALTY_CHECKS["D11"],
    ),
    claim(
        "D12", "DPO is RLHF with a penalty", ("DPO", "RLHF", "KL penalty", "equivalence"),
        "Tabular DPO with full support is penalty-form RLHF: same policy, same loss.",
        "@golz2025 App. F.3; @rafailov2023", "equality",
        equal("same", "largest difference between DPO trained by descent and penalty-form RLHF", 0.0, within=1e-5,
              scale=0.1, at=grid(kl_beta=(0.1, 1.0), what=("policy", "loss")),
              because="where the descent's line search runs out of digits"),
    ),
    claim(
        "D13", "RLHF without a constraint is Borda", ("RLHF", "Borda", "Bradley–Terry", "maximum likelihood"),
        "Under product sampling the Bradley–Terry MLE orders alternatives as Borda does, so RLHF without a "
        "constraint is Borda.", "@golz2025 proof of Thm 2", "equality",
        equal("discordant", "share of pairs that the MLE and Borda order differently, random populations and μ", 0.0,
              at=grid(bt_beta=(1.0, 5.0, 20.0)), scale=1.0, because=ROUNDING),
        greater("needs_product", "the same share on I9, whose pairs are correlated", 0.0, at=grid(bt_beta=5.0),
                because="population limit"),
    ),
    claim(
        "D14", "Rates of finite samples", ("samples", "win rates", "equilibrium", "rate"),
        "Finite samples: win rates and equilibrium utilities err by O(n^{−1/2}); the worst local family loses "
        "exactly that, a fixed instance exponentially little.", "@golz2025 Lemma 10, 11; local family ours", "rate",
        at_most("bound", "95 % quantile of the largest win-rate error over the uniform bound at δ = 5 %", 1.0,
                at=grid(n_users=(10**5, 10**6), per_user=(1, 10)),
                because="the paper's constants, 8 and 16, leave much room: how large errors are, D14.error says"),
        equal("error", "√n times the rms of the largest win-rate error, one comparison a user", largest_error,
              at=grid(n_users=10**6), measured=("n_users",), relative=0.01, because=SAMPLES),
        rate("win_rates", "slope of the largest win-rate error (rms) in n", -0.5, at=grid(per_user=(1, 20)),
             within=0.01, because=SAMPLES),
        rate("local_family", "slope in n of the worst expected utility loss over margins c·n^{−1/2}", -0.5,
             at=grid(bt_beta=5.0, what="slope"), within=0.01, because=SAMPLES),
        equal("local_constant", "√n times that loss", local_family_constant, measured=("what",),
              at=grid(bt_beta=(2.0, 5.0), what="constant"), relative=0.01,
              because="n = 4¹⁰; the margin from a cubic through nine noisy losses"),
        rate("lottery", "slope in n of the rms error of u(π̂), π̂ the lottery of a cycle", -0.5,
             at=grid(bt_beta=4.0), within=0.02, seeds=3, because=SAMPLES),
        rate("fixed", "exponent of Borda's error on a fixed instance, slope of log(√n·P) in n", error_exponent,
             at=grid(win_rate=0.6), within=1e-3, seeds=2, because="terms of order 1/n in log(√n·P)"),
    ),
    claim(
        "D15", "Clipped rewards", ("RLHF", "clipping", "KL ball", "instance I6"),
        "Clipped RLHF on I6: distortion grows with B, the bound on |log μ/π_ref|; it is 1, within O(β), at μ = π_ref.",
        "@oko2026; constants not public, explored on I6", "ordering",
        greater("grows", "distortion with uniform pairs (B = 200) minus that with pairs from the reference (B = 0)",
                0.0, at=grid(bt_beta=(5.0, 10.0, 15.0), clip=(1.0, 5.0, 1000.0)), because="population limits"),
        rate("exponent", "exponent of B in the distortion on I6, pairs uniform, from B = 1000 to 2000", leak_exponent,
             within=0.01, at=grid(bt_beta=15.0, clip=1000.0), measured=("clip",),
             because="terms of order η², in either size half a per cent of the distortion"),
        equal("leak", "distortion on I6 with uniform pairs, no reward clipped", rlhf_at_bound, relative=0.01,
              at=grid(bt_beta=(5.0, 10.0, 15.0), bound=(2000.0, 8000.0, 32_000.0)), because="terms of order η"),
        equal("at_reference", "distortion on I6 when pairs are drawn from the reference: nothing is lost", 1.0,
              at=grid(bt_beta=(5.0, 10.0, 15.0), clip=(1.0, 5.0, 1000.0)), within=1e-6,
              because="at η = 0.01 the clones get 1e-7 of the utility"),
    ),
    claim(
        "D16", "The audit from win rates", ("audit", "certified interval", "win rates", "observed data"),
        "From win rates, a policy and β alone, the audit brackets the worst distortion over all populations "
        "that could have produced them.", "@golz2025 Lemma 1 (its averages); the audit ours", "lower bound",
        at_least("contains", "smallest ratio of the audit's upper end to the true distortion, random populations", 1.0,
                 at=grid(n_alternatives=(2, 3, 6), policy=("borda", "lottery")), within=1e-7,
                 because="programs solved to 1e-9"),
        at_most("within_L", "largest excess of the audit's upper end over L(β), maximal lottery", 0.0,
                at=grid(n_alternatives=(2, 3, 6)), within=1e-6, because="gap of the lottery"),
        at_most("closes", "largest relative width (upper − lower)/lower, random populations", 0.0,
                at=grid(n_alternatives=(2, 3)), within=0.01, because="one per cent of the distortion"),
        at_least("coverage", "share of samples whose audit's upper end covers the true distortion, 95 % asked", 0.95,
                 at=grid(n_users=2000), because=SHARE),
    ),
    claim(
        "D17", "Real people", ("ratings", "real people", "every method", "bootstrap"),
        "On real people's ratings no method exceeds its bound: L(β) for lotteries and NLHF, K*(β) for Borda "
        "and Copeland.",
        "@golz2025 (the bounds); ours; raters of FiveThirtyEight's survey (2014), CC BY 4.0, or of a file",
        "upper bound",
        *(people_check(name, method.bound) for name, method in METHODS.items() if method.bound is not None),
        not_sharp="bounds over all populations, attained on worst cases (D3, D4, D6) and by no people that answered",
    ),
)  # fmt: skip
