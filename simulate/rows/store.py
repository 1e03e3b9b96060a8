"""Result rows: one line per (claim, check, setting, seed), with provenance, safe against a kill, resumable.

A results folder holds `rows.csv` (long format, sorted), `stamps.json` (what each row's `stamp` stands for: profile,
commit, clean or dirty, fingerprint of the code that measured, versions, device) and `jobs.json` (finished job → its
code). While a run goes on, each finished job is one line appended to a file of the run's own in `parts/`; reading
takes the parts in, and `locked` writes them into the three files before a run and after it. A kill can cut the last
line: that job runs again, and since everything random is named by (seed, words) it gives the same rows.

Rows are only as good as the code that made them: a stamp names the modules that measured and the fingerprint of all
that they reach (`simulate.rows.reach`). Rows of another fingerprint are stale: they are computed again or go.
"""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import secrets
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from simulate.rows.reach import ROOT, fingerprint

PACKAGES = ("numpy", "scipy", "joblib")
#: In a results folder.
ROWS, STAMPS, JOBS, PARTS, LOCK = "rows.csv", "stamps.json", "jobs.json", "parts", ".lock"
#: In the folder of a sweep, whose rows are parquet: readers of it pass over names that begin with an underscore.
SWEEP = "_sweep.json"
#: How a column's text becomes its type; repr and float are inverse to the last bit.
CONVERT: dict[str, Callable[[str], Any]] = {"str": str, "int": int, "float": float}
#: Jobs that finish within so many seconds of each other reach the disk together: an fsync takes milliseconds. A kill of
#: the process loses none of them, a power cut those.
TOGETHER = 0.1

Stamp = Mapping[str, object]


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


COLUMNS = [field.name for field in fields(Row)]
values_of: Callable[[Row], tuple[Any, ...]] = attrgetter(*COLUMNS)


def make_stamp(
    profile: str,
    config: dict[str, object],
    *,
    packages: Sequence[str] = PACKAGES,
    device: str | None = None,
    commit: str | None = None,
) -> dict[str, object]:
    """Provenance of a run; everything in it but the rows' own code, seeds and seconds.

    packages  whose versions are noted;  device  in words, this machine's CPU by default
    commit    where there is no git to ask
    """
    return {
        "profile": profile,
        "config": config,
        **(_commit() if commit is None else {"commit": commit, "clean": True}),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in packages},
        "device": device or f"{platform.machine()} CPU, {os.cpu_count()} cores",
    }


