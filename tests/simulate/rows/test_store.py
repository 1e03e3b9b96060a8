"""One store: jobs that survive kills, stamps that say where rows come from, code that rows depend on, one writer."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from simulate.__main__ import main
from simulate.experiments import EXPERIMENTS, bind
from simulate.montecarlo import Estimate, generator
from simulate.rows import reach, store
from simulate.rows.compare import compare_folders
from simulate.rows.grid import Execution, Job, in_time, run_jobs
from simulate.rows.measurement import Measurement
from simulate.rows.merge import between, check_folder, first_difference, merge_main
from simulate.rows.reach import defining
from simulate.rows.store import Results, locked, make_stamp, read_rows
from tests.oracles.rows import made_row
from tests.processes import started
from theory.claims import CLAIMS, find_claim

SWEEP = ["D1", "D2", "D3", "D8", "D11", "D13"]
#: Modules of two topics, for jobs that depend on nothing but them.
ONE, OTHER = ("theory.distortion.factors",), ("theory.density_ratio.losses",)
STAMP = make_stamp("smoke", {"seed": 0, "fit": {"rate": 0.1}})


def measure(i: int, seed: int) -> list[Measurement]:
    value = float(generator(seed, f"i={i}").normal())
    return [Measurement("D1", "violation", {"i": i}, Estimate(value, 0.1, 7, witness='a "quoted", witness'))]


def jobs(n: int, modules: tuple[str, ...] = ONE, first: int = 0) -> list[Job]:
    return [Job(f"D1.violation at i={i}", 0, partial(measure, i, 0), modules) for i in range(first, first + n)]


def failing(error: Exception) -> Job:
    def fail() -> list[Measurement]:
        raise error

    return Job("D2.fair_coins at bt_beta=2", 0, fail, ONE)


def full_disk(_: int) -> None:
    raise OSError(errno.ENOSPC, "the disk is full")


def numbers(folder: Path) -> list[tuple]:
    """Everything in the rows but their seconds and stamps, to the last bit."""
    return [(row.cell, row.estimate, row.stderr, row.n, row.low, row.high, row.witness) for row in read_rows(folder)]


@pytest.fixture
def edited(monkeypatch):
    """Call it with a module: all that reaches it has another fingerprint from then on."""
    right, other = reach.fingerprint, set()

    def fingerprint(*modules: str) -> str:
        return "another" if other & set(modules) else right(*modules)

    for module in ("simulate.rows.grid", "simulate.rows.store"):
        monkeypatch.setattr(f"{module}.fingerprint", fingerprint)
    return other.add


# Files


def test_rows_survive_parts_and_files_to_the_last_bit(tmp_path):
    with locked(tmp_path):
        run_jobs(jobs(5), tmp_path, STAMP)
        in_parts = read_rows(tmp_path)
        assert not (tmp_path / "rows.csv").exists()
    assert len(in_parts) == 5
    assert read_rows(tmp_path) == in_parts
    assert not (tmp_path / "parts").exists()
    assert {row.cell: row for row in in_parts} == Results(tmp_path).rows


def test_a_stamp_says_where_a_row_comes_from(tmp_path):
    run_jobs(jobs(1), tmp_path, STAMP)
    ((stamp_id, stamp),) = Results(tmp_path).stamps.items()
    assert read_rows(tmp_path)[0].stamp == stamp_id
    assert stamp["profile"] == "smoke"
    assert stamp["modules"] == list(ONE)
    assert {"commit", "clean", "fingerprint", "versions", "device", "python", "config"} <= set(stamp)


def test_a_line_that_was_cut_off_is_a_job_to_run_again(tmp_path):
    run_jobs(jobs(3), tmp_path, STAMP)
    whole, (part,) = numbers(tmp_path), (tmp_path / "parts").iterdir()
    part.write_text(part.read_text(encoding="utf-8")[:-30], encoding="utf-8")
    assert len(read_rows(tmp_path)) == 2
    run_jobs(jobs(3), tmp_path, STAMP)
    assert numbers(tmp_path) == whole
    with locked(tmp_path):
        pass
    assert numbers(tmp_path) == whole


def test_a_row_that_was_taken_out_is_a_job_to_run_again(tmp_path):
    words = ["D8", "--profile", "smoke", "--jobs", "1", "--results", str(tmp_path)]
    main(words)
    whole, text = numbers(tmp_path), (tmp_path / "rows.csv").read_text(encoding="utf-8")
    (tmp_path / "rows.csv").write_text("".join(text.splitlines(keepends=True)[:-2]), encoding="utf-8")
    main(words)
    assert numbers(tmp_path) == whole


def test_a_missing_column_and_a_cut_off_file_are_named(tmp_path):
    with locked(tmp_path):
        run_jobs(jobs(1), tmp_path, STAMP)
    text = (tmp_path / "rows.csv").read_text(encoding="utf-8")
    (tmp_path / "rows.csv").write_text(text.replace("stderr", "error"), encoding="utf-8")
    with pytest.raises(ValueError, match="no column 'stderr'"):
        read_rows(tmp_path)
    for more in ("note", "claim"):
        (tmp_path / "rows.csv").write_text(text.replace("\n", f",{more}\n"), encoding="utf-8")
        with pytest.raises(ValueError, match=f"a column '{more}' more than"):
            read_rows(tmp_path)
    (tmp_path / "rows.csv").write_text(text, encoding="utf-8")
    (tmp_path / "stamps.json").write_text('{"a": ')
    with pytest.raises(ValueError, match=r"stamps.json cannot be read"):
        read_rows(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rows.csv", "\nD1,x", "rows.csv, line 3: it has 2 fields, not 12"),
        ("rows.csv", "\nD1,x,,0,1,0,1,0,0,0,one, two,s", "rows.csv, line 3: it has 13 fields, not 12"),
        ("rows.csv", "\nD1,x,,0,abc,0,1,0,0,0,,s", "rows.csv, line 3: could not convert string to float: 'abc'"),
        ("rows.csv", "\nD1,\udcff,,0,1,0,1,0,0,0,,s", "rows.csv holds bytes that are not utf-8"),
        ("rows.csv", 2 * "\nD1,x,,0,1,0,1,0,0,0,,s", "rows.csv holds D1.x at  seed 0 twice"),
        ("rows.csv", "\nD1,x,,0,1,0,1,0,0,0,,s", "rows.csv: D1.x at  seed 0 has stamp 's', which stamps.json does not"),
        ("stamps.json", '{"a": ', "stamps.json cannot be read"),
        ("jobs.json", "", "jobs.json cannot be read"),
        ("parts/x.jsonl", "\0\0\n", "x.jsonl, line 1 is broken: remove the file"),
    ],
)
def test_a_broken_store_is_one_sentence_and_status_2(tmp_path, capsys, name, text, message):
    with locked(tmp_path):
        run_jobs(jobs(1), tmp_path, STAMP)
    (tmp_path / "parts").mkdir(exist_ok=True)
    old = (tmp_path / name).read_text(encoding="utf-8").rstrip("\n") if name == "rows.csv" else ""
    (tmp_path / name).write_bytes((old + text).encode(errors="surrogateescape"))
    assert main(["D1", "--profile", "smoke", "--jobs", "1", "--results", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_is_one_sentence_and_status_2(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    words = ["D1", "--profile", "smoke", "--jobs", "1", "--results"]
    assert main([*words, str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith("simulate: ")
    monkeypatch.setattr(os, "fsync", full_disk)
    assert main([*words, str(tmp_path / "rows")]) == 2
    said = capsys.readouterr().err
    assert "the disk is full" in said
    assert f"{tmp_path / 'rows'}/" in said  # and which file could not be written


def test_files_are_replaced_stamps_first_and_jobs_last(tmp_path, monkeypatch):
    """A kill between two of them leaves no row without its stamp, and no job done without its rows."""
    run_jobs(jobs(2), tmp_path, STAMP)
    written, replace = [], store.replace_file
    monkeypatch.setattr(store, "replace_file", lambda path, text: (written.append(path.name), replace(path, text)))
    Results(tmp_path).write()
    assert written == ["stamps.json", "rows.csv", "jobs.json"]
    part = tmp_path / "claim=D3" / "check=attained" / "part-00000000.parquet"
    part.parent.mkdir(parents=True)
    for path in (tmp_path / "rows.csv", part):
        path.with_name(f".{path.name}.0123456789abcdef.partial").touch()  # of a kill within a write
    with locked(tmp_path):
        assert not list(tmp_path.rglob("*.partial"))


def test_files_are_replaced_and_never_written_in_place(tmp_path, monkeypatch):
    """Who holds the old file keeps it whole, and a write that fails leaves it as it was."""
    with locked(tmp_path):
        run_jobs(jobs(2), tmp_path, STAMP)
    old = {name: (tmp_path / name).read_text(encoding="utf-8") for name in ("stamps.json", "rows.csv", "jobs.json")}
    for name in old:
        os.link(tmp_path / name, tmp_path / f"held-{name}")
    run_jobs(jobs(4, OTHER, first=2), tmp_path, STAMP)
    results = Results(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(OSError, match="full"):
            results.write()
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in old} == old
    results.write()
    assert len(read_rows(tmp_path)) == 6
    assert {name: (tmp_path / f"held-{name}").read_text(encoding="utf-8") for name in old} == old


def test_bookkeeping_takes_less_than_a_millisecond_a_row(tmp_path):
    """The old store wrote all rows at every row: 0.94 s a row at 20 000 rows."""
    Results(tmp_path).add((row for job in jobs(20_000) for row in store_rows(job)), "s", STAMP)
    results, rows = Results(tmp_path), [store_rows(job) for job in jobs(1000, first=20_000)]
    began = time.process_time()
    for job, own in enumerate(rows):
        results.append(f"job {job}", "code", own, "s", STAMP)
    assert (time.process_time() - began) / len(rows) < 1e-3
    results.close()


def store_rows(job: Job) -> list[store.Row]:
    return [made_row(m.claim, m.check, m.setting, m.value, 0.1, n=7) for m in job.measure()]


# Resuming


def test_finished_jobs_are_skipped(tmp_path, capsys):
    run_jobs(jobs(3), tmp_path, STAMP)
    before = numbers(tmp_path)
    again = [Job(job.name, 0, partial(pytest.fail, "measured again"), ONE) for job in jobs(3)]
    assert run_jobs(again, tmp_path, STAMP) == 0
    assert numbers(tmp_path) == before
    assert "3 of 3 jobs are done" in capsys.readouterr().err
    with pytest.raises(pytest.fail.Exception):
        run_jobs(again, tmp_path, STAMP, again=True)


def test_only_rows_whose_code_has_changed_are_computed_again(tmp_path, edited, capsys):
    both = [*jobs(2), *jobs(3, OTHER, first=2)]
    run_jobs(both, tmp_path, STAMP)
    edited(ONE[0])
    with pytest.raises(ValueError, match=r"2 rows in .* were made by other code \(commit \w+\): --recompute"):
        check_folder(tmp_path, STAMP, recompute=False)
    check_folder(tmp_path, STAMP)
    assert "2 rows in" in capsys.readouterr().err
    with locked(tmp_path, drop_stale=True):
        run_jobs([*jobs(1), *jobs(3, OTHER, first=2)], tmp_path, STAMP)
    assert "3 of 4 jobs are done" in capsys.readouterr().err
    results = Results(tmp_path)
    assert len(results.rows) == len(results.jobs) == 4  # the row that nobody measured again is gone
    assert {stamp["fingerprint"] for stamp in results.stamps.values()} > {"another"}


def test_a_row_depends_on_its_inputs_not_on_their_name(tmp_path):
    for i, digest in enumerate(("first file", "first file", "second file")):
        run_jobs([Job("ratings", 0, partial(measure, i, 0), ONE, digest)], tmp_path, STAMP)
    assert [row.setting for row in read_rows(tmp_path)] == ["i=0", "i=2"]


def test_a_failing_job_is_named_and_the_finished_ones_are_kept(tmp_path):
    with pytest.raises(ValueError, match="broken") as caught:
        run_jobs([*jobs(2), failing(ValueError("broken"))], tmp_path, STAMP)
    assert any("D2.fair_coins at bt_beta=2 seed 0" in note for note in caught.value.__notes__)
    assert len(read_rows(tmp_path)) == 2


def test_no_job_starts_after_the_deadline(tmp_path):
    late = Execution(may_start=in_time(time.monotonic() - 1.0))
    assert run_jobs(jobs(2), tmp_path, STAMP, late) == 2
    assert not read_rows(tmp_path)
    ask = in_time(time.monotonic() + 60.0, whole=600.0)
    assert ask(1.0)
    assert ask(55.0)
    assert not ask(120.0)
    assert ask(301.0)  # more than half of a slice: there is no better time for it
    assert not in_time(time.monotonic() - 1.0, whole=600.0)(0.0)
    assert in_time(None)(1e9)


@pytest.mark.slow
def test_a_killed_sweep_resumes_to_the_same_rows(tmp_path, capsys):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    words = [*SWEEP, "--profile", "smoke", "--jobs", "1", "--results"]
    assert main([*words, str(whole)]) == 0
    process = started("simulate", *words, str(broken), log=tmp_path / "log.txt")
    deadline = time.monotonic() + 120
    while not read_rows(broken) and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGSTOP)
    capsys.readouterr()
    refused, said = main([*words, str(broken)]), capsys.readouterr().err
    process.kill()
    process.join()
    kept = numbers(broken)
    assert 0 < len(kept) < len(numbers(whole)), "the kill came too late or too early to test anything"
    assert (refused, said.count("\n")) == (2, 1)
    assert f"another process writes to {broken}" in said
    assert main([*words, str(broken)]) == 0
    assert numbers(broken) == numbers(whole)
    assert set(kept) <= set(numbers(broken))


# What may stand in a folder


def test_the_first_field_that_differs_is_named():
    one = {"config": {"fit": {"rate": 1.0}, "seeds": 3, "betas": (1.0,)}, "device": "a"}
    assert first_difference(one, one, "") is None
    assert first_difference({"a": (1, 2)}, {"a": [1, 2]}, "") is None  # as JSON brings a tuple back
    other = {"config": {"fit": {"rate": 2.0}, "seeds": 5, "betas": (5.0,)}, "device": "b"}
    assert first_difference(one, other, "") == ("config.fit.rate", 1.0, 2.0)
    assert first_difference({"a": 1}, {}, "x") == ("x.a", 1, None)
    code = {"modules": ["a"], "fingerprint": "f"}
    assert between(code, code | {"fingerprint": "g"}) == ("fingerprint", "f", "g")
    assert between(code, {"modules": ["b"], "fingerprint": "g"}) is None


def test_rows_of_another_configuration_are_not_added_to(tmp_path):
    run_jobs(jobs(1), tmp_path, STAMP)
    check_folder(tmp_path, {**STAMP, "config": {"seed": 1, "fit": {"rate": 0.1}}, "commit": "d"})  # further seeds
    with pytest.raises(ValueError, match=r"holds rows with config.fit.rate = 0.1, this run has 0.2"):
        check_folder(tmp_path, {**STAMP, "config": {"seed": 0, "fit": {"rate": 0.2}}})
    with pytest.raises(ValueError, match="holds rows with profile = 'smoke', this run has 'cpu'"):
        check_folder(tmp_path, {**STAMP, "profile": "cpu"})


def test_slices_are_merged_without_duplicates(tmp_path, capsys, edited):
    run_jobs(jobs(2), tmp_path / "one", STAMP)
    run_jobs(jobs(2, first=1), tmp_path / "two", STAMP)
    words = [str(tmp_path / name) for name in ("all", "one", "two")]
    assert merge_main(words) == merge_main(words) == 0
    assert [row.setting for row in read_rows(tmp_path / "all")] == ["i=0", "i=1", "i=2"]
    assert len(Results(tmp_path / "all").jobs) == 3
    run_jobs(jobs(1), tmp_path / "other profile", {**STAMP, "profile": "cpu"})
    edited(ONE[0])
    run_jobs(jobs(1), tmp_path / "other code", STAMP)
    capsys.readouterr()
    for part, named in (("other profile", "has profile 'cpu'"), ("other code", "has fingerprint"), ("none", "no rows")):
        assert merge_main([words[0], str(tmp_path / part)]) == 2
        assert named in capsys.readouterr().err
    assert merge_main([str(tmp_path / "new"), str(tmp_path / "none")]) == 2
    assert not (tmp_path / "new").exists()
    assert len(read_rows(tmp_path / "all")) == 3  # merging drops nothing, whatever its code


@pytest.mark.slow
def test_the_command_in_slices_gives_the_rows_of_one_go(tmp_path, capsys):
    claims, options = ["D1", "D17"], ["--profile", "smoke", "--jobs", "1", "--results"]
    assert main([*claims, *options, str(tmp_path / "whole")]) == 0
    for claim in claims:
        assert main([claim, *options, str(tmp_path / claim)]) == 0
    assert main(["merge", *(str(tmp_path / name) for name in ("slices", *claims))]) == 0
    assert main([*claims, *options, str(tmp_path / "slices")]) == 0
    assert numbers(tmp_path / "slices") == numbers(tmp_path / "whole")
    assert main([*claims, *options, str(tmp_path / "late"), "--minutes", "0"]) == 0
    assert "cells are left; run again to go on" in capsys.readouterr().out
    assert not read_rows(tmp_path / "late")


# Experiments


def test_a_misspelt_setting_is_named_before_anything_runs():
    with pytest.raises(ValueError, match=r"D3.bound at bt_bta=2 takes no 'bt_bta'"):
        bind("D3.bound", EXPERIMENTS["D3.bound"], {"bt_bta": 2.0})
    with pytest.raises(ValueError, match=r"D3.bound at no setting: missing .*bt_beta"):
        bind("D3.bound", EXPERIMENTS["D3.bound"], {})


@pytest.mark.parametrize("module", sorted({defining(experiment) for experiment in EXPERIMENTS.values()}))
def test_no_experiment_reaches_a_claim(module):
    """A row would go stale with every word of a statement, and could be made from its own prediction."""
    named = {path.as_posix() for path in reach.reach(module)}
    assert not {name for name in named if name.endswith("claims.py") or name.startswith(("figures", "paper"))}


def test_ids_of_claims_leave_no_gap():
    count = Counter(claim.id[0] for claim in CLAIMS)
    assert {claim.id for claim in CLAIMS} == {f"{letter}{k}" for letter, n in count.items() for k in range(1, n + 1)}


def test_no_check_is_measured_twice():
    tables = [sys.modules[defining(experiment)].EXPERIMENTS for experiment in EXPERIMENTS.values()]
    assert sum(len(table) for table in {id(table): table for table in tables}.values()) == len(EXPERIMENTS)


def test_compare_judges_by_the_resolution_of_the_check(tmp_path, capsys):
    """A tenth of it is the same, ten times that is not, in the estimate or its error; another n never is."""
    row, check = made_row("D3", "attained", "bt_beta=5", 2.5, n=7), find_claim("D3")
    room = check.check("attained").tolerance(check.check("attained").predict({"bt_beta": 5.0}))
    within, one = (
        "0 differ, 0 stand in one folder only\nevery row within its resolution; largest",
        "0 rows agree, 1 differ",
    )
    cases = [({}, 0, within), ({"estimate": 2.5 + room / 10}, 0, within), ({"estimate": 2.5 + 10 * room}, 1, one),
             ({"stderr": 10 * room}, 1, one), ({"n": 8}, 1, one)]  # fmt: skip
    Results(tmp_path / "a").add([row], "s", STAMP)
    for change, status, said in cases:
        Results(tmp_path / "b").add([replace(row, **change)], "s", STAMP)
        assert compare_folders([str(tmp_path / "a"), str(tmp_path / "b")]) == status
        assert said in capsys.readouterr().out
    assert compare_folders([str(tmp_path / "a"), str(tmp_path / "none")]) == 2
