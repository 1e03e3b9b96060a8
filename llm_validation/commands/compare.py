"""`compare A B` for rows of language models: which verdicts changed, and nothing else.

Their numbers differ between machines by nature, since training in float32 is chaotic; verdicts must not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from llm_validation.claims.table import trained_checks
from simulate.rows.compare import Cell, compared
from simulate.rows.pool import judge
from simulate.rows.store import Row
from theory.claim import Verdict

Place = tuple[str, str, str]


def compare_main(arguments: Sequence[str]) -> int:
    """Exit status 1 if a verdict changed or the folders share none, 2 for a folder without rows."""
    return compared(
        arguments, "python -m llm_validation compare", "List the verdicts that differ between two folders of language "
        "models' rows; exit status 1 if any do, or if they share none.", list_changes,
    )  # fmt: skip


def list_changes(*both: Mapping[Cell, Row]) -> int:
    """Print the verdicts of two folders that differ; 1 if there are any, or none to compare."""
    first, second = (verdicts(rows.values()) for rows in both)
    shared = sorted(first.keys() & second.keys())
    changed = [place for place in shared if first[place] != second[place]]
    for claim, check, setting in changed:
        place = (claim, check, setting)
        print(f"{claim}.{check} at {setting or 'no setting'}: {first[place]} and {second[place]}")
    alone = len(first.keys() ^ second.keys())
    print(f"{len(changed)} of {len(shared)} verdicts changed, {alone} stand in one folder only")
    return 1 if changed or not shared else 0


def verdicts(rows: Iterable[Row]) -> dict[Place, Verdict]:
    """The verdict of every check and setting that has rows, its seeds pooled."""
    seeds: dict[Place, list[Row]] = {}
    for row in rows:
        seeds.setdefault((row.claim, row.check, row.setting), []).append(row)
    judged: dict[Place, Verdict] = {}
    for (claim, name, setting), own in seeds.items():
        check = next((check for check in trained_checks(claim) if check.name == name), None)
        if check is not None:
            judged[claim, name, setting] = judge(check, own)
    return judged
