"""Settings of a model that others trained, shared by its checks and its runs."""

from __future__ import annotations

#: PRO and DPO on pairs: (alpha, kl_beta).
PAIR = (2.25, 0.1)
#: PRO on scores: the same.
SCORED = (2.5, 0.25)
#: Losses of single responses: name → the claim that its log-ratios show.
RATIO_CLAIM = {"rdro": "R2", "kldo": "V1", "ddro": "R1", "bco": "V3", "hellinger": "V6", "kl": "V5",
               "rdro_pooled": "R5"}  # fmt: skip
#: Kinds of DPO's pairs; methods that learn from a population, and their weights of the KL term.
DISPLACED = ("one pair", "one word", "many pairs")
DIFFERENCE = ("nlhf", "dpo", "rlhf")
WEIGHT = {"rlhf": 0.5, "dpo": 0.5, "nlhf": 0.1}
#: Utilities of a text that play the truth; numbers of responses.
REWARDS, SELECTED = ("sentiment", "plain", "person"), (4, 16, 64, 256)
#: Name in rows of the people who are there without a file.
PEOPLE_NAME = "starwars"
#: Models whose answers the Aligner corrects, all unseen in its training; rounds of correction.
CORRECTED, CORRECTIONS = ("own", "cold", "hot", "aligned", "corrected"), (1, 2, 4)
