"""Claims A6 and A7: upstream models trained on corrections, and corrections by heterogeneous users.

Paper: [7] Ji et al. (arXiv 2402.02416). Predictions are in theory/correction_predictions.py.
"""

from __future__ import annotations

from theory.claim import Check, Claim, grid
from theory.correction import predictions as predict
from theory.correction.examples import PAIRS, POPULATIONS

HABITS = ("favourite", "step")
TRAINED = "where quasi-Newton descent and a root of its gradient stop"
SAMPLED = "sampled users and answers"
LIMIT = "terms of order ε = 1e-7"

BOOTSTRAP = Claim(
    "A6",
    "Upstream models trained on corrected answers: SFT, DDRO from π and RDRO from p_α move by one round, k times by "
    "π K^k. DPO on c ≻ o from a reversible corrector goes to π^{1−1/β} times its stationary law to the 1/β, has no "
    "optimum where corrections are never undone, and PRO has one.",
    "[7] for the rounds; limits ours",
    "equality",
    "correction",
    (
        Check(
            "distilled",
            "mean utility of an upstream model distilled from its corrected answers k times, 10⁸ answers a round",
            "equality",
            grid(corrector=("aligner", "overcorrect"), k=(2, 1, 4)),
            predict.utility_after,
            1e-4,
            "mean over independent bootstraps, each unbiased",
        ),
        Check(
            "ddro",
            "total variation from π K of DDRO trained on the pairs, reference π",
            "equality",
            grid(pairs=tuple(PAIRS)),
            predict.constant(0.0),
            1e-6,
            TRAINED,
        ),
        Check(
            "rdro",
            "total variation from π K of RDRO trained on the pairs, reference p_α",
            "equality",
            grid(pairs=tuple(PAIRS), alpha=(0.3, 0.5)),
            predict.constant(0.0),
            1e-6,
            TRAINED,
        ),
        Check(
            "rdro_upstream",
            "probability of an answer under RDRO trained on the pairs, reference π",
            "equality",
            grid(pairs=("cyclic", "acyclic"), alpha=(0.3, 0.5), answer=(0, 1, 2)),
            predict.rdro_policy,
            1e-6,
            TRAINED,
        ),
        Check(
            "changed_only",
            "probability of an answer under DDRO trained on the pairs that change, reference π",
            "equality",
            grid(pairs=("reversible", "cyclic"), answer=(0, 1, 2)),
            predict.changed_only,
            1e-6,
            TRAINED,
        ),
        Check(
            "dpo",
            "probability of an answer under DPO trained on the pairs, reference π",
            "equality",
            grid(pairs=("reversible", "cyclic"), kl_beta=(1.0, 0.5, 2.0), answer=(0, 1, 2)),
            predict.dpo_policy,
            1e-6,
            TRAINED,
        ),
        Check(
            "dpo_stationary",
            "total variation between DPO at kl_beta = 1 and 2⁷ rounds of the corrector it was trained on",
            "equality",
            grid(pairs=("reversible",)),
            predict.constant(0.0),
            1e-6,
            TRAINED,
        ),
        Check(
            "dpo_copies",
            "total variation between DPO trained with and without a share of unchanged pairs",
            "equality",
            grid(pairs=("reversible", "cyclic"), share=(0.3, 0.8)),
            predict.constant(0.0),
            1e-6,
            TRAINED,
        ),
        Check(
            "dpo_repeated",
            "slope over rounds of the log range of log(π/stationary law), DPO repeated with renewed references",
            "rate",
            grid(kl_beta=(0.75, 1.5, 0.4)),
            predict.repeated_dpo,
            1e-4,
            TRAINED,
        ),
        Check(
            "dpo_acyclic",
            "slope in log t of DPO's margin between an answer and what it is always corrected into",
            "rate",
            grid(kl_beta=(1.0, 0.5)),
            predict.constant(1.0),
            0.01,
            "lower-order terms of r + e^r = 2·kl_beta²·t at t up to 10⁶",
        ),
        Check(
            "pro",
            "probability of an answer under PRO trained on the pairs, reference π",
            "equality",
            grid(pairs=("acyclic", "cyclic"), kl_beta=(1.0, 0.5), answer=(0, 1, 2)),
            predict.pro_policy,
            1e-6,
            TRAINED,
        ),
    ),
)

