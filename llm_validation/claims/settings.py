"""The settings at which a trained language model is compared with theory: constants shared by checks, runs and figures.

A training run has several prompts, each with constants of its own; the tuples here list them prompt by prompt.
Temperatures are chosen so that predicted log-ratios stay below some 12 nats, where float32 still tells them apart.
"""

from __future__ import annotations

#: P9, P12: (alpha, kl_beta) of one labelled pair and H.
PAIR_RUNS = ((2.25, 0.1), (2.25, 0.5), (1.5, 0.5), (10.0, 0.1))
#: P10: (score, alpha, kl_beta) of one labelled response and H.
BINARY_RUNS = ((0.5, 2.5, 0.25), (-0.5, 2.5, 0.25), (0.5, 1.2, 0.5), (-0.5, 10.0, 0.1))
#: P13: (negatives, alpha, kl_beta), the positive's score being negatives/(negatives + 1): near its threshold, above it,
#: and a pair of equal alpha·kl_beta.
IMBALANCE_RUNS = ((100.0, 2.1, 0.5), (100.0, 2.5, 0.3), (100.0, 7.5, 0.1), (100.0, 15.0, 0.05))
#: P11: (number of scored responses, alpha, kl_beta).
SCALAR_RUNS = ((1, 2.5, 0.25), (2, 2.5, 0.25), (4, 2.5, 0.25), (4, 5.0, 0.25))
#: P4, P6: kind of feedback per prompt, the regulariser's share of the labelled responses, and its constants.
TABLE_KINDS = ("pairs", "binary", "scalar", "pairs")
TABLE_SHARE, TABLE_ALPHA, TABLE_BETA = 0.8, 3.0, 0.3
#: P14: share of its comparisons that the first response of a prompt's pair wins, two prompts; kl_beta, and PRO's alpha.
REPEATED_SHARES, REPEATED_BETA, REPEATED_ALPHA = (1.0, 2 / 3), 0.5, 2.25
#: P15: kl_beta of the losses on one-token responses.
HELD_OUT_BETA = 1.0
#: P8: kl_beta per prompt; alpha is 1/share².
DPO_FORM_BETAS = (0.2, 0.3, 0.5, 1.0)

#: Prompts of the distortion runs, each an instance with eight responses. `I9_product` is I9's population with its pairs
#: drawn from a product law; `random` has users of its own per seed.
INSTANCES = ("I3", "I5", "I6", "I9", "I9_product", "random")
#: bt_beta of each instance's users, and the weight of the KL term in RLHF and DPO on it (I6: the weight at which the
#: predicted policy is on the boundary of the ball of radius `BALL` instead).
INSTANCE_BETAS = (5.0, 5.0, 5.0, 10.0, 10.0, 5.0)
RLHF_WEIGHTS = (0.1, 0.03, 0.0, 0.2, 0.2, 0.2)
NLHF_WEIGHTS = (0.1, 0.1, 0.0, 0.1, 0.1, 0.1)
#: I6: KL budget in nats, and the mass of the clones of c in the designed reference.
BALL, CLONE_MASS = 0.3, 0.01
#: Instances whose DPO and RLHF share a weight of 0.1 and more: there DPO's log-ratios stay within float32 (D12).
DPO_INSTANCES = ("I3", "I9", "I9_product", "random")
#: D23: kl_beta of IPO.
IPO_WEIGHT = 0.1
#: D15: clip level of rewards, as a share of the largest centred reward.
CLIP_SHARE = 0.5
#: D17: weights of the KL term on real people.
PEOPLE_RLHF_WEIGHT, PEOPLE_NLHF_WEIGHT = 0.2, 0.1
#: D17: what is run where no ratings file is given.
PEOPLE_METHODS, PEOPLE_BETAS = ("rlhf", "dpo", "nlhf"), (1.0, 5.0, 10.0)

#: Prompts of the unpaired losses: where the reference stands to the laws of preferred and dispreferred responses.
#: on_rejected π_ref = p⁻; on_mixture π_ref = p_α; cycle π_ref = μ of cyclic comparisons; far: unlike either law;
#: never_rejected p⁻(y) = 0 < p⁺(y) for one y; cycle_losers π_ref = p⁻ of cyclic comparisons.
UNPAIRED = ("on_rejected", "on_mixture", "cycle", "far", "never_rejected", "cycle_losers")
#: α of RDRO; share of chosen examples in pooled batches (R5).
RDRO_ALPHA, POOLED_SHARE = 0.5, 0.25
#: V1–V7 with one fitted constant per prompt: loss of `theory.divergences.losses.LOSSES` → kl_beta it runs at. KTO's
#: logits saturate sooner at a large one; Pearson's optimum is exponential in R and wants a moderate one.
FITTED_BETA = {
    "kldo": 0.5, "dpo": 0.5, "kto": 2.0, "bco": 0.5, "hellinger": 0.5, "kl": 1.0, "jensen_shannon": 0.5, "pearson": 2.0,
}  # fmt: skip
#: loss → the claim on what it estimates; any other is V5's.
CLAIM_OF_LOSS = {"kldo": "V1", "kto": "V2", "bco": "V3", "dpo": "V4", "hellinger": "V6"}
#: V7 with the constant fixed at 0, kl_beta = 1.
FIXED = ("bco", "hellinger", "kl", "pearson")
#: Losses trained on shuffled minibatches.
MINIBATCHED = ("dpo", "kldo", "bco", "ddro", "rdro")

#: V10, V11: losses trained on compliance–refusal and on preference data, prompts per class, overlap of refusals with
#: good answers, and the uniform share mixed into every law so that no divergence is infinite.
SAFETY_LOSSES = ("kldo", "bco", "kto", "dpo")
SAFETY_PROMPTS, SAFETY_OVERLAP, SAFETY_FLOOR = 12, 0.2, 0.05

#: B1–B10: numbers of responses; A3: models whose answers the Aligner corrects, all but the first unseen in training.
SIZES = (4, 16, 64, 256)
UPSTREAMS = ("same law", "cold", "hot", "weak", "weak and hot", "corrected")
