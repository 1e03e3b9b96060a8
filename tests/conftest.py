"""Shared by all tests: strict numerics and seeded generators.

Warnings are errors (pyproject.toml) and so are floating-point accidents: a division by zero, an overflow or an
invalid operation that a function does not expect and handle is a failed test.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

# Examples are drawn from a fixed seed, so that a failure is a failure for everybody; no deadline on shared machines.
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("repeatable")

os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test asks a model hub: a name that is no folder is refused at once, not after half a minute of retries.
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """What is imported stays: the garbage collector, a twelfth of all seconds, need not walk it again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        gc.enable()


@pytest.fixture(autouse=True)
def strict_floating_point() -> Iterator[None]:
    """Overflow, invalid operations and division by zero raise; underflow to zero is wanted (log-space references)."""
    with np.errstate(over="raise", invalid="raise", divide="raise", under="ignore"):
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(20260101)


#: Tests that share what takes seconds to make (the ledger of the recorded rows and its page; a run on people's ratings)
#: are one worker's: how the files' paths begin → the name of their lot.
LOTS = {
    "tests/paper/": "ledger",
    "tests/llm_validation/grid/test_processes.py": "people",
    "tests/llm_validation/runs/test_catalogues.py": "people",
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With -n: a file, or a lot of files, is one worker's, so that what its tests share is made once."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return next((lot for place, lot in LOTS.items() if file.startswith(place)), file)

    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With -n: files with tests that take long come first, so that workers end together."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)