USERS = Claim(
    "A7",
    "Users who correct to their favourite make π K their random dictator, distortion at most 1/c, c the least share of "
    "a type in the corrections; one step along their ranking does less harm to π (π_A/((π_A+π₁) c) for (1−π₁)/c) and "
    "has worse distortion, 1/((π₁+π₂) c); on a line repeated small edits settle around the median favourite.",
    "ours",
    "equality",
    "correction",
    (
        Check(
            "favourite",
            "distortion of the stacked model, every user correcting to a favourite",
            "equality",
            grid(population=tuple(POPULATIONS), upstream=("uniform", "best")),
            predict.favourite_distortion,
            1e-4,
            SAMPLED,
            relative=True,
        ),
        Check(
            "step",
            "distortion of the stacked model, every user correcting one step",
            "equality",
            grid(population=tuple(POPULATIONS), upstream=("uniform", "best")),
            predict.step_distortion,
            1e-4,
            SAMPLED,
            relative=True,
        ),
        Check(
            "who",
            "distortion of the stacked model by the share of corrections that the minority with high stakes makes",
            "equality",
            grid(habit=HABITS, minority=(0.1, 0.02, 0.05, 0.2, 0.5, 0.9)),
            predict.who_corrects,
            2e-4,
            SAMPLED,
            relative=True,
        ),
        Check(
            "bound",
            "largest cost ÷ its supremum, adversarial search over populations, correctors and upstream policies",
            "upper bound",
            grid(habit=HABITS, cost=("distortion", "harm")),
            predict.constant(1.0),
            1e-9,
            "tables in float64",
        ),
        Check(
            "attained",
            "cost on the instance of its supremum",
            "equality",
            grid(habit=HABITS, cost=("distortion", "harm")),
            predict.worst,
            1e-5,
            LIMIT,
            relative=True,
        ),
        Check(
            "milder",
            "worst harm found of favourites minus that of one step, same correctors and upstream policy",
            "ordering",
            grid(n_answers=(3, 4, 6)),
            predict.constant(0.0),
            0.0,
            "tables in float64",
        ),
        Check(
            "not_safer",
            "worst distortion found of one step minus that of favourites, same correctors and upstream policy",
            "ordering",
            grid(n_answers=(3, 4, 6)),
            predict.constant(0.0),
            0.0,
            "tables in float64",
        ),
        Check(
            "normalised_bound",
            "largest distortion of favourites where everyone's favourite is worth 1, adversarial search",
            "upper bound",
            grid(n_answers=(2, 3, 5)),
            predict.normalised,
            1e-9,
            "tables in float64",
        ),
        Check(
            "normalised",
            "distortion of favourites where they are worth 1 and the best answer is a close second",
            "equality",
            grid(n_answers=(2, 3, 5)),
            predict.normalised,
            1e-5,
            LIMIT,
            relative=True,
        ),
        Check(
            "edits_settle",
            "distortion after many sampled rounds of small edits towards users' favourites on a line",
            "equality",
            grid(favourites=("uniform", "skewed"), n_answers=(9, 5, 17)),
            predict.edits_settle,
            1e-4,
            SAMPLED,
            relative=True,
        ),
        Check(
            "edits",
            "distortion after k sampled rounds of small edits, all answers at one end before",
            "equality",
            grid(n_answers=(9,), k=(0, 2, 4, 8, 16, 32)),
            predict.edits_after,
            1e-4,
            SAMPLED,
            relative=True,
        ),
        Check(
            "edits_beat_favourites",
            "distortion of favourites minus that of settled edits on a line, both sampled",
            "ordering",
            grid(n_answers=(5, 9, 17)),
            predict.constant(0.0),
            0.0,
            SAMPLED,
        ),
    ),
)

USE_CLAIMS: tuple[Claim, ...] = (BOOTSTRAP, USERS)
