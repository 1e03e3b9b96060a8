"""Claims A1–A7: Aligner as a correction channel, its use upstream (A6) and by many users (A7).

Predictions are in `theory.correction.predictions`.
"""

from __future__ import annotations

from functools import partial

from theory.claim import Claim, at_most, equal, greater, grid, of_topic, rate
from theory.correction import predictions as predict
from theory.correction.examples import ANSWERS, IDENTITY_LAWS, MODELS, PAIRS, POPULATIONS, ROUNDS, UPSTREAM
from theory.correction.users import HABITS, normalised_dictator_factor

EDIT_RATES = (0.1, 0.02, 0.3, 0.5, 0.75)
ROUND_NUMBERS = (2, 1, 4, 8, 16)
SIDES = ("composed", "correction", "slack", "independent", "naive_gap", "jensen_gap")
TIMES = (5.0, 0.0, 1.0, 2.0, 10.0, 20.0, 50.0, 200.0)
COSTS = ("distortion", "harm")

SAMPLED = "sampled answers; 4·10⁸ training pairs or more leave less than a tenth of it"
ANSWERED = "sampled answers"
USERS = "sampled users and answers"
EXACT = "tables in float64"
TRAINED = "where quasi-Newton descent and a root of its gradient stop"
LIMIT = "terms of order ε = 1e-7"

claim = of_topic("correction")

