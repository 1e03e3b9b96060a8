"""Claims P1–P14: DPO decomposed, what its samples leave open, and the optimum of proximal preference optimisation.

`response` counts from 0; "H" is the hyper response.

>>> from theory.claims import find_claim
>>> round(find_claim("P9").check("gap").predict({"response": 0, "alpha": 2.25, "kl_beta": 0.1}), 10)
0.7563076126
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from theory.claim import Claim, Setting, at_most, equal, greater, grid, of_topic, rate
from theory.proximal.closed_forms import (
    binary_log_ratio,
    pair_log_ratio,
    paper_binary_gap,
    scalar_log_ratio,
    zero_hyper_binary_gap,
)
from theory.proximal.descent import coupled_path, dpo_pair_limit
from theory.proximal.examples import COMPARISONS, LABELS, MINIBATCH, preference_table, spread_table
from theory.proximal.existence import (
    binary_threshold,
    existence_threshold,
    flat_directions,
    imbalance_scores,
    separation,
)
from theory.proximal.feedback import empirical_scores, mixture_weights, population_scores
from theory.proximal.losses import edpo_loss
from theory.proximal.optimum import Optimum, hyper_optimum, proximal_optimum, solve_rewards
from theory.proximal.reproducibility import coupled_direction, irreproducible_dimension, run_range, start_spread
from theory.proximal.settings import LABELLED, SCALAR_SCORES, SHORTCUT, STEPS, TRIPLES

#: alpha at which the labelled examples are optimised: above each of their thresholds.
ALPHA = 3.0
POLISHED = "a root of the gradient, sought from the trained logits, leaves rounding only"
ROUNDING = "exact arithmetic up to float64 rounding"
PATHS = "rounding of 3000 steps"


def population_policy(kl_beta: float, response: int) -> float:
    """P1: π*(y) of eDPO at μ̂ = μ, ŝ = s, α = 1."""
    P, mu, reference = preference_table()
    return float(proximal_optimum(reference, population_scores(P, mu), mu, mu, 1.0, kl_beta)[response])


def population_loss(kl_beta: float) -> float:
    """P1: L_DPO of the uniform policy by way of eDPO, 2·L_eDPO + log 2 + 2·kl_beta·Σ μs log π_ref."""
    P, mu, reference = preference_table()
    scores = population_scores(P, mu)
    value = edpo_loss(np.full(mu.size, 1.0 / mu.size), reference, scores, mu, mu, 1.0, kl_beta)
    return 2.0 * value + math.log(2.0) + 2.0 * kl_beta * float((mu * scores) @ np.log(reference))


def labelled_optimum(kind: str, alpha: float, kl_beta: float) -> Optimum:
    """The optimum over the labelled responses of an example and H, in sparse form."""
    labels = LABELS[kind]
    y = labels.labelled
    scores, empirical = labels.scores()
    return hyper_optimum(np.log(labels.reference[y]), scores[y], empirical[y], labels.weights()[y], alpha, kl_beta)


def labelled_level(kind: str, response: int | Literal["H"], alpha: float, kl_beta: float) -> float:
    """P12: log π*(y)/π_ref(y), nats."""
    optimum = labelled_optimum(kind, alpha, kl_beta)
    return optimum.hyper_ratio if response == "H" else float(optimum.log_ratio[int(response)])


def labelled_probability(kind: str, response: int | Literal["H"], alpha: float, kl_beta: float) -> float:
    """P6, P8: π*(y), and π*(H)."""
    optimum = labelled_optimum(kind, alpha, kl_beta)
    return math.exp(optimum.hyper_policy if response == "H" else float(optimum.log_policy[int(response)]))


def dpo_path(step: int, response: int) -> float:
    """P5: log π_t/π_ref of one response after `step` steps of DPO."""
    return float(coupled_path("dpo", int(step))[-1, int(response)])


def pro_path(step: int, response: int) -> float:
    """P12: the same of PRO-P."""
    return float(coupled_path("pro", int(step))[-1, int(response)])


def flat_dimension(data: str) -> float:
    """P5: connected components of the comparison graph, less one for the common shift."""
    return float(flat_directions(*COMPARISONS[data]).max())


def mass_after_dpo(start: float, kl_beta: float) -> float:
    """P5: mass of a pair (won 3 : 1) after DPO from a policy that gives it `start`, evenly, and 2 others the rest."""
    law = np.array([start / 2, start / 2, (1 - start) / 2, (1 - start) / 2])
    log_policy = dpo_pair_limit(np.log(law), np.log(np.full(4, 0.25)), 0.75, kl_beta)
    return float(np.exp(log_policy[:2]).sum())


def spread_threshold(n: int) -> float:
    """P7: α* of the table of n responses."""
    return separation(*spread_table(int(n))).threshold


def one_pair_threshold(share: float) -> float:
    """P7: α* of one pair and H, μ = (η/2, η/2, 1 − η)."""
    scores, empirical = empirical_scores(3, [(0, 1)])
    return existence_threshold(scores, empirical, mixture_weights(empirical, share, [0.0, 0.0, 1.0]))


def growth_exponent(factor: float) -> float:
    """P7: without an optimum the spread of r grows like the number of steps, with one it stays."""
    return 1.0 if factor <= 1.0 else 0.0


def pair_gap(response: int, alpha: float) -> float:
    """P9: ± t."""
    return pair_log_ratio(alpha) * (1.0 if response == 0 else -1.0)


def scalar_gap(n: int, response: int, alpha: float) -> float:
    """P11: r*(y_i) − r*(H) for the first n scores."""
    return float(scalar_log_ratio(SCALAR_SCORES[: int(n)], alpha)[int(response)])


def minibatch_gap(method: str) -> float:
    """P12: r*(0) − r*(last) of the data set of repeated observations, for every loss."""
    won = float(np.mean([winner == 0 for winner, _ in MINIBATCH.pairs]))
    if method == "dpo":
        return math.log(won / (1.0 - won))
    if method == "pro_pairwise":
        scores, empirical = empirical_scores(3, MINIBATCH.pairs)
        r, _residual = solve_rewards(scores * empirical, np.full(3, 1.0 / 3.0), 9.0 / 4.0)
        return float(r[0] - r[2])
    if method == "pro_binary":
        return binary_log_ratio(float(np.mean(MINIBATCH.labels)), MINIBATCH.alpha)
    return float(scalar_log_ratio(np.mean(MINIBATCH.ratings, axis=0), MINIBATCH.alpha)[0])


def imbalanced_threshold(negatives: float) -> float:
    """P13: the threshold of P10 for the score of a positive, one to `negatives`."""
    return binary_threshold(imbalance_scores(negatives)[0])


def positive_log_ratio(negatives: float, alpha: float, kl_beta: float) -> float:
    """P13: log(π*(y)/π_ref(y)) − log(π*(H)/π_ref(H)) of a positive response, nats."""
    return binary_log_ratio(imbalance_scores(negatives)[0], alpha) / kl_beta


def triples_spread(negatives: float) -> float:
    """P13: (max − min)/mean of those log-ratios over the triples."""
    ratios = [positive_log_ratio(negatives, alpha, kl_beta) for alpha, kl_beta in TRIPLES]
    return (max(ratios) - min(ratios)) / (sum(ratios) / len(ratios))


def balance(alpha: float, kl_beta: float) -> float:
    """P13: α·kl_beta/2."""
    return alpha * kl_beta / 2.0


claim = of_topic("proximal")
_TRIPLES = tuple({"alpha": alpha, "kl_beta": kl_beta} for alpha, kl_beta in TRIPLES)
_EXTREMES: tuple[Setting, ...] = tuple(
    {"kind": kind, "response": response, "alpha": ALPHA, "kl_beta": 1.0}
    for kind, worst in (("pairs", 2), ("binary", 3), ("scalar", 3))
    for response in (0, worst)
)
_SHORTCUT = {"alpha": SHORTCUT[0], "kl_beta": SHORTCUT[1]}

PROXIMAL_CLAIMS: tuple[Claim, ...] = (
    claim(
        "P1", "Population DPO is eDPO", ("DPO", "eDPO", "equivalence", "gradients"),
        "Population DPO is twice eDPO plus log 2, with the population's law and scores and α = 1: same optimum, "
        "gradients 2:1.", "@guo2025 Thm 3.1", "equality",
        equal("policy", "probability of a response after minimising the population DPO loss by descent",
              population_policy, at=grid(response=LABELLED, kl_beta=(0.1, 1.0)), within=1e-9, because=POLISHED),
        equal("gradient", "regression slope of directional derivatives of the DPO loss on those of eDPO, random "
              "policies", 2.0, at=grid(kl_beta=(0.1, 1.0)), within=1e-6, because="central differences at step 1e-4"),
        equal("loss", "mean DPO loss of the uniform policy over sampled comparisons", population_loss,
              at=grid(kl_beta=(0.1, 1.0)), within=2e-3, because="Monte Carlo"),
    ),
    claim(
        "P2", "Scores have mean zero", ("scores", "feedback", "empirical law"),
        "Scores have mean zero under the empirical law, for every kind of feedback.", "@guo2025 Section 3",
        "equality",
        equal("mean", "largest mean score in absolute value over random data sets", 0.0, within=1e-14, scale=0.5,
              at=grid(feedback=("pairs", "binary", "scalar")), because="rounding of sums of up to 100 terms"),
    ),
    claim(
        "P3", "The condition of the optimum", ("PRO", "optimum", "first-order condition"),
        "At the optimum, and only there, the mean of σ(r(y) − r(y′)) − ½ over y′ drawn from μ equals "
        "w(y)/(α μ(y)) for every y, w the empirical law times the score.", "@guo2025 Thm 3.2", "equality",
        equal("residual", "largest violation of the condition at policies trained on random tables, α = factor times "
              "α*", 0.0, at=grid(factor=(1.05, 1.5, 5.0)), within=1e-10, scale=0.1, because=POLISHED),
    ),
    claim(
        "P4", "Order of log-ratios at the optimum", ("PRO", "optimum", "likelihood", "unlabelled responses"),
        "The optimum multiplies all unscored responses by one constant C, positively scored ones by more, "
        "negatively scored ones by less.", "@guo2025 Cor 3.3", "equality",
        equal("one_constant", "largest difference of log-ratios between unscored responses, trained policies", 0.0,
              at=grid(kl_beta=(0.1, 1.0)), within=1e-8, scale=0.1, because=POLISHED),
        greater("order", "smallest sign(score)·(log-ratio − log C) over scored responses, trained policies", 0.0,
                at=grid(kl_beta=(0.1, 1.0)), because="log-ratios are trained to rounding"),
    ),
    claim(
        "P5", "DPO is underdetermined",
        ("DPO", "likelihood displacement", "underdetermination", "reward hacking", "separable data"),
        "Sample DPO is underdetermined: its loss does not change when all labelled likelihoods fall together, "
        "where it ends depends on the start and the features, and on separable data it has no optimum.",
        "@guo2025 Section 3.2; paths ours", "equality",
        equal("flat", "largest change of the DPO loss when all labelled log-likelihoods fall by `drop` nats", 0.0,
              at=grid(drop=(1.0, 10.0, 100.0)), within=1e-12, because="rounding of log-ratios of 100 nats"),
        equal("directions", "dimension of the space of rewards that the DPO loss cannot tell apart, beyond the common "
              "shift", flat_dimension, at=grid(data=tuple(COMPARISONS)), because="an integer"),
        equal("start", "mass of the compared pair after DPO was minimised from a policy that gave it `start`",
              mass_after_dpo, at=grid(start=(0.1, 0.5, 0.9), kl_beta=(0.5, 1.0)), within=1e-6,
              because="tolerance of the descent"),
        rate("growth", "slope of the pair's margin r(y_w) − r(y_l) in log(steps), separable data, 10³ to 10⁴ steps",
             1.0, at=grid(kl_beta=(0.5, 1.0)), within=0.02,
             because="margin = log(steps) + const + O(log(steps)/steps)"),
        equal("path", "log-ratio of chosen (0), rejected (1) and third (2) response along DPO, coupled features",
              dpo_path, at=grid(response=(0, 1, 2), step=STEPS), within=1e-8, because=PATHS),
    ),
    claim(
        "P6", "One hyper response for all unlabelled", ("PRO", "hyper response", "unlabelled responses"),
        "Merging all unlabelled responses into one hyper response leaves the optimum as it is.",
        "@guo2025 Thm 4.1", "equality",
        equal("policy", "probability of a response, H the sum over all unlabelled ones, trained on all responses or on "
              "Y_H", labelled_probability, measured=("space",), within=1e-9, because=POLISHED, at=grid(
              space=("full", "merged"), kind=("pairs", "scalar"), response=(*LABELLED, "H"), alpha=ALPHA, kl_beta=1.0)),
    ),
    claim(
        "P7", "Exact threshold α* of existence", ("PRO", "existence", "threshold", "divergence"),
        "An optimum exists iff α exceeds α* = max over sets S of 2·abs(w(S))/(μ(S)(1 − μ(S))), attained by a "
        "prefix of the order of w/μ; the published thresholds lie above.",
        "exact threshold ours; @guo2025 Thm 4.2, 4.3, Cor B.2", "equality",
        equal("subsets", "largest 2·abs(w(S))/(μ(S)(1 − μ(S))) over all subsets S of n responses", spread_threshold,
              at=grid(n=(3, 6, 9, 12)), relative=1e-12, because="rounding"),
        equal("one_pair", "the same for one labelled pair and H, regulariser's share of labelled responses η = `share`",
              one_pair_threshold, at=grid(share=(0.3, 0.5, 2 / 3, 0.8, 0.95)), relative=1e-12, because="rounding"),
        equal("program", "least α at which no direction lowers the loss, by linear programming over directions",
              spread_threshold, at=grid(n=(6, 12, 30)), relative=1e-8, because="tolerance of the linear program"),
        rate("growth", "exponent of steps in the spread of r along descent, α = factor times α*", growth_exponent,
             at=grid(n=(3, 6), factor=(0.9, 1.1)), measured=("n",), within=0.05, because="transients of 8000 steps"),
        at_most("corollary", "largest α*/α₀ (Cor B.2) over random tables, α* over all subsets", 1.0,
                at=grid(n=(2, 3, 8)), within=1e-12, because="rounding; attained at n = 2"),
        at_most("mixture", "largest η²·α* (Thm 4.3) over random pairwise data, α* over all subsets", 1.0,
                at=grid(n=(3, 8)), within=1e-12, because="rounding"),
    ),
    claim(
        "P8", "PRO is DPO with a proximal term", ("PRO", "DPO", "proximal term", "limit"),
        "With η of μ on the empirical law, 1 − η on H and α = 1/η², PRO is DPO on the labelled responses plus a "
        "proximal term that ties them to H.", "@guo2025 Thm 4.3", "equality",
        equal("loss", "largest difference of the two losses over random policies and data", 0.0,
              at=grid(share=(0.5, 0.8, 0.95)), within=1e-13, because=ROUNDING),
        equal("policy", "probability of a response after minimising DPO plus the proximal term, η = 0.8",
              labelled_probability, within=1e-9, because=POLISHED,
              at=grid(kind="pairs", response=(*LABELLED, "H"), alpha=1.5625, kl_beta=(0.1, 1.0))),
    ),
    claim(
        "P9", "One pair: closed form", ("PRO", "closed form", "pairwise feedback"),
        "One pair and H, η = 2/3: r(y_w) and r(y_l) end at ± t from r(H), σ(2t) + σ(t) = 1 + 9/(8α).",
        "@guo2025 Section 4", "equality",
        equal("gap", "r(y) − r(H) of the winner (0) and the loser (1) after training PRO-P", pair_gap, within=1e-10,
              at=grid(response=(0, 1), alpha=(1.2, 2.25, 10.0), kl_beta=(0.1, 1.0)), measured=("kl_beta",),
              because=POLISHED),
    ),
    claim(
        "P10", "One scored response: closed form", ("PRO", "closed form", "scored feedback", "correction of the paper"),
        "One response of score s and H: r(y) − r(H) = logit(½ + s/α), for α > 2·abs(s); the form printed in the "
        "paper gives logit(½ + s(1 − π(y))/α).", "@guo2025 Section 4; correction ours", "equality",
        equal("gap", "r(y) − r(H) after training PRO-B", binary_log_ratio,
              at=grid(score=(0.5, -0.5), alpha=(1.2, 2.5, 10.0)), within=1e-10, because=POLISHED),
        equal("printed", "r(y) − r(H) after training the printed form", paper_binary_gap, within=1e-10,
              at=grid(score=(0.5, -0.5), **_SHORTCUT, reference=(1e-6, 1e-3, 0.1, 0.3, 0.6, 0.99)), because=POLISHED),
        equal("zero_hyper", "r(y) − r(H) after training with r(H) = 0 in place of r(H)", zero_hyper_binary_gap,
              at=(*grid(score=0.5, **_SHORTCUT, reference=(1e-6, 1e-5, 1e-4)),
                  *grid(score=-0.5, **_SHORTCUT, reference=(1e-6, 0.3, 0.6))), within=1e-10, because=POLISHED),
    ),
    claim(
        "P11", "PRO-S is eDPO with uniform μ", ("PRO-S", "eDPO", "scalar feedback", "equivalence"),
        "N scored responses and H: PRO-S is eDPO with uniform μ on them and 2(N+1)/N times its α, one convex "
        "program.", "@guo2025 Section 4", "equality",
        equal("gap", "r(y) − r(H) after training PRO-S on the first n of four scores", scalar_gap, within=1e-10,
              at=tuple({"n": n, "response": y, "alpha": 2.5} for n in (1, 2, 4) for y in range(n)), because=POLISHED),
    ),
    claim(
        "P12", "Absolute likelihoods are predicted", ("PRO", "likelihood displacement", "training path", "batches"),
        "PRO predicts the absolute log-likelihood of chosen and rejected responses and of the unlabelled mass, "
        "whatever the start, the features and the batches.", "@guo2025 Section 4; paths ours", "equality",
        equal("level", "log-ratio of a response after training from a random start", labelled_level, within=1e-8,
              at=grid(kind=("pairs", "binary", "scalar"), response=(*LABELLED, "H"), alpha=ALPHA, kl_beta=(0.1, 1.0)),
              because=POLISHED),
        equal("minibatch", "log-ratio of the best (0) and the worst (2 or 3) response after minibatch training",
              labelled_level, at=_EXTREMES, within=0.02, seeds=2,
              because="noise of the last steps; levels are of order 1 nat"),
        equal("every_loss", "r(0) − r(loser or H) after minibatch training on repeated observations", minibatch_gap,
              at=grid(method=("dpo", "pro_pairwise", "pro_binary", "pro_scalar"), kl_beta=1.0), measured=("kl_beta",),
              within=0.02, because="noise of the last steps; gaps are of order 0.3 to 1"),
        equal("path", "log-ratio of chosen (0), rejected (1) and third (2) response along PRO-P, coupled features",
              pro_path, at=grid(response=(0, 1, 2), step=STEPS), within=1e-8, because=PATHS),
    ),
    claim(
        "P13", "Imbalance raises the threshold", ("PRO", "binary feedback", "imbalance", "threshold", "KTO"),
        "Imbalance 1:n with centred binary labels raises the threshold on α to 2n/(n+1), which kl_beta cannot "
        "undo; equal α·kl_beta gives log-ratios within 10 % on balanced labels.",
        "@guo2025 Section 4 and experiments", "equality",
        equal("threshold", "α at which the loss stops to fall far out, by bisection", imbalanced_threshold,
              at=grid(negatives=(1, 3, 10, 30, 100), kl_beta=(3e-4, 0.1)), measured=("kl_beta",), within=1e-9,
              because="bisection"),
        equal("log_ratio", "log-ratio of a positive response minus that of H after training PRO-B, nats",
              positive_log_ratio, at=tuple({"negatives": n, **triple} for n in (1, 100) for triple in _TRIPLES),
              relative=1e-9, because=POLISHED),
        equal("spread", "(max − min)/mean of those over the paper's triples of α and kl_beta", triples_spread,
              at=grid(negatives=(1, 100)), within=1e-9, because=POLISHED),
        at_most("within", "the same spread on balanced labels", 0.1, at=grid(negatives=1),
                because="the triples as the paper rounds them"),
        equal("balance", "curvature of the regulariser over slope of the linear term in log-likelihood, at the "
              "reference", balance, at=_TRIPLES, relative=1e-6, because="central differences"),
    ),
    claim(
        "P14", "Underdetermined means irreproducible",
        ("DPO", "PRO", "reproducibility", "underdetermination", "optimiser", "learning rate"),
        "Start, rate, optimiser, order of batches and number of steps move log-likelihoods trained by DPO along the "
        "flat directions of its loss and nowhere else, by tens of nats on separable data; PRO's they do not move.",
        "@guo2025 (the losses); ours", "equality",
        equal("dimension", "rank of the differences of log-ratios between 12 runs that converged, noisy starts",
              irreproducible_dimension, at=grid(method=("dpo", "pro"), data=tuple(COMPARISONS)), because="an integer"),
        equal("margins", "largest range of a compared margin between those runs", 0.0, within=1e-8, scale=0.5,
              at=grid(method=("dpo", "pro"), data=tuple(COMPARISONS)), because="gradients below 1e-11 at the ends"),
        equal("start", "movement of the end, root of the summed squares, if each feature's start moves by 1",
              start_spread, at=grid(method=("dpo", "pro"), data=tuple(COMPARISONS)), within=1e-7,
              because="gradients below 1e-11 at the ends"),
        equal("direction", "slope of log π(y)/π(0) on the margin log π(0)/π(1) over runs on one separable pair",
              coupled_direction, at=grid(response=2), within=1e-9, because="rounding of 10000 steps"),
        equal("dpo", "range of log π/π_ref over rates and numbers of steps, DPO on one separable pair, nats", run_range,
              at=grid(response=(0, 1)), within=1e-8, because="rounding of 10000 steps"),
        equal("pro", "the same range of PRO-P", 0.0, at=grid(response=(0, 1)), within=1e-3, scale=1.0,
              because="the slowest run has not quite converged"),
    ),
)  # fmt: skip
