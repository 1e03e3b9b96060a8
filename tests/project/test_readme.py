"""The README: its code runs, every path in it exists, every package is in its tree, and so are its make targets."""

from __future__ import annotations

import doctest
import re
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: What commands make: not in the repository.
MADE = ("figures/out/", "paper/tables/", "simulate/results/", "llm_validation/results/", "paper/main.pdf")


def section(title: str) -> str:
    """The text under a heading."""
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def paths_of_tree() -> list[str]:
    """Every path of the tree: top-level folders, and what stands below each."""
    top, paths = "", list[str]()
    for line in section("How data flows").split("```")[1].strip().splitlines():
        words = list(takewhile(lambda word: word.endswith(("/", ".py")), line.split()))
        assert words, f"no path in {line!r}"
        top = top if line.startswith(" ") else words[0]
        paths += [top + word for word in words] if line.startswith(" ") else words
    return paths


def test_the_example_runs():
    failed, attempted = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert attempted > 5
    assert failed == 0


def test_it_is_one_page():
    assert len(README.splitlines()) <= 250
    assert not re.search(r"\w\*\.py|\*\w*\.py", README), "no stars for files"


def test_every_path_exists():
    named = re.findall(
        r"(?:^# |`)((?:theory|simulate|llm_validation|figures|paper|tests)/[\w/.]+)", README, re.MULTILINE
    )
    paths = paths_of_tree() + named
    missing = [path for path in paths if not path.startswith(MADE) and not (ROOT / path).exists()]
    assert not missing
    assert len(re.findall(r"`[\w/]+\.py`", section("Reading order"))) >= 12


def test_every_package_and_top_level_file_is_in_the_tree():
    tree = {path.rstrip("/") for path in paths_of_tree()}
    for folder in ("theory", "simulate", "llm_validation"):
        packages = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("__init__.py")}
        files = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).glob("[!_]*.py")}
        assert packages | files <= tree


def test_the_commands_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`?make ([a-z-]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_minutes_of_the_commands_are_the_same_wherever_they_are_said():
    said = re.search(r"^make reproduce .*?: ([a-z -]+ minutes) on two cores$", README, re.MULTILINE)
    assert said
    for place in ("Makefile", "paper/sections/related.tex"):
        assert f"{said[1]} on two cores" in (ROOT / place).read_text(encoding="utf-8"), place
