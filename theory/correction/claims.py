"""Claims A1–A7: Aligner as a correction channel. Predictions are in theory/correction_predictions.py, A6 and A7 in
theory/correction_use_claims.py. Paper: [7] Ji et al. (arXiv 2402.02416).
"""

from __future__ import annotations

from theory.claim import Check, Claim, grid
from theory.correction import predictions as predict
from theory.correction.examples import ANSWERS, ROUNDS, UPSTREAM
from theory.correction.use_claims import USE_CLAIMS

__all__ = ["CORRECTION_CLAIMS"]

EDIT_RATES = (0.1, 0.02, 0.3, 0.5, 0.75)
ROUND_NUMBERS = (2, 1, 4, 8, 16)
SAMPLED = "sampled answers; 4·10⁸ training pairs or more leave less than a tenth of it"
EXACT = "tables in float64"

TRAINING_CLAIMS: tuple[Claim, ...] = (
    Claim(
        "A1",
        "The loss floor of the Aligner is H(C|X,O), that of SFT on the same corrections H(C|X); correcting is easier "
        "by I(C;O|X).",
        "[7]; floors ours",
        "equality",
        "correction",
        tuple(
            Check(name, quantity, "equality", grid(edit_rate=EDIT_RATES), predict.floor(kind), 2e-4, SAMPLED)
            for name, quantity, kind in (
                ("aligner", "held-out loss of a trained tabular corrector, nats", "aligner"),
                ("sft", "held-out loss of a tabular policy trained on the same corrections, nats", "sft"),
                ("difference", "difference of the two held-out losses, nats", "gain"),
            )
        ),
    ),
    Claim(
        "A2",
        "−E log(πK)(C) ≤ −E log K(C|O) − E log π(O), with slack H(O|C) at the optimum; without the last term it is "
        "Jensen's inequality, needs O independent of C, and on paired data fails by I(C;O).",
        "[7] for the objective; slack, failure and repair ours",
        "equality",
        "correction",
        (
            Check(
                "bound",
                "largest excess of −E log(πK)(C) over the bound, nats, adversarial search over tables and models",
                "upper bound",
                grid(n_answers=(2, 3, 6)),
                predict.constant(0.0),
                1e-12,
                EXACT,
            ),
            Check(
                "sides",
                "a side of the bound, or a difference of two, from sampled triples, nats",
                "equality",
                grid(
                    model=tuple(predict.MODELS),
                    side=("composed", "correction", "slack", "independent", "naive_gap", "jensen_gap"),
                ),
                predict.side,
                2e-4,
                SAMPLED,
            ),
            Check(
                "least_slack",
                "least slack over models, found by descent on their logits, nats",
                "equality",
                grid(start=("exact", "random")),
                predict.least_slack,
                1e-6,
                "where descent with numerical gradients stops",
            ),
            Check(
                "counterexample",
                "a side for π = (½, ½) and K = I, from sampled pairs, nats",
                "equality",
                grid(side=("composed", "correction", "slack")),
                predict.counterexample,
                1e-12,
                "every sample has the same value",
            ),
        ),
    ),
    Claim(
        "A3",
        "The stacked model answers by π K; its gain in utility is linear in the upstream policy, so one corrector has "
        "a predictable gain on each, and what training leaves above its floor bounds the error.",
        "[7] for the stack; bound ours",
        "equality",
        "correction",
        (
            Check(
                "law",
                "share of an answer among those of the stacked model, trained corrector",
                "equality",
                grid(upstream=("raw", "expert"), answer=tuple(range(len(ANSWERS)))),
                predict.stacked_share,
                1e-4,
                SAMPLED,
            ),
            Check(
                "gain",
                "gain in mean utility of a trained corrector on an upstream policy it was not trained on",
                "equality",
                grid(upstream=tuple(UPSTREAM)),
                predict.gain,
                1e-4,
                SAMPLED,
            ),
            Check(
                "linear",
                "gain on a mixture of two upstream policies minus the mixture of the gains, trained corrector",
                "equality",
                grid(first=("raw",), second=("expert", "verbose"), share=(0.25, 0.6)),
                predict.constant(0.0),
                1e-4,
                SAMPLED,
            ),
            Check(
                "transfer",
                "largest error of a predicted gain ÷ its bound, over wrongly trained correctors",
                "upper bound",
                grid(spread=(0.003, 0.1, 1.0)),
                predict.constant(1.0),
                1e-9,
                EXACT,
            ),
        ),
    ),
    Claim(
        "A4",
        "Rounds of a square kernel with one aperiodic recurrent class tend to its stationary law like |λ₂|^k; rounds "
        "help while the current law sits where K u > u, and a corrector that mixes all answers makes one worse.",
        "ours; Markov chains",
        "equality",
        "correction",
        (
            Check(
                "utility",
                "mean utility after k rounds, sampled answer by answer",
                "equality",
                grid(corrector=tuple(ROUNDS), k=ROUND_NUMBERS),
                predict.utility_after,
                1e-4,
                SAMPLED,
            ),
            Check(
                "limit",
                "mean utility after 200 sampled rounds",
                "equality",
                grid(corrector=tuple(ROUNDS)),
                predict.limit_utility,
                1e-4,
                "sampled answers; what 200 rounds leave is below 1e-20",
            ),
            Check(
                "rate",
                "log of the factor by which a round shrinks ‖K^k − limit‖, from 2²¹ rounds by repeated squaring",
                "equality",
                grid(corrector=tuple(ROUNDS)),
                predict.log_rate,
                1e-5,
                "constants and powers of k in front of |λ₂|^k, at k = 2²⁰",
            ),
            Check(
                "hurts",
                "utility after round 2 minus utility after a later round, overcorrecting corrector, sampled",
                "ordering",
                grid(k=(4, 12)),
                predict.constant(0.0),
                0.0,
                "sampled answers",
            ),
            Check(
                "someone_loses",
                "largest gain of the answer that gains least, over kernels that mix all answers, adversarial search",
                "upper bound",
                grid(n_answers=(2, 3, 5)),
                predict.constant(0.0),
                1e-12,
                EXACT,
            ),
        ),
    ),
    Claim(
        "A5",
        "Joint training with a share q of identity pairs gives (1−q) K + q I where both start from the same law, else "
        "weight q π_id/(q π_id + (1−q) π_qac) on copying; a warm-up is forgotten after a plateau, like 1/t where "
        "corrections never copy.",
        "[7] for the recipe; formulas ours",
        "equality",
        "correction",
        (
            Check(
                "copied",
                "learnt probability of copying an answer, joint training",
                "equality",
                grid(share=(0.2, 0.6), laws=tuple(predict.IDENTITY_LAWS), answer=(0, 2, 4)),
                predict.copied,
                2e-4,
                SAMPLED,
            ),
            Check(
                "unchanged",
                "share of upstream answers that come back unchanged, jointly trained corrector",
                "equality",
                grid(share=(0.2, 0.0, 0.1, 0.5, 0.8), laws=tuple(predict.IDENTITY_LAWS), upstream=("weak", "expert")),
                predict.unchanged,
                1e-4,
                SAMPLED,
            ),
            Check(
                "forgotten",
                "probability of copying after a warm-up and then corrections alone for a time, gradient flow",
                "equality",
                grid(copy=(0.3, 0.0), time=(5.0, 0.0, 1.0, 2.0, 10.0, 20.0, 50.0, 200.0)),
                predict.copying_left,
                1e-7,
                "tolerance of the integration",
            ),
        ),
    ),
)

CORRECTION_CLAIMS: tuple[Claim, ...] = (*TRAINING_CLAIMS, *USE_CLAIMS)
