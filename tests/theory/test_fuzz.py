"""A short run of tests/benchmarks/fuzz_api.py: no call of the public functions breaks otherwise than by saying why."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).resolve().parents[1] / "benchmarks" / "fuzz_api.py"


@pytest.fixture(scope="module")
def fuzz_api() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_api", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_public_functions_answer_or_name_the_argument(fuzz_api: ModuleType) -> None:
    assert len(fuzz_api.functions()) > 80
    assert not fuzz_api.fuzz(3000, seed=1)


def test_faults_are_found(fuzz_api: ModuleType) -> None:
    """A NaN, a warning, a hang, an error that names nothing, and one of another kind are findings, a named one not."""

    def call(policy: float) -> float:
        return {1: float("nan"), 2: 1 / 0.5}[policy] if policy else 1 / policy

    def named(policy: float) -> float:
        raise ValueError(f"policy = {policy} must be > 0")

    def unnamed(policy: float) -> float:
        raise ValueError("no")

    def slow(policy: float) -> float:
        while True:
            pass

    found = [fuzz_api.judge(call, {"policy": x}, 1.0) for x in (0, 1, 2, 3)]
    assert found == ["ZeroDivisionError: division by zero", "returns NaN", None, "KeyError: 3"]
    assert fuzz_api.judge(named, {"policy": 1}, 1.0) is None
    assert fuzz_api.judge(unnamed, {"policy": 1}, 1.0) == "ValueError that names no argument: no"
    assert fuzz_api.judge(slow, {"policy": 1}, 0.05) == "no answer within 0.05 s"
