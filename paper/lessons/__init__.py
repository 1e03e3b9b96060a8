"""Lessons for a class: notebooks that compute in front of the student, with exercises that mark themselves.

    NN_name.py    a lesson, as a percent script: prose, cells, exercises and the teacher's answers
    answers.py    how an answer is marked;  exercises.py  what each exercise asks for
    notebooks.py  the teacher's and the student's version, executed;  rendered.py  the pages;  command.py  the command

Examples
--------
>>> from paper.lessons import check
>>> check("1.1", 5.000454)
'exercise 1.1: right'
>>> check("1.1", 5.0)
Traceback (most recent call last):
paper.lessons.answers.NotYet: exercise 1.1: that is its asymptote β/2, not L(10)
"""

from __future__ import annotations

from paper.lessons.answers import NotYet
from paper.lessons.exercises import check

__all__ = ["NotYet", "check"]
