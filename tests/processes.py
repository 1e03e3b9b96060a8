"""Processes of the project, forked from one that has already imported what they need; imports of it as the first ones.

A process spends nine seconds on its imports; a fork of one that is done with them, the tests' own, spends none.
`torchrun` itself is compared with this once, in `tests/llm_validation/grid/test_processes.py`.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib.machinery import ModuleSpec
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

from simulate.rows.reach import PACKAGES, ROOT

IMPORTED = ["accelerate", "torch.distributed.fsdp", "llm_validation.grid.run"]


def _run(program: str, words: list[str], log: str, environment: dict[str, str]) -> None:
    """A script if there is a file of that name, else a module, with its output in a file."""
    written = os.open(log, os.O_WRONLY | os.O_CREAT)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(written, number)
        setattr(sys, name, os.fdopen(number, "w", buffering=1))  # of a fork it is what pytest captures
    tqdm.set_lock(threading.RLock())  # a fork would share its parent's, and hold it for ever if it is killed meanwhile
    os.environ.update(environment)
    if "accelerate" in sys.modules:
        sys.modules["accelerate"].PartialState._reset_state()  # it asks its environment once
    sys.argv = [program, *words]
    if Path(program).exists():
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


def started(program: str, *words: str, log: Path, imported: bool = False, **environment: str) -> BaseProcess:
    """A process that runs a script or a module with this command line; a fork of one that has only `imported`."""
    torch = sys.modules.get("torch")
    if sys.platform == "linux" and not imported and not (torch and torch.cuda.is_available()):
        context: Any = multiprocessing.get_context("fork")
    else:  # a process that has used a GPU, or Apple's BLAS, must not be forked, but one that has only imported
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(IMPORTED)
    process = context.Process(target=_run, args=(program, list(words), str(log), environment))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12: pytest-xdist has threads, idle ones
        process.start()
    return process


def member(rank: str, port: str) -> dict[str, str]:
    """What `torchrun` tells one of two processes."""
    group = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {"RANK": rank, "LOCAL_RANK": rank, **group}


def two_processes(program: str, *words: str, out: Path) -> str:
    """A script or a module, run in two processes that know of each other as under `torchrun`; what they printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    logs = [out / f"process {rank}.txt" for rank in "01"]
    ranks = zip("01", logs, strict=True)
    processes = [started(program, *words, log=log, **member(rank, port)) for rank, log in ranks]
    for process in processes:
        process.join(300)
        process.kill()
    said = "\n".join(log.read_text(encoding="utf-8") for log in logs)
    assert [process.exitcode for process in processes] == [0, 0], said[-4000:]
    return said


#: The command that trains, with a short profile smoke, as a script.
COMMAND = """
from llm_validation.__main__ import main
from llm_validation.grid.processes import end
from tests.processes import shorten
shorten()
end(main())
"""


def shorten() -> None:
    """Shorter fits and runs of profile smoke, in this process."""
    from llm_validation.profiles import PROFILES

    smoke = PROFILES["smoke"]
    PROFILES["smoke"] = replace(smoke, fit=replace(smoke.fit, steps=125), runs=replace(smoke.runs, steps=10))


class Missing:
    """Finds no package of these names: as if they were not installed."""

    def __init__(self, *packages: str) -> None:
        self.packages = packages

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.split(".")[0] in self.packages:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def forget(*packages: str) -> dict[str, ModuleType]:
    """Take these packages' modules out of what is imported; returns them."""
    found = {name: module for name, module in sys.modules.items() if name.split(".")[0] in packages}
    for name in found:
        del sys.modules[name]
    return found


def run_anew(code: str, *, missing: tuple[str, ...] = (), tree: Path = ROOT) -> None:
    """Run code in this process as if nothing of the project had been imported, and the missing packages were not there;
    the project is that of a tree.

    What else it needs stays imported: a new interpreter spends up to ten seconds on that.
    """
    finder, path, here = Missing(*missing), list(sys.path), Path.cwd()
    before = forget(*PACKAGES, *missing)
    sys.meta_path.insert(0, finder)
    sys.path.insert(0, str(tree))
    os.chdir(tree)
    try:
        exec(code, {"__name__": "anew"})
    finally:
        os.chdir(here)
        sys.path[:] = path
        sys.meta_path.remove(finder)
        forget(*PACKAGES, *missing)
        sys.modules.update(before)


def refused(main: Callable[[list[str]], int | None], words: list[str], capsys: Any) -> str:
    """The one sentence with which a command line refuses its words, status 2, in this process."""
    try:
        status = main(words)
    except SystemExit as ended:
        status = ended.code  # type: ignore[assignment]
    error: str = capsys.readouterr().err
    assert status == 2
    assert len(error.splitlines()) == 1
    return error
