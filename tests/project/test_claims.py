"""Claims are tables: every check is three lines at most, and takes the settings that it declares and no others."""

from __future__ import annotations

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

from llm_validation.claims.table import LLM_CHECKS
from tests.processes import run_anew
from theory.claim import Check, Setting
from theory.claims import CLAIMS

ROOT = Path(__file__).resolve().parents[2]
CONSTRUCTORS = {"equal", "rate", "at_most", "at_least", "greater"}
TOPICS = {claim.topic for claim in CLAIMS}
TABLES = [path for topic in sorted(TOPICS) for path in sorted((ROOT / "theory" / topic).glob("*claims.py"))]
TABLES += [
    ROOT / "llm_validation" / "claims" / f"{name}.py" for name in (*sorted({c.topic for c in CLAIMS}), "targets")
]
CHECKS = {f"{claim.id}.{check.name}": check for claim in CLAIMS for check in claim.checks if claim.topic in TOPICS}
CHECKS |= {f"{claim_id}.{check.name}": check for claim_id, checks in LLM_CHECKS.items() for check in checks}


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_check_is_at_most_three_lines(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    named = [(node.func.id, node) for node in calls if isinstance(node.func, ast.Name)]
    assert "Check" not in dict(named), "a check is written by one of the constructors"
    checks = [node for name, node in named if name in CONSTRUCTORS]
    assert checks
    long = [f"line {node.lineno}" for node in checks if node.end_lineno - node.lineno >= 3]
    assert not long


def refusal(check: Check, setting: Setting) -> str:
    """Why the prediction refuses a setting; empty if it takes it."""
    try:
        check.predict(setting)
    except ValueError as error:
        return str(error)
    return ""


def test_a_check_takes_its_own_settings_and_no_others():
    swallow = {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    for key, check in CHECKS.items():
        if callable(check.theory):
            kinds = {parameter.kind for parameter in inspect.signature(check.theory).parameters.values()}
            assert not kinds & swallow, key
        assert "itmes" in refusal(check, {**check.settings[0], "itmes": 50}), key


def test_the_tables_are_read_without_torch():
    run_anew("import llm_validation.claims.settings, llm_validation.claims", missing=("torch",))
    assert set(LLM_CHECKS) <= {claim.id for claim in CLAIMS}


@pytest.mark.parametrize("topic", sorted({claim.topic for claim in CLAIMS}))
def test_a_measurement_knows_nothing_of_its_claim(topic):
    """Or a word in a claim would throw away every row of the topic, and a prediction could be measured by itself."""
    for path in sorted((ROOT / "simulate" / topic).glob("*.py")):
        modules = {
            n.module for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.ImportFrom)
        }
        assert not {m for m in modules if m and m.split(".")[-1] in ("claims", "predictions")}, path


def test_every_claim_has_a_short_title_of_its_own_and_words_to_find_it_by():
    titles = [claim.title for claim in CLAIMS]
    assert len(set(titles)) == len(titles)
    assert [title for title in titles if not 0 < len(title) <= 40 or title.endswith(".")] == []
    assert [claim.id for claim in CLAIMS if len(set(claim.keywords)) < 2 or len(claim.keywords) > 6] == []
    found = {word: [claim.id for claim in CLAIMS if word in claim.keywords] for word in ("existence", "KL ball")}
    assert "P7" in found["existence"]
    assert "D8" in found["KL ball"]


#: A claim, or a range of claims.
NAMED = re.compile(r"\b([DPVRAB])(\d+)(?: ?– ?\1(\d+))?\b")
#: The files that hold claims, their checks, experiments or runs.
PATTERNS = (
    "theory/*/*claims.py",
    "theory/*/predictions.py",
    "simulate/*/*.py",
    "llm_validation/claims/*.py",
    "llm_validation/runs/*.py",
)


def named(text: str) -> set[str]:
    """The claims that a text names, one by one or as a range."""
    return {f"{a}{i}" for a, first, last in NAMED.findall(text) for i in range(int(first), int(last or first) + 1)}


def of_table(path: Path) -> set[str]:
    """The claims of the table in a file; those of predictions are in `claims`."""
    path = path.with_name("claims.py") if path.stem == "predictions" else path
    own = vars(import_module(".".join(path.relative_to(ROOT).with_suffix("").parts)))
    ids = {claim.id for name, table in own.items() if name.endswith("_CLAIMS") for claim in table}
    ids |= {claim for run in own.get("RUNS", ()) for claim in run.claim_ids}
    checks = own.get(path.stem.upper(), {}) if path.parent.name == "claims" else {}
    return ids | {key.partition(".")[0] for key in (*own.get("EXPERIMENTS", ()), *checks)}


def test_files_name_the_claims_that_they_have():
    files = [path for pattern in PATTERNS for path in ROOT.glob(pattern) if path.stem not in ("__init__", "real")]
    tables = {path: ids for path in files if (ids := of_table(path))}
    assert len(tables) > 60
    for path, ids in tables.items():
        said = named((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n\n")[0])
        assert said in (set(), ids), path
    for topic in TOPICS:
        claims = [claim.id for claim in CLAIMS if claim.topic == topic]
        assert f"{claims[0]}–{claims[-1]})" in (ROOT / "README.md").read_text(encoding="utf-8")
        for folder in (ROOT / "theory" / topic, ROOT / "simulate" / topic):
            page = (folder / "__init__.py").read_text(encoding="utf-8")
            assert named(page.partition("\n\n")[0]) - {"D17"} in (set(), set(claims) - {"D17"}), folder
        rows = {line.split()[0]: named(line) for line in page.splitlines() if line.startswith("    ")}
        measured = {path.stem: ids for path, ids in tables.items() if path.parent == folder}
        assert {stem: rows.get(stem) for stem in measured} == measured
