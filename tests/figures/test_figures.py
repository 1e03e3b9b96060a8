"""Figures: each one is drawn from rows, shows what the rows say, and is saved the same way twice."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser
from matplotlib.text import Text

from figures.__main__ import FIGURES, main
from figures.layout import arrange
from figures.model_points import model_of, pooled, tagged
from figures.style import COLUMN, LOOKS, PAGE, finish, look, panels, save, select
from llm_validation.claims.real_settings import DISPLACED, REWARDS
from llm_validation.claims.settings import INSTANCES, MINIBATCHED, PEOPLE_BETAS, PEOPLE_METHODS, UPSTREAMS
from llm_validation.claims.table import LLM_CHECKS
from llm_validation.recorded import MODELS
from simulate.rows.reach import ROOT
from simulate.rows.store import Results, Row, read_rows
from tests.oracles.figure_sizes import SIZES
from tests.oracles.rows import made_row
from theory.claim import Check, Setting, grid, parse_setting, setting_key
from theory.claims import CLAIMS, find_claim
from theory.distortion.methods import METHODS

#: What a trained model is measured for beside its checks: claim, name, settings.
MEASUREMENTS: tuple[tuple[str, str, tuple[Setting, ...]], ...] = (
    *(("D8", name, grid(method="rlhf", instance=INSTANCES)) for name in ("reached", "predicted")),
    *(("D9", name, grid(method="nlhf", instance=INSTANCES)) for name in ("reached", "predicted")),
    ("D17", "trained_distortion", grid(population="starwars", method=PEOPLE_METHODS, bt_beta=PEOPLE_BETAS)),
    ("P12", "trained_path", grid(method=("pro", "dpo"), response=("chosen", "rejected", "H"), step=(0, 20, 40))),
    ("V7", "minibatch_worst", grid(name=MINIBATCHED)),
    ("R4", "trained_path", grid(method=("ddro", "rdro"), step=(0, 20, 40))),
    *(
        ("B10", name, grid(method=("best_of_n", "speculative"), n=(4, 16)))
        for name in ("reward", "predicted_reward", "tokens", "seconds", "peak")
    ),
    ("B10", "explained_variance", grid(decision=(1, 2, 3))),
    *(("A1", name, grid(method=("aligner", "sft"))) for name in ("loss", "floor")),
    *(("A3", name, grid(upstream=UPSTREAMS)) for name in ("sampled_gain", "predicted_gain")),
    ("A6", "llm_pairs_composed", grid(method=("ddro", "rdro", "dpo"))),
)
#: What a model that others trained is measured for beside its own: claim, name, settings, and what the row says.
OF_OTHERS: tuple[tuple[str, str, tuple[Setting, ...], str], ...] = (
    *(
        ("P5", "real_response", grid(pairs=DISPLACED, prompt=(0, 1, 2), response=number), role)
        for number, role in enumerate(("chosen", "rejected", "unlabelled"))
    ),
    ("P5", "real_path", grid(pairs=DISPLACED, response=("chosen", "rejected", "unlabelled"), step=(0, 20, 40)), ""),
    ("B6", "real_explained", grid(utility=REWARDS, reward=("truth", "proxy"), tokens=(4, 16, 48)), ""),
    ("B6", "real_largest_speedup", grid(utility=REWARDS, reward=("truth", "proxy")), ""),
)
OF_ROWS = [name for name, drawing in FIGURES.items() if not drawing.of_sizes and name != "overview"]
LANGUAGE_MODEL = [name for name in OF_ROWS if name.startswith("language_model")]
#: The first figure of each topic.
FIRST = {name.split("_")[0]: name for name in reversed(OF_ROWS)}.values()


@cache
def near_predictions(claim: str, check: Check) -> tuple[tuple[str, float], ...]:
    """Every setting of a check, and a value 1 % off its prediction."""
    predicted = [(setting_key(setting), check.predict(setting)) for setting in check.settings]
    return tuple((key, value * 1.01 if math.isfinite(value) else 1.0) for key, value in predicted)


def rows_of(claim: str, check: Check, seed: int = 0) -> list[Row]:
    """A row for every setting of a check."""
    return [made_row(claim, check.name, key, value, 0.1, seed=seed, n=9, half_width=0.2)
            for key, value in near_predictions(claim, check)]  # fmt: skip


def language_model_rows(model: str = "llm") -> list[Row]:
    """Rows of a trained model, two seeds each: every setting of every check that it has, and the other measurements.

    A model that others trained has checks of its own, whose names begin with `real`, and no others.
    """
    others = model == "smollm2"
    found = []
    for seed in (0, 1):
        for claim_id, checks in LLM_CHECKS.items():
            for check in checks:
                if check.name.startswith("real") == others:
                    found += rows_of(claim_id, check, seed)
        for claim_id, name, settings, said in OF_OTHERS if others else [(*own, "") for own in MEASUREMENTS]:
            found += [made_row(claim_id, name, at, 1.2 + seed, seed=seed, witness=said) for at in settings]
    return found


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """The recorded rows of simulation, one file of people's, and made-up rows of every model."""
    found = read_rows(ROOT / "simulate" / "results" / "reference")
    for name in METHODS:
        key = "population=mine.csv;items=4;bt_beta=5"
        found.append(made_row("D17", name, key, 1.1, 0.1, n=9, half_width=0.2))
    return found + [row for model in MODELS for row in tagged(language_model_rows(model), model)]


