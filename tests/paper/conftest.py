"""The ledger of the recorded rows, the one without rows, and the page, made once: predictions and figures take seconds;
and a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from paper.ledger import Entry, entries, load
from paper.page.build import write_page
from theory.claim import Check, Setting, setting_key
from theory.claims import CLAIMS

INSTALL = "pip install playwright and apt-get install chromium"


@pytest.fixture(scope="session")
def ledgers() -> tuple[list[Entry], list[Entry]]:
    """Of the recorded rows and of none; every prediction is made once for both."""
    predict, made = Check.predict, dict[tuple[Check, str], float]()

    def once(check: Check, setting: Setting) -> float:
        key = check, setting_key(setting)
        if key not in made:
            made[key] = predict(check, setting)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Check, "predict", once)
        return load("reference"), entries(CLAIMS, [], [])


@pytest.fixture(scope="session")
def recorded_ledger(ledgers) -> list[Entry]:
    return ledgers[0]


@pytest.fixture(scope="session")
def ledger_without_rows(ledgers) -> list[Entry]:
    return ledgers[1]


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
