"""What the paper's captions say is drawn is drawn, and theory's lines go through simulation's points."""

from __future__ import annotations

import numpy as np
import pytest

from figures.__main__ import FIGURES
from figures.model_points import language_model_rows
from figures.style import look
from simulate.rows.reach import ROOT
from simulate.rows.store import Row, read_rows


@pytest.fixture(scope="module")
def recorded() -> list[Row]:
    return read_rows(ROOT / "simulate" / "results" / "reference") + language_model_rows("reference")


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
