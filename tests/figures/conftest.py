"""The recorded rows, read once."""

from __future__ import annotations

import pytest

from figures.model_points import language_model_rows
from simulate.rows.reach import ROOT
from simulate.rows.store import Row, read_rows


@pytest.fixture(scope="session")
def recorded() -> list[Row]:
    """Of simulation and of every model."""
    return read_rows(ROOT / "simulate" / "results" / "reference") + language_model_rows("reference")
