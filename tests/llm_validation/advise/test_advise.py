"""Numbers of the pilot against loops; nothing is recommended on noise; the report and its command."""

from __future__ import annotations

import itertools
import json
import math
import shlex
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from llm_validation.advise import pilot as pilot_module
from llm_validation.advise.accuracy import Accuracy, difference
from llm_validation.advise.divergence import bounds
from llm_validation.advise.findings import Finding
from llm_validation.advise.optima import optima
from llm_validation.advise.pilot import Pilot, PilotPlan, PilotRun, run_pilot
from llm_validation.advise.recommend import recommend
from llm_validation.advise.report import Section, as_html, as_json
from llm_validation.advise.sections import displacement
from llm_validation.advise.selection import expected_best, selection
from llm_validation.advise.trunk import TrunkOnce, piloted
from llm_validation.commands import advise as advise_module
from llm_validation.commands import align
from llm_validation.commands.advise import advise_main
from llm_validation.commands.align import align_main
from llm_validation.generation.scorers import ScorerError
from llm_validation.preferences.data import Example, Preferences
from llm_validation.preferences.objectives import PreferenceTraining
from llm_validation.preferences.sequences import CompletionForward
from llm_validation.preferences.trace import Mean, split
from llm_validation.preferences.train import train_on_preferences
from llm_validation.training.parts import choose_part
from tests.oracles.toy_preferences import CONTEXT, model, naive, preferences, written
from theory.divergences import jensen_shannon, kl, squared_hellinger, total_variation


def test_the_trunk_once_is_the_whole_model():
    data = preferences(24)
    trained = []
    for once in (True, False):
        net = model()
        choose_part(net, "top:1", 0)
        runs = piloted(net, "top:1", data.chosen, data.rejected) if once else net
        assert isinstance(runs, TrunkOnce) is once
        config = PreferenceTraining(seed=0, epochs=2, batch=8, rate=1e-2, share=False)
        trained.append((train_on_preferences(runs, data, "kto", config).loss, naive(net, data.chosen[0]).item()))
    np.testing.assert_allclose(trained[0][0], trained[1][0], atol=2e-5)
    assert trained[0][1] == pytest.approx(trained[1][1], abs=1e-3)
    assert piloted(model(), "top:2", data.chosen, data.rejected).__class__ is model().__class__, "all blocks: no trunk"


def test_a_token_0_at_the_end_of_a_text_is_not_padding():
    net = model()
    short, long = Example((5, 6), (7, 3), 1), Example((5, 6), (7, 0, 0, 3), 2)
    runs = piloted(net, "top:1", [short], [Example((5, 6), (8, 3), 1)])
    for example in (short, long, short):
        runs.announce([example])
        found = CompletionForward("rows", torch.device("cpu")).rows(runs, [example, preferences(1).chosen[0]])
        assert found[0].item() == pytest.approx(naive(net, example).item(), abs=1e-4)


NOISE = 0.2
PLAN = PilotPlan(("dpo", "pro_pairwise", "bco"), rates=(1e-2,), part="top:1", epochs=2, held=0.5, answers=6, tokens=6)


def noisy(n, flipped, seed=0):
    """Toy pairs, a share of them the other way round."""
    data, rng = preferences(n, seed), np.random.default_rng(seed + 1)
    flip = rng.random(n) < flipped
    sides = [tuple(b if f else a for a, b, f in zip(one, other, flip, strict=True))
             for one, other in ((data.chosen, data.rejected), (data.rejected, data.chosen))]  # fmt: skip
    return Preferences("noisy", *sides, paired=True)


@pytest.fixture(scope="module")
def piloted_on_noise() -> tuple[torch.nn.Module, Preferences, Pilot]:
    net, data = model(), noisy(240, NOISE)
    return net, data, run_pilot(net, data, PLAN, (0,), CONTEXT, time.monotonic() + 120)


def test_the_pilots_accuracy_is_one_less_the_noise(piloted_on_noise):
    net, data, pilot = piloted_on_noise
    assert [run.method for run in pilot.tried] == list(PLAN.methods)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), model().parameters(), strict=True))
    for run in pilot.tried:
        accuracy = Accuracy.of(run.chosen, run.rejected, paired=True).mean
        assert abs(accuracy.value - (1 - NOISE)) < 2 * accuracy.stderr
    advice = recommend(pilot, optima(data, 8), "m", "d")
    assert advice.best.method == "pro_pairwise", "the only one with an optimum on separable pairs"
    assert "cannot be told apart from it on" in advice.reasons[0].text
    assert "P7" in {reason.claim for reason in advice.reasons}


