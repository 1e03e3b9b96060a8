"""RLHF and the Aligner as commands, correcting, and what generate asks, stops at and goes on from."""

from __future__ import annotations

import fcntl
import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from llm_validation.__main__ import main
from llm_validation.aligner.texts import Template
from llm_validation.commands import generate as generate_module
from llm_validation.commands.align import align_main
from llm_validation.commands.correct import correct_main
from llm_validation.commands.generate import generate_main
from llm_validation.commands.lines import Lines
from llm_validation.generation.decode import Sampling
from llm_validation.generation.pilot import scored_rows
from llm_validation.generation.quantiles import sample
from llm_validation.generation.stops import StopStrings
from llm_validation.model.model import load, save
from llm_validation.model.text_boundaries import TextBoundaries
from llm_validation.preferences import policy_gradient
from llm_validation.preferences.data import read_preferences
from llm_validation.preferences.policy_gradient import PolicyGradient, Sampled, advantages
from llm_validation.preferences.sequences import CompletionForward
from llm_validation.rewards.model import RewardTraining
from llm_validation.rewards.sources import Classifier, Texts, checked, scorer_of
from tests.oracles.toy_preferences import CONTEXT, PAIRS, WORDS, killed_at, model, preferences, word_tokenizer, written

CHAT = (
    "{% for m in messages %}{{ 'w9' if m['role'] == 'assistant' else 'w8' }} {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}w9 {% endif %}"
)


def align(base, tmp_path, method, *more, out="out", records=PAIRS) -> int:
    where = ["--model", str(base), "--data", str(written(tmp_path, *records)), "--out", str(tmp_path / out)]
    words = ["--method", method, *where, "--batch", "4", "--rate", "3e-3", "--answers", "4", "--answer-tokens", "5"]
    return align_main([*words, *more])


# RLHF


def test_the_policy_gradient_is_that_of_the_program():
    """All answers of two tokens, summed: the mean of many sampled gradients tends to the derivative of the program."""
    net, base_ = model(), model()
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(3.0)  # so far from the reference that the penalty is felt as much as the reward
    prompt, beta, words = (3, 5), 1.0, range(WORDS)
    worth = lambda text: float(text[0] % 3) + (1.5 if text[-1] > 20 else 0.0)
    logs = torch.log_softmax(net(input_ids=torch.tensor([prompt])).logits[0, -1], -1)
    before = torch.log_softmax(base_(input_ids=torch.tensor([prompt])).logits[0, -1], -1).detach()
    value = (logs.exp() * (torch.tensor([worth((w,)) for w in words]) - beta * (logs - before))).sum()
    weight = net.get_parameter("model.layers.1.mlp.down_proj.weight")
    exact = torch.autograd.grad(-value, weight)[0]
    how = Sampled(ends=(), kl_beta=beta, k=400, tokens=1)
    scorer = lambda batch: [worth(text) for text in batch.responses]
    weights = tuple(weight.detach().clone() for weight in base_.parameters())
    gradient = PolicyGradient(
        net, CompletionForward("rows", torch.device("cpu")), [prompt], scorer, how, 0, 400, weights
    )
    sums = []
    for step in range(12):
        net.zero_grad()
        loss = gradient(step, np.array([0]))
        sums.append(weight.grad.clone())
    found = torch.stack(sums)
    error = found.std(0) / len(sums) ** 0.5
    off = ((found.mean(0) - exact) / error.clamp(min=1e-9)).flatten()
    assert float(off.square().mean().sqrt()) < 2.0, "errors of a t statistic of 11 degrees"
    along = torch.nn.functional.cosine_similarity(found.mean(0).flatten(), exact.flatten(), dim=0)
    assert float(along) > 0.97
    assert float(loss) == pytest.approx(-value.item(), abs=0.25)
    assert gradient.count == 12 * 400 * 3


def test_advantages_leave_the_row_itself_out():
    net = torch.tensor([[1.0, 2.0, 6.0]])
    assert advantages(net)[0].tolist() == pytest.approx([1 - 4, 2 - 3.5, 6 - 1.5])
    with pytest.raises(ValueError, match="k = 1 answers"):
        Sampled((0,), k=1)


