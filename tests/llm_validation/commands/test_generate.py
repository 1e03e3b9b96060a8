"""Measurements on open generation, small: every row has its place, predictions on measured laws, the command line."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from llm_validation.commands.generate import generate_main
from llm_validation.generation.decode import Spent
from llm_validation.model.model import build, load, save
from llm_validation.profiles import PROFILES
from llm_validation.rewards.model import explained_variance, from_language_model
from llm_validation.runs import best_of_n, correction
from llm_validation.runs.best_of_n import speed
from llm_validation.runs.best_of_n_laws import MeasuredRows, measured_reward, measured_survival
from llm_validation.runs.best_of_n_rows import Pool, predict
from llm_validation.runs.declared import validated
from llm_validation.runs.run import Context
from llm_validation.runs.table import first_fits
from llm_validation.training.device import DeviceRates, decoding_bound
from simulate.montecarlo import generator
from tests.oracles.people import few_people
from theory.best_of_n.evolution import survivor_counts
from theory.best_of_n.law import best_of_n_reward
from theory.best_of_n.order_statistics import expected_max
from theory.best_of_n.processes import gaussian_process
from theory.best_of_n.rejection import speculative_reward, winner_survival
from theory.claim import parse_setting, setting_key


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    where = tmp_path_factory.mktemp("models") / "smoke"
    save(build("smoke", len(tokenizer), 64, seed=0).eval(), tokenizer, where)
    return where


def context(folder) -> Context:
    """Profile smoke on that model."""
    return Context(folder, folder.parent, PROFILES["smoke"], few_people(), {})


def martingale(count, v, rng):
    """Scores (count, J) and rewards (count,) of the Gaussian martingale."""
    path = np.cumsum(np.sqrt(np.diff([0.0, *v, 1.0])) * rng.standard_normal((count, len(v) + 1)), axis=1)
    return path[:, :-1], path[:, -1]


# predictions from measured rows


@pytest.mark.parametrize("n", [4, 16, 64])
def test_density_evolution_on_measured_rows_is_that_of_their_law(n):
    v, M = (0.25, 0.5, 0.75), 40_000
    rows = MeasuredRows.of(*martingale(M, v, generator(0, "rows")))
    counts = survivor_counts(n, 0.5, 3)
    # a quantile that one row in n exceeds is known from M/n rows, about 2/√(M/n) of a standard deviation
    error = 2.0 * math.sqrt(n / M)
    assert measured_reward(rows, counts) == pytest.approx(speculative_reward(n, v, 0.5), abs=error)
    assert measured_survival(rows, counts) == pytest.approx(winner_survival(gaussian_process(v), counts), abs=0.04)


def test_without_rejection_measured_rows_give_best_of_n():
    scores, rewards = martingale(500, (0.5,), generator(0, "few"))
    rows = MeasuredRows.of(scores, rewards)
    law = np.full(500, 1 / 500)
    assert measured_reward(rows, (6, 6)) == pytest.approx(best_of_n_reward(law, rewards, 6), rel=1e-12)
    assert measured_survival(rows, (6, 6)) == pytest.approx(1.0)


def test_a_score_that_is_the_reward_loses_nothing_and_a_contrary_one_much():
    _, rewards = martingale(4000, (0.5,), generator(0, "exact"))
    exact = MeasuredRows.of(rewards[:, None], rewards)
    contrary = MeasuredRows.of(-rewards[:, None], rewards)
    assert measured_reward(exact, (16, 4)) == pytest.approx(expected_max(16), abs=0.06)
    assert measured_survival(exact, (16, 4)) == pytest.approx(1.0, abs=0.02)
    assert measured_reward(contrary, (16, 4)) < -0.5
    assert measured_survival(contrary, (16, 4)) < 0.02


def test_measured_rows_against_rejection_done_on_them():
    """Rejection simulated on rows with no normal law: a score that is informative below and useless above."""
    rng = generator(0, "odd")
    rewards = rng.exponential(size=3000)
    scores = np.column_stack([np.minimum(rewards, 1.0) + 0.3 * rng.random(3000), np.sqrt(rewards) + rng.random(3000)])
    counts, best, survived = (12, 5, 2), [], []
    for _ in range(4000):
        drawn = rng.integers(3000, size=12)
        alive = drawn
        for j in (0, 1):
            alive = alive[np.argsort(-scores[alive, j])[: counts[j + 1]]]
        best.append(rewards[alive].max())
        survived.append(rewards[alive].max() == rewards[drawn].max())
    rows = MeasuredRows.of(scores, rewards)
    error = np.std(best) / math.sqrt(len(best))
    assert measured_reward(rows, counts) == pytest.approx(np.mean(best), abs=4 * error + 0.01)
    assert measured_survival(rows, counts) == pytest.approx(np.mean(survived), abs=0.04)


def test_predictions_carry_the_error_of_their_pool():
    v = (0.2, 0.5, 0.8)
    errors = []
    for count in (400, 3200):
        scores, rewards = martingale(count, v, generator(1, "pool"))
        explained = explained_variance(scores, rewards, generator(1, "v"), 20)
        pool = Pool(MeasuredRows.of(scores, rewards), explained)
        found = {q: predict(pool, 16, q, 0) for q in ("best", "reward", "reward_law", "survival", "survival_law")}
        assert abs(found["best"].value - expected_max(16)) < 4 * found["best"].stderr
        assert abs(found["reward"].value - speculative_reward(16, v, 0.5)) < 4 * found["reward"].stderr
        assert abs(found["reward_law"].value - speculative_reward(16, v, 0.5)) < 4 * found["reward_law"].stderr
        errors.append(found["reward"].stderr)
    assert errors[1] < 0.6 * errors[0]


def test_bad_rows_are_named():
    with pytest.raises(ValueError, match=r"scores \(3, 1\) and rewards \(2,\)"):
        MeasuredRows.of(np.zeros((3, 1)), np.zeros(2))


# measurements


@pytest.fixture(scope="module")
def measured(folder):
    """Every run that generates freely, and the fits that they start from."""
    runs = (*best_of_n.RUNS, *correction.RUNS)
    every = (*first_fits(runs), *runs)
    return {run.name: list(validated(run, run.measure(context(folder), 0))) for run in every}


def test_every_measurement_gives_rows_with_a_place(measured):
    for rows in measured.values():
        places = [(row.claim, row.check, setting_key(row.setting)) for row in rows]
        assert len(set(places)) == len(places)
        for row in rows:
            assert parse_setting(setting_key(row.setting)) == dict(row.setting)
            assert math.isfinite(row.value)
            assert row.estimate.stderr >= 0
            assert row.estimate.n >= 1


def test_what_holds_for_any_model_holds_for_an_untrained_one(measured):
    """Win rates, rewards, costs, exactness and memory do not need a good model."""
    rows = {(row.claim, row.check, setting_key(row.setting)): row for row in measured["best_of_n"]}
    for (claim, check, _), row in rows.items():
        if (claim, check) in {("B1", "llm_win_rate"), ("B3", "llm_reward"), ("B4", "llm_reward_law")}:
            assert abs(row.value) < 5 * row.estimate.stderr, row
        if check in ("llm_tokens", "llm_peak"):
            assert row.value == 1.0
        if check in ("llm_alpha_zero", "llm_same_rows", "llm_lost"):
            assert row.value == 0.0
    assert rows["B7", "llm_over_budget", "n=64"].value <= 1.0
    excess = next(row for row in measured["correction"] if row.check == "llm_excess")
    assert excess.value <= 1e-9


def test_measurements_are_repeatable(folder, measured):
    again = correction.measured(context(folder), 0)
    assert again == measured["correction"]


def test_speed_is_reported_with_its_share_of_the_copy_rate(measured, folder):
    """The largest N's Best-of-N run: 128 rows, all at once, of 1 + 24 tokens; the share only where rates are known."""
    rows = {row.check: row for row in measured["best_of_n"] if row.claim == "B10" and row.setting.get("n") == 16}
    assert (rows["rows_at_once"].value, rows["cached_tokens"].value) == (128, 128 * 25)
    assert rows["tokens_per_second"].estimate.witness == "128 rows at once, 3200 cached tokens at most"
    profile = PROFILES["smoke"].best_of_n
    writer = SimpleNamespace(length=24, profile=profile, model=load(folder).model)
    spent = [Spent(generated=1500, scored=0, prefill=0, peak=peak, splits=0, seconds=2.0, scoring=0.5)
             for peak in (3000, 3200)]  # fmt: skip
    run = SimpleNamespace(n=16, rewards=np.zeros((8, 16)), batches=spent)
    rates = DeviceRates("a device", flops=1e12, copy=1e9, dtype="float32", matrix=8, memory=1)
    found = speed(writer, run, rates)[0]
    assert found.value == 3000 / 3.0
    bound = decoding_bound(writer.model, 128, 128 * 13, rates)
    assert (
        f"; {100 * 1000 / bound:.1f} % of the {bound:.4g} tokens/s that copying on a device allows"
        in found.estimate.witness
    )


