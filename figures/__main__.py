"""Draw the figures: PDF and PNG into figures/out.

python -m figures                    all figures, from the rows of profile cpu
python -m figures D8 d11 correction  those that show these claims (topics too)
python -m figures --results DIR      rows from another folder (real people's ratings, say)

Rows of trained language models, of the same profile and of the GPU runs, are drawn beside those of simulation; a figure
whose rows do not exist is skipped, and said to be. One figure compares the sizes of model, where two have rows.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
from tqdm import tqdm

from figures import best_of_n, correction, density_ratio, distortion, divergences, proximal, sizes
from figures.model_points import language_model_rows
from figures.style import Drawing, look, save
from simulate.rows.reach import ROOT
from simulate.rows.store import read_rows
from theory.claims import find_claims

#: Every figure: those of each topic, and the comparison of sizes.
FIGURES = {
    name: drawing
    for topic in (distortion, proximal, divergences, density_ratio, correction, best_of_n, sizes)
    for name, drawing in topic.FIGURES.items()
}
#: So many figures are worth a process of their own.
MANY = 10


def main(arguments: list[str] | None = None) -> int:
    """Command line; exit status 2 for an unknown claim or a folder without rows."""
    parser = argparse.ArgumentParser(prog="python -m figures", description="Draw the figures.")
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help="draw only what shows these: ids or topics")
    parser.add_argument("--profile", choices=("smoke", "cpu", "gpu"), default="cpu")
    parser.add_argument("--results", type=Path, help="folder of rows; simulate/results/PROFILE by default")
    parser.add_argument("--llm-results", type=Path, help="folder of a language model's rows, in place of the recorded")
    parser.add_argument("--out", type=Path, default=ROOT / "figures" / "out")
    options = parser.parse_args(arguments)
    try:
        claims = {claim.id for claim in find_claims(options.claims)}
    except ValueError as error:
        print(f"figures: {error}", file=sys.stderr)
        return 2
    folder = options.results or ROOT / "simulate" / "results" / options.profile
    try:
        rows = read_rows(folder)
        options.out.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        print(f"figures: {error}", file=sys.stderr)
        return 2
    if not rows:
        print(f"figures: no rows in {folder}; run python -m simulate first", file=sys.stderr)
        return 2
    rows += language_model_rows(options.profile, options.llm_results)
    shown = {name: drawing for name, drawing in FIGURES.items() if not claims or claims & set(drawing.claims)}
    found: list[sizes.Size] = []
    if options.llm_results is None:
        found, messages = sizes.read_sizes(options.profile)
        print("".join(f"figures: {message}\n" for message in messages), end="", file=sys.stderr)
    else:  # a folder of one's own is one model, not one of the recorded sizes
        shown = {name: drawing for name, drawing in shown.items() if not drawing.of_sizes}
    work = (joblib.delayed(_drawn)(name, d, found if d.of_sizes else rows, options.out) for name, d in shown.items())
    workers = joblib.Parallel(n_jobs=min(os.cpu_count() or 1, 1 + len(shown) // MANY), return_as="generator")
    drawn = list(tqdm(workers(work), total=len(shown), desc="figures", unit="figure"))
    skipped = [name for name, done in zip(shown, drawn, strict=True) if not done]
    print(f"{len(shown) - len(skipped)} figures in {options.out}")
    for of_sizes, reason in ((False, "no rows"), (True, "fewer than two sizes have rows")):
        names = [name for name in skipped if shown[name].of_sizes == of_sizes]
        if names:
            print(f"skipped, {reason}: {', '.join(names)}")
    return 0


def _drawn(name: str, drawing: Drawing, source: Sequence[Any], out: Path) -> bool:
    """Draw one figure and save it; False where it has no rows."""
    with look():
        figure = drawing.draw(source)
        if figure is not None:
            save(figure, name, out, f"{drawing.draw.__module__.replace('.', '/')}.py")
    return figure is not None


if __name__ == "__main__":
    sys.exit(main())
