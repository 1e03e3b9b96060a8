"""The way in: `from theory import …` is quick and complete, in whatever order the packages are imported."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import theory
from tests.processes import run_anew
from theory.distortion.measure import distortion

ROOT = Path(__file__).resolve().parents[2]


def test_import_theory_is_quick():
    """In a fresh interpreter."""
    code = (
        "import time; before = time.perf_counter(); import theory; print(time.perf_counter() - before)\n"
        "import sys; assert not {'numpy', 'scipy'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < 0.1


def test_every_name_of_theory_can_be_had_and_no_other():
    assert set(theory.__all__) <= set(dir(theory))
    for name in theory.__all__:
        assert callable(getattr(theory, name)) or name == "CLAIMS", name
    with pytest.raises(AttributeError, match="no attribute 'bord'"):
        theory.bord  # noqa: B018


USES_BOTH = (
    "users = Population([[1.0, 0.5]])\n"
    "assert distortion(users, [0.0, 1.0]) == theory.distortion(population=users, policy=[0.0, 1.0]) == 2.0\n"
    "assert theory.distortion.factors.linear_factor(1.0) > 1\n"
    "assert theory.distortion.audit(users.win_rates(1.0), [1.0, 0.0], 1.0).lower == 1.0\n"
    "from theory.distortion.audit.interval import audit\n"
    "assert audit is theory.audit is theory.distortion.audit"
)


@pytest.mark.parametrize(
    "first",
    [
        "from theory import distortion, Population; import theory.distortion",
        "import theory.distortion; from theory import distortion, Population",
        "import theory.distortion.audit.interval; from theory import distortion, Population",
        "from theory.distortion.measure import distortion; from theory import Population; import theory",
        "import theory; theory.audit; from theory import distortion, Population",
    ],
)
def test_functions_that_are_packages_too_come_in_any_order(first):
    run_anew(f"{first}\n{USES_BOTH}")


def test_a_package_that_is_called_shows_the_signature_of_its_function():
    assert inspect.signature(theory.distortion) == inspect.signature(distortion)
