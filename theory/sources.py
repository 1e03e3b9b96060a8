"""Where a claim comes from: keys of paper/references.bib with a place in the paper, printed the same way everywhere.

A source is parts joined by ";". A part that begins with "@key" cites an entry of the bibliography, and what follows is
the place in it; other parts are words of our own: "@golz2025 Thm 2; @alipour2026 (upper bound 2L); exact value
ours".

>>> plain("@golz2025 Thm 2; @alipour2026 (upper bound 2L); exact value ours")
'Gölz et al. 2025, Thm 2; Alipour and Goyal 2026 (upper bound 2L); exact value ours'
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

BIBLIOGRAPHY = Path(__file__).resolve().parents[1] / "paper" / "references.bib"
_ACCENTS = {'"': "\u0308", "'": "\u0301", "`": "\u0300", "^": "\u0302", "~": "\u0303"}


@dataclass(frozen=True)
class Reference:
    """One entry of the bibliography. `authors` as "Family, Given"; `arxiv` is the number, empty where there is none."""

    key: str
    authors: tuple[str, ...]
    title: str
    year: int
    arxiv: str

    @property
    def short(self) -> str:
        """Family names and year: "Gölz et al. 2025"."""
        names = [author.split(",")[0] for author in self.authors]
        several = len(names) > 2 or "others" in names
        return f"{f'{names[0]} et al.' if several else ' and '.join(names)} {self.year}"


@cache
def bibliography(path: Path = BIBLIOGRAPHY) -> dict[str, Reference]:
    """Every entry of a .bib file by its key; FileNotFoundError says where it was looked for."""
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: the sources of claims are in a checkout's paper/references.bib")
    entries = re.findall(r"^@\w+\{([^,\s]+),(.*?)^\}", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return {key: _entry(key, text) for key, text in entries}


def _entry(key: str, text: str) -> Reference:
    found = re.findall(r"(\w+)\s*=\s*\{((?:[^{}]|\{[^{}]*\})*)\}", text)
    field = {name.lower(): _unicode(value) for name, value in found}
    return Reference(
        key, tuple(field["author"].split(" and ")), field["title"], int(field["year"]), field.get("eprint", "")
    )


def _unicode(text: str) -> str:
    accented = re.sub(r"\\([\"'`^~])\{?(\w)\}?", lambda m: m[2] + _ACCENTS[m[1]], text)
    return unicodedata.normalize("NFC", re.sub(r"[{}]", "", accented))


def reference(key: str) -> Reference:
    """The entry of that key; ValueError lists the keys there are."""
    if key not in bibliography():
        raise ValueError(f"no reference {key!r}; the keys are {', '.join(bibliography())}")
    return bibliography()[key]


def parts(source: str) -> Iterator[tuple[str, str]]:
    """(key, place) of every part of a source; the key is empty for words of our own."""
    for part in source.split(";"):
        key, place = re.fullmatch(r"(?:@(\S+))?\s*(.*)", part.strip()).groups()  # type: ignore[union-attr]
        yield key or "", place


def cited(source: str) -> list[str]:
    """Keys that a source cites, in order."""
    return [key for key, _ in parts(source) if key]


def plain(source: str) -> str:
    """A source for readers, "Gölz et al. 2025, Thm 2; exact value ours". ValueError for an unknown key."""
    return "; ".join(
        reference(key).short + (f"{' ' if place.startswith('(') else ', '}{place}" if place else "") if key else place
        for key, place in parts(source)
    )
