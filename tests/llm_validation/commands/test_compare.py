"""Comparing rows of language models: verdicts that changed, and nothing else."""

from __future__ import annotations

import pytest

from llm_validation.__main__ import main
from llm_validation.claims.table import trained_checks
from llm_validation.commands.compare import compare_main
from simulate.rows.store import Results
from tests.oracles.rows import made_row
from tests.processes import refused
from theory.claim import setting_key


@pytest.mark.parametrize(("claim", "name"), [("P10", "trained"), ("P15", "real_trained_slope")])  # ours, and of others
def test_only_changed_verdicts_are_said(claim, name, tmp_path, capsys):
    check = next(check for check in trained_checks(claim) if check.name == name)
    setting = check.settings[0]
    right, room = check.predict(setting), check.tolerance(check.predict(setting))
    for folder, estimate in (("a", right), ("near", right + room / 2), ("far", right + 100 * room)):
        Results(tmp_path / folder).add([made_row(claim, name, setting, estimate)], "s", {})
    Results(tmp_path / "other").add([made_row(claim, name, check.settings[1], right)], "s", {})
    a, near, far, other = (str(tmp_path / folder) for folder in ("a", "near", "far", "other"))
    assert compare_main([a, near]) == 0
    assert capsys.readouterr().out == "0 of 1 verdicts changed, 0 stand in one folder only\n"
    assert compare_main([a, far]) == 1
    assert f"{claim}.{name} at {setting_key(setting)}: agrees and disagrees" in capsys.readouterr().out
    capsys.readouterr()
    assert compare_main([a, other]) == 1, "nothing was compared"
    assert capsys.readouterr().out == "0 of 0 verdicts changed, 2 stand in one folder only\n"
    assert "no rows in" in refused(compare_main, [a, str(tmp_path / "none")], capsys)
    assert "arguments are required: B" in refused(compare_main, [a], capsys)


def test_help_says_what_it_does(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["compare", "--help"])
    assert not ended.value.code
    said = " ".join(capsys.readouterr().out.split())
    assert "usage: python -m llm_validation compare [-h] A B" in said
    assert "List the verdicts that differ" in said
