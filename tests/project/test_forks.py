"""What tests do with processes that they fork."""

from __future__ import annotations

import time

from tqdm import tqdm

from tests.processes import started


def test_a_fork_that_is_killed_holds_no_lock_of_its_parents_progress_bars(tmp_path):
    script, log = tmp_path / "bar.py", tmp_path / "log.txt"
    script.write_text("import time\nfrom tqdm import tqdm\ntqdm.get_lock().acquire()\nprint('held')\ntime.sleep(60)\n")
    shared = tqdm.get_lock().locks[0]
    fork = started(str(script), log=log)
    deadline = time.monotonic() + 30
    while not (log.exists() and "held" in log.read_text(encoding="utf-8")) and time.monotonic() < deadline:
        time.sleep(0.02)
    fork.kill()
    fork.join()
    assert "held" in log.read_text(encoding="utf-8")
    assert shared.acquire(True, 5)
    shared.release()
