"""The reward model that Best-of-N selects by: trained once, kept, and made again where what it is made from differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llm_validation.model.model import load
from llm_validation.profiles import PROFILES, Profile
from llm_validation.rewards.model import RewardTraining
from llm_validation.runs.best_of_n_scorer import FIT, fit_scorer, kept, open_scorer
from llm_validation.runs.run import Context
from llm_validation.runs.table import fits, jobs, runs_of
from simulate.rows.grid import attempt
from tests.oracles.people import few_people

LEARNS = replace(
    PROFILES["smoke"].best_of_n, length=24, streams=120, comparisons=300, reward=RewardTraining(60, 16, 6e-3)
)


def context_of(base: Path, folder: Path, profile: Profile) -> Context:
    return Context(base, folder, profile, few_people(), {})


@pytest.fixture(scope="module")
def context(model, tmp_path_factory) -> Context:
    """A folder in which it has been trained by the job that the table has for it."""
    made = context_of(model, tmp_path_factory.mktemp("results"), replace(PROFILES["smoke"], best_of_n=LEARNS, seeds=2))
    wanted = runs_of(["B1"])
    assert jobs(made, wanted) == [], "nothing starts before it is there"
    (job,) = fits(made, wanted)
    assert (job.key, job.trains) == ("scorer seed 0", False)
    (row,), _ = attempt(job, None)
    assert (row.check, row.setting, row.estimate.n) == ("reward_model", {}, 24)
    return made


def test_all_seeds_start_from_the_one_that_is_kept(context):
    assert fits(context, runs_of(["B1"])) == []
    assert [job.key for job in jobs(context, runs_of(["B1"]))] == ["best_of_n seed 0", "best_of_n seed 1"]
    assert fits(context, runs_of(["A1"])) == [], "of other runs there is nothing to fit"
    read = [open_scorer(context).last_scores([(3, 4, 5)]) for _ in range(2)]
    again, _ = fit_scorer(load(context.base), LEARNS, 0)
    np.testing.assert_array_equal(read[0], read[1])
    np.testing.assert_allclose(read[0], again.last_scores([(3, 4, 5)]), atol=1e-6)
    assert read[0] != 0.0


def test_it_is_made_again_where_what_it_depends_on_is_another(context):
    other = replace(context.profile, best_of_n=replace(LEARNS, reward=RewardTraining(61, 16, 6e-3)))
    drawn = replace(context.profile, best_of_n=replace(LEARNS, pool=128), seeds=7)
    assert FIT.kept is kept
    assert kept(replace(context, profile=drawn)), "what is drawn later is no part of it"
    assert not kept(replace(context, profile=other))
    assert not kept(replace(context, content="other weights"))
    assert not kept(replace(context, scorer="other code"))
    assert [job.name for job in fits(replace(context, profile=other), runs_of(["B1"]))] == ["scorer"]


def test_a_row_that_a_kill_lost_is_made_from_what_is_kept(context, monkeypatch):
    """The kill came after the reward model was kept and before its row was noted."""
    wanted = runs_of(["B1"])
    assert fits(context, wanted, noted={"scorer seed 0"}) == []
    (job,) = fits(context, wanted, noted=())
    monkeypatch.setattr("llm_validation.runs.best_of_n_scorer.fit_scorer", None)  # nothing is trained again
    (row,), _ = attempt(job, None)
    monkeypatch.undo()
    _, fit = fit_scorer(load(context.base), LEARNS, 0)
    assert (row.estimate.value, row.estimate.stderr, row.estimate.n) == pytest.approx((fit.value, fit.stderr, fit.n))


def test_its_correlation_is_of_texts_that_it_was_not_trained_on(context, monkeypatch):
    """A fit whose labels are noise is worth nothing there, whatever it has learnt by heart."""
    rng = np.random.default_rng(0)
    monkeypatch.setattr("llm_validation.runs.best_of_n_scorer.utility", lambda _: float(rng.normal()))
    _, fit = fit_scorer(load(context.base), LEARNS, 0)
    assert abs(fit.value) < 4.0 / np.sqrt(fit.n)
