"""The ledger of the recorded rows, computed once: its predictions take seconds."""

from __future__ import annotations

import pytest

from paper.ledger import Entry, load


@pytest.fixture(scope="session")
def recorded_ledger() -> list[Entry]:
    return load("reference")
