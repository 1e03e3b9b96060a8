"""IPO on a trained language model: D23. Does its squared loss end at Borda's scores with a penalty?

The prompts, users and comparisons are those of `runs.distortion`; I5 and I6, whose margins are of order ε², are left
out. Like DPO's, IPO's loss says nothing of what is off the catalogue, and laws are conditional on it.
"""

from __future__ import annotations

import numpy as np

from llm_validation.catalogue.reference import Reference, conditional
from llm_validation.claims.settings import IPO_WEIGHT
from llm_validation.losses import pairs
from llm_validation.runs.comparisons import comparison_objective
from llm_validation.runs.distortion import of_dpo, situations
from llm_validation.runs.run import Run, law_rows
from simulate.rows.measurement import Measurement
from theory.policy.identity import ipo_penalty


def trained_ipo(reference: Reference) -> list[Measurement]:
    """IPO on all comparisons of all prompts at once, weights Q·P̂ on ordered pairs (winner, loser)."""
    _, part, prompts = of_dpo(reference, situations(reference))
    weights = np.full(len(prompts), IPO_WEIGHT)
    trained = part.train(comparison_objective(pairs.ipo, part, prompts, weights), "ipo")
    target = np.stack([
        ipo_penalty(s.win_rates, s.pair_weights, None, IPO_WEIGHT, log_reference=np.log(law))
        for s, law in zip(prompts, part.on_catalogue, strict=True)
    ])  # fmt: skip
    return law_rows("D23", {}, part.on_catalogue, conditional(trained.policy), target)


RUNS = (Run("distortion_ipo", trained_ipo, ("D23",), prompts=slice(0, 6)),)
