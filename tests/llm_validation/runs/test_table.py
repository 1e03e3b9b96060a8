"""The run table: every claim has a run, every recorded row has one owner, and what a run yields is what it declares."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from llm_validation.claims.table import LLM_CHECKS, llm_checks
from llm_validation.profiles import PROFILES
from llm_validation.runs import distortion, proximal, unpaired
from llm_validation.runs.catalogues import LAW, RECORD, SHARED_LAWS, fitted, made_from, references
from llm_validation.runs.declared import declared, holds, validated
from llm_validation.runs.run import MAIN, PEOPLE, SAFETY, Context, Run
from llm_validation.runs.table import RUNS, TOPICS, code_of, first_fits, fit_of, fits, jobs, runs_of
from simulate.montecarlo import generator
from simulate.rows.measurement import Measurement, measurement
from simulate.rows.reach import ROOT, reach
from simulate.rows.store import read_rows
from tests.oracles.people import few_people
from theory.claim import parse_setting
from theory.claims import find_claims

BINARY = next(run for run in RUNS if run.name == "pro_binary")
SETTINGS = llm_checks("P10")[0].settings


def rows(settings=SETTINGS, check: str = "trained") -> list[Measurement]:
    return [measurement("P10", check, setting, 0.0) for setting in settings]


def test_every_claim_with_a_check_has_a_run_and_no_run_another():
    assert {claim for run in RUNS for claim in run.claim_ids} == set(LLM_CHECKS)
    assert len({run.name for run in RUNS}) == len(RUNS)
    assert [run.name for run in runs_of(["R4"])] == ["density_ratio"]
    assert [run.name for run in runs_of(["V1", "B10"])] == ["best_of_n", "kldo_fitted"]
    assert [run.name for run in runs_of(["best_of_n"])] == ["best_of_n"], "a topic whose B11 no model shows"
    assert runs_of([]) == list(RUNS)
    with pytest.raises(ValueError, match="D7 has no check on a language model; those that have are A1, "):
        runs_of(["D7"])


def test_the_code_of_a_run_is_the_file_that_declares_it():
    for run in RUNS:
        assert code_of(run)[0] == next(topic.__name__ for topic in TOPICS if run in topic.RUNS)
        files = {path.as_posix() for path in reach(*code_of(run))}
        assert not {path for path in files if path.endswith("claims.py")}, "a claim may be reworded"
        topics = {f"{topic.__name__.replace('.', '/')}.py" for topic in TOPICS}
        assert len(topics & files) <= 1 + (run.name in ("density_ratio", "distortion_ipo", "reproducibility")), run.name


def test_people_of_another_temperature_are_a_job_that_is_not_done(tmp_path, monkeypatch):
    """A reference of people has a prompt for each temperature, and one of fewer prompts is not theirs."""
    profile = PROFILES["smoke"]
    of = lambda *betas: Context(
        tmp_path, tmp_path, replace(profile, betas=betas), few_people(), {"population": "few"}
    )  # fmt: skip
    run = next(run for run in RUNS if run.catalogue == PEOPLE)
    codes = [jobs(of(*betas), [run], fitted_only=False)[0].code for betas in ((2.0,), (7.0,), (2.0,), (2.0, 7.0))]
    assert codes[0] == codes[2]
    assert len({*codes}) == 3
    folder = tmp_path / "checkpoints" / f"{PEOPLE}-0"
    folder.mkdir(parents=True)
    (folder / RECORD).write_text(json.dumps(made_from(of(2.0))))
    np.save(folder / LAW, np.zeros((1, 4)))
    assert [fitted(of(*betas), PEOPLE, 0) for betas in ((2.0,), (7.0,), (2.0, 7.0))] == [True, True, False]


def test_rows_of_a_reference_that_a_kill_lost_are_made_from_its_law(tmp_path):
    """It was kept and its rows were not noted; nothing is fitted again, and the base model is not even read."""
    context = Context(tmp_path / "no base", tmp_path, replace(PROFILES["smoke"], seeds=1), few_people(), {})
    folder, target = tmp_path / "checkpoints" / f"{MAIN}-0", references(context, MAIN, generator(0, MAIN, "references"))
    folder.mkdir(parents=True)
    (folder / RECORD).write_text(json.dumps(made_from(context)))
    np.save(folder / LAW, np.log(np.concatenate([0.75 * target[:, ::-1], np.full((len(target), 1), 0.25)], axis=1)))
    run = next(run for run in RUNS if run.catalogue == MAIN)
    assert fits(context, [run]) == fits(context, [run], noted={"catalogue reference seed 0"}) == []
    (job,) = fits(context, [run], noted=())
    near, off = job.measure()
    assert (near.check, off.check) == ("reference_tv", "reference_off")
    assert near.value == pytest.approx(0.5 * np.abs(target - target[:, ::-1]).sum(axis=1).max())
    assert off.value == pytest.approx(0.25)


def test_every_declared_setting_is_some_run_s():
    asked = {
        (check, place) for run in RUNS for check, places in declared(run).items() for place in places if not run.free
    }
    free = {check for run in RUNS if run.free for check in declared(run)}
    for claim_id, checks in LLM_CHECKS.items():
        for check in checks:
            name = f"{claim_id}.{check.name}"
            assert name in free or all((name, frozenset(at.items())) in asked for at in check.settings), name


@pytest.mark.parametrize("folder", ["reference", "reference-micro", "reference-mini"])
def test_every_recorded_row_has_one_owner(folder):
    every = [*RUNS, *first_fits(RUNS), *map(fit_of, (MAIN, SAFETY, PEOPLE))]
    for row in read_rows(ROOT / "llm_validation" / "results" / folder):
        check, setting = f"{row.claim}.{row.check}", parse_setting(row.setting)
        assert len([run.name for run in every if holds(run, check, setting)]) == 1, row.cell


def test_prompts_of_topics_stand_one_after_another_on_the_shared_catalogue():
    places = [distortion.RUNS[0].prompts, proximal.PROMPTS, unpaired.UNPAIRED_PROMPTS]
    assert {str(run.prompts) for run in RUNS if run.catalogue == MAIN} == set(map(str, places))
    ends = 0
    for place, laws in zip(places, SHARED_LAWS.values(), strict=True):
        assert place.start == ends
        ends += len(laws(generator(0, "laws")))
        assert place.stop == ends
    assert ends == 16


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_profiles_measure_every_n_that_is_declared(name):
    best_of_n = next(run for run in RUNS if run.name == "best_of_n")
    asked = {at.get("n", 4) for claim_id in best_of_n.claims for c in llm_checks(claim_id) for at in c.settings}
    assert asked <= set(PROFILES[name].best_of_n.sizes)


def test_what_is_declared_passes_and_what_is_not_is_named():
    assert list(validated(BINARY, rows())) == rows()
    at = "score=0.5;alpha=2.5;kl_beta=0.25"
    for wrong, named in (
        (rows(check="untrained"), f"run pro_binary yields P10.untrained at {at}, which it does not declare"),
        (rows([{**SETTINGS[0], "items": 3}]), f"{at};items=3, which .*; its settings have alpha, kl_beta, score"),
        (rows([{**SETTINGS[0], "alpha": 3.0}]), "alpha=3;kl_beta=0.25, which it does not declare"),
        (rows(SETTINGS[1:]), "run pro_binary did not yield P10.trained at alpha=2.5;kl_beta=0.25;score=0.5"),
    ):
        with pytest.raises(ValueError, match=named):
            list(validated(BINARY, wrong))


def test_a_free_setting_may_have_any_value_but_no_other_may_be_missing():
    run = Run("x", rows, ("D17",), free=("population", "bt_beta"))
    made = [measurement("D17", "trained", {"population": "file", "method": m, "bt_beta": 2.0}, 0.0)
            for m in ("rlhf", "dpo", "nlhf")]  # fmt: skip
    assert len(list(validated(run, made))) == 3
    with pytest.raises(ValueError, match=r"did not yield D17\.trained at method=nlhf"):
        list(validated(run, made[:2]))


@pytest.mark.parametrize(
    ("run", "named"),
    [
        (replace(BINARY, claims=("D7",)), "run pro_binary: no model is to show D7"),
        (replace(BINARY, claims=("P10.traind",)), "run pro_binary: no model is to show P10.traind"),
        (replace(BINARY, at={"score": 7.0}), "run pro_binary: P10.trained has no setting at score=7"),
    ],
)
def test_a_run_that_declares_what_there_is_not_is_named(run, named):
    with pytest.raises(ValueError, match=named):
        declared(run)


def test_ids_in_either_case_and_topics_are_claims():
    assert [claim.id for claim in find_claims(["p10", "B1", "P10"])] == ["P10", "B1"]
    assert {claim.topic for claim in find_claims(["best_of_n"])} == {"best_of_n"}
    with pytest.raises(ValueError, match=r"no claim 'nonsense'; the ids are D1, .*, the topics distortion, "):
        find_claims(["nonsense"])
