"""The command line of simulation: what it and its commands say of themselves."""

from __future__ import annotations

import re

import pytest

from simulate.__main__ import main
from tests.processes import refused


def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What --help prints, its lines joined; the exit status is 0."""
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert not ended.value.code
    return " ".join(capsys.readouterr().out.split())


def test_help_names_every_command(capsys):
    said = printed([], capsys)
    for name in ("audit", "sweep", "merge", "compare"):
        assert f"python -m simulate {name} " in said


def test_comparing_and_merging_say_what_they_do(capsys):
    said = printed(["compare"], capsys)
    assert "usage: python -m simulate compare [-h] A B" in said
    assert "differ by more than their check can resolve" in said
    said = printed(["merge"], capsys)
    assert "usage: python -m simulate merge [-h] INTO PART [PART ...]" in said
    assert "Bring the rows and finished jobs of slices together" in said


@pytest.mark.parametrize("words", [["compare", "one"], ["merge", "one"], ["compare", "a", "b", "c"]], ids=" ".join)
def test_a_wrong_number_of_folders_is_said_in_one_sentence(words, capsys):
    assert re.fullmatch(rf"python -m simulate {words[0]}: .*\n", refused(main, words, capsys))


def test_help_of_the_audit_names_its_rule(capsys):
    said = printed(["audit"], capsys)
    assert "or probabilities of items (maximal_lottery)" in said
