"""Sweeps: each cell once, with the number of a plain run, also after a kill; a wrong file is one sentence."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import pandas as pd
import pytest

from simulate import grids, sweep
from simulate.__main__ import main
from simulate.grids import MEASURED, Grid, read_sweep
from simulate.montecarlo import generator
from simulate.populations import FAMILIES, population_of
from simulate.rows.reach import ROOT
from tests.oracles.experiments import measure

pytest.importorskip("pyarrow", reason="the extra `sweep` is not installed")

HEAD = 'profile = "smoke"\nseeds = 2\n'


def written(folder: Path, text: str, head: str = HEAD) -> str:
    file = folder / "grid.toml"
    file.write_text(head + text, encoding="utf-8")
    return str(file)


def rows(folder: Path) -> pd.DataFrame:
    """All that the clock does not say, in one order."""
    found = pd.read_parquet(folder).drop(columns="seconds")
    return found.sort_values(["claim", "check", "bt_beta", "seed"]).reset_index(drop=True)


def swept(file: str, folder: Path, *more: str) -> int:
    """The exit status of the command, which measures one part at a time unless told otherwise."""
    return main(["sweep", file, "--results", str(folder), *(more or ("--jobs", "1"))])


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("claim=*/check=*/part-*.parquet"))


def test_each_cell_is_there_once_with_the_number_that_a_plain_run_gives(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(grids, "IN_A_PART", 5)
    text = """
    [D3.attained]
    bt_beta = { from = 1, to = 4, count = 3 }
    [B2.kl]
    table = ["ties", "distinct"]
    n = 4
    [methods.borda]
    family = ["uniform", "sparse"]
    n_types = [2, 5]
    n_alternatives = 3
    bt_beta = [1.0, 5.0]
    """
    file, folder = written(tmp_path, text), tmp_path / "rows"
    assert swept(file, folder, "--plan") == 0
    assert "26 cells, 0 of them" in capsys.readouterr().out
    assert swept(file, folder) == 0
    found = pd.read_parquet(folder).set_index(["check", "seed"]).sort_index()
    assert len(parts(folder)) == 2 + 1 + 4
    assert len(found) == 26
    assert not found.reset_index().duplicated(["check", "seed", "bt_beta", "table", "family", "n_types"]).any()
    assert set(found.loc["borda"].query("family == 'sparse'").n_types) == {2, 5}
    at = found.loc["attained", 0]
    expected = {bt_beta: measure("D3.attained", {"bt_beta": bt_beta}).value for bt_beta in (1.0, 2.5, 4.0)}
    assert dict(zip(at.bt_beta, at.estimate, strict=True)) == expected
    at = found.loc["kl", 0].set_index("table")
    for table in ("ties", "distinct"):
        estimate = measure("B2.kl", {"table": table, "n": 4})
        assert tuple(at.loc[table, ["estimate", "stderr", "replicates"]]) == (
            estimate.value,
            estimate.stderr,
            estimate.n,
        )
    assert set(found.stamp) == set(json.loads((folder / "_sweep.json").read_text(encoding="utf-8"))["stamps"])


def test_a_killed_sweep_goes_on_to_the_same_rows_none_lost_none_twice(tmp_path):
    file = written(tmp_path, "[D3.attained]\nbt_beta = { from = 1.0, to = 9.0, count = 400 }")
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "simulate", "sweep", file, "--jobs", "1", "--results", str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(parts(folder)) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {part: part.stat().st_mtime_ns for part in parts(folder)}
    assert 2 <= len(before) < 8
    assert swept(file, folder, "--on", "local:2") == 0
    assert swept(file, tmp_path / "whole") == 0
    assert {part: part.stat().st_mtime_ns for part in before} == before
    pd.testing.assert_frame_equal(rows(folder), rows(tmp_path / "whole"))
    assert len(rows(folder)) == 800


def test_a_part_that_cannot_be_written_is_no_part(tmp_path, monkeypatch, capsys):
    file, folder = written(tmp_path, "[D3.attained]\nbt_beta = [1, 2]"), tmp_path / "rows"

    def full(path: Path, content: str | bytes) -> None:
        if path.suffix == ".parquet":
            raise OSError("the disk is full")
        path.write_text(str(content), encoding="utf-8")

    with monkeypatch.context() as patch:
        patch.setattr(sweep, "replace_file", full)
        assert swept(file, folder) == 2
    assert "the disk is full" in capsys.readouterr().err
    assert parts(folder) == []
    assert swept(file, folder) == 0
    assert len(rows(folder)) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[D9.on_I6]\ntau = 1", "[D9.on_I6] takes no 'tau', only bt_beta"),
        ("[D9.on_I6]\nrng = 1", "[D9.on_I6] takes no 'rng'"),
        ("[D9.on_I6]\n", "[D9.on_I6] needs 'bt_beta'"),
        ("[D9.on_i6]\nbt_beta = 1", "D9.on_i6 must be a table [D9.CHECK], CHECK one of attained, beside_rlhf, bound"),
        ("[D9]", "D9 must be a table [D9.CHECK]"),
        ("[D9]\nbt_beta = 1", "D9.bt_beta must be a table [D9.CHECK]"),
        ("[D99.bound]\nbt_beta = 1", "[D99] is no claim with checks on a grid"),
        ("sedes = 3\n[D9.on_I6]\nbt_beta = 1", "unknown key 'sedes'"),
        ("", "nothing to measure"),
        ("[D9.on_I6]\nbt_beta = []", "[D9.on_I6] bt_beta = [] holds no value"),
        ("[D9.on_I6]\nbt_beta = [1, 1.0]", "holds a value twice"),
        ("[D9.on_I6]\nbt_beta = [1, true]", "[D9.on_I6] bt_beta holds True"),
        ("[D9.on_I6]\nbt_beta = [inf]", "[D9.on_I6] bt_beta holds inf"),
        ("[D9.on_I6]\nbt_beta = { from = 1, to = 2 }", "must be a range { from, to, count }, got from, to"),
        ("[D9.on_I6]\nbt_beta = { from = 2, to = 1, count = 3 }", "must go from a number to a larger one"),
        ("[D9.on_I6]\nbt_beta = { from = 1, to = 2, count = 1000000000 }", "a count of 2 to 1000000"),
        (f"[D9.on_I6]\nbt_beta = {{ from = 1, to = {'9' * 400}, count = 3 }}", "must go from a number to a larger one"),
        ("[D9.on_I6]\nbt_beta = [1, -1]", "[D9.on_I6] bt_beta = -1 must be"),
        ('[D9.on_I6]\nbt_beta = ["1"]', "[D9.on_I6] bt_beta must hold real numbers, got text"),
        (
            '[methods.borda]\nfamily = "odd"\nn_types = 1\nn_alternatives = 2\nbt_beta = 1',
            "family = 'odd' must be one of",
        ),
        ('[methods.borda]\nfamily = "faint"\nn_types = 0\nn_alternatives = 2\nbt_beta = 1', "n_types = 0 must be"),
        *(
            (f'[methods.borda]\nfamily = "faint"\nn_types = {n}\nn_alternatives = 2\nbt_beta = 1', f"n_types = {said}")
            for n, said in (("2.5", "2.5 must be a whole"), ("1000000000", "1000000000 must be at most 1000000"))
        ),
        ('[B2.kl]\ntable = "a=b"\nn = 4', "[B2.kl] table = 'a=b' may not contain"),
        (f'[B2.kl]\ntable = "ties"\nn = {10**30}', f"[B2.kl] n = {10**30} is a whole number of more than 64 bits"),
        ("[D9.on_I6\n", "at line 3"),
    ],
)
def test_a_wrong_file_is_one_sentence_with_status_2_before_any_work(tmp_path, capsys, text, message):
    assert main(["sweep", written(tmp_path, text), "--results", str(tmp_path / "rows")]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'grid.toml'}: " in said
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "rows").exists()
    assert main(["sweep", str(tmp_path / "none.toml")]) == 2
    assert capsys.readouterr().err.endswith(f"sweep: no such file of grids: {tmp_path / 'none.toml'}\n")


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("seeds = 1\n", "it holds no profile, only seeds"),
        ("profile = 3\nseeds = 1\n", "profile = 3 must be one of cpu, gpu, smoke"),
        ('profile = "smoke"\nseed = 2\n', "it holds no seeds, only profile, seed"),
        ('profile = "smoke"\nseeds = 0\n', "seeds = 0 must be their number"),
        ('profile = "smoke"\nseeds = [1, 1]\n', "seeds = [1, 1] must be"),
        ('profile = "smoke"\nseeds = [[1]]\n', "seeds = [[1]] must be"),
        ('profile = "smoke"\nseeds = 1000000000000\n', "seeds = 1000000000000 must be"),
        ('profile = "smoke"\nseeds = [9223372036854775808]\n', "each ≥ 0 and of 64 bits"),
    ],
)
def test_seeds_and_profile_are_checked(tmp_path, capsys, head, message):
    assert main(["sweep", written(tmp_path, "[D9.on_I6]\nbt_beta = 1", head)]) == 2
    assert message in capsys.readouterr().err


def test_a_range_of_whole_numbers_is_of_whole_numbers(tmp_path):
    """And the byte-order mark that an editor puts before a file is no part of it."""
    lines = '[methods.borda]\nfamily = "faint"\nn_types = { from = 1, to = 3, count = 3 }\nn_alternatives = 2.0\n'
    path = Path(written(tmp_path, lines + "bt_beta = [1, 2.5]"))
    path.write_text("\ufeff" + path.read_text(encoding="utf-8"), encoding="utf-8")
    (grid,) = read_sweep(path).grids
    assert grid.axes["n_types"] == (1, 2, 3)
    assert {type(n) for name in ("n_types", "n_alternatives") for n in grid.axes[name]} == {int}
    assert grid.axes["bt_beta"] == (1, 2.5)


def test_a_folder_of_another_sweep_or_of_rows_is_refused(tmp_path, capsys):
    folder = tmp_path / "rows"
    assert (
        main(["sweep", written(tmp_path, "[D3.attained]\nbt_beta = 1"), "--results", str(folder), "--jobs", "1"]) == 0
    )
    assert swept(written(tmp_path, "[D3.attained]\nbt_beta = 2"), folder) == 2
    assert "holds a sweep of other grids" in capsys.readouterr().err
    noted = json.loads((folder / "_sweep.json").read_text(encoding="utf-8"))
    (folder / "_sweep.json").write_text(json.dumps({**noted, "code": {"D3.attained": "another"}}))
    assert swept(written(tmp_path, "[D3.attained]\nbt_beta = 1"), folder) == 2
    assert "holds a sweep of other code" in capsys.readouterr().err
    (folder / "rows.csv").touch()
    assert swept(written(tmp_path, "[D3.attained]\nbt_beta = 1"), folder) == 2
    assert "holds the rows of a run" in capsys.readouterr().err


def test_no_plan_counts_the_cells_of_another_sweep(tmp_path, capsys):
    file, folder = written(tmp_path, "[D3.attained]\nbt_beta = 1"), tmp_path / "rows"
    assert swept(file, folder) == 0
    assert swept(file, folder, "--plan") == 0
    assert "2 cells, 2 of them in" in capsys.readouterr().out
    written(tmp_path, "[D3.attained]\nbt_beta = 2")
    assert swept(file, folder, "--plan") == 2
    said = capsys.readouterr()
    assert "holds a sweep of other grids" in said.err
    assert "of them" not in said.out


@pytest.mark.parametrize("content", ['{"profile": "smo', "", "[]", "{}"])
def test_a_broken_note_of_the_sweep_is_named(tmp_path, capsys, content):
    file, folder = written(tmp_path, "[D3.attained]\nbt_beta = 1"), tmp_path / "rows"
    folder.mkdir()
    (folder / "_sweep.json").write_text(content, encoding="utf-8")
    assert swept(file, folder) == 2
    said = capsys.readouterr().err
    assert str(folder) in said
    assert said.count("\n") == 1


def test_parts_of_an_unknown_sweep_are_not_added_to(tmp_path, capsys):
    """Or cells of both would stand beside each other, some twice and some not at all."""
    file, folder = written(tmp_path, "[D3.attained]\nbt_beta = 1"), tmp_path / "rows"
    assert swept(file, folder) == 0
    (folder / "_sweep.json").unlink()
    assert swept(file, folder) == 2
    assert "holds parts of a sweep without _sweep.json" in capsys.readouterr().err


def test_a_part_that_is_cut_off_is_measured_again(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(grids, "IN_A_PART", 2)
    file, folder = written(tmp_path, "[D3.attained]\nbt_beta = [1, 2, 3]"), tmp_path / "rows"
    assert swept(file, folder) == 0
    before = rows(folder)
    for part, size in zip(parts(folder), (500, 0), strict=False):
        os.truncate(part, size)
    capsys.readouterr()
    assert swept(file, folder, "--plan") == 0
    assert "6 cells, 2 of them" in capsys.readouterr().out
    assert swept(file, folder) == 0
    assert f"{parts(folder)[0]} is cut off, and its cells are measured again\n" in capsys.readouterr().err
    pd.testing.assert_frame_equal(rows(folder), before)


def test_a_run_and_a_merge_leave_the_folder_of_a_sweep_alone(tmp_path, capsys):
    """Their rows.csv would keep the sweep from going on."""
    file, folder, run = written(tmp_path, "[D3.attained]\nbt_beta = 1"), tmp_path / "rows", tmp_path / "run"
    assert swept(file, folder) == 0
    assert main(["D2", "--profile", "smoke", "--results", str(run), "--jobs", "1"]) == 0
    capsys.readouterr()
    for words in (["D2", "--profile", "smoke", "--results", str(folder)], ["merge", str(folder), str(run)]):
        assert main(words) == 2
        assert f"{folder} holds a sweep: choose another --results folder\n" in capsys.readouterr().err
    assert main(["merge", str(run), str(folder)]) == 2
    assert "no rows.csv, but a sweep: pandas.read_parquet of the folder above" in capsys.readouterr().err
    assert main(["compare", str(folder), str(run)]) == 2
    assert "but a sweep, which pandas.read_parquet reads" in capsys.readouterr().err
    assert swept(file, folder) == 0


def test_sweeps_side_by_side_are_read_together(tmp_path):
    """One of whole numbers, one of others, one of a whole number beyond 64 bits: more seeds of a sweep, say."""
    for name, values in (("a", "[1, 2]"), ("b", "[1.5]"), ("c", f"[{10**30}]")):
        file = written(tmp_path, f"[D3.attained]\nbt_beta = {values}")
        assert swept(file, tmp_path / "all" / name) == 0
    assert sorted(pd.read_parquet(tmp_path / "all").bt_beta.unique()) == [1.0, 1.5, 2.0, 1e30]


def test_cells_are_those_of_the_product_wherever_one_starts():
    axes, seeds = {"a": (1, 2), "b": ("x", "y", "z"), "c": (0.5,)}, (3, 7)
    every = [(dict(zip(axes, values, strict=True)), seed) for *values, seed in product(*axes.values(), seeds)]
    assert list(Grid("methods.borda", axes).cells(seeds, 0, 12)) == every
    assert list(Grid("methods.borda", axes).cells(seeds, 5, 9)) == every[5:9]
    began = time.process_time()
    far = Grid("methods.borda", {"a": range(1000), "b": range(1000)})
    assert list(far.cells(range(1000), 10**9 - 1, 10**9)) == [({"a": 999, "b": 999}, 999)]
    assert time.process_time() - began < 0.1


def test_a_cell_that_fails_is_named_and_finished_parts_stay(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(grids, "IN_A_PART", 2)
    file, folder = written(tmp_path, "[D9.on_I6]\nbt_beta = [2.0, 0.5]"), tmp_path / "rows"
    assert swept(file, folder) == 2
    assert "in job D9.on_I6 at bt_beta=0.5 seed 0" in capsys.readouterr().err
    assert len(rows(folder)) == 2


def test_no_setting_has_the_name_of_a_result():
    results = set(sweep._schema([]).names) | {"claim", "check"}
    for key, experiment in MEASURED.items():
        assert not results & set(inspect.signature(experiment).parameters), key


def test_families_have_their_shapes():
    drawn = {family: population_of(family, 40, 30, generator(0, family)).utilities for family in FAMILIES}
    shares = {family: ((u == 0).mean(), ((u < 0.05) | (u > 0.95)).mean(), u.max()) for family, u in drawn.items()}
    assert shares["uniform"][1] == pytest.approx(0.1, abs=0.03)
    assert shares["extreme"][1] > 0.4
    assert shares["sparse"][0] == pytest.approx(0.6, abs=0.05)
    assert drawn["faint"].max(axis=1).min() < 0.02
    with pytest.raises(ValueError, match="family = 'odd' must be one of uniform"):
        population_of("odd", 2, 2, generator(0, "odd"))


def test_the_sweep_of_the_readme_has_as_many_cells_as_it_says(tmp_path, capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("cat > grid.toml <<'END'\n")[1].split("END\n")[0]
    assert main(["sweep", written(tmp_path, text, ""), "--plan"]) == 0
    assert "together                    100000 cells" in capsys.readouterr().out
