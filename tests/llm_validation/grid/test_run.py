"""The command that trains: what stands in its folder, slices, stacks and shards, models it refuses."""

from __future__ import annotations

import json
import re
import shutil
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file, save_file

from llm_validation.__main__ import _parser, main
from llm_validation.grid.jobs import train_together
from llm_validation.grid.processes import Share
from llm_validation.grid.run import _executions, _waiting, make_setup
from llm_validation.model.model import load
from llm_validation.pretraining.base_model import OutOfTime, base_folder, pretrained
from llm_validation.pretraining.config import PRESETS
from llm_validation.profiles import PROFILES
from llm_validation.training.device import DeviceRates
from llm_validation.training.schedule import Schedule
from simulate.rows.backends import Backend
from simulate.rows.grid import Execution, Job, run_jobs
from simulate.rows.measurement import measurement
from simulate.rows.reach import fingerprint
from simulate.rows.store import Results, read_rows
from tests.oracles.rows import made_row
from tests.processes import two_processes

STAMP: dict[str, object] = {
    "profile": "gpu", "commit": "c", "config": {"size": "small", "seeds": 3, "fit": {"rate": 0.1}},
}  # fmt: skip


def job(name: str, seed: int = 0) -> Job:
    return Job(name, seed, lambda _: [measurement("D8", name, {}, float(seed))], ("theory.claim",))


# Jobs


def test_seeds_side_by_side_lose_nothing_to_one_that_fails(tmp_path):
    def fail(_):
        raise RuntimeError("no data")

    jobs = [job("a", 0), replace(job("a", 1), measure=fail), job("a", 2), job("b", 0)]
    with pytest.raises(RuntimeError, match="no data") as caught:
        run_jobs(jobs, tmp_path, STAMP, Execution(by_name=True, together=train_together))
    assert "in job a seed 1" in caught.value.__notes__
    assert sorted(Results(tmp_path).jobs) == ["a seed 0", "a seed 2"]


def test_processes_that_share_a_model_run_every_job_and_the_first_one_writes(tmp_path):
    jobs = [replace(job("best_of_n"), trains=False), job("density_ratio"), job("density_ratio", 1)]
    first, second = Share(0, 2, divided=True), Share(1, 2, divided=True)
    assert first.of(jobs) == jobs
    assert second.of(jobs) == jobs[1:]  # generation trains no base model
    assert (first.writes, second.writes) == (True, False)
    run_jobs(jobs, tmp_path, STAMP, Execution(together=train_together, keep=False))
    assert not read_rows(tmp_path)
    assert Share(1, 2).of(jobs, by_name=True) == jobs[1:]  # whole names, so that seeds stay together


def test_processes_that_share_a_model_ask_together_about_what_they_train_together(tmp_path, monkeypatch):
    """Of jobs that the first does alone the others know nothing: their answers would be taken for other jobs'."""
    asked: dict[int, list[float]] = {0: [], 1: []}
    for rank, log in asked.items():
        share = Share(rank, 2, divided=True)
        monkeypatch.setattr(Share, "in_time", lambda *_, log=log: lambda seconds: not log.append(seconds))
        jobs = [replace(job("scorer"), trains=False, work=30.0), replace(job("catalogue"), work=5.0)]
        setup = SimpleNamespace(mine=share, processes=1, deadline=None, whole=0.0, stacked=False, runs=[], on=Backend())
        for part, how in _executions(setup, share.of([*jobs, replace(job("safety"), work=7.0)])):
            run_jobs(part, tmp_path / str(rank), STAMP, how)
    assert asked == {0: [5.0, 7.0], 1: [5.0, 7.0]}
    assert sorted(Results(tmp_path / "0").jobs) == ["catalogue seed 0", "safety seed 0", "scorer seed 0"]


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


def test_a_share_of_the_device_is_reckoned_once(tmp_path, capsys):
    config = replace(PRESETS["smoke"], steps=2, stories=50, held_out=5, evaluations=0)
    rates = DeviceRates("a device", 1e12, 1e10, "float32", 768, 2**30)
    said = []
    for flops in (1e12, 5e11):  # the second time the device is busy with something else
        pretrained(config, None, tmp_path, rates=replace(rates, flops=flops))
        said.append(capsys.readouterr().out.splitlines()[-1])
    assert "MFU" in said[0]
    assert said[0] == said[1]


def test_a_model_without_an_end_is_refused_before_anything_is_done(model, tmp_path, capsys):
    shutil.copytree(model, tmp_path / "endless")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = tmp_path / "endless" / name
        if path.exists():
            path.write_text(
                json.dumps({k: v for k, v in json.loads(path.read_text(encoding="utf-8")).items() if k != "eos_token"})
            )
    words = ["P10", "--profile", "smoke", "--model", str(tmp_path / "endless"), "--results", str(tmp_path / "rows")]
    assert main(words) == 2
    assert "has no end-of-text token" in capsys.readouterr().err
    assert not read_rows(tmp_path / "rows")


