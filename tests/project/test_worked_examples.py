"""README's two worked examples, performed on a copy of the tree: a claim measured twice, and a loss that is trained."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
#: A line of comment that says where the lines below it go: a file, and a name in it.
PLACE = re.compile(r"^# ([\w/]+\.py)(?:, in (\w+))?.*\n", re.MULTILINE)


def parts_of(title: str) -> list[tuple[str, str, str]]:
    """(file, name in it or nothing, lines to be added) of one example."""
    code = README.split(f"\n## {title}\n", 1)[1].split("```python\n", 1)[1].split("```", 1)[0]
    _, *rest = PLACE.split(code)
    return list(zip(rest[::3], [name or "" for name in rest[1::3]], rest[2::3], strict=True))


def add(file: Path, name: str, lines: str) -> None:
    """Add lines to a file: at the end of the table or function of that name, or after the imports."""
    source = file.read_text().splitlines()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            place, indent = node.body[-1].lineno - 1, "    "  # before its return
        elif isinstance(node, ast.Assign | ast.AnnAssign) and name and name in ast.unparse(node).split(" = ")[0]:
            place, indent = node.end_lineno - 1, "    "  # before the closing bracket
        elif isinstance(node, ast.Import | ast.ImportFrom) and not name:
            place, indent = node.end_lineno, ""
    source[place:place] = textwrap.indent(lines, indent).splitlines()
    file.write_text("\n".join(source) + "\n")


def perform(title: str, tree: Path) -> set[str]:
    """The example on a copy of the tree; the files that it touches."""
    ignored = shutil.ignore_patterns("__pycache__", "results", "out", "tables", ".venv", ".git", "*.egg-info", "build")
    shutil.copytree(ROOT, tree, ignore=ignored, dirs_exist_ok=True)
    for file, name, lines in parts_of(title):
        add(tree / file, name, lines)
    return {file for file, _, _ in parts_of(title)}


def python(tree: Path, *words: str) -> str:
    ran = subprocess.run([sys.executable, *words], cwd=tree, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout


VERDICTS = """
from pathlib import Path
from llm_validation.claims import llm_checks
from simulate.rows.store import read_rows
from theory.claim import parse_setting, verdict
from theory.claims import find_claim
for folder, checks in (("simulated", find_claim("D40").checks), ("trained", llm_checks("D40"))):
    rows = [row for row in read_rows(Path(folder)) if row.claim == "D40"]
    for check in checks:
        for row in rows:
            print(folder, verdict(check, check.predict(parse_setting(row.setting)), row.estimate, row.stderr))
"""


@pytest.mark.slow
def test_a_claim_takes_four_files(tmp_path):
    touched = perform("Adding a claim", tmp_path)
    assert len(touched) == 4
    runs = tmp_path / "llm_validation/runs/distortion.py"
    runs.write_text(runs.read_text().replace('"D15"),', '"D15", "D40"),', 1))
    assert "1/m" in python(tmp_path, "-m", "theory", "D40")
    python(tmp_path, "-m", "simulate", "D40", "--profile", "smoke", "--results", "simulated", "--jobs", "1")
    python(tmp_path, "-m", "llm_validation", "D40", "--profile", "smoke", "--results", "trained", "--jobs", "1")
    assert set(python(tmp_path, "-c", VERDICTS).splitlines()) == {"simulated agrees", "trained agrees"}


#: Each check in a fork of a process that has imported torch; the last one after a sign was turned in torch's code.
LOSS = """
import os, pathlib, sys
import accelerate, pytest, torch, transformers, scipy.stats, numpy.testing

def forked(check):
    child = os.fork()
    if child == 0:
        try:
            os._exit(check())
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def tests():
    late = "ignore:Module already imported"
    return pytest.main(["-q", "-W", late, "tests/llm_validation/test_losses.py", "-k", "exponential"])

def minimum():
    from theory.divergences import minimum
    return round(minimum("exponential", [.8, .2], [.2, .8]), 6) != 1.6  # 2 Σ √(pq)

def runs():
    from llm_validation.runs.table import RUNS
    return "exponential_fitted" not in {run.name for run in RUNS}

found = [forked(check) for check in (tests, minimum, runs)]
source = pathlib.Path("llm_validation/losses/unpaired.py")
source.write_text(source.read_text().replace("torch.exp(-chosen)", "torch.exp(chosen)", 1))
print("\\nfound", *found, forked(tests))
"""


@pytest.mark.slow
def test_a_loss_takes_four_files_and_its_test(tmp_path):
    touched = perform("Adding a loss", tmp_path)
    assert len(touched) == 4
    said = python(tmp_path, "-B", "-c", LOSS)
    assert said.splitlines()[-1] == "found 0 0 0 1", f"tests, minimum, runs; tests with a wrong sign\n{said[-2000:]}"
