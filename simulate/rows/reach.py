"""The code that a measurement can reach, and its fingerprint.

A module reaches itself, every module of this project that it imports, at the top or inside a function, and what those
reach. A package's `__init__` is a page of names, not code: `from theory.policy import nlhf` reaches the module that
defines `nlhf` and no other. Two versions of the code that differ in comments, docstrings or blank lines only have the
same fingerprint; a changed formula, a changed import or another reachable module has not.

>>> "theory/policy/nash.py" in {path.as_posix() for path in reach("theory.distortion.methods")}
True
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

#: The checkout, or the folder that the packages are installed in.
ROOT = Path(__file__).resolve().parents[2]
#: Where rows, figures and tables are read and written: the checkout, or where a command of an installed wheel is given.
HOME = ROOT if (ROOT / "pyproject.toml").is_file() else Path.cwd()
PACKAGES = frozenset({"theory", "simulate", "llm_validation", "figures", "paper"})


@cache
def fingerprint(*modules: str, root: Path = ROOT) -> str:
    """Twelve hex digits of the code that the modules can reach, comments and docstrings left out.

    It is of the files as they are when it is first asked for: a long run is not confused by an edit.

    Parameters
    ----------
    *modules : str
        Dotted names.
    root : Path
        The checkout, or the folder that the packages are installed in.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        A module that is not there.

    Examples
    --------
    >>> len(fingerprint("theory.policy.nash"))
    12
    """
    digest = hashlib.sha256()
    for path in sorted(reach(*modules, root=root)):
        digest.update(f"{path.as_posix()}\n{_code_of(root / path)}".encode())
    return digest.hexdigest()[:12]


def defining(function: Callable[..., object]) -> str:
    """The module that a function is written in, seen through `partial`."""
    while isinstance(function, partial):
        function = function.func
    return function.__module__


def reach(*modules: str, root: Path = ROOT) -> frozenset[Path]:
    """Files, relative to `root`, of the modules and of everything of the project that they import."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found:
            if _file(module, root) is None:
                raise ValueError(f"no module {module!r} in {root}")
            found.add(module)
            waiting += imported(module, root) - found
    return frozenset(path for path in (_file(module, root) for module in found) if path is not None)


@cache
def imported(module: str, root: Path = ROOT) -> frozenset[str]:
    """Modules of the project that a module imports, each the one that defines the imported name."""
    file = _file(module, root)
    assert file is not None, module
    return frozenset(found for name in _names(root / file) for found in _defining(name, root))


@cache
def _code_of(path: Path) -> str:
    return code_alone(path.read_text(encoding="utf-8"))


#: A comment, or a string, in which there is none: the prefix of a string does not matter for where it ends.
_COMMENT_OR_STRING = re.compile(
    r"""#[^\n]*|\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}(?:[^\\]|\\.)*?'{3}|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""", re.DOTALL
)


def code_alone(source: str) -> str:
    """Python source without comments, docstrings and blank lines."""
    bare = _COMMENT_OR_STRING.sub(lambda found: "" if found[0].startswith("#") else found[0], source)
    lines = bare.splitlines()
    for node in _statements(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                lines[first.lineno - 1 : first.end_lineno] = [""] * (first.end_lineno - first.lineno + 1)  # type: ignore[operator]
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """A module or statement and all statements in it; expressions, of which a file mostly consists, are passed by."""
    yield node
    for field in ("body", "orelse", "handlers", "finalbody", "cases"):
        for inner in getattr(node, field, ()):
            yield from _statements(inner)


@cache
def _names(path: Path) -> tuple[str, ...]:
    """Dotted names that a file of the project imports from the project."""
    found: list[str] = []
    for node in _statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in PACKAGES]
    return tuple(found)


def _defining(name: str, root: Path) -> frozenset[str]:
    """The module that a dotted name is, or that defines it; for a package, all whose names are on its page."""
    if _file(name, root) is not None:
        return frozenset({name})
    if _page(name, root):
        return frozenset(found for entry in _names(_page_file(name, root)) for found in _defining(entry, root))
    owner, _, attribute = name.rpartition(".")
    if not owner:
        return frozenset()
    if _file(owner, root) is not None:
        return frozenset({owner})
    if _page(owner, root):
        entries = [entry for entry in _names(_page_file(owner, root)) if entry.rpartition(".")[2] == attribute]
        return frozenset(found for entry in entries for found in _defining(entry, root))
    return frozenset()


def _file(module: str, root: Path) -> Path | None:
    """A module's file relative to `root`, if it is one; a package is not."""
    path = Path(*module.split(".")).with_suffix(".py")
    return path if (root / path).is_file() else None


def _page_file(package: str, root: Path) -> Path:
    return root / Path(*package.split(".")) / "__init__.py"


def _page(package: str, root: Path) -> bool:
    return _page_file(package, root).is_file()
