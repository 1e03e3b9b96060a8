"""Shared by all tests: strict numerics and seeded generators.

Warnings are errors (pyproject.toml) and so are floating-point accidents: a division by zero, an overflow or an
invalid operation that a function does not expect and handle is a failed test.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import settings

# Examples are drawn from a fixed seed, so that a failure is a failure for everybody; no deadline on shared machines.
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("repeatable")

os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test asks a model hub: a name that is no folder is refused at once, not after half a minute of retries.
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True)
def strict_floating_point() -> Iterator[None]:
    """Overflow, invalid operations and division by zero raise; underflow to zero is wanted (log-space references)."""
    with np.errstate(over="raise", invalid="raise", divide="raise", under="ignore"):
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(20260101)
