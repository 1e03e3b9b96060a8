"""Where jobs run: processes of this machine, a Dask or Ray cluster, or an array of SLURM.

An engine takes calls and gives back what they return, in any order. Everything random is named by (seed, words) and
rows are written by the process that asked, so that every engine leads to the same rows.
"""

from __future__ import annotations

import argparse
import os
import pickle
import platform
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import count, islice
from pathlib import Path
from typing import Any

import joblib
from joblib.externals.loky import BrokenProcessPool
from tqdm import tqdm

from simulate.rows.reach import fingerprint

#: Engine → the packages that it needs; the extra of the same name installs them.
NEEDS = {"local": (), "dask": ("dask", "distributed"), "ray": ("ray",), "slurm": ("submitit",)}
#: Most tasks of an array of SLURM, whose own limit is 1001 unless a site says otherwise.
LONGEST_ARRAY = 1000
#: Tasks that a worker of a cluster has, the one it runs among them: so none is idle while a result is gathered.
AHEAD = 2
#: How often a task is sent again whose worker died.
RETRIES = 2
#: How often a cluster is asked how many workers it has while no task ends, seconds.
LOOK = 1.0
#: Held by the call that runs in a process whose worker has several threads.
_ONE_AT_A_TIME = threading.Lock()
#: What joblib.delayed returns: a function with its arguments.
Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Backend:
    """An engine by name, and where it is.

    kind     local, dask, ray or slurm
    address  of a scheduler (dask), of a cluster (ray; "" starts one on this machine)
    workers  of local; 0: as many as --jobs
    """

    kind: str = "local"
    address: str = ""
    workers: int = 0

    @property
    def is_local(self) -> bool:
        """Do workers share this machine and this checkout, and end with this process?"""
        return self.kind == "local"


def backend(text: str) -> Backend:
    """`local[:N]`, `dask:ADDRESS`, `ray[:ADDRESS]` or `slurm`, a type of argparse.

    Raises
    ------
    argparse.ArgumentTypeError
        Another word, an address that is missing or not taken, or a package that is not installed.

    Examples
    --------
    >>> backend("local:4")
    Backend(kind='local', address='', workers=4)
    """
    kind, colon, rest = text.partition(":")
    if kind not in NEEDS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of local:N, dask:ADDRESS, ray[:ADDRESS], slurm")
    if bool(colon) != bool(rest) or (kind == "dask" and not rest) or (kind == "slurm" and rest):
        form = {"local": "local or local:N", "dask": "dask:ADDRESS", "ray": "ray or ray:ADDRESS", "slurm": "slurm"}
        raise argparse.ArgumentTypeError(f"{text!r} must be {form[kind]}")
    if kind == "local" and rest and not (rest.isdecimal() and int(rest) >= 1):
        raise argparse.ArgumentTypeError(f"{text!r} needs a whole number of workers, at least 1")
    missing = [package for package in NEEDS[kind] if find_spec(package) is None]
    if missing:
        how = f"pip install 'alignment-theory[{kind}]'"
        raise argparse.ArgumentTypeError(f"{text!r} needs the package {missing[0]}, which is not here: {how}")
    return Backend("local", workers=int(rest or 0)) if kind == "local" else Backend(kind, rest)


def add_on(parser: argparse.ArgumentParser) -> None:
    """The option --on."""
    parser.add_argument("--on", type=backend, default=Backend(), metavar="ENGINE", help="local[:N] (the default), "
                        "dask:ADDRESS, ray[:ADDRESS] or slurm")  # fmt: skip


def check_minutes(where: Backend, minutes: float | None) -> None:
    """ValueError for a slice of minutes where all jobs are queued at once."""
    if where.kind == "slurm" and minutes is not None:
        raise ValueError("--minutes is not for --on slurm, which queues all at once: set SBATCH_TIMELIMIT")


