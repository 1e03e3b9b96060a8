"""The command correct: each answer's correction is a function of its number and the seed."""

from __future__ import annotations

import json

import pytest

from llm_validation.aligner.texts import PLAIN, Template
from llm_validation.commands.correct import Asked, correct_main, read_answers
from llm_validation.commands.lines import Lines
from llm_validation.model.text_boundaries import TextBoundaries


def test_a_correction_does_not_depend_on_the_batch(base, tmp_path):
    """Nor on the batches before a kill."""
    Template("{prompt}{answer}", False).write(base)
    (tmp_path / "prompts.txt").write_text("".join(f"w{i} w{i + 1}\n" for i in range(2, 9)))
    out, found = tmp_path / "out.jsonl", []
    words = ["--aligner", str(base), "--model", str(base), "--prompts", str(tmp_path / "prompts.txt"), "--tokens", "6"]
    for batch in ("1", "3", "16"):
        assert correct_main([*words, "--out", str(out), "--batch", batch]) == 0
        found.append(out.read_text(encoding="utf-8"))
        out.unlink()
    assert found == found[:1] * 3
    lines = [json.loads(line) for line in found[0].splitlines()]
    for name in ("answer", "correction"):
        assert len({line[name] for line in lines}) == 7, "each has draws of its own"


def test_corrections_go_on_with_another_batch(base, tmp_path, monkeypatch):
    Template("{prompt}{answer}", False).write(base)
    (tmp_path / "prompts.txt").write_text("".join(f"w{i} w{i + 1}\n" for i in range(2, 9)))
    words = ["--aligner", str(base), "--model", str(base), "--prompts", str(tmp_path / "prompts.txt"), "--tokens", "6"]
    whole, out, real = tmp_path / "whole.jsonl", tmp_path / "out.jsonl", Lines.add

    def killed(self, rows):
        if self.path.stat().st_size if self.path.exists() else 0:
            raise KeyboardInterrupt
        real(self, rows)

    monkeypatch.setattr(Lines, "add", killed)
    with pytest.raises(KeyboardInterrupt):
        correct_main([*words, "--out", str(out), "--batch", "2"])
    monkeypatch.setattr(Lines, "add", real)
    assert len(out.read_text(encoding="utf-8").splitlines()) == 2
    assert correct_main([*words, "--out", str(out), "--batch", "3"]) == 0
    assert correct_main([*words, "--out", str(whole)]) == 0
    assert out.read_text(encoding="utf-8") == whole.read_text(encoding="utf-8")


def test_a_prompt_without_room_is_named_before_anything_is_written(base, tmp_path, capsys):
    Template("{prompt}{answer}", False).write(base)
    prompts, out = tmp_path / "prompts.txt", tmp_path / "out.jsonl"
    prompts.write_text("w2 w3\n" + "w2 " * 200 + "\n")
    words = ["--aligner", str(base), "--model", str(base), "--prompts", str(prompts), "--out", str(out)]
    assert correct_main([*words, "--tokens", "6", "--batch", "1"]) == 2
    assert f"{prompts}, line 2, has 200 tokens, and with 6 more" in capsys.readouterr().err
    assert not list(tmp_path.glob("*out*"))


def test_an_empty_answer_is_corrected(tmp_path):
    """A model may say nothing; `generate` writes that."""
    path = tmp_path / "answers.jsonl"
    path.write_text('{"prompt": "x", "answer": ""}\n{"prompt": 0, "asked": "x", "response": {"text": ""}}\n')
    assert read_answers(path) == [Asked(1, "x", ""), Asked(2, "x", "")]
    path.write_text('{"prompt": "x", "answer": 0}\n')
    with pytest.raises(ValueError, match="line 1: no text in field 'answer', but 0"):
        read_answers(path)
    path.write_text('{"prompt": "x"}\n')
    with pytest.raises(ValueError, match="line 1: no text in field 'answer'; it has 'prompt'"):
        read_answers(path)


@pytest.mark.parametrize("text", ["[]", "{}", '{"text": "{prompt}", "chat": false}', "{", '{"text": "", "more": 1}'])
def test_a_file_that_holds_no_template_is_named(tmp_path, text):
    (tmp_path / "aligner.json").write_text(text)
    with pytest.raises(ValueError, match=r"aligner\.json holds no corrector's template: "):
        Template.read(tmp_path)


def test_a_template_that_is_empty_is_not_the_default(tokenizer):
    texts = TextBoundaries.of(tokenizer)
    assert Template.of(texts).text == PLAIN
    with pytest.raises(ValueError, match=r"must hold \{prompt\} once, got ''"):
        Template.of(texts, "")


def test_answers_that_are_there_are_not_asked_for_raw(tmp_path, capsys):
    words = ["--aligner", "none", "--answers", "none.jsonl", "--out", str(tmp_path / "out.jsonl")]
    assert correct_main([*words, "--raw"]) == 2
    assert "--raw is of the prompts that --model answers" in capsys.readouterr().err
