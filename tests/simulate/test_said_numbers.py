"""How much a check says that is measured is how much is measured: draws, runs, steps, points."""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np
import pytest

from simulate.divergences import data
from simulate.proximal import existence
from simulate.rows.reach import ROOT
from simulate.rows.store import Row, read_rows
from tests.oracles.experiments import CHECKS, measure

#: "20 000 runs", "10 000 to 20 000 runs", "4·10⁵ draws" at the start of where a resolution comes from.
NUMBER = r"\d+(?: 000|·10⁵)"
DRAWN = re.compile(rf"(?:(?P<low>{NUMBER}) to )?(?P<high>{NUMBER}) (?:draws|duels|runs|pairs)")
SAID = {key: found for key, check in CHECKS.items() if (found := DRAWN.match(check.because))}


def number(text: str) -> int:
    """A number as it is written in a claim."""
    return int(text.replace("·10⁵", "00000").replace(" ", ""))


@pytest.fixture(scope="module")
def recorded() -> dict[str, dict[str, list[Row]]]:
    """Recorded rows by `claim.check`, then by setting."""
    found: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in read_rows(ROOT / "simulate" / "results" / "reference"):
        found[f"{row.claim}.{row.check}"][row.setting].append(row)
    return found


def test_several_checks_say_how_much_is_drawn():
    assert len(SAID) >= 14


@pytest.mark.parametrize("key", SAID)
def test_what_is_said_to_be_drawn_is_recorded(key, recorded):
    """Of one seed or of all together, the same for both ends of a range."""
    said = SAID[key]
    ends = [number(said[name]) for name in ("low", "high") if said[name]]
    of_one = [rows[0].n for rows in recorded[key].values()]
    of_all = [sum(row.n for row in rows) for rows in recorded[key].values()]
    measured = [[min(sizes), max(sizes)][-len(ends) :] for sizes in (of_one, of_all)]
    assert any(np.allclose(ends, sizes, rtol=0.03) for sizes in measured), (ends, measured)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("V9.estimate", "divergences of {:.2g} and more"),
        ("V13.as_reward", "gradients of {:.2g} to {:.2g}"),
        ("V13.as_loss", "gradients of {:.2g} to {:.2g}"),
    ],
)
def test_how_large_predictions_are_said_to_be(key, said):
    """Those that are not 0: what the resolution is small beside."""
    sizes = [abs(CHECKS[key].predict(setting)) for setting in CHECKS[key].settings]
    assert said.format(min(size for size in sizes if size), max(sizes)) in CHECKS[key].because


def test_a_margin_is_followed_over_the_steps_that_p5_names(monkeypatch):
    def still(loss, features, log_start, rate, steps):
        return np.zeros((steps + 1, 3))

    def ends(x, y):
        times.extend(np.exp(x[[0, -1]]).round().tolist())
        return existence.Estimate(1.0)

    times: list[float] = []
    monkeypatch.setattr(existence, "descend", still)
    monkeypatch.setattr(existence, "slope", ends)
    measure("P5.growth", {"kl_beta": 1.0})
    assert times == [1e3, 1e4]
    assert CHECKS["P5.growth"].quantity.endswith("10³ to 10⁴ steps")


def test_a_silhouette_is_of_the_points_that_v11_names(monkeypatch):
    sizes: set[int] = set()
    monkeypatch.setattr(data, "silhouette", lambda points, labels: sizes.update(np.bincount(labels).tolist()) or 0.0)
    measure("V11.silhouette", {"separation": 1.0, "dimension": 1})
    assert [f"of {size} points per class" in CHECKS["V11.silhouette"].quantity for size in sizes] == [True]


def test_a_distance_is_of_the_points_that_v11_names(monkeypatch):
    sizes: set[int] = set()
    fitted = data.fit_gaussian
    monkeypatch.setattr(data, "fit_gaussian", lambda points: sizes.add(len(points)) or fitted(points))
    measure("V11.distance", {"separation": 1.0, "dimension": 2})
    assert sizes == {200_000}
    assert "of 200 000 points per class, mean" in CHECKS["V11.distance"].quantity


def test_what_b6_tells_apart_is_seven_resolutions_apart():
    check = CHECKS["B6.area"]
    areas = [check.predict(setting) for setting in check.settings]
    assert min(np.diff(areas)) >= 7.0 * check.resolution
    assert check.because.startswith("a seventh or less")