CORRECTION_CLAIMS: tuple[Claim, ...] = (
    claim(
        "A1", "Loss floors: entropies", ("Aligner", "SFT", "entropy", "mutual information"),
        "The loss floor of the Aligner is H(C|X,O), that of SFT on the same corrections H(C|X); correcting is "
        "easier by I(C;O|X).", "@ji2024; floors ours", "equality",
        equal("aligner", "held-out loss of a trained tabular corrector, nats", partial(predict.floor, "aligner"),
              at=grid(edit_rate=EDIT_RATES), within=2e-4, because=SAMPLED),
        equal("sft", "held-out loss of a tabular policy trained on the same corrections, nats",
              partial(predict.floor, "sft"), at=grid(edit_rate=EDIT_RATES), within=2e-4, because=SAMPLED),
        equal("difference", "difference of the two held-out losses, nats", partial(predict.floor, "gain"),
              at=grid(edit_rate=EDIT_RATES), within=2e-4, because=SAMPLED),
    ),
    claim(
        "A2", "The Aligner's objective as a bound", ("Aligner", "Jensen", "upper bound", "mutual information"),
        "−E log(πK)(C) ≤ −E log K(C|O) − E log π(O), with slack H(O|C) at the optimum; without the last term it "
        "is Jensen's inequality, needs O independent of C, and on paired data fails by I(C;O).",
        "@ji2024 (the objective); slack, failure and repair ours", "equality",
        at_most("bound", "largest excess of −E log(πK)(C) over the bound, nats, adversarial search", 0.0,
                at=grid(n_answers=(2, 3, 6)), within=1e-12, because=EXACT),
        equal("sides", "a side of the bound, or a difference of two, from sampled triples, nats", predict.side,
              at=grid(model=tuple(MODELS), side=SIDES), within=2e-4, because=SAMPLED),
        equal("least_slack", "least slack over models, found by descent on their logits, nats", predict.least_slack,
              at=grid(start=("exact", "random")), measured=("start",), within=1e-6,
              because="where descent stops: gradients of 1e-9"),
        equal("counterexample", "a side for π = (½, ½) and K = I, from sampled pairs, nats", predict.counterexample,
              at=grid(side=("composed", "correction", "slack")), within=1e-12,
              because="every sample has the same value"),
    ),
    claim(
        "A3", "One corrector, a gain on each model", ("Aligner", "utility", "transfer", "linear gain"),
        "The stacked model answers by π K; its gain in utility is linear in the upstream policy, so one "
        "corrector has a predictable gain on each, and what training leaves above its floor bounds the error.",
        "@ji2024 (the stack); bound ours", "equality",
        equal("law", "share of an answer among those of the stacked model, trained corrector", predict.stacked_share,
              at=grid(upstream=("raw", "expert"), answer=tuple(range(len(ANSWERS)))), within=1e-4, because=SAMPLED),
        equal("gain", "gain in mean utility of a trained corrector on an upstream policy it was not trained on",
              predict.gain, at=grid(upstream=tuple(UPSTREAM)), within=1e-4, because=SAMPLED),
        equal("linear", "gain on a mixture of two upstream policies minus the mixture of the gains", 0.0,
              at=grid(first="raw", second=("expert", "verbose"), share=(0.25, 0.6)), within=1e-4, because=SAMPLED),
        at_most("transfer", "largest error of a predicted gain ÷ its bound, over wrongly trained correctors", 1.0,
                at=grid(spread=(0.003, 0.1, 1.0)), within=1e-9, because=EXACT),
    ),
    claim(
        "A4", "Rounds of correction", ("Aligner", "rounds", "Markov chain", "eigenvalue"),
        "Rounds of a square kernel with one aperiodic recurrent class tend to its stationary law like |λ₂|^k; "
        "rounds help while the current law sits where K u > u, and a corrector that mixes all answers makes one worse.",
        "@ji2024 (the rounds); ours", "equality",
        equal("utility", "mean utility after k rounds, sampled answer by answer", predict.utility_after,
              at=grid(corrector=tuple(ROUNDS), k=ROUND_NUMBERS), within=1e-4, because=SAMPLED),
        equal("limit", "mean utility after 200 sampled rounds", predict.limit_utility,
              at=grid(corrector=tuple(ROUNDS)), within=1e-4,
              because="sampled answers; what 200 rounds leave is below 1e-20"),
        equal("rate", "log of the factor by which a round shrinks ‖K^k − limit‖, from 2²¹ rounds by squaring",
              predict.log_rate, at=grid(corrector=tuple(ROUNDS)), within=1e-5,
              because="constants and powers of k in front of |λ₂|^k, at k = 2²⁰"),
        greater("hurts", "utility after round 2 minus utility after a later round, overcorrecting corrector", 0.0,
                at=grid(k=(4, 12)), because=ANSWERED),
        at_most("someone_loses", "largest gain of the answer that gains least, over kernels that mix all answers", 0.0,
                at=grid(n_answers=(2, 3, 5)), within=1e-12, because=EXACT),
    ),
    claim(
        "A5", "Identity pairs and warm-up", ("Aligner", "warm-up", "copying", "identity pairs"),
        "Joint training with a share q of identity pairs gives (1−q) K + q I where both start from the same law, "
        "else weight q π_id/(q π_id + (1−q) π_qac) on copying; a warm-up is forgotten after a plateau, like 1/t where "
        "corrections never copy.", "@ji2024 (the recipe); formulas ours", "equality",
        equal("copied", "learnt probability of copying an answer, joint training", predict.copied, within=2e-4,
              at=grid(share=(0.2, 0.6), laws=tuple(IDENTITY_LAWS), answer=(0, 2, 4)), because=SAMPLED),
        equal("unchanged", "share of upstream answers that come back unchanged, jointly trained corrector",
              predict.unchanged, within=1e-4, because=SAMPLED,
              at=grid(share=(0.2, 0.0, 0.1, 0.5, 0.8), laws=tuple(IDENTITY_LAWS), upstream=("weak", "expert"))),
        equal("forgotten", "probability of copying after a warm-up and corrections alone for a time, gradient flow",
              predict.copying_left, at=grid(copy=(0.3, 0.0), time=TIMES), within=1e-7,
              because="tolerance of the integration"),
    ),
    claim(
        "A6", "Bootstrapped upstream models",
        ("bootstrap", "DPO", "DDRO", "RDRO", "PRO", "reversible corrector"),
        "Upstream models trained on corrected answers: SFT, DDRO from π and RDRO from p_α move by one round, k "
        "times by π K^k. DPO on c ≻ o from a reversible corrector goes to π^{1−1/β} times its stationary law to the "
        "1/β, has no optimum where corrections are never undone, and PRO has one.",
        "@ji2024 (the rounds); limits ours", "equality",
        equal("distilled", "mean utility after distilling corrected answers k times, 10⁸ answers a round",
              predict.utility_after, at=grid(corrector=("aligner", "overcorrect"), k=(2, 1, 4)), within=1e-4,
              because="mean over independent bootstraps, each unbiased"),
        equal("ddro", "total variation from π K of DDRO trained on the pairs, reference π", 0.0,
              at=grid(pairs=tuple(PAIRS)), within=1e-6, because=TRAINED),
        equal("rdro", "total variation from π K of RDRO trained on the pairs, reference p_α", 0.0,
              at=grid(pairs=tuple(PAIRS), alpha=(0.3, 0.5)), within=1e-6, because=TRAINED),
        equal("rdro_upstream", "probability of an answer under RDRO trained on the pairs, reference π",
              predict.rdro_policy, at=grid(pairs=("cyclic", "acyclic"), alpha=(0.3, 0.5), answer=(0, 1, 2)),
              within=1e-6, because=TRAINED),
        equal("changed_only", "probability of an answer under DDRO trained on the pairs that change, reference π",
              predict.changed_only, at=grid(pairs=("reversible", "cyclic"), answer=(0, 1, 2)), within=1e-6,
              because=TRAINED),
        equal("dpo", "probability of an answer under DPO trained on the pairs, reference π", predict.dpo_policy,
              at=grid(pairs=("reversible", "cyclic"), kl_beta=(1.0, 0.5, 2.0), answer=(0, 1, 2)), within=1e-6,
              because=TRAINED),
        equal("dpo_stationary", "total variation between DPO at kl_beta = 1 and 2⁷ rounds of its corrector", 0.0,
              at=grid(pairs="reversible"), within=1e-6, because=TRAINED),
        equal("dpo_copies", "total variation between DPO trained with and without a share of unchanged pairs", 0.0,
              at=grid(pairs=("reversible", "cyclic"), share=(0.3, 0.8)), within=1e-6, because=TRAINED),
        rate("dpo_repeated", "slope over rounds of the log range of log(π/stationary law), DPO repeated",
             predict.repeated_dpo, at=grid(kl_beta=(0.75, 1.5, 0.4)), within=1e-4, because=TRAINED),
        rate("dpo_acyclic", "slope in log t of DPO's margin between an answer and what it is always corrected into",
             1.0, at=grid(kl_beta=(1.0, 0.5)), within=0.01,
             because="lower-order terms of r + e^r = 2·kl_beta²·t at t up to 10⁶"),
        equal("pro", "probability of an answer under PRO trained on the pairs, reference π", predict.pro_policy,
              at=grid(pairs=("acyclic", "cyclic"), kl_beta=(1.0, 0.5), answer=(0, 1, 2)), within=1e-6,
              because=TRAINED),
    ),
    claim(
        "A7", "Users who correct", ("users", "random dictator", "distortion", "median"),
        "Users who correct to their favourite make π K their random dictator, distortion at most 1/c, c the "
        "least share of a type in the corrections; one step along their ranking does less harm to π "
        "(π_A/((π_A+π₁) c) for (1−π₁)/c) and has worse distortion, 1/((π₁+π₂) c); on a line repeated small edits "
        "settle around the median favourite.", "@ji2024 (the corrector); ours", "equality",
        equal("favourite", "distortion of the stacked model, every user correcting to a favourite",
              predict.favourite_distortion, at=grid(population=tuple(POPULATIONS), upstream=("uniform", "best")),
              measured=("upstream",), relative=1e-4, because=USERS),
        equal("step", "distortion of the stacked model, every user correcting one step", predict.step_distortion,
              at=grid(population=tuple(POPULATIONS), upstream=("uniform", "best")), relative=1e-4, because=USERS),
        equal("who", "distortion by the share of corrections that the minority with high stakes makes",
              predict.who_corrects, at=grid(habit=HABITS, minority=(0.1, 0.02, 0.05, 0.2, 0.5, 0.9)), relative=2e-4,
              because=USERS),
        at_most("bound", "largest cost ÷ its supremum, adversarial search over users, correctors, upstream policies",
                1.0, at=grid(habit=HABITS, cost=COSTS), within=1e-9, because=EXACT),
        equal("attained", "cost on the instance of its supremum", predict.worst, at=grid(habit=HABITS, cost=COSTS),
              relative=1e-5, because=LIMIT),
        greater("milder", "worst harm of favourites minus that of one step, same correctors and upstream policy", 0.0,
                at=grid(n_answers=(3, 4, 6)), because=EXACT),
        greater("not_safer", "worst distortion of one step minus that of favourites, same correctors and policy", 0.0,
                at=grid(n_answers=(3, 4, 6)), because=EXACT),
        at_most("normalised_bound", "largest distortion of favourites where everyone's favourite is worth 1, search",
                normalised_dictator_factor, at=grid(n_answers=(2, 3, 5)), within=1e-9, because=EXACT),
        equal("normalised", "distortion of favourites that are worth 1, the best answer a close second",
              normalised_dictator_factor, at=grid(n_answers=(2, 3, 5)), relative=1e-5, because=LIMIT),
        equal("edits_settle", "distortion after many sampled rounds of small edits towards users' favourites on a line",
              predict.edits_settle, at=grid(favourites=("uniform", "skewed"), n_answers=(9, 5, 17)), relative=1e-4,
              because=USERS),
        equal("edits", "distortion after k sampled rounds of small edits, all answers at one end before",
              predict.edits_after, at=grid(n_answers=9, k=(0, 2, 4, 8, 16, 32)), relative=1e-4, because=USERS),
        greater("edits_beat_favourites", "distortion of favourites minus that of settled edits on a line", 0.0,
                at=grid(n_answers=(5, 9, 17)), because=USERS),
    ),
)  # fmt: skip
