"""Sizes of model side by side: what is compared, trends of known slope, and folders that do not say their size."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from figures.layout import arrange
from figures.sizes import PLACES, QUANTITIES, Point, Size, predictions_across_sizes, read_sizes
from figures.style import PAGE, look
from llm_validation.claims.targets import GAP, MEAN, SAMPLED, WORST
from llm_validation.recorded import MODELS
from paper.tables import SizeTable, latex_numbers, latex_sizes, markdown, size_table, trend
from simulate.rows.store import Results, Row
from tests.figures.test_figures import check_layout
from tests.oracles.rows import made_row

#: folder → size and parameters that its stamps say.
RECORDED = {
    "cpu-micro": ("micro", 80_000),
    "cpu": ("tiny", 400_000),
    "cpu-mini": ("mini", 2_000_000),
    "gpu": ("small", 30_000_000),
    "gpu-base": ("base", 100_000_000),
}
SEEDS = (0, 1, 2)
BY_NAME = {quantity.name: quantity for quantity in QUANTITIES}
Rows = Callable[[int], list[Row]]


def made_up(power: float) -> Rows:
    """Rows of every check compared, 0.01·(parameters/10⁶)^power from what is predicted; seeds differ by a tenth.

    Below an equality and above the rest.
    """

    def rows(parameters: int) -> list[Row]:
        found: dict[tuple[str, str, str, int], Row] = {}
        for quantity in QUANTITIES:
            for claim, check, setting, predicted in quantity.cells:
                for seed in SEEDS:
                    off = 0.01 * (parameters / 1e6) ** power * (1.0 + 0.1 * (seed - 1))
                    if check.kind == "upper bound":
                        value = off
                    else:
                        side = -1.0 if check.kind == "equality" else 1.0
                        value = predicted + side * off * (abs(predicted) if check.relative else 1.0)
                    row = made_row(claim, check.name, setting, value, seed=seed)
                    found[row.cell] = row
        return list(found.values())

    return rows


def write(root: Path, folder: str, rows: Sequence[Row], config: dict[str, object]) -> Path:
    """Rows and stamp of one folder of llm_validation/results."""
    path = root / "llm_validation" / "results" / folder
    Results(path).add(rows, "s", {"config": config})
    return path


def record(root: Path, rows: Rows, folders: Sequence[str] = tuple(RECORDED)) -> list[Size]:
    """The sizes of these folders, written and read again."""
    for folder in folders:
        size, parameters = RECORDED[folder]
        path = write(root, folder, rows(parameters), {"size": size, "parameters": parameters})
        (path / "pretraining").mkdir()
        report = {"held_out": 20.0 + 2.0 * (parameters / 1e6) ** -0.5, "stderr": 0.01, "entropy": 20.0}
        (path / "pretraining" / "pretraining.json").write_text(json.dumps(report))
    sizes, messages = read_sizes("cpu", root)
    assert messages == []
    return sizes


def trends(table: SizeTable) -> dict[str, tuple[str, float]]:
    return {row.quantity.name: (row.trend.word, row.trend.slope) for row in table.rows}


@pytest.mark.parametrize("power", [-0.3, 0.3])
def test_a_known_slope_is_found_and_called_by_its_name(power, tmp_path):
    table = size_table("cpu", record(tmp_path, made_up(power)))
    for name, (word, slope) in trends(table).items():
        if name == "pretraining":
            assert (word, slope) == ("better", pytest.approx(-0.5))
        elif BY_NAME[name].goal == "smaller":
            assert slope == pytest.approx(power), name
            assert word == ("better" if power < 0.0 else "worse"), name
        else:  # the distance of a ratio from one falls, and so does a difference that should be large
            assert math.copysign(1.0, slope) == math.copysign(1.0, power), name
            called = "better" if (power < 0.0) == (BY_NAME[name].goal == "one") else "worse"
            assert word in (called, "no trend"), name  # no straight line: sizes scatter about it


def test_the_error_of_a_slope_comes_from_the_errors_over_seeds():
    points = [(10**exponent, Point(10.0**-exponent, 0.1 * 10.0**-exponent, 3)) for exponent in (5, 6, 7)]
    found = trend(BY_NAME["mean_tv"], points)
    assert (found.slope, found.stderr) == pytest.approx((-1.0, 0.1 / math.log(10.0) / math.sqrt(2.0)))
    assert found.logarithmic
    points = [(10**exponent, Point(0.5 * exponent, 0.1, 3)) for exponent in (5, 6, 7)]
    found = trend(BY_NAME["growth_cr"], points)
    assert (found.slope, found.stderr) == pytest.approx((0.5, 0.1 / math.sqrt(2.0)))
    assert not found.logarithmic


def test_few_sizes_that_scatter_show_no_trend_that_seeds_would():
    """Three sizes leave one degree of freedom, where 99 % are 64 standard errors; of five it is 5.8, of seeds 3.7."""

    def word(values: Sequence[float], stderr: float) -> str:
        points = [(10**exponent, Point(value, stderr, 3)) for exponent, value in enumerate(values, start=4)]
        return trend(BY_NAME["growth_cr"], points).word

    assert word((1.0, 1.5, 2.0), 0.1) == "better"
    assert word((1.0, 1.5, 2.0), 0.2) == "no trend"
    assert word((1.0, 1.6, 2.0), 0.0) == word((1.0, 1.6, 2.0), 0.01) == "no trend"
    assert word((1.0, 1.6, 2.0, 2.6, 3.0), 0.01) == "better"


def test_a_slope_is_no_trend_where_there_is_none(tmp_path):
    table = size_table("cpu", record(tmp_path, made_up(0.0)))
    assert {word for name, (word, _) in trends(table).items() if name != "pretraining"} == {"no trend"}
    wobble = {80_000: 1.0, 400_000: 2.0, 2_000_000: 0.7, 30_000_000: 1.9, 100_000_000: 1.1}
    rows = lambda parameters: [
        replace(row, estimate=row.estimate * wobble[parameters]) if row.check == "mean_tv" else row
        for row in made_up(0.0)(parameters)
    ]
    assert trends(size_table("cpu", record(tmp_path / "wobble", rows)))["mean_tv"][0] == "no trend"


def test_values_are_means_over_settings_and_the_largest(tmp_path):
    def rows(parameters: int) -> list[Row]:
        far = {("R5", "method=pooled"): 0.5}
        return [
            replace(row, estimate=far.get((row.claim, row.setting), 0.1) + 0.01 * row.seed)
            for row in made_up(0.0)(parameters)
            if row.check == "mean_tv"
        ]

    (size,) = record(tmp_path, rows, ["cpu"])
    settings = len(list(BY_NAME["mean_tv"].cells))
    mean, largest = BY_NAME["mean_tv"].at(size), BY_NAME["mean_tv_largest"].at(size)
    assert mean is not None
    assert largest is not None
    assert mean.value == pytest.approx((0.1 * (settings - 1) + 0.5) / settings + 0.01)
    assert largest.value == pytest.approx(0.51)
    assert [mean.stderr, largest.stderr] == pytest.approx([0.01 / math.sqrt(3)] * 2)
    assert BY_NAME["worst_tv"].at(size) is None  # no rows


def test_errors_of_settings_are_independent_and_the_largest_has_its_own(tmp_path):
    def rows(parameters: int) -> list[Row]:
        found = made_up(0.0)(parameters)
        return [replace(row, estimate=0.1, stderr=0.3) for row in found if row.check == "mean_tv"]

    (size,) = record(tmp_path, rows, ["cpu"])
    settings = len(BY_NAME["mean_tv"].cells)
    points = [BY_NAME[name].at(size) for name in ("mean_tv", "mean_tv_largest")]
    expected = [0.3 / math.sqrt(settings * len(SEEDS)), 0.3 / math.sqrt(len(SEEDS))]
    assert [point.stderr for point in points if point is not None] == pytest.approx(expected)


def test_a_seed_counts_if_it_has_every_setting(tmp_path):
    def without(seeds: Sequence[int]) -> Rows:
        gone = lambda row: (row.claim, row.check) == ("R5", "mean_tv") and row.seed in seeds
        return lambda parameters: [row for row in made_up(0.0)(parameters) if not gone(row)]

    (size,) = record(tmp_path / "one", without([1]), ["cpu"])
    point = BY_NAME["mean_tv"].at(size)
    assert point is not None
    assert point.seeds == 2
    sizes = record(tmp_path / "all", without(SEEDS), ["cpu"])
    assert BY_NAME["mean_tv"].at(sizes[0]) is None
    assert "| total variation to the optimum, mean over prompts | not run | not run |" in markdown(
        size_table("cpu", sizes)
    )


def test_a_missing_number_is_no_trend_known(tmp_path):
    def rows(parameters: int) -> list[Row]:
        nan = lambda row: (row.claim, row.check, row.seed) == ("R5", "mean_tv", 0) and parameters == 2_000_000
        return [replace(row, estimate=math.nan) if nan(row) else row for row in made_up(-0.3)(parameters)]

    found = trends(size_table("cpu", record(tmp_path, rows)))
    assert found["mean_tv"][0] == found["mean_tv_largest"][0] == "—"
    assert found["worst_tv"][0] == "better"


def test_two_sizes_are_shown_without_a_trend_and_missing_ones_are_not_run(tmp_path):
    sizes = record(tmp_path, made_up(-0.3), ["cpu", "gpu"])
    table = size_table("cpu", sizes)
    assert {word for word, _ in trends(table).values()} == {"—"}
    text = markdown(table)
    assert (
        "| quantity | micro (CPU) | tiny (0.4 M, 3 seeds) | mini (CPU) | small (30 M, 3 seeds) | base (GPU) |" in text
    )
    (line,) = [line for line in text.splitlines() if line.startswith("| total variation to the optimum, mean")]
    assert [cell == "not run" for cell in line.split(" | ")[1:6]] == [True, False, True, False, True]
    assert "base is filled by `python -m llm_validation --profile gpu --size base`." in text
    assert "small is filled" not in text
    assert latex_sizes(table).isascii()


def test_macros_of_the_prose_count_the_trends(tmp_path):
    table = size_table("cpu", record(tmp_path, made_up(-0.3)))
    text = latex_numbers(table)
    words = [row.trend.word for row in table.rows]
    counts = {word: words.count(word) for word in ("better", "worse", "no trend")}
    for name, count in {**counts, "unknown": 0, "sizes": 5, "quantities": len(QUANTITIES)}.items():
        assert rf"ledger@sizes@count@{name}\endcsname{{{count}}}" in text
    assert r"ledger@sizes@mean_tv@trend\endcsname{better}" in text
    assert r"ledger@sizes@mean_tv@base\endcsname{" in text
    assert text.isascii()


def test_targets_are_what_the_checks_ask():
    asked = {name: quantity.targets() for name, quantity in BY_NAME.items()}
    assert asked["mean_tv"] == asked["mean_tv_largest"] == [MEAN]
    assert (asked["worst_tv"], asked["sampled_tv"], asked["gaps"]) == ([WORST], [SAMPLED], [GAP])
    assert asked["held_out"] == [0.02, 0.03]
    assert asked["speedup_64"] == [1.0]
    assert asked["growth_cr"] == [0.0]


# --- folders ---------------------------------------------------------------------------------------------------------


def one_row(size: str) -> list[Row]:
    return [made_row("R1", "to_plus", "", 0.1, witness=size)]


def test_a_folder_that_does_not_say_its_size_is_left_out_and_named(tmp_path):
    write(tmp_path, "cpu", one_row("tiny"), {"size": "tiny", "parameters": 400_000})
    unsaid = write(tmp_path, "gpu", one_row("?"), {})
    sizes, messages = read_sizes("cpu", tmp_path)
    assert [size.name for size in sizes] == ["tiny"]
    assert messages == [
        f"{unsaid}: a stamp does not say which size the model has; left out of the comparison across sizes"
    ]


def test_a_folder_of_another_size_or_of_two_is_left_out_and_named(tmp_path):
    other = write(tmp_path, "cpu-mini", one_row("tiny"), {"size": "tiny"})
    two = Results(write(tmp_path, "gpu", one_row("small"), {"size": "small", "parameters": 1}))
    two.add([replace(one_row("")[0], seed=1, stamp="t")], "t", {"config": {"size": "small", "parameters": 2}})
    sizes, messages = read_sizes("cpu", tmp_path)
    assert sizes == []
    assert [message.split(";")[0] for message in messages] == [
        f"{other}: rows of size tiny where mini belongs",
        f"{two.folder}: stamps of models with 1 and 2 parameters",
    ]


def test_older_stamps_say_the_size_of_the_pretraining_and_no_parameters(tmp_path):
    old = {"base": ["generated language"], "pretraining": {"size": "tiny"}}
    folder = write(tmp_path, "reference", one_row("tiny"), old)
    ((size,), (message,)) = read_sizes("cpu", tmp_path)
    (tiny,) = [place for place in PLACES["cpu"] if place.size == "tiny"]
    assert (size.name, size.parameters) == ("tiny", tiny.about)
    assert message == f"{folder}: no stamp says how many parameters there are; taken as about {tiny.about}"
    # a stamp that leaves them open is completed by the pretraining's record
    write(tmp_path, "reference", one_row("tiny"), {"size": "tiny", "parameters": None})
    (folder / "pretraining").mkdir()
    (folder / "pretraining" / "pretraining.json").write_text(json.dumps({"parameters": 123}))
    sizes, messages = read_sizes("cpu", tmp_path)
    assert ([size.parameters for size in sizes], messages) == ([123], [])
    # a model of one's own was not pretrained here, whatever the profile would have pretrained
    write(tmp_path, "cpu", one_row("?"), {**old, "base": "some/model"})
    sizes, (message,) = read_sizes("cpu", tmp_path)
    assert sizes == []
    assert "results/cpu: a stamp does not say which size" in message


def test_own_rows_come_before_recorded_ones_and_profiles_look_at_their_own(tmp_path):
    for folder, size in (("reference-micro", "micro"), ("cpu-micro", "micro"), ("reference-mini", "mini")):
        rows = [replace(row, witness=folder) for row in one_row(size)]
        write(tmp_path, folder, rows, {"size": size, "parameters": 1})
    write(tmp_path, "gpu-base", one_row("base"), {"size": "base", "parameters": 9})
    sizes, _ = read_sizes("cpu", tmp_path)
    taken = [(size.name, next(iter(size.rows.values())).witness) for size in sizes]
    assert taken == [("micro", "cpu-micro"), ("mini", "reference-mini"), ("base", "base")]
    # a slice on a GPU stands in the place of what was recorded at its settings, beside the others
    (one,) = one_row("recorded")
    recorded = [*one_row("base"), replace(one, seed=1), replace(one, setting=f"{one.setting};further=1")]
    write(tmp_path, "reference-gpu-base", recorded, {"size": "base", "parameters": 9})
    ((base,), _) = read_sizes("gpu", tmp_path)
    assert sorted(row.witness for row in base.rows.values()) == ["base", "recorded"]
    write(tmp_path, "gpu-base", [replace(one_row("own")[0])], {"size": "base", "parameters": 9})
    assert sorted(row.witness for row in read_sizes("gpu", tmp_path)[0][0].rows.values()) == ["own", "recorded"]
    assert read_sizes("smoke", tmp_path) == ([], [])


# --- the figure ------------------------------------------------------------------------------------------------------


def points_of(sizes: Sequence[Size]) -> list[tuple[int, str]]:
    """(parameters of the nearest size, marker) of every point drawn; no two of a panel at one place."""
    with look():
        figure = predictions_across_sizes(sizes)
    assert figure is not None
    found = []
    for ax in figure.axes:
        lines = [container[0] for container in ax.containers]
        assert all(line.get_markerfacecolor() == "white" for line in lines)
        places = [(float(x), str(line.get_marker())) for line in lines for x in line.get_xdata()]
        assert len({x for x, _ in places}) == len(places)
        found += places
    near = lambda x: min((size.parameters for size in sizes), key=lambda n: abs(math.log(x / n)))
    assert all(abs(math.log(x / near(x))) < math.log(2.0) for x, _ in found)
    return [(near(x), marker) for x, marker in found]


def test_the_figure_has_a_point_per_size_and_quantity(tmp_path):
    points = points_of(record(tmp_path, made_up(-0.3)))
    assert len(points) == len(QUANTITIES) * len(RECORDED)
    for _, parameters in RECORDED.values():
        assert sum(place == parameters for place, _ in points) == len(QUANTITIES)
    markers = {size: {m for place, m in points if place == parameters} for size, parameters in RECORDED.values()}
    assert markers["small"] == {MODELS["gpu"].marker}
    assert markers["base"] == {MODELS["gpu_base"].marker}
    assert not markers["tiny"] & (markers["small"] | markers["base"])


def test_sizes_without_rows_are_absent_from_the_figure(tmp_path):
    sizes = record(tmp_path, made_up(-0.3), ["cpu-micro", "cpu"])
    assert {place for place, _ in points_of(sizes)} == {80_000, 400_000}
    assert predictions_across_sizes(sizes[:1]) is None
    assert predictions_across_sizes([]) is None


def test_the_layout_of_the_figure(tmp_path):
    with look():
        figure = predictions_across_sizes(record(tmp_path, made_up(-0.3)))
        assert figure is not None
        for width in (PAGE, 3.4):
            arrange(figure, width)
            check_layout(figure)


def test_the_figure_shows_values_and_targets(tmp_path):
    sizes = record(tmp_path, made_up(-0.3))
    with look():
        figure = predictions_across_sizes(sizes)
    assert figure is not None
    (ax,) = [ax for ax in figure.axes if ax.get_title() == BY_NAME["mean_tv"].panel]
    drawn = {float(container[0].get_ydata()[0]) for container in ax.containers}
    assert drawn == {point.value for size in sizes if (point := BY_NAME["mean_tv"].at(size))} | {
        point.value for size in sizes if (point := BY_NAME["mean_tv_largest"].at(size))
    }
    horizontal = [line for line in ax.lines if list(line.get_xdata()) == [0, 1]]
    assert [float(line.get_ydata()[0]) for line in horizontal] == [MEAN]


def test_quantities_have_names_of_their_own_and_cover_something():
    assert len(BY_NAME) == len(QUANTITIES)
    uncovered = [quantity.name for quantity in QUANTITIES if not quantity.cells]
    assert uncovered == ["pretraining"]
