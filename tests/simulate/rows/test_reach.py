"""Which code a row depends on: what its measurement can reach, without comments and docstrings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from simulate.rows.reach import ROOT, _names, code_alone, fingerprint, reach

MEASURES = "simulate.distortion.win_rates"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder in ("theory", "simulate"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "results"))
    return tmp_path


def edited(tree: Path, file: str, old: str, new: str) -> str:
    path = tree / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    # a folder of its own: what a module imports is remembered
    shutil.copytree(tree, tree.with_name(tree.name + "-edited"))
    return fingerprint(MEASURES, root=tree.with_name(tree.name + "-edited"))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("theory/distortion/factors.py", "def linear_factor", "# a comment\ndef linear_factor"),
        ("theory/policy/kl_ball.py", '"""', '"""Another sentence. ', ),
        ("theory/proximal/losses.py", "return", "return 1.0 +"),
        ("theory/distortion/__init__.py", "from", "import math\nfrom"),
    ],
    ids=["comment", "docstring", "another topic", "a page"],
)  # fmt: skip
def test_what_a_measurement_cannot_see_keeps_its_rows(tree, file, old, new):
    before = fingerprint(MEASURES, root=tree)
    assert edited(tree, file, old, new) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("theory/policy/kl_ball.py", "return", "return 1.0 +"),
        ("simulate/montecarlo.py", "1.959963984540054", "1.96"),
        ("simulate/distortion/win_rates.py", "import math", "import math\n\nimport theory.proximal.losses"),
    ],
    ids=["a formula two imports away", "a constant", "a new import"],
)
def test_what_it_can_reach_does_not(tree, file, old, new):
    before = fingerprint(MEASURES, root=tree)
    assert edited(tree, file, old, new) != before


def test_pages_are_seen_through():
    reached = {path.as_posix() for path in reach(MEASURES)}
    assert "theory/policy/nash.py" in reached
    assert not {path for path in reached if path.endswith("__init__.py") or path.startswith("theory/proximal")}


@pytest.mark.parametrize("quotes", ["'''", '"""'])
def test_code_alone(quotes):
    source = '"""Doc."""\n\nx = "#1"  # note\n\n\ndef f():\n    """Doc\n    string."""\n    return "kept"\n'
    assert code_alone(source) == 'x = "#1"\ndef f():\n    return "kept"'
    lines = [f"x = {quotes}a'\"# b", f"# c{quotes}", r'r"\"# d"', r"'e\'# f'", f"{quotes}g' # h\"\\{quotes}{quotes}"]
    assert code_alone(f"{lines[0]}\n" + "  # it's \"\n".join(lines[1:]) + "  #\n# i\n") == "\n".join(lines)


def test_imports_are_found_in_every_kind_of_block(tmp_path):
    blocks = (
        "if a:\n {}\nelif b:\n {}\nelse:\n {}\ntry:\n {}\nexcept A:\n {}\nelse:\n {}\nfinally:\n {}\n"
        "for a in b:\n {}\nelse:\n {}\nwith a:\n {}\nmatch a:\n case 1:\n  {}\nclass A:\n def f():\n  {}"
    )
    modules = {f"theory.module_{i}" for i in range(blocks.count("{}"))}
    (tmp_path / "blocks.py").write_text(blocks.format(*(f"import {module}" for module in sorted(modules))))
    assert set(_names(tmp_path / "blocks.py")) == modules


def test_a_module_that_is_not_there():
    with pytest.raises(ValueError, match=r"no module .theory\.nowhere."):
        reach("theory.nowhere")
