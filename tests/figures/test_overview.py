"""The figure of all claims shows what the ledger has: every column, every setting that was run."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from figures.model_points import language_model_rows
from figures.overview import EDGE, error, errors
from llm_validation.claims.table import trained_checks
from llm_validation.recorded import MODELS, recorded_rows
from paper.ledger import entries
from simulate.rows.reach import ROOT
from simulate.rows.store import read_rows
from theory.claim import Check
from theory.claims import find_claim


@pytest.mark.parametrize(
    ("kind", "above", "below"),
    [("equality", 2.0, -2.0), ("upper bound", 2.0, 0.0), ("lower bound", 0.0, -2.0), ("ordering", 0.0, -EDGE)],
)
def test_the_error_of_a_bound_is_how_far_it_is_broken(kind, above, below):
    """An ordering has no resolution: broken, it stands at the edge."""
    check = Check("name", "quantity", kind, (), 1.0, 0.0 if kind == "ordering" else 0.1, "test")
    assert [error(check, 1.0, estimate) for estimate in (1.2, 1.0, 0.8)] == pytest.approx([above, 0.0, below])


@pytest.mark.parametrize("claim_id", ["B3", "D12", "P15", "V10"])
def test_every_setting_of_every_column_is_drawn_at_the_ledger_s_error(claim_id):
    """Those of a model that others trained too, whose checks are its own."""
    claim, simulated = find_claim(claim_id), read_rows(ROOT / "simulate" / "results" / "reference")
    ledger = entries([claim], simulated, *(recorded_rows(name, "reference") for name in MODELS))
    expected = Counter(
        (name, round(error(entry.check, entry.predicted, found.estimate), 9))
        for entry in ledger
        for name, found in ((None, entry.simulation), *entry.trained.items())
        if found.seeds > 0 and not math.isnan(found.estimate - entry.predicted)
    )
    drawn = errors(claim, [*simulated, *language_model_rows("reference")])
    assert Counter((model, round(off, 9)) for _, off, model in drawn) == expected
    assert ("smollm2" in {model for model, _ in expected}) == any(
        c.name.startswith("real") for c in trained_checks(claim_id)
    )