@pytest.fixture(scope="module", autouse=True)
def formulas_are_parsed_once() -> Iterator[None]:
    """Of every canvas matplotlib parses each formula anew; ticks and symbols are the same in most figures."""
    parse, parsers = MathTextParser._parse_cached, {"vector": MathTextParser("path"), "raster": MathTextParser("agg")}
    with pytest.MonkeyPatch.context() as patch:
        once = cache(lambda kind, *words: parse.__wrapped__(parsers[kind], *words))
        patch.setattr(MathTextParser, "_parse_cached", lambda self, *words: once(self._output_type, *words))
        yield


@pytest.mark.parametrize("name", OF_ROWS)
def test_a_figure_is_drawn_saved_and_laid_out(name, rows, tmp_path):
    """Nothing is too small, cut off, or over something else: at its own width as saved, and in a column.

    A file is written of the first figure of each topic: a PDF takes as long as all that is examined here.
    """
    with look():
        figure = FIGURES[name].draw(rows)
        assert all(ax.get_xlabel() or ax.get_ylabel() for ax in figure.axes)
        formats = ["pdf"] if name in FIRST else []
        for path in save(figure, name, tmp_path, "test", formats):
            assert path.stat().st_size > 1000
        width = figure.get_figwidth()
        assert width in (COLUMN, PAGE)
        if name not in (*LANGUAGE_MODEL, "distortion_people"):  # of these more models and files are made up
            assert (width, figure.get_figheight()) == pytest.approx(SIZES[name], rel=0.02)
        check_layout(figure)
        if width == PAGE:
            arrange(figure, 3.4)
            check_layout(figure)
            assert figure.get_figwidth() == 3.4
    assert FIGURES[name].claims
    assert all(find_claim(claim_id) for claim_id in FIGURES[name].claims)


@pytest.mark.parametrize("name", [name for name in OF_ROWS if name not in LANGUAGE_MODEL])
def test_figures_of_simulation_need_no_rows(name):
    with look():
        figure = FIGURES[name].draw([])
    assert figure is not None or name in ("distortion_people", "distortion_methods", "distortion_samples")
    if figure is not None:
        assert all(ax.get_xlabel() for ax in figure.axes if ax.has_data() and ax.lines)


# --- layout ----------------------------------------------------------------------------------------------------------


def written(ax: Axes) -> Iterator[Text]:
    """Everything that is written at a panel, its legend and its colour bar included."""
    for axis in (ax.xaxis, ax.yaxis):
        low, high = sorted(axis.get_view_interval())
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        yield from (label for tick in ticks if low <= tick.get_loc() <= high
                    for label in (tick.label1, tick.label2) if label.get_visible())  # fmt: skip
        yield axis.label
    yield from (child for child in ax.get_children() if isinstance(child, Text))
    yield from (ax.get_legend().get_texts() if ax.get_legend() else ())
    for child in ax.child_axes:
        yield from written(child)


