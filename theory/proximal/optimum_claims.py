"""Claims P6–P13: the optimum of PRO, when it exists, and its closed forms.

Predictions are in `theory/proximal_predictions.py`. Paper: Guo, Li, Chen (arXiv 2505.23316). `response` counts from 0;
"H" is the hyper response.
"""

from __future__ import annotations

from theory.claim import Check, Claim, grid
from theory.proximal import closed_forms
from theory.proximal import predictions as predict
from theory.proximal.predictions import LABELLED, SHORTCUT, STEPS, TRIPLES, constant

#: alpha at which the labelled examples are optimised: above each of their thresholds.
ALPHA = 3.0
POLISHED = "Newton steps on the trained logits leave rounding only"
ROUNDING = "exact arithmetic up to float64 rounding"

OPTIMUM_CLAIMS: tuple[Claim, ...] = (
    Claim(
        "P6",
        "Merging all unlabelled responses into one hyper response leaves the optimum as it is.",
        "arXiv 2505.23316, Thm 4.1",
        "equality",
        "proximal",
        (
            Check(
                "policy",
                "probability of a response, H the sum over all unlabelled ones, trained on all responses or on Y_H",
                "equality",
                grid(
                    space=("full", "merged"),
                    kind=("pairs", "scalar"),
                    response=(*LABELLED, "H"),
                    alpha=ALPHA,
                    kl_beta=1.0,
                ),
                predict.labelled_probability,
                1e-9,
                POLISHED,
            ),
        ),
    ),
    Claim(
        "P7",
        "An optimum exists iff α exceeds α* = max over sets S of 2·abs(w(S))/(μ(S)(1 − μ(S))), attained by a "
        "prefix of the order of w/μ; the published thresholds lie above.",
        "exact threshold ours; arXiv 2505.23316, Thm 4.2, 4.3, Cor B.2",
        "equality",
        "proximal",
        (
            Check(
                "subsets",
                "largest 2·abs(w(S))/(μ(S)(1 − μ(S))) over all subsets S of n responses",
                "equality",
                grid(n=(3, 6, 9, 12)),
                predict.spread_threshold,
                1e-12,
                "rounding",
                relative=True,
            ),
            Check(
                "one_pair",
                "the same for one labelled pair and H, regulariser's share of labelled responses η = `share`",
                "equality",
                grid(share=(0.3, 0.5, 2 / 3, 0.8, 0.95)),
                predict.one_pair_threshold,
                1e-12,
                "rounding",
                relative=True,
            ),
            Check(
                "program",
                "least α at which no direction lowers the loss, by linear programming over directions",
                "equality",
                grid(n=(6, 12, 30)),
                predict.spread_threshold,
                1e-8,
                "tolerance of the linear program",
                relative=True,
            ),
            Check(
                "growth",
                "exponent of steps in the spread of r along descent, α = factor times α*",
                "rate",
                grid(n=(3, 6), factor=(0.9, 1.1)),
                lambda factor, **_: 1.0 if factor <= 1.0 else 0.0,
                0.05,
                "transients of 8000 steps",
            ),
            Check(
                "corollary",
                "largest α*/α₀ (Cor B.2) over random tables, α* over all subsets",
                "upper bound",
                grid(n=(2, 3, 8)),
                constant(1.0),
                1e-12,
                "rounding; attained at n = 2",
            ),
            Check(
                "mixture",
                "largest η²·α* (Thm 4.3) over random pairwise data, α* over all subsets",
                "upper bound",
                grid(n=(3, 8)),
                constant(1.0),
                1e-12,
                "rounding",
            ),
        ),
    ),
    Claim(
        "P8",
        "With η of μ on the empirical law, 1 − η on H and α = 1/η², PRO is DPO on the labelled responses plus a "
        "proximal term that ties them to H.",
        "arXiv 2505.23316, Thm 4.3",
        "equality",
        "proximal",
        (
            Check(
                "loss",
                "largest difference of the two losses over random policies and data",
                "equality",
                grid(share=(0.5, 0.8, 0.95)),
                constant(0.0),
                1e-13,
                ROUNDING,
            ),
            Check(
                "policy",
                "probability of a response after minimising DPO plus the proximal term, η = 0.8",
                "equality",
                grid(kind=("pairs",), response=(*LABELLED, "H"), alpha=1.5625, kl_beta=(0.1, 1.0)),
                predict.labelled_probability,
                1e-9,
                POLISHED,
            ),
        ),
    ),
    Claim(
        "P9",
        "One pair and H, η = 2/3: r(y_w) and r(y_l) end at ± t from r(H), σ(2t) + σ(t) = 1 + 9/(8α).",
        "arXiv 2505.23316, Section 4",
        "equality",
        "proximal",
        (
            Check(
                "gap",
                "r(y) − r(H) of the winner (0) and the loser (1) after training PRO-P",
                "equality",
                grid(response=(0, 1), alpha=(1.2, 2.25, 10.0), kl_beta=(0.1, 1.0)),
                predict.pair_gap,
                1e-10,
                POLISHED,
            ),
        ),
    ),
    Claim(
        "P10",
        "One response of score s and H: r(y) − r(H) = logit(½ + s/α), for α > 2·abs(s); the form printed in the "
        "paper gives logit(½ + s(1 − π(y))/α).",
        "arXiv 2505.23316, Section 4; correction ours",
        "equality",
        "proximal",
        (
            Check(
                "gap",
                "r(y) − r(H) after training PRO-B",
                "equality",
                grid(score=(0.5, -0.5), alpha=(1.2, 2.5, 10.0)),
                lambda score, alpha, **_: closed_forms.binary_log_ratio(score, alpha),
                1e-10,
                POLISHED,
            ),
            Check(
                "printed",
                "r(y) − r(H) after training the printed form",
                "equality",
                grid(
                    score=(0.5, -0.5),
                    alpha=SHORTCUT[0],
                    kl_beta=SHORTCUT[1],
                    reference=(1e-6, 1e-3, 0.1, 0.3, 0.6, 0.99),
                ),
                lambda score, alpha, kl_beta, reference, **_: closed_forms.paper_binary_gap(
                    score, alpha, kl_beta, reference
                ),
                1e-10,
                POLISHED,
            ),
            Check(
                "zero_hyper",
                "r(y) − r(H) after training with r(H) = 0 in place of r(H)",
                "equality",
                (
                    *grid(score=(0.5,), alpha=SHORTCUT[0], kl_beta=SHORTCUT[1], reference=(1e-6, 1e-5, 1e-4)),
                    *grid(score=(-0.5,), alpha=SHORTCUT[0], kl_beta=SHORTCUT[1], reference=(1e-6, 0.3, 0.6)),
                ),
                lambda score, alpha, kl_beta, reference, **_: closed_forms.zero_hyper_binary_gap(
                    score, alpha, kl_beta, reference
                ),
                1e-10,
                POLISHED,
            ),
        ),
    ),
    Claim(
        "P11",
        "N scored responses and H: PRO-S is eDPO with uniform μ on them and 2(N+1)/N times its α, one convex program.",
        "arXiv 2505.23316, Section 4",
        "equality",
        "proximal",
        (
            Check(
                "gap",
                "r(y) − r(H) after training PRO-S on the first n of four scores",
                "equality",
                tuple(setting for n in (1, 2, 4) for setting in grid(n=n, response=tuple(range(n)), alpha=(2.5,))),
                predict.scalar_gap,
                1e-10,
                POLISHED,
            ),
        ),
    ),
    Claim(
        "P12",
        "PRO predicts the absolute log-likelihood of chosen and rejected responses and of the unlabelled mass, "
        "whatever the start, the features and the batches.",
        "arXiv 2505.23316, Section 4; paths ours",
        "equality",
        "proximal",
        (
            Check(
                "level",
                "log-ratio of a response after training from a random start",
                "equality",
                grid(kind=("pairs", "binary", "scalar"), response=(*LABELLED, "H"), alpha=ALPHA, kl_beta=(0.1, 1.0)),
                predict.labelled_level,
                1e-8,
                POLISHED,
            ),
            Check(
                "minibatch",
                "log-ratio of the best (0) and the worst (2 or 3) response after minibatch training",
                "equality",
                tuple(
                    {"kind": kind, "response": response, "alpha": ALPHA, "kl_beta": 1.0}
                    for kind, worst in (("pairs", 2), ("binary", 3), ("scalar", 3))
                    for response in (0, worst)
                ),
                predict.labelled_level,
                0.02,
                "noise of the last steps; levels are of order 1 nat",
            ),
            Check(
                "every_loss",
                "r(0) − r(loser or H) after minibatch training on repeated observations",
                "equality",
                grid(method=("dpo", "pro_pairwise", "pro_binary", "pro_scalar"), kl_beta=1.0),
                predict.minibatch_gap,
                0.02,
                "noise of the last steps; gaps are of order 0.3 to 1",
            ),
            Check(
                "path",
                "log-ratio of chosen (0), rejected (1) and third (2) response along PRO-P, coupled features",
                "equality",
                grid(response=(0, 1, 2), step=STEPS),
                predict.path("pro"),
                1e-8,
                "rounding of 3000 steps",
            ),
        ),
    ),
    Claim(
        "P13",
        "Imbalance 1:n with centred binary labels raises the threshold on α to 2n/(n+1), which kl_beta cannot "
        "undo; equal α·kl_beta gives log-ratios within 10 % on balanced labels.",
        "arXiv 2505.23316, Section 4 and experiments",
        "equality",
        "proximal",
        (
            Check(
                "threshold",
                "α at which the loss stops to fall far out, by bisection",
                "equality",
                grid(negatives=(1, 3, 10, 30, 100), kl_beta=(3e-4, 0.1)),
                predict.imbalanced_threshold,
                1e-9,
                "bisection",
            ),
            Check(
                "log_ratio",
                "log-ratio of a positive response minus that of H after training PRO-B, nats",
                "equality",
                tuple(
                    {"negatives": negatives, "alpha": alpha, "kl_beta": kl_beta}
                    for negatives in (1, 100)
                    for alpha, kl_beta in TRIPLES
                ),
                predict.positive_log_ratio,
                1e-9,
                POLISHED,
                relative=True,
            ),
            Check(
                "spread",
                "(max − min)/mean of those over the paper's triples of α and kl_beta",
                "equality",
                grid(negatives=(1, 100)),
                predict.triples_spread,
                1e-9,
                POLISHED,
            ),
            Check(
                "within",
                "the same spread on balanced labels",
                "upper bound",
                grid(negatives=(1,)),
                constant(0.1),
                0.0,
                "the triples as the paper rounds them",
            ),
            Check(
                "balance",
                "curvature of the regulariser over slope of the linear term in log-likelihood, at the reference",
                "equality",
                tuple({"alpha": alpha, "kl_beta": kl_beta} for alpha, kl_beta in TRIPLES),
                lambda alpha, kl_beta, **_: alpha * kl_beta / 2.0,
                1e-6,
                "central differences",
                relative=True,
            ),
        ),
    ),
)
