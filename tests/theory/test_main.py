"""`python -m theory`: where a claim lives, predictions at any setting, and one sentence for what it cannot read."""

from __future__ import annotations

import re
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
                 "distortion_proofs.tex:", "distortion.tex:", "[thm:kstar]",
                 "bound: simulate/distortion/worst_cases.py borda_bound", "llm_validation/runs/distortion.py",
                 "distortion_search (figures/distortion.py)",
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
            assert re.search(
                rf"^(def {function}\(|{function} = )", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE
            ), line


def test_a_statement_that_names_a_claim_is_followed_to_its_proof():
    near = "paper/sections/distortion_proofs.tex"
    assert [re.sub(r":\d+", "", line) for line in proofs(find_claim("D4"))] == [
        f"{near} Borda and Copeland: the exact worst case [thm:kstar] {part}" for part in ("(i)", "(ii)")
    ] + ["stated in paper/sections/distortion.tex What holds without a constraint"]
    for claim in CLAIMS:
        for line in proofs(claim):
            path, number = re.findall(r"([\w/]+\.tex):(\d+) \S", line)[0]
            at = (ROOT / path).read_text(encoding="utf-8").splitlines()[int(number) - 1]
            if line.startswith("stated in "):
                assert not at.startswith("\\begin"), line
            else:
                assert path.endswith("_proofs.tex"), line
                assert at.startswith("\\begin{proof}") or claim.id in line or "–" in line, line


def test_every_claim_is_proved_or_stated_once_in_words_without_tex():
    stated = {claim.id for claim in CLAIMS if proofs(claim)[:1] and proofs(claim)[0].startswith("stated in ")}
    assert {claim.id for claim in CLAIMS if not proofs(claim)} == {"D15"}
    assert {"D17", "D22"} <= stated  # people, and a conjecture
    assert len(stated) < 0.25 * len(CLAIMS)
    for claim in CLAIMS:
        found = proofs(claim)
        assert len(found) == len(set(found)), claim.id
        assert not [line for line in found if re.search(r"[\\{}$~]|/(introduction|related)\.tex|  ", line)], claim.id


def test_a_proof_is_found_by_title_heading_and_range_and_a_mention_is_none(tmp_path):
    sections = tmp_path / "paper" / "sections"
    sections.mkdir(parents=True)
    (sections / "related.tex").write_text("\\section{Limitations}\nB1, D3\n")
    (sections / "a.tex").write_text("\\section{Law (B1--B3)}\n\\paragraph{Rest.} Let $\\mathrm{KL}(B)$ at\n"
                                    "$\\ledger{D4.bound}{}{theory}$\n\\begin{theorem}[x, D3]\\label{thm:x}\n"
                                    "% D6\nby D2, D5\nand D5\n")  # fmt: skip
    (sections / "a_proofs.tex").write_text("\\subsection{$L$ in \\texorpdfstring{$K_{ij}$}{K}: B2} {B7}\n"
                                           "\\begin{lemma}[y, D1]\n\\label{lem:y}\n\\begin{proof}\n"
                                           "\\begin{lemma}\n\\begin{proof}[Proof of (ii)]\n"
                                           "\\paragraph{Later.}\n\\begin{proof}[Proof of Theorem~\\ref{thm:x}]\n"
                                           "\\paragraph{Alone (B3).}\n")  # fmt: skip
    a, b = "paper/sections/a.tex", "paper/sections/a_proofs.tex"
    law, rest = f"stated in {a}:1 Law (B1–B3)", f"stated in {a}:2 Rest"
    expected = {
        "D1": [f"{b}:4 L in K: B2 [lem:y]"], "B2": [f"{b}:6 L in K: B2 (ii)", law], "B3": [f"{b}:9 Alone (B3)", law],
        "D3": [f"{b}:8 Later [thm:x]", rest], "B1": [law], "D5": [rest], "D2": [rest], "B7": [], "D4": [], "D6": [],
    }  # fmt: skip
    assert {name: proofs(find_claim(name), tmp_path) for name in expected} == expected
    assert proofs(find_claim("B1"), sections) == []


