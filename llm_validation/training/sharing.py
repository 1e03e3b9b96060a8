"""One GPU, several processes: they share it, but what is timed has it to itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import ReadWriteLock

#: In a results folder: what those wait for who use the same GPU.
LOCK = ".device.lock"


@contextmanager
def using(device: torch.device, folder: Path, *, alone: bool = False) -> Iterator[None]:
    """Use a GPU beside other jobs of a results folder, or `alone`, once none of them uses it; a CPU is just used.

    What it holds of the device's memory and does not use is given back. A process that dies leaves no lock behind.
    """
    if device.type != "cuda":
        yield
        return
    lock = ReadWriteLock(folder / LOCK)
    with lock.write_lock() if alone else lock.read_lock():
        yield
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
