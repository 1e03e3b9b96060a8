"""What a trained language model should show of each claim: the checks of the ledger's language-model columns.

Predictions that hold whatever the reference is (PRO's gaps, bounds, orderings) are the predicted values themselves.
Where the optimum depends on the measured reference and the drawn data, the run computes it from them and the row is
the distance between the trained policy and that optimum: the check then says how large it may be.

    distortion, proximal, divergences, density_ratio, correction, best_of_n   one file a topic
    real, real_settings   checks of a model that others trained, and their settings
    settings, targets     constants of checks and runs; how close a trained policy is to be to its optimum
    table                 all checks, claim by claim

>>> [check.name for check in llm_checks("D9")]
['trained', 'excess', 'mean_tv', 'worst_tv', 'slope', 'untrained_tv', 'sampled_tv']
>>> round(find_check("D9", "trained").predict({"bt_beta": 5.0}), 4)
2.5339
"""

from __future__ import annotations

from llm_validation.claims.table import LLM_CHECKS, find_check, llm_checks

__all__ = ["LLM_CHECKS", "find_check", "llm_checks"]
