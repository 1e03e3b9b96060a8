"""Claims P1–P5: the decomposition of DPO, what it makes optimal, and what samples of it leave open.

Predictions are in `theory/proximal_predictions.py`. Paper: Guo, Li, Chen (arXiv 2505.23316). `response` counts from 0.
"""

from __future__ import annotations

from theory.claim import Check, Claim, grid
from theory.proximal import predictions as predict
from theory.proximal.examples import COMPARISONS
from theory.proximal.predictions import LABELLED, STEPS, constant

POLISHED = "Newton steps on the trained logits leave rounding only"

DECOMPOSITION_CLAIMS: tuple[Claim, ...] = (
    Claim(
        "P1",
        "Population DPO is twice eDPO plus log 2, with the population's law and scores and α = 1: same optimum, "
        "gradients 2:1.",
        "arXiv 2505.23316, Thm 3.1",
        "equality",
        "proximal",
        (
            Check(
                "policy",
                "probability of a response after minimising the population DPO loss by descent",
                "equality",
                grid(response=LABELLED, kl_beta=(0.1, 1.0)),
                predict.population_policy,
                1e-9,
                POLISHED,
            ),
            Check(
                "gradient",
                "regression slope of directional derivatives of the DPO loss on those of eDPO, random policies",
                "equality",
                grid(kl_beta=(0.1, 1.0)),
                constant(2.0),
                1e-6,
                "central differences at step 1e-4",
            ),
            Check(
                "loss",
                "mean DPO loss of the uniform policy over sampled comparisons",
                "equality",
                grid(kl_beta=(0.1, 1.0)),
                predict.population_loss,
                2e-3,
                "Monte Carlo",
            ),
        ),
    ),
    Claim(
        "P2",
        "Scores have mean zero under the empirical law, for every kind of feedback.",
        "arXiv 2505.23316, Section 3",
        "equality",
        "proximal",
        (
            Check(
                "mean",
                "largest mean score in absolute value over random data sets",
                "equality",
                grid(feedback=("pairs", "binary", "scalar")),
                constant(0.0),
                1e-14,
                "rounding of sums of up to 100 terms",
            ),
        ),
    ),
    Claim(
        "P3",
        "At the optimum, and only there, the mean of σ(r(y) − r(y′)) − ½ over y′ drawn from μ equals "
        "w(y)/(α μ(y)) for every y, w the empirical law times the score.",
        "arXiv 2505.23316, Thm 3.2",
        "equality",
        "proximal",
        (
            Check(
                "residual",
                "largest violation of the condition at policies trained on random tables, α = factor times α*",
                "equality",
                grid(factor=(1.05, 1.5, 5.0)),
                constant(0.0),
                1e-10,
                POLISHED,
            ),
        ),
    ),
    Claim(
        "P4",
        "The optimum multiplies all unscored responses by one constant C, positively scored ones by more, negatively "
        "scored ones by less.",
        "arXiv 2505.23316, Cor 3.3",
        "equality",
        "proximal",
        (
            Check(
                "one_constant",
                "largest difference of log-ratios between unscored responses, trained policies",
                "equality",
                grid(kl_beta=(0.1, 1.0)),
                constant(0.0),
                1e-8,
                POLISHED,
            ),
            Check(
                "order",
                "smallest sign(score)·(log-ratio − log C) over scored responses, trained policies",
                "ordering",
                grid(kl_beta=(0.1, 1.0)),
                constant(0.0),
                0.0,
                "scores of 0.02 and more in absolute value",
            ),
        ),
    ),
    Claim(
        "P5",
        "Sample DPO is underdetermined: its loss does not change when all labelled likelihoods fall together, where it "
        "ends depends on the start and the features, and on separable data it has no optimum.",
        "arXiv 2505.23316, Section 3.2; paths ours",
        "equality",
        "proximal",
        (
            Check(
                "flat",
                "largest change of the DPO loss when all labelled log-likelihoods fall by `drop` nats",
                "equality",
                grid(drop=(1.0, 10.0, 100.0)),
                constant(0.0),
                1e-12,
                "rounding of log-ratios of 100 nats",
            ),
            Check(
                "directions",
                "dimension of the space of rewards that the DPO loss cannot tell apart, beyond the common shift",
                "equality",
                grid(data=tuple(COMPARISONS)),
                predict.flat_dimension,
                0.0,
                "an integer",
            ),
            Check(
                "start",
                "mass of the compared pair after DPO was minimised from a policy that gave it `start`",
                "equality",
                grid(start=(0.1, 0.5, 0.9), kl_beta=(0.5, 1.0)),
                predict.mass_after_dpo,
                1e-6,
                "tolerance of the descent",
            ),
            Check(
                "growth",
                "slope of the pair's margin r(y_w) − r(y_l) in log(steps), separable data, 10³ to 10⁵ steps",
                "rate",
                grid(kl_beta=(0.5, 1.0)),
                constant(1.0),
                0.02,
                "margin = log(steps) + const + O(log(steps)/steps)",
            ),
            Check(
                "path",
                "log-ratio of chosen (0), rejected (1) and third (2) response along DPO, coupled features",
                "equality",
                grid(response=(0, 1, 2), step=STEPS),
                predict.path("dpo"),
                1e-8,
                "rounding of 3000 steps",
            ),
        ),
    ),
)
