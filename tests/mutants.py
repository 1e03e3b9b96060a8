"""Breaks one formula at a time and asks whether a test notices.

Run from the repository root:  python tests/mutants.py [FOLDER ...] [--number 50] [--seed 0] [--table FILE]

A mutant changes one place of one file: an operator (+ and −, × and ÷), the direction of a comparison, a sign, or a
number in a formula by 5 % (an integer by one). Places are drawn by the seed, in files that hold formulas (no pages,
claims, commands). The tests that mirror the file run, nearest first, until one fails. What survives is printed with its
line: it needs a test, or an entry in `equivalent_mutants` with the reason why nothing can notice it. A table keeps what
became of each; mutants that stand in it are not run again.
"""

from __future__ import annotations

import argparse
import ast
import csv
import importlib
import os
import random
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.machinery import SourceFileLoader
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.equivalent_mutants import EQUIVALENT

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("theory", "simulate", "llm_validation")
#: Files without formulas of their own.
LEFT_OUT = {"__init__.py", "__main__.py", "claims.py", "claim.py", "sources.py", "whereabouts.py", "settings.py"}
LEFT_OUT_FOLDERS = {"claims", "commands", "grid"}
SWAPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
TURNED = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE}
#: Seconds of a processor until a test is given up: a loop that no longer ends is noticed too.
LIMIT = 120
#: Test files beside the mirrored ones and those that import a mutant's file: of those that reach it, the nearest.
NEAREST = 3
#: Tests of every experiment: which of them run is decided by what they reach.
MEASURING = ("test_recorded_rows.py", "test_experiments.py")
#: Imported once, and not again for every mutant.
HEAVY = ("scipy.stats", "pandas", "torch", "transformers")


@dataclass(frozen=True)
class Mutant:
    """One change: the file, its line, and the whole source with the change in it."""

    path: str
    line: int
    before: str
    after: str
    source: str

    @property
    def name(self) -> str:
        return f"{self.path}:{self.line}  {self.before}  ->  {self.after}"

    @property
    def equivalent(self) -> str:
        """Why nothing can notice it; empty if something can."""
        if self.after == self.before:
            return "5 % of zero"
        changed = self.after
        if isinstance(ast.parse(self.before, mode="eval").body, ast.Constant):
            before, number, _ = self.source.splitlines()[self.line - 1].partition(f"({self.after})")
            changed = before[-7:] + number
        return EQUIVALENT.get(f"{self.path}:{changed}", "")


def mutants_of(path: Path) -> Iterator[Mutant]:
    """All mutants of a file, in the order of its nodes."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    lines = text.splitlines(keepends=True)
    for node in _formulas(tree):
        changed = _changed(node)
        if changed is not None and node.lineno == node.end_lineno:
            line = lines[node.lineno - 1].encode()
            new = line[: node.col_offset] + f"({changed})".encode() + line[node.end_col_offset :]
            whole = [*lines[: node.lineno - 1], new.decode(), *lines[node.lineno :]]
            source = "".join(whole)
            try:
                ast.parse(source)
            except SyntaxError:
                continue
            yield Mutant(str(path.relative_to(ROOT)), node.lineno, ast.unparse(node), changed, source)


def _formulas(tree: ast.Module) -> Iterator[ast.expr]:
    """Expressions inside functions that are part of a formula; none of messages, raises, annotations and defaults, and
    no amount of work: what is counted in a profile's units, a round number of draws."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            waiting: list[ast.AST] = list(function.body)
            while waiting:
                node = waiting.pop(0)
                if isinstance(node, ast.Raise | ast.JoinedStr | ast.FunctionDef | ast.Assert | ast.Subscript):
                    continue
                if isinstance(node, ast.BinOp) and _is_effort(node):
                    continue
                if isinstance(node, ast.BinOp | ast.UnaryOp | ast.Compare):
                    yield node
                if isinstance(node, ast.BinOp):
                    yield from (side for side in (node.left, node.right) if isinstance(side, ast.Constant))
                waiting += ast.iter_child_nodes(node)


def _is_effort(node: ast.BinOp) -> bool:
    sides = (node.left, node.right)
    of_profile = any(isinstance(side, ast.Attribute) and ast.unparse(side.value) == "profile" for side in sides)
    return of_profile or all(isinstance(side, ast.Constant) for side in sides)


