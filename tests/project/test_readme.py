"""The README: its example runs, its files exist, and every source file has a caption."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_the_example_runs():
    failed, attempted = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert attempted > 5
    assert failed == 0


def test_the_commands_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make (\w+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_every_package_and_top_level_file_is_in_the_tree():
    tree = README[README.index("theory/   ") : README.index("Each stage is a command")]
    words = set(re.findall(r"[a-z_]+(?=/|\.py)", tree))
    for folder in ("theory", "simulate", "llm_validation"):
        for path in (ROOT / folder).iterdir():
            source = path.suffix == ".py" or (path / "__init__.py").is_file()
            assert not source or path.stem in words or path.stem.startswith("__"), f"{path} has no caption"
