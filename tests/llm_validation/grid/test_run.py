"""The command that trains: what stands in its folder, slices, stacks and shards, models it refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from llm_validation.__main__ import main
from llm_validation.grid.jobs import Job, Pace, read_finished, run_jobs
from llm_validation.grid.merge import check_folder, first_difference, merge_main
from llm_validation.grid.processes import Share
from llm_validation.model.model import build, load, save
from llm_validation.pretraining.base_model import OutOfTime, base_folder, pretrained
from llm_validation.pretraining.config import PRESETS
from llm_validation.text.corpus import train_tokenizer
from llm_validation.text.language import STORIES
from simulate.montecarlo import generator
from simulate.rows.measurement import measurement
from simulate.rows.store import read_rows

STAMP: dict[str, object] = {
    "profile": "gpu", "fingerprint": "f", "commit": "c", "config": {"size": "small", "seeds": 3, "fit": {"rate": 0.1}},
}  # fmt: skip


def job(name: str, seed: int = 0) -> Job:
    return Job(name, seed, lambda _: [measurement("D8", name, {}, float(seed))])


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A small model on disk, as somebody might bring it."""
    folder = tmp_path_factory.mktemp("given") / "model"
    tokenizer = train_tokenizer(STORIES.sample(generator(0, "documents"), 500), 512)
    save(build("smoke", len(tokenizer), 64, seed=0), tokenizer, folder)
    return folder


# What may stand in a folder


def test_the_first_field_that_differs_is_named():
    one = {"config": {"fit": {"rate": 1.0}, "seeds": 3, "betas": (1.0,)}, "device": "a"}
    assert first_difference(one, one, "") is None
    assert first_difference({"a": (1, 2)}, {"a": [1, 2]}, "") is None  # as JSON brings a tuple back
    other = {"config": {"fit": {"rate": 2.0}, "seeds": 5, "betas": (5.0,)}, "device": "b"}
    assert first_difference(one, other, "") == ("config.fit.rate", 1.0, 2.0)
    assert first_difference({"a": 1}, {}, "x") == ("x.a", 1, None)


def test_rows_of_another_configuration_are_not_added_to(tmp_path):
    run_jobs([job("a")], tmp_path, STAMP, Pace())
    more = {**STAMP, "config": {**STAMP["config"], "seeds": 5}, "commit": "d"}
    check_folder(tmp_path, more, recompute=False)  # further seeds of the same are welcome
    other = {**STAMP, "config": {**STAMP["config"], "fit": {"rate": 0.2}}}
    with pytest.raises(ValueError, match=r"holds rows with config.fit.rate = 0.1, this run has 0.2"):
        check_folder(tmp_path, other, recompute=True)
    with pytest.raises(ValueError, match="holds rows with profile = 'gpu', this run has 'cpu'"):
        check_folder(tmp_path, {**STAMP, "profile": "cpu"}, recompute=True)


def test_rows_of_other_code_are_kept_unless_they_are_to_go(tmp_path, capsys):
    run_jobs([job("a")], tmp_path, STAMP, Pace())
    newer = {**STAMP, "fingerprint": "g"}
    with pytest.raises(ValueError, match=r"made by other code \(fingerprint f, commit c; now g\): --recompute"):
        check_folder(tmp_path, newer, recompute=False)
    check_folder(tmp_path, newer, recompute=True)
    assert "are computed again" in capsys.readouterr().err


def test_slices_are_merged_without_duplicates(tmp_path, capsys):
    for name, jobs in (("one", [job("a"), job("b")]), ("two", [job("b"), job("b", 1)])):
        run_jobs(jobs, tmp_path / name, STAMP, Pace())
    assert merge_main([str(tmp_path / "all"), str(tmp_path / "one"), str(tmp_path / "two")]) == 0
    assert sorted(row.cell for row in read_rows(tmp_path / "all")) == [
        ("D8", "a", "", 0), ("D8", "b", "", 0), ("D8", "b", "", 1),
    ]  # fmt: skip
    assert len(read_finished(tmp_path / "all")) == 3
    run_jobs([job("c")], tmp_path / "three", {**STAMP, "commit": "d"}, Pace())
    assert merge_main([str(tmp_path / "all"), str(tmp_path / "three")]) == 2
    assert "has commit 'd'" in capsys.readouterr().err
    assert merge_main([str(tmp_path / "all"), str(tmp_path / "nowhere")]) == 2
    assert merge_main(["one"]) == 2


def test_seeds_side_by_side_lose_nothing_to_one_that_fails(tmp_path):
    def fail(_):
        raise RuntimeError("no data")

    jobs = [job("a", 0), Job("a", 1, fail), job("a", 2), job("b", 0)]
    with pytest.raises(RuntimeError, match="no data") as caught:
        run_jobs(jobs, tmp_path, STAMP, Pace(side_by_side=True))
    assert "in job a seed 1" in caught.value.__notes__
    assert sorted(read_finished(tmp_path)) == ["a seed 0", "a seed 2"]


