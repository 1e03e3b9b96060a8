"""Training on preferences: every loss, shifts, sharing, repeatability, guards, and the command."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from llm_validation import losses
from llm_validation.commands.align import align_main
from llm_validation.model.model import load, save
from llm_validation.model.text_boundaries import TextBoundaries
from llm_validation.preferences.data import Preferences, epoch_batches, mismatched, read_preferences
from llm_validation.preferences.train import PreferenceTraining, train_on_preferences, trainable
from llm_validation.training.loop import TrainingDiverged
from tests.oracles.toy_preferences import CONTEXT, PAIR, model, naive, preferences, word_tokenizer, written

FAST = PreferenceTraining(seed=0, epochs=3, batch=4, rate=3e-3)


# --- training ---------------------------------------------------------------------------------------------------------

AT_START = {
    "dpo": np.log(2.0),
    "pro_pairwise": 0.0,
    "kto": 1.0,
    "bco": 2 * np.log(2.0),
    "kldo": 0.0,
    "fdo": np.exp(-1.0),
    "ddro": 2 * np.log(2.0),
    "rdro": 2 * np.log(2.0),
    "pro_binary": 0.0,
    "pro_scalar": 0.0,
    "ipo": 25.0,  # the square of the margin 1/(2·0.1)
    "nlhf": 12.5,  # half the square of the margin (1 − ½)/0.1
}


def test_the_values_at_the_start_cover_all_losses():
    assert set(AT_START) == set(trainable())


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("name", AT_START)
def test_every_loss_starts_at_its_value_and_falls(name, paired):
    data = replace(preferences(8), paired=paired)
    if not paired and (name == "nlhf" or losses.LOSSES[name].feedback == "pairs"):
        with pytest.raises(ValueError, match=f"{name} needs pairs"):
            train_on_preferences(model(), data, name, FAST)
        return
    config = replace(FAST, batch=8 if paired else 16)
    run = train_on_preferences(model(), data, name, config)
    assert run.loss[0] == pytest.approx(AT_START[name], abs=1e-4)
    assert (np.diff(run.loss) < 0).all()
    assert run.layout == ("shared" if paired and name not in ("pro_scalar", "nlhf") else "rows")
    if paired:
        read = sum(len(e.prompt + e.completion) for e in data.examples)
        assert run.tokens_per_second * run.seconds == pytest.approx(FAST.epochs * read)


def test_sharing_prompts_changes_nothing_but_time():
    runs = [train_on_preferences(model(), preferences(), "dpo", replace(FAST, share=share)) for share in (True, False)]
    assert [run.layout for run in runs] == ["shared", "rows"]
    assert runs[0].loss == pytest.approx(runs[1].loss, abs=1e-4)


def test_dropout_is_off():
    net = model().train()
    for layer in net.model.layers:
        layer.self_attn.attention_dropout = 0.5
    run = train_on_preferences(net, preferences(), "dpo", FAST)
    assert run.loss[0] == pytest.approx(np.log(2.0), abs=1e-5)


def test_two_runs_are_the_same_to_the_bit():
    nets = [model(), model()]
    runs = [train_on_preferences(net, preferences(), "kto", FAST) for net in nets]
    assert (runs[0].loss == runs[1].loss).all()
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(next(nets[0].parameters()), next(model().parameters()))


@pytest.mark.parametrize(("name", "paired"), [("dpo", True), ("kldo", True), ("kto", False), ("bco", False)])
def test_portions_change_nothing_but_memory(name, paired):
    """Portions of three, where the last is smaller and classes meet in one; two steps, so that weights are seen too."""
    data = replace(preferences(8), paired=paired)
    config = replace(FAST, batch=8 if paired else 16, epochs=2)
    whole, few = (train_on_preferences(model(), data, name, replace(config, portion=n)) for n in (None, 3))
    assert few.loss == pytest.approx(whole.loss, abs=1e-5)
    assert few.grad_norm == pytest.approx(whole.grad_norm, rel=1e-4)
    assert abs(whole.loss[1] - whole.loss[0]) > 1e-4


def test_one_chosen_among_two_hundred():
    """1 : 199 in portions of 16: each class has its mean, whatever their sizes."""
    pool = preferences(8)
    data = Preferences("toy", pool.chosen[:1], pool.rejected[:8] * 25, paired=False)
    with pytest.raises(ValueError, match="batches of 201 or more"):
        train_on_preferences(model(), data, "kto", replace(FAST, batch=16))
    run = train_on_preferences(model(), data, "kto", replace(FAST, batch=201, portion=16, epochs=2))
    assert run.loss[0] == pytest.approx(1.0, abs=1e-4)
    assert run.loss[1] < run.loss[0]


def test_class_weights_are_those_of_the_option():
    data = replace(preferences(4), paired=False)
    run = train_on_preferences(model(), data, "kto", replace(FAST, batch=8, class_weights=(3.0, 0.5)))
    assert run.loss[0] == pytest.approx(0.5 * (3.0 + 0.5), abs=1e-4)
    for name in ("kldo", "dpo"):
        with pytest.raises(ValueError, match=f"class_weights: {name} has no weights of its classes"):
            train_on_preferences(model(), preferences(4), name, replace(FAST, class_weights=(3.0, 0.5)))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("dpo", {"kl_beta": 0.0}, "kl_beta = 0.0 must be positive and finite"),
        ("rdro", {"alpha": 2.0}, r"alpha = 2.0 must be in \[0, 1\)"),
        ("pro_pairwise", {"alpha": 9 / 8}, "at or below 9/8"),
    ],
)
def test_options_that_mean_nothing_are_refused(name, options, said):
    with pytest.raises(ValueError, match=said):
        train_on_preferences(model(), preferences(4), name, FAST, options=options)


def test_below_the_threshold_only_anyway():
    config = replace(FAST, anyway=True, epochs=1)
    run = train_on_preferences(model(), preferences(4), "pro_pairwise", config, options={"alpha": 1.0})
    assert np.isfinite(run.loss).all()


@pytest.mark.parametrize("name", ["kto", "bco"])
def test_the_shift_is_what_the_public_trainers_take(name):
    """Two batches of the same examples: the second loss by hand, from the weights after the first."""
    pool, beta = preferences(6), 0.5  # mostly chosen ones, or z₀ would be clamped at 0
    data = Preferences("toy", pool.chosen, pool.rejected[:2], paired=False)
    config = PreferenceTraining(seed=0, epochs=2, batch=8, rate=3e-3, warmup=0.0)
    two = train_on_preferences(model(), data, name, config, options={"kl_beta": beta})
    net = model()

    def stop(step: int, steps: int, loss: float) -> None:
        raise StopIteration

    with pytest.raises(StopIteration):
        train_on_preferences(net, data, name, config, options={"kl_beta": beta}, on_step=stop)

    def ratios(examples) -> torch.Tensor:
        return torch.stack([naive(net, e) - naive(reference, e) for e in examples]).detach()

    reference = model()
    w, x = ratios(data.chosen), ratios(data.rejected)
    if name == "kto":
        longest = max(map(len, data.examples))
        shift = beta * max(0.0, float(ratios(mismatched(data, longest, 0)).mean()))
    else:  # the mean of the zeros of the first batch and the rewards of the second
        shift = 0.5 * beta * float(torch.cat([w, x]).mean())
    zeros = torch.zeros(6), torch.zeros(2)
    expected = getattr(losses, name)(w, x, *zeros, kl_beta=beta, chosen_shift=shift, rejected_shift=shift)
    assert shift != 0.0
    assert two.loss[1] == pytest.approx(float(expected), abs=3e-5)
    unshifted = train_on_preferences(model(), data, name, replace(config, shift="zero"), options={"kl_beta": beta})
    assert abs(two.loss[1] - unshifted.loss[1]) > 3e-4


def test_shifts_by_option_take_the_place_of_estimates():
    given = train_on_preferences(model(), preferences(), "kto", FAST, options={"chosen_shift": 0.0})
    zero = train_on_preferences(model(), preferences(), "kto", replace(FAST, shift="zero"))
    assert (given.loss == zero.loss).all()


def test_a_function_is_a_loss_too():
    def hinge(policy_chosen, policy_rejected, reference_chosen, reference_rejected, *, margin=1.0):
        gap = (policy_chosen - reference_chosen) - (policy_rejected - reference_rejected)
        return torch.relu(margin - gap).mean()

    run = train_on_preferences(model(), preferences(), hinge, FAST, options={"margin": 2.0})
    assert run.loss[0] == pytest.approx(2.0, abs=1e-4)
    assert run.loss[-1] < 1.0


def test_what_cannot_be_trained_is_said_before():
    net, data = model(), preferences()
    before = [parameter.clone() for parameter in net.parameters()]
    for arguments, message in (
        (("ppo", FAST), "no loss 'ppo'"),
        (("pro_scalar", FAST, {"beta": 0.1}), "pro_scalar has no option 'beta'; it has alpha, hyper, kl_beta"),
        (("pro_binary", FAST, {"alpha": 1.0}), "alpha = 1 for pro_binary: no policy is optimal at or below 1"),
        (("pro_scalar", FAST, {"alpha": 0.37}), "alpha = 0.37 for pro_scalar: no policy is optimal at or below 0.375"),
        (("dpo", FAST, {"beta": 0.1}), "dpo has no option 'beta'; it has kl_beta, weight"),
        (("dpo", replace(FAST, shift="mismatched")), "dpo has no shift"),
        (("kto", replace(FAST, shift="running_mean"), {"chosen_shift": 1.0}), "kto has shifts by option"),
        (("dpo", replace(FAST, batch=0)), "batch = 0"),
    ):
        with pytest.raises(ValueError, match=message):
            train_on_preferences(net, data, *arguments[:2], options=dict(*arguments[2:]))
    with pytest.raises(ValueError, match="has no chosen examples"):
        Preferences("toy", (), data.rejected, paired=False)
    with pytest.raises(ValueError, match="rate = 0"):
        replace(FAST, rate=0.0)
    assert all(torch.equal(one, other) for one, other in zip(before, net.parameters(), strict=True))


def test_a_loss_that_is_no_number_stops_the_run():
    net, data, calls = model(), preferences(), []

    def fails(policy_chosen, policy_rejected, reference_chosen, reference_rejected):
        calls.append([parameter.detach().clone() for parameter in net.parameters()])
        return (policy_chosen - policy_rejected).mean() * (np.nan if len(calls) == 3 else 1.0)

    rows = epoch_batches(data, 4, 0, 0)[2][0]
    lines = ", ".join(f"line {i + 1}" for i in rows)
    with pytest.raises(TrainingDiverged, match=f"step 2 of 9 has loss nan.*chosen of {lines}, rejected of line "):
        train_on_preferences(net, data, fails, FAST)
    assert all(torch.equal(one, other) for one, other in zip(calls[2], net.parameters(), strict=True))


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_trains_and_writes_a_model(tmp_path, capsys):
    tokenizer = word_tokenizer()
    save(model(), tokenizer, tmp_path / "base")
    records = [{**PAIR, "prompt": f"w{i}"} for i in range(2, 10)]
    data = written(tmp_path, *records)
    arguments = ["--model", str(tmp_path / "base"), "--data", str(data), "--out", str(tmp_path / "out")]
    more = ["--epochs", "2", "--batch", "4", "--rate", "1e-3", "--kl-beta", "0.5"]
    assert align_main(["--method", "dpo", *arguments, *more]) == 0
    assert "dpo: loss 0.6931 at the first step" in capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "alignment.json").read_text(encoding="utf-8"))
    assert record["options"] == {"kl_beta": 0.5}
    assert len(record["loss"]) == 4
    trained = load(tmp_path / "out").model
    pair = read_preferences(data, TextBoundaries.of(tokenizer), CONTEXT)
    gap = [naive(net, pair.chosen[0]) - naive(net, pair.rejected[0]) for net in (trained, model())]
    assert gap[0] > gap[1]
    assert align_main(["--method", "dpo", *arguments]) == 2
    assert "exists already" in capsys.readouterr().err
    assert align_main(["--method", "dpo", *arguments[:-1], str(tmp_path / "new"), "--context", "99"]) == 2
    assert "--context 99 is more than the 32 positions" in capsys.readouterr().err
    assert align_main(["--method", "dpo", *arguments[:-1], str(tmp_path / "new"), "--alpha", "1"]) == 2
    assert "dpo has no option 'alpha'" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
