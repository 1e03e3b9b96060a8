"""The rules that keep the project readable, as tests: layers, purity, no global randomness, sizes, and the language."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

from simulate.rows.reach import imported
from tests.processes import run_anew

ROOT = Path(__file__).resolve().parents[2]
#: The pipeline, left to right: a file imports from its own folder and from folders to its left.
FOLDERS = ("theory", "simulate", "llm_validation", "figures", "paper")
#: Lessons are notebooks in the form of scripts (paper/lessons/01_users.py): their rules are those of their own tests.
SOURCES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")) if not path.name[0].isdigit()]
name = lambda path: path.relative_to(ROOT).as_posix()
folder_of = lambda path: path.relative_to(ROOT).parts[0]


@functools.cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path))


@functools.cache
def nodes_of(path: Path) -> list[ast.AST]:
    """All nodes of a file, walked once for all tests."""
    return list(ast.walk(tree_of(path)))


@functools.cache
def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Names of the packages that a file imports."""
    found: set[str] = set()
    for node in tree_of(path).body if top_level_only else nodes_of(path):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative imports hide the layer"
            found.add(str(node.module).split(".")[0])
    return found


def test_imports_point_left():
    right = {name(path): set(FOLDERS[FOLDERS.index(folder_of(path)) + 1 :]) & imports(path) for path in SOURCES}
    assert {where: found for where, found in right.items() if found} == {}
    for path in SOURCES:
        # exercises are marked by measuring
        if folder_of(path) in ("figures", "paper") and path.parent.name != "lessons":
            read = set(re.findall(r"from (simulate\.\w+)", text_of(path)))
            # the last: options of command lines
            allowed = {"simulate.rows", "simulate.montecarlo", "simulate.people", "simulate.numbers"}
            assert read <= allowed, f"{path}: figures and paper only read"


def test_heavy_packages_stay_where_they_belong():
    for path in SOURCES:
        if folder_of(path) != "llm_validation":
            assert not imports(path) & {"torch", "transformers", "accelerate"}, path
        assert "cvxpy" not in imports(path, top_level_only=True), f"{path}: cvxpy is imported where it is used"
        if folder_of(path) == "theory":
            text = text_of(path)
            assert "np.random" not in text, f"{path}: theory is deterministic"
            assert "default_rng" not in text, f"{path}: theory is deterministic"


def test_randomness_is_an_argument():
    for path in SOURCES:
        allowed = {"Generator", "SeedSequence", "default_rng"}
        if path.name == "uniforms.py":
            allowed.add("Philox")  # counter-based, its key from a generator of simulate/montecarlo.py
        used = set(re.findall(r"np\.random\.(\w+)", text_of(path)))
        assert used <= allowed, f"{path}: global randomness {used - allowed}"
        if "default_rng" in used:
            assert path.name == "montecarlo.py", "generators are made in one place, simulate/montecarlo.py"


#: Imported inside a function, so that what does not use them starts without them.
HEAVY = (
    {
        "torch",
        "transformers",
        "tokenizers",
        "accelerate",
        "safetensors",
        "peft",
        "cvxpy",
        "pandas",
        "matplotlib",
        "joblib",
    }
    | {
        "cloudpickle",
        "distributed",
        "ray",
        "submitit",
        "pyarrow",
        "peft",
        "jupytext",
        "nbformat",
        "nbclient",
        "nbconvert",
    }
    | {"vaderSentiment"}
)
#: What still breaks a rule; an entry that no longer does fails the test that it is an exception of.
LONG_FILES: set[str] = set()
LONG_FUNCTIONS: set[str] = set()
INNER_IMPORTS = {"llm_validation/__main__.py:main"}
SWALLOW_SETTINGS: set[str] = set()
WITHOUT_DOCSTRING: set[str] = set()
CIRCLES: set[str] = set()

ALL_FILES = [*SOURCES, *sorted((ROOT / "tests").rglob("*.py"))]


