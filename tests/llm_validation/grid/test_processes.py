"""Several processes: jobs dealt out and brought together, and the same rows whoever ran them."""

from __future__ import annotations

import json
import signal

import pytest
from torch.distributed.run import main as torchrun

from llm_validation.grid.processes import Share
from simulate.rows.grid import Job, run_jobs
from simulate.rows.measurement import measurement
from simulate.rows.store import Results, locked, read_rows
from tests.llm_validation.conftest import rows_of
from tests.processes import member, two_processes


def job(name: str, seed: int = 0) -> Job:
    return Job(name, seed, lambda: [measurement("D8", name, {}, float(seed))], ("theory.claim",))


STAMP: dict[str, object] = {"profile": "cpu", "commit": "c", "config": {"steps": 1}}


def test_every_job_falls_to_one_process():
    jobs = [job(str(i)) for i in range(7)]
    dealt = [Share(rank, 3).of(jobs) for rank in range(3)]
    assert sorted(j.name for part in dealt for j in part) == [str(i) for i in range(7)]


def test_parts_are_brought_together(tmp_path):
    with locked(tmp_path):
        for rank in range(2):
            run_jobs([job("a", rank), job("b", rank)], tmp_path, STAMP)
        assert len(list((tmp_path / "parts").iterdir())) == 2
    assert {row.cell for row in read_rows(tmp_path)} == {("D8", name, "", rank) for name in "ab" for rank in (0, 1)}
    assert len(Results(tmp_path).jobs) == 4


@pytest.mark.slow
def test_two_processes_give_the_rows_of_one(people_words, people_rows, command, tmp_path):
    """Each of them fits a reference and writes it: of the first one alone transformers would write the model."""
    two_processes(command, *people_words, str(tmp_path / "two"), out=tmp_path)
    assert rows_of(tmp_path / "two") == people_rows
    assert {seed for (*_, seed), _, _ in people_rows} == {0, 1}


def test_torchrun_tells_processes_what_they_are_told_here(tmp_path):
    """So that what holds of `two_processes` holds under `torchrun`, which imports all anew in each."""
    script = tmp_path / "told.py"
    script.write_text(
        "import json, os, sys, pathlib\n"
        "pathlib.Path(sys.argv[1], os.environ['RANK']).write_text(json.dumps(dict(os.environ)))\n"
    )
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    torchrun(["--standalone", "--nproc-per-node", "2", str(script), str(tmp_path)])
    for number, handler in handlers.items():  # the launcher leaves its own
        signal.signal(number, handler)
    for rank in "01":
        told = json.loads((tmp_path / rank).read_text(encoding="utf-8"))
        ours = member(rank, told["MASTER_PORT"]) | {"MASTER_ADDR": told["MASTER_ADDR"]}
        assert {name: told.get(name) for name in ours} == ours
        assert told["MASTER_PORT"].isdigit()
