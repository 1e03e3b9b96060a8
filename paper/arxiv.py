"""The paper's sources as one flat folder: main.tex with all that it inputs, its bibliography, its figures."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from simulate.rows.reach import HOME


def flat(source: Path) -> str:
    r"""The text of a .tex file with every \input in its place; FileNotFoundError names one that is missing."""
    folder = source.parent

    def read(name: str) -> str:
        path = folder / f"{name}.tex"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: `make paper` writes it")
        return re.sub(r"\\input\{(.*?)\}\n?", lambda found: read(found[1]), path.read_text(encoding="utf-8"))

    return read(source.stem)


def used_numbers(text: str) -> str:
    r"""The text without the definitions of numbers that no \ledger{}{}{} prints: a few hundred of tens of thousands."""
    used = {"@".join(found) for found in re.findall(r"\\ledger\{([^}]*)\}\{([^}]*)\}\{([^}]*)\}", text)}
    define = re.compile(r"\\expandafter\\def\\csname ledger@(.*?)\\endcsname\{.*\}\n")
    return define.sub(lambda found: found[0] if found[1] in used else "", text)


def write_arxiv(out: Path, paper: Path = HOME / "paper", figures: Path = HOME / "figures" / "out") -> Path:
    """Write main.tex, main.bbl and the figures that it shows into `out`, emptied before; returns the folder.

    FileNotFoundError names what `make paper` has not written yet: a table, a figure, the bibliography.
    """
    text = used_numbers(flat(paper / "main.tex")).replace("../figures/out/", "")
    names = dict.fromkeys(re.findall(r"\\figurefile\{(\w+)\}", text))
    needed = [paper / "main.bbl", *(figures / f"{name}.pdf" for name in names)]
    missing = [path for path in needed if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"{missing[0]} is missing: `make paper` writes it")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / "main.tex").write_text(text, encoding="utf-8")
    for path in needed:
        shutil.copy(path, out / path.name)
    return out