@functools.cache
def functions(path: Path) -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """(file:function, node) of every function, methods and inner ones too."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [(f"{name(path)}:{n.name}", n) for n in nodes_of(path) if isinstance(n, kinds)]


def test_files_are_short_and_documented():
    assert {name(path) for path in ALL_FILES if len(text_of(path).splitlines()) > 400} == LONG_FILES
    assert not [name(path) for path in ALL_FILES if not ast.get_docstring(tree_of(path))]


def test_functions_are_short():
    long = {
        where for path in ALL_FILES for where, f in functions(path) if f.end_lineno - f.lineno >= 50 + documented(f)
    }
    assert long == LONG_FUNCTIONS


def documented(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the docstring: sections of numpydoc are not what makes a function long."""
    first = function.body[0]
    return first.end_lineno - first.lineno + 1 if ast.get_docstring(function) else 0


def test_imports_stand_at_the_top():
    kinds = ast.Import | ast.ImportFrom
    indented = [path for path in SOURCES if any(isinstance(n, kinds) and n.col_offset for n in nodes_of(path))]
    inner = {where for path in indented for where, f in functions(path) for node in ast.walk(f)
             if isinstance(node, kinds) and not packages_of(node) & HEAVY}  # fmt: skip
    assert inner == INNER_IMPORTS


def packages_of(node: ast.Import | ast.ImportFrom) -> set[str]:
    """First words of what a statement imports."""
    dotted = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    return {name.split(".")[0] for name in dotted}


def test_no_function_swallows_settings():
    swallow = {where for path in SOURCES for where, f in functions(path) if f.args.kwarg and f.args.kwarg.arg == "_"}
    assert swallow == SWALLOW_SETTINGS


def test_public_names_are_documented():
    silent = {f"{name(path)}:{node.name}" for path in SOURCES for node in tree_of(path).body
              if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
              and not ast.get_docstring(node)}  # fmt: skip
    assert silent == WITHOUT_DOCSTRING


def test_modules_import_in_one_direction():
    """No module reaches itself through what it imports; pages of names are looked through."""
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in SOURCES if path.name != "__init__.py"}
    edges = {module: imported(module) - {module} for module in modules}
    assert {module for module in modules if module in reachable(module, edges)} == CIRCLES


def reachable(start: str, edges: dict[str, frozenset[str]]) -> set[str]:
    """What can be reached from a module by one import or more."""
    found: set[str] = set()
    waiting = list(edges[start])
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += edges.get(module, frozenset())
    return found


def test_theory_imports_without_cvxpy_or_torch():
    run_anew(
        "import theory.claims, theory.policy, simulate.experiments, figures.distortion, paper.ledger",
        missing=("cvxpy", "torch"),
    )


def test_language_models_train_without_cvxpy():
    run_anew("import llm_validation.__main__, llm_validation.runs.catalogues", missing=("cvxpy",))


def test_a_package_page_holds_names_and_no_code():
    # the pages of stages import their names when they are used, and `theory.distortion` can be called
    code = {*(f"{stage}/__init__.py" for stage in FOLDERS[:3]), "theory/distortion/__init__.py"}
    for path in SOURCES:
        if path.name == "__init__.py" and name(path) not in code:
            for node in tree_of(path).body[1:]:
                listed = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
                assert listed or isinstance(node, ast.Import | ast.ImportFrom), f"{path}: {ast.unparse(node)[:60]}"


def test_text_is_read_and_written_as_utf8_wherever_it_runs():
    """The encoding of a locale is not the one in which β was written."""
    for path in SOURCES:
        for call in ast.walk(tree_of(path)):
            if not isinstance(call, ast.Call):
                continue
            does = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            given = {keyword.arg for keyword in call.keywords}
            said = ast.unparse(call)
            text = isinstance(call.func, ast.Attribute) and does in ("read_text", "write_text")
            text |= "text" in given or (does in ("open", "fdopen") and not re.search(r"'[rwxa+]*b[+]?'|os\.open", said))
            assert not text or "encoding" in given, f"{path}: {said[:80]}"
    for path in (ROOT / "tests").rglob("*.py"):  # which read the same files
        assert not re.search(r"\.read_text\(\)", path.read_text(encoding="utf-8")), path
