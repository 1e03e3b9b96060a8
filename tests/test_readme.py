"""The README: its example runs, its files exist, and every source file has a caption."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
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


def test_every_source_file_is_in_the_tree():
    tree = README[README.index("theory/\n  checks.py") : README.index("Each stage is a command")]
    patterns = [word.strip(",") for word in tree.split() if word.strip(",").endswith(".py")]
    words = set(re.findall(r"[a-z_]+", tree))
    for folder in ("theory", "simulate", "llm_validation"):
        for path in (ROOT / folder).glob("*.py"):
            known = path.stem in words or any(path.match(pattern) for pattern in patterns)
            assert known or path.name.startswith("__"), f"{folder}/{path.name} has no caption in the README"
