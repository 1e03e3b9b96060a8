"""The recorded rows against the predictions as they are: what agrees, what is too noisy to tell, what disagrees.

A prediction that is changed by mistake parts from rows that were measured before. Verdicts that are not `agrees` are
those that README, paper and changelog speak of.
"""

from __future__ import annotations

#: What disagrees: a slope that off-catalogue mass decides, P15 with all weights by AdamW; the real model's KTO, and one
#: way of its two halves outside two errors more often than chance.
APART = {
    "gpu": ["P15.full_beyond method=dpo", "P15.full_slope method=dpo"],
    "llm": ["D9.slope method=nlhf", "P15.full_beyond method=dpo", "P15.full_slope method=pro"],
    "smollm2": ["B3.real_within_two", "B4.real_within_two", "V10.real_gap name=kto"],
}


def test_simulations_agree_with_the_predictions(recorded_ledger):
    apart = [entry for entry in recorded_ledger if entry.simulation.verdict not in ("agrees", "not run")]
    assert not [f"{entry.claim.id}.{entry.check.name} at {entry.setting}" for entry in apart]


def test_trained_models_disagree_where_it_is_known(recorded_ledger):
    found: dict[str, list[str]] = {}
    for entry in recorded_ledger:
        for name, pooled in entry.trained.items():
            if pooled.verdict == "disagrees":
                found.setdefault(name, []).append(f"{entry.claim.id}.{entry.check.name} {entry.setting}".strip())
    assert {name: sorted(places) for name, places in found.items()} == APART
