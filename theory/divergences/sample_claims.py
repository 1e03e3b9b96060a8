"""Claims V9–V12: divergences estimated from samples and minibatches, kinds of data, separation, and a warning.

Predictions are in theory/divergences_predictions.py. Paper: Haldar, Wang, Song, Lin, Xing (arXiv 2502.00657).
"""

from __future__ import annotations

import math

from theory.claim import Check, Claim, grid
from theory.divergences import predictions as predict
from theory.divergences import separation as divergences_metrics
from theory.divergences.normaliser import REGIMES

#: One loss for each divergence, for the checks on samples.
SAMPLED = ("kldo", "dpo", "kto", "bco", "hellinger", "reverse_kl", "pearson", "neyman")
SOLVED = "solved to rounding: one bounded search per outcome"

SAMPLE_CLAIMS: tuple[Claim, ...] = (
    Claim(
        "V9",
        "On samples: errors of divergence estimates fall like n^(−½), with known bias and coverage; KLDO's minibatch "
        "log-mean-exp is biased low by Var(exp r)/(2B (E exp r)²), and has no minimum unless B > max log(1−D⁺(S))/"
        "log(1−D⁻(S)).",
        "arXiv 2502.00657 for the estimators, arXiv 1801.04062 for the moving average; the rest ours",
        "equality",
        "divergences",
        (
            Check(
                "estimate",
                "divergence estimated by minimising the loss on 200 000 draws of each class (dpo: pairs), mean",
                "equality",
                grid(name=SAMPLED, separation=(0.25, 0.75, 1.5, 2.5)),
                predict.exact_divergence,
                0.01,
                "bias of order A/2n against divergences of 0.01 and more, and Monte Carlo",
                relative=True,
            ),
            Check(
                "bias",
                "mean of the minimum on n draws of each class, minus the minimum; n times it",
                "equality",
                grid(name=predict.SMOOTH, n=(1000, 4000)),
                lambda name, n, **_: n * predict.sampling_bias(name, n),
                0.1,
                "terms of order 1/n in n·bias, and Monte Carlo",
                relative=True,
            ),
            Check(
                "held_out",
                "loss of the fitted r on fresh data, minus the minimum; n times it",
                "equality",
                grid(name=("kldo", "kl", "dpo", "bco", "hellinger"), n=(1000, 4000)),
                lambda name, n, **_: n * predict.held_out_excess(name, n),
                0.1,
                "terms of order 1/n in n·bias, and Monte Carlo",
                relative=True,
            ),
            Check(
                "stderr",
                "√n times the standard deviation of the minimum on n draws of each class",
                "equality",
                grid(name=SAMPLED, n=4000),
                lambda name, n, **_: math.sqrt(n) * predict.sampling_error(name, n),
                0.06,
                "Monte Carlo over samples",
                relative=True,
            ),
            Check(
                "coverage",
                "share of samples of 4000 per class whose 95 % interval covers the minimum",
                "equality",
                grid(name=SAMPLED),
                lambda **_: 0.95,
                0.015,
                "a share of independent samples; bias is 1 to 3 % of the interval",
            ),
            Check(
                "rate",
                "slope of log(root mean square error) in log n",
                "rate",
                grid(name=SAMPLED),
                lambda **_: -0.5,
                0.03,
                "Monte Carlo over samples, and bias of order 1/n",
            ),
            Check(
                "log_mean_exp",
                "B times the bias of the log-mean-exp of B rewards",
                "equality",
                grid(batch=(32, 128, 512)),
                lambda batch, **_: batch * predict.mean_exp_bias(batch),
                0.05,
                "the next term, of relative order 1/B, and Monte Carlo",
                relative=True,
            ),
            Check(
                "small_batches",
                "bias of the log-mean-exp of a few rewards",
                "equality",
                grid(batch=(1, 2, 4, 8, 16)),
                predict.exact_mean_exp_bias,
                0.01,
                "Monte Carlo",
                relative=True,
            ),
            Check(
                "leave_one_out",
                "B² times the bias of the leave-one-out log-mean-exp of B rewards",
                "equality",
                grid(batch=(32, 64, 128)),
                lambda batch, **_: batch**2 * predict.one_out_bias(batch),
                0.2,
                "the next term, of relative order 1/B, and Monte Carlo",
                relative=True,
            ),
            Check(
                "moving_average",
                "B times the bias of one response's weight in the minibatch gradient of log E₋[exp r]",
                "equality",
                grid(batch=256, rate=(1.0, 0.1), outcome=(0, 4)),
                lambda batch, rate, outcome, **_: batch * predict.weight_bias(batch, rate, outcome),
                0.004,
                "the next term, of order 1/B, and Monte Carlo",
            ),
            Check(
                "threshold",
                "smallest number of rejected responses per batch at which minibatch KLDO has a minimum, linear program",
                "equality",
                grid(separation=(0.25, 0.5, 1.0, 1.5)),
                predict.first_batch_size,
                0.0,
                "an integer",
            ),
            Check(
                "minibatch_optimum",
                "range of the rewards to which stochastic gradients with B rejected responses per batch lead",
                "equality",
                grid(batch=(4, 8, 32)),
                predict.minibatch_range,
                0.03,
                "noise of the averaged iterate",
            ),
            Check(
                "average_helps",
                "distance of that range from log R's, plain minus moving average (rate 0.1)",
                "ordering",
                grid(batch=(4, 8)),
                predict.zero,
                0.0,
                "noise of the averaged iterates",
            ),
        ),
    ),
)

