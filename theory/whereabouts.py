"""Where a claim lives: what predicts it, where it is proved, measured and drawn, and the commands that run it.

Found by reading: nothing to the right of `theory/` is imported. `paper/sections/*.tex`, `simulate/`, `figures/` and
`llm_validation/runs/` are text here, and a place that is not found is an empty list.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from theory.claim import Claim
from theory.sources import cited, plain, reference

ROOT = Path(__file__).resolve().parents[1]
#: Sections that name claims and prove none.
SILENT = {"introduction", "related", "language_model", "language_model_details", "ledger"}
#: A heading of TeX, up to its own closing brace.
HEADING = re.compile(r"\\(?:(?:sub)*section|paragraph)\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}")


def whereabouts(claim: Claim) -> dict[str, list[str]]:
    """Lines about a claim under source, prediction, proof, experiment, model, figure and run."""
    return {
        "source": [plain(claim.source), *(_entry(key) for key in dict.fromkeys(cited(claim.source)))],
        "prediction": predictors(claim),
        "proof": proofs(claim),
        "experiment": [
            f"{name}: {_defined(path, function)}"
            for path, (name, function) in _matches("simulate", rf'"{claim.id}\.(\w+)": (?:partial\()?([\w.]+)')
        ],
        "model": [
            _shown(path)
            for path in sorted((ROOT / "llm_validation" / "runs").glob("*.py"))
            if re.search(rf'"{claim.id}["., ]', path.read_text(encoding="utf-8"))
        ],
        "figure": [
            f"{name} ({_shown(path)})"
            for path, (name, text) in _matches("figures", r'"(\w+)": Drawing\(([^\n]*(?:\n(?!    ["}])[^\n]*)*)')
            if f'"{claim.id}"' in text + _constants(path, text)
        ],
        "run": [f"python -m {stage} {claim.id}" for stage in ("simulate", "llm_validation", "figures", "paper")],
    }


def predictors(claim: Claim) -> list[str]:
    """`module.function` of every check's prediction; a constant or an expression says which checks it is for."""
    found: dict[str, list[str]] = {}
    for check in claim.checks:
        for name in _functions(check.theory) if callable(check.theory) else [f"the number {check.theory:.9g}"]:
            found.setdefault(name, []).append(check.name)
    return [f"{name} ({', '.join(checks)})" for name, checks in found.items()]


def _functions(theory: Callable[..., Any]) -> list[str]:
    """The function behind partials, or the functions of `theory` that an expression calls."""
    while isinstance(theory, partial):
        theory = theory.func
    theory = inspect.unwrap(theory)
    if theory.__name__ != "<lambda>":
        return [f"{theory.__module__}.{theory.__qualname__}"]
    code, names = theory.__code__, theory.__globals__
    called = [*(names.get(name) for name in code.co_names), *(cell.cell_contents for cell in theory.__closure__ or ())]
    ours = [f for f in called if callable(f) and getattr(f, "__module__", "").startswith("theory.")]
    return [f"{f.__module__}.{f.__qualname__}" for f in ours] or [f"an expression in {theory.__module__}"]


class Place(NamedTuple):
    """A place that names claims: a proof, a heading of an appendix or a mention in the main text, and its heading."""

    kind: str
    text: str
    heading: str
    ids: frozenset[str]


def proofs(claim: Claim, root: Path = ROOT) -> list[str]:
    """`file:line heading [label]` of the claim's proofs in the paper, then where its main text first states it."""
    places = [place for place in _places(root) if claim.id in place.ids]
    proved = [place for place in places if place.kind == "proof"]
    shown = {place.heading for place in proved}
    proved += [place for place in places if place.kind == "heading" and place.heading not in shown]
    stated = [f"stated in {place.heading}" for place in places if place.kind == "mention"]
    return [place.text for place in proved] + stated[:1]


