"""What training moves: the held-out split, measurements against loops over tokens, resuming, parts of the weights."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import beta, binomtest

from llm_validation.aligner.texts import Template, corrections_objective, read_corrections
from llm_validation.commands.align import align_main, trace_table
from llm_validation.model.model import load
from llm_validation.model.text_boundaries import TextBoundaries
from llm_validation.preferences.data import Example, Preferences
from llm_validation.preferences.report import report, told
from llm_validation.preferences.resume import Checkpoint
from llm_validation.preferences.sequences import CompletionForward, divergences, log_probabilities
from llm_validation.preferences.shown import accuracy_of, exact, interval_of, plus_minus, shown
from llm_validation.preferences.trace import Mean, Watch, answers, prompt_groups, put, split
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
    for share, held in ((0.01, 1), (0.5, 2), (0.99, 3)):  # of four prompts one at least is on each side
        train, rest = split(preferences(4), share, seed=0)
        assert len({e.prompt for e in rest.examples}) == held == 4 - len({e.prompt for e in train.examples})


def test_answers_to_one_question_are_on_one_side_and_count_as_one(tmp_path):
    """A corrector's texts differ by the answer that they hold, and what was asked is the same."""
    records = [
        {"prompt": f"w{2 + q}", "answer": f" w{20 + k}", "correction": " w9"} for q in range(6) for k in range(3)
    ]
    texts = TextBoundaries.of(word_tokenizer())
    data = read_corrections(written(tmp_path, *records), texts, Template.of(texts), CONTEXT)
    sides = [{e.prompt[0] for e in side.examples} for side in split(data, 0.5, seed=0)]
    assert [len(side) for side in sides] == [3, 3]
    assert not sides[0] & sides[1]
    groups = prompt_groups(data)
    assert groups is not None
    assert groups[0].tolist() == groups[1].tolist() == [q for q in range(6) for _ in range(3)]
    assert accuracy_of(Mean(1.0, 0.0, 18, 6), data) == "1.00 [0.54, 1.00] (95 %)"
    watch = Watch(data, (0,), answers=18, tokens=2)
    run = train_on_preferences(
        model(), data, corrections_objective(data, 1), FAST, watch=watch, context=CONTEXT
    )  # fmt: skip
    for name in ("chosen", "rejected", "off", "kl"):
        assert (getattr(run.trace[-1], name).n, getattr(run.trace[-1], name).groups) == (18, 6), name


@pytest.mark.parametrize("paired", [True, False])
def test_what_is_there_twice_is_judged_once(paired):
    """Copies of one pair have no spread, which is not an error of 0."""
    good, bad, other = (Example((3,), (word, 0), 1) for word in (4, 5, 6))

    def groups(chosen, rejected):
        found = prompt_groups(Preferences("toy", chosen, rejected, paired=paired))
        return found and tuple(side.tolist() for side in found)

    assert groups((good,), (bad,)) is None
    assert groups((good, other), (bad, bad)) == (None if paired else ([0, 1], [2, 2]))
    assert groups((good, good), (bad, bad)) == (([0, 0], [0, 0]) if paired else ([0, 0], [1, 1]))
    copies = prompt_groups(Preferences("toy", (good,) * 5, (bad,) * 5, paired=paired))
    assert copies is not None
    assert shown(Mean.of(np.full(5, 1.25), copies[0])) == "1.25"
    assert shown(Mean.sum(np.full(5, 1.25), np.full(5, 0.5), copies)) == "1.75"
    assert shown(Mean.of(np.array([1.0, 1.0, 2.0]), prompt_groups(Preferences(
        "toy", (good, good, other), (bad, bad, other), paired=True
    ))[0])) == "1.33 ± 0.44"  # fmt: skip


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
        )
    }
    ratios["kl"] = np.array([next_token_kl(net, base, e) for e in answers(net, WATCH, 0, "9", CONTEXT)])
    for name, values in ratios.items():
        found = getattr(run.trace[-1], name)
        assert found.value == pytest.approx(values.mean(), abs=1e-4)
        assert found.stderr == pytest.approx(values.std(ddof=1) / np.sqrt(values.size), abs=1e-4)
    assert run.trace[-1].accuracy.value == np.mean(ratios["chosen"] > ratios["rejected"])
    assert run.trace[-1].margin.value > 0.3, "words of the two classes are easy to tell apart"


