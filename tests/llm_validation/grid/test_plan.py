"""The plan: work that is counted against work that is done, times against the clock, and the table that is printed."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from llm_validation.catalogue import reference
from llm_validation.commands.generate import MEASUREMENTS
from llm_validation.generation import engine
from llm_validation.generation_effort import EFFORTS
from llm_validation.generation_effort import context as generation_context
from llm_validation.grid import plan, plan_calibration
from llm_validation.grid.plan import Plan, Stage, expected_seconds, make_plan, render
from llm_validation.grid.plan_calibration import MEASURES, Bench, Kept, Line, calibrate, lines_for
from llm_validation.grid.plan_work import (
    KINDS,
    TRAININGS,
    Work,
    best_of_n_work,
    correction_work,
    fit_work,
    run_work,
    trainings,
)
from llm_validation.model.model import build, load, save
from llm_validation.profiles import PROFILES
from llm_validation.rewards import model
from llm_validation.runs import catalogues
from llm_validation.runs.catalogues import DESIGNS, Context, fit_lab, open_lab
from llm_validation.runs.which_runs import RUNS_OF_DESIGN, runs_of
from llm_validation.text.corpus import train_tokenizer
from llm_validation.text.language import STORIES
from simulate.montecarlo import generator
from simulate.people.people import generated_people

#: Smoke, with fewer steps: what is counted are steps in units of these.
PROFILE = replace(
    PROFILES["smoke"], fit=replace(PROFILES["smoke"].fit, steps=80), runs=replace(PROFILES["smoke"].runs, steps=7)
)
OPTIMISED = ("pretraining", "training", "reward", "aligner", "answering", "pairs")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A smoke model that has learnt nothing, on disk."""
    tokenizer = train_tokenizer(STORIES.sample(generator(0, "documents"), 2000), 512)
    folder = tmp_path_factory.mktemp("run") / "checkpoints" / "base"
    save(build("smoke", len(tokenizer), 64, seed=0).eval(), tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def context(base) -> Context:
    return Context(base, base.parent.parent, PROFILE, generated_people(generator(0, "generated people")), {})


@pytest.fixture(scope="module")
def fits(context) -> dict[str, int]:
    """Design → optimiser steps of its reference fit, whatever that leaves off the catalogue."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "OFF_LIMIT", 1.0)
        steps = count_steps(patch)
        return {design: counted(steps, lambda design=design: fit_lab(context, design, 0)) for design in DESIGNS}


def count_steps(patch) -> Counter:
    """Counts every step of AdamW from here on."""
    steps, honest = Counter(), torch.optim.AdamW.step

    def step(self, *rest, **options):
        steps["steps"] += 1
        return honest(self, *rest, **options)

    patch.setattr(torch.optim.AdamW, "step", step)
    return steps


def counted(steps: Counter, work) -> int:
    before = steps["steps"]
    work()
    return steps["steps"] - before


def optimiser_steps(works) -> float:
    return sum(work.times for work in works if work.kind in OPTIMISED)


# what is counted


def test_a_fit_takes_the_steps_that_are_counted(fits):
    assert set(fits.values()) == {optimiser_steps(fit_work(PROFILE, 16, 40))} == {80}


CATALOGUE_RUNS = [(design, run) for design, runs in RUNS_OF_DESIGN.items() if design in DESIGNS for run in runs]


@pytest.mark.parametrize(("design", "run"), CATALOGUE_RUNS, ids=[run for _, run in CATALOGUE_RUNS])
def test_a_run_takes_the_steps_and_loads_that_are_counted(context, fits, monkeypatch, design, run):
    """Every run on a catalogue, really run: optimiser steps, trainings, models read, and prompts of each training."""
    steps, loads, prompts = count_steps(monkeypatch), [], []
    for module in (reference, catalogues):
        monkeypatch.setattr(module, "load", lambda *where: loads.append(where) or load(*where))
    opened = open_lab(context, design, 0)
    trainer = opened.trainer

    def noting(task):
        prompts.append((task.schedule.steps, task.trie.n_prompts))
        return trainer(task)

    found = counted(steps, lambda: DESIGNS[design].runs(context)[run](replace(opened, trainer=noting)))
    works = run_work(run, PROFILE, 40)
    assert found == optimiser_steps(works)
    assert sorted(prompts) == sorted(trainings(run, PROFILE))
    expected = next(work.times for work in works if work.kind == "load")
    assert expected <= len(loads) <= expected + 2, "a run may look at the reference as it is, too"


def test_every_run_is_counted():
    shared = set(RUNS_OF_DESIGN["catalogue"])
    assert set(TRAININGS) == shared
    assert trainings("separation", replace(PROFILE, runs=replace(PROFILE.runs, steps=300)))[0] == (100, 24)


@pytest.fixture
def decoded(monkeypatch) -> Counter:
    """Counts steps, rows of all steps and tokens read, of the decoding engine and of reward models."""
    found, step, read = Counter(), engine.Run._step, model.RewardModel.prefix_scores

    def counting_step(self, group):
        found["steps"] += 1
        found["rows"] += group.rows.size
        return step(self, group)

    def counting_read(self, texts):
        found["read"] += sum(map(len, texts))
        return read(self, texts)

    monkeypatch.setattr(engine.Run, "_step", counting_step)
    monkeypatch.setattr(model.RewardModel, "prefix_scores", counting_read)
    return found


def test_best_of_n_does_what_is_counted(base, monkeypatch, decoded):
    """Up to stories that end of themselves, and the exactness checks, which read more than they would have to."""
    steps, effort = count_steps(monkeypatch), EFFORTS["smoke"][0]
    works = best_of_n_work(effort, effort.length)
    found = counted(steps, lambda: MEASUREMENTS["best_of_n"](generation_context(base, "smoke"), 0))
    assert found == optimiser_steps(works)
    decoding = [work for work in works if work.kind == "decoding"]
    assert decoded["steps"] == sum(work.times for work in decoding)
    assert decoded["rows"] == pytest.approx(sum(work.times * work.size for work in decoding), rel=0.1)
    reading = sum(work.times for work in works if work.kind == "reading")
    assert 0.6 * reading < decoded["read"] < 1.1 * reading, "what a cache spares the scorer is counted, too"


def test_correction_takes_the_steps_that_are_counted(base, monkeypatch, decoded):
    """The warm-up of smoke is too short to end early."""
    steps, effort = count_steps(monkeypatch), EFFORTS["smoke"][1]
    works = correction_work(effort)
    found = counted(steps, lambda: MEASUREMENTS["correction"](generation_context(base, "smoke"), 0))
    assert found == optimiser_steps(works)
    written = sum(work.times * work.size for work in works if work.kind.startswith("sampled"))
    assert decoded["steps"] > 0
    assert decoded["rows"] < written * 12


# what it takes


def test_seconds_are_pieces_times_their_line():
    lines = {"load": Line(2.0), "training": Line(0.5, 0.25), "start": Line(1.0)}
    works = [Work("load", 3), Work("training", 10, 8), Work("start", 2), Work("reward", 0)]
    assert expected_seconds(works, lines) == 3 * 2.0 + 10 * (0.5 + 0.25 * 8) + 2
    with pytest.raises(KeyError):
        expected_seconds([Work("reward", 1)], lines)
    assert Line.through((10, 30), (1.0, 2.0)) == Line(0.5, 0.05)
    assert Line.through((10, 30), (2.0, 1.0)) == Line(2.0, 0.0), "more is never counted as less"


def test_every_kind_is_measured_and_described():
    assert {kind for kinds, _ in MEASURES for kind in kinds} == set(KINDS)


@pytest.fixture(scope="module")
def lines(base) -> dict[str, Line]:
    loaded = load(base)
    bench = Bench(loaded.model, loaded.tokenizer, PROFILE.pretraining, generation_context(base, "smoke"), 1, base)
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    began = time.perf_counter()
    found = calibrate(bench, KINDS)
    assert time.perf_counter() - began < 30.0
    assert all(torch.equal(value, before[name]) for name, value in loaded.model.state_dict().items())
    return found


def test_a_calibration_measures_everything_and_leaves_the_model_alone(lines):
    assert set(lines) == set(KINDS)
    assert all(line.fixed >= 0.0 and line.each >= 0.0 and line.at(100.0) > 0.0 for line in lines.values())


def test_measurements_of_an_earlier_slice_are_kept(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        plan_calibration, "calibrate", lambda _, kinds: asked.append(kinds) or {kind: Line(1.0, 2.0) for kind in kinds}
    )
    kept = Kept(tmp_path / "calibration.json", "this device")
    bench: Bench = None  # nothing here measures
    assert lines_for(bench, {"load", "training"}, kept) == {"load": Line(1.0, 2.0), "training": Line(1.0, 2.0)}
    assert lines_for(bench, {"training", "decoding"}, kept)["training"] == Line(1.0, 2.0)
    assert asked == [{"load", "training"}, {"decoding"}]
    assert lines_for(bench, {"load"}, kept)["load"] == Line(1.0, 2.0)
    lines_for(bench, {"load"}, Kept(tmp_path / "calibration.json", "another device"))
    assert asked[2:] == [{"load"}]


def test_the_estimate_is_near_the_clock(context, fits, lines):
    """One training of 200 steps; the machine may be busy with other things."""
    longer = replace(PROFILE, runs=replace(PROFILE.runs, steps=200))
    opened = replace(open_lab(context, "catalogue", 0), schedule=longer.runs)
    width = opened.trie().tokens.shape[1]
    began = time.perf_counter()
    DESIGNS["catalogue"].runs(context)["pro_binary"](opened)
    taken = time.perf_counter() - began
    assert taken / 3 < expected_seconds(run_work("pro_binary", longer, width), lines) < 3 * taken


# the plan


ONE_SECOND = {kind: Line(1.0) for kind in KINDS}


@pytest.fixture
def seconds(monkeypatch):
    """Every piece of work takes a second."""
    monkeypatch.setattr(plan, "lines_for", lambda bench, kinds, kept: ONE_SECOND)


def test_a_plan_counts_what_is_left(context, fits, base, seconds):
    wanted = runs_of(["P10", "R4"])
    made = make_plan(context, "smoke", wanted, load(base), {"pro_binary seed 0"})
    assert [(stage.name, stage.cells, stage.done) for stage in made.stages] == [
        ("references", 1, 1), ("catalogue", 2, 1),
    ]  # fmt: skip
    assert made.minutes == pytest.approx(expected_seconds(run_work("density_ratio", PROFILE, 1), ONE_SECOND) / 60)
    two = replace(context, profile=replace(PROFILE, seeds=2))
    again = make_plan(two, "smoke", wanted, load(base), {"pro_binary seed 0", "density_ratio seed 1"}, workers=2)
    assert [(stage.cells, stage.done) for stage in again.stages] == [(2, 1), (4, 2)]
    cells = [*fit_work(PROFILE, 16, 1), *run_work("density_ratio", PROFILE, 1), *run_work("pro_binary", PROFILE, 1)]
    assert again.minutes == pytest.approx(expected_seconds(cells, ONE_SECOND) / 60 / 2)


def test_a_plan_begins_with_pretraining_where_there_is_no_model(context, seconds, tmp_path):
    nowhere = replace(context, base=tmp_path / "checkpoints" / "base", folder=tmp_path)
    made = make_plan(nowhere, "smoke", runs_of(["P10"]), None, set(), workers=3)
    first, second, third = made.stages
    assert first == Stage("pretraining", 1, 0, (PROFILE.pretraining.steps + PROFILE.pretraining.stories) / 60)
    assert (second.name, second.cells, second.done) == ("references", 1, 0)
    assert third.minutes == pytest.approx(expected_seconds(run_work("pro_binary", PROFILE, 1), ONE_SECOND) / 60 / 3)


def test_bad_counts_are_named(context):
    with pytest.raises(ValueError, match="workers = 0"):
        make_plan(context, "smoke", {}, None, set(), workers=0)
    with pytest.raises(ValueError, match="side_by_side = -1"):
        make_plan(context, "smoke", {}, None, set(), side_by_side=-1)


def test_the_table_that_is_printed():
    made = Plan(
        (Stage("pretraining", 1, 1, 0.0), Stage("catalogue", 78, 30, 123.4), Stage("generation", 6, 0, 12.34)), 2
    )
    assert render(made, 9.0).splitlines() == [
        "stage        cells  done  minutes left",
        "pretraining      1     1           0.0",
        "catalogue       78    30           123",
        "generation       6     0          12.3",
        "total           85    31           136",
        "2 jobs at a time, 16 slices of 9 minutes",
    ]
    assert render(replace(made, workers=1, side_by_side=5)).splitlines()[-1] == "5 seeds of a run side by side"
    assert render(replace(made, workers=1), 200.0).splitlines()[-1] == "1 slice of 200 minutes"
    with pytest.raises(ValueError, match=r"minutes = 0.0 must be > 0"):
        render(made, 0.0)
