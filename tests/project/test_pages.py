"""Pages of packages: names that mean one thing, and pages that cost nothing until a name is used."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("theory", "simulate", "llm_validation", "figures", "paper")
PAGES = [page for folder in FOLDERS for page in sorted((ROOT / folder).rglob("__init__.py"))]
#: A package that is a function too, and can be called (its page says how).
CALLED = {"theory.distortion", "theory.distortion.audit"}
UNFINISHED = {"claims"}
#: The README's tree lists the files of these two; the pages of theory are about its mathematics.
IN_THE_TREE = {"simulate", "llm_validation"}
LISTING = [page for page in PAGES if (name := page.parent.relative_to(ROOT).as_posix()) not in IN_THE_TREE
           and (name == "theory/distortion/audit" or not name.startswith("theory"))]  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.relative_to(ROOT).as_posix())
def test_no_module_shadows_a_public_name(page):
    """Importing `package.name`, the module, would put it in place of the function of that name."""
    package = ".".join(page.parent.relative_to(ROOT).parts)
    listed = [node.value for node in ast.parse(page.read_text(encoding="utf-8")).body
              if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"]  # fmt: skip
    public = {name for value in listed for name in ast.literal_eval(value)}
    modules = {path.stem for path in page.parent.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    shadowed = {f"{package}.{name}" for name in public & modules}
    assert shadowed <= CALLED


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.relative_to(ROOT).as_posix())
def test_a_package_has_a_page(page):
    text = page.read_text(encoding="utf-8")
    assert "__all__" in text, f"{page} does not say what is public"
    assert ">>> " in (ast.get_docstring(ast.parse(text)) or ""), f"{page} has no example"


@pytest.mark.parametrize("page", LISTING, ids=lambda page: page.parent.relative_to(ROOT).as_posix())
def test_a_page_names_every_file_of_its_package(page):
    """Before its example; a lesson is a number and a name, `NN_name.py`."""
    said = set(
        re.findall(
            r"\w+", (ast.get_docstring(ast.parse(page.read_text(encoding="utf-8"))) or "").split("\nExamples\n")[0]
        )
    )
    files = {path.stem for path in page.parent.glob("[!_]*.py") if not path.stem[0].isdigit()}
    packages = {path.parent.name for path in page.parent.glob("*/__init__.py")}
    assert files | packages <= said


SOURCES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
EXAMPLES = [path for path in SOURCES if re.search(r"^ *>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_examples_run(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    failed, attempted = doctest.testmod(importlib.import_module(name))
    assert attempted
    assert not failed


NAMED = re.compile(rf"`((?:{'|'.join(FOLDERS)}|tests)[./][\w./]+)`")


def test_what_stands_between_backticks_is_there():
    """Modules, functions and files that docstrings and comments name in full."""
    named = {(path, name) for path in SOURCES for name in NAMED.findall(path.read_text(encoding="utf-8"))}
    assert len(named) > 100
    assert not [f"{path.relative_to(ROOT)}: {name}" for path, name in sorted(named) if not _is_there(name)]


def _is_there(name: str) -> bool:
    if "/" in name:
        return (ROOT / name).exists()
    try:
        return pkgutil.resolve_name(name) is not None
    except (ImportError, AttributeError):
        return False


def test_public_functions_say_what_they_take_and_return():
    """Every function of a page has numpydoc's sections and an example."""
    sections = ("Parameters", "Returns", "Examples")
    missing = []
    for page in PAGES:
        package = importlib.import_module(".".join(page.parent.relative_to(ROOT).parts))
        for public in getattr(package, "__all__", ()):
            found = getattr(package, public)
            if inspect.isfunction(found) and page.parent.name not in UNFINISHED:
                text = inspect.getdoc(found) or ""
                taken = sections if inspect.signature(found).parameters else sections[1:]
                missing += [f"{public}: {name}" for name in taken if f"{name}\n{'-' * len(name)}\n" not in text]
    assert not missing


def test_pages_of_stages_import_nothing():
    heavy = "{'numpy', 'scipy', 'torch', 'transformers'}"
    code = f"import sys, simulate, llm_validation; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("package", ["simulate", "llm_validation"])
def test_lazy_names_are_there_and_others_are_not(package):
    module = __import__(package)
    assert all(callable(getattr(module, name)) for name in module.__all__)
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_what_holds_arrays_is_compared_as_an_object():
    """Field by field, `==` of two results and a set of them would be an error of numpy's."""
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "theory").rglob("[a-z]*.py")}
    for name in sorted(modules - {"theory.__main__"}):
        for made in vars(importlib.import_module(name)).values():
            if not (inspect.isclass(made) and dataclasses.is_dataclass(made) and made.__module__ == name):
                continue
            if made.__name__[0] != "_" and any(
                str(field.type).startswith(("Array", "NDArray")) for field in dataclasses.fields(made)
            ):
                assert made.__eq__ is object.__eq__, f"{name}.{made.__name__} needs eq=False"
