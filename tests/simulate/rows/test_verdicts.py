"""Verdicts while a run goes on: printed once, when the last cell of a claim is there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulate.__main__ import main
from simulate.rows.reach import ROOT
from simulate.rows.store import read_rows
from simulate.rows.verdicts import judged
from theory.claim import combine
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


@pytest.mark.parametrize(("claim", "settings"), [("D2", 12), ("V9", 104), ("R7", 52)])
def test_seeds_are_judged_together_as_in_the_ledger(claim, settings):
    """One seed alone is often too noisy: of D2's rows some are."""
    rows = [row for row in read_rows(ROOT / "simulate" / "results" / "reference") if row.claim == claim]
    found = judged(rows)
    assert (len(found), combine(found)) == (settings, "agrees")
    assert combine([alone for row in rows for alone in judged([row])]) == "inconclusive"