def test_settings_of_ones_own(capsys):
    assert printed(capsys, "D4", "--bt-beta", "7").count(f"bt_beta=7{'':35s} {borda_factor(7.0):.9g}") == 3
    own = printed(capsys, "R2", "--alpha=0.3")
    assert "R2.cap" in own
    assert "3.33333333" in own
    assert "R2.ratio" not in own  # a constant takes no alpha
    assert printed(capsys, "--quiet", "D4", "p7").count("\n") == 2


def test_ids_and_options_come_in_any_order(capsys):
    first = printed(capsys, "D4", "D3", "--bt-beta", "7")
    for words in (["--bt-beta", "7", "D4", "D3"], ["D4", "--bt-beta=7", "D3"], ["--bt-beta", "7", "--", "D4", "D3"]):
        assert printed(capsys, *words) == first


def test_a_setting_of_some_rows_leaves_the_others_out(capsys):
    own = printed(capsys, "R7", "--alpha", "0.2")
    assert "method=rdro;table=six;alpha=0.2" in own
    assert "method=sft" not in own  # which knows no alpha
    assert "weight=0.4" in printed(capsys, "R5", "--weight", "0.4")  # which no row names


def test_settings_far_from_the_grids(capsys):
    many = printed(capsys, "V2", "--n-outcomes", "1000")
    assert len(set(re.findall(r"separation=\S+ +(\d\.\d+e\+300)", many))) == 1  # 64 bits hold no such set
    assert "separation=1e+29;dimension=8                 1\n" in printed(capsys, "V11", "--separation", "1e29")
    assert "table=opposite;time=1e-300       0\n" in printed(capsys, "R4", "--time", "1e-300")


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
        (["P14", "--data", "nothing"], "--data nothing must be one of chain, cycle, one_pair, two_pairs"),
        (["D25", "--method", "abc"], "--method abc must be one of ipo, nlhf, rlhf"),  # was taken for RLHF
        (["D26", "--kind", "2"], "--kind 2 must be one of cycle, single"),
        (["V1", "--name", "abc"], "name = 'abc' is no loss; there are kldo"),
        (["V1", "--name", "0"], "--name 0 must be one of"),
        (["D7", "--bt-beta", "abc"], "--bt-beta abc must be a number"),
        (["D24", "--bt-beta", "0"], "bt_beta = 0 must be a finite number > 0"),
        (["D8", "--bt-beta", "-1"], "bt_beta = -1 must be a finite number > 0"),
        (["D8", "--tau", "0.7"], "small_balls predicts nothing at bt_beta=5;tau=0.7: tau = 0.7 must be in"),
        (["D9", "--xi", "7"], "attained predicts nothing at bt_beta=2;tau=0.01;xi=7: xi = 7 must be in [1, 1.31304)"),
        (["D23", "--win-rate", "2"], "win_rate = 2 must be in [0, 1]"),
        (["P16", "--own", "-1"], "own = -1 must be >= 0"),
        (["D4", "--bt-beta= -1"], "bt_beta = -1 must be a finite number > 0"),  # with a space, as a shell hands it on
        (["D8", "--bt-beta", "1e9"], "eta=1e-09: a number there is beyond the range of float64"),
        (["D99"], "no claim 'D99'"),
        (["B7", "--keep=0.5;x=3"], "keep = '0.5;x=3' may not contain ';'"),  # was taken for 0.5
        (["B7", "--n", "3"], "n = 3 rows fit budget = 3000 to their end"),
        (["B11", "--n", "0"], "n = 0 must be a whole number >= 1"),
        (["B13", "--rare", "0"], "rare = 0 must be in (0, 0.75]"),
        (["B13", "--draws", "inf"], "draws = inf must be a finite number > 0"),
        (["R1", "--alpha", "0.3"], "alpha = 0.3 is of RDRO: DDRO has none"),
        (["R4", "--rejected", "2"], "rejected = 2 must be in [0, 1]"),
        (["R4", "--time", "1e308"], "times are integrated up to 1e+09"),  # ran for ever
        (["R7", "--normalised", "1"], "no prediction takes --normalised"),
        (["V1", "--separation", "1000"], "a probability of the table is beyond float64"),  # was a minimum of −∞
        (["V8", "--n-prompts", "1000000000"], "a probability of the table is beyond float64"),  # filled the memory
        (["V9", "--batch", "1000"], "more than 500000 to list"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(capsys, words, message):
    assert main(words) == 2
    assert message in capsys.readouterr().err