def test_the_pilot_measures_what_a_loop_over_tokens_says(piloted_on_noise):
    _, _, pilot = piloted_on_noise
    net, run = model(), pilot.tried[0]
    choose_part(net, "top:1", 0)
    config = PreferenceTraining(seed=0, epochs=2, batch=8, rate=1e-2)
    train_on_preferences(net, pilot.trained_on, "dpo", config)
    for found, examples in ((run.chosen, pilot.held.chosen), (run.off, pilot.own)):
        for value, example in list(zip(found, examples, strict=True))[:6]:
            assert value == pytest.approx(naive(net, example).item() - naive(model(), example).item(), abs=5e-3)


def test_nothing_is_recommended_on_noise():
    pilot = run_pilot(model(), noisy(60, 0.5), replace(PLAN, methods=("dpo",)), (0,), CONTEXT, time.monotonic() + 60)
    advice = recommend(pilot, [], "m", "d")
    assert (advice.best, advice.command) == (None, "")
    assert "nothing is recommended" in advice.reasons[0].text
    late = replace(pilot, tried=())
    assert "no method was tried" in recommend(late, [], "m", "d").reasons[0].text
    rare = Preferences("rare", noisy(8, 0).chosen[:2], preferences(50, 5).rejected, paired=False)
    tiny = run_pilot(
        model(), rare, replace(PLAN, methods=("bco", "dpo"), held=0.5), (0,), CONTEXT, time.monotonic() + 60
    )
    assert [run.method for run in tiny.tried] == ["bco"]
    assert "dpo at rate 0.01 was not run: dpo needs pairs" in "".join(tiny.left)