DATA_CLAIMS: tuple[Claim, ...] = (
    Claim(
        "V10",
        "Compliance–refusal data separate more than preference data by Σ over safe x of P(x)[D_f(D⁺_x‖refusal) − "
        "D_f(D⁺_x‖weak)]: positive iff refusals are farther from good answers than weak answers are.",
        "ours; arXiv 2502.00657 as an inequality",
        "equality",
        "divergences",
        (
            Check(
                "gap",
                "difference of the least FDO losses on the joint tables of the two kinds of data",
                "equality",
                grid(generator=("kl", "jensen_shannon", "total_variation", "pearson"), overlap=(0.05, 0.5, 0.8)),
                predict.safety_gap,
                1e-8,
                SOLVED,
            ),
            Check(
                "sampled",
                "difference of the plug-in divergences of 10⁶ draws of either kind",
                "equality",
                grid(generator=("kl", "jensen_shannon", "total_variation"), overlap=(0.05, 0.5, 0.8)),
                predict.safety_gap,
                0.01,
                "Monte Carlo",
            ),
            Check(
                "disjoint",
                "difference of the divergences of 10⁶ draws when refusals never answer (overlap 0)",
                "equality",
                grid(generator=("kl", "jensen_shannon", "total_variation"), overlap=0.0),
                predict.safety_gap,
                0.01,
                "Monte Carlo; KL is infinite",
            ),
            Check(
                "cr_above",
                "plug-in divergence of compliance–refusal data minus that of preference data",
                "ordering",
                grid(generator=("jensen_shannon", "total_variation"), overlap=(0.0, 0.05, 0.5)),
                predict.zero,
                0.0,
                "Monte Carlo",
            ),
        ),
    ),
    Claim(
        "V11",
        "Separation metric: the Bhattacharyya distance of Gaussians fitted to two classes of representations is the "
        "true one plus a bias of order d²/n; PCA loses a class axis of small variance; growth under alignment is for "
        "the language model to show.",
        "arXiv 2502.00657, for the metric; bias, PCA limit and silhouette ours",
        "equality",
        "divergences",
        (
            Check(
                "bhattacharyya",
                "mean plug-in distance of n points per class, spherical Gaussians; n times its excess over δ²/8",
                "equality",
                grid(separation=(0.0, 1.0, 3.0), dimension=(2, 8), n=800),
                predict.excess_distance,
                0.05,
                "terms of relative order d/n, and Monte Carlo",
                relative=True,
            ),
            Check(
                "distance",
                "plug-in distance of 10⁶ points per class, Gaussians with different covariances",
                "equality",
                grid(separation=(0.0, 1.0, 3.0), dimension=(2, 8)),
                predict.known_distance,
                0.01,
                "Monte Carlo over points",
            ),
            Check(
                "after_pca",
                "distance after two principal axes, 20 000 points per class, by the variance of the class axis",
                "equality",
                grid(class_axis=(0.25, 1.0, 4.0)),
                predict.distance_after_pca,
                0.02,
                "Monte Carlo over points",
            ),
            Check(
                "silhouette",
                "silhouette of 1500 points per class, spherical Gaussians",
                "equality",
                grid(separation=(0.0, 1.0, 3.0), dimension=(1, 2, 8)),
                lambda separation, dimension, **_: divergences_metrics.expected_silhouette(separation, dimension),
                0.004,
                "Monte Carlo over points",
            ),
            Check(
                "shrinkage",
                "error of the plug-in distance minus its error with shrinkage 0.5, d = 40 and 60 points per class",
                "ordering",
                grid(separation=(1.0, 3.0)),
                predict.zero,
                0.0,
                "Monte Carlo over points",
            ),
            Check(
                "rank_interval",
                "share of 95 % intervals for Spearman's rank correlation that cover it, 20 bivariate normal pairs",
                "equality",
                grid(correlation=(0.0, 0.6)),
                lambda **_: 0.95,
                0.015,
                "a share of independent samples; the interval is approximate",
            ),
        ),
    ),
    Claim(
        "V12",
        "The public KLDO code multiplies its rejected term by min(A, U)/U, detached; where A < 0 < U this pushes the "
        "likelihood of rejected responses up.",
        "ours (a warning)",
        "equality",
        "divergences",
        (
            Check(
                "coefficient",
                "that factor at batches of 10⁵ responses, mean",
                "equality",
                grid(case=("healthy", "damped", "amplified", "flipped")),
                predict.regime_coefficient,
                0.02,
                "Monte Carlo over batches",
                relative=True,
            ),
            Check(
                "drift",
                "rate at which one small training step changes the mean log-likelihood of rejected responses",
                "equality",
                grid(case=tuple(REGIMES), loss=("normalised", "kldo")),
                predict.regime_drift,
                1e-5,
                "curvature over a step of 1e-6",
            ),
            Check(
                "pushed_up",
                "change of that log-likelihood over training steps with the factor, from A < 0 < U",
                "ordering",
                grid(case="flipped", steps=(1, 10, 100)),
                predict.zero,
                0.0,
                "a trained policy",
            ),
            Check(
                "kldo_down",
                "minus the same change under KLDO",
                "ordering",
                grid(case="flipped", steps=(1, 10, 100)),
                predict.zero,
                0.0,
                "a trained policy",
            ),
        ),
    ),
)
