"""Files, rewards and numbers that nobody means: one sentence, and nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llm_validation.__main__ import main
from llm_validation.commands.lines import Lines
from llm_validation.commands.prompts import read_prompts
from llm_validation.model.folders import check_new, replacing, tidy
from llm_validation.preferences.files import records_of
from llm_validation.rewards.sources import checked

#: Deeper than Python's parser of JSON goes.
DEEP = "[" * 100_000


@pytest.mark.parametrize("name", ["deep.jsonl", "deep.json", "deep.csv"])
def test_brackets_without_end_are_no_json(tmp_path, name):
    path = tmp_path / name
    path.write_text(f"prompt,scores\nx,{DEEP}\n" if name.endswith("csv") else DEEP + "\n")
    with pytest.raises(ValueError, match=r"not JSON|must be JSON"):
        records_of(path)


@pytest.mark.parametrize(("name", "text", "said"), [
    ("twice.json", '[{"prompt": "x", "prompt": "y"}]', "not JSON: field 'prompt' stands there twice"),
    ("one.json", '{\n "data": []\n}', "is one JSON object over several lines"),
    ("cut.jsonl", '{"prompt": "x"}\n{"prompt', r"line 2: not JSON: Unterminated string starting at .character 2.$"),
])  # fmt: skip
def test_what_is_wrong_with_json_is_said_with_one_line(tmp_path, name, text, said):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        records_of(path)


def test_a_prompt_of_brackets_is_text(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text(DEEP + "\n")
    assert read_prompts(path) == [(1, DEEP)]


@pytest.mark.parametrize("prompt", [5, 0.5, float("nan"), True, {"role": "user", "content": "x"}, [], "", None, [5]])
def test_a_prompt_that_is_neither_text_nor_messages_is_named(tmp_path, prompt):
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps({"prompt": "x"}) + "\n" + json.dumps({"prompt": prompt}) + "\n")
    with pytest.raises(ValueError, match="line 2: no text or messages in field 'prompt', but "):
        read_prompts(path)


def test_a_reward_beyond_float64_is_no_number():
    with pytest.raises(ValueError, match="big returned no numbers for 1 responses"):
        checked(lambda prompts, responses: [10**400], "big")([[1]], ["x"])


def pairs(folder: Path) -> Path:
    path = folder / "pairs.jsonl"
    rows = [{"prompt": f"Once {k}", "chosen": " a cat", "rejected": " a dog"} for k in range(8)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def align(model: Path, folder: Path, *words: str) -> int:
    out = folder / "out" / "model"
    return main(["align", "--method", "dpo", "--model", str(model), "--data", str(pairs(folder)), "--out", str(out),
                 "--answers", "2", "--answer-tokens", "2", *words])  # fmt: skip


def test_a_link_that_leads_nowhere_is_no_new_folder(tmp_path):
    """A folder cannot take its place: the training would be lost at its end."""
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="link exists already"):
        check_new(tmp_path / "link")


def test_labels_that_a_loss_cannot_have_are_said_before_what_is_held_out(model, tmp_path, capsys):
    path = tmp_path / "labels.jsonl"
    path.write_text(
        "".join(json.dumps({"prompt": f"{k}", "completion": " a", "label": k > 0}) + "\n" for k in range(8))
    )
    assert align(model, tmp_path, "--data", str(path)) == 2
    assert (
        capsys.readouterr().err == f"align: dpo needs pairs of chosen and rejected, and {path} has labelled examples\n"
    )


def test_weights_that_are_no_numbers_are_a_divergence(model, tmp_path, capsys):
    """The only step is taken, and the answers after it find the weights."""
    assert align(model, tmp_path, "--rate", "1e300") == 1
    assert "nothing was written. Try a lower --rate" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_what_kills_left_of_a_folder_is_tidied(tmp_path):
    """A name with brackets is no pattern, and another folder's are left alone, and what another process writes."""
    out = tmp_path / "out[1]"
    for name in (".out[1].0123abcd.partial", ".out[1].0123abcd.old", ".out1.0123abcd.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name, encoding="utf-8")
    tidy(out)
    assert (out / "file").read_text(encoding="utf-8") == ".out[1].0123abcd.old"
    (tmp_path / ".out[1].4567abcd.old").mkdir()
    tidy(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out1.0123abcd.partial", "out[1]"]
    (tmp_path / ".out[1].89abcdef.partial").mkdir()
    with replacing(out) as partial:
        for _ in range(2):
            assert list(tmp_path.glob(".out[[]*.partial")) == [partial]
            tidy(out)
    assert not list(tmp_path.glob(".out[[]*"))


def test_what_a_run_killed_at_its_very_end_kept_goes_and_anothers_stays(model, tmp_path, capsys):
    assert align(model, tmp_path) == 0
    out = tmp_path / "out"
    for ours in (True, False):
        for name in (".model.run", ".model.reward-0123456789ab"):
            (out / name).mkdir()
        (out / ".model.lock").touch()
        assert align(model, tmp_path) == 2
        assert "model exists already" in capsys.readouterr().err
        assert len(list(out.iterdir())) == (1 if ours else 4)
        (out / "model" / "alignment.json").unlink(missing_ok=True)


def test_lines_that_are_all_there_have_no_lock_before_they_are_called_complete(tmp_path):
    """A run that is killed in between ends them when it is started again, and leaves nothing beside them."""
    lines = Lines(tmp_path / "lines", {})
    with lines.alone():
        lines.begin()
        lines.add([{}])
        lines.end()
        assert [path.name for path in tmp_path.iterdir()] == ["lines"]


def test_a_refusal_after_loading_leaves_no_lock(model, tmp_path, capsys):
    assert align(model, tmp_path, "--train", "top:99") == 2
    assert "top:99" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_advise_tries_its_reward_before_the_pilot(model, tmp_path, capsys, monkeypatch):
    (tmp_path / "unpaid.py").write_text("def none(prompts, responses):\n    return [float('nan') for _ in prompts]\n")
    monkeypatch.chdir(tmp_path)
    words = ["--model", str(model), "--data", str(pairs(tmp_path)), "--out", str(tmp_path / "out")]
    assert main(["advise", *words, "--reward", "unpaid:none"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("advise: unpaid:none returned nan for the response "), "one sentence, and no pilot"
    for name, twice in (("methods", ["dpo", "dpo"]), ("rates", ["1e-3", "0.001"])):
        assert main(["advise", *words, f"--{name}", *twice]) == 2
        assert f"--{name} has {'dpo' if name == 'methods' else '0.001'} twice" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_temperature_that_no_float_divides_by(model, tmp_path, capsys, monkeypatch):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("Once\n")
    words = ["generate", "--model", str(model), "--prompts", str(prompts), "--reward", "length", "--n", "2"]
    own = ["--tokens", "3", "--temperature", "1e-300"]
    assert main([*words, *own, "--out", str(tmp_path / "lines")]) == 2
    assert not list(tmp_path.glob("*lines*")), "nothing is left of a run that wrote nothing"
    capsys.readouterr()
    assert main([*words, *own]) == 2
    assert capsys.readouterr().err.startswith("generate: the model's logits are NaN at token 0")

    def full(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 409600000000 bytes")

    monkeypatch.setattr("llm_validation.commands.generate.best_of_n", full)
    assert main([*words, "--tokens", "3"]) == 2
    assert "give --budget, or a smaller --n" in capsys.readouterr().err
