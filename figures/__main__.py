"""Draw the figures: PDF and PNG into figures/out.

python -m figures                    all figures, from the rows of profile cpu
python -m figures D8 D11             those that show these claims
python -m figures --results DIR      rows from another folder (real people's ratings, say)

Rows of trained language models, of the same profile and of the GPU runs, are drawn beside those of simulation; a figure
whose rows do not exist is skipped, and said to be. One figure compares the sizes of model, where two have rows.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import joblib
from matplotlib.figure import Figure
from tqdm import tqdm

from figures import (
    best_of_n,
    correction,
    density_ratio,
    distortion,
    divergences,
    language_model_best_of_n,
    language_model_correction,
    language_model_density_ratio,
    language_model_distortion,
    language_model_divergences,
    language_model_proximal,
    language_model_sizes,
    proximal,
)
from figures.model_points import language_model_rows
from figures.sizes import read_sizes
from figures.style import look, save
from simulate.rows.store import ROOT, read_rows
from theory.claims import find_claim

#: Every figure of every topic; a topic's file holds its own table.
FIGURES = {
    **distortion.FIGURES,
    **proximal.FIGURES,
    **divergences.FIGURES,
    **density_ratio.FIGURES,
    **correction.FIGURES,
    **best_of_n.FIGURES,
    **language_model_distortion.FIGURES,
    **language_model_proximal.FIGURES,
    **language_model_divergences.FIGURES,
    **language_model_density_ratio.FIGURES,
    **language_model_correction.FIGURES,
    **language_model_best_of_n.FIGURES,
}
#: So many figures are worth a process of their own.
MANY = 10
#: Those that are drawn from the sizes that have rows.
FIGURES_OF_SIZES = {**language_model_sizes.FIGURES}


def main(arguments: list[str] | None = None) -> int:
    """Command line; exit status 2 for an unknown claim or a folder without rows."""
    parser = argparse.ArgumentParser(prog="python -m figures", description="Draw the figures.")
    parser.add_argument("claims", nargs="*", metavar="ID", help="draw only the figures that show these claims")
    parser.add_argument("--profile", choices=("smoke", "cpu", "gpu"), default="cpu")
    parser.add_argument("--results", type=Path, help="folder of rows; simulate/results/PROFILE by default")
    parser.add_argument("--llm-results", type=Path, help="folder of a language model's rows, in place of the recorded")
    parser.add_argument("--out", type=Path, default=ROOT / "figures" / "out")
    options = parser.parse_args(arguments)
    try:
        wanted = {find_claim(claim_id).id for claim_id in options.claims}
    except ValueError as error:
        print(f"figures: {error}", file=sys.stderr)
        return 2
    folder = options.results or ROOT / "simulate" / "results" / options.profile
    rows = read_rows(folder)
    if not rows:
        print(f"figures: no rows in {folder}; run python -m simulate first", file=sys.stderr)
        return 2
    rows += language_model_rows(options.profile, options.llm_results)
    shown = lambda drawing: not wanted or wanted & set(drawing.claims)
    drawings = {name: (d, partial(d.draw, rows)) for name, d in FIGURES.items() if shown(d)}
    if options.llm_results is None:  # a folder of one's own is one model, not one of the recorded sizes
        sizes, messages = read_sizes(options.profile)
        print("".join(f"figures: {message}\n" for message in messages), end="", file=sys.stderr)
        drawings |= {name: (d, partial(d.draw, sizes)) for name, d in FIGURES_OF_SIZES.items() if shown(d)}
    work = (
        joblib.delayed(_drawn)(name, draw, f"{drawing.draw.__module__.replace('.', '/')}.py", options.out)
        for name, (drawing, draw) in drawings.items()
    )
    workers = joblib.Parallel(n_jobs=min(os.cpu_count() or 1, 1 + len(drawings) // MANY), return_as="generator")
    done = list(tqdm(workers(work), total=len(drawings), desc="figures", unit="figure"))
    skipped = [name for name, drawn in zip(drawings, done, strict=True) if not drawn]
    print(f"{len(drawings) - len(skipped)} figures in {options.out}")
    few = [name for name in skipped if name in FIGURES_OF_SIZES]
    none = [name for name in skipped if name not in few]
    if none:
        print(f"skipped, no rows: {', '.join(none)}")
    if few:
        print(f"skipped, fewer than two sizes have rows: {', '.join(few)}")
    return 0


def _drawn(name: str, draw: Callable[[], Figure | None], source: str, out: Path) -> bool:
    """Draw one figure and save it; False where it has no rows."""
    with look():
        figure = draw()
        if figure is not None:
            save(figure, name, out, source)
    return figure is not None


if __name__ == "__main__":
    sys.exit(main())
