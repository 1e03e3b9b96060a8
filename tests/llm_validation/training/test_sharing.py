"""One GPU, several processes: what is timed waits for the others, and they for it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from filelock import ReadWriteLock, Timeout

from llm_validation.training.sharing import LOCK, using

HOLD = """
import sys, pathlib, torch
from llm_validation.training.sharing import using
torch.cuda.synchronize = lambda device: None
torch.cuda.empty_cache = lambda: None
with using(torch.device("cuda"), pathlib.Path(sys.argv[1]), alone=sys.argv[2] == "alone"):
    print("here", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(("held", "read", "write"), [("beside", True, False), ("alone", False, False)])
def test_the_timed_job_has_a_gpu_to_itself(tmp_path, held, read, write):
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path), held], stdin=-1, stdout=-1, text=True)
    assert other.stdout.readline() == "here\n"
    lock = ReadWriteLock(tmp_path / LOCK)
    assert [_free(lock.read_lock), _free(lock.write_lock)] == [read, write]
    other.communicate()
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