@cache
def _places(root: Path) -> list[Place]:
    """Every place of the sections, in order, with the claims that it names.

    A proof is of the claims in the title of its theorem or, where that names none, in the heading above it. Titles are
    known by then, as a topic's file is read before its `_proofs`.
    """
    places: list[Place] = []
    titles: dict[str, frozenset[str]] = {}
    for path in sorted((root / "paper" / "sections").glob("*.tex")):
        if path.stem in SILENT:
            continue
        file = path.relative_to(root).as_posix()
        appendix = path.stem.endswith("_proofs")
        words, heading, ids, label = "", f"{file}:1", frozenset[str](), ""
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if opened := HEADING.match(line):
                words, ids = _untexed(opened[1]), _named(opened[1])
                label, titles[""] = "", frozenset()
                heading = f"{file}:{number} {words}"
                if appendix:
                    places.append(Place("heading", heading, heading, ids))
            if stated := re.match(r"\\begin\{(?:theorem|lemma)\}(?:\[([^]]*)\])?", line):
                label, titles[""] = "", _named(stated[1] or "")
            if labelled := re.search(r"\\label\{((?:thm|lem):[^}]*)\}", line):
                label = labelled[1]
                titles[label] = titles.get("", frozenset())
            if line.startswith("\\begin{proof}"):
                for proved in re.findall(r"\\ref\{((?:thm|lem):[^}]*)\}", line) or [label]:
                    parts = [f"[{proved}]"] * bool(proved) + re.findall(r"\([ivx]+\)(?=\]$)", line)
                    text = " ".join([f"{file}:{number} {words}", *parts])
                    places.append(Place("proof", text, heading, titles.get(proved) or ids))
            if not appendix and not line.startswith("%"):
                places.append(Place("mention", heading, heading, _named(line)))
    return places


def _named(line: str) -> frozenset[str]:
    """Claim ids in a line of TeX, ranges ("B1--B3") written out; what a \\ledger command prints is no mention."""
    line = re.sub(r"\\ledger\{[^}]*\}", "", line)
    ids = set(re.findall(r"\b[A-Z]\d+\b", line))
    for letter, first, last in re.findall(r"\b([A-Z])(\d+)--\1(\d+)\b", line):
        ids |= {f"{letter}{number}" for number in range(int(first), int(last) + 1)}
    return frozenset(ids)


def _untexed(heading: str) -> str:
    heading = re.sub(r"\\texorpdfstring\{(?:[^{}]|\{[^{}]*\})*\}\{([^{}]*)\}", r"\1", heading)
    return heading.replace("--", "–").replace("$", "").rstrip(".")


def _entry(key: str) -> str:
    cites = reference(key)
    return f"{cites.short}: {cites.title}" + (f" (arXiv {cites.arxiv})" if cites.arxiv else "")


def _shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _matches(package: str, pattern: str) -> Iterator[tuple[Path, tuple[str, str]]]:
    """The files of a package and the two groups of every entry in them that the pattern finds."""
    for path in sorted((ROOT / package).rglob("*.py")):
        yield from ((path, found) for found in re.findall(pattern, path.read_text(encoding="utf-8")))


def _constants(path: Path, text: str) -> str:
    """The lines of a file that define the constants which a text of it names."""
    named = set(re.findall(r"\b[A-Z]{2}\w*\b", text))
    if not named:
        return ""
    lines = re.findall(r"^([A-Z]\w+) = (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return "".join(value for name, value in lines if name in named)


def _defined(table: Path, function: str) -> str:
    """`file function` of a table's entry: where beside the table, or in its topic, the function is defined."""
    module, _, name = function.rpartition(".")
    near = [table.with_name(f"{module}.py") if module else table, *sorted(table.parent.rglob("*.py"))]
    for path in near:
        if path.is_file() and re.search(rf"^(def {name}\(|{name} = )", path.read_text(encoding="utf-8"), re.MULTILINE):
            return f"{_shown(path)} {name}"
    return f"{_shown(table)} {name}"
