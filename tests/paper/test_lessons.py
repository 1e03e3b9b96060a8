"""Lessons: the teacher's version runs, the student's fails exactly at its exercises, mistakes get their hints."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from itertools import takewhile

import matplotlib.pyplot as plt
import numpy as np
import pytest

from paper.__main__ import main
from paper.lessons import NotYet, check
from paper.lessons.answers import Number, seal
from paper.lessons.exercises import EXERCISES
from paper.lessons.notebooks import Lesson, all_lessons, executed, notebook
from paper.lessons.rendered import current, page_of, render
from simulate.rows.reach import ROOT
from theory import Population
from theory.claim import Claim, cited
from theory.claims import find_claims

LESSONS = all_lessons()
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: Wrong answers of the kinds that are often given, and what is said about each.
MISTAKES = [
    ("1.1", 5.0, "asymptote"),
    ("1.1", "five", "a number is asked for"),
    ("1.1", float("nan"), "finite"),
    ("1.2", Population([[1.0, 0.0], [0.0, 0.1]]), "three types"),
    ("1.2", Population([[0.2, 0.3], [0.1, 0.3], [0.3, 0.3]]), "not yet above 2"),
    ("2.1", 5.00045, "no rule beats"),
    ("2.3", 1.7, "2 significant"),
    ("3.2", 2.968, "the trap is to leave it out"),
    ("4.3", (1, 2), "never gives"),
    ("5.2", 1 / 16, "the table is shared"),
    ("5.3", lambda delta: delta / 2 + np.logaddexp(0, delta) / 2 + np.logaddexp(0, -delta) / 2, "the loser's"),
    ("5.3", lambda delta: float("nan"), "gives nan"),
    ("5.3", lambda: 0.0, "it fails with TypeError"),
    ("6.1", 3.4, "3 significant"),
    ("6.3", 0.7563076, "divide by kl_beta"),
    ("7.3", 0.7, "its logit"),
    ("8.2", (0.06641431, 0.12451621), "wrong order"),
    ("8.3", lambda r: 0.0, "χ²"),
    ("8.3", lambda r: r, "it fails with TypeError"),
    ("9.1", 4.1063, "whole number"),
    ("9.1", 5.1, "3 significant"),
    ("9.2", np.log(10), "log R"),
    ("10.4", -2, "one more"),
    ("11.1", 0.2027260910675408 / np.log(2), "bits"),
    ("12.1", Claim("S1", "", (), "", "ours", "cited", "lesson", (cited("best", "", 1.0, because=""),)), "an equality"),
    ("12.2", lambda n, *, rng, profile: 1.0, "Estimate"),
    ("12.3", 91.0, "two standard errors"),
    ("13.2", -60.45, "the sign"),
    ("13.3", 0.0025875, "solve"),
    ("13.3", 8.11, "not yet"),
    ("13.4", ("off", 0.01), "did not move most"),
]


def test_lessons_and_exercises_belong_together():
    assert [lesson.number for lesson in LESSONS] == list(range(1, len(LESSONS) + 1))
    assert [exercise for lesson in LESSONS for exercise in lesson.exercises] == list(EXERCISES)
    assert all(exercise.startswith(f"{lesson.number}.") for lesson in LESSONS for exercise in lesson.exercises)
    assert all(len(lesson.exercises) >= 3 for lesson in LESSONS)


def test_the_readme_lists_every_lesson_with_its_experiment_and_its_minutes():
    rows = re.findall(r"^\| (\d+) [^|]+ \| `python -m ([^`]+)` \| (\d+) \| [^|]+ \|$", README, re.MULTILINE)
    assert [(int(number), f"{minutes} minutes") for number, _, minutes in rows] == [(n.number, n.time) for n in LESSONS]
    for _, command, _ in rows:
        stage, *words = command.split()
        assert stage in ("theory", "simulate", "llm_validation", "figures", "paper")
        assert find_claims([word for word in words if re.fullmatch(r"[A-Z]\d+", word)]), command


def test_the_real_model_was_trained_as_its_lesson_says():
    stamps = json.loads(
        (ROOT / "llm_validation" / "results" / "reference-smollm2" / "stamps.json").read_text(encoding="utf-8")
    )
    assert {stamp["config"]["train"] for stamp in stamps.values()} == {"top:1"}
    assert "one pair per prompt, its top block trained" in LESSONS[12].path.read_text(encoding="utf-8")


def run(cells: list, said: list[str], failed: list[str], names: dict[str, object]) -> None:
    """Run cells one after another: what they show, and the exercises that are not yet answered."""
    with np.errstate(all="warn", under="ignore"):
        for cell in cells:
            *statements, last = ast.parse(cell.source).body
            try:
                exec(compile(ast.Module(statements, []), "lesson", "exec"), names)
                if isinstance(last, ast.Expr):
                    said.append(repr(eval(compile(ast.Expression(last.value), "lesson", "eval"), names)))
                else:
                    exec(compile(ast.Module([last], []), "lesson", "exec"), names)
            except NotYet:
                failed.append(cell.source.split('"')[1])
    plt.close("all")


def cells_of(lesson, *, student: bool) -> list:
    return [cell for cell in notebook(lesson, student=student).cells if cell.cell_type == "code"]


@cache
def before_answers(lesson) -> tuple[int, list[str], dict[str, object]]:
    """The cells before the first answer, the same in both versions, are run once: how many, what they show, names."""
    both = zip(cells_of(lesson, student=False), cells_of(lesson, student=True), strict=True)
    same = [one for one, _ in takewhile(lambda pair: pair[0].source == pair[1].source, both)]
    said, failed, names = [], [], {"__name__": "lesson"}
    run(same, said, failed, names)
    assert failed == []
    return len(same), said, names


def shown(lesson, *, student: bool = False) -> tuple[list[str], list[str]]:
    """What the cells of a version show, and the exercises that are not yet answered."""
    begun, before, names = before_answers(lesson)
    said, failed = list(before), []
    run(cells_of(lesson, student=student)[begun:], said, failed, dict(names))
    return said, failed


def right(said: list[str]) -> list[str]:
    return [text for text in said if "right" in text]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.path.stem)
def test_the_teacher_s_version_answers_every_exercise(lesson):
    pytest.importorskip("jupytext", reason="lessons need the extra `lessons`")
    said, failed = shown(lesson)
    assert (right(said), failed) == ([f"'exercise {e}: right'" for e in lesson.exercises], [])


@pytest.mark.slow
def test_lessons_are_rendered_in_a_kernel_and_again_only_if_something_changed(tmp_path, monkeypatch):
    pytest.importorskip("nbclient", reason="lessons need the extra `lessons`")
    mine = [LESSONS[5], LESSONS[12]]
    assert render(tmp_path, mine) == []
    assert current(tmp_path) == mine
    for lesson in mine:
        page = page_of(lesson, tmp_path).read_text(encoding="utf-8")
        assert [e for e in lesson.exercises if f"exercise {e}: right" not in page] == []
        assert "<svg" in page or "data:image/svg" in page
        assert "http" not in page.replace("http://www.w3.org", "")  # it loads nothing
        assert (tmp_path / f"{lesson.path.stem}_student.ipynb").is_file()
    again = lambda lessons, *_: [(lesson.number, f"{lesson.number} again") for lesson in lessons]
    monkeypatch.setattr("paper.lessons.rendered._render", again)
    assert render(tmp_path, mine) == []
    page_of(mine[0], tmp_path).write_text(page_of(mine[0], tmp_path).read_text(encoding="utf-8")[:-5])
    assert render(tmp_path, mine) == ["6 again"]
    monkeypatch.setattr("paper.lessons.rendered._recorded", lambda: b"other rows")
    assert (current(tmp_path), render(tmp_path, mine)) == ([], ["6 again", "13 again"])


@pytest.mark.slow
def test_a_lesson_that_fails_or_lacks_a_package_is_one_sentence(tmp_path, monkeypatch):
    pytest.importorskip("nbclient", reason="lessons need the extra `lessons`")
    monkeypatch.setattr("paper.lessons.rendered._stamp", lambda lesson: "made from this\n")
    path = tmp_path / "01_fails.py"
    path.write_text("# %% [markdown]\n# # Fails\n# %%\n1 / 0\n")
    assert render(tmp_path / "out", [Lesson(path)]) == ["lesson 1 is not rendered: ZeroDivisionError: division by zero"]
    assert not page_of(Lesson(path), tmp_path / "out").exists()
    monkeypatch.setattr("paper.lessons.rendered.find_spec", lambda name: None if name == "nbconvert" else name)
    (said,) = render(tmp_path / "out", LESSONS)
    assert said == "lessons are not rendered without nbconvert; pip install -e '.[lessons]' brings it"


@pytest.mark.slow
def test_of_a_lesson_nothing_is_left_for_the_next_one(tmp_path, monkeypatch):
    """Names are gone, cells are numbered anew; one that never ends or ends its kernel takes no other along."""
    pytest.importorskip("nbclient", reason="lessons need the extra `lessons`")
    monkeypatch.setattr("paper.lessons.notebooks.SECONDS", 3)
    sources = ("mine = 1\nmine", "mine", "while True: pass", "2", "import os; os._exit(1)", "3", "4")
    notebooks = []
    for number, source in enumerate(sources, 1):
        path = tmp_path / f"{number:02d}_lesson.py"
        path.write_text(f"# %% [markdown]\n# # A lesson\n# %%\n{source}\n")
        notebooks.append(notebook(Lesson(path)))
    found = list(executed(notebooks))
    errors = [found[i] for i in (1, 2, 4)]
    assert [type(error).__name__ for error in errors] == ["CellExecutionError", "CellTimeoutError", "DeadKernelError"]
    assert "name 'mine' is not defined" in str(errors[0])
    outputs = [found[i].cells[-1].outputs[0] for i in (0, 3, 5, 6)]
    assert [(o.data["text/plain"], o.execution_count) for o in outputs] == [("1", 2), ("2", 2), ("3", 2), ("4", 2)]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.path.stem)
def test_the_student_s_version_fails_exactly_at_its_exercises(lesson):
    pytest.importorskip("jupytext", reason="lessons need the extra `lessons`")
    assert shown(lesson, student=True)[1] == list(lesson.exercises)


@pytest.mark.parametrize(("exercise", "answer", "hint"), MISTAKES)
def test_a_mistake_gets_its_hint(exercise, answer, hint):
    with pytest.raises(NotYet, match=hint):
        check(exercise, answer)


def test_a_hint_is_never_the_answer():
    """No mistake has the seal of the right value, and rounding alone decides."""
    for number, exercise in EXERCISES.items():
        if isinstance(exercise, Number):
            assert exercise.seal not in exercise.hints, number
    assert seal("1.1", 5.0004539, 6) == EXERCISES["1.1"].seal
    assert check("1.1", 5.00045)
    with pytest.raises(NotYet):
        check("1.1", 5.0006)
    exercise, right = "11.2", (1.7659914, 1.8350887)
    assert check(exercise, (1.7659, 1.8351))  # cut off, and rounded
    with pytest.raises(NotYet):
        check(exercise, (right[0] - 2e-4, right[1]))


def test_the_command_writes_notebooks(tmp_path, capsys):
    pytest.importorskip("jupytext", reason="lessons need the extra `lessons`")
    assert main(["lessons"]) == 0
    assert "6  Why the likelihood" in capsys.readouterr().out
    assert main(["lessons", "99"]) == 2
    assert "no lesson '99'" in capsys.readouterr().err
    assert main(["lessons", "6", "--student", "--out", str(tmp_path)]) == 0
    cells = json.loads((tmp_path / "06_underdetermination_student.ipynb").read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells]
    assert "level = ...  # your answer" in sources
    assert not any("pair_log_ratio(9 / 4)" in source for source in sources)
