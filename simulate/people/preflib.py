"""Election data of PrefLib: .soc, .soi, .toc and .toi files, strict or tied orders, complete or incomplete.

Both of its formats: `# ALTERNATIVE NAME 1: …` with lines `count: 1,2,{3,4}`, and the older one that begins with the
number of alternatives. Source: Mattei, Walsh, "PrefLib" (ADT 2013), preflib.org/format.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from simulate.people.data import Cells
from simulate.people.table import read_text, shown

SUFFIXES = (".soc", ".soi", ".toc", ".toi")
#: One place of an order: an alternative, or several that are tied.
PLACE = re.compile(r"\{([^{}]*)\}|([^,{}]+)")


def is_preflib(path: Path) -> bool:
    """By the name, compressed or not."""
    return Path(path.name.removesuffix(".gz")).suffix in SUFFIXES


def read_preflib(path: Path, encoding: str | None) -> tuple[Cells, tuple[str, ...]]:
    """Ranks (users, items), a row per voter, and what is to be said; ValueError names the line of what is no order."""
    text, used = read_text(path, encoding)
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    names, orders = _modern(path, lines) if any(line.startswith("#") for _, line in lines) else _older(path, lines)
    if len(names) < 2 or not orders:
        raise ValueError(f"{path} has {len(names)} alternatives and {len(orders)} orders; two and one are needed")
    place = {number: k for k, number in enumerate(names)}
    ranks, counts = np.full((len(orders), len(names)), np.nan), np.zeros(len(orders), dtype=int)
    for row, (line, count, order) in enumerate(orders):
        if not (count.isdigit() and int(count) > 0):
            raise ValueError(f"{path}, line {line}: {shown(count)} is not a number of voters")
        counts[row], rank = int(count), 1.0
        for tied, single in PLACE.findall(order):
            members = [member.strip() for member in (tied or single).split(",") if member.strip()]
            for member in members:
                if member not in place:
                    raise ValueError(f"{path}, line {line}: there is no alternative {shown(member)}")
                if not np.isnan(ranks[row, place[member]]):
                    raise ValueError(f"{path}, line {line}: alternative {shown(member)} stands twice in one order")
                ranks[row, place[member]] = rank + (len(members) - 1) / 2
            rank += len(members)
    voters = np.repeat(np.arange(len(orders)), counts)
    at = np.array([line for line, _, _ in orders], dtype=np.int64)
    notes = (f"encoding {used}, PrefLib: {len(voters)} voters, {len(orders)} different orders",)
    return Cells(path, ranks[voters], at[voters], tuple(names.values())), notes


def _modern(path: Path, lines: list[tuple[int, str]]) -> tuple[dict[str, str], list[tuple[int, str, str]]]:
    names, orders = dict[str, str](), []
    for number, line in lines:
        found = re.match(r"#\s*ALTERNATIVE NAME\s+(\d+)\s*:\s*(.*)", line)
        if found:
            names[found[1]] = found[2].strip()
        elif not line.startswith("#"):
            count, colon, order = line.partition(":")
            if not colon:
                raise ValueError(f"{path}, line {number}: {shown(line)} is no `count: order`")
            orders.append((number, count.strip(), order))
    return names, orders


def _older(path: Path, lines: list[tuple[int, str]]) -> tuple[dict[str, str], list[tuple[int, str, str]]]:
    number, first = lines[0] if lines else (1, "")
    if not first.isdigit() or len(lines) < int(first) + 2:
        raise ValueError(f"{path}, line {number}: {shown(first)} is not the number of alternatives of a PrefLib file")
    cut = 1 + int(first)
    names = {line.split(",", 1)[0].strip(): line.partition(",")[2].strip() for _, line in lines[1:cut]}
    split = [(number, *line.partition(",")) for number, line in lines[cut + 1 :]]
    return names, [(number, count.strip(), order) for number, count, _, order in split]
