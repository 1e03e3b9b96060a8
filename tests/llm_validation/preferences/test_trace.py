"""What training moves: the held-out split, measurements against loops over tokens, resuming, parts of the weights."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from llm_validation.commands.align import align_main, trace_table
from llm_validation.model.model import load, save
from llm_validation.preferences.report import report
from llm_validation.preferences.resume import Checkpoint
from llm_validation.preferences.trace import Mean, Watch, answers, split
from llm_validation.preferences.train import PreferenceTraining, train_on_preferences
from llm_validation.training.parts import choose_part
from tests.oracles.toy_preferences import CONTEXT, model, naive, preferences, word_tokenizer, written

FAST = PreferenceTraining(seed=0, epochs=3, batch=4, rate=3e-3)
TRAIN, HELD = split(preferences(16), 0.3, seed=0)
WATCH = Watch(HELD, (0,), every=3, answers=4, tokens=6)


def test_no_prompt_is_on_both_sides():
    prompts = [{e.prompt for e in side.examples} for side in (TRAIN, HELD)]
    assert not prompts[0] & prompts[1]
    assert (len(TRAIN.chosen), len(HELD.chosen)) == (11, 5)
    with pytest.raises(ValueError, match="all examples have one prompt"):
        split(preferences(1), 0.5, seed=0)
    with pytest.raises(ValueError, match=r"held_out = 1.0 must be in \(0, 1\)"):
        split(preferences(4), 1.0, seed=0)


def test_the_trace_is_what_a_loop_over_tokens_says():
    net, base = model(), model()
    run = train_on_preferences(net, TRAIN, "dpo", FAST, watch=WATCH, context=CONTEXT)
    assert [moved.step for moved in run.trace] == [0, 3, 6, 9]
    for name in ("chosen", "rejected", "off", "margin", "kl"):
        assert getattr(run.trace[0], name).value == pytest.approx(0.0, abs=1e-5)
    ratios = {
        name: np.array([(naive(net, e) - naive(base, e)).item() for e in examples])
        for name, examples in (
            ("chosen", HELD.chosen),
            ("rejected", HELD.rejected),
            ("off", answers(base, WATCH, 0, "reference", CONTEXT)),
            ("kl", answers(net, WATCH, 0, "9", CONTEXT)),
        )
    }
    for name, values in ratios.items():
        found = getattr(run.trace[-1], name)
        assert found.value == pytest.approx(values.mean(), abs=1e-4)
        assert found.stderr == pytest.approx(values.std(ddof=1) / np.sqrt(values.size), abs=1e-4)
    assert run.trace[-1].accuracy.value == np.mean(ratios["chosen"] > ratios["rejected"])
    assert run.trace[-1].margin.value > 0.3, "words of the two classes are easy to tell apart"


def test_watching_changes_no_step():
    plain, watched = (train_on_preferences(model(), TRAIN, "dpo", FAST, watch=w) for w in (None, WATCH))
    assert (plain.loss == watched.loss).all()


@pytest.mark.parametrize("name", ["dpo", "bco"])
def test_a_killed_run_goes_on_to_the_same_rows(name, tmp_path):
    kept = Checkpoint(tmp_path / "run", {"method": name}, every=2)
    whole = train_on_preferences(model(), TRAIN, name, replace(FAST, batch=8), watch=WATCH)

    def kill(step: int, steps: int, loss: float) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_on_preferences(model(), TRAIN, name, replace(FAST, batch=8), watch=WATCH, checkpoint=kept, on_step=kill)
    assert kept.check() == 4
    steps: list[int] = []
    again = train_on_preferences(
        model(), TRAIN, name, replace(FAST, batch=8), watch=WATCH, checkpoint=kept,
        on_step=lambda step, *_: steps.append(step),
    )  # fmt: skip
    assert steps[0] == 4
    pd.testing.assert_frame_equal(trace_table(again), trace_table(whole), check_exact=True)
    with pytest.raises(ValueError, match=r"holds a run with method = '.*', and this one has 'kto'"):
        replace(kept, settings={"method": "kto"}).check()


@pytest.mark.parametrize("part", ["top:1", "lora:2"])
def test_only_the_part_is_trained(part):
    net, base = model(), dict(model().named_parameters())
    merge = choose_part(net, part, seed=0)
    run = train_on_preferences(net, TRAIN, "dpo", replace(FAST, rate=1e-2), watch=WATCH)
    before = naive(net, HELD.chosen[0]).item()
    merge()
    assert naive(net, HELD.chosen[0]).item() == pytest.approx(before, abs=1e-4)
    assert run.trace[0].chosen.value == pytest.approx(0.0, abs=1e-5)
    assert run.loss[-1] < 0.66
    moved = {name for name, weight in net.named_parameters() if not torch.equal(weight, base[name])}
    assert net.state_dict().keys() == model().state_dict().keys()
    if part == "top:1":
        assert moved == {name for name in base if name.startswith("model.layers.1.")}
    else:
        assert moved == {name for name in base if name.endswith("_proj.weight")}
        name = "model.layers.0.self_attn.q_proj.weight"
        change = dict(net.named_parameters())[name] - base[name]
        assert torch.linalg.matrix_rank(change, rtol=1e-5) == 2


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("top:0", "must be all, top:K or lora:R"),
        ("half", "must be all, top:K or lora:R"),
        ("top:9", "the model has 2 blocks"),
    ],
)
def test_a_part_that_is_not_there_is_refused(what, said):
    with pytest.raises(ValueError, match=said):
        choose_part(model(), what, seed=0)


def test_the_report_names_what_fell_and_the_claim():
    trace = train_on_preferences(model(), TRAIN, "dpo", FAST, watch=WATCH).trace
    fallen = replace(trace[-1], chosen=Mean(-14.0, 0.5, 5), rejected=Mean(-31.0, 0.6, 5))
    said = "\n".join(report([trace[0], fallen], "dpo", {}, TRAIN, HELD))
    assert "chosen fell by 14 ± 0.5 nats, rejected fell by 31 ± 0.6 nats" in said
    assert "does not determine where they end (claim P5)" in said
    assert "on 11 of 11 prompts some responses win every comparison" in said
    noise = replace(trace[-1], chosen=Mean(-0.1, 0.5, 5))
    assert (
        "chosen cannot be told from where it was (-0.1 ± 0.5 nats)"
        in report([trace[0], noise], "dpo", {}, TRAIN, HELD)[0]
    )
    assert "does not determine" not in "".join(report([trace[0], noise], "dpo", {}, TRAIN, HELD))
    pro = report(trace, "pro_pairwise", {"alpha": 1.0}, TRAIN, HELD)[-1]
    assert pro == "alpha = 1 is not above the threshold 1.125: no policy is optimal (claim P7)"


def test_the_command_writes_trace_and_report_and_goes_on(tmp_path, capsys):
    save(model(), word_tokenizer(), tmp_path / "base")
    records = [{"prompt": f"w{i}", "chosen": " w4", "rejected": " w5 w6"} for i in range(2, 14)]
    common = ["--method", "dpo", "--model", str(tmp_path / "base"), "--data", str(written(tmp_path, *records)),
              "--rate", "1e-3", "--batch", "4", "--held-out", "0.25", "--train", "lora:2", "--answers", "3",
              "--answer-tokens", "4", "--keep-every", "1"]  # fmt: skip
    assert align_main([*common, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "3 and 3 examples" in said
    assert (tmp_path / "out" / "report.txt").read_text().splitlines()[0] in said
    table = pd.read_csv(tmp_path / "out" / "trace.csv")
    assert list(table["step"]) == [0, 1, 2, 3]
    assert table["chosen"].notna().all()
    assert table["loss"].isna().tolist() == [False, False, False, True]
    assert json.loads((tmp_path / "out" / "alignment.json").read_text())["train"] == "lora:2"
    assert not (tmp_path / ".out.run").exists()
    assert load(tmp_path / "out").model.config.num_hidden_layers == 2
    Checkpoint(tmp_path / ".new.run", {"method": "kto"}).folder.mkdir()
    (tmp_path / ".new.run" / "state.json").write_text(json.dumps({"settings": {"method": "kto"}, "losses": [1]}))
    assert align_main([*common, "--out", str(tmp_path / "new")]) == 2
    assert "holds a run with" in capsys.readouterr().err
