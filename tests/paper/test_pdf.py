"""The paper as it is built: from the recorded rows a log without a warning, no gap in the main text, and flat sources.

LaTeX runs where latexmk is installed; figures are blank ones here, of the sizes that they have when drawn elsewhere.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from figures.__main__ import FIGURES
from paper.__main__ import write
from paper.arxiv import flat, used_numbers, write_arxiv
from simulate.rows.reach import ROOT
from tests.oracles.figure_sizes import SIZES

LATEX = pytest.mark.skipif(shutil.which("latexmk") is None, reason="no latexmk: apt-get install what the Makefile says")
#: Points that a line may stick out; pages of the main text and of the whole.
OVERFULL, MAIN_PAGES, PAGES = 5.0, 28, 77
#: A figure's width in print over the width that it was drawn at, and that of the one figure that is a page high.
AS_DRAWN, AS_THE_PAGE = 0.99, 0.9


@pytest.fixture(scope="module")
def sources(recorded_ledger, tmp_path_factory) -> Path:
    """A folder `paper` with the sources and the tables of the recorded rows, blank figures where it looks for them."""
    root = tmp_path_factory.mktemp("paper")
    for name in ("main.tex", "references.bib", "sections"):
        copy = shutil.copytree if (ROOT / "paper" / name).is_dir() else shutil.copy
        (root / "paper").mkdir(exist_ok=True)
        copy(ROOT / "paper" / name, root / "paper" / name)
    write(recorded_ledger, "cpu", root / "paper" / "tables", "reference")
    out = root / "figures" / "out"
    out.mkdir(parents=True)
    for name in FIGURES:
        figure = plt.figure(figsize=SIZES[name])
        figure.savefig(out / f"{name}.pdf")
        plt.close(figure)
    return root


def test_the_main_text_has_every_number_it_cites(sources):
    text = (sources / "paper" / "tables" / "numbers.tex").read_text(encoding="utf-8")
    values = dict(re.findall(r"csname ledger@(.*?)\\endcsname\{(.*)\}\n", text))
    main = flat(sources / "paper" / "main.tex").split(r"\appendix")[0].split(r"\begin{abstract}")[1]
    cited = {"@".join(found) for found in re.findall(r"\\ledger\{([^}]*)\}\{([^}]*)\}\{([^}]*)\}", main)}
    assert len(cited) > 100
    assert not [name for name in cited if values[name] in ("not run", "---")]
    assert "not run" not in main


@LATEX
def test_the_paper_compiles_without_a_warning_and_so_do_its_flat_sources(sources):
    latex = ["-pdf", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    done = subprocess.run(["latexmk", *latex], cwd=sources / "paper", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    log = (sources / "paper" / "main.log").read_text(errors="replace")
    assert not re.findall(r"^.*Warning.*$", log, re.MULTILINE)
    assert not [points for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log) if float(points) > OVERFULL]
    aux = (sources / "paper" / "main.aux").read_text(errors="replace")
    assert int(re.findall(r"newlabel\{end:main\}\{\{[^}]*\}\{(\d+)\}", aux)[0]) <= MAIN_PAGES
    assert int(re.findall(r"Output written on main\.pdf \((\d+) pages", log)[-1]) <= PAGES
    shown = {
        name: float(points) / 72.27 for name, points in re.findall(r"^figure (\w+): ([\d.]+)pt", log, re.MULTILINE)
    }
    assert len(shown) > 40
    small = {name: width / SIZES[name][0] for name, width in shown.items() if width < AS_DRAWN * SIZES[name][0]}
    assert set(small) <= {"language_model_sizes"}  # else its letters would be smaller than its script chose them
    assert min(small.values()) > AS_THE_PAGE
    bibtex = (sources / "paper" / "main.blg").read_text(errors="replace")
    assert "Warning--" not in bibtex
    folder = write_arxiv(sources / "arxiv", sources / "paper", sources / "figures" / "out")
    assert not [path for path in folder.iterdir() if path.is_dir()]
    alone = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    done = subprocess.run(alone, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "not drawn" not in (folder / "main.tex").read_text(encoding="utf-8").split(r"\begin{document}")[1]


def test_flat_sources_name_what_is_missing(tmp_path):
    (tmp_path / "main.tex").write_text("a\n\\input{sections/b}\nc\n")
    with pytest.raises(FileNotFoundError, match=r"sections/b\.tex is missing: `make paper` writes it"):
        write_arxiv(tmp_path / "out", tmp_path, tmp_path)
    (tmp_path / "sections").mkdir()
    (tmp_path / "sections" / "b.tex").write_text("b \\figurefile{f}\n")
    assert flat(tmp_path / "main.tex") == "a\nb \\figurefile{f}\nc\n"
    (tmp_path / "main.bbl").touch()
    with pytest.raises(FileNotFoundError, match=r"f\.pdf is missing"):
        write_arxiv(tmp_path / "out", tmp_path, tmp_path)
    (tmp_path / "f.pdf").touch()
    write_arxiv(tmp_path / "out", tmp_path, tmp_path)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["f.pdf", "main.bbl", "main.tex"]


def test_numbers_that_nothing_prints_are_left_out():
    define = "\\expandafter\\def\\csname ledger@{}\\endcsname{{1 \\ensuremath{{\\pm}} 2}}\n"
    kept, left = define.format("D4.bound@b=1@theory"), define.format("D4.bound@b=2@theory")
    text = "\\newcommand{\\ledger}[3]{}\n" + kept + left + "$\\ledger{D4.bound}{b=1}{theory}$\n"
    assert used_numbers(text) == text.replace(left, "")
