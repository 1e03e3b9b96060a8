"""Several processes, one grid: `torchrun -m llm_validation …` or `accelerate launch -m llm_validation …`.

Pretraining is data parallel over all processes. Jobs are dealt out: each process runs every so-manieth one on its own
device and appends its rows to a part of its own (`simulate.rows.store`). A row does not depend on who ran it: from the
same base model the rows are those of one process, bit for bit on CPUs. (Base models pretrained by different numbers of
processes differ in the rounding of their summed gradients.)

With `--shard` the model is divided among the processes instead, and all of them run every job together: what one device
cannot hold. The first process writes; it also does open generation, which needs no training of the base model, alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from llm_validation.model.model import device
from simulate.rows.grid import Job, in_time

#: How long a process may wait for the others: jobs are of unequal length, and the first one writes.
PATIENCE = timedelta(hours=12)


@dataclass(frozen=True)
class Share:
    """This process's place among `size` processes; `divided` if they share one model, and each job."""

    rank: int
    size: int
    divided: bool = False

    @property
    def writes(self) -> bool:
        """Does this process write what its jobs leave?"""
        return self.rank == 0 or not self.divided

    def of(self, jobs: Sequence[Job], *, by_name: bool = False) -> list[Job]:
        """The jobs that fall to this process; `by_name` keeps those of one name together."""
        if self.divided:
            return [job for job in jobs if self.rank == 0 or job.trains]
        if not by_name:
            return list(jobs[self.rank :: self.size])
        names = list(dict.fromkeys(job.name for job in jobs))[self.rank :: self.size]
        return [job for job in jobs if job.name in names]

    def in_time(self, deadline: float | None, whole: float = 0.0) -> Callable[[float], bool]:
        """`simulate.rows.grid.in_time`, but processes that share each job get one answer, the first one's."""
        alone = in_time(deadline, whole)

        def ask(seconds: float) -> bool:
            answer = [alone(seconds)]
            broadcast_object_list(answer)
            return answer[0]

        return ask if self.divided and deadline is not None else alone


def share(*, divided: bool = False) -> Share:
    """One process, unless a launcher started several. ValueError for a model to be divided by one process."""
    state = _state()
    if divided and state.num_processes == 1:
        raise ValueError("--shard needs several processes, and there is one: start with torchrun or accelerate launch")
    return Share(state.process_index, state.num_processes, divided)


def wait_for_everyone() -> None:
    """Until all processes are here."""
    _state().wait_for_everyone()


def end(status: int) -> NoReturn:
    """Leave the program with this exit status.

    One of several processes leaves without Python's own teardown, in which threads of gloo now and then abort the
    process ("terminate called without an active exception") although all its work is done.
    """
    if _state().num_processes == 1:
        sys.exit(status)
    if status == 0:
        _state().wait_for_everyone()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _state() -> PartialState:
    """The group of processes; on CPUs it has to be told so, or each process takes itself for the only one."""
    return PartialState(cpu=device().type == "cpu", timeout=PATIENCE)
