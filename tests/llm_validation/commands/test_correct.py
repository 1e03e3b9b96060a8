"""The command correct: each answer's correction is a function of its number and the seed."""

from __future__ import annotations

import json

import pytest

from llm_validation.aligner.texts import Template
from llm_validation.commands.correct import correct_main
from llm_validation.commands.lines import Lines


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


def test_answers_that_are_there_are_not_asked_for_raw(tmp_path, capsys):
    words = ["--aligner", "none", "--answers", "none.jsonl", "--out", str(tmp_path / "out.jsonl")]
    assert correct_main([*words, "--raw"]) == 2
    assert "--raw is of the prompts that --model answers" in capsys.readouterr().err
