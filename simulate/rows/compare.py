"""Do two results folders say the same? The check behind "this run reproduced the committed rows"."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from simulate.numbers import Parser, a_path, carried_out
from simulate.rows.store import SWEEP, Row, read_rows
from theory.claim import Check, half_width, parse_setting
from theory.claims import find_claim

#: Rows of another machine may differ by rounding: another BLAS, another order of a sum.
RELATIVE_TOLERANCE = 1e-6
ABSOLUTE_TOLERANCE = 1e-9
Cell = tuple[str, str, str, int]


def compare_folders(arguments: Sequence[str]) -> int:
    """`compare A B`; exit status 1 if rows differ by more than their check can resolve, 2 for a folder without rows."""
    return compared(
        arguments, "python -m simulate compare", "List the rows of two results folders that differ by more than their "
        "check can resolve; exit status 1 if there are any.", list_differences,
    )  # fmt: skip


def compared(
    arguments: Sequence[str], command: str, does: str, compare: Callable[[dict[Cell, Row], dict[Cell, Row]], int]
) -> int:
    """The exit status of `compare`, which is given the rows of two folders; 2 where one has none.

    command, does  what --help prints: how the comparison is called, and what it does
    """
    parser = Parser(prog=command, description=does)
    for name in ("A", "B"):
        parser.add_argument(name, type=a_path, help="a folder of rows")
    options = parser.parse_args(arguments)
    return carried_out("compare", lambda: compare(_rows_in(options.A), _rows_in(options.B)))


def _rows_in(folder: Path) -> dict[Cell, Row]:
    rows = {row.cell: row for row in read_rows(folder)}
    if not rows:
        sweep = ", but a sweep, which pandas.read_parquet reads" if (folder / SWEEP).exists() else ""
        raise ValueError(f"no rows in {folder}{sweep}")
    return rows


def list_differences(first: dict[Cell, Row], second: dict[Cell, Row]) -> int:
    """Print the rows that differ by more than their check can resolve; 1 if there are any, or none to compare."""
    shared = sorted(first.keys() & second.keys())
    used = {cell: share_used(first[cell], second[cell]) for cell in shared}
    differing = [cell for cell in shared if not used[cell] <= 1.0]
    for cell in differing:
        print(f"differs: {cell}: {first[cell].estimate!r} and {second[cell].estimate!r}")
    alone = len(first.keys() ^ second.keys())
    print(f"{len(shared) - len(differing)} rows agree, {len(differing)} differ, {alone} stand in one folder only")
    if not shared:
        return 1
    if not differing:
        most = max(shared, key=lambda cell: used[cell])
        print(f"every row within its resolution; largest share used {100 * used[most]:.2g} % ({most[0]}.{most[1]})")
    return 1 if differing else 0


def share_used(a: Row, b: Row) -> float:
    """How much of the check's resolution the difference of two rows takes: 0 up to rounding, inf for another n.

    Where no check gives a resolution it is a half-width of their difference; the witness and the seconds may differ.
    """
    if a.n != b.n:
        return math.inf
    if _close(a.estimate, b.estimate) and _close(a.stderr, b.stderr):
        return 0.0
    check = check_of(a)
    room = 0.0 if check is None else check.tolerance(check.predict(parse_setting(a.setting)))
    room = room or half_width(math.hypot(a.stderr, b.stderr))
    apart = max(abs(a.estimate - b.estimate), abs(a.stderr - b.stderr))
    return apart / room if room else math.inf


def check_of(row: Row) -> Check | None:
    """The check of simulation that judges a row; None for a row that is only shown."""
    return next((check for check in find_claim(row.claim).checks if check.name == row.check), None)


def _close(x: float, y: float) -> bool:
    both_nan = math.isnan(x) and math.isnan(y)
    return both_nan or math.isclose(x, y, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE)
