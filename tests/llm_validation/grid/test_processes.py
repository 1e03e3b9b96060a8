"""Several processes: jobs dealt out and brought together, and the same rows whoever ran them."""

from __future__ import annotations

import signal

import pytest
from torch.distributed.run import main as torchrun

from llm_validation.__main__ import main
from llm_validation.grid.processes import Share
from llm_validation.model.model import build, save
from llm_validation.text.corpus import train_tokenizer
from llm_validation.text.language import STORIES
from simulate.montecarlo import generator
from simulate.rows.grid import Job, run_jobs
from simulate.rows.measurement import measurement
from simulate.rows.store import Results, locked, read_rows


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
def test_two_processes_give_the_rows_of_one(tmp_path):
    """Each of them fits a reference and writes it: of the first one alone transformers would write the model."""
    tokenizer = train_tokenizer(STORIES.sample(generator(0, "documents"), 500), 512)
    save(build("smoke", len(tokenizer), 64, seed=0), tokenizer, tmp_path / "model")
    words = ["D17", "--profile", "smoke", "--jobs", "1", "--seeds", "2", "--model", str(tmp_path / "model")]
    words.append("--results")
    assert main([*words, str(tmp_path / "one")]) == 0
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    torchrun(["--standalone", "--nproc-per-node", "2", "-m", "llm_validation", *words, str(tmp_path / "two")])
    for number, handler in handlers.items():  # the launcher leaves its own
        signal.signal(number, handler)
    one, two = ([(row.cell, row.estimate) for row in read_rows(tmp_path / name)] for name in ("one", "two"))
    assert one == two