def least_size(text: Text) -> float:
    """Points of the smallest letter, exponents and indices included."""
    formulas = [row for row in text.get_text().splitlines() if "$" in row]
    font = text.get_fontproperties()
    return min([text.get_fontsize(), *(least_of(formula, font) for formula in formulas)])


@cache
def least_of(formula: str, font: FontProperties) -> float:
    """Points of the smallest letter of a formula; most of them stand in several figures."""
    return float(min(size for _, size, *_ in MathTextParser("path").parse(formula, 72, font).glyphs))


def extents(artists: Iterable[Any], renderer: Any) -> np.ndarray:
    """x0, y0, x1, y1 of each, pixels."""
    return np.array([artist.get_window_extent(renderer).extents for artist in artists]).reshape(-1, 4)


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which boxes (n, 4) overlap which others (m, 4)."""
    (x0, y0, x1, y1), (a0, b0, a1, b1) = boxes.T[:, :, None], others.T[:, None, :]
    return (x0 < a1) & (a0 < x1) & (y0 < b1) & (b0 < y1)


def check_layout(figure: Figure) -> None:
    """No text below 6 points, beyond the figure, over another or over a point; no legend over data."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    texts = [text for ax in figure.axes for text in written(ax) if text.get_text()]
    texts += [text for legend in figure.legends for text in legend.get_texts()]
    for text in {(text.get_text(), text.get_fontsize()): text for text in texts}.values():
        assert least_size(text) >= 6.0, text
    boxes, outer = extents(texts, renderer), np.array(figure.bbox.extents)
    outside = (boxes[:, :2] < outer[:2] - 1).any(axis=1) | (boxes[:, 2:] > outer[2:] + 1).any(axis=1)
    assert not outside.any(), [texts[i].get_text() for i in np.flatnonzero(outside)]
    shrunk = boxes + np.array([1, 1, -1, -1])  # a pixel left open
    over = np.argwhere(np.triu(overlaps(shrunk, shrunk), k=1))
    assert not over.size, [(texts[i].get_text(), texts[j].get_text()) for i, j in over]
    legends = [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]
    hidden = overlaps(extents(legends, renderer), np.array([ax.bbox.extents for ax in figure.axes]))
    assert not hidden.any(), [legend.get_texts() for legend in legends]
    for ax in figure.axes:
        marked = [line for line in ax.lines if line.get_marker() not in ("None", "none", "", None)]
        places = [ax.transData.transform(line.get_xydata()) for line in marked if len(line.get_xydata())]
        if places and ax.texts:
            covered = overlaps(extents(ax.texts, renderer), np.tile(np.concatenate(places), 2))
            assert not covered.any(), [label.get_text() for label in ax.texts]


