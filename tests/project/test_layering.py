"""The rules that keep the project readable, as tests: layers, purity, no global randomness, sizes, and the language."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: The pipeline, left to right: a file imports from its own folder and from folders to its left.
FOLDERS = ("theory", "simulate", "llm_validation", "figures", "paper")
SOURCES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
name = lambda path: path.relative_to(ROOT).as_posix()
folder_of = lambda path: path.relative_to(ROOT).parts[0]


def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Names of the packages that a file imports."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative imports hide the layer"
            found.add(str(node.module).split(".")[0])
    return found


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_imports_point_left(path):
    own = FOLDERS.index(folder_of(path))
    right = set(FOLDERS[own + 1 :]) & imports(path)
    assert not right, f"{path} imports {right}, to its right"
    if folder_of(path) in ("figures", "paper"):
        read = set(re.findall(r"from (simulate\.\w+)", path.read_text()))
        assert read <= {"simulate.rows", "simulate.montecarlo", "simulate.people"}, "figures and paper only read"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_heavy_packages_stay_where_they_belong(path):
    if folder_of(path) != "llm_validation":
        assert not imports(path) & {"torch", "transformers", "accelerate"}
    assert "cvxpy" not in imports(path, top_level_only=True), "cvxpy is imported where it is used"
    if folder_of(path) == "theory":
        text = path.read_text()
        assert "np.random" not in text, "theory is deterministic"
        assert "default_rng" not in text, "theory is deterministic"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_randomness_is_an_argument(path):
    allowed = {"Generator", "SeedSequence", "default_rng"}
    if path.name == "uniforms.py":
        allowed.add("Philox")  # counter-based, its key from a generator of simulate/montecarlo.py
    used = set(re.findall(r"np\.random\.(\w+)", path.read_text()))
    assert used <= allowed, f"{path}: global randomness {used - allowed}"
    if "default_rng" in used:
        assert path.name == "montecarlo.py", "generators are made in one place, simulate/montecarlo.py"


#: Imported inside a function, so that what does not use them starts without them.
HEAVY = {"torch", "transformers", "tokenizers", "accelerate", "safetensors", "cvxpy", "pandas", "matplotlib", "joblib"}
#: What still breaks a rule; an entry that no longer does fails the test that it is an exception of.
