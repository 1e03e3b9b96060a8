"""`python -m paper lessons`: list the lessons, or write them as notebooks or pages.

python -m paper lessons                    what there is
python -m paper lessons 6 --notebook       lesson 6 as .ipynb with the teacher's answers
python -m paper lessons --student          every lesson as .ipynb, exercises unanswered
python -m paper lessons --html             executed, as pages beside the page of claims
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from paper.lessons.notebooks import Lesson, execute, find_lessons, html, notebook
from simulate.rows.reach import ROOT


def main(arguments: list[str]) -> int:
    """Command line; exit status 2 for a lesson that does not exist or packages that are not installed."""
    parser = argparse.ArgumentParser(prog="python -m paper lessons", description="Lessons as notebooks and pages.")
    parser.add_argument("numbers", nargs="*", metavar="N", help="lessons; all by default")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--notebook", action="store_true", help="the teacher's version as .ipynb")
    form.add_argument("--student", action="store_true", help="the student's version as .ipynb")
    form.add_argument("--html", action="store_true", help="the teacher's version, executed, as a page")
    parser.add_argument("--out", type=Path, default=ROOT / "paper" / "tables" / "page" / "lessons")
    options = parser.parse_args(arguments)
    try:
        lessons = find_lessons(options.numbers)
        for lesson in lessons:
            if not (options.notebook or options.student or options.html):
                print(f"{lesson.number:2d}  {lesson.title}  ({len(lesson.exercises)} exercises)")
            else:
                print(write(lesson, options.out, student=options.student, page=options.html))
    except (ValueError, OSError) as error:
        print(f"paper lessons: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"paper lessons: {error.name} is missing; pip install '.[lessons]' brings it", file=sys.stderr)
        return 2
    return 0


def write(lesson: Lesson, out: Path, *, student: bool = False, page: bool = False) -> Path:
    """One lesson into `out`, as a notebook or executed as a page; returns the file."""
    import nbformat

    out.mkdir(parents=True, exist_ok=True)
    found = notebook(lesson, student=student)
    if page:
        path = out / f"{lesson.path.stem}.html"
        path.write_text(html(execute(found), lesson.title), encoding="utf-8")
    else:
        path = out / f"{lesson.path.stem}{'_student' if student else ''}.ipynb"
        nbformat.write(found, path)
    return path
