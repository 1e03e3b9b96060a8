"""Draw the figures: PDF and PNG into figures/out, each with its caption beside it.

python -m figures                    all figures, from the rows of profile cpu
python -m figures D8 d11 correction  those that show these claims (topics too)
python -m figures --results DIR      rows from another folder (real people's ratings, say)
python -m figures D4 --format svg --width 3.4 --style FILE   one kind of file, inches, a matplotlib style file

Rows of trained language models, of the same profile and of the GPU runs, are drawn beside those of simulation; a figure
whose rows do not exist is skipped, and said to be; a panel without any says so. Where nothing of profile cpu has been
run, the recorded rows are drawn, and said to be. One figure compares the sizes of model, where two have rows.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
from tqdm import tqdm

from figures import best_of_n, correction, density_ratio, distortion, divergences, overview, proximal, real_model, sizes
from figures.model_points import language_model_rows, model_of
from figures.style import FORMATS, USUAL, Drawing, caption, look, read_style, save
from simulate.numbers import Parser, a_path, carried_out, unless_interrupted
from simulate.rows.reach import HOME
from simulate.rows.store import Row, read_rows
from theory.claims import find_claims

#: Every figure: all claims in one, those of each topic, and the comparison of sizes.
FIGURES = {
    name: drawing
    for topic in (overview, distortion, proximal, divergences, density_ratio, correction, best_of_n, real_model, sizes)
    for name, drawing in topic.FIGURES.items()
}
#: So many figures are worth a process of their own.
MANY = 10
#: Inches that a figure may be wide.
WIDTHS = (2.5, 40.0)


def main(arguments: list[str] | None = None) -> int:
    """Command line; exit status 2 for an unknown claim or a folder without rows."""
    options = _parser().parse_args(arguments)
    return carried_out("figures", lambda: _draw(options))


def _draw(options: argparse.Namespace) -> None:
    """Draw what is asked for, and say what is skipped. ValueError or OSError for what cannot be drawn or written."""
    paper = _paper(options.format, options.width, options.style)
    claims = {claim.id for claim in find_claims(options.claims)}
    rows = _simulated(options.profile, options.results) + _trained(options.profile, options.llm_results)
    options.out.mkdir(parents=True, exist_ok=True)
    shown = {name: drawing for name, drawing in FIGURES.items() if not claims or claims & set(drawing.claims)}
    found: list[sizes.Size] = []
    if options.llm_results is None:
        found, messages = sizes.read_sizes(options.profile)
        print("".join(f"figures: {message}\n" for message in messages), end="", file=sys.stderr)
    else:  # a folder of one's own is one model, not one of the recorded sizes
        shown = {name: drawing for name, drawing in shown.items() if not drawing.of_sizes}
    work = (
        joblib.delayed(_drawn)(name, d, found if d.of_sizes else d.shown(rows), options.out, paper)
        for name, d in shown.items()
    )
    workers = joblib.Parallel(n_jobs=min(os.cpu_count() or 1, 1 + len(shown) // MANY), return_as="generator")
    drawn = list(tqdm(workers(work), total=len(shown), desc="figures", unit="figure"))
    skipped = [name for name, done in zip(shown, drawn, strict=True) if not done]
    print(f"{len(shown) - len(skipped)} figures in {options.out}")
    for of_sizes, reason in ((False, "no rows"), (True, "fewer than two sizes have rows")):
        names = [name for name in skipped if shown[name].of_sizes == of_sizes]
        if names:
            print(f"skipped, {reason}: {', '.join(names)}")


def _parser() -> argparse.ArgumentParser:
    """The options."""
    parser = Parser(prog="python -m figures", description="Draw the figures.")
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help="draw only what shows these: ids or topics")
    parser.add_argument("--profile", choices=("smoke", "cpu", "gpu"), default="cpu")
    parser.add_argument("--results", type=a_path, help="folder of rows; simulate/results/PROFILE by default")
    parser.add_argument(
        "--llm-results", type=a_path, help="folder of a language model's rows, in place of the recorded"
    )
    parser.add_argument("--out", type=a_path, default=HOME / "figures" / "out")
    parser.add_argument("--format", help=f"{', '.join(FORMATS)}; {' and '.join(USUAL)} by default")
    parser.add_argument("--width", help=f"inches, {WIDTHS[0]:g} to {WIDTHS[1]:g}; each figure's own by default")
    parser.add_argument("--style", type=a_path, help="matplotlib style file, over the figures' own look")
    return parser


def _simulated(profile: str, folder: Path | None) -> list[Row]:
    """Rows of simulation; the recorded ones, said to be, where profile cpu has none. ValueError without any."""
    results = HOME / "simulate" / "results"
    own = folder or results / profile
    if rows := read_rows(own):
        return rows
    recorded = results / "reference"
    if folder is None and profile == "cpu" and (rows := read_rows(recorded)):
        print(f"figures: nothing has been run; drawn from the recorded rows in {recorded}", file=sys.stderr)
        return rows
    raise ValueError(f"no rows in {own}; run python -m simulate first")


def _trained(profile: str, folder: Path | None) -> list[Row]:
    """Rows of trained models; the recorded, as is said, where cpu has none. ValueError for a folder that has none."""
    rows = language_model_rows(profile, folder)
    if folder is not None and not rows:
        raise ValueError(f"no rows in {folder}; run python -m llm_validation first")
    if folder is None and profile == "cpu" and not any(model_of(row) == "llm" for row in rows):
        recorded = HOME / "llm_validation" / "results" / "reference"
        rows += language_model_rows(profile, recorded)
        print(f"figures: no model has been trained; drawn from the recorded rows in {recorded}", file=sys.stderr)
    return rows


@dataclass(frozen=True)
class Paper:
    """What figures are drawn for: kinds of file, width in inches (None: each figure's own), settings of matplotlib."""

    formats: tuple[str, ...]
    width: float | None
    style: dict[str, Any]


def _paper(kind: str | None, width: str | None, style: Path | None) -> Paper:
    """The three options, checked before anything is drawn."""
    if kind is not None and kind not in FORMATS:
        raise ValueError(f"--format: {kind!r} is none of {', '.join(FORMATS)}")
    try:
        inches = None if width is None else float(width)
    except ValueError:
        inches = math.nan
    if inches is not None and not WIDTHS[0] <= inches <= WIDTHS[1]:
        raise ValueError(f"--width: {width!r} is no number of inches from {WIDTHS[0]:g} to {WIDTHS[1]:g}")
    return Paper((kind,) if kind else USUAL, inches, read_style(style) if style else {})


def _drawn(name: str, drawing: Drawing, source: Sequence[Any], out: Path, paper: Paper) -> bool:
    """Draw one figure and save it with its caption; False where it has no rows."""
    with look(paper.style):
        figure = drawing.figure(source)
        if figure is not None:
            save(figure, name, out, f"{drawing.draw.__module__.replace('.', '/')}.py", paper.formats, paper.width)
            rows = [row for size in source for row in size.rows.values()] if drawing.of_sizes else source
            (out / f"{name}.txt").write_text(caption(drawing, figure, rows) + "\n", encoding="utf-8")
    return figure is not None


if __name__ == "__main__":
    sys.exit(unless_interrupted("figures", main))
