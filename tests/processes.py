"""Two processes as `torchrun` starts them, forked from one that has already imported what they need.

A process spends nine seconds on its imports; a fork of one that is done with them spends none. `torchrun` itself is
tested once, in `tests/llm_validation/grid/test_processes.py`.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
import sys
from pathlib import Path

IMPORTED = ["accelerate", "torch.distributed.fsdp", "llm_validation.grid.run"]


def _environment(rank: int, port: int) -> dict[str, str]:
    """What `torchrun --nproc-per-node 2` tells a process."""
    place = {name: str(rank) for name in ("RANK", "LOCAL_RANK")} | dict.fromkeys(
        ("WORLD_SIZE", "LOCAL_WORLD_SIZE"), "2"
    )
    return {**place, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}


def _process(rank: int, port: int, program: str, words: list[str], log: str) -> None:
    """A process: a script if there is a file of that name, else a module, with its output in a file."""
    written = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(written, 1)
    os.dup2(written, 2)
    os.environ.update(_environment(rank, port))
    sys.argv = [program, *words]
    if Path(program).exists():
        sys.path.insert(0, str(Path(program).parent))
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


def two_processes(program: str, *words: str, out: Path) -> str:
    """A script or a module, run in two processes that know of each other; what they printed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    logs = [out / f"process {rank}.txt" for rank in range(2)]
    processes = [
        context.Process(target=_process, args=(rank, port, program, list(words), str(log)))
        for rank, log in enumerate(logs)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    said = "\n".join(log.read_text() for log in logs)
    for process in processes:
        process.kill()
    assert [process.exitcode for process in processes] == [0, 0], said[-4000:]
    return said
