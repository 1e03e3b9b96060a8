"""A file of JSON lines that is written as answers come, and goes on where it stopped.

While it is being written, `.NAME.settings` beside it says with which settings: another run does not add to it, and a
second process is told of the first (`.NAME.lock`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_validation.model.folders import check_beside
from simulate.rows.store import alone


def check_file(path: Path | None) -> None:
    """ValueError for an output file that cannot be one, before anything is loaded."""
    if path is None:
        return
    if path.exists() and not path.is_file():
        what = "folder" if path.is_dir() else "device or a pipe"
        raise ValueError(f"--out {path} is a {what}, and a file is written")
    refuse_whole(path)
    if not path.parent.is_dir():
        raise ValueError(f"--out {path} cannot be written: there is no folder {path.parent}")
    try:
        check_beside(path, len(settings_of(path).name) - len(path.name))
    except OSError as error:
        raise ValueError(f"--out {path} cannot be written: {error.strerror}") from None


def refuse_whole(path: Path) -> None:
    """ValueError for a file that is complete, or nobody's."""
    if path.exists() and not settings_of(path).is_file():
        raise ValueError(f"{path} exists already: name a file that does not")


def settings_of(path: Path) -> Path:
    """What says that a file is not complete."""
    return path.with_name(f".{path.name}.settings")


@dataclass(frozen=True)
class Lines:
    """Where the lines go, and JSON values that they depend on."""

    path: Path
    settings: Mapping[str, object]

    @property
    def beside(self) -> Path:
        """What says that the file is not complete."""
        return settings_of(self.path)

    @property
    def lock(self) -> Path:
        """Held by the process that writes."""
        return self.path.with_name(f".{self.path.name}.lock")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have the file for oneself, from before `begin` to `end`. ValueError if another process writes to it."""
        with alone(self.lock, f"another process writes to {self.path}: wait for it, or choose another --out"):
            try:
                yield
            finally:
                if not self.path.exists():  # no answer came: nothing is under way
                    self.beside.unlink(missing_ok=True)
                if not self.beside.exists():  # nothing is under way here: whoever comes now finds a whole file
                    self.lock.unlink(missing_ok=True)

    def begin(self) -> int:
        """How many whole lines are there; what a kill left of another is cut off.

        ValueError for a file that is complete or of nobody's, and for one of other settings, which are named.
        """
        refuse_whole(self.path)
        new = json.loads(json.dumps(dict(self.settings)))
        data = self.path.read_bytes() if self.path.exists() else b""
        if self.beside.is_file() and data:
            old = json.loads(self.beside.read_text(encoding="utf-8"))
            for name in sorted(old.keys() | new.keys()):
                if old.get(name) != new.get(name):
                    raise ValueError(
                        f"{self.path} was begun with {name} = {old.get(name)!r}, and this run has {new.get(name)!r}: "
                        "end that one with its own settings, or remove both"
                    )
        else:
            self.beside.write_text(json.dumps(new) + "\n", encoding="utf-8")
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        return whole.count(b"\n")

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Some lines, on the disk when this returns."""
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())

    def end(self) -> None:
        """All lines are there. What says so goes last: a run that is killed before comes here again."""
        self.path.touch()
        self.lock.unlink(missing_ok=True)
        self.beside.unlink(missing_ok=True)


def content(path: Path) -> str:
    """A digest of a file, for settings."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
