"""Result rows: atomic, resumable, stamped, and the same after a kill in the middle of a sweep."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from simulate.montecarlo import Estimate, generator
from simulate.rows.compare import compare_folders
from simulate.rows.store import ROOT, Cell, Results, make_stamp, read_rows, run
from theory.claim import setting_key

SWEEP = ["D1", "D2", "D3", "D8", "D11", "D13"]


def simulate(folder: Path, *, claims=SWEEP) -> list[str]:
    return [sys.executable, "-m", "simulate", *claims, "--profile", "smoke", "--results", str(folder), "--jobs", "1"]


def numbers(folder: Path) -> list[tuple]:
    """Everything in the rows but their seconds and stamps, to the last bit."""
    return [(row.cell, row.estimate, row.stderr, row.n, row.low, row.high, row.witness) for row in read_rows(folder)]


def measure(setting, seed):
    return Estimate(float(generator(seed, setting_key(setting)).normal()), 0.1, 7, witness='a "quoted", witness')


def cells(n: int) -> list[Cell]:
    return [Cell("D1", "violation", {"i": i}, 0, partial(measure, {"i": i}, 0)) for i in range(n)]


def stamp() -> dict[str, object]:
    return make_stamp("smoke", {"seed": 0})


def test_rows_survive_the_file_to_the_last_bit(tmp_path):
    written = run(cells(5), tmp_path, stamp(), 1).rows
    assert {row.cell: row for row in read_rows(tmp_path)} == written
    assert Results(tmp_path).rows == written


def test_a_stamp_says_where_a_row_comes_from(tmp_path):
    run(cells(1), tmp_path, stamp(), 1)
    (row,) = read_rows(tmp_path)
    found = json.loads((tmp_path / "stamps.json").read_text())[row.stamp]
    assert found["profile"] == "smoke"
    assert {"commit", "clean", "fingerprint", "versions", "device", "python", "config"} <= set(found)
    assert row.seconds >= 0


def test_finished_cells_are_skipped(tmp_path, capsys):
    run(cells(3), tmp_path, stamp(), 1)
    before = (tmp_path / "rows.csv").read_bytes()
    calls = [Cell(c.claim, c.check, c.setting, c.seed, partial(pytest.fail, "measured again")) for c in cells(3)]
    run(calls, tmp_path, stamp(), 1)
    assert (tmp_path / "rows.csv").read_bytes() == before
    assert "3 of 3 cells are done" in capsys.readouterr().err


def test_rows_of_other_code_are_not_mixed_in(tmp_path, capsys):
    old = stamp() | {"fingerprint": "another"}
    run(cells(2), tmp_path, old, 1)
    run(cells(3), tmp_path, stamp(), 1)
    assert "2 rows" in capsys.readouterr().err
    assert len(json.loads((tmp_path / "stamps.json").read_text())) == 1


def test_a_failing_cell_is_named_and_the_finished_ones_are_kept(tmp_path):
    def fail() -> Estimate:
        raise ValueError("broken")

    bad = Cell("D2", "fair_coins", {"bt_beta": 2}, 0, fail)
    with pytest.raises(ValueError, match="broken") as caught:
        run([*cells(2), bad], tmp_path, stamp(), 1)
    assert any("D2.fair_coins at bt_beta=2" in note for note in caught.value.__notes__)
    assert len(read_rows(tmp_path)) == 2


def test_a_missing_column_is_named(tmp_path):
    run(cells(1), tmp_path, stamp(), 1)
    text = (tmp_path / "rows.csv").read_text().replace("stderr", "error")
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(ValueError, match="no column 'stderr'"):
        read_rows(tmp_path)


@pytest.mark.slow
def test_a_killed_sweep_resumes_to_the_same_rows(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(simulate(whole), check=True, cwd=ROOT, env=environment, capture_output=True)

    process = subprocess.Popen(
        simulate(broken), cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (broken / "rows.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = numbers(broken)
    assert 0 < len(kept) < len(numbers(whole)), "the kill came too late or too early to test anything"

    subprocess.run(simulate(broken), check=True, cwd=ROOT, env=environment, capture_output=True)
    assert numbers(broken) == numbers(whole)
    assert set(kept) <= set(numbers(broken))


def test_compare_finds_a_changed_row(tmp_path, capsys):
    first, second = tmp_path / "a", tmp_path / "b"
    run(cells(3), first, stamp(), 1)
    run(cells(3), second, stamp(), 1)
    assert compare_folders([str(first), str(second)]) == 0
    assert "3 rows agree, 0 differ" in capsys.readouterr().out
    text = (second / "rows.csv").read_text().splitlines()
    fields = text[1].split(",")
    fields[4] = repr(float(fields[4]) * 1.01)
    (second / "rows.csv").write_text("\n".join([text[0], ",".join(fields), *text[2:]]) + "\n")
    assert compare_folders([str(first), str(second)]) == 1
    assert "differs" in capsys.readouterr().out
    assert compare_folders([str(first), str(tmp_path / "none")]) == 2
