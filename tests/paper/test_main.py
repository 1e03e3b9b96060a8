"""The command line of the paper: what it says of itself, and which rows it takes where nothing has been run."""

from __future__ import annotations

import pytest

from paper.__main__ import REPORTS, main


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert not ended.value.code
    said = capsys.readouterr().out
    for name in ("page", "arxiv", "lessons", *REPORTS):
        assert f"python -m paper {name} " in said


def test_claims_are_of_the_recorded_rows_where_nothing_has_been_run(monkeypatch, capsys, recorded_ledger):
    loaded = []
    monkeypatch.setattr("paper.ledger.read_rows", lambda folder: [])
    monkeypatch.setattr("paper.__main__.load", lambda profile: loaded.append(profile) or recorded_ledger)
    assert main(["P5", "P12"]) == 0
    said = capsys.readouterr()
    assert loaded == ["reference"]
    assert said.err == "paper: no rows of profile cpu yet, these are of the recorded ones\n"
    assert "## P5" in said.out
    assert "SmolLM2" in said.out
