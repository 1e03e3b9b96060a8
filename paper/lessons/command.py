"""`python -m paper lessons`: list the lessons, or write them as notebooks or pages.

python -m paper lessons                    what there is
python -m paper lessons 6 --notebook       lesson 6 as .ipynb with the teacher's answers
python -m paper lessons --student          every lesson as .ipynb, exercises unanswered
python -m paper lessons --html             executed, as pages beside the page of claims, as `python -m paper page` does
"""

from __future__ import annotations

import argparse

from paper.lessons.notebooks import find_lessons, write_notebook
from paper.lessons.rendered import page_of, render
from simulate.numbers import Parser, a_path, carried_out
from simulate.rows.reach import HOME


def main(arguments: list[str]) -> int:
    """Command line; exit status 2 for a lesson that does not exist or packages that are not installed."""
    parser = Parser(prog="python -m paper lessons", description="Lessons as notebooks and pages.")
    parser.add_argument("numbers", nargs="*", metavar="N", help="lessons; all by default")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--notebook", action="store_true", help="the teacher's version as .ipynb")
    form.add_argument("--student", action="store_true", help="the student's version as .ipynb")
    form.add_argument("--html", action="store_true", help="the teacher's version, executed, as a page")
    parser.add_argument("--out", type=a_path, default=HOME / "paper" / "tables" / "page" / "lessons")
    options = parser.parse_args(arguments)
    return carried_out("paper lessons", lambda: _answer(options))


def _answer(options: argparse.Namespace) -> None:
    """List the lessons that are asked for, or write them. ValueError for one that there is not, or that fails."""
    lessons = find_lessons(options.numbers)
    if options.notebook or options.student or options.html:
        options.out.mkdir(parents=True, exist_ok=True)
    if options.html and (said := render(options.out, lessons)):
        raise ValueError("; ".join(said))
    for lesson in lessons:
        if options.html:
            print(page_of(lesson, options.out))
        elif options.notebook or options.student:
            print(write_notebook(lesson, options.out, student=options.student))
        else:
            print(f"{lesson.number:2d}  {lesson.title}  ({len(lesson.exercises)} exercises)")
