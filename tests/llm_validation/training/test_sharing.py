"""One GPU, several processes: what is timed waits for the others, and they for it."""

from __future__ import annotations

import time

import pytest
import torch
from filelock import ReadWriteLock, Timeout

from llm_validation.training.sharing import LOCK, using
from tests.processes import started

HOLD = """
import sys, pathlib, time, torch
from llm_validation.training.sharing import using
torch.cuda.synchronize = lambda device: None
torch.cuda.empty_cache = lambda: None
folder = pathlib.Path(sys.argv[1])
with using(torch.device("cuda"), folder, alone=sys.argv[2] == "alone"):
    (folder / "here").touch()
    while not (folder / "told to go").exists():
        time.sleep(0.01)
"""


@pytest.mark.parametrize(("held", "read", "write"), [("beside", True, False), ("alone", False, False)])
def test_the_timed_job_has_a_gpu_to_itself(tmp_path, held, read, write):
    script = tmp_path / "hold.py"
    script.write_text(HOLD)
    other = started(str(script), str(tmp_path), held, log=tmp_path / "log.txt")
    while not (tmp_path / "here").exists():
        assert other.is_alive(), (tmp_path / "log.txt").read_text(encoding="utf-8")
        time.sleep(0.01)
    lock = ReadWriteLock(tmp_path / LOCK)
    assert [_free(lock.read_lock), _free(lock.write_lock)] == [read, write]
    (tmp_path / "told to go").touch()
    other.join()
    assert _free(lock.read_lock)
    assert _free(lock.write_lock)


def _free(lock) -> bool:
    try:
        with lock(blocking=False):
            return True
    except Timeout:
        return False


def test_a_cpu_is_just_used(tmp_path):
    with using(torch.device("cpu"), tmp_path, alone=True):
        assert not list(tmp_path.iterdir())
