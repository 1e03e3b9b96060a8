"""Verdicts while a run goes on: printed once, when the last cell of a claim is there."""

from __future__ import annotations

from dataclasses import replace

from simulate.__main__ import main
from theory.claims import CLAIMS


def lines(capsys) -> list[list[str]]:
    return [line.split()[:2] for line in capsys.readouterr().out.splitlines() if line[:1] in "DP" and line[1].isdigit()]


def test_a_claim_is_judged_when_its_last_cell_is_there(tmp_path, capsys):
    run = ["P1", "D1", "--profile", "smoke", "--jobs", "1", "--results", str(tmp_path)]
    assert main(run) == 0
    assert sorted(lines(capsys)) == [["D1", "agrees"], ["P1", "agrees"]]
    assert main(run) == 0
    assert not lines(capsys), "nothing is done twice"


def test_a_wrong_prediction_disagrees(tmp_path, capsys, monkeypatch):
    d1 = next(claim for claim in CLAIMS if claim.id == "D1")
    wrong = replace(d1, checks=tuple(replace(check, theory=0.5) for check in d1.checks))
    monkeypatch.setattr("simulate.rows.compare.find_claim", lambda claim: wrong)
    assert main(["D1", "--profile", "smoke", "--jobs", "1", "--results", str(tmp_path)]) == 0
    assert lines(capsys) == [["D1", "disagrees"]]
