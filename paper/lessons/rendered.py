"""The lessons as pages: executed side by side, and kept as long as lesson, code and recorded rows stay as they were."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import joblib
from tqdm import tqdm

from paper.lessons.notebooks import Lesson, all_lessons, execute, html, notebook, write_notebook
from simulate.rows.reach import ROOT, fingerprint

#: The extra `lessons`.
NEEDED = ("jupytext", "nbclient", "nbconvert", "ipykernel")
#: What a terminal takes for colours, in a kernel's messages.
COLOUR = re.compile(r"\x1b\[[\d;]*m")


def page_of(lesson: Lesson, out: Path) -> Path:
    """Where a lesson's page stands in a folder."""
    return out / f"{lesson.path.stem}.html"


def current(out: Path) -> list[Lesson]:
    """The lessons that stand in a folder as pages, and would be rendered the same again."""
    return [lesson for lesson in all_lessons() if _stands(lesson, out)]


def render(out: Path, lessons: Sequence[Lesson]) -> list[str]:
    """Execute the lessons that have changed into `out`, each with its student's notebook.

    Parameters
    ----------
    out : Path
        Folder; made if need be.
    lessons : Sequence[Lesson]
        The lessons that are wanted.

    Returns
    -------
    list[str]
        A sentence for what could not be rendered: a package that is missing, a lesson whose cell fails.
    """
    wanted = [lesson for lesson in lessons if not _stands(lesson, out)]
    missing = [name for name in NEEDED if find_spec(name) is None]
    if wanted and missing:
        return [f"lessons are not rendered without {missing[0]}; pip install -e '.[lessons]' brings it"]
    out.mkdir(parents=True, exist_ok=True)
    # each in a kernel, a process of its own: threads wait for them
    workers = joblib.Parallel(n_jobs=os.cpu_count() or 1, prefer="threads", return_as="generator")
    stamps = {lesson: _stamp(lesson) for lesson in wanted}  # here: ast.parse is not for threads
    done = workers(joblib.delayed(_render)(lesson, out, stamp) for lesson, stamp in stamps.items())
    said = tqdm(done, total=len(wanted), desc="lessons", unit="lesson", disable=not wanted)
    return [sentence for sentence in said if sentence]


def _render(lesson: Lesson, out: Path, stamp: str) -> str:
    """Write a lesson's page and its student's notebook; what is to be said where a cell fails, else nothing."""
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    try:
        text = html(execute(notebook(lesson)), lesson.title)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        last = COLOUR.sub("", str(error)).strip().splitlines()[-1]
        return f"lesson {lesson.number} is not rendered: {last}"
    write_notebook(lesson, out, student=True)
    page_of(lesson, out).write_text(text + stamp, encoding="utf-8")
    return ""


def _stands(lesson: Lesson, out: Path) -> bool:
    path = page_of(lesson, out)
    return path.is_file() and path.read_text(encoding="utf-8").endswith(_stamp(lesson))


def _stamp(lesson: Lesson) -> str:
    """What a page was made from, as its last line: the lesson's text, the code that it reaches, the recorded rows."""
    code = fingerprint(f"paper.lessons.{lesson.path.stem}", "paper.lessons.notebooks")
    made_from = lesson.path.read_bytes() + code.encode() + _recorded()
    return f"<!-- made from {hashlib.sha256(made_from).hexdigest()[:12]} -->\n"


@cache
def _recorded() -> bytes:
    """All recorded rows, condensed: lessons read some of them."""
    files = sorted(path for stage in ("simulate", "llm_validation")
                   for path in (ROOT / stage / "results").glob("reference*/rows.csv"))  # fmt: skip
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).digest()
