"""What is compared across sizes of model: one flat table of quantities, grouped by the panel that shows them."""

from __future__ import annotations

from figures.sizes import Quantity, checks_named
from theory.language_model_generation_claims import SIZES
from theory.language_model_settings import SAFETY_LOSSES

#: Losses of V10 whose logits do not saturate; KTO's do, and its estimates are shown apart.
UNSATURATED = tuple(name for name in SAFETY_LOSSES if name not in ("dpo", "kto"))
GROUPS = SIZES[1:]

#: Small to large within a panel; panels in the order of the claims.
QUANTITIES: tuple[Quantity, ...] = (
    Quantity("mean_tv", "total variation to the optimum, mean over prompts", "mean over methods",
             "TV, mean over prompts", checks_named("mean_tv")),
    Quantity("mean_tv_largest", "the same, largest over methods", "largest",
             "TV, mean over prompts", checks_named("mean_tv"), over="largest"),
    Quantity("worst_tv", "total variation to the optimum at the worst prompt", "mean over methods",
             "TV, worst prompt", checks_named("worst_tv")),
    Quantity("worst_tv_largest", "the same, largest over methods", "largest",
             "TV, worst prompt", checks_named("worst_tv"), over="largest"),
    Quantity("sampled_tv", "total variation of training on samples, mean over prompts", "on samples",
             "TV, samples and minibatches", checks_named("sampled_tv")),
    Quantity("minibatch_tv", "total variation of training on minibatches, mean over prompts", "on minibatches",
             "TV, samples and minibatches", checks_named("minibatch_tv")),
    Quantity("levels", "PRO: relative error of log-likelihood levels (P12)", "levels",
             "PRO, errors", (("P12", "levels"),)),
    Quantity("gaps", "PRO: error of rewards over the hyper response, nats (P9–P11)", "gaps",
             "PRO, errors", (("P9", "trained"), ("P10", "trained"), ("P11", "trained"))),
    Quantity("imbalance", "PRO: relative error of the imbalanced log-ratio (P13)", "imbalanced",
             "PRO, errors", (("P13", "trained"),)),
    Quantity("held_out", "divergences read off held-out draws: error (V1, V3–V6)", "all but KTO",
             "divergences, errors", tuple((f"V{i}", "held_out") for i in (1, 3, 4, 5, 6))),
    Quantity("held_out_kto", "the same for KTO (V2)", "KTO", "divergences, errors", (("V2", "held_out"),)),
    Quantity("contrast", "CR minus preference divergence, KLDO and BCO: error (V10)", "KLDO, BCO",
             "CR − preference, errors", (("V10", "trained"),), where={"name": UNSATURATED}),
    Quantity("contrast_kto", "the same for KTO (V10)", "KTO",
             "CR − preference, errors", (("V10", "trained"),), where={"name": ("kto",)}),
    Quantity("growth_cr", "growth of the log Bhattacharyya distance, CR data (V11)", "growth, CR",
             "log Bhattacharyya distance", (("V11", "grows"),), "larger", where={"data": ("cr",)}),
    Quantity("growth_preference", "the same, preference data (V11)", "growth, preference",
             "log Bhattacharyya distance", (("V11", "grows"),), "larger", where={"data": ("preference",)}),
    Quantity("separation", "CR minus preference data: log Bhattacharyya distance (V11)", "CR − preference",
             "log Bhattacharyya distance", (("V11", "cr_separates_more"),), "larger"),
    Quantity("aligner", "Aligner: held-out loss over its floor, distance from one (A1)", "Aligner over floor",
             "Aligner, errors", (("A1", "llm_aligner"),)),
    Quantity("sft", "SFT: held-out loss over its floor, distance from one (A1)", "SFT over floor",
             "Aligner, errors", (("A1", "llm_sft"),)),
    Quantity("information", "difference of the two losses less I(C;O|X): error, nats (A1)", "I(C;O|X)",
             "Aligner, errors", (("A1", "llm_difference"),)),
    Quantity("best_reward", "Best-of-N: error of the mean reward, sd (B3)", "Best-of-N",
             "rewards, errors (sd)", (("B3", "llm_reward"),)),
    Quantity("rejection_reward", "Speculative Rejection: the same, from measured rows (B4)", "from rows",
             "rewards, errors (sd)", (("B4", "llm_reward"),)),
    Quantity("rejection_reward_law", "Speculative Rejection: the same, from v(t) alone (B4)", "from v(t)",
             "rewards, errors (sd)", (("B4", "llm_reward_law"),)),
    *(Quantity(f"speedup_{n}", f"speed-up in tokens over its prediction, N = {n} (B6)", f"N = {n}",
               "speed-up over prediction", (("B6", "llm_speedup_ratio"),), "one", where={"n": (n,)}) for n in GROUPS),
    *(Quantity(f"seconds_{n}", f"speed-up in seconds, N = {n} (B10)", f"N = {n}",
               "speed-up in seconds", (("B10", "wall_clock_speedup"),), "larger", where={"n": (n,)}) for n in GROUPS),
    Quantity("pretraining", "pretraining: held-out loss over the language's entropy, less one", "pretraining",
             "pretraining, excess", ()),
)  # fmt: skip
