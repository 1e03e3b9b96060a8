"""The report: sections of findings, every line a number with its error or a sentence with its claim."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from llm_validation.advise.findings import Finding
from theory.markup import html

_STYLE = (
    "body{font:16px sans-serif;max-width:64em;margin:2em auto;padding:0 1em;overflow-wrap:anywhere}td,th{padding:.2em "
    ".8em .2em 0;text-align:left;vertical-align:top;overflow-wrap:normal}td:first-child{min-width:9em}"
    "div{overflow-x:auto}pre{background:#eee;padding:1em;white-space:pre-wrap}"
)


@dataclass(frozen=True)
class Grid:
    """A table of text: names of its columns, and its rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A title, lines, and a table where there is one; `command` is to be pasted."""

    title: str
    findings: tuple[Finding, ...]
    table: Grid | None = None
    command: str = ""


def as_json(sections: Sequence[Section], about: Mapping[str, Any]) -> str:
    """Strict JSON; an infinite value is the string "inf"."""
    parts = [
        {
            "title": section.title,
            "findings": [_plain(finding) for finding in section.findings],
            **({"table": asdict(section.table)} if section.table else {}),
            **({"command": section.command} if section.command else {}),
        }
        for section in sections
    ]
    return json.dumps({**about, "sections": parts}, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _plain(finding: Finding) -> dict[str, Any]:
    """Numbers that JSON has not are words, those that are none are null."""
    row = asdict(finding)
    for name in ("value", "error"):
        if row[name] is not None and not math.isfinite(row[name]):
            row[name] = None if math.isnan(row[name]) else "inf"
    return row


def as_html(sections: Sequence[Section], about: Mapping[str, Any]) -> str:
    """A page; names from outside are escaped."""
    title = f"{html(str(about['data']))} and {html(str(about['model']))}"
    body = "".join(map(_section, sections))
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    return (
        f'<!doctype html><html lang="en">{head}<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>{body}'
        "</html>\n"
    )


def _section(section: Section) -> str:
    lines = "".join(
        f"<tr><td>{html(f.text)}</td><td>{html(number(f))}</td><td>{f.claim or ''}</td></tr>" for f in section.findings
    )
    parts = [
        f"<h2>{html(section.title)}</h2>",
        f"<div><table><tr><th></th><th>value</th><th>claim</th></tr>{lines}</table></div>",
    ]
    if section.table:
        cells = [_row("th", section.table.columns), *(_row("td", row) for row in section.table.rows)]
        parts.append(f"<div><table>{''.join(cells)}</table></div>")
    if section.command:
        parts.append(f"<pre>{html(section.command)}</pre>")
    return "".join(parts)


def _row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html(cell)}</{tag}>' for cell in cells)}</tr>"


def number(finding: Finding) -> str:
    """Value ± error; nothing for a sentence."""
    if finding.value is None:
        return ""
    known = finding.error is not None and math.isfinite(finding.error)
    return f"{finding.value:.6g}" + (f" ± {finding.error:.2g}" if known else "")
