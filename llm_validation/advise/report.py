"""The report: sections of findings, every line a number with its error or a sentence with its claim."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from llm_validation.advise.findings import Finding
from llm_validation.preferences.shown import exact, plus_minus, share_of
from theory.claim import Claim
from theory.claims import CLAIMS
from theory.markup import html

#: The colours and letters of the project's page, which is `paper/page/style.css`.
_STYLE = (
    ":root{color-scheme:light dark;--paper:#fbfaf6;--raised:#fff;--ink:#1d1c1a;--soft:#5f5b54;--line:#dfdbd1}"
    "@media(prefers-color-scheme:dark){:root{--paper:#15171a;--raised:#1d2024;--ink:#ece8df;--soft:#a8a297;"
    "--line:#363a40}}body{font:16px/1.5 system-ui,sans-serif;background:var(--paper);color:var(--ink);max-width:74rem;"
    "margin:2em auto;padding:0 1em;overflow-wrap:anywhere}h1,h2{font-family:Palatino,Georgia,serif;font-weight:600;"
    "line-height:1.2}table{border-collapse:collapse}td,th{padding:.25em .9em .25em 0;text-align:left;"
    "vertical-align:top;overflow-wrap:normal;border-top:1px solid var(--line)}th{color:var(--soft);font-weight:400;"
    "border:0}td:first-child{min-width:9em}td+td{min-width:6em}div{overflow-x:auto}pre{background:var(--raised);"
    "border:1px solid var(--line);padding:1em;white-space:pre-wrap}"
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
    claims = {claim.id: claim.statement for claim in _named(sections)}
    return (
        json.dumps({**about, "sections": parts, "claims": claims}, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    )


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
    lead = "What these preferences and this model allow, and which method to use. A number is followed by its standard "
    lead += f"error, or a share by its interval of 95 %. {about['minutes']:g} minutes given, seed {about['seed']}."
    rows = "".join(_row("td", (claim.id, claim.title, claim.statement)) for claim in _named(sections))
    claims = f"<h2>The claims named above</h2><div><table>{rows}</table></div>" if rows else ""
    body = "".join(map(_section, sections)) + claims
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    return (
        f'<!doctype html><html lang="en">{head}<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>'
        f"<p>{lead}</p>{body}</html>\n"
    )


def _named(sections: Sequence[Section]) -> list[Claim]:
    """The claims that lines and tables name, in order."""
    cells = {finding.claim for section in sections for finding in section.findings}
    cells |= {row[-1] for section in sections if section.table for row in section.table.rows}
    return [claim for claim in CLAIMS if claim.id in cells]


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
    """Value ± error, or with its interval; nothing for a sentence."""
    if finding.value is None:
        return ""
    if finding.interval is not None:
        return f"{share_of(finding.value, finding.interval)} (95 %)"
    return exact(finding.value) if finding.error is None else plus_minus(finding.value, finding.error)