def test_a_reward_model_that_tells_nothing_is_right_half_of_the_time(monkeypatch):
    flat = SimpleNamespace(model=SimpleNamespace(last_scores=lambda texts: np.zeros(len(texts))))
    monkeypatch.setattr(policy_gradient, "train_reward_model", lambda *_: flat)
    _, accuracy = policy_gradient.fit_reward(None, preferences(4), preferences(6), RewardTraining(), seed=0)
    assert (accuracy.value, accuracy.n) == (0.5, 6)


def test_rlhf_raises_its_reward_and_goes_on_after_a_kill(base, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "low.py").write_text(
        "def words(prompts, responses):\n    return [sum(int(w[1:]) < 20 for w in r.split()) for r in responses]\n"
    )
    words = ["--reward", "low:words", "--epochs", "6", "--kl-beta", "0.05", "--samples", "6", "--keep-every", "3"]
    assert align(base, tmp_path, "rlhf", *words, out="whole") == 0
    said = (tmp_path / "whole" / "report.txt").read_text(encoding="utf-8")
    assert "the reward low:words gives the model's answers to 2 held-out prompts" in said
    loss = json.loads((tmp_path / "whole" / "alignment.json").read_text(encoding="utf-8"))["loss"]
    assert np.mean(loss[-5:]) < np.mean(loss[:5]) - 0.4

    from llm_validation.preferences.policy_gradient import PolicyGradient as Gradient

    real, calls = Gradient.__call__, itertools.count()

    def killed(self, step, rows):
        if next(calls) == 10:
            raise KeyboardInterrupt
        return real(self, step, rows)

    monkeypatch.setattr(Gradient, "__call__", killed)
    with pytest.raises(KeyboardInterrupt):
        align(base, tmp_path, "rlhf", *words)
    monkeypatch.setattr(Gradient, "__call__", real)
    assert align(base, tmp_path, "rlhf", *words) == 0
    for name in ("trace.csv", "report.txt"):
        assert (tmp_path / "out" / name).read_text(encoding="utf-8") == (tmp_path / "whole" / name).read_text(
            encoding="utf-8"
        )