def next_token_kl(net: torch.nn.Module, base: torch.nn.Module, example: Example) -> float:
    """KL of what may come next, a token after another: the oracle."""
    tokens, first = torch.tensor([example.prompt + example.completion]), len(example.prompt) - 1
    own, before = (torch.log_softmax(m(input_ids=tokens).logits[0, first:-1], -1) for m in (net, base))
    return torch.nn.functional.kl_div(before, own, log_target=True, reduction="sum").item()


def test_a_divergence_is_never_negative_and_its_mean_is_that_of_log_ratios():
    net, base = model(), model()
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(1.01)
    watch = replace(WATCH, held=preferences(80), answers=80)
    written = answers(net, watch, 0, "x", CONTEXT)
    forward = CompletionForward("rows", torch.device("cpu"))
    reference = partial(put, tuple(net.parameters()), tuple(base.parameters()))
    found = divergences(net, forward, written, 8, reference).numpy()
    ratios = (log_probabilities(net, forward, written, 8) - log_probabilities(base, forward, written, 8)).numpy()
    assert ratios.min() < 0 < found.min()
    gap = Mean.of(ratios - found)
    assert abs(gap.value) < 3 * gap.stderr
    assert Mean.of(found).stderr < 0.5 * Mean.of(ratios).stderr
    assert torch.equal(next(net.parameters()), next(base.parameters()) * 1.01), "the model is put back"


def test_watching_changes_no_step():
    prompt = (3,) * max(map(len, TRAIN.examples))  # as long as the longest text that is trained on: answers have room
    long = Preferences("long", (Example(prompt, (4, 0), 1),), (Example(prompt, (5, 0), 1),), paired=True)
    every = (None, WATCH, replace(WATCH, held=long))
    plain, *watched = (train_on_preferences(model(), TRAIN, "dpo", FAST, watch=w) for w in every)
    assert all((plain.loss == run.loss).all() for run in watched)


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
        ("lora:99", "the model is 32 wide, and no layer has a larger rank"),
    ],
)
def test_a_part_that_is_not_there_is_refused(what, said):
    with pytest.raises(ValueError, match=said):
        choose_part(model(), what, seed=0)


def test_the_report_names_what_fell_and_the_claim():
    trace = train_on_preferences(model(), TRAIN, "dpo", FAST, watch=WATCH).trace
    fallen = replace(trace[-1], chosen=Mean(-14.0, 0.5, 5), rejected=Mean(-31.0, 0.6, 5))
    said = "\n".join(report([trace[0], fallen], "dpo", {}, TRAIN, HELD))
    assert "chosen fell by 14.00 ± 0.50 nats, rejected fell by 31.00 ± 0.60 nats" in said
    assert "does not determine where they end (claim P5)" in said
    assert "on 11 of 11 prompts some responses win every comparison" in said
    noise = replace(trace[-1], chosen=Mean(-0.1, 0.5, 5))
    assert (
        "chosen cannot be told from where it was (-0.10 ± 0.50 nats)"
        in report([trace[0], noise], "dpo", {}, TRAIN, HELD)[0]
    )
    assert "does not determine" not in "".join(report([trace[0], noise], "dpo", {}, TRAIN, HELD))
    two = replace(trace[-1], chosen=Mean(-1.0, 0.1, 2), rejected=Mean(-1.0, 0.1, 9))
    assert "chosen cannot be told" in report([trace[0], two], "dpo", {}, TRAIN, HELD)[0], "ten errors, of two values"
    assert "rejected fell by 1.00 ± 0.10" in report([trace[0], two], "dpo", {}, TRAIN, HELD)[0]
    pro = report(trace, "pro_pairwise", {"alpha": 1.0}, TRAIN, HELD)[-1]
    assert pro == "alpha = 1 is not above the threshold 1.125: no policy is optimal (claim P7)"


@pytest.mark.parametrize(("prompts", "each"), [(2, 15), (3, 15), (8, 10)])
def test_one_time_in_a_hundred_chance_is_told_from_nothing_whatever_shares_a_prompt(prompts, each):
    """The error is of so many prompts, and so are its degrees of freedom."""
    rng, groups = np.random.default_rng(prompts), np.repeat(np.arange(prompts), each)
    values = rng.normal(size=(4000, prompts))[:, groups] + 0.3 * rng.normal(size=(4000, prompts * each))
    assert np.mean([told(Mean.of(row, groups)) for row in values]) < 0.017
    assert Mean.of(values[0], groups).dof == prompts - 1
    assert Mean.of(values[0]).dof == prompts * each - 1


