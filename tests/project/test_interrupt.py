"""Ctrl-C ends every stage with one sentence, and the status of a process that it stopped."""

from __future__ import annotations

import runpy

import pytest

from simulate.numbers import Parser


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("stage", ["simulate", "llm_validation", "figures", "paper"])
def test_ctrl_c_is_one_sentence(stage, monkeypatch, capsys):
    monkeypatch.setattr(Parser, "parse_args", interrupt)
    monkeypatch.setattr("sys.argv", [stage])
    with pytest.raises((SystemExit, KeyboardInterrupt)) as ended:
        runpy.run_module(stage, run_name="__main__")
    assert ended.value.code == 130
    assert capsys.readouterr().err == f"\n{stage}: interrupted; what was finished is kept, run it again to go on\n"
