"""All predictions, the ledger of the recorded rows, the one without rows, and the page, made once, for they take
seconds; and a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_validation.claims.table import llm_checks
from paper.ledger import Entry, entries, load
from paper.page.build import write_page
from theory.claim import Check, Setting, setting_key
from theory.claims import CLAIMS

INSTALL = "pip install playwright and apt-get install chromium"


#: A check and one of its settings.
Place = tuple[Check, str]


@pytest.fixture(scope="session")
def predictions() -> dict[Place, float]:
    """Of every check at every setting that it declares."""
    checks = [check for claim in CLAIMS for check in (*claim.checks, *llm_checks(claim.id))]
    return {(check, setting_key(setting)): check.predict(setting) for check in checks for setting in check.settings}


@pytest.fixture(scope="session")
def ledgers(predictions) -> tuple[list[Entry], list[Entry]]:
    """Of the recorded rows and of none."""
    predict = Check.predict

    def once(check: Check, setting: Setting) -> float:
        made = predictions.get((check, setting_key(setting)))
        return predict(check, setting) if made is None else made

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