def _commit() -> dict[str, object]:
    """Commit and whether tracked files differ from it; `unknown` where git does not have this file, never a guess: an
    archive or a wheel that lies in another project's checkout is not of its commit."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, encoding="utf-8", check=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", __file__)
        return {"commit": git("rev-parse", "HEAD"), "clean": not git("status", "--porcelain", "-uno")}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "unknown", "clean": False}


class Results:
    """The rows, stamps and finished jobs of one folder, its parts included."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[tuple[str, str, str, int], Row] = {}
        self.stamps: dict[str, Stamp] = {}
        self.jobs: dict[str, str] = {}
        # parts first: one that a writer takes in meanwhile is in its rows then
        parts = sorted((folder / PARTS).glob("*.jsonl"), key=lambda path: path.name)
        texts = {part: part.read_bytes() for part in parts if part.exists()}
        if (folder / ROWS).exists():
            self.rows = _one_a_cell(folder / ROWS, _read_csv(folder / ROWS))
            self.stamps, self.jobs = read_json(folder / STAMPS), read_json(folder / JOBS)
        for part, text in texts.items():
            self._take_in(part, text)
        self._parts = list(texts)
        self._own: io.TextIOWrapper | None = None
        self._noted, self._synced = set[str](), 0.0

    def _take_in(self, part: Path, text: bytes) -> None:
        """Jobs of a part file. Its last line counts if it is whole; the stamp of a job stands before it.

        ValueError names the line of a part that is broken elsewhere.
        """
        for number, line in enumerate(text.split(b"\n")[:-1], start=1):
            try:
                entry = json.loads(line)
                if "job" not in entry:
                    self.stamps |= entry
                    continue
                rows = [Row(*[*values, entry["stamp"]]) for values in entry["rows"]]
                self.jobs[entry["job"]] = entry["code"]
            except (ValueError, TypeError, KeyError):
                raise ValueError(f"{part}, line {number} is broken: remove the file, its jobs run again") from None
            self.rows |= {row.cell: row for row in rows}

    def append(self, job: str, code: str, rows: Sequence[Row], stamp_id: str, stamp: Stamp) -> None:
        """Note a finished job: one line, in a file that no other process writes."""
        entry = {"job": job, "code": code, "stamp": stamp_id, "rows": [values_of(row)[:-1] for row in rows]}
        lines = json.dumps(entry) + "\n"
        if self._own is None:
            (self.folder / PARTS).mkdir(parents=True, exist_ok=True)
            name = f"{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
            self._own = (self.folder / PARTS / name).open("w", encoding="utf-8")
        if stamp_id not in self._noted:
            self._noted.add(stamp_id)
            lines = json.dumps({stamp_id: stamp}) + "\n" + lines
        with naming(self._own.name):
            self._own.write(lines)
            self._own.flush()
        if time.monotonic() - self._synced > TOGETHER:
            self.sync()
        self.jobs[job] = code
        self.stamps[stamp_id] = stamp
        self.rows |= {row.cell: row for row in rows}

    @property
    def has_parts(self) -> bool:
        """Are there parts that the files do not hold?"""
        return bool(self._parts)

    def sync(self) -> None:
        """Have what was appended on the disk."""
        if self._own is not None:
            os.fsync(self._own.fileno())
            self._synced = time.monotonic()

    def close(self) -> None:
        """Append no more."""
        if self._own is not None:
            own, self._own = self._own, None
            with naming(own.name), own:
                own.flush()
                os.fsync(own.fileno())

    def stale(self) -> list[Row]:
        """Rows whose measuring modules reach other code now."""
        other = {stamp_id for stamp_id, stamp in self.stamps.items() if not is_current(stamp)}
        return [row for row in self.rows.values() if row.stamp in other]

    def drop(self, rows: Iterable[Row]) -> None:
        """Forget rows, and that the jobs of their code are done."""
        codes = {self.stamps[row.stamp].get("fingerprint") for row in rows}
        for row in rows:
            del self.rows[row.cell]
        self.jobs = {job: code for job, code in self.jobs.items() if code.split()[0] not in codes}

    def add(self, rows: Iterable[Row], stamp_id: str, stamp: Stamp) -> None:
        """Take rows in, and write."""
        self.rows |= {row.cell: row for row in rows}
        self.stamps[stamp_id] = stamp
        self.write()

    def write(self) -> None:
        """Replace the three files, each atomically, and remove the parts that they now hold; stamps first, so that no
        row refers to a missing stamp, and jobs last, so that no job is done without its rows."""
        self.folder.mkdir(parents=True, exist_ok=True)
        used = {row.stamp for row in self.rows.values()}
        stamps = {stamp_id: stamp for stamp_id, stamp in self.stamps.items() if stamp_id in used}
        replace_file(self.folder / STAMPS, _as_json(stamps))
        replace_file(self.folder / ROWS, _as_csv(sorted(self.rows.values(), key=_order)))
        replace_file(self.folder / JOBS, _as_json(self.jobs))
        for part in self._parts:
            part.unlink(missing_ok=True)
        self._parts = []
        if (self.folder / PARTS).is_dir() and not any((self.folder / PARTS).iterdir()):
            (self.folder / PARTS).rmdir()


