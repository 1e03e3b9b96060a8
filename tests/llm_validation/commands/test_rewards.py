"""What RLHF and `generate` say of a reward: whose tokens it reads, what it was measured on, how often it saw a pair."""

from __future__ import annotations

import json

import pytest
from transformers import GPT2Config, GPT2LMHeadModel, RobertaConfig, RobertaForSequenceClassification

from llm_validation.commands import align_methods
from llm_validation.commands.align import align_main
from llm_validation.commands.correct import read_answers
from llm_validation.commands.generate import generate_main
from llm_validation.model.model import build, load, save
from llm_validation.preferences.resume import Checkpoint
from llm_validation.rewards.comparisons import Comparison
from llm_validation.rewards.model import RewardTraining, from_language_model, train_reward_model
from llm_validation.rewards.sources import Classifier, Texts, scorer_of
from tests.oracles.toy_preferences import CONTEXT, PAIRS, WORDS, killed_at, word_tokenizer, written


def rlhf(base, tmp_path, *more) -> list[str]:
    where = ["--model", str(base), "--data", str(written(tmp_path, *PAIRS)), "--out", str(tmp_path / "out")]
    return ["--method", "rlhf", *where, "--answers", "4", "--answer-tokens", "4", *more]


def test_what_was_trained_on_is_not_called_held_out(base, tmp_path):
    assert align_main(rlhf(base, tmp_path, "--held-out", "0", "--batch", "8")) == 0
    said = (tmp_path / "out" / "report.txt").read_text(encoding="utf-8")
    assert "of 20 training pairs, gives the model's answers to 4 training prompts" in said
    assert "held-out" not in said


@pytest.mark.parametrize(("batch", "epochs", "steps", "size"), [(4, 2, 10, 4), (16, 2, 4, 9), (64, 3, 3, 18)])
def test_a_reward_model_sees_every_pair_as_often_as_is_said(base, tmp_path, monkeypatch, batch, epochs, steps, size):
    """Eighteen pairs: batches of 16 would be 3.6 passes in place of two, and of 64 eleven in place of three."""

    seen = []

    def noted(model, train, held, how, seed):
        seen.append((len(train.chosen), how.steps, how.batch))
        raise ValueError("seen")

    monkeypatch.setattr(align_methods, "fit_reward", noted)
    assert align_main(rlhf(base, tmp_path, "--batch", str(batch), "--reward-epochs", str(epochs))) == 2
    assert seen == [(18, steps, size)]
    assert steps * size == pytest.approx(epochs * 18, rel=0.12)


def test_a_prompt_without_room_for_an_answer_is_named_before_anything_is_trained(base, tmp_path, capsys):
    long = {**PAIRS[0], "prompt": " ".join(["w2"] * (CONTEXT - 3))}
    words = rlhf(base, tmp_path)
    written(tmp_path, *PAIRS, long)
    assert align_main(words) == 2
    said = capsys.readouterr().err
    assert f"data.jsonl, line 21: a prompt of {CONTEXT - 3} tokens, and with 4 more it is beyond the context" in said
    assert "a reward model of" not in said


def test_a_classifier_with_fewer_places_than_it_says_is_refused(tmp_path):
    """RoBERTa's first place is the one after its padding's number: 18 tokens fit into 20 places."""
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = RobertaConfig(
        vocab_size=WORDS,
        max_position_embeddings=20,
        num_labels=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=0,
        **shape,
    )
    RobertaForSequenceClassification(config).save_pretrained(tmp_path / "rm")
    word_tokenizer().save_pretrained(tmp_path / "rm")
    reward = Classifier.load(str(tmp_path / "rm"))
    assert reward(["w2"], [" w3" * 17]).shape == (1,)
    with pytest.raises(ValueError, match="rm fails on a text of 19 tokens: "):
        reward(["w2"], [" w3" * 18])


def test_a_reward_model_reads_the_tokens_of_its_own_tokenizer(base, tmp_path, capsys):
    """A smaller vocabulary was an IndexError in training; other words of the same numbers gave rewards of nothing."""
    small = from_language_model(build("smoke", WORDS - 5, CONTEXT, seed=0))
    small.save(tmp_path / "small")
    said = f"reads {WORDS - 5} tokens, and the model that writes has {WORDS}"
    assert align_main(rlhf(base, tmp_path, "--reward", str(tmp_path / "small"))) == 2
    assert said in capsys.readouterr().err
    (tmp_path / "prompts.txt").write_text("w2 w3\n")
    words = ["--model", str(base), "--prompts", str(tmp_path / "prompts.txt"), "--n", "2", "--tokens", "4"]
    assert generate_main([*words, "--reward", str(tmp_path / "small")]) == 2
    assert said in capsys.readouterr().err
    other = word_tokenizer()
    vocabulary = json.loads(other.backend_tokenizer.to_str())["model"]["vocab"]
    vocabulary["w2"], vocabulary["w3"] = 3, 2
    other.backend_tokenizer.model = type(other.backend_tokenizer.model)(vocabulary, "<pad>")
    assert align_main(rlhf(base, tmp_path, "--batch", "8")) == 0
    reward = str(tmp_path / "out" / "reward")
    own = load(base).tokenizer
    scorer_of(reward, Texts(str, {}, own))
    own.add_tokens(["<image>"])  # some tokenizers have tokens that their own model cannot read
    own.save_pretrained(reward)
    scorer_of(reward, Texts(str, {}, own))
    with pytest.raises(ValueError, match="reads the tokens of another tokenizer"):
        scorer_of(reward, Texts(str, {}, other))