# the command line


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("Mia the fox\n\nTom the cat lived in\n")
    return path


@pytest.mark.parametrize(
    "method",
    [
        ["--method", "best-of-n", "--n", "4"],
        ["--method", "speculative", "--alpha", "0.5", "--n", "8", "--times", "4", "8"],
        ["--method", "speculative", "--alpha", "0.5", "--budget", "120", "--together"],
    ],
)
def test_the_command_line_writes_a_line_per_prompt(folder, prompts, tmp_path, method, capsys):
    out = tmp_path / "out.jsonl"
    common = ["--model", str(folder), "--prompts", str(prompts), "--tokens", "16", "--allow-unfinished"]
    assert generate_main([*common, "--reward", "length", "--out", str(out), *method]) == 0
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [line["prompt"] for line in lines] == [0, 1]
    assert all(line["response"]["reward"] > 0 for line in lines)
    assert '"generated"' in capsys.readouterr().err


def test_the_command_line_takes_a_reward_model(folder, prompts, tmp_path, capsys):
    model = load(folder).model
    from_language_model(model).save(tmp_path / "reward")
    arguments = [
        "--model",
        str(folder),
        "--prompts",
        str(prompts),
        "--reward",
        str(tmp_path / "reward"),
        "--tokens",
        "8",
    ]
    assert generate_main([*arguments, "--n", "2"]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert first["truncated"]["reward"] == 0.0, "a fresh reward model scores nothing"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "best-of-n needs --n"),
        (["--n", "2", "--alpha", "0.5"], "neither --alpha nor --times"),
        (["--method", "speculative", "--alpha", "0.5"], "--times or --budget"),
        (["--n", "2", "--budget", "5"], "too small for one row"),
        (["--n", "2", "--reward", "nowhere"], "'nowhere' is no reward"),
        (["--n", "2", "--model", "/no/such/folder"], "there is no folder '/no/such/folder'"),
        (["--n", "2", "--prompts", "/no/such/file"], "no such file of prompts: /no/such/file"),
    ],
)
def test_the_command_line_says_what_is_wrong(folder, prompts, arguments, message, capsys):
    common = ["--model", str(folder), "--prompts", str(prompts), "--reward", "length", "--tokens", "8"]
    assert generate_main([*common, *arguments]) == 2
    assert message in capsys.readouterr().err
