"""Figures: each one is drawn from rows, shows what the rows say, and is saved the same way twice."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from figures.__main__ import FIGURES, main
from figures.style import LOOKS, look, save, select
from simulate.rows import Row
from theory.claims import CLAIMS, find_claim, setting_key
from theory.methods import METHODS


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """A row for every declared setting, 1 % off its prediction: figures must not care whether they agree."""
    found = []
    for claim in CLAIMS:
        for check in claim.checks:
            for setting in check.settings:
                value = check.predict(setting) * 1.01 if math.isfinite(check.predict(setting)) else 1.0
                key = setting_key(setting)
                found.append(Row(claim.id, check.name, key, 0, value, 0.1, 9, value - 0.2, value + 0.2, 0.0, "", "s"))
    for name in METHODS:
        for n_users in (10**4, 10**8):
            key = f"population=I5;bt_beta=5;n_users={n_users}"
            found.append(Row("D14", f"sampled_{name}", key, 0, 1.5, 0.1, 9, 1.3, 1.7, 0.0, "", "s"))
        key = "population=mine.csv;items=4;bt_beta=5"
        found.append(Row("D17", name, key, 0, 1.1, 0.1, 9, 1.0, 1.3, 0.0, "", "s"))
    return found


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn_from_rows(name, rows, tmp_path):
    with look():
        figure = FIGURES[name].draw(rows)
        assert figure is not None
        for ax in figure.axes:
            assert ax.get_xlabel() or ax.get_ylabel(), name
        paths = save(figure, name, tmp_path, "test")
    assert {path.suffix for path in paths} == {".pdf", ".png"}
    assert all(path.stat().st_size > 1000 for path in paths)
    assert FIGURES[name].claims
    assert all(find_claim(claim_id) for claim_id in FIGURES[name].claims)


def test_measured_points_are_where_the_rows_are(rows):
    with look():
        figure = FIGURES["distortion_rlhf_nlhf"].draw(rows)
    drawn = {round(float(y), 6) for container in figure.axes[0].containers for y in container[0].get_ydata()}
    assert {round(row.estimate, 6) for row in select(rows, "D8", "limit")} <= drawn


def test_people_and_samples_need_rows(rows):
    assert FIGURES["distortion_people"].draw([row for row in rows if row.claim != "D17"]) is None
    assert FIGURES["distortion_methods"].draw([row for row in rows if not row.check.startswith("sampled_")]) is None


def test_the_same_rows_give_the_same_file(rows, tmp_path):
    for folder in ("a", "b"):
        with look():
            save(FIGURES["distortion_correlated"].draw(rows), "figure", tmp_path / folder, "test")
    assert (tmp_path / "a" / "figure.pdf").read_bytes() == (tmp_path / "b" / "figure.pdf").read_bytes()
    assert (tmp_path / "a" / "figure.png").read_bytes() == (tmp_path / "b" / "figure.png").read_bytes()


def test_looks_differ_without_colour():
    assert len({(str(dash), marker) for _, dash, marker in LOOKS}) == len(LOOKS)


def test_command_line_says_what_is_missing(tmp_path: Path, capsys):
    assert main(["--results", str(tmp_path)]) == 2
    assert "no rows" in capsys.readouterr().err
    assert main(["X1"]) == 2
