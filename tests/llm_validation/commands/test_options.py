"""Options that would train or write nonsense: refused before work, one sentence, exit status 2."""

from __future__ import annotations

import re

import pytest

from llm_validation.__main__ import main
from tests.processes import refused

ALIGN = ["align", "--model", "nowhere", "--data", "nowhere.jsonl", "--out", "nowhere", "--method"]
GENERATE = ["generate", "--model", "nowhere", "--prompts", "PROMPTS", "--reward", "length"]
CORRECT = ["correct", "--aligner", "nowhere", "--out", "nowhere", "--answers"]
SPECULATIVE = [*GENERATE, "--method", "speculative", "--alpha", "0.5"]

#: words → what is said.
REFUSED = [
    ([*ALIGN, "dpo", "--kl-beta", "0"], "argument --kl-beta: 0 must be positive and finite"),
    ([*ALIGN, "dpo", "--kl-beta", "-1"], "argument --kl-beta: -1 must be positive and finite"),
    ([*ALIGN, "dpo", "--kl-beta", "nan"], "argument --kl-beta: nan must be positive and finite"),
    ([*ALIGN, "dpo", "--rate", "inf"], "argument --rate: inf must be positive and finite"),
    ([*ALIGN, "dpo", "--rate", "fast"], "argument --rate: 'fast' is no number"),
    ([*ALIGN, "dpo", "--epochs", "0"], "argument --epochs: 0 must be at least 1"),
    ([*ALIGN, "dpo", "--batch", "1.5"], "argument --batch: '1.5' is no whole number"),
    ([*ALIGN, "dpo", "--portion", "0"], "argument --portion: 0 must be at least 1"),
    ([*ALIGN, "dpo", "--context", "-3"], "argument --context: -3 must be at least 1"),
    ([*ALIGN, "dpo", "--seed", "-1"], "argument --seed: -1 must be at least 0"),
    ([*ALIGN, "dpo", "--held-out", "1"], "argument --held-out: 1 must be in [0, 1)"),
    ([*ALIGN, "dpo", "--trace-every", "0"], "argument --trace-every: 0 must be at least 1"),
    ([*ALIGN, "dpo", "--train", "lora:0"], "train = 'lora:0' must be all, top:K or lora:R"),
    ([*ALIGN, "kto", "--class-weights", "0", "1"], "argument --class-weights: 0 must be positive and finite"),
    ([*ALIGN, "rdro", "--alpha", "2"], "alpha = 2.0 must be in [0, 1)"),
    ([*ALIGN, "rdro", "--alpha", "-1"], "alpha = -1.0 must be in [0, 1)"),
    ([*ALIGN, "pro_pairwise", "--alpha", "0.5"], "no policy is optimal at or below 9/8 (claim P7)"),
    ([*ALIGN, "pro_pairwise", "--alpha", "0", "--anyway"], "alpha = 0.0 must be positive and finite"),
    ([*ALIGN, "fdo", "--generator", "kl2"], "no generator 'kl2'; there are kl, "),
    ([*ALIGN, "rlhf", "--samples", "0"], "argument --samples: 0 must be at least 1"),
    ([*ALIGN, "rlhf", "--reward-epochs", "0"], "argument --reward-epochs: 0 must be at least 1"),
    ([*ALIGN, "rlhf", "--reward-rate", "0"], "argument --reward-rate: 0 must be positive and finite"),
    ([*ALIGN, "aligner", "--warm-up", "-1"], "argument --warm-up: -1 must be at least 0"),
    ([*ALIGN, "dpo", "--samples", "4"], "--samples is of --method rlhf, not of dpo"),
    ([*ALIGN, "dpo", "--alpha", "0.5"], "align: dpo has no option 'alpha'; it has kl_beta"),
    ([*ALIGN, "dpo", "--class-weights", "1", "2"], "align: class_weights: dpo has no weights of its classes"),
    ([*ALIGN, "ipo", "--shift", "mismatched"], "align: shift = 'mismatched', but ipo has no shift"),
    ([*ALIGN, "aligner", "--class-weights", "1", "2"], "align: aligner has neither class weights nor a shift"),
    ([*ALIGN, "rlhf", "--shift", "mismatched"], "align: rlhf has neither class weights nor a shift"),
    ([*ALIGN, "dpo"], "align: no such file of preferences: nowhere.jsonl"),
    ([*ALIGN, "dpo", "--data", "/"], "align: / is a folder"),
    ([*ALIGN, "dpo", "--out", "/dev/null/x"], "align: /dev/null/x cannot be made: "),
    ([*ALIGN, "dpo", "--out", "/proc/x"], "align: /proc/x cannot be made: No such file or directory"),
    (["advise", *ALIGN[1:5], "--out", "/dev/null/x"], "advise: /dev/null/x cannot be made"),
    ([*GENERATE, "--n", "0"], "argument --n: 0 must be at least 1"),
    ([*GENERATE, "--n", "4", "--temperature", "0"], "argument --temperature: 0 must be positive and finite"),
    ([*GENERATE, "--n", "4", "--tokens", "0"], "argument --tokens: 0 must be at least 1"),
    ([*GENERATE, "--n", "4", "--budget", "nan"], "argument --budget: nan must be positive and finite"),
    ([*SPECULATIVE, "--alpha", "1", "--times", "4"], "argument --alpha: 1 must be in [0, 1)"),
    ([*SPECULATIVE, "--times", "0"], "argument --times: 0 must be at least 1"),
    ([*SPECULATIVE, "--times", "8", "4"], "--times 8 4 must rise, and end before --tokens 64"),
    ([*SPECULATIVE, "--times", "64"], "--times 64 must rise, and end before --tokens 64"),
    ([*ALIGN, "dpo", "--out", "x" * 220], "cannot be made: File name too long"),
    ([*GENERATE, "--n", "4", "--out", "/dev/full"], "--out /dev/full is a device or a pipe, and a file is written"),
    ([*GENERATE, "--n", "4", "--out", "/proc/x"], "--out /proc/x cannot be written: No such file or directory"),
    ([*GENERATE, "--n", "4", "--out", "x" * 250], "cannot be written: File name too long"),
    ([*GENERATE, "--n", "4", "--out", "PROMPTS"], "prompts.txt exists already: name a file that does not"),
    ([*GENERATE, "--n", "4", "--prompts", "/"], "generate: / is a folder"),
    ([*CORRECT, "/"], "correct: / is a folder"),
    ([*CORRECT, "nowhere.jsonl"], "correct: no such file of answers: nowhere.jsonl"),
    (["merge", "into"], "python -m llm_validation merge: the following arguments are required: PART"),
    (["audit", "log"], "python -m llm_validation audit: the following arguments are required: --bt-beta"),
    (["--jobs", "0"], "argument --jobs: 0 must be at least 1"),
    (["--seeds", "0"], "argument --seeds: 0 must be at least 1"),
    (["--minutes", "-5"], "argument --minutes: -5 must be positive and finite"),
    (["--pretrain-steps", "0"], "argument --pretrain-steps: 0 must be at least 1"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"), REFUSED, ids=lambda value: " ".join(value[-3:]) if type(value) is list else ""
)
def test_a_wrong_option_is_one_sentence_and_status_2(words, said, tmp_path, capsys):
    (tmp_path / "prompts.txt").write_text("hello\n")
    words = [str(tmp_path / "prompts.txt") if word == "PROMPTS" else word for word in words]
    assert said in refused(main, words, capsys)


def test_help_says_what_a_file_of_preferences_holds_and_what_is_measured_by_default(capsys):
    said = {}
    for command in ("advise", "align", "real"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        said[command] = " ".join(capsys.readouterr().out.split())
    assert "--data FILE pairs, rankings, labels or scores --out" in said["advise"]
    assert "--data FILE pairs, rankings, labels or scores --out" in said["align"]
    for option, default in ("prompts", "8"), ("responses", "6"), ("tokens", "5"), ("pool", "256"), ("steps", "120"):
        assert re.search(rf" --{option} {option.upper()} [^()]*\({default}\)", said["real"]), option
    assert "run pro takes three times as many, aligner twice, held out a third" in said["real"]
