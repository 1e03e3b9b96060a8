"""Are the rows of two results folders the same? The check behind "this run reproduced the committed rows"."""

from __future__ import annotations

import math
import sys
from pathlib import Path

from simulate.rows.store import Row, read_rows

#: Rows of another machine may differ by rounding: another BLAS, another order of a sum.
RELATIVE_TOLERANCE = 1e-6
ABSOLUTE_TOLERANCE = 1e-9


def compare_folders(arguments: list[str]) -> int:
    """`compare A B`: prints how many rows agree; exit status 1 if a row differs, 2 for a folder without rows."""
    if len(arguments) != 2:
        print("usage: python -m simulate compare FOLDER FOLDER", file=sys.stderr)
        return 2
    first, second = ({row.cell: row for row in read_rows(Path(folder))} for folder in arguments)
    for folder, rows in zip(arguments, (first, second), strict=True):
        if not rows:
            print(f"no rows in {folder}", file=sys.stderr)
            return 2
    shared = sorted(first.keys() & second.keys())
    differing = [cell for cell in shared if not _same(first[cell], second[cell])]
    for cell in differing:
        print(f"differs: {cell}: {first[cell].estimate!r} and {second[cell].estimate!r}")
    alone = len(first.keys() ^ second.keys())
    print(f"{len(shared) - len(differing)} rows agree, {len(differing)} differ, {alone} stand in one folder only")
    return 1 if differing or not shared else 0


def _same(a: Row, b: Row) -> bool:
    """The same numbers up to rounding; the witness and the seconds may differ."""
    return a.n == b.n and all(
        math.isclose(x, y, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE) or (math.isnan(x) and math.isnan(y))
        for x, y in ((a.estimate, b.estimate), (a.stderr, b.stderr))
    )