def test_the_time_is_divided_over_the_methods_and_what_each_did_is_said(monkeypatch):
    ticks = itertools.count()  # a clock that goes on by one second whenever it is read, as at every step
    monkeypatch.setattr(pilot_module, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    methods = ("kto", "dpo", "ipo", "pro_scalar")
    plan, said = replace(PLAN, methods=methods, epochs=9, rates=(1e-2, 1e-3)), list[str]()
    pilot = run_pilot(model(), noisy(240, NOISE), plan, (0,), CONTEXT, 160.0, said.append)
    steps = [run.steps for run in pilot.tried]
    assert [run.method for run in pilot.tried] == ["dpo", "ipo", "pro_scalar", "kto"], "the dear one last"
    assert all(3 < step < run.planned for step, run in zip(steps, pilot.tried, strict=True))
    assert max(steps) - min(steps) <= 12
    assert said[0].startswith(f"dpo at rate 0.01: {steps[0]} of {pilot.tried[0].planned} steps")
    assert pilot.left[-1] == "dpo, ipo, pro_scalar, kto at rate 0.001 not run: the time was over"
    assert said[4] == "dpo at rate 0.001 was not run: the time left does not reach"
    found, table = displacement(pilot)
    assert f"dpo at rate 0.01 {steps[0]} of" in {f.name: f.text for f in found}["short"]
    assert table.rows[0][2] == f"{steps[0]} of {pilot.tried[0].planned}"
    ticks = itertools.count()  # a quarter of the time does not reach for measuring
    short = run_pilot(model(), noisy(24, NOISE), replace(plan, epochs=1, rates=(1e-2,)), (0,), CONTEXT, 34.0)
    assert [run.method for run in short.tried] == ["dpo", "ipo"], "the first of them, not the last"


def test_a_machine_that_gets_busy_leaves_time_for_methods(monkeypatch):
    """Passes over texts take twice what the first batch took: fewer examples are passed over, and a method is run."""
    clock, cost, passes = [0.0], [0.3], pilot_module.log_probabilities

    def dear(runs, forward, examples, batch):
        clock[0] += cost[0] * len(examples)
        cost[0] = 0.6
        return passes(runs, forward, examples, batch)

    def read():
        clock[0] += 0.1
        return clock[0]

    budgets, answers = {}, pilot_module._Runs._answers

    def noted(self, whose, seconds):
        budgets[whose] = seconds
        return answers(self, whose, seconds)

    monkeypatch.setattr(pilot_module._Runs, "_answers", noted)
    monkeypatch.setattr(pilot_module, "log_probabilities", dear)
    monkeypatch.setattr(pilot_module, "time", SimpleNamespace(monotonic=read))
    pilot = run_pilot(model(), noisy(240, NOISE), replace(PLAN, epochs=1), (0,), CONTEXT, 400.0)
    assert pilot.tried
    assert len(pilot.trained_on.examples) < pilot.texts[0]
    assert 0.05 * 400 < budgets["reference"] < 0.1 * 400  # seconds for the reference's own answers


def made(name, right, of=40, kl=0.0):
    """A run that is right on the first `right` of its pairs."""
    chosen = np.where(np.arange(of) < right, 1.0, -1.0)
    return PilotRun(name, 1e-3, 5, 1.0, chosen, np.zeros(of), np.zeros(3), kl + np.array([-0.1, 0.0, 0.1]))


@pytest.mark.parametrize(
    ("runs", "best", "said"),
    [
        ((("dpo", 36, 0.0), ("bco", 35, 0.0)), "dpo",
         "bco at rate 0.001 cannot be told apart from it on 40 held-out pairs"),
        ((("dpo", 36, 0.0), ("bco", 20, 0.0)), "dpo", "bco at rate 0.001 are less accurate on the same examples"),
        ((("dpo", 36, 0.9), ("bco", 35, 0.0)), "bco", "nearest to the reference"),
        ((("dpo", 24, 0.0), ("bco", 22, 0.0)), None, "nothing is recommended"),
    ],
)  # fmt: skip
def test_two_that_cannot_be_told_apart(piloted_on_noise, runs, best, said):
    _, _, pilot = piloted_on_noise
    held = Preferences("held", *(side[:40] for side in (pilot.held.chosen, pilot.held.rejected)), paired=True)
    advice = recommend(
        replace(pilot, held=held, tried=tuple(made(name, right, kl=d) for name, right, d in runs)), [], "m", "d"
    )
    assert (advice.best and advice.best.method) == best
    assert said in " ".join(reason.text for reason in advice.reasons)


def test_accuracy_of_classes_is_the_area_under_the_curve():
    rng = np.random.default_rng(0)
    draws = [(rng.normal(0.7, 1, 30), rng.normal(0, 1, 20)) for _ in range(300)]
    found = [Accuracy.of(*draw, paired=False).mean for draw in draws]
    assert np.mean([mean.value for mean in found]) == pytest.approx(0.69, abs=0.02)  # Φ(0.7/√2)
    spread = np.std([mean.value for mean in found])
    assert np.mean([mean.stderr for mean in found]) == pytest.approx(spread, rel=0.15)
    one, other = (
        Accuracy.of(*draw, paired=False) for draw in ((draws[0][0], draws[0][1]), (-draws[0][0], draws[0][1]))
    )
    assert difference(one, one) == (Mean(0.0, 0.0, 20), 1.0)
    assert difference(one, other)[1] < 0.01


@pytest.mark.parametrize("paired", [True, False])
def test_divergences_from_held_out_losses(paired):
    rng = np.random.default_rng(0)
    p, q = np.array([0.5, 0.3, 0.15, 0.05]), np.array([0.05, 0.15, 0.3, 0.5])
    ratio = 3 * np.log(p / q) + 2  # rewards off by a factor and a constant
    exact = {"JS": jensen_shannon(p, q), "TV": total_variation(p, q), "KL": kl(p, q), "H²": squared_hellinger(p, q)}
    for bound in bounds(ratio[rng.choice(4, 4000, p=p)], ratio[rng.choice(4, 4000, p=q)], paired):
        assert abs(bound.mean.value - exact[bound.divergence]) < 3 * bound.mean.stderr < 0.15
    noise = bounds(rng.normal(size=200), rng.normal(size=200), paired)
    assert all(bound.low == 0 for bound in noise)
    assert bounds(np.zeros(3), np.zeros(3), paired) == []


@pytest.mark.parametrize("paired", [True, False])
def test_the_error_of_a_divergence_is_its_scatter(paired):
    rng, found = np.random.default_rng(1), {}
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    ratio = np.log(p / q)
    for _ in range(120):
        for bound in bounds(ratio[rng.choice(3, 600, p=p)], ratio[rng.choice(3, 600, p=q)], paired):
            found.setdefault(bound.divergence, []).append((bound.mean.value, bound.mean.stderr))
    for name, own in found.items():
        values, errors = np.array(own).T
        assert errors.mean() == pytest.approx(values.std(ddof=1), rel=0.3), name


def test_states_are_kept_while_there_is_room():
    """Of two texts the first fills the room; the other is run whole every time, and both are what the model says."""
    net = model()
    texts = preferences(24).chosen[:2]
    rows = [torch.tensor([[*example.prompt, *example.completion[:-1]]]) for example in texts]
    once = TrunkOnce(net, 1, room=rows[0].numel() * net.config.hidden_size * 4)
    once.announce(texts)
    with torch.no_grad():
        for row in 2 * rows:
            whole = net.base_model(input_ids=row).last_hidden_state
            torch.testing.assert_close(once.base_model(row).last_hidden_state, whole, atol=1e-5, rtol=0)
    assert [len(states) for states in once._kept.values()] == [rows[0].numel()]


def test_report():
    findings = (Finding("kldo", "B", float("inf"), claim="V9"), Finding("x", "no error", 1.0, math.nan))
    section, about = Section("S", findings), {"model": "<b>m", "data": "d&", "minutes": 2.5, "seed": 0}
    page = as_html([section], about)
    assert "<b>" not in page
    assert "V9" in page
    assert "nan" not in page
    assert "KLDO" in page.split("The claims named above")[1]
    assert "V9" in json.loads(as_json([section], about))["claims"]
    assert json.loads(as_json([section], about))["sections"][0]["findings"][0]["value"] == "inf"


def test_the_command_and_the_command_to_paste(base, tmp_path, capsys, monkeypatch):
    """What is pasted holds out the same prompts, of a seed and a context that are not align's."""
    parts = []
    for module in (pilot_module, align):
        monkeypatch.setattr(module, "split", lambda *words: parts.append(split(*words)) or parts[-1])
    records = []
    for chosen, rejected in zip(*(noisy(80, 0.0).chosen, noisy(80, 0.0).rejected), strict=True):
        prompt, good, bad = (" ".join(f"w{t}" for t in tokens if t >= 2)
                             for tokens in (chosen.prompt, chosen.completion, rejected.completion))  # fmt: skip
        records.append({"prompt": prompt, "chosen": f" {good}", "rejected": f" {bad}", "user": len(records) % 5})
    monkeypatch.chdir(tmp_path)
    data = written(tmp_path, *records)
    words = ["--model", "base", "--data", str(data), "--out", "report", "--methods", "dpo", "pro_pairwise", "--rates",
             "1e-2", "--answers", "4", "--answer-tokens", "4", "--held-out", "0.5000001", "--minutes", "20",
             "--seed", "3", "--context", str(CONTEXT - 1)]  # fmt: skip
    assert advise_main(words) == 0
    said = capsys.readouterr().out
    report = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert [section["title"] for section in report["sections"]][-1] == "Recommendation"
    for section in report["sections"]:
        for finding in section["findings"]:
            assert finding["value"] is not None or finding["claim"] or finding["name"] in ("reason", "left_out")
    command = report["sections"][-1]["command"]
    assert command in said
    assert command.startswith("python -m llm_validation align --method pro_pairwise --model base")
    assert align_main(shlex.split(command)[4:]) == 0
    whole = pd.read_csv("aligned-pro_pairwise/trace.csv").iloc[-1]
    columns, rows = (next(s["table"] for s in report["sections"] if s["title"].startswith("Displacement"))[name]
                     for name in ("columns", "rows"))  # fmt: skip
    row = next(dict(zip(columns, row, strict=True)) for row in rows if row[0] == "pro_pairwise")
    piloted_parts, pasted_parts = parts
    assert whole["accuracy_n"] == len(piloted_parts[1].chosen) > 30
    for one, other in zip(piloted_parts, pasted_parts, strict=True):
        assert (one.chosen, one.rejected) == (other.chosen, other.rejected)
    done = json.loads(Path("aligned-pro_pairwise/alignment.json").read_text(encoding="utf-8"))
    assert (done["seed"], done["context"], done["held_out"]) == (3, CONTEXT - 1, 0.5000001)
    assert abs(float(row["accuracy [95 %]"].split(" [")[0]) - whole["accuracy"]) <= 2 * max(
        whole["accuracy_se"], 1 / 40
    )
    assert advise_main(words) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_class_too_rare_to_hold_out_leaves_the_pilot_out_and_nothing_else(base, tmp_path, capsys):
    rows = ({"prompt": f"w{2 + k} w{30 - k}", "completion": f" w{k + 3}", "label": k == 0} for k in range(24))
    words = ["--model", str(base), "--data", str(written(tmp_path, *rows)), "--out", str(tmp_path / "out")]
    assert advise_main(words) == 0
    assert "(held-out prompts) has no chosen examples" in capsys.readouterr().out
    sections = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["sections"]
    assert [len(section["findings"]) > 0 for section in sections] == [True] * 5
    assert next(f["value"] for f in sections[1]["findings"] if f["name"] == "pro_binary") > 1


def test_minutes_that_loading_took_leave_out_all_that_the_model_would_do(base, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pilot_module, "log_probabilities", None)  # no pass of the model once the time is over
    monkeypatch.setattr(advise_module, "log_probabilities", None)
    rows = ({"prompt": f"w{2 + k}", "chosen": f" w{k + 3}", "rejected": f" w{k + 9}"} for k in range(24))
    words = ["--model", str(base), "--data", str(written(tmp_path, *rows)), "--out", str(tmp_path / "out")]
    assert advise_main([*words, "--minutes", "5"], started=time.monotonic() - 300.0) == 0
    assert "the time was over before the first method" in capsys.readouterr().out
    sections = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["sections"]
    assert [section["title"] for section in sections][-2:] == ["Whose preferences?", "Displacement, measured"]


@pytest.mark.parametrize(("form", "methods"), [
    ("ranking", ["dpo", "nlhf"]),
    ("scores", ["pro_scalar", "rlhf"]),
])  # fmt: skip
def test_lists_and_scores_from_the_file_to_the_model(form, methods, base, tmp_path, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    lists = [
        [f" w{rng.integers(low, low + 9)} w{rng.integers(low, low + 9)}" for low in (2, 14, 28)] for _ in range(24)
    ]
    own = {"ranking": lambda some: {"ranking": some},
           "scores": lambda some: {"completions": some, "scores": [2.0, 1.0, -1.0]}}[form]  # fmt: skip
    data = written(tmp_path, *({"prompt": f"w{2 + k} w{30 - k}", **own(some)} for k, some in enumerate(lists)))
    monkeypatch.chdir(tmp_path)
    words = ["--model", "base", "--data", str(data), "--out", "report", "--methods", *methods, "--rates", "1e-2",
             "--epochs", {"ranking": "3", "scores": "12"}[form], "--answers", "4", "--answer-tokens", "4",
             "--held-out", "0.5"]  # fmt: skip
    assert advise_main(words) == 0
    report = {
        s["title"]: s for s in json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))["sections"]
    }
    found = {f["name"]: f for f in report["The data"]["findings"]}
    if form == "ranking":
        assert (found["lists"]["value"], found["listed"]["value"], found["chosen"]["value"]) == (24, 3, 72)
        assert (found["cut_training"]["value"], found["cut_held"]["value"]) == (36, 36)
    else:
        assert (found["chosen"]["value"], found["rejected"]["value"], found["cut_held"]["value"]) == (48, 24, 36)
    assert found["longest"]["value"] == 5
    assert [row[0] for row in report["Displacement, measured"]["table"]["rows"]] == methods
    accuracy = next(f for f in report["Recommendation"]["findings"] if f["name"] == "accuracy")
    assert accuracy["interval"][0] < accuracy["value"] <= accuracy["interval"][1] <= 1
    command = shlex.split(report["Recommendation"]["command"])
    assert command[5] in methods
    assert ("--listed" in command) is (command[5] == "rlhf")
    assert align_main(command[4:]) == 0
    assert "held-out prompts" in capsys.readouterr().out


