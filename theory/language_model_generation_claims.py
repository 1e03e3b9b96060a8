"""What a trained language model that generates freely should show: checks of A1–A6 and B1–B9, and the claim B10.

The reward is a trained reward model's, in units of the standard deviation that it has on the model's own texts. What is
predicted starts from measured things: the law of rewards, the explained variance v(t) of partial scores, the edit
process's kernel. Settings: `n` responses, `k` rounds of correction, `upstream` a model that the Aligner never saw.
"""

from __future__ import annotations

from theory.claim import Check, Claim, Setting, grid
from theory.language_model_claims import TRAINED, at_most, zero
from theory.proximal.predictions import constant

SIZES = (4, 16, 64, 256)
UPSTREAMS = ("same law", "cold", "hot", "weak", "weak and hot", "corrected")
NOISE = "four standard errors of some thousand rows, pooled over seeds"


def ratio(name: str, quantity: str, resolution: float, because: str, settings: tuple[Setting, ...] = ({},)) -> Check:
    """A measured number over its prediction, which should be one."""
    return Check(name, quantity, "equality", settings, constant(1.0), resolution, because)


CORRECTION = {
    "A1": (
        ratio("llm_aligner", "held-out loss of the Aligner over its floor H(C|X,O)", 0.05, TRAINED),
        ratio("llm_sft", "held-out loss of SFT on the same corrections over its floor H(C|X)", 0.05, TRAINED),
        zero("llm_difference", "difference of the two losses minus I(C;O|X), nats", 0.05, TRAINED),
    ),
    "A2": (
        at_most("llm_excess", "−E log πK_φ minus its bound, nats, the worse prompt", 0.0),
        zero("llm_naive_gap", "the form without its last term on paired data: gap plus I(C;O|X), nats", 0.05, TRAINED),
    ),
    "A3": (
        at_most("llm_law", "total variation between the stacked law and πK", 0.08, grid(upstream=UPSTREAMS)),
        zero(
            "llm_gain",
            "gain of mean utility of sampled corrections, measured minus predicted",
            0.05,
            NOISE,
            grid(upstream=UPSTREAMS),
        ),
        at_most(
            "llm_transfer", "error of the gain over its bound from the training loss", 1.0, grid(upstream=UPSTREAMS)
        ),
    ),
    "A4": (
        zero(
            "llm_utility",
            "mean utility after k sampled rounds, measured minus predicted",
            0.05,
            NOISE,
            grid(k=(1, 2, 4)),
        ),
        zero(
            "llm_utility_measured",
            "the same, predicted from the trained kernel: does the stack follow the corrector that it has?",
            0.05,
            NOISE,
            grid(k=(1, 2, 4)),
        ),
        zero(
            "llm_rate",
            "second-largest eigenvalue modulus of the trained kernel minus that of the process",
            0.05,
            TRAINED,
        ),
        zero("llm_limit", "mean utility of the trained kernel's limit law minus that of the process's", 0.05, TRAINED),
    ),
    "A5": (
        zero(
            "llm_unchanged",
            "share of unchanged answers after joint training, measured minus predicted",
            0.05,
            TRAINED,
            grid(share=0.3),
        ),
        Check(
            "llm_warm_up",
            "share of unchanged answers after identity pairs alone",
            "lower bound",
            ({},),
            constant(0.9),
            0.0,
            TRAINED,
        ),
        zero(
            "llm_forgotten",
            "share of unchanged answers after corrections alone, minus that of the process",
            0.05,
            TRAINED,
        ),
    ),
    "A6": (
        at_most(
            "llm_pairs_limit",
            "total variation between the model trained on all pairs (c ≻ o) and the method's limit, the worse prompt",
            0.05,
            grid(method=("ddro", "rdro", "dpo")),
        ),
        at_most("llm_distilled_law", "total variation between the distilled model and πKᵏ", 0.15, grid(k=(1, 2))),
        zero(
            "llm_distilled_utility",
            "mean utility of the distilled model minus that of πKᵏ",
            0.05,
            TRAINED,
            grid(k=(1, 2)),
        ),
    ),
}

BEST_OF_N = {
    "B1": (zero("llm_win_rate", "win rate against one response, measured minus N/(N+1)", 0.02, NOISE, grid(n=SIZES)),),
    "B2": (
        zero(
            "llm_divergence",
            "KL(π_N‖π) from the levels of best rewards, minus log N − (N−1)/N, nats",
            0.1,
            NOISE,
            grid(n=(4, 16)),
        ),
    ),
    "B3": (
        zero(
            "llm_reward",
            "mean best reward, measured minus predicted from the measured law, standard deviations",
            0.1,
            NOISE,
            grid(n=SIZES),
        ),
    ),
    "B4": (
        zero(
            "llm_reward",
            "mean reward of Speculative Rejection, measured minus predicted from measured rows, standard deviations",
            0.1,
            NOISE,
            grid(n=SIZES),
        ),
        zero("llm_reward_law", "the same, predicted from v(t) and the reward law alone", 0.1, NOISE, grid(n=SIZES)),
    ),
    "B5": (
        zero(
            "llm_survival",
            "survival of the winner, measured minus predicted from measured rows",
            0.15,
            NOISE,
            grid(n=SIZES),
        ),
        zero("llm_survival_law", "the same, predicted from v(t) and the reward law alone", 0.15, NOISE, grid(n=SIZES)),
    ),
    "B6": (
        ratio("llm_tokens", "generated tokens over the predicted number", 1e-9, "a count", grid(n=SIZES)),
        ratio(
            "llm_speedup_ratio",
            "speed-up at equal reward, measured over predicted",
            0.2,
            "what Speculative Rejection's mean reward leaves in N*",
            grid(n=SIZES[1:]),
        ),
        ratio(
            "llm_early_stop_ratio",
            "generated tokens of rows that end by themselves over the predicted number",
            0.05,
            NOISE,
            grid(n=64),
        ),
    ),
    "B7": (
        ratio(
            "llm_peak",
            "peak of cached tokens under fixed decision times over the predicted one",
            1e-9,
            "a count",
            grid(n=64),
        ),
        at_most("llm_over_budget", "peak of cached tokens over the budget", 1.0, grid(n=64)),
    ),
    "B8": (
        zero(
            "llm_score",
            "improvement score against independent groups, measured minus predicted",
            8.0,
            NOISE,
            grid(reference=16),
        ),
    ),
    "B9": (
        zero("llm_alpha_zero", "tokens and rewards at α = 0 that differ from Best-of-N's", 0.0, "a count", grid(n=64)),
        zero("llm_same_rows", "share of rows whose text changes when others are rejected", 0.0, "a count", grid(n=64)),
        zero("llm_lost", "finished responses lost, or truncated ones returned", 0.0, "a count", grid(n=64)),
    ),
}

B10 = Claim(
    "B10",
    "On a language model with a trained reward model, Speculative Rejection reaches Best-of-N's reward in less time on "
    "the same engine.",
    "arXiv 2410.20290, Section 5",
    "lower bound",
    "best_of_n",
    (),
    (
        Check(
            "wall_clock_speedup",
            "seconds of Best-of-N at equal mean reward over seconds of Speculative Rejection",
            "lower bound",
            grid(n=SIZES[1:]),
            constant(1.0),
            0.0,
            "a ratio of seconds on one engine",
        ),
    ),
)

#: claim id → its checks on a model that generates freely.
GENERATION_CHECKS: dict[str, tuple[Check, ...]] = {**CORRECTION, **BEST_OF_N}
