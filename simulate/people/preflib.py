"""Election data of PrefLib: .soc, .soi, .toc and .toi files, strict or tied orders, complete or incomplete.

Both of its formats: `# ALTERNATIVE NAME 1: …` with lines `count: 1,2,{3,4}`, and the older one that begins with the
number of alternatives. Source: Mattei, Walsh, "PrefLib" (ADT 2013), preflib.org/format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from simulate.people.data import Cells
from simulate.people.table import read_text, shown
from theory.validate import Array

SUFFIXES = (".soc", ".soi", ".toc", ".toi")
#: PrefLib's other formats, which hold no orders.
OTHERS = (".cat", ".wmd", ".tog", ".mjg", ".pwg", ".wmg")
#: One place of an order: an alternative, or several that are tied; and a whole order.
PLACE = re.compile(r"\{([^{}]*)\}|([^,{}]+)")
ORDER = re.compile(rf"(({PLACE.pattern})(,({PLACE.pattern}))*)?")
#: What the lines above the orders say, with the numbers that must be found below.
SAYS = re.compile(r"#\s*NUMBER (ALTERNATIVES|VOTERS|UNIQUE ORDERS)\s*:\s*(\d{1,15})")
#: Most voters times alternatives.
LARGEST = 10**9

#: (line, count, order) as text.
Order = tuple[int, str, str]


def is_preflib(path: Path) -> bool:
    """By the name, compressed or not. ValueError for a format of PrefLib's that holds no orders."""
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix in OTHERS:
        raise ValueError(f"{path}: of PrefLib's files {', '.join(SUFFIXES)} are read, {suffix} holds no orders")
    return suffix in SUFFIXES


def read_preflib(path: Path, encoding: str | None) -> tuple[Cells, tuple[str, ...]]:
    """Ranks (users, items), a row per voter, and what is to be said; ValueError names the line of what is no order."""
    text, used = read_text(path, encoding)
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    modern = any(line.startswith("#") for _, line in lines)
    names, orders, said = _modern(path, lines) if modern else _older(path, lines)
    if len(names) < 2 or not orders:
        raise ValueError(f"{path} has {len(names)} alternatives and {len(orders)} orders; two and one are needed")
    place = {number: k for k, number in enumerate(names)}
    counts = [_voters(path, line, count) for line, count, _ in orders]
    found = {"ALTERNATIVES": len(names), "VOTERS": sum(counts), "UNIQUE ORDERS": len(orders)}
    for what, number in said.items():
        if number != found[what]:
            raise ValueError(f"{path} says {number} {what.lower()} and has {found[what]}: is it cut off?")
    if sum(counts) * len(names) > LARGEST:
        raise ValueError(f"{path}: {sum(counts)} voters and {len(names)} alternatives are more than memory holds")
    ranks = np.stack([_ranks(path, line, order, place) for line, _, order in orders])
    voters = np.repeat(np.arange(len(orders)), counts)
    at = np.array([line for line, _, _ in orders], dtype=np.int64)
    notes = (f"encoding {used}, PrefLib: {len(voters)} voters, {len(orders)} different orders",)
    return Cells(path, ranks[voters], at[voters], tuple(names.values())), notes


def _voters(path: Path, line: int, count: str) -> int:
    if not (re.fullmatch(r"\d{1,15}", count, re.ASCII) and int(count) > 0):
        raise ValueError(f"{path}, line {line}: {shown(count)} is not a number of voters")
    return int(count)


def _ranks(path: Path, line: int, order: str, place: Mapping[str, int]) -> Array:
    """Ranks (items,) of one order, NaN for alternatives that it does not name."""
    ranks, rank = np.full(len(place), np.nan), 1.0
    order = re.sub(r"\s*([,{}])\s*", r"\1", order.strip())
    if not ORDER.fullmatch(order):
        raise ValueError(f"{path}, line {line}: {shown(order)} is no order: alternatives, ties in braces")
    for tied, single in PLACE.findall(order):
        members = [member.strip() for member in (tied or single).split(",")]
        for member in members:
            if member not in place:
                raise ValueError(f"{path}, line {line}: there is no alternative {shown(member)}")
            if not np.isnan(ranks[place[member]]):
                raise ValueError(f"{path}, line {line}: alternative {shown(member)} stands twice in one order")
            ranks[place[member]] = rank + (len(members) - 1) / 2
        rank += len(members)
    return ranks


def _name(names: dict[str, str], path: Path, line: int, number: str, name: str) -> None:
    """One more alternative; ValueError for a number or a name that stands there already, or for none."""
    if number in names or name in names.values() or not name:
        what = "has no name" if not name else f"{shown(name)}: the number or the name stands twice"
        raise ValueError(f"{path}, line {line}: alternative {number} {what}")
    names[number] = name


def _modern(path: Path, lines: list[tuple[int, str]]) -> tuple[dict[str, str], list[Order], dict[str, int]]:
    names, orders, said = dict[str, str](), list[Order](), dict[str, int]()
    for number, line in lines:
        if found := re.match(r"#\s*ALTERNATIVE NAME\s+(\d+)\s*:\s*(.*)", line):
            _name(names, path, number, found[1], found[2].strip())
        elif found := SAYS.fullmatch(line):
            said[found[1]] = int(found[2])
        elif not line.startswith("#"):
            count, colon, order = line.partition(":")
            if not colon:
                raise ValueError(f"{path}, line {number}: {shown(line)} is no `count: order`")
            orders.append((number, count.strip(), order))
    return names, orders, said


def _older(path: Path, lines: list[tuple[int, str]]) -> tuple[dict[str, str], list[Order], dict[str, int]]:
    number, first = lines[0] if lines else (1, "")
    if not re.fullmatch(r"\d{1,6}", first, re.ASCII) or len(lines) < int(first) + 2:
        raise ValueError(f"{path}, line {number}: {shown(first)} is not the number of alternatives of a PrefLib file")
    cut = 1 + int(first)
    names = dict[str, str]()
    for number, line in lines[1:cut]:
        _name(names, path, number, line.split(",", 1)[0].strip(), line.partition(",")[2].strip())
    number, sums = lines[cut]
    if not (said := re.fullmatch(r"(\d{1,15})\s*,\s*(\d{1,15})\s*,\s*(\d{1,15})", sums, re.ASCII)):
        raise ValueError(f"{path}, line {number}: {shown(sums)} is not the numbers of voters, votes and orders")
    split = [(number, *line.partition(",")) for number, line in lines[cut + 1 :]]
    orders = [(number, count.strip(), order) for number, count, _, order in split]
    return names, orders, {"VOTERS": int(said[2]), "UNIQUE ORDERS": int(said[3])}
