"""What a figure maker asks for on the command line: kind of file, width, style; and the caption beside the figure."""

from __future__ import annotations

import re

import pytest

from figures.__main__ import main

BAD = (
    (["--format", "bmp"], "--format: 'bmp' is none of pdf, png, svg"),
    (["--width", "wide"], "--width: 'wide' is no number of inches"),
    (["--width", "nan"], "--width: 'nan' is no number of inches"),
    (["--width", "-3"], "--width: '-3' is no number of inches"),
    (["--style", "no_such_file"], "no_such_file"),
)


@pytest.mark.parametrize(("words", "message"), BAD)
def test_wrong_values_are_refused_in_one_sentence(words, message, tmp_path, capsys):
    assert main(["D11", "--out", str(tmp_path / "out"), *words]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("line", "message"), [("font.sise: 9", "'font.sise'"), ("font.size: big", "font.size")])
def test_a_wrong_line_of_a_style_file_is_named(line, message, tmp_path, capsys):
    style = tmp_path / "mine.mplstyle"
    style.write_text(f"# mine\n{line}\n", encoding="utf-8")
    assert main(["D11", "--style", str(style)]) == 2
    printed = capsys.readouterr().err
    assert f"{style}, line 2: " in printed
    assert message in printed


def test_one_figure_as_asked(tmp_path):
    style = tmp_path / "mine.mplstyle"
    style.write_text('axes.facecolor: "#abcdef"  # blue\n')
    out = tmp_path / "out"
    assert main(["D14", "--format", "svg", "--width", "3.4", "--style", str(style), "--out", str(out)]) == 0
    assert {path.suffix for path in out.iterdir()} == {".svg", ".txt"}
    text = (out / "distortion_methods.svg").read_text(encoding="utf-8")
    assert re.search(r'width="244.8pt"', text)  # 3.4 inches
    assert "#abcdef" in text
    said = (out / "distortion_samples.txt").read_text(encoding="utf-8")
    assert re.search(r"All rows of D14, drawn or not: seeds 0.*; n = \d+ to \d+ a row\.", said)
    assert "None" not in said
