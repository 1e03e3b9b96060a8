"""The reference of the public API as HTML: docstrings of every name in an `__all__`, read from the source.

Nothing is imported, so that the reference of `llm_validation` needs no torch. Docstrings are plain text with numpydoc
sections: indented lines and examples stand as they are, backticks are code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path

from simulate.rows.reach import ROOT

STAGES = ("theory", "simulate", "llm_validation")
SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}\n", re.MULTILINE)
Definition = ast.FunctionDef | ast.ClassDef


def api_reference(root: Path = ROOT) -> str:
    """A section per package that has public names, with an entry per name."""
    pages = [page for stage in STAGES for page in sorted((root / stage).rglob("__init__.py"))]
    return "\n".join(section for page in pages if (section := _package(page, root)))


def _package(page: Path, root: Path) -> str:
    tree = ast.parse(page.read_text(encoding="utf-8"))
    package = ".".join(page.parent.relative_to(root).parts)
    entries = [_entry(package, name, home, root) for name, home in public_names(tree)]
    if not entries:
        return ""
    intro = rendered(ast.get_docstring(tree) or "")
    return f'<section><h3 id="api-{package}">{package}</h3>{intro}{"".join(entries)}</section>'


def public_names(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(name, module that it is imported from) of every name in a page's `__all__`."""
    imported = {alias.asname or alias.name: str(node.module) for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom) for alias in node.names}  # fmt: skip
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            yield from ((name, imported.get(name, "")) for name in ast.literal_eval(node.value))


def _entry(package: str, name: str, home: str, root: Path) -> str:
    found = _definition(name, home, root)
    text = (ast.get_docstring(found) or "") if found else ""
    signature = f"({escape(ast.unparse(found.args))})" if isinstance(found, ast.FunctionDef) else ""
    kind = {ast.FunctionDef: "", ast.ClassDef: "class "}.get(type(found), "constant ")
    summary, _, rest = text.partition("\n")
    return (
        f'<details class="api" id="api-{package}.{name}"><summary><code>{kind}<b>{escape(name)}</b></code> '
        f"<span>{with_code(summary)}</span></summary>"
        f'<pre class="signature">{escape(name)}{signature}</pre>{rendered(rest)}'
        f'<p class="home"><code>{escape(home or package)}</code></p></details>'
    )


def _definition(name: str, home: str, root: Path, depth: int = 3) -> Definition | None:
    """The function or class of that name, through pages that pass it on; None for a constant."""
    path = root.joinpath(*home.split("."))
    file = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    if not home or not file.is_file() or not depth:
        return None
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, Definition) and node.name == name:
            return node
    for passed in ast.walk(tree):
        if isinstance(passed, ast.ImportFrom) and name in {alias.name for alias in passed.names}:
            return _definition(name, str(passed.module), root, depth - 1)
    return None


def rendered(text: str) -> str:
    """A docstring as HTML: paragraphs, and numpydoc's sections under their headings."""
    head, *rest = SECTION.split(text)
    body = _blocks(head)
    for title, content in zip(rest[::2], rest[1::2], strict=True):
        inner = _parameters(content) if title in ("Parameters", "Returns", "Raises") else _blocks(content)
        body += f"<h4>{title}</h4>{inner}"
    return body


def _parameters(text: str) -> str:
    """`name : type` lines with the indented lines below each."""
    out: list[str] = []
    for line in text.strip("\n").splitlines():
        if line.strip():
            indented = line.startswith(" ")
            out.append(f"<dd>{with_code(line.strip())}</dd>" if indented else f"<dt>{with_code(line)}</dt>")
    return f"<dl>{''.join(out)}</dl>".replace("</dd><dd>", " ")


def _blocks(text: str) -> str:
    """Blank lines part paragraphs; one that is indented, a table or an example is preformatted."""
    out = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        if not block.strip():
            continue
        plain = any(line.startswith((" ", ">>> ", "|")) for line in block.splitlines())
        out.append(f"<pre>{escape(block)}</pre>" if plain else f"<p>{with_code(block)}</p>")
    return "".join(out)


def with_code(text: str) -> str:
    """Text as HTML, what stands between backticks as code."""
    return re.sub(r"`+([^`]+)`+", r"<code>\1</code>", escape(text))
