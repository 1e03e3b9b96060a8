"""What may stand in one results folder: rows of one profile, one configuration, one code.

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

from llm_validation.grid.jobs import FINISHED, read_finished
from simulate.rows.store import Results, replace_file

#: Fields of a stamp in which rows must agree to be merged, and those of a configuration that may differ: more seeds,
#: or users of another temperature, are further rows and not other ones.
SAME = ("profile", "fingerprint", "commit", "config")
MAY_DIFFER = frozenset({"seeds", "betas", "parameters"})


def first_difference(one: Any, other: Any, name: str) -> tuple[str, Any, Any] | None:
    """The first field, dotted, in which two values of a stamp differ, with both; None where they agree."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted({*one, *other} - MAY_DIFFER):
            found = first_difference(one.get(key), other.get(key), f"{name}.{key}" if name else str(key))
            if found:
                return found
        return None
    # what came from a file has lists where a fresh record has tuples
    same = json.loads(json.dumps(one)) == json.loads(json.dumps(other))
    return None if same else (name, one, other)


def check_folder(folder: Path, stamp: Mapping[str, object], *, recompute: bool) -> None:
    """Raise unless a run of this stamp may add its rows to the folder.

    ValueError names the field of profile or configuration in which rows there differ; for rows of other code too,
    unless they are to be computed again, which is then said.
    """
    stamps = Results(folder).stamps
    for other in stamps.values():
        for field in ("profile", "config"):
            found = first_difference(stamp.get(field), other.get(field), field)
            if found:
                name, mine, theirs = found
                raise ValueError(
                    f"{folder} holds rows with {name} = {theirs!r}, this run has {mine!r}: choose another --results "
                    "folder, or remove that one"
                )
    other_code = [other for other in stamps.values() if other.get("fingerprint") != stamp["fingerprint"]]
    if not other_code:
        return
    what = f"rows in {folder} were made by other code (fingerprint {other_code[0].get('fingerprint')}, commit "
    what += f"{str(other_code[0].get('commit'))[:9]}; now {stamp['fingerprint']})"
    if not recompute:
        raise ValueError(f"{what}: --recompute computes them again, --results keeps them apart")
    print(f"{what} and are computed again", file=sys.stderr)


def merge(folder: Path, part: Path) -> None:
    """Take the rows and finished jobs of `part` into `folder`; a cell that both hold keeps the part's row.

    ValueError names the field of `SAME` in which a stamp of `part` differs from one of `folder`: rows of different
    code or configuration do not belong in one table. FileNotFoundError for a part without rows.
    """
    if not (part / "rows.csv").is_file():
        raise FileNotFoundError(f"{part} has no rows.csv: nothing to merge")
    into, new = Results(folder), Results(part)
    for stamp in new.stamps.values():
        for other in into.stamps.values():
            for field in SAME:
                found = first_difference(stamp.get(field), other.get(field), field)
                if found:
                    name, theirs, mine = found
                    raise ValueError(f"{part} has {name} {theirs!r}, {folder} has {mine!r}: not merged")
    for stamp_id, stamp in new.stamps.items():
        into.add([row for row in new.rows.values() if row.stamp == stamp_id], stamp_id, stamp)
    finished = {**read_finished(folder), **read_finished(part)}
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / FINISHED, json.dumps(finished, indent=1, sort_keys=True) + "\n")


def merge_main(arguments: Sequence[str]) -> int:
    """`python -m llm_validation merge INTO PART…`; exit status 2 where a part does not belong."""
    if len(arguments) < 2:
        print("usage: python -m llm_validation merge INTO PART…", file=sys.stderr)
        return 2
    into, *parts = map(Path, arguments)
    try:
        for part in parts:
            merge(into, part)
    except (ValueError, FileNotFoundError) as error:
        print(f"llm_validation: {error}", file=sys.stderr)
        return 2
    print(f"{len(Results(into).rows)} rows in {into}")
    return 0
