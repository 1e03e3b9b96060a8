"""The lessons as pages: executed side by side, and kept as long as lesson, code and recorded rows stay as they were."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import joblib
from tqdm import tqdm

from paper.lessons.notebooks import Lesson, all_lessons, executed, html, notebook, write_notebook
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
    stamps = {lesson: _stamp(lesson) for lesson in wanted}  # here: ast.parse is not for threads
    n = max(1, min(os.cpu_count() or 1, len(wanted)))
    # each thread waits for a kernel, a process of its own
    with tqdm(total=len(wanted), desc="lessons", unit="lesson", disable=not wanted) as bar:
        work = (joblib.delayed(_render)(wanted[i::n], out, stamps, bar.update) for i in range(n))
        said = {number: text for part in joblib.Parallel(n_jobs=n, prefer="threads")(work) for number, text in part}
    return [said[number] for number in sorted(said)]


def _render(
    lessons: Sequence[Lesson], out: Path, stamps: Mapping[Lesson, str], ended: Callable[[], object]
) -> list[tuple[int, str]]:
    """Write the pages of lessons, and their students' notebooks, as each ends; what is to be said where a cell fails.

    ended  called after each
    """
    said = []
    for lesson, found in zip(lessons, executed(map(notebook, lessons)), strict=True):
        if isinstance(found, Exception):
            last = COLOUR.sub("", str(found)).strip().splitlines()[-1]
            said.append((lesson.number, f"lesson {lesson.number} is not rendered: {last}"))
        else:
            write_notebook(lesson, out, student=True)
            page_of(lesson, out).write_text(html(found, lesson.title) + stamps[lesson], encoding="utf-8")
        ended()
    return said


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
