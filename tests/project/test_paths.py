"""An empty path is no folder: every command says so in one sentence, with status 2, before it does anything."""

from __future__ import annotations

import pytest

from figures.__main__ import main as figures
from llm_validation.__main__ import main as llm_validation
from paper.__main__ import main as paper
from simulate.__main__ import main as simulate
from tests.processes import refused

ALIGN = ["align", "--method", "rlhf", "--model", "m", "--data", "d", "--out", "o"]
ADVISE = ["advise", "--model", "m", "--data", "d", "--out", "o"]
CORRECT = ["correct", "--aligner", "a", "--model", "m", "--prompts", "p", "--answers", "a", "--out", "o"]
GENERATE = ["generate", "--n", "2", "--model", "m", "--prompts", "p", "--reward", "length", "--out", "o"]
#: A command, and its options that name a file, a folder or a model.
OPTIONS = [
    (simulate, ["D17"], ["--results", "--ratings"]),
    (simulate, ["sweep", "grid.toml"], ["--results"]),
    (llm_validation, [], ["--results", "--ratings", "--model", "--corpus"]),
    (llm_validation, ["real"], ["--results", "--ratings", "--model"]),
    (llm_validation, ALIGN, ["--model", "--data", "--out", "--reward"]),
    (llm_validation, ADVISE, ["--model", "--data", "--out", "--reward"]),
    (llm_validation, CORRECT, ["--aligner", "--model", "--prompts", "--answers", "--out"]),
    (llm_validation, GENERATE, ["--model", "--prompts", "--reward", "--out"]),
    (figures, ["D4"], ["--results", "--llm-results", "--out", "--style"]),
    (paper, [], ["--out"]),
    (paper, ["lessons", "6", "--student"], ["--out"]),
]
WORDS = [(main, [*words, option, ""], option) for main, words, options in OPTIONS for option in options] + [
    (simulate, ["D4", "--results", " "], "--results"),
    (simulate, ["audit", "", "--bt-beta", "5"], "FILE"),
    (simulate, ["sweep", ""], "FILE.toml"),
    (simulate, ["merge", "", "part"], "merge: "),
    (simulate, ["merge", "into", ""], "merge: "),
    (simulate, ["compare", "one", ""], "compare: "),
    (llm_validation, ["compare", "", "two"], "compare: "),
]


@pytest.mark.parametrize(
    ("main", "words", "said"), WORDS, ids=lambda value: " ".join(value) if type(value) is list else ""
)
def test_an_empty_path_is_refused(main, words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    error = refused(main, words, capsys)
    assert said in error
    assert "names nothing" in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["D4"], ["best_of_n", "A1"], ["power"], ["spending"], ["arxiv"]], ids=" ".join)
def test_the_paper_does_not_pass_over_a_folder_for_what_it_prints(words, tmp_path, capsys):
    assert paper([*words, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == (
        f"paper: --out is for the whole ledger and for the page, not for {' '.join(words)}\n"
    )
    assert not (tmp_path / "out").exists()
