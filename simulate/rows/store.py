"""Result rows: one line per (claim, check, setting, seed), with provenance, written atomically, resumable.

A results folder holds `rows.csv` (long format, sorted) and `stamps.json` (what each row's `stamp` stands for:
profile, commit, clean or dirty, fingerprint of the code, versions, device). After every finished cell both files
are replaced atomically, stamps first: a killed run leaves every finished row and no half-written one, and the
next run computes only what is missing.

Rows are only as good as the code that made them, so a stamp carries a fingerprint of the sources of `theory/` and
`simulate/`; rows of another fingerprint are set aside and computed again, and the run says how many.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
from tqdm import tqdm

from simulate.montecarlo import Estimate
from theory.claim import Setting, setting_key

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("numpy", "scipy", "joblib")
#: How a column's text becomes its type; repr and float are inverse to the last bit.
CONVERT: dict[str, Callable[[str], Any]] = {"str": str, "int": int, "float": float}


@dataclass(frozen=True)
class Row:
    """One measured number with its place and its provenance. `setting` is `theory.claim.setting_key`."""

    claim: str
    check: str
    setting: str
    seed: int
    estimate: float
    stderr: float
    n: int
    low: float
    high: float
    seconds: float
    witness: str
    stamp: str

    @property
    def cell(self) -> tuple[str, str, str, int]:
        """What the row answers; a results folder holds one row per cell."""
        return (self.claim, self.check, self.setting, self.seed)


@dataclass(frozen=True)
class Cell:
    """One unit of work: a check of a claim at one setting and seed, and the function that measures it."""

    claim: str
    check: str
    setting: Setting
    seed: int
    measure: Callable[[], Estimate]

    @property
    def key(self) -> tuple[str, str, str, int]:
        return (self.claim, self.check, setting_key(self.setting), self.seed)


def fingerprint(folders: Sequence[str] = ("theory", "simulate")) -> str:
    """Hash of the Python sources of `folders`: rows with the same fingerprint come from the same code."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.relative_to(ROOT).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def make_stamp(
    profile: str,
    config: dict[str, object],
    *,
    folders: Sequence[str] = ("theory", "simulate"),
    packages: Sequence[str] = PACKAGES,
    device: str | None = None,
    commit: str | None = None,
) -> dict[str, object]:
    """Provenance of a run; everything in it but the rows' own seeds and seconds.

    folders   whose sources are fingerprinted;  packages  whose versions are noted
    device    in words, this machine's CPU by default;  commit  where there is no git to ask
    """
    return {
        "profile": profile,
        "config": config,
        "fingerprint": fingerprint(folders),
        **(_commit() if commit is None else {"commit": commit, "clean": True}),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in packages},
        "device": device or f"{platform.machine()} CPU, {os.cpu_count()} cores",
    }


def _commit() -> dict[str, object]:
    """Commit and whether tracked files differ from it; `unknown` outside a git checkout, never a guess."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "clean": not git("status", "--porcelain", "-uno")}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "unknown", "clean": False}


class Results:
    """The rows and stamps of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[tuple[str, str, str, int], Row] = {}
        self.stamps: dict[str, dict[str, object]] = {}
        if self._rows_file.exists():
            self.stamps = json.loads(self._stamps_file.read_text())
            self.rows = {row.cell: row for row in read_rows(folder)}

    @property
    def _rows_file(self) -> Path:
        return self.folder / "rows.csv"

    @property
    def _stamps_file(self) -> Path:
        return self.folder / "stamps.json"

    def drop_stale(self, code: str) -> int:
        """Forget rows made by other code than the one of that fingerprint; returns how many there were."""
        stale = [key for key, row in self.rows.items() if self.stamps.get(row.stamp, {}).get("fingerprint") != code]
        for key in stale:
            del self.rows[key]
        return len(stale)

    def add(self, rows: Iterable[Row], stamp_id: str, stamp: dict[str, object]) -> None:
        """Take rows in and replace both files; stamps first, so that no row refers to a missing stamp."""
        self.rows.update({row.cell: row for row in rows})
        used = {row.stamp for row in self.rows.values()}
        self.stamps = {k: v for k, v in {**self.stamps, stamp_id: stamp}.items() if k in used}
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_file(self._stamps_file, json.dumps(self.stamps, indent=1, sort_keys=True) + "\n")
        ordered = sorted(self.rows.values(), key=lambda row: (_claim_order(row.claim), row.cell))
        replace_file(self._rows_file, _as_csv(ordered))


def _as_csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()


def read_rows(folder: Path) -> list[Row]:
    """The rows of a results folder, none if it has no rows.csv. ValueError names a column that is missing."""
    path = folder / "rows.csv"
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        reader = csv.DictReader(stream)
        missing = [f.name for f in fields(Row) if f.name not in (reader.fieldnames or [])]
        if missing:
            raise ValueError(f"{path} has no column {missing[0]!r}")
        return [Row(*(CONVERT[str(f.type)](record[f.name]) for f in fields(Row))) for record in reader]


def run(cells: Sequence[Cell], folder: Path, stamp: dict[str, object], jobs: int) -> Results:
    """Measure the cells that `folder` does not hold yet, `jobs` at a time, saving after each; returns all rows.

    Cells run in joblib's default backend (loky processes on one machine; wrap the call in
    `joblib.parallel_backend("dask")` or `"ray"` for a cluster). A cell that fails stops the run with the cell named;
    what was finished is on disk.
    """
    results = Results(folder)
    stale = results.drop_stale(str(stamp["fingerprint"]))
    if stale:
        print(f"{stale} rows in {folder} were made by other code and are computed again", file=sys.stderr)
    stamp_id = hashlib.sha256(json.dumps(stamp, sort_keys=True).encode()).hexdigest()[:12]
    todo = [cell for cell in cells if cell.key not in results.rows]
    if len(todo) < len(cells):
        print(f"{len(cells) - len(todo)} of {len(cells)} cells are done, {len(todo)} to go", file=sys.stderr)
    workers = joblib.Parallel(n_jobs=min(jobs, max(1, len(todo))), return_as="generator_unordered")
    for row in tqdm(
        workers(joblib.delayed(_measure)(cell, stamp_id) for cell in todo),
        total=len(todo),
        desc=f"simulate → {folder.name}",
        unit="cell",
        disable=not todo,
    ):
        results.add([row], stamp_id, stamp)
    return results


def _measure(cell: Cell, stamp_id: str) -> Row:
    started = time.perf_counter()
    try:
        estimate = cell.measure()
    except Exception as error:
        error.add_note(f"in cell {cell.claim}.{cell.check} at {setting_key(cell.setting)}, seed {cell.seed}")
        raise
    return Row(
        claim=cell.claim,
        check=cell.check,
        setting=setting_key(cell.setting),
        seed=cell.seed,
        estimate=float(estimate.value),
        stderr=float(estimate.stderr),
        n=int(estimate.n),
        low=float(estimate.low),
        high=float(estimate.high),
        seconds=round(time.perf_counter() - started, 3),
        witness=estimate.witness,
        stamp=stamp_id,
    )


def replace_file(path: Path, text: str) -> None:
    """Write a file so that a reader, or a kill, sees the old one or the new one and nothing between."""
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def _claim_order(claim: str) -> tuple[str, int]:
    """D2 before D10."""
    return claim[0], int(claim[1:])