def test_other_weights_under_the_same_name_are_another_model(model, tmp_path, capsys):
    mine, rows = tmp_path / "model", tmp_path / "rows"
    shutil.copytree(model, mine)
    words = ["P10", "--profile", "smoke", "--model", str(mine), "--results", str(rows), "--plan"]
    capsys.readouterr()
    assert main(words) == 0
    assert f"\nmodel {mine}\nstage " in capsys.readouterr().out
    assert not rows.exists()  # a plan is a look
    stamp = make_setup(_parser().parse_args(words), None, rows, 0.0).stamp
    row = made_row("P10", "trained", "n=1", seconds=1.0)
    Results(rows).add([row], "s", {**stamp, "modules": ["theory.claim"], "fingerprint": fingerprint("theory.claim")})
    assert main(words) == 0
    whole = load_file(mine / "model.safetensors")
    save_file({name: 1.01 * values for name, values in whole.items()}, mine / "model.safetensors", {"format": "pt"})
    assert main(words) == 2
    assert "holds rows with config.content = " in capsys.readouterr().err


def test_a_plan_names_its_size(tmp_path, capsys):
    words = ["P10", "--profile", "gpu", "--size", "smoke", "micro", "--results", str(tmp_path / "rows"), "--plan"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert re.findall(r"^size (\w+)\nstage ", said, re.MULTILINE) == ["smoke", "micro"]


def test_a_job_whose_fit_was_made_otherwise_meanwhile_is_not_left_out_silently(model, tmp_path):
    setup = make_setup(_parser().parse_args(["B1", "--profile", "smoke", "--model", str(model)]), None, tmp_path, 0.0)
    assert _waiting(setup, {"best_of_n seed 0"}) == 0
    assert _waiting(replace(setup, deadline=0.0), set()) == 1
    with pytest.raises(ValueError, match="best_of_n seed 0 cannot start: what it starts from was fitted otherwise"):
        _waiting(setup, set())


# The whole command


@pytest.mark.slow
@pytest.mark.parametrize(("name", "seeds"), [("stacked", (0, 1)), ("divided", (0,))])
def test_a_given_model_stacked_and_divided(name, seeds, people_words, people_folder, command, short, tmp_path, capsys):
    """From the same references, whose laws are kept: a stack and a divided model differ from one alone by rounding."""
    shutil.copytree(people_folder / "checkpoints", tmp_path / name / "checkpoints")
    words = [*people_words, str(tmp_path / name), "--seeds", str(len(seeds))]
    if name == "divided":
        two_processes(command, *words, "--shard", out=tmp_path)
    else:
        assert main([*words, "--stack-seeds"]) == 0
        said = capsys.readouterr().out
        assert "TFLOP/s in float32" in said
        assert "cells  done  minutes left" in said
    folders = people_folder, tmp_path / name
    whole, found = ({row.cell: row.estimate for row in read_rows(folder)} for folder in folders)
    wanted = {cell: value for cell, value in whole.items() if cell[3] in seeds}
    assert found.keys() == wanted.keys()
    assert max(abs(found[cell] - wanted[cell]) for cell in wanted) < 5e-3


@pytest.mark.slow
def test_the_gpu_profile_runs_without_a_gpu_on_a_small_size(tmp_path, capsys, monkeypatch):
    """The command of `make gpu`, in slices, on the smallest model: what a GPU is to do later is done here first."""
    short = Schedule(steps=20, rate=1e-3, record=10)
    monkeypatch.setitem(PROFILES, "gpu", replace(PROFILES["gpu"], fit=replace(short, steps=125), runs=short))
    words = ["P10", "--profile", "gpu", "--size", "smoke", "--seeds", "1", "--jobs", "1", "--results", str(tmp_path)]
    words += ["--pretrain-steps", "20"]
    assert main([*words, "--minutes", "1e-9"]) == 0
    assert "are left; run again to go on" in capsys.readouterr().out
    assert not read_rows(tmp_path)
    assert main(words) == 0
    errors = [row for row in read_rows(tmp_path) if (row.claim, row.check) == ("P10", "trained")]
    assert len(errors) == 4
    stamp = next(iter(json.loads((tmp_path / "stamps.json").read_text(encoding="utf-8")).values()))
    assert stamp["config"]["size"] == "smoke"
    assert (
        stamp["config"]["parameters"]
        == json.loads((tmp_path / "pretraining" / "pretraining.json").read_text(encoding="utf-8"))["parameters"]
    )