def test_rlhf_trains_a_reward_model_that_generate_reads(base, tmp_path, capsys):
    assert align(base, tmp_path, "rlhf", "--reward-rate", "3e-3", "--reward-epochs", "8") == 0
    assert "right on 1.00 [0.16, 1.00] (95 %) of 2 held-out pairs" in (tmp_path / "out" / "report.txt").read_text(
        encoding="utf-8"
    )
    reward = load(tmp_path / "out") and tmp_path / "out" / "reward"
    (tmp_path / "prompts.txt").write_text("w2 w3\n")
    words = ["--model", str(base), "--prompts", str(tmp_path / "prompts.txt"), "--tokens", "4", "--n", "3"]
    assert generate_main([*words, "--reward", str(reward), "--allow-unfinished"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["response"]["reward"] != 0.0
    assert not list(tmp_path.glob(".out*")), "nothing is left beside the run"


@pytest.mark.parametrize(("method", "words", "said"), [
    ("dpo", ["--warm-up", "3"], "--warm-up is of --method aligner, not of dpo"),
    ("rlhf", ["--samples", "1"], "k = 1 answers"),
    ("rlhf", ["--samples", "3", "--listed"], "with --listed none is"),
    ("rlhf", ["--alpha", "2"], "rlhf has no option 'alpha'; it has kl_beta"),
    ("rlhf", ["--reward", "nowhere:f"], "module 'nowhere' cannot be imported: ModuleNotFoundError"),
    ("aligner", ["--kl-beta", "2"], "aligner has no option 'kl_beta'"),
    ("aligner", ["--template", "{prompt}"], "must hold {answer} once"),
])  # fmt: skip
def test_options_of_a_method(method, words, said, base, tmp_path, capsys):
    assert align(base, tmp_path, method, *words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["reward-rate", "reward-epochs"])
def test_a_reward_model_that_scores_do_not_need_has_no_options(name, base, tmp_path, capsys):
    scores = [{"prompt": "w2 w3", "completions": [" w4", " w5"], "scores": [1.0, 0.0]}]
    words = ["--listed", "--held-out", "0", f"--{name}", "3"]
    assert align(base, tmp_path, "rlhf", *words, records=scores) == 2
    assert f"--{name} trains a reward model of pairs, and with --listed the scores of" in capsys.readouterr().err
    assert align(base, tmp_path, "rlhf", *words[1:3], records=scores) == 2
    said = capsys.readouterr().err
    assert "has labels or scores, and a reward model learns from pairs: --listed" in said
    assert "a reward model of" not in said, "before anything is trained"
    assert align(base, tmp_path, "rlhf", *words[:3], records=scores) == 0


# Aligner


def test_a_corrector_copies_first_then_corrects_and_correct_stacks_it(base, tmp_path, capsys):
    """Every answer " w30" is corrected to " w4", whatever the prompt."""
    records = [{"prompt": f"w{i} w{i + 1}", "answer": " w30", "correction": " w4"} for i in range(2, 22)]
    words = ["--template", "{prompt}{answer} w2", "--epochs", "30", "--warm-up", "40", "--trace-every", "40"]
    assert align(base, tmp_path, "aligner", *words, records=records) == 0
    trace = [row.split(",") for row in (tmp_path / "out" / "trace.csv").read_text(encoding="utf-8").splitlines()]
    place = {name: trace[0].index(name) for name in ("chosen", "rejected")}
    copied = {name: float(trace[41][k]) for name, k in place.items()}
    ended = {name: float(trace[-1][k]) for name, k in place.items()}
    assert copied["rejected"] > 2.0 and copied["rejected"] > copied["chosen"] + 1.0  # noqa: PT018
    assert ended["chosen"] > ended["rejected"] + 2.0
    assert "`correct` reads '{prompt}{answer} w2'" in (tmp_path / "out" / "report.txt").read_text(encoding="utf-8")
    answers = tmp_path / "answers.jsonl"
    answers.write_text("".join(json.dumps({"prompt": f"w{i} w{i + 1}", "answer": " w30"}) + "\n" for i in range(2, 12)))
    out = tmp_path / "corrected.jsonl"
    common = ["--aligner", str(tmp_path / "out"), "--tokens", "4", "--batch", "4", "--out", str(out)]
    assert correct_main([*common, "--answers", str(answers)]) == 0
    whole = out.read_text(encoding="utf-8")
    assert sum(json.loads(line)["correction"] == "w4" for line in whole.splitlines()) >= 8
    out.write_text(whole[: whole.index("\n", 500) + 20])  # as a kill leaves it: some lines, and half a one
    (tmp_path / ".corrected.jsonl.settings").write_text("{}")
    assert correct_main([*common, "--answers", str(answers)]) == 2
    assert "was begun with aligner = None" in capsys.readouterr().err
    out.unlink()
    (tmp_path / ".corrected.jsonl.settings").unlink()
    assert correct_main([*common, "--answers", str(answers)]) == 0
    assert out.read_text(encoding="utf-8") == whole
    (tmp_path / "prompts.txt").write_text("w2 w3\nw5 w6\n")
    out.unlink()
    assert correct_main([*common, "--model", str(base), "--prompts", str(tmp_path / "prompts.txt")]) == 0
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert {*lines[0]} == {"prompt", "answer", "answer_finished", "correction", "finished"}
    short = sum(not (line["finished"] and line["answer_finished"]) for line in lines)
    assert short, "an untrained model does not end its answers"
    assert f"on {short} lines --tokens 4 cut something off" in capsys.readouterr().out


# generate


def test_a_text_is_asked_by_the_chat_template_unless_raw(base, tmp_path, monkeypatch):
    tokenizer = word_tokenizer()
    tokenizer.chat_template = CHAT
    save(model(), tokenizer, base)
    (tmp_path / "prompts.txt").write_text("w2 w3\n")
    seen = []
    monkeypatch.setattr(generate_module, "_run", lambda options, writes, batch, *_: seen.append(batch[0]) or 1 / 0)
    for raw in ([], ["--raw"]):
        words = ["--model", str(base), "--prompts", str(tmp_path / "prompts.txt"), "--reward", "length", "--n", "2"]
        with pytest.raises(ZeroDivisionError):
            generate_main([*words, *raw, "--tokens", "4"])
    assert seen == [(8, 2, 3, 9), (2, 3)]


def test_generate_goes_on_after_a_kill_to_the_same_lines(base, tmp_path, monkeypatch, capsys):
    (tmp_path / "prompts.txt").write_text("w2 w3\nw4\nw5 w6\n")
    out = tmp_path / "out.jsonl"
    words = ["--model", str(base), "--prompts", str(tmp_path / "prompts.txt"), "--reward", "length", "--n", "4",
             "--tokens", "6", "--allow-unfinished", "--out", str(out)]  # fmt: skip
    assert generate_main(words) == 0
    whole = out.read_text(encoding="utf-8")
    out.unlink()
    killed_at(2, words, monkeypatch)
    with out.open("a") as file:
        file.write('{"prompt": 2, "as')
    assert generate_main([*words, "--seed", "1"]) == 2
    assert "was begun with seed = 0, and this run has 1" in capsys.readouterr().err
    assert generate_main(words) == 0
    assert out.read_text(encoding="utf-8") == whole
    assert generate_main(words) == 2
    assert "exists already" in capsys.readouterr().err


def test_two_trainings_of_one_folder_are_kept_apart(base, tmp_path, capsys):
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, PAIRS)))
    out, lock = tmp_path / "out", tmp_path / ".out.lock"
    words = (
        f"align --method dpo --model {base} --data {tmp_path}/pairs.jsonl --held-out 0 --epochs 1 --out {out}".split()
    )
    with lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert main(words) == 2
    assert f"another process trains {out}: wait for it" in capsys.readouterr().err
    assert not out.exists()
    assert main(words) == 0
    assert out.exists()
    assert not list(tmp_path.glob(".out*")), "nothing is left beside it"


