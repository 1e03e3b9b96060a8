"""What may stand in one results folder: rows of one profile and configuration, each of the code that made it.

A run that finds rows of another configuration refuses to add to them, and names the field that differs; rows of other
code it computes again, or refuses as well where that would throw away a GPU's work. Slices of a run that were made in
different folders are merged under the same rule.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from simulate.numbers import Parser, a_path, carried_out
from simulate.rows.store import SWEEP, Results, Stamp, is_current, locked, refuse_sweep

#: Fields of a stamp in which all rows of a folder agree, and those of a configuration that may differ: more seeds, or
#: users of another temperature, are further rows and not other ones.
SAME = ("profile", "config")
MAY_DIFFER = frozenset({"seed", "seeds", "betas", "parameters"})
#: How sweeps are brought together.
SEVERAL = "pandas.read_parquet of the folder above reads all sweeps in it"


def first_difference(one: Any, other: Any, name: str) -> tuple[str, Any, Any] | None:
    """The first field, dotted, in which two values of a stamp differ, with both; None where they agree."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted({*one, *other} - MAY_DIFFER):
            difference = first_difference(one.get(key), other.get(key), f"{name}.{key}" if name else str(key))
            if difference:
                return difference
        return None
    # what came from a file has lists where a fresh record has tuples
    same = json.loads(json.dumps(one)) == json.loads(json.dumps(other))
    return None if same else (name, one, other)


def between(one: Stamp, other: Stamp) -> tuple[str, Any, Any] | None:
    """The first field in which rows of two stamps differ so that they may not stand in one folder.

    That is one of `SAME`, or the fingerprint where the same modules measured.
    """
    code = ("fingerprint",) if one.get("modules") == other.get("modules") else ()
    differences = (first_difference(one.get(field), other.get(field), field) for field in (*SAME, *code))
    return next((difference for difference in differences if difference), None)


def check_folder(folder: Path, stamp: Stamp, *, recompute: bool = True) -> None:
    """Raise unless a run of this stamp may add its rows to the folder.

    ValueError names the field of profile or configuration in which rows there differ; for rows of other code too,
    unless they are to be computed again, which is then said.
    """
    refuse_sweep(folder)
    results = Results(folder)
    for other in results.stamps.values():
        difference = between({field: stamp.get(field) for field in SAME}, {field: other.get(field) for field in SAME})
        if difference:
            name, mine, theirs = difference
            raise ValueError(
                f"{folder} holds rows with {name} = {theirs!r}, this run has {mine!r}: choose another --results "
                "folder, or remove that one"
            )
    stale = results.stale()
    if stale:
        old = next(other for other in results.stamps.values() if not is_current(other))
        what = f"{len(stale)} rows in {folder} were made by other code (commit {str(old.get('commit'))[:9]})"
        if not recompute:
            raise ValueError(f"{what}: --recompute computes them again, --results keeps them apart")
        print(f"{what} and are computed again", file=sys.stderr)


def merge(folder: Path, part: Path) -> None:
    """Take the rows and finished jobs of `part` into `folder`; a cell that both hold keeps the part's row.

    ValueError names the field in which a stamp of `part` differs from one of `folder` (`between`): rows of different
    code or configuration do not belong in one table. FileNotFoundError for a part without rows.
    """
    into, new = Results(folder), Results(part)
    _check_rows(part, new)
    for stamp in new.stamps.values():
        for other in into.stamps.values():
            difference = between(stamp, other)
            if difference:
                name, theirs, mine = difference
                raise ValueError(f"{part} has {name} {theirs!r}, {folder} has {mine!r}: not merged")
    into.rows |= new.rows
    into.stamps |= new.stamps
    into.jobs |= new.jobs
    into.write()


def _check_rows(part: Path, found: Results) -> None:
    if not found.rows:
        sweep = f", but a sweep: {SEVERAL}" if (part / SWEEP).exists() else ": nothing to merge"
        raise FileNotFoundError(f"{part} has no rows.csv{sweep}")


def merge_main(arguments: Sequence[str], stage: str = "simulate") -> int:
    """`merge INTO PART…`, typed after a stage; exit status 2 where a part does not belong."""
    parser = Parser(prog=f"python -m {stage} merge", description="Bring the rows and finished jobs of slices together, "
                    "of simulations and of language models alike; a folder whose rows are of other code or another "
                    "configuration is refused.")  # fmt: skip
    parser.add_argument("into", type=a_path, metavar="INTO", help="a folder of rows, or a new one")
    parser.add_argument("parts", type=a_path, nargs="+", metavar="PART", help="folders of rows that it takes in")
    options = parser.parse_args(arguments)
    return carried_out("merge", lambda: _merge_all(options.into, options.parts))


def _merge_all(into: Path, parts: Sequence[Path]) -> None:
    for part in parts:  # before there is a folder
        _check_rows(part, Results(part))
    refuse_sweep(into)
    with locked(into):
        for part in parts:
            merge(into, part)
    print(f"{len(Results(into).rows)} rows in {into}")
