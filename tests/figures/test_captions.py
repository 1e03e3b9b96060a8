"""What the paper's captions say is drawn is drawn, and theory's lines go through simulation's points."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest

from figures.__main__ import FIGURES
from figures.model_points import language_model_rows
from figures.style import look
from simulate.rows.reach import ROOT
from tests.oracles.rows import made_row


def test_tables_stand_beside_trained_models(recorded):
    with look():
        figure = FIGURES["language_model_divergences"].draw(recorded)
    drawn = {line.get_label(): line for line in figure.axes[0].lines}
    assert len(drawn["minimised on tables"].get_xdata()) > 8
    assert np.abs(drawn["minimised on tables"].get_xdata()).max() < 1e-3


def test_lines_go_through_the_points_of_every_law_of_rewards(recorded):
    with look():
        ax = FIGURES["best_of_n_proxies"].draw(recorded).axes[1]
    lines = {line.get_color(): line for line in ax.lines if line.get_label().startswith(("Gamma", "regular"))}
    assert len(lines) == len(ax.containers) == 4
    for container in ax.containers:
        line, points = lines[container[0].get_color()], container[0]
        places, x, y = (np.array(d, dtype=float) for d in (points.get_xdata(), line.get_xdata(), line.get_ydata()))
        predicted = np.interp(places, x, y)
        assert points.get_ydata() == pytest.approx(predicted, abs=0.02)


def test_a_panel_without_rows_says_so_and_a_figure_of_such_panels_is_none(recorded):
    """Of a folder with a part of the checks; with all that is recorded no panel is empty."""
    llm = ROOT / "llm_validation" / "results"
    gpu = language_model_rows("cpu", llm / "reference-gpu")
    assert {row.setting.rpartition("model=")[2] for row in gpu} == {"llm"}
    real = language_model_rows("cpu", llm / "reference-smollm2")
    assert {row.setting.rpartition("model=")[2] for row in real} == {"smollm2"}
    with look():
        found = {
            (name, rows is recorded): FIGURES[f"language_model_{name}"].figure(rows)
            for name, rows in (("divergences", gpu), ("density_ratio", real), ("displacement", real),
                               ("divergences", recorded), ("displacement", recorded))
        }  # fmt: skip
    silent = {key: [any(text.get_text() == "no rows" for text in ax.texts) for ax in figure.axes] if figure else None
              for key, figure in found.items()}  # fmt: skip
    assert silent == {
        ("divergences", False): [True, True, False], ("density_ratio", False): None,
        ("displacement", False): [False] * 4, ("divergences", True): [False] * 3, ("displacement", True): [False] * 4,
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name, drawing in FIGURES.items() if drawing.claims])
def test_a_figure_says_all_claims_whose_rows_it_draws(name):
    """It is given the rows of those alone."""
    drawn = re.findall(r'"([ABDPRV][0-9]+)"', inspect.getsource(FIGURES[name].draw))
    assert set(drawn) <= set(FIGURES[name].claims)
    rows = [made_row(claim, "check", {}, 1.0) for claim in ("A1", *FIGURES[name].claims)]
    assert FIGURES[name].shown(rows) == [row for row in rows if row.claim in FIGURES[name].claims]