def test_what_a_side_of_one_prompt_varies_by_is_not_known():
    side = np.array([0.1, 0.4, 0.7])
    assert math.isnan(Mean.sum(side, side, (np.array([0, 1, 2]), np.zeros(3, int))).stderr)
    known = Mean.sum(side, side, (np.array([0, 1, 2]), np.array([3, 4, 5])))
    assert known.stderr > 0.0
    assert known.dof == 2, "as of three and three that share no prompt"
    assert known.dof == Mean.sum(side, side).dof


def test_the_command_writes_trace_and_report_and_goes_on(base, tmp_path, capsys):
    records = [{"prompt": f"w{i}", "chosen": " w4", "rejected": " w5 w6"} for i in range(2, 14)]
    common = ["--method", "dpo", "--model", str(base), "--data", str(written(tmp_path, *records)),
              "--rate", "1e-3", "--batch", "4", "--held-out", "0.25", "--train", "lora:2", "--answers", "3",
              "--answer-tokens", "4", "--keep-every", "1"]  # fmt: skip
    assert align_main([*common, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "3 and 3 examples" in said
    assert (tmp_path / "out" / "report.txt").read_text(encoding="utf-8").splitlines()[0] in said
    table = pd.read_csv(tmp_path / "out" / "trace.csv")
    assert list(table["step"]) == [0, 1, 2, 3]
    assert table["chosen"].notna().all()
    assert table["loss"].isna().tolist() == [False, False, False, True]
    assert json.loads((tmp_path / "out" / "alignment.json").read_text(encoding="utf-8"))["train"] == "lora:2"
    assert not (tmp_path / ".out.run").exists()
    assert load(tmp_path / "out").model.config.num_hidden_layers == 2
    Checkpoint(tmp_path / ".new.run", {"method": "kto"}).folder.mkdir()
    (tmp_path / ".new.run" / "state.json").write_text(json.dumps({"settings": {"method": "kto"}, "losses": [1]}))
    assert align_main([*common, "--out", str(tmp_path / "new")]) == 2
    assert "holds a run with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (0.98765, 0.01234, "0.988 ± 0.012"), (-14.04, 0.5, "-14.04 ± 0.50"), (99.96, 0.0999, "99.96 ± 0.10"),
        (1234567.0, 9951.0, "1235000 ± 10000"), (1.43e-7, 5.7e-8, "(14.3 ± 5.7)e-8"), (-0.0001, 0.3, "0.00 ± 0.30"),
        (2.0, 0.0, "2 ± 0"),
        (1 / 3, 1.4e-17, "0.3333 ± 0"), (0.0, 0.0, "0 ± 0"), (0.5, 2.13e-8, "0.500000000 ± 0.000000021"),
        (1 / 3, math.nan, "0.3333"), (math.inf, 0.0, "inf"),
    ],
)  # fmt: skip
def test_no_digit_is_printed_that_the_error_does_not_carry(value, error, said):
    assert plus_minus(value, error) == said


def test_a_number_without_an_error_has_no_sign_of_zero():
    assert [exact(value) for value in (-0.0, 3.0, -2.0, 0.123456)] == ["0", "3", "-2", "0.1235"]


def test_the_interval_of_a_share_is_honest_at_its_ends():
    for yes, n in ((0, 40), (40, 40), (33, 40), (1, 1)):
        found = interval_of(Mean.of(np.repeat([1.0, 0.0], [yes, n - yes])), n)
        assert found == pytest.approx(tuple(binomtest(yes, n).proportion_ci()), abs=1e-9)
    # an error twice that of 40 independent ones is that of (40 − 1)/4 + 1 of them, 3/4 yes
    found = interval_of(Mean(0.75, 2.0 * math.sqrt(0.75 * 0.25 / 39), 40), 40)
    assert found == pytest.approx((beta.ppf(0.025, 8.0625, 3.6875), beta.ppf(0.975, 9.0625, 2.6875)))
    rng, groups, inside = np.random.default_rng(0), np.repeat(np.arange(30), 6), 0
    for _ in range(300):  # every prompt six times over: thirty count, not 180
        values = np.repeat(rng.random(30) < 0.95, 6).astype(float)
        low, high = interval_of(Mean.of(values, groups), 30)
        inside += low <= 0.95 <= high
    assert inside >= 280
