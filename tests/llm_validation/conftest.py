"""A small model, the command that trains on a short profile, and one run of it that others are compared with."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from llm_validation.__main__ import main
from llm_validation.model.model import build, save
from llm_validation.profiles import PROFILES
from llm_validation.text.corpus import train_tokenizer
from llm_validation.text.language import STORIES
from simulate.montecarlo import generator
from simulate.rows.store import read_rows
from tests.oracles import toy_preferences
from tests.processes import COMMAND, shorten


def rows_of(folder: Path) -> list[tuple[Any, ...]]:
    return [(row.cell, row.estimate, row.stderr) for row in read_rows(folder)]


@cache
def story_tokenizer() -> Any:
    return train_tokenizer(STORIES.sample(generator(0, "tokenizer"), 500), 512)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """One that stories were cut up for."""
    return story_tokenizer()


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """A small model on disk, as somebody might bring it."""
    folder: Path = tmp_path_factory.mktemp("given") / "model"
    tokenizer = story_tokenizer()
    save(build("smoke", len(tokenizer), 64, seed=0), tokenizer, folder)
    return folder


@pytest.fixture
def base(tmp_path) -> Path:
    """A toy model of forty words on disk, the folder `base` beside what a test writes."""
    save(toy_preferences.model(), toy_preferences.word_tokenizer(), tmp_path / "base")
    return Path(tmp_path / "base")


@pytest.fixture(scope="session")
def command(tmp_path_factory) -> str:
    """The command that trains with a short profile smoke: a script for other processes."""
    script: Path = tmp_path_factory.mktemp("command") / "command.py"
    script.write_text(COMMAND, encoding="utf-8")
    return str(script)


@pytest.fixture
def short() -> Iterator[None]:
    """The same in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROFILES, "smoke", PROFILES["smoke"])  # given back
        shorten()
        yield


@pytest.fixture(scope="session")
def people_words(model) -> list[str]:
    """The command line for two seeds of D17, but for its folder: jobs that fit, and jobs that train from these."""
    words = ["D17", "--profile", "smoke", "--jobs", "1", "--seeds", "2", "--no-stack-seeds"]
    return [*words, "--model", str(model), "--results"]


@pytest.fixture(scope="session")
def people_folder(people_words, tmp_path_factory) -> Path:
    """What that leaves in one process and in one go."""
    folder: Path = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROFILES, "smoke", PROFILES["smoke"])
        shorten()
        assert main([*people_words, str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def people_rows(people_folder) -> list[tuple[Any, ...]]:
    return rows_of(people_folder)
