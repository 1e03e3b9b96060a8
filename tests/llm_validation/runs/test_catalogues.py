"""Training on a catalogue: the loop and its guard, predictions against brute force, runs close to their predictions."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize

from llm_validation.__main__ import main
from llm_validation.catalogue.reference import (
    OFF_TARGET,
    Reference,
    conditional,
    fit_reference,
    measure_reference,
    total_variation,
    write_trace,
)
from llm_validation.catalogue.texts import Catalogue, encode_catalogue, item_catalogue, story_catalogue
from llm_validation.catalogue.train import Task, Trained, train_one
from llm_validation.claims.table import find_check
from llm_validation.losses import pairs
from llm_validation.model.model import build, save
from llm_validation.runs import comparisons, distortion, people, proximal, unpaired
from llm_validation.runs.catalogues import N_RESPONSES, proximal_laws
from llm_validation.text.corpus import train_tokenizer
from llm_validation.text.language import STORIES
from llm_validation.training.loop import TrainingDiverged
from llm_validation.training.schedule import Schedule
from simulate.montecarlo import generator
from simulate.people.data import People, RatedItems
from simulate.rows.store import Results, read_rows
from tests.llm_validation.conftest import rows_of
from tests.processes import started

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(STORIES.sample(generator(0, "documents"), 2000), 512)


@pytest.fixture(scope="module")
def reference(tokenizer, tmp_path_factory) -> Reference:
    """Four prompts of the PRO topic on the smallest model, its reference really fitted and measured."""
    folder = tmp_path_factory.mktemp("reference")
    encoded = encode_catalogue(story_catalogue(4, N_RESPONSES, generator(0, "texts")), tokenizer, 64)
    model = build("smoke", len(tokenizer), 64, seed=0)
    target = proximal_laws(generator(0, "references"))
    fit_reference(model, encoded, target, Schedule(steps=250, rate=1e-2), CPU)
    law = measure_reference(model, encoded.trie())
    assert total_variation(conditional(np.exp(law)), target).max() < 0.05
    save(model, tokenizer, folder / "reference")
    return Reference(folder / "reference", encoded, law, CPU, 0, Schedule(steps=150, rate=3e-3), folder / "traces")


# The loop


def test_pro_reaches_its_closed_form_where_dpo_leaves(reference):
    rows = proximal.pairwise(reference)
    gaps = {
        (m.setting["response"], m.setting["alpha"], m.setting["kl_beta"]): m.value for m in rows if m.check == "trained"
    }
    for (response, alpha, kl_beta), value in gaps.items():
        predicted = find_check("P9", "trained").predict({"response": response, "alpha": alpha, "kl_beta": kl_beta})
        assert value == pytest.approx(predicted, abs=0.05)
    found = {m.check: m.value for m in rows}
    assert found["above_dpo"] == 1.0  # at every prompt
    assert found["pro_chosen"] - found["dpo_chosen"] > 1.0  # nats
    traces = sorted(path.name for path in (reference.traces or Path()).iterdir())
    assert traces == ["dpo_pairs-0.csv", "dpo_pairs_slow-0.csv", "pro_pairwise-0.csv"]


def test_a_wrong_sign_is_noticed(reference, monkeypatch):
    right = pairs.pro_pairwise
    monkeypatch.setattr(pairs, "pro_pairwise", lambda a, b, c, d, **options: right(b, a, d, c, **options))
    monkeypatch.setattr(proximal, "_dpo_on_the_same_pairs", lambda *_: [])
    rows = proximal.pairwise(reference)
    assert max(m.value for m in rows if m.check == "levels") > 0.5


def test_training_is_repeatable(reference):
    part = reference.part([0, 1])
    ref = part.logs

    def objective(_: int, logs: torch.Tensor) -> torch.Tensor:
        return ((logs - ref) * torch.arange(9.0)).mean()

    short = Schedule(steps=5, rate=1e-3, record=5)
    one, two = (part.train(objective, "twice", schedule=short) for _ in range(2))
    assert np.array_equal(one.path, two.path)


def test_a_loss_that_is_no_number_stops_the_run(reference):
    def objective(step: int, logs: torch.Tensor) -> torch.Tensor:
        return logs.sum() * (float("nan") if step == 3 else 1e-6)

    with pytest.raises(TrainingDiverged, match="broken: step 3 of 150 has loss nan"):
        train_one(Task(reference.model(), reference.trie(), objective, reference.schedule, name="broken"))


def test_a_reference_that_leaves_the_catalogue_is_refused(tokenizer):
    encoded = encode_catalogue(story_catalogue(2, 4, generator(0, "texts")), tokenizer, 64)
    model = build("smoke", len(tokenizer), 64, seed=0)
    trainer = lambda task: SimpleNamespace(log_policy=np.log([[0.99, 0.01], [0.8, 0.2]]))
    with pytest.raises(ValueError, match=r"leaves 0\.200 off the catalogue at prompt 1, .* after 4 fits of 2 steps"):
        fit_reference(model, encoded, np.full((2, 4), 0.25), Schedule(steps=2), CPU, trainer)


@pytest.mark.parametrize(("off", "rounds"), [([0.3, 0.04, 0.01], 3), ([0.019], 1), ([0.3, 0.1, 0.06, 0.04], 4)])
def test_a_reference_is_fitted_again_until_little_is_off_the_catalogue(tokenizer, off, rounds):
    """Another number of rounds is another reference; after the last one up to a twentieth is accepted."""
    encoded = encode_catalogue(story_catalogue(1, 4, generator(0, "texts")), tokenizer, 64)
    left = iter(off)
    trainer = lambda task: SimpleNamespace(log_policy=np.log([[0.5, last := next(left)]]), off=last)
    model = build("smoke", len(tokenizer), 64, seed=0)
    fitted = fit_reference(model, encoded, np.full((1, 4), 0.25), Schedule(steps=2), CPU, trainer)
    assert fitted.off == off[rounds - 1]
    assert next(left, None) is None


def test_a_reference_is_fitted_to_its_law_and_a_little_off(tokenizer):
    """Cross-entropy from the law (1 − off)·target, off: at the law itself its entropy."""
    encoded, target = (
        encode_catalogue(story_catalogue(2, 4, generator(0, "texts")), tokenizer, 64),
        np.full((2, 4), 0.25),
    )
    law = np.tile([*[0.25 * (1.0 - OFF_TARGET)] * 4, OFF_TARGET], (2, 1))
    seen = []
    trainer = lambda task: seen.append(task) or SimpleNamespace(log_policy=np.log(law))
    fit_reference(build("smoke", len(tokenizer), 64, seed=0), encoded, target, Schedule(steps=2), CPU, trainer)
    loss = float(seen[0].objective(0, torch.as_tensor(np.log(law))))
    assert loss == pytest.approx(-float((law[0] * np.log(law[0])).sum()), rel=1e-6)


def test_a_trace_has_a_line_for_each_recorded_step_and_prompt(tmp_path):
    path, loss, norm = np.log(np.arange(1.0, 13.0).reshape(2, 2, 3)), np.array([0.5, 0.25]), np.array([2.0, np.nan])
    write_trace(Trained(np.array([0.0, 4.0]), path, loss, norm, (), 0, 0.0), tmp_path / "new" / "trace.csv")
    table = pd.read_csv(tmp_path / "new" / "trace.csv")
    assert table[["step", "prompt"]].to_numpy().tolist() == [[0, 0], [0, 1], [4, 0], [4, 1]]
    assert table["loss"].tolist() == [0.5, 0.5, 0.25, 0.25]
    assert table["grad_norm"].tolist()[:2] == [2.0, 2.0]
    np.testing.assert_allclose(table[["y0", "y1", "off"]], path.reshape(4, 3), rtol=1e-6)


# Predictions


def test_rlhf_s_prediction_is_the_maximiser(rng):
    found = comparisons.Situation(
        "x", distortion.instance("random", 0).population, 5.0, distortion.instance("random", 0).win_rates,
        distortion.instance("random", 0).pair_weights, np.inf,
    )  # fmt: skip
    log_reference = np.log(rng.dirichlet(np.ones(9)))
    from theory.bradley_terry import fit_rewards

    r = fit_rewards(found.win_rates, found.pair_weights).rewards
    r = np.append(r, r.min())

    def loss(z: np.ndarray) -> float:
        logs = z - np.logaddexp.reduce(z)
        return -float(np.exp(logs) @ (r - 0.2 * (logs - log_reference)))

    best = minimize(loss, log_reference, method="BFGS", options={"gtol": 1e-9}).x
    assert np.exp(best - np.logaddexp.reduce(best)) == pytest.approx(
        comparisons.predicted_rlhf(found, log_reference, 0.2), abs=1e-5
    )


def test_nlhf_s_prediction_is_a_best_response_to_itself(rng):
    i = distortion.instance("I9", 0)
    found = comparisons.Situation("x", i.population, 10.0, i.win_rates, i.pair_weights, np.inf)
    log_reference = np.log(rng.dirichlet(np.ones(9)))
    law = comparisons.predicted_nlhf(found, log_reference, 0.1)
    response = log_reference + comparisons.with_off(i.win_rates) @ law / 0.1
    assert law == pytest.approx(np.exp(response - np.logaddexp.reduce(response)), abs=2e-5)


def test_i6_split_into_clones_is_the_same_instance():
    from theory.distortion.instances import rlhf_instance

    split, collapsed = distortion.instance("I6", 0), rlhf_instance(5.0)
    assert split.pair_weights.sum() == pytest.approx(1.0)
    assert split.mu[2:].sum() == pytest.approx(collapsed.mu[2])
    assert split.population.average_utility[[0, 1, 7]] == pytest.approx(collapsed.population.average_utility)


def test_the_laws_put_the_reference_where_their_names_say(rng):
    reference = rng.dirichlet(np.full(8, 5.0))
    for name in unpaired.UNPAIRED:
        p, q = unpaired.laws(name, reference, generator(0, name))
        assert p.sum() == pytest.approx(1.0)
        assert q.sum() == pytest.approx(1.0)
        assert (p > 0).all()
    p, q = unpaired.laws("on_mixture", reference, generator(0, "m"))
    assert 0.5 * p + 0.5 * q == pytest.approx(reference)
    assert np.abs(p / reference - 1.0).max() == pytest.approx(0.6)
    p, q = unpaired.laws("cycle", reference, generator(0, "m"))
    assert 0.5 * p + 0.5 * q == pytest.approx(reference)
    assert unpaired.laws("cycle_losers", reference, generator(0, "m"))[1] == pytest.approx(reference, abs=1e-9)
    assert unpaired.laws("never_rejected", reference, generator(0, "m"))[1][0] == 0.0


@pytest.mark.parametrize("name", ["bco", "hellinger", "kl"])
def test_the_error_of_what_is_read_off_is_its_scatter(name):
    p, q = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]]), np.array([[0.2, 0.3, 0.5], [0.5, 0.3, 0.2]])
    rewards = 0.7 * np.log(p / q) + 0.2  # not the optimum: there the influence is least
    found = [unpaired.read_off(name, rewards, p, q, generator(seed, "read")) for seed in range(300)]
    scatter = np.std([values.mean() for values, _ in found], ddof=1)
    assert found[0][1] == pytest.approx(scatter, rel=0.15)


# Bad catalogues


def test_catalogues_are_checked_before_training(tokenizer):
    same = Catalogue(("Mia the fox",), (("a ball.", "a ball."),))
    with pytest.raises(ValueError, match="responses 0 and 1 of prompt 0 are the same tokens"):
        encode_catalogue(same, tokenizer, 64)
    with pytest.raises(ValueError, match=r"prompt 0 with response 0 has \d+ tokens, the context 4"):
        encode_catalogue(story_catalogue(1, 2, generator(0, "x")), tokenizer, 4)
    some = story_catalogue(1, 2, generator(0, "x"))
    longest = max(map(len, (encoded := encode_catalogue(some, tokenizer, 64)).responses[0])) + len(encoded.prompts[0])
    assert encode_catalogue(some, tokenizer, longest) == encoded
    with pytest.raises(ValueError, match=f"has {longest} tokens, the context {longest - 1}"):
        encode_catalogue(some, tokenizer, longest - 1)
    with pytest.raises(ValueError, match="400 prompts"):
        story_catalogue(400, 8, generator(0, "x"))
    assert item_catalogue(("coffee A", "coffee B"), 2).responses[1] == ("coffee A.", "coffee B.")


def test_people_with_gaps_are_refused():
    gaps = RatedItems("gaps", np.array([[0.1, np.nan], [0.2, 0.3]]), ("a", "b"), (), 0, (0.0, 1.0))
    with pytest.raises(ValueError, match="--missing drop"):
        people.check_people(People("gaps", gaps))


# The command


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["D99"], "no claim 'D99'"),
        (["D7"], "D7 has no check on a language model"),
        (["--corpus", "nowhere.txt"], "no such corpus file: nowhere.txt"),
        (["--ratings", "nowhere.csv"], "nowhere.csv"),
        (["--model", "/nowhere/model"], "/nowhere/model"),
    ],
)
def test_bad_input_is_named(words, named, tmp_path, capsys):
    assert main([*words, "--profile", "smoke", "--results", str(tmp_path)]) == 2
    assert named in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_rows(people_words, people_rows, command, short, tmp_path):
    """Fits and runs of two seeds: once in one go, once killed as soon as two jobs are finished."""
    cut = tmp_path / "cut"
    killed = started(command, *people_words, str(cut), log=tmp_path / "log.txt")
    deadline = time.monotonic() + 120
    while len(Results(cut).jobs) < 2 and killed.is_alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.kill()
    killed.join()
    assert 1 <= len(Results(cut).jobs) < 4
    assert main([*people_words, str(cut)]) == 0
    assert rows_of(cut) == people_rows
    assert {(row.claim, row.seed) for row in read_rows(cut)} >= {("D17", 0), ("D17", 1)}