def _changed(node: ast.expr) -> str | None:
    """The expression with its change, as source; None if there is none to make."""
    if isinstance(node, ast.BinOp) and type(node.op) in SWAPS:
        return ast.unparse(ast.BinOp(node.left, SWAPS[type(node.op)](), node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        return ast.unparse(node.operand)
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in TURNED:
        return ast.unparse(ast.Compare(node.left, [TURNED[type(node.ops[0])]()], node.comparators))
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return repr(node.value + 1 if isinstance(node.value, int) else node.value * 1.05)
    return None


def chosen(folder: str, number: int, seed: int) -> list[Mutant]:
    """So many mutants of a folder, drawn by the seed: a file in proportion to its formulas."""
    files = [
        path for path in sorted((ROOT / folder).rglob("*.py"))
        if path.name not in LEFT_OUT and not LEFT_OUT_FOLDERS & set(path.relative_to(ROOT).parts)
    ]  # fmt: skip
    everything = [mutant for path in files for mutant in mutants_of(path)]
    return random.Random(f"{folder} {seed}").sample(everything, min(number, len(everything)))


def tests_of(path: str) -> list[str]:
    """The test files that mirror a source file, those that share a word with its name first; others that import it, and
    some that reach it, the nearest first; then the experiments, and recorded rows against predictions."""
    source = Path(path)
    words = {*source.stem.split("_"), source.parent.name}
    shared = lambda test: bool(words & set(test.stem.split("_")))
    mirror = ROOT / "tests" / source.parent
    if mirror.is_dir() and len(source.parts) > 2:
        order = lambda test: (not shared(test), source not in imported(test))
        found = sorted(sorted(mirror.glob("test_*.py")), key=order)
    else:  # tests of a topic of simulate are one file, beside the folder's own
        above = mirror if mirror.is_dir() else mirror.parent
        found = [test for test in sorted(above.glob("test_*.py")) if shared(test)]
    others = {test: reached(test) for test in sorted((ROOT / "tests" / source.parts[0]).rglob("test_*.py"))}
    near = sorted((test for test in others if source in others[test]), key=lambda test: len(others[test]))
    found += [test for test in near if test not in found and source in imported(test)]
    found += [test for test in near if test not in found][:NEAREST]
    if source.parts[0] != "llm_validation":  # predictions are what experiments are judged by
        found += [ROOT / "tests" / "theory" / "test_exact.py"]
        found += [ROOT / "tests" / "simulate" / name for name in MEASURING]
    if source.parts[0] == "theory":
        found.append(ROOT / "tests" / "paper" / "test_recorded_verdicts.py")
    return [str(test.relative_to(ROOT)) for test in dict.fromkeys(found)]


@cache
def reached(test: Path) -> frozenset[Path]:
    """Files of the project that a test file's imports reach."""
    from simulate.rows.reach import reach

    return reach(*_modules(test))


@cache
def imported(test: Path) -> frozenset[Path]:
    """Files of the project that a test file names."""
    return frozenset(Path(*module.split(".")).with_suffix(".py") for module in _modules(test))


def _modules(test: Path) -> set[str]:
    from simulate.rows.reach import _defining, _names

    return {module for name in _names(test) for module in _defining(name, ROOT)}


class Matching:
    """A plugin of pytest: of the experiments those that reach the file, the nearest first; a test that hangs fails."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def pytest_collection(self) -> None:
        """A failing example is enough: it need not be made small, nor kept."""
        settings.register_profile("first", phases=(Phase.explicit, Phase.generate), database=None)
        settings.load_profile("first")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        from simulate.experiments import EXPERIMENTS
        from simulate.rows.reach import defining, reach

        sizes = {key: reach(defining(function)) for key, function in EXPERIMENTS.items()}
        place: dict[pytest.Item, int] = {}
        for item in items:
            key = item.callspec.params.get("key") if hasattr(item, "callspec") else None
            if item.path.name in MEASURING and key in sizes:
                if self.path not in sizes[key]:
                    continue
                place[item] = 1000 * MEASURING.index(item.path.name) + len(sizes[key])
            else:
                place[item] = 0
        items[:] = sorted(place, key=lambda item: place[item])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        def stop(*_: object) -> None:  # an exception would have Hypothesis run again what does not end
            os._exit(int(pytest.ExitCode.TESTS_FAILED))

        signal.signal(signal.SIGVTALRM, stop)
        signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)


def run_tests(mutant: Mutant) -> None:
    """Of a forked process: read the mutant where its file is imported, run the tests, end with pytest's status."""
    os.setsid()
    os.chdir(ROOT)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    compile_source = SourceFileLoader.get_code

    def get_code(loader: SourceFileLoader, name: str) -> Any:
        if loader.path == str(ROOT / mutant.path):
            return compile(mutant.source, loader.path, "exec")
        return compile_source(loader, name)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
    words = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", *tests_of(mutant.path)]
    quiet_about = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # packages that are imported already
    try:
        importlib.import_module(".".join(Path(mutant.path).with_suffix("").parts))
        importlib.import_module("simulate.experiments")  # what `Matching` asks
    except Exception:  # noticed before any test is
        os._exit(int(pytest.ExitCode.TESTS_FAILED))
    status = int(pytest.ExitCode.INTERNAL_ERROR)
    try:
        status = int(pytest.main([*words, *quiet_about], plugins=[Matching(mutant.path)]))
    finally:
        os._exit(status)


def survives(mutant: Mutant) -> bool:
    """Do all its tests pass? In a process of its own, which starts with what is imported here already."""
    process = get_context("fork").Process(target=run_tests, args=(mutant,))
    process.start()
    process.join()
    if process.exitcode not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"the tests of {mutant.name} did not run: status {process.exitcode}")
    return process.exitcode == pytest.ExitCode.OK


COLUMNS = ("file", "line", "before", "after", "outcome")


def known_outcomes(table: Path | None) -> dict[tuple[str, ...], str]:
    """What a table says of mutants: its first columns → `killed` or `lives`."""
    if table is None or not table.exists():
        return {}
    with table.open(newline="", encoding="utf-8") as lines:
        return {tuple(row[column] for column in COLUMNS[:-1]): row["outcome"] for row in csv.DictReader(lines)}


def outcome(mutant: Mutant, table: Path | None) -> bool:
    """Does it live? Said, and written into the table, if there is one and it does not stand there."""
    key = (mutant.path, str(mutant.line), mutant.before, mutant.after)
    known = known_outcomes(table).get(key)
    found = known or ("lives" if survives(mutant) else "killed")
    print(f"{found:6s} {mutant.name}", file=sys.stderr, flush=True)
    if table is not None and known is None:
        new = not table.exists()
        with table.open("a", newline="") as lines:
            writer = csv.writer(lines, lineterminator="\n")
            writer.writerows([COLUMNS] * new + [(*key, found)])
    return found == "lives"


def main(arguments: list[str] | None = None) -> int:
    """Command line; exit status 1 if a mutant survives that is not known to be equivalent."""
    parser = argparse.ArgumentParser(description="Break one formula at a time; does a test notice?")
    parser.add_argument("folders", nargs="*", default=FOLDERS, metavar="FOLDER")
    parser.add_argument("--number", type=int, default=50, help="mutants of each folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path, metavar="FILE", help="CSV of outcomes, added to")
    options = parser.parse_args(arguments)
    table = None if options.table is None else options.table.resolve()
    left = 0
    for folder in options.folders:
        mutants = chosen(folder, options.number, options.seed)
        for package in HEAVY[: 2 if folder != "llm_validation" else None]:
            importlib.import_module(package)
        for mutant in mutants[:1]:
            if not survives(replace(mutant, source=(ROOT / mutant.path).read_text(encoding="utf-8"))):
                raise SystemExit(f"the tests of {mutant.path} fail as it is")
        alive = [outcome(mutant, table) for mutant in mutants]
        survivors = [mutant for mutant, lives in zip(mutants, alive, strict=True) if lives]
        known = [mutant for mutant in survivors if mutant.equivalent]
        counted = len(mutants) - len(known)
        killed = counted - (len(survivors) - len(known))
        print(
            f"{folder}: {killed} of {counted} killed ({100 * killed / max(counted, 1):.0f} %), {len(known)} equivalent"
        )
        for mutant in survivors:
            print(f"  {mutant.equivalent or 'survives'}: {mutant.name}", flush=True)
        left += len(survivors) - len(known)
    return int(left > 0)


if __name__ == "__main__":
    sys.exit(main())