def test_best_of_n_is_priced_by_a_reward(piloted_on_noise):
    net, _, pilot = piloted_on_noise
    low = lambda batch: [np.mean([2 <= t < 20 for t in text]) for text in batch.responses]
    best = max(pilot.tried, key=lambda run: run.chosen.mean())
    found = {f.name: f for f in selection(net, pilot, best, lambda: low, (0,))}
    rewards, own = (low(SimpleNamespace(responses=[e.completion for e in some])) for some in (best.written, pilot.own))
    assert found["gain"].value == pytest.approx(np.mean(rewards) - np.mean(own), abs=4 * found["gain"].error)
    assert "known" in found["explained"].text
    assert found["best_of_n"].claim == "B3"
    made = replace(best, written=tuple(replace(e, completion=(5, 25, 5)) for e in best.written))
    found = {f.name: f for f in selection(net, pilot, made, lambda: low, (0,))}
    n = found["best_of_n"].value
    assert 1 < n < 8
    assert 0.0 < found["tokens"].error < 0.2 * found["tokens"].value  # of a mean over all answers
    assert found["speculative"].value > 0
    short = replace(best, written=tuple(replace(e, completion=(5,)) for e in best.written))
    behind = {f.name: f for f in selection(net, pilot, short, lambda: low, (0,))}["best_of_n"]
    assert "falls short" in behind.text
    assert behind.value > 0
    with pytest.raises(ScorerError, match="returned nan for"):
        selection(net, pilot, best, lambda: lambda batch: [math.nan] * len(batch.responses), (0,))


def test_the_expected_best_of_a_few_is_that_of_all_choices():
    final = np.random.default_rng(0).normal(size=(3, 6))
    for n in (1, 2, 5, 6):
        exact = np.mean([final[:, list(some)].max(axis=1) for some in itertools.combinations(range(6), n)], axis=0)
        np.testing.assert_allclose(expected_best(final, n), exact)