@pytest.mark.parametrize("command", ["correct", "generate"])
def test_an_output_that_cannot_be_a_file_is_refused_before_anything_is_loaded(command, tmp_path, capsys):
    words = ["--model", "none", "--prompts", str(tmp_path / "none.txt"), "--tokens", "4"]
    words += ["--aligner", "none"] if command == "correct" else ["--reward", "length", "--n", "2"]
    for out, said in ((tmp_path, "is a folder"), (tmp_path / "no" / "x", "there is no folder")):
        assert main([command, *words, "--out", str(out)]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("command", ["correct", "generate"])
def test_two_runs_on_one_file_are_kept_apart(command, base, tmp_path, monkeypatch, capsys):
    """The second says so, and the first has the file while it writes."""
    Template("{prompt}{answer}", False).write(base)
    (tmp_path / "prompts.txt").write_text("w2 w3\n")
    out, lock = tmp_path / "out.jsonl", tmp_path / ".out.jsonl.lock"
    words = ["--model", str(base), "--prompts", str(tmp_path / "prompts.txt"), "--tokens", "4", "--out", str(out)]
    words += ["--aligner", str(base)] if command == "correct" else ["--reward", "length", "--n", "2"]
    with lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert main([command, *words]) == 2
    assert f"another process writes to {out}: wait for it" in capsys.readouterr().err
    assert not out.exists()

    def while_it_writes(rows):
        with lock.open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        added.append(rows)

    added = []
    monkeypatch.setattr(Lines, "add", lambda self, rows: while_it_writes(rows))
    assert main([command, *words]) == 0
    assert added
    assert not list(tmp_path.glob(".out*")), "nothing is left beside it"


def test_stop_strings_and_top_p():
    tokenizer = word_tokenizer()
    stops = StopStrings(tokenizer, ("w3 w4", "w7"))
    assert stops([(2, 3, 4), (3, 5, 4), (7,), (9,)]).tolist() == [True, False, True, False]
    assert stops.cut("w2 w3 w4 w5") == "w2 "
    law = torch.tensor([[0.1, 0.4, 0.05, 0.3, 0.15]])
    u = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    found = torch.bincount(sample(law.log().expand(1000, -1), 1.0, u, 0.75), minlength=5) / 1000
    assert found.tolist() == pytest.approx([0.0, 0.4 / 0.85, 0.0, 0.3 / 0.85, 0.15 / 0.85], abs=1e-3)
    with pytest.raises(ValueError, match="top_p"):
        Sampling(4, (0,), top_p=0.0)


# rewards


def test_a_sequence_classifier_is_a_reward(tmp_path):
    tokenizer = word_tokenizer()
    config = LlamaConfig(vocab_size=WORDS, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_labels=1,
                         num_attention_heads=2, max_position_embeddings=CONTEXT, pad_token_id=1)  # fmt: skip
    torch.manual_seed(0)
    net = LlamaForSequenceClassification(config).eval()
    net.save_pretrained(tmp_path / "rm")
    tokenizer.save_pretrained(tmp_path / "rm")
    found = Classifier.load(str(tmp_path / "rm"))(["w2", "w2 w3"], [" w5", " w6 w7 w8"])
    with torch.no_grad():
        expected = [net(input_ids=torch.tensor([ids])).logits.item() for ids in ([2, 5], [2, 3, 6, 7, 8])]
    assert found == pytest.approx(expected, abs=1e-5)
    net.score = torch.nn.Linear(16, 2, bias=False)
    net.config.num_labels = 2
    net.save_pretrained(tmp_path / "rm")
    with pytest.raises(ValueError, match="has 2 outputs: a reward model has one"):
        scorer_of(str(tmp_path / "rm"), Texts(tokenizer.decode, {}))


def test_a_reward_is_given_what_was_asked_not_what_a_template_wrote(base, tmp_path, monkeypatch, capsys):
    tokenizer = word_tokenizer()
    tokenizer.chat_template = CHAT
    save(model(), tokenizer, base)
    monkeypatch.chdir(tmp_path)
    spy = "seen = []\ndef f(prompts, responses):\n    seen.append((prompts[0], responses[0]))\n    return [0.0]\n"
    (tmp_path / "spy.py").write_text(spy)
    turns = [{"role": "user", "content": "w2 w3"}]
    asked = tmp_path / "prompts.jsonl"
    asked.write_text(json.dumps({"prompt": turns}) + "\n" + json.dumps({"prompt": "w5 w6"}) + "\n")
    words = ["--model", str(base), "--prompts", str(asked), "--reward", "spy:f", "--n", "1", "--tokens", "20"]
    assert generate_main([*words, "--allow-unfinished", "--stop", "w1"]) == 0
    import spy

    assert [prompt for prompt, _ in spy.seen] == [turns, "w5 w6"]
    texts = [json.loads(line)["response"]["text"] for line in capsys.readouterr().out.splitlines()]
    assert [response for _, response in spy.seen] == texts, "scored as it is returned: stop strings are cut off"
    records = [{"chosen": [*turns, {"role": "assistant", "content": "w4"}],
                "rejected": [*turns, {"role": "assistant", "content": "w5"}]}]  # fmt: skip
    path = written(tmp_path, *records)
    data = read_preferences(path, TextBoundaries.of(tokenizer), CONTEXT)
    assert Texts.of(tokenizer, path, data.examples).asked == {(8, 2, 3, 9): turns}


@pytest.mark.parametrize(("value", "said"), [
    (KeyError("no"), "failed on 2 responses: KeyError: 'no'"),
    ([1.0], r"returned shape \(1,\) for 2 responses"),
    ([1.0, float("nan")], "returned nan for the response 'bb'"),
    (["a", "b"], "returned no numbers"),
])  # fmt: skip
def test_a_function_that_gives_no_rewards_is_named(value, said):
    def function(prompts, responses):
        if isinstance(value, Exception):
            raise value
        return value

    with pytest.raises(ValueError, match=said):
        checked(function, "mine:f")(["x", "y"], ["aa", "bb"])


def test_a_pilot_knows_a_score_that_says_all_and_one_that_says_nothing(base):
    loaded = load(base)
    first = lambda: lambda batch: [float(text[0]) for text in batch.responses]
    last = lambda: lambda batch: [float(hash((text[-1], len(text))) % 997) for text in batch.responses]
    drawn = [scored_rows(loaded.model, [(2, 3), (4,)], 64, scorer, Sampling(6, ()), lambda _: (1, 3), 0)
             for scorer in (first, last)]  # fmt: skip
    v = [one.explained(np.random.default_rng(0)).value for one in drawn]
    assert drawn[0].prefix.shape == (2, 2, 64)
    assert v[0] == pytest.approx([1.0, 1.0])
    assert max(v[1]) < 0.15
