"""README's two worked examples, performed on a copy of the tree: a claim measured twice, and a loss that is trained."""

from __future__ import annotations

import ast
import re
import shutil
import textwrap
from pathlib import Path

import pytest

from llm_validation.model.model import build, save
from llm_validation.text.corpus import train_tokenizer
from llm_validation.text.language import STORIES
from simulate.montecarlo import generator
from tests.processes import run_anew, started

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: A line of comment that says where the lines below it go: a file, and a name in it.
PLACE = re.compile(r"^# ([\w/]+\.py)(?:, in (\w+))?.*\n", re.MULTILINE)


def parts_of(title: str) -> list[tuple[str, str, str]]:
    """(file, name in it or nothing, lines to be added) of one example."""
    code = README.split(f"\n## {title}\n", 1)[1].split("```python\n", 1)[1].split("```", 1)[0]
    _, *rest = PLACE.split(code)
    return list(zip(rest[::3], [name or "" for name in rest[1::3]], rest[2::3], strict=True))


def add(file: Path, name: str, lines: str) -> None:
    """Add lines to a file: at the end of the table or function of that name, or after the imports."""
    source = file.read_text(encoding="utf-8").splitlines()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            place, indent = node.body[-1].lineno - 1, "    "  # before its return
        elif isinstance(node, ast.Assign | ast.AnnAssign) and name and name in ast.unparse(node).split(" = ")[0]:
            place, indent = node.end_lineno - 1, "    "  # before the closing bracket
        elif isinstance(node, ast.Import | ast.ImportFrom) and not name:
            place, indent = node.end_lineno, ""
    source[place:place] = textwrap.indent(lines, indent).splitlines()
    file.write_text("\n".join(source) + "\n", encoding="utf-8")


def perform(title: str, tree: Path) -> set[str]:
    """The example on a copy of the tree; the files that it touches."""
    ignored = shutil.ignore_patterns("__pycache__", "results", "out", "tables", ".venv", ".git", "*.egg-info", "build")
    shutil.copytree(ROOT, tree, ignore=ignored, dirs_exist_ok=True)
    for file, name, lines in parts_of(title):
        add(tree / file, name, lines)
    return {file for file, _, _ in parts_of(title)}


@pytest.mark.parametrize("title", ["Adding a claim", "Adding a loss"])
def test_lines_of_an_example_fit_where_they_go(title):
    for file, name, lines in parts_of(title):
        assert [line for line in lines.splitlines() if len(line) + (4 if name else 0) > 120] == [], file


CLAIM = """
from pathlib import Path
import theory
from llm_validation.__main__ import main as train
from llm_validation.claims import llm_checks
from simulate.__main__ import main as simulate
from simulate.rows.store import read_rows
from theory.__main__ import main as show
from theory.claim import parse_setting, verdict
from theory.claims import find_claim

assert Path(theory.__file__).is_relative_to(Path.cwd())
assert 2 <= len(find_claim("D40").keywords) <= 6
assert show(["D40"]) == 0
words = ["D40", "--profile", "smoke", "--jobs", "1", "--results"]
assert simulate([*words, "simulated"]) == 0
assert train([*words, "trained", "--model", "model"]) == 0
print("verdicts")
for folder, checks in (("simulated", find_claim("D40").checks), ("trained", llm_checks("D40"))):
    rows = [row for row in read_rows(Path(folder)) if row.claim == "D40"]
    for check in checks:
        for row in rows:
            print(folder, verdict(check, check.predict(parse_setting(row.setting)), row.estimate, row.stderr))
"""


@pytest.mark.slow
def test_a_claim_takes_four_files(tmp_path, capsys):
    touched = perform("Adding a claim", tmp_path)
    assert len(touched) == 4
    tokenizer = train_tokenizer(STORIES.sample(generator(0, "documents"), 500), 512)
    save(build("smoke", len(tokenizer), 64, seed=0), tokenizer, tmp_path / "model")
    runs = tmp_path / "llm_validation/runs/distortion.py"
    runs.write_text(runs.read_text(encoding="utf-8").replace('"D15"),', '"D15", "D40"),', 1), encoding="utf-8")
    run_anew(CLAIM, tree=tmp_path)
    said, verdicts = capsys.readouterr().out.split("verdicts\n")
    assert "1/m" in said
    assert set(verdicts.splitlines()) == {"simulated agrees", "trained agrees"}


#: Each check in a fork of a process that has imported torch; the last one after a sign was turned in torch's code.
LOSS = """
import os, pathlib, sys
import pytest, scipy.stats, numpy.testing
from tests.processes import PACKAGES, forget

os.chdir(sys.argv[1])
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
forget(*PACKAGES, "tests")

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
    import theory
    from theory.divergences import minimum
    assert theory.__file__.startswith(sys.argv[1])
    return round(minimum("exponential", [.8, .2], [.2, .8]), 6) != 1.6  # 2 Σ √(pq)

def runs():
    from llm_validation.runs.table import RUNS
    return "exponential_fitted" not in {run.name for run in RUNS}

found = [forked(check) for check in (tests, minimum, runs)]
source = pathlib.Path("llm_validation/losses/unpaired.py")
source.write_text(source.read_text(encoding="utf-8").replace("torch.exp(-chosen)", "torch.exp(chosen)", 1))
print("\\nfound", *found, forked(tests))
"""


@pytest.mark.slow
def test_a_loss_takes_four_files_and_its_test(tmp_path):
    touched = perform("Adding a loss", tmp_path)
    assert len(touched) == 4
    script, log = tmp_path / "loss.py", tmp_path / "log.txt"
    script.write_text(LOSS, encoding="utf-8")
    process = started(str(script), str(tmp_path), log=log, imported=True)  # which is not in the midst of a test
    process.join(300)
    process.kill()
    said = log.read_text(encoding="utf-8")
    assert process.exitcode == 0, said[-4000:]
    assert said.splitlines()[-1] == "found 0 0 0 1", f"tests, minimum, runs; tests with a wrong sign\n{said[-2000:]}"
