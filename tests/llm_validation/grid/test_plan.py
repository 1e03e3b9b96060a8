"""The plan: cells that are counted against jobs that are done, seconds from recorded rows, and the table."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from llm_validation.grid.plan import DEVICE, Cell, make_plan, render
from llm_validation.profiles import PROFILES
from llm_validation.runs.catalogues import RECORD, fitted, made_from
from llm_validation.runs.run import Context
from llm_validation.runs.table import done, fit_of, jobs, runs_of
from llm_validation.training.device import DeviceRates
from simulate.rows.store import Results
from tests.oracles.people import few_people
from tests.oracles.rows import made_row

RATES = DeviceRates("a device", flops=2e12, copy=1e11, dtype="float32", matrix=768, memory=1)
P10 = "score=0.5;alpha=2.5;kl_beta=0.25"


@pytest.fixture
def context(tmp_path) -> Context:
    people = few_people()
    profile = replace(PROFILES["smoke"], seeds=2)
    return Context(tmp_path / "checkpoints" / "base", tmp_path, profile, people, {}, rates=RATES)


def record(context: Context, profile: str = "smoke", size: str = "smoke") -> None:
    """Rows of a fit and of two seeds of P10's run, of a device half as fast, and the seconds of its pretraining."""
    rows = [
        ("D12", "reference_tv", "catalogue=catalogue", 0, 3.0),
        ("D12", "reference_off", "catalogue=catalogue", 0, 3.0),
        ("P10", "trained", P10, 0, 20.0),
        ("P10", "trained", P10, 1, 40.0),
        ("P11", "trained", "n=1;response=0;alpha=2.5", 0, 7.0),
    ]
    made = [made_row(claim, check, at, seed=seed, seconds=took) for claim, check, at, seed, took in rows]
    Results(context.folder).add(made, "s", {"profile": profile, "config": {"size": size}, "fingerprint": "f"})
    replace(RATES, flops=1e12).save(context.folder / DEVICE)
    (context.folder / "pretraining").mkdir()
    (context.folder / "pretraining" / "pretraining.json").write_text(json.dumps({"seconds": 80.0}))


def test_seconds_are_recorded_ones_at_the_ratio_of_the_devices(context):
    record(context)
    cells = make_plan(context, "smoke", runs_of(["P10"]), {"pro_binary seed 1"}, pretrains=True)
    assert cells == [
        Cell("pretraining", "base", False, 40.0),
        Cell("references", "catalogue reference seed 0", False, 3.0),
        Cell("references", "catalogue reference seed 1", False, 3.0),
        Cell("catalogue", "pro_binary seed 0", False, 15.0),
        Cell("catalogue", "pro_binary seed 1", True, 15.0),
    ]


def test_what_was_done_on_other_data_or_from_another_base_is_not_done(context):
    """Whatever it is called: other people, other weights."""
    runs, results = runs_of(["D17", "P10"]), Results(context.folder)
    results.jobs = {job.key: job.code for job in jobs(context, runs, fitted_only=False)}
    assert done(context, runs, results) == {f"{name} seed {s}" for name in ("people", "pro_binary") for s in (0, 1)}
    others = replace(context, people=replace(few_people(seed=1), name=context.people.name))
    assert done(others, runs, results) == {"pro_binary seed 0", "pro_binary seed 1"}
    folder = context.folder / "checkpoints" / "catalogue-0"
    folder.mkdir(parents=True)
    (folder / RECORD).write_text(json.dumps(made_from(context)))
    assert fitted(context, "catalogue", 0)
    assert not fitted(replace(context, content="other weights"), "catalogue", 0)


@pytest.mark.parametrize("other", [{"profile": "cpu"}, {"size": "tiny"}])
def test_what_was_recorded_of_another_profile_or_size_says_nothing(context, other):
    record(context, **other)
    cells = make_plan(context, "smoke", runs_of(["P10"]), set(), pretrains=True)
    assert {cell.seconds for cell in cells} == {None}


def test_a_model_that_is_there_is_done_and_one_that_is_given_is_no_cell(context):
    context.base.mkdir(parents=True)
    made = [make_plan(context, "smoke", runs_of(["B1"]), set(), pretrains=pretrains) for pretrains in (True, False)]
    assert made[0] == [Cell("pretraining", "base", True, None), *made[1]]
    assert [cell.stage for cell in made[1]] == ["references", "generation", "generation"]
    assert fit_of("safety").name == "safety reference"


def test_the_reference_rows_know_every_cell_of_profile_cpu(context):
    own = replace(context, profile=PROFILES["cpu"])
    cells = make_plan(own, "cpu", runs_of([]), set(), pretrains=True)
    assert len(cells) == 1 + 1 + 3 * (3 + 34)
    assert all(cell.seconds and cell.seconds > 0 for cell in cells)


def test_the_table_that_is_printed():
    done = [Cell("pretraining", "base", True, None)]
    known = [Cell("catalogue", str(i), i < 3, 1200.0) for i in range(13)]
    assert render([*done, *known], 2, 9.0).splitlines() == [
        "stage        cells  done  minutes left",
        "pretraining      1     1           0.0",
        "catalogue       13     3           100",
        "total           14     4           100",
        "slices of 9 minutes: 12",
    ]
    unknown = [*known, Cell("generation", "x", False, None)]
    assert [line.split()[-1] for line in render(unknown, 2, 9.0).splitlines()] == ["left", "100", "unknown", "unknown"]
    with pytest.raises(ValueError, match=r"minutes = 0.0 must be > 0"):
        render(known, 1, 0.0)
