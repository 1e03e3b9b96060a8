"""Several processes, one grid: `torchrun -m llm_validation …` or `accelerate launch -m llm_validation …`.

Pretraining is data parallel over all processes. Jobs are dealt out: each process runs every so-manieth one on its own
device and keeps its rows in a folder of its own; at the end of a stage the first process brings them together. A row
does not depend on who ran it: from the same base model the rows are those of one process, bit for bit on CPUs. (Base
models pretrained by different numbers of processes differ in the rounding of their summed gradients.)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accelerate import PartialState

from llm_validation.grid import FINISHED, Job, read_finished
from llm_validation.model import device
from simulate.rows import Results, replace_file

#: Fields of a stamp in which rows must agree to stand in one folder.
SAME = ("profile", "fingerprint", "commit", "config")


@dataclass(frozen=True)
class Share:
    """This process's place among `size` processes."""

    rank: int
    size: int

    def of(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs that fall to this process."""
        return list(jobs[self.rank :: self.size])

    def folder(self, folder: Path) -> Path:
        """Where this process keeps its rows until they are brought together."""
        return folder if self.size == 1 else folder / f"part-{self.rank}"


def share() -> Share:
    """One process, unless a launcher started several."""
    state = _state()
    return Share(state.process_index, state.num_processes)


def wait_for_everyone() -> None:
    """Until all processes are here."""
    _state().wait_for_everyone()


def _state() -> PartialState:
    """The group of processes; on CPUs it has to be told so, or each process takes itself for the only one."""
    return PartialState(cpu=device().type == "cpu")


def bring_together(folder: Path, size: int) -> None:
    """Merge the rows of all processes' folders into `folder`; the parts stay, and tell a rerun what is done."""
    for rank in range(size):
        merge(folder, folder / f"part-{rank}")


def merge(folder: Path, part: Path) -> None:
    """Take the rows and finished jobs of `part` into `folder`; a cell that both hold keeps the part's row.

    ValueError if a stamp of `part` differs from one of `folder` in a field of `SAME`: rows of different code or
    configuration do not belong in one table. The field is named.
    """
    into, new = Results(folder), Results(part)
    for stamp in new.stamps.values():
        for other in into.stamps.values():
            differing = [name for name in SAME if stamp.get(name) != other.get(name)]
            if differing:
                name = differing[0]
                raise ValueError(f"{part} has {name} {stamp.get(name)!r}, {folder} has {other.get(name)!r}: not merged")
    for stamp_id, stamp in new.stamps.items():
        into.add([row for row in new.rows.values() if row.stamp == stamp_id], stamp_id, stamp)
    finished = {**read_finished(folder), **read_finished(part)}
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / FINISHED, json.dumps(finished, indent=1, sort_keys=True) + "\n")