@contextmanager
def locked(folder: Path, *, drop_stale: bool = False) -> Iterator[None]:
    """Have a results folder for oneself: what runs left in parts is written into its files, before and after.

    drop_stale  rows that are stale in the end go
    ValueError if another process has the folder. A process that dies leaves no lock behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder / LOCK, f"another process writes to {folder}: wait for it, or choose another --results"):
        for name in (*(f".{name}" for name in (STAMPS, ROWS, JOBS, SWEEP)), "claim=*/check=*/.part-*.parquet"):
            for half in folder.glob(f"{name}.{16 * '[0-9a-f]'}.partial"):
                half.unlink()  # of a kill within a write: who has the lock alone writes these
        _take_parts_in(folder)
        try:
            yield
        finally:
            _take_parts_in(folder, drop_stale=drop_stale)


@contextmanager
def alone(path: Path, refusal: str) -> Iterator[None]:
    """Hold the lock at a path. ValueError(refusal) if another process has it; one that dies leaves no lock behind."""
    lock = FileLock(path, is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(refusal) from None
    try:
        yield
    finally:
        lock.release()


def _take_parts_in(folder: Path, *, drop_stale: bool = False) -> None:
    results = Results(folder)
    if lost := next((row for row in results.rows.values() if row.stamp not in results.stamps), None):
        raise ValueError(f"{folder / ROWS}: {_said(lost)} has stamp {lost.stamp!r}, which {STAMPS} does not hold")
    stale = results.stale() if drop_stale else []
    results.drop(stale)
    if stale or results.has_parts:
        results.write()


def is_current(stamp: Stamp) -> bool:
    """Do the modules that measured reach the code that the stamp is of?"""
    modules = stamp.get("modules")
    try:
        return isinstance(modules, list | tuple) and fingerprint(*modules) == stamp.get("fingerprint")
    except ValueError:  # a module that is no longer there
        return False


def read_rows(folder: Path) -> list[Row]:
    """The rows of a results folder, in order of their claims.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of Row
        Empty where the folder has none.

    Raises
    ------
    ValueError
        Names a column that is missing.

    Examples
    --------
    See `simulate.rows`.
    """
    return sorted(Results(folder).rows.values(), key=_order)


def _read_csv(path: Path) -> list[Row]:
    csv.field_size_limit(max(csv.field_size_limit(), path.stat().st_size + 1))  # a witness may be long
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.reader(stream)
        try:
            header = next(reader, [])
        except ValueError:  # bytes are decoded some thousands at a time
            raise ValueError(f"{path} holds bytes that are not utf-8") from None
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            raise ValueError(f"{path} has no column {missing[0]!r}")
        if len(header) > len(COLUMNS):  # the next to write the file would drop it
            more = next(name for k, name in enumerate(header) if name not in COLUMNS or name in header[:k])
            raise ValueError(f"{path} has a column {more!r} more than rows have")
        columns = [(header.index(field.name), CONVERT[str(field.type)]) for field in fields(Row)]
        found = []
        try:
            for record in reader:
                if len(record) != len(header):
                    raise ValueError(f"it has {len(record)} fields, not {len(header)}")
                found.append(Row(*(convert(record[place]) for place, convert in columns)))
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
        return found


def _one_a_cell(path: Path, rows: Iterable[Row]) -> dict[tuple[str, str, str, int], Row]:
    found: dict[tuple[str, str, str, int], Row] = {}
    for row in rows:
        if found.setdefault(row.cell, row) is not row:
            raise ValueError(f"{path} holds {_said(row)} twice")
    return found


def _said(row: Row) -> str:
    return f"{row.claim}.{row.check} at {row.setting} seed {row.seed}"


def _as_csv(rows: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(map(values_of, rows))
    return text.getvalue()


def read_json(path: Path) -> dict[str, Any]:
    """A file of the folder, nothing if it is not there. ValueError for one that was cut off, or is no table."""
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} cannot be read: it holds no table")
    return found


def refuse_sweep(folder: Path) -> None:
    """ValueError for the folder of a sweep, where rows of a run would keep it from going on."""
    if (folder / SWEEP).exists():
        raise ValueError(f"{folder} holds a sweep: choose another --results folder")


def _as_json(entries: Mapping[str, object]) -> str:
    return json.dumps(entries, indent=1, sort_keys=True) + "\n"


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Errors of a file that is open, such as a full disk, name it."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, or a kill, sees the old one or the new one and nothing between."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    try:
        with naming(path), temporary.open("xb") as stream:  # a name that nobody can lay a link under
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _order(row: Row) -> tuple[object, ...]:
    """D2 before D10."""
    return row.claim[0], int(row.claim[1:]), row.cell
