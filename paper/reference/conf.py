"""Sphinx: the API reference, one page per package with an `__all__`, from the docstrings. `make reference`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

project, author, html_theme = "alignment-theory", "the authors", "alabaster"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
autodoc_typehints, napoleon_google_docstring, napoleon_use_rtype = "none", False, False
default_role = "code"
exclude_patterns: list[str] = []


def setup(app: Any) -> None:
    """Connect what turns plain docstrings into markup, before napoleon reads their sections."""
    app.connect("autodoc-process-docstring", _plain_to_rst, priority=1)


def _plain_to_rst(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Indented formulas as literal blocks; `|` and `*` of the mathematics are no markup."""
    text: list[str] = []
    sections = next((k for k, line in enumerate(lines) if re.match(r"-{5,}$", line)), len(lines))
    for k, line in enumerate(lines):
        formula = k < sections and line.startswith("    ")
        if formula and text and not text[-1].strip():
            text += ["::", ""]
        text.append(line if formula or line.startswith(">>>") else re.sub(r"(?<!\\)([|*])", r"\\\1", line))
    lines[:] = text
