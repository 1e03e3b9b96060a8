"""The wheel holds everything: built, unpacked, and imported from outside the checkout."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.processes import run_anew

ROOT = Path(__file__).resolve().parents[2]
IMPORT_ALL = """
import importlib, os, pathlib, pkgutil
home = pathlib.Path.cwd().resolve()
os.chdir(home.parent)  # a command is given elsewhere
for stage in ("theory", "simulate", "llm_validation", "figures", "paper"):
    package = importlib.import_module(stage)
    assert pathlib.Path(package.__file__).resolve().is_relative_to(home), package.__file__
    for found in pkgutil.walk_packages(package.__path__, stage + "."):
        if found.ispkg:
            page = importlib.import_module(found.name)
            for name in getattr(page, "__all__", ()):
                getattr(page, name)
from simulate.rows.reach import HOME
assert HOME == pathlib.Path.cwd(), HOME  # rows are not written among the packages
from theory.sources import plain
from theory.claims import CLAIMS
print(len([plain(claim.source) for claim in CLAIMS]))
"""


def test_the_citation_has_the_version_and_the_licence():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = dict(
        line.split(": ", 1) for line in (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines() if ": " in line
    )
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith(f"{cited['license']} License")


def test_set_up_pins_every_version_that_the_package_asks_for():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {
        canonicalize_name(name): version
        for name, version in (line.split("==") for line in lines if not line.startswith("#"))
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(text for extra in project["optional-dependencies"].values() for text in extra)]
    for requirement in map(Requirement, asked):
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_no_command_replaces_the_editable_install():
    for name in ("README.md", "Makefile"):
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            if "pip install" in line and ".[" in line:
                assert re.search(r"""--editable ['"]\.\[[\w,]+\]['"] -c constraints\.txt""", line), line


@pytest.mark.slow
def test_a_wheel_in_an_empty_folder_has_every_public_name(tmp_path, capsys):
    """Unpacked, which is how it is installed: numpy and the rest are the tests' own."""
    tree, site = tmp_path / "tree", tmp_path / "site"
    tree.mkdir()
    for part in ("theory", "simulate", "llm_validation", "figures", "paper"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__", "results", "out"))
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, tree)
    wheel = [sys.executable, "-c", "from setuptools.build_meta import build_wheel; print(build_wheel('.'))"]
    name = subprocess.run(wheel, cwd=tree, check=True, capture_output=True, text=True).stdout.split()[-1]
    with ZipFile(tree / name) as packed:
        packed.extractall(site)
    run_anew(IMPORT_ALL, tree=site)
    assert int(capsys.readouterr().out) > 60