@contextmanager
def engine(
    where: Backend, workers: int, folder: Path, ahead: int = AHEAD
) -> Iterator[Callable[[Iterable[Call]], Iterable[Any]]]:
    """Call what it yields with calls (`joblib.delayed`); it gives what they return, as they end.

    workers  at a time, of local and slurm, and of a Ray cluster that is started; others say how many they have
    ahead    tasks of each worker of dask and ray; 1: a call is taken when it can start
    folder   where SLURM's tasks are written down, seen from its nodes too

    Raises
    ------
    ValueError
        A scheduler or cluster that does not answer, or a task that its workers died of.
    """
    if where.kind == "dask":
        with _dask(where.address, ahead) as run:
            yield run
    elif where.kind == "ray":
        with _ray(where.address, workers, ahead) as run:
            yield run
    elif where.kind == "slurm":
        yield lambda calls: _array(calls, workers, folder / "slurm")
    else:
        with _local(workers) as run:
            yield run


@contextmanager
def _local(workers: int) -> Iterator[Callable[[Iterable[Call]], Iterable[Any]]]:
    watched = {"initializer": _end_with, "initargs": (os.getpid(),)} if workers > 1 else {}
    try:
        yield joblib.Parallel(n_jobs=workers, return_as="generator_unordered", pre_dispatch="n_jobs", **watched)
    except BrokenProcessPool:
        raise ValueError("a worker died, killed from outside or for want of memory (fewer --jobs take less), what was "
                         "finished is kept: run again to go on") from None  # fmt: skip


def _end_with(parent: int) -> None:
    """Of a worker, before it has work: end within a second of its parent, which may be killed without a word."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _dask(address: str, ahead: int) -> Iterator[Callable[[Iterable[Call]], Iterable[Any]]]:
    """Dask's own tasks: its backend of joblib runs the calls here, not there, where the cluster has a single core."""
    import distributed

    lost = f"the Dask scheduler at {address} was lost, what was finished is kept: run again to go on"
    try:
        client = distributed.Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise ValueError(f"no Dask scheduler answers at {address}: {error}") from None
    cluster = _Dask(client, address, lost)
    try:
        with client:
            yield lambda calls: _kept_busy(
                calls, cluster.send, cluster.ended, cluster.workers, distributed.Future.result, ahead
            )
    except distributed.KilledWorker as error:
        many, last = error.allowed_failures + 1, error.last_worker.address
        raise ValueError(f"{many} Dask workers died of a job, the last one at {last}, what was finished is kept: run "
                         "again to go on") from None  # fmt: skip
    except ModuleNotFoundError as error:
        raise ValueError(f"Dask workers have not this project: {error}") from None
    except CancelledError:
        raise ValueError(lost) from None


@dataclass(eq=False)
class _Dask:
    """What `_kept_busy` asks of a scheduler.

    lost  what is said where it does not answer;  waits  has it been said that there is no worker?
    """

    client: Any
    address: str
    lost: str
    waits: bool = False

    def send(self, call: Call) -> Any:
        import cloudpickle

        return self.client.submit(pickle.loads, cloudpickle.dumps(_Sent(call)), pure=False)

    def ended(self, tasks: list[Any]) -> tuple[list[Any], list[Any]]:
        import distributed

        try:
            done, others = distributed.wait(tasks, timeout=LOOK, return_when="FIRST_COMPLETED")
        except TimeoutError:
            return [], tasks
        return list(done), list(others)

    def workers(self) -> int:
        try:
            there = len(self.client.ncores())
        except (OSError, RuntimeError):
            raise ValueError(self.lost) from None
        if not (there or self.waits):
            tqdm.write(f"the Dask scheduler at {self.address} has no worker: waiting for one", file=sys.stderr)
        self.waits = not there
        return there


@contextmanager
def _ray(address: str, workers: int, ahead: int) -> Iterator[Callable[[Iterable[Call]], Iterable[Any]]]:
    """Ray's own tasks: its backend of joblib gives nothing back before all is done, and a kill would lose it."""
    import ray

    lost = f"the Ray cluster at {address or 'this machine'} was lost, what was finished is kept: run again to go on"
    try:
        if there := re.fullmatch(r"(?:ray://)?(.+):(\d+)", address):  # Ray itself asks for minutes where nobody answers
            socket.create_connection((there[1], int(there[2])), timeout=10).close()
        ray.init(address=address or "local", num_cpus=None if address else workers, log_to_driver=False)
    except Exception as error:  # where a cluster does not start in time Ray raises no narrower one
        raise ValueError(f"no Ray cluster answers at {address or 'this machine'}: {error}") from None
    send = ray.remote(max_retries=RETRIES)(_one).remote

    def cores() -> int:
        return int(ray.cluster_resources().get("CPU", 0))

    try:
        yield lambda calls: _kept_busy(calls, send, partial(ray.wait, timeout=LOOK), cores, ray.get, ahead)
    except ray.exceptions.RayTaskError:
        raise
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
        raise ValueError("Ray workers died of a job, what was finished is kept: run again to go on") from None
    except ray.exceptions.RayError:
        raise ValueError(lost) from None
    finally:
        ray.shutdown()