def test_processes_that_share_a_model_run_every_job_and_the_first_one_writes(tmp_path):
    jobs = [replace(job("best_of_n"), trains=False), job("density_ratio"), job("density_ratio", 1)]
    first, second = Share(0, 2, divided=True), Share(1, 2, divided=True)
    assert first.of(jobs) == jobs
    assert second.of(jobs) == jobs[1:]  # generation trains no base model
    assert (first.writes, second.writes) == (True, False)
    assert first.folder(tmp_path) == second.folder(tmp_path) == tmp_path
    run_jobs(jobs, tmp_path, STAMP, Pace(keep=False))
    assert not read_rows(tmp_path)
    assert Share(1, 2).of(jobs, by_name=True) == jobs[1:]  # whole names, so that seeds stay together


def test_a_slice_starts_what_will_end_in_it():
    alone = Share(0, 1)
    ask = alone.in_time(time.monotonic() + 60.0, whole=600.0)
    assert ask(1.0)
    assert ask(55.0)
    assert not ask(120.0)
    assert ask(301.0)  # more than half of a slice: there is no better time for it
    assert not alone.in_time(time.monotonic() - 1.0, whole=600.0)(0.0)
    assert alone.in_time(None)(1e9)


# The base model


def test_pretraining_stops_at_a_checkpoint_and_goes_on(tmp_path):
    config = replace(PRESETS["smoke"], steps=6, stories=200, held_out=10, checkpoint_every=2, evaluations=0)
    pretrained(config, None, tmp_path / "whole")
    with pytest.raises(OutOfTime, match="stopped after step 2 of 6"):
        pretrained(config, None, tmp_path / "cut", deadline=time.monotonic() - 1.0)
    assert not base_folder(tmp_path / "cut", None).exists()
    base = pretrained(config, None, tmp_path / "cut")
    one, two = (load(folder).model.state_dict() for folder in (base_folder(tmp_path / "whole", None), base))
    assert all((one[name] == two[name]).all() for name in one)
    assert {"pretraining.json", "learning_curve.csv", "samples.txt"} <= {
        path.name for path in (tmp_path / "cut" / "pretraining").iterdir()
    }


def test_a_model_without_an_end_is_refused_before_anything_is_done(model, tmp_path, capsys):
    shutil.copytree(model, tmp_path / "endless")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = tmp_path / "endless" / name
        if path.exists():
            path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "eos_token"}))
    words = ["P10", "--profile", "smoke", "--model", str(tmp_path / "endless"), "--results", str(tmp_path / "rows")]
    assert main(words) == 2
    assert "has no end-of-text token" in capsys.readouterr().err
    assert not read_rows(tmp_path / "rows")


# The whole command


def run(words: list[str], launch: tuple[str, ...] = ()) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launch, "-m", "llm_validation", *words]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.slow
def test_a_given_model_in_one_process_stacked_and_divided(model, tmp_path):
    """From the same references the rows agree: a stack and a divided model differ from one alone by rounding."""
    words = ["P10", "V3", "--profile", "smoke", "--seeds", "2", "--model", str(model), "--jobs", "1", "--results"]
    said = run([*words, str(tmp_path / "one"), "--no-stack-seeds"])
    assert "TFLOP/s in float32" in said
    assert "cells  done  minutes left" in said
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    ways = {"stacked": (["--stack-seeds"], ()), "divided": (["--shard"], launch)}
    wanted = {row.cell: row.estimate for row in read_rows(tmp_path / "one") if not row.check.startswith("reference")}
    for name, (options, launcher) in ways.items():
        shutil.copytree(tmp_path / "one" / "checkpoints", tmp_path / name / "checkpoints")
        run([*words, str(tmp_path / name), *options], launcher)
        found = {row.cell: row.estimate for row in read_rows(tmp_path / name)}
        assert found.keys() == wanted.keys()
        assert max(abs(found[cell] - wanted[cell]) for cell in wanted) < 5e-3


@pytest.mark.slow
def test_the_gpu_profile_runs_without_a_gpu_on_a_small_size(tmp_path):
    """The command of `make gpu`, in slices, on the smallest model: what a GPU is to do later is done here first."""
    words = ["P10", "--profile", "gpu", "--size", "smoke", "--seeds", "1", "--jobs", "1", "--results", str(tmp_path)]
    assert "stopped after 0.0 minutes" in run([*words, "--minutes", "0"])
    assert not read_rows(tmp_path)
    run(words)
    errors = [row for row in read_rows(tmp_path) if (row.claim, row.check) == ("P10", "trained")]
    assert len(errors) == 4
    stamp = next(iter(json.loads((tmp_path / "stamps.json").read_text()).values()))
    assert stamp["config"]["size"] == "smoke"
    assert (
        stamp["config"]["parameters"]
        == json.loads((tmp_path / "pretraining" / "pretraining.json").read_text())["parameters"]
    )