def test_a_run_that_goes_on_counts_the_prompts_that_it_answers(base, tmp_path, monkeypatch, capsys):
    (tmp_path / "prompts.txt").write_text("w2 w3\nw4\nw5 w6\n")
    words = ["--model", str(base), "--prompts", str(tmp_path / "prompts.txt"), "--reward", "length", "--n", "1",
             "--tokens", "1", "--out", str(tmp_path / "out.jsonl")]  # fmt: skip
    killed_at(2, words, monkeypatch)
    assert generate_main(words) == 0
    assert "no response to 1 of 1 prompts ended within 1 tokens" in capsys.readouterr().err


def changed(folder) -> None:
    """Another model in its place."""
    save(build("smoke", WORDS, CONTEXT, seed=1), word_tokenizer(), folder)


def test_a_run_does_not_go_on_with_another_model_of_the_same_name(base, tmp_path, monkeypatch, capsys):
    """The lines and steps before would be one model's, those after another's."""
    (tmp_path / "prompts.txt").write_text("w2 w3\nw4\n")
    words = ["--model", str(base), "--prompts", str(tmp_path / "prompts.txt"), "--reward", "length", "--n", "1",
             "--tokens", "4", "--allow-unfinished", "--out", str(tmp_path / "out.jsonl")]  # fmt: skip
    killed_at(1, words, monkeypatch)
    training = ["--method", "dpo", *rlhf(base, tmp_path)[2:], "--batch", "4", "--keep-every", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", lambda self, *rest: (saved(self, *rest), interrupt()))
        with pytest.raises(KeyboardInterrupt):
            align_main(training)
    changed(base)
    for command, own in ((generate_main, words), (align_main, training)):
        assert command(own) == 2
        assert "with content = " in capsys.readouterr().err


def test_a_run_does_not_go_on_with_another_reward_of_the_same_name(base, tmp_path, monkeypatch, capsys):
    """A function whose module was written anew; nothing else is different."""
    module = tmp_path / "paid_by.py"
    module.write_text("def words(prompts, responses):\n    return [float(len(r)) for r in responses]\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.txt").write_text("w2 w3\nw4\n")
    words = ["--model", str(base), "--prompts", "prompts.txt", "--reward", "paid_by:words", "--n", "1",
             "--tokens", "4", "--allow-unfinished", "--out", "out.jsonl"]  # fmt: skip
    killed_at(1, words, monkeypatch)
    training = rlhf(base, tmp_path, "--batch", "4", "--keep-every", "1", "--reward", "paid_by:words")
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", lambda self, *rest: (saved(self, *rest), interrupt()))
        with pytest.raises(KeyboardInterrupt):
            align_main(training)
    module.write_text("def words(prompts, responses):\n    return [-float(len(r)) for r in responses]\n")
    for command, own in ((generate_main, words), (align_main, training)):
        assert command(own) == 2
        assert "with reward_content = " in capsys.readouterr().err


def test_reward_models_that_kills_left_go_when_a_run_ends(base, tmp_path):
    """Of other options, whole and half; not those of another folder's run."""
    hers, others = (".out.reward-0123456789ab", "..out.reward-0123456789ab.0123abcd.partial"), ".out.reward-1.run"
    for name in (*hers, others):
        (tmp_path / name).mkdir()
    assert align_main(rlhf(base, tmp_path, "--batch", "8")) == 0
    assert [path.name for path in tmp_path.glob(".*")] == [others]


def test_an_answer_in_messages_is_its_last_one_to_the_corrector_too(tmp_path):
    """As `align --method aligner` reads answers; the turns before are what was asked."""
    turns = [{"role": "user", "content": "w2"}, {"role": "assistant", "content": "w5"}]
    (tmp_path / "answers.jsonl").write_text(json.dumps({"prompt": turns[:1], "answer": turns}) + "\n")
    assert [row.answer for row in read_answers(tmp_path / "answers.jsonl")] == ["w5"]


saved = Checkpoint.save


def interrupt() -> None:
    raise KeyboardInterrupt


def test_dropout_takes_no_part_in_a_reward_model():
    """GPT-2's would make it another one every time, whatever the seed."""
    shape = {"n_positions": CONTEXT, "n_embd": 16, "n_layer": 1, "n_head": 2}
    net = GPT2LMHeadModel(GPT2Config(vocab_size=WORDS, bos_token_id=None, eos_token_id=None, **shape)).eval()
    compared = [Comparison((3, 4, 5), (3, 6, 7), 1), Comparison((2, 4, 9), (2, 8, 7), 1)]
    losses = [train_reward_model(net, compared, RewardTraining(4, 2, 1e-2), 0).loss.tolist() for _ in range(2)]
    assert losses[0] == losses[1]