def _kept_busy(
    calls: Iterable[Call],
    send: Callable[[Call], Any],
    ended: Callable[[list[Any]], tuple[list[Any], list[Any]]],
    workers: Callable[[], int],
    result: Callable[[Any], Any],
    ahead: int,
) -> Iterator[Any]:
    """The results of a cluster's tasks, of which each worker has so many, the next one while the last is gathered.

    ended    waits a while for tasks: those that ended, and the others
    workers  how many there are now: they join and leave, or come when tasks wait for them
    """
    due: Iterator[Call] = iter(calls)
    waiting: list[Any] = []
    while True:
        waiting += map(send, islice(due, max(0, ahead * max(1, workers()) - len(waiting))))
        if not waiting:
            return
        done, waiting = ended(waiting)
        yield from map(result, done)


def _array(
    calls: Iterable[Call], workers: int, folder: Path, cluster: str = "slurm", seconds: float = 5.0
) -> Iterator[Any]:
    """The calls as one array, several in a task where there are more than it may hold; a task that dies goes again.

    cluster  `local` runs the tasks as processes of this machine;  seconds  between two looks at the queue
    Time, partition and account are SLURM's own: SBATCH_TIMELIMIT, SBATCH_PARTITION, SBATCH_ACCOUNT.
    """
    import submitit

    due = list(calls)
    share = -(-len(due) // LONGEST_ARRAY) or 1
    waiting = [due[start : start + share] for start in range(0, len(due), share)]
    try:
        executor = submitit.AutoExecutor(folder, cluster=cluster)
    except RuntimeError as error:
        raise ValueError(f"no SLURM here: {error}") from None
    executor.update_parameters(timeout_min=60, slurm_array_parallelism=workers)
    for sent in count():
        if not waiting:
            return
        if sent > RETRIES:
            raise ValueError(f"{len(waiting)} tasks died {sent} times, see {folder}; what was finished is kept")
        tasks = dict(zip(executor.map_array(_all, waiting), waiting, strict=True))
        waiting = []
        try:
            for task in submitit.helpers.as_completed(list(tasks), poll_frequency=seconds):
                if task.exception() is None:
                    yield from task.result()
                else:
                    waiting.append(tasks[task])
        finally:  # of a run that was stopped: nobody would read what they return
            for task in tasks:
                if not task.done():
                    task.cancel(check=False)


def _all(calls: list[Call]) -> list[Any]:
    return [_one(call) for call in calls]


def _one(call: Call) -> Any:
    function, arguments, named = call
    return function(*arguments, **named)


def _alone(call: Call) -> Any:
    """One call at a time in a process, whose caches and settings jobs share: a Dask worker may have several threads."""
    with _ONE_AT_A_TIME:
        return _one(call)


@dataclass(frozen=True)
class _Sent:
    """A call that runs when it is unpickled, in a task: one that cannot be unpickled ends a Dask worker in silence."""

    call: Call

    def __reduce__(self) -> tuple[Callable[[Call], Any], tuple[Call]]:
        return _alone, (self.call,)


def check_worker(modules: tuple[str, ...], code: object, versions: Mapping[str, str]) -> None:
    """Of a worker elsewhere: has it the code and the packages that its rows' stamp will say?

    Raises
    ------
    ValueError
        Names the worker and what differs.
    """
    if fingerprint(*modules) != code:
        raise ValueError(f"the worker on {platform.node()} has other code of {', '.join(modules)}")
    for package, wanted in versions.items():
        try:
            found = version(package)
        except PackageNotFoundError:
            found = "of no version"
        if found != wanted:
            raise ValueError(f"the worker on {platform.node()} has {package} {found}, not {wanted}")
