"""`python -m theory`: where a claim lives, predictions at any setting, and one sentence for what it cannot read."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from theory.__main__ import main
from theory.claims import CLAIMS, find_claim
from theory.distortion.factors import borda_factor
from theory.whereabouts import predictors, proofs, whereabouts

ROOT = Path(__file__).resolve().parents[2]
about = cache(whereabouts)


def printed(capsys, *words: str) -> str:
    assert main(list(words)) == 0
    return capsys.readouterr().out


def test_a_claim_is_shown_with_everything_that_is_about_it(capsys):
    text = printed(capsys, "d4")
    for part in ("Distortion of AI Alignment", "arXiv 2505.23749", "theory.distortion.factors.borda_factor",
                 "distortion.tex:", "[thm:kstar]", "bound: simulate/distortion/win_rates.py borda_bound",
                 "llm_validation/runs/distortion.py", "distortion_search (figures/distortion.py)",
                 "python -m llm_validation D4"):  # fmt: skip
        assert part in text, part


def test_every_claim_says_who_predicts_measures_and_draws_it():
    for claim in CLAIMS:
        found = about(claim)
        assert found["source"], claim.id
        if claim.checks:
            assert (
                len(found["experiment"]) >= sum(check.kind != "cited" for check in claim.checks) or claim.id == "D17"
            ), claim.id
            assert predictors(claim), claim.id
    for place in ("proof", "figure", "model"):
        assert sum(bool(about(claim)[place]) for claim in CLAIMS) > 0.5 * len(CLAIMS), place


def test_a_place_that_is_found_is_there():
    for claim in CLAIMS:
        for line in about(claim)["experiment"]:
            path, function = line.split(": ")[1].split()
            assert re.search(rf"^(def {function}\(|{function} = )", (ROOT / path).read_text(), re.MULTILINE), line


def test_a_proof_is_found_in_ranges_of_ids_and_not_in_numbers_of_the_ledger(tmp_path):
    sections = tmp_path / "paper" / "sections"
    sections.mkdir(parents=True)
    (sections / "a.tex").write_text("\\section{Law (B1--B3)}\n\\paragraph{Rest.}\nat $\\ledger{D4.bound}{}{theory}$\n"
                                    "\\label{thm:x}\nby D3\n")  # fmt: skip
    assert proofs(find_claim("B2"), tmp_path) == ["paper/sections/a.tex:1 Law (B1–B3)"]
    assert proofs(find_claim("D4"), tmp_path) == ["paper/sections/a.tex:2 Rest"]
    assert proofs(find_claim("D3"), tmp_path) == ["paper/sections/a.tex:2 Rest [thm:x]"]
    assert proofs(find_claim("B1"), sections) == []


def test_settings_of_ones_own(capsys):
    assert printed(capsys, "D4", "--bt-beta", "7").count(f"bt_beta=7{'':35s} {borda_factor(7.0):.9g}") == 3
    own = printed(capsys, "R2", "--alpha=0.3")
    assert "R2.cap" in own
    assert "3.33333333" in own
    assert "R2.ratio" not in own  # a constant takes no alpha
    assert printed(capsys, "--quiet", "D4", "p7").count("\n") == 2


def test_a_reader_that_leaves_early_is_no_error():
    with subprocess.Popen([sys.executable, "-m", "theory", "D1"], cwd=ROOT, stdout=-1, stderr=-1) as told:
        told.stdout.close()
        assert (told.stderr.read(), told.wait()) == (b"", -signal.SIGPIPE)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["D4", "--betta", "3"], "no prediction takes --betta; the settings are bt_beta"),
        (["D4", "--bt-beta", "-1"], "bt_beta = -1 must be a finite number > 0"),
        (["D4", "--bt-beta"], "--bt-beta needs a value"),
        (["D4", "--bt-beta", "2", "--bt_beta=3"], "--bt_beta is given twice"),
        (["D2", "--n-alternatives", "2.5"], "--n-alternatives 2.5 must be a whole number >= 0"),
        (["P5", "--response", "-1"], "--response -1 must be a whole number >= 0"),  # not the last one
        (["P6", "--response", "x"], "--response x must be a whole number >= 0 or H"),
        (["P5", "--response", "7"], "path predicts nothing at response=7;step=1: index 7"),
        (["P14", "--data", "nothing"], "dimension predicts nothing at method=dpo;data=nothing: 'nothing'"),
        (["D24", "--bt-beta", "0"], "predicts nothing at bt_beta=0"),
        (["D8", "--bt-beta", "1e9"], "predicts nothing at bt_beta=1000000000.0"),
        (["D99"], "no claim 'D99'"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(capsys, words, message):
    assert main(words) == 2
    assert message in capsys.readouterr().err
