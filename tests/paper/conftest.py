"""The ledger of the recorded rows and its page, made once: predictions and figures take seconds; and a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from paper.ledger import Entry, load
from paper.page.build import write_page

INSTALL = "pip install playwright and apt-get install chromium"


@pytest.fixture(scope="session")
def recorded_ledger() -> list[Entry]:
    return load("reference")


@pytest.fixture(scope="session")
def page_file(recorded_ledger, tmp_path_factory) -> Path:
    return write_page(recorded_ledger, "reference", tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    playwright = pytest.importorskip("playwright.sync_api", reason=f"no playwright: {INSTALL}")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip(f"no chromium: {INSTALL}")
    with playwright.sync_playwright() as run:
        started = run.chromium.launch(executable_path=found)
        yield started
        started.close()
