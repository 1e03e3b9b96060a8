"""Every rule and method on real people, and the command that runs them."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from simulate.__main__ import main
from simulate.montecarlo import generator
from simulate.people.data import People, RatedItems
from simulate.people.people import methods_for, people_distortion
from simulate.people.population import SURVEY, survey_people
from simulate.people.table import read_text
from simulate.profiles import PROFILES
from simulate.rows.store import read_rows
from tests.oracles.people import few_people
from tests.processes import refused
from tests.simulate.people.test_readers import CASES, GOOD, LONG_TEXT, WITH_ID, write
from theory.bradley_terry import Population, product_pairs
from theory.claim import parse_setting
from theory.distortion.methods import METHODS, Situation
from theory.policy.kl_ball import maximize_in_kl_ball


def test_complete_people_give_the_populations_win_rates(monkeypatch):
    people, weights = few_people().rated, np.random.default_rng(1).dirichlet(np.ones(40), size=3)
    monkeypatch.setattr("simulate.people.data.AT_A_TIME", 100)  # block by block
    for weight, rates in zip(weights, people.win_rates(weights, 2.0), strict=True):
        np.testing.assert_allclose(rates, Population(people.utilities, weight).win_rates(2.0), atol=1e-14)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_resampled_methods_are_the_methods_on_resampled_people(method):
    """Every replicate by itself, as a population that the method is run on."""
    people, beta, profile = few_people(), 4.0, PROFILES["smoke"]
    found = people_distortion(people, method, beta, rng=generator(0), profile=profile)
    n, uniform = people.n_users, np.full(6, 1 / 6)
    rng, values = generator(0), []
    for weights in (np.full(n, 1 / n), *(rng.multinomial(n, np.full(n, 1 / n)) / n for _ in range(profile.resamples))):
        users = Population(people.rated.utilities, weights)
        seen = Situation(users.win_rates(beta), beta, product_pairs(uniform), np.log(uniform), 0.5, users)
        policy, u = METHODS[method].run(seen), users.average_utility
        best = maximize_in_kl_ball(u, uniform, 0.5) if METHODS[method].ball else np.eye(6)[u.argmax()]
        values.append(u @ best / (u @ policy))
    assert found.value == pytest.approx(values[0], rel=1e-9)
    assert found.stderr == pytest.approx(np.std(values[1:], ddof=1), rel=1e-6, abs=1e-12)


def test_the_interval_holds_95_percent_of_the_replicates():
    """The uniform policy's distortion is a mean's, whose replicates numpy gives at once."""
    people = few_people()
    found = people_distortion(people, "uniform", 1.0, rng=generator(3), profile=PROFILES["cpu"])
    draws = generator(3).multinomial(40, np.full(40, 1 / 40), size=200) / 40 @ people.rated.utilities
    values = draws.max(axis=1) / draws.mean(axis=1)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])), rel=1e-12)
    assert found.stderr == pytest.approx(values.std(ddof=1), rel=1e-12)


def test_a_pair_that_nobody_rated_leaves_the_fits_on_a_connected_graph():
    """a–b and b–c are rated: rewards are fitted there, rules that need a–c are not run."""
    U = np.array([[0.9, 0.2, np.nan]] * 6 + [[np.nan, 0.6, 0.1]] * 6)
    people = People("chain", RatedItems("chain", U, ("a", "b", "c"), (), 0, (0.0, 1.0)))
    assert set(methods_for(people)) == {"rlhf", "rlhf_ball", "dpo", "uniform"}
    for method in ("borda", "plurality", "nosuch"):
        with pytest.raises(ValueError, match=f"method = '{method}' must be one of those that can run on chain: rlhf"):
            people_distortion(people, method, 2.0, rng=generator(0), profile=PROFILES["smoke"])
    found = people_distortion(people, "rlhf", 2.0, rng=generator(0), profile=PROFILES["cpu"])
    assert found.value == 1.0  # a is best, and fitted so
    thin = np.full((3, 4), np.nan)
    for user in range(3):
        thin[user, user : user + 2] = 0.9, 0.1
    few = People("few", RatedItems("few", thin, ("a", "b", "c", "d"), (), 0, (0.0, 1.0)))
    with pytest.raises(ValueError, match="resamples lose an item: raise --min-raters"):
        people_distortion(few, "rlhf", 2.0, rng=generator(0), profile=PROFILES["cpu"])
    some = people_distortion(people, "dpo", 2.0, rng=generator(1), profile=PROFILES["cpu"])
    assert some.witness == "" or "resamples lost an item" in some.witness


def test_the_survey_comes_with_its_licence():
    people = survey_people()
    assert (people.n_users, people.n_items) == (514, 14)
    text, _ = read_text(SURVEY, None)
    assert all(word in text[:600] for word in ("FiveThirtyEight", "CC BY 4.0", "Changes:"))


def run(tmp_path, *words: str) -> int:
    return main(["D17", "--profile", "smoke", "--jobs", "1", "--results", str(tmp_path / "rows"), *map(str, words)])


def values(tmp_path, check: str) -> dict[str, float]:
    return {row.setting: row.estimate for row in read_rows(tmp_path / "rows") if row.check == check}


MINE = "id,a,b,c\nu1,1,5,\nu2,2,2,5\nu3,5,1,1\nu4,3,4,1\n"


@pytest.mark.parametrize(("words", "said"), [
    (["--ratings", "mine.csv"], "1 missing cells"),
    (["--ratings", "none.csv"], "no ratings file"),
    (["--missing", "drop"], "--missing needs --ratings"),
    (["--na", "9"], "--na needs --ratings"),
    (["--ratings", "mine.csv", "--items", "a", "a"], "'a' is named twice"),
    (["--ratings", "long.csv"], "--long userId movieId rating"),
    (["--ratings", "id.csv"], "--id userId"),
    (["--scale", "-inf", "5"], "argument --scale"),
    (["--scale", "0", "inf"], "inf is not a finite number"),
    (["--bt-beta", "nan"], "nan must be positive and finite"),
    (["--bt-beta", "0"], "0 must be positive and finite"),
    (["--jobs", "0"], "0 must be at least 1"),
    (["--minutes", "nan"], "nan must be finite and at least 0"),
    (["--seed", "-1"], "-1 must be at least 0"),
], ids=lambda value: " ".join(value) if type(value) is list else "")  # fmt: skip
def test_command_line_refuses_before_work(words, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (("mine.csv", MINE), ("long.csv", LONG_TEXT), ("id.csv", WITH_ID.to_csv(index=False))):
        write(tmp_path, text, name)
    error = refused(main, ["D17", "--bt-beta", "5", *words, "--results", "rows"], capsys)
    assert said in error
    assert "simulate: " in error
    assert not (tmp_path / "rows").exists()


@pytest.mark.parametrize(("words", "said"), [
    (["D4", "--ratings", "mine.csv", "--missing", "drop"], "--ratings is of D17, which is not among the claims"),
    (["D17", "--ratings", "a;b.csv"], "a;b.csv"),
], ids=["another claim", "a name that no row can carry"])  # fmt: skip
def test_command_line_refuses_what_was_read(words, said, tmp_path, capsys, monkeypatch):
    """After it has said what was taken for what."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, MINE, "mine.csv")
    write(tmp_path, GOOD, "a;b.csv")
    assert main([*words, "--bt-beta", "5", "--results", "rows"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("simulate: ")
    assert said in error
    assert not (tmp_path / "rows").exists()


def test_command_line(tmp_path, capsys):
    path = write(tmp_path, MINE.replace("id", '"i\nd"'), "mine.csv")
    assert run(tmp_path, "--ratings", path, "--missing", "drop", "--bt-beta", "5", "2") == 0
    assert "not items (not numeric, or not named): iU+000Ad" in capsys.readouterr().err
    rows = read_rows(tmp_path / "rows")
    assert {parse_setting(row.setting)["bt_beta"] for row in rows} == {5, 2}  # all that were named, in any profile
    assert {row.check for row in rows} >= {"borda", "maximal_lottery", "plurality_veto", "random_dictator"}
    assert {parse_setting(row.setting)["population"] for row in rows} == {"mine.csv"}
    assert all(row.low <= row.high for row in rows)
    assert run(tmp_path, "--ratings", path, "--missing", "pairs", "--bt-beta", "5") == 0
    on_pairs = [row for row in read_rows(tmp_path / "rows") if "missing=pairs" in row.setting]
    assert on_pairs
    assert all(row.check.endswith("_on_rated_pairs") for row in on_pairs)  # no bound covers them


def test_a_changed_file_of_the_same_name_is_another_population(tmp_path, capsys):
    """And the same people are the same, however they are written down."""
    for folder, uniform, dpo in (("first", 1.2012, 1.1476), ("second", 1.1067, 1.0908)):
        (tmp_path / folder).mkdir()
        path = shutil.copy(CASES / f"{folder}.csv", tmp_path / folder / "r.csv")
        capsys.readouterr()
        assert run(tmp_path, "--ratings", path, "--bt-beta", "5") == 0
        assert "jobs are done" not in capsys.readouterr().err
        assert any(found == pytest.approx(uniform, abs=5e-5) for found in values(tmp_path, "uniform").values())
        assert any(found == pytest.approx(dpo, abs=5e-5) for found in values(tmp_path, "dpo").values())
    assert len(values(tmp_path, "uniform")) == 2  # both stand side by side
    assert run(tmp_path, "--ratings", tmp_path / "first" / "r.csv", "--bt-beta", "5") == 0
    assert f"{len(METHODS)} of {len(METHODS)} jobs are done" in capsys.readouterr().err
    long = write(tmp_path, LONG_TEXT, "r.csv")
    assert run(tmp_path, "--ratings", long, "--long", "userId", "movieId", "rating", "--bt-beta", "5") == 0
    assert f"{len(METHODS)} of {len(METHODS)} jobs are done" in capsys.readouterr().err
    by_id = write(tmp_path, WITH_ID.to_csv(index=False), "with_id.csv")
    assert run(tmp_path, "--ratings", by_id, "--id", "userId", "--bt-beta", "5") == 0
    mine = [v for at, v in values(tmp_path, "random_dictator").items() if "with_id.csv" in at]
    assert mine == [pytest.approx(1.1647, abs=5e-5)]