BROKEN = {
    "small": lambda ax: ax.text(0.5, 0.5, "x", fontsize=5.9),
    "cut off": lambda ax: ax.text(1.5, 0.5, "beyond the edge"),
    "over one another": lambda ax: (ax.text(0.2, 0.5, "one"), ax.text(0.2, 0.5, "two")),
    "over a point": lambda ax: (ax.plot([0.25], [0.52], "o"), ax.text(0.2, 0.5, "word")),
    "legend over data": lambda ax: ax.legend(loc="upper left"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_a_layout_is_seen(name):
    with look():
        figure, (ax,) = panels()
        ax.plot([0.0, 1.0], [0.0, 1.0], label="line")
        ax.set_xlim(0.0, 1.0)
        arrange(figure, COLUMN)
        check_layout(figure)
        BROKEN[name](ax)
        with pytest.raises(AssertionError):
            check_layout(figure)


def test_a_title_makes_room_for_the_power_of_ten_of_an_axis():
    with look():
        figure, (ax,) = panels()
        ax.plot([0.0, 1.0], [1e9, 3e9])
        finish(ax, "x", "y", "o " * 60)  # as wide as the panel
        arrange(figure, COLUMN)
        figure.draw_without_rendering()
    boxes = extents([ax.title, ax.yaxis.get_offset_text()], figure.canvas.get_renderer())
    assert ax.yaxis.get_offset_text().get_text() == "1e9"
    assert not overlaps(boxes[:1], boxes[1:]).any()


@pytest.mark.parametrize(("letters", "columns"), [(2, 4), (8, 3), (14, 2), (40, 1)])
def test_a_legend_has_as_many_columns_as_fit(letters, columns):
    with look():
        figure, (ax,) = panels()
        for number in range(4):
            ax.plot([0.0, 1.0], [0.0, number], label="n" * letters)
        finish(ax, "x", "y")
        arrange(figure, COLUMN)
        assert ax.get_legend()._ncols == columns
        wide = [ax.legend(ncols=n).get_window_extent().width / figure.dpi for n in (columns, columns + 1)]
    assert wide[0] <= COLUMN < wide[1] or columns == 4


def off(claim: str, name: str, resolutions: float, sign: float = 1.0) -> list[Row]:
    """Rows of a check so many resolutions above its predictions."""
    check = next(check for check in (*find_claim(claim).checks, *LLM_CHECKS[claim]) if check.name == name)
    found = []
    for setting in check.settings:
        value = check.predict(setting) + resolutions * check.tolerance(check.predict(setting))
        found.append(made_row(claim, name, setting, value))
    return found


@pytest.mark.parametrize(("kept", "broken"), [(-2.0, 0.5), (-0.5, 3.0)])
def test_the_overview_shows_errors_in_resolutions_and_bounds_where_they_are_broken(kept, broken):
    rows = [*off("D3", "attained", 0.5), *off("D3", "bound", kept), *off("D4", "bound", broken)]
    rows += tagged(off("A1", "llm_aligner", broken), "llm") + tagged(off("A1", "llm_sft", kept), "llm")
    with look():
        figure = FIGURES["overview"].draw(rows)
        arrange(figure, 3.4)
        check_layout(figure)
    assert [ax.get_title() for ax in figure.axes] == ["distortion", "correction"]
    by_look = [
        sorted({round(float(y), 3) for line in ax.lines if line.get_markersize() == size for y in line.get_ydata()
                if line.get_linestyle() == "None"})
        for ax in figure.axes for size in (2.2, 4.0)
    ]  # fmt: skip
    assert by_look == [sorted({0.5, 0.0, broken}), [], [], sorted([kept, broken])]


@pytest.mark.parametrize("width", [PAGE, 3.4])
def test_the_overview_names_every_claim(width, monkeypatch):
    monkeypatch.setattr("figures.overview._predicted", lambda *_: 0.0)
    checks = {claim.id: [*claim.checks, *LLM_CHECKS.get(claim.id, ())][0] for claim in CLAIMS}
    rows = [made_row(claim, check.name) for claim, check in checks.items()]
    with look():
        figure = FIGURES["overview"].draw(rows)
        arrange(figure, width)
        check_layout(figure)
    written_ids = {label.get_text() for ax in figure.axes for label in ax.get_xticklabels()}
    assert written_ids == {claim.id for claim in CLAIMS}


def test_estimates_are_where_the_rows_are(rows):
    with look():
        figure = FIGURES["distortion_rlhf_nlhf"].draw(rows)
    drawn = {round(float(y), 6) for container in figure.axes[0].containers for y in container[0].get_ydata()}
    assert {round(row.estimate, 6) for row in select(rows, "D8", "limit")} <= drawn


def test_people_and_samples_need_rows(rows):
    assert FIGURES["distortion_people"].draw([row for row in rows if row.claim != "D17"]) is None
    assert FIGURES["distortion_methods"].draw([row for row in rows if not row.check.startswith("sampled_")]) is None


@pytest.mark.parametrize("name", LANGUAGE_MODEL)
def test_language_model_figures_need_rows(name, rows):
    assert FIGURES[name].draw([row for row in rows if model_of(row) is None]) is None


def test_language_model_rows_disturb_no_figure_of_simulation(rows):
    for name in ("distortion_people", "distortion_correlated"):
        with look():
            both, alone = (FIGURES[name].draw(some) for some in (rows, [r for r in rows if model_of(r) is None]))
        assert len(both.axes) == len(alone.axes)
        assert [len(ax.containers) for ax in both.axes] == [len(ax.containers) for ax in alone.axes]


def test_names_tell_the_columns_apart():
    simulated = {(claim.id, check.name) for claim in CLAIMS for check in claim.checks}
    trained = {(claim_id, check.name) for claim_id, checks in LLM_CHECKS.items() for check in checks}
    assert not simulated & (trained | {(claim, name) for claim, name, _ in MEASUREMENTS})


def test_models_are_drawn_apart_and_where_their_rows_are(rows):
    with look():
        figure = FIGURES["language_model_distortion"].draw(rows)
    containers, ours = figure.axes[0].containers, len(MODELS) - 1  # but the one that others trained
    assert len(containers) == 2 * ours  # RLHF and NLHF, each of every model
    # RLHF's and NLHF's own for the model of any machine, one for each on a GPU
    assert len({container[0].get_marker() for container in containers}) == 2 + ours - 1
    drawn = [float(x) for container in containers for x in container[0].get_xdata()]
    assert drawn == pytest.approx([1.7] * len(drawn))  # mean of the two seeds
    assert {container[0].get_markerfacecolor() for container in containers} == {"white"}


def test_every_response_is_drawn_where_it_went_and_by_its_role():
    went = {("chosen", 0): 3.0, ("chosen", 1): -2.0, ("rejected", 0): -50.0, ("unlabelled", 0): -9.0}
    rows = [made_row("P5", "real_response", f"pairs=one pair;prompt={p};response=0", value, witness=role)
            for (role, p), value in went.items()]  # fmt: skip
    with look():
        figure = FIGURES["language_model_displacement"].draw(tagged(rows, "smollm2"))
    found = {
        (line.get_label(), round(float(y)) - 1): float(x)
        for line in figure.axes[0].lines if line.get_label() in ("chosen", "rejected", "unlabelled")
        for x, y in line.get_xydata()
    }  # fmt: skip
    assert found == went


def test_seeds_are_pooled_within_a_model():
    one = [made_row("D8", "reached", "instance=I3", 1.0 + seed, 0.1, seed=seed) for seed in range(3)]
    (row, other) = pooled([*tagged(one, "llm"), *tagged(one[:1], "gpu")])
    assert (row.estimate, row.n) == (2.0, 3)
    assert row.stderr == pytest.approx(1.0 / math.sqrt(3))
    assert (other.estimate, other.stderr) == (1.0, 0.1)  # a single seed has no spread but its own error
    assert parse_setting(other.setting) == {"instance": "I3", "model": "gpu"}


def test_the_same_rows_give_the_same_file(rows, tmp_path):
    for folder in ("a", "b"):
        with look():
            save(FIGURES["distortion_people"].draw(rows), "figure", tmp_path / folder, "test")
    assert (tmp_path / "a" / "figure.pdf").read_bytes() == (tmp_path / "b" / "figure.pdf").read_bytes()
    assert (tmp_path / "a" / "figure.png").read_bytes() == (tmp_path / "b" / "figure.png").read_bytes()


def test_looks_differ_without_colour():
    assert len({(str(dash), marker) for _, dash, marker in LOOKS}) == len(LOOKS)


def test_command_line_says_what_is_missing(tmp_path: Path, capsys):
    for option, stage in (("--results", "simulate"), ("--llm-results", "llm_validation")):
        assert main([option, str(tmp_path)]) == 2
        assert f"no rows in {tmp_path}; run python -m {stage} first" in capsys.readouterr().err
    assert (main(["X1"]), "the topics distortion" in capsys.readouterr().err) == (2, True)


def test_command_line_draws_a_language_model_and_names_what_it_skips(rows, tmp_path: Path, capsys):
    simulated, trained = [r for r in rows if model_of(r) is None], language_model_rows()
    others = [row for row in trained if row.claim != "D17"]
    for folder, mine in {"simulated": simulated, "trained": trained, "others": others}.items():
        Results(tmp_path / folder).add(mine, "s", {})
    words = ["--results", str(tmp_path / "simulated"), "--out", str(tmp_path / "out"), "--llm-results"]
    assert main(["D17", *words, str(tmp_path / "trained")]) == 0
    assert (tmp_path / "out" / "language_model_people.png").exists()
    assert "skipped" not in capsys.readouterr().out
    assert main(["d17", *words, str(tmp_path / "others")]) == 0
    assert "skipped, no rows: language_model_people" in capsys.readouterr().out
