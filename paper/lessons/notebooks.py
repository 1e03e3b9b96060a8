"""Lessons as notebooks: percent scripts become a teacher's or a student's notebook, are executed, and rendered.

A cell tagged `answer` holds the teacher's answer; in the student's version each name that it assigns is `...`.
"""

from __future__ import annotations

import ast
import asyncio
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulate.rows.reach import ROOT

FOLDER = Path(__file__).parent
#: Of an executed lesson: no cell may take longer.
SECONDS = 120
#: What is run before a lesson's first cell: names of the lesson before it are gone, warnings are errors, figures come
#: inline and small.
PREAMBLE = """
%reset -f
import warnings
warnings.filterwarnings("error", module="(theory|simulate|llm_validation|figures|paper|__main__)")
%matplotlib inline
%config InlineBackend.figure_formats = ["svg"]
"""
#: The environment of a kernel: one thread, no model hub, this checkout.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}


@dataclass(frozen=True)
class Lesson:
    """A lesson on disk: its number, name and title."""

    path: Path

    @property
    def number(self) -> int:
        return int(self.path.stem.split("_")[0])

    @property
    def title(self) -> str:
        """The first heading."""
        found = re.search(r"^# # (.*)$", self.path.read_text(encoding="utf-8"), re.MULTILINE)
        if found is None:
            raise ValueError(f"{self.path} has no heading")
        return found[1]

    @property
    def exercises(self) -> tuple[str, ...]:
        """Its exercises, in order."""
        return tuple(re.findall(r'^check\("([^"]+)"', self.path.read_text(encoding="utf-8"), re.MULTILINE))

    @property
    def time(self) -> str:
        """How long a class takes for it, as it says."""
        found = re.search(r"\*\*Time\*\* (\d+ minutes)", self.path.read_text(encoding="utf-8"))
        if found is None:
            raise ValueError(f"{self.path} does not say its time")
        return found[1]


def all_lessons() -> tuple[Lesson, ...]:
    """All lessons in order."""
    return tuple(Lesson(path) for path in sorted(FOLDER.glob("[0-9][0-9]_*.py")))


def find_lessons(numbers: list[str]) -> tuple[Lesson, ...]:
    """The lessons of these numbers, all for none; ValueError names one that does not exist."""
    lessons = all_lessons()
    for number in numbers:
        if number not in {str(lesson.number) for lesson in lessons}:
            raise ValueError(f"no lesson {number!r}; there are 1 to {len(lessons)}")
    return tuple(lesson for lesson in lessons if not numbers or str(lesson.number) in numbers)


def notebook(lesson: Lesson, *, student: bool = False) -> Any:
    """A lesson as a notebook without outputs, the teacher's or the student's version."""
    import jupytext

    found = jupytext.reads(lesson.path.read_text(encoding="utf-8"), fmt="py:percent")
    found.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for number, cell in enumerate(found.cells):
        cell["id"] = f"cell-{number}"  # the same file twice
        if student and "answer" in cell.metadata.get("tags", ()):
            cell.source = "\n".join(f"{name} = ...  # your answer" for name in _assigned(cell.source))
    return found


def _assigned(source: str) -> list[str]:
    """The names that an answer gives to the check: those assigned or defined, in order."""
    names: list[str] = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return list(dict.fromkeys(name for name in names if not name.startswith("_")))


def executed(notebooks: Iterable[Any]) -> Iterator[Any]:
    """Notebooks run from their first cells, with their outputs, or nbclient's error where a cell failed.

    One kernel runs them one after another, since to start one takes longer than most lessons; a notebook that runs for
    too long, or ends its kernel, takes it along.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    client: Any = None
    with asyncio.Runner() as runner:
        try:
            for found in notebooks:
                found.cells.insert(0, nbformat.v4.new_code_cell(PREAMBLE))
                if client is None:
                    client = NotebookClient(found, timeout=SECONDS, resources={"metadata": {"path": str(ROOT)}})
                    client.extra_arguments = ["--log-level=ERROR"]
                client.nb = found
                try:
                    runner.run(client.async_execute(cleanup_kc=False, env={**os.environ, **ENVIRONMENT}))
                except CellExecutionError as error:
                    yield error
                except (CellTimeoutError, DeadKernelError) as error:
                    ended, client = client, None
                    runner.run(_end(ended))
                    yield error
                else:
                    yield _as_alone(found)
        finally:
            if client is not None:
                runner.run(_end(client))


async def _end(client: Any) -> None:
    """Stop a client's kernel, whatever it does."""
    client.kc.stop_channels()
    await client.km.shutdown_kernel(now=True)


def _as_alone(found: Any) -> Any:
    """An executed notebook without the preamble, its outputs numbered as if its kernel had run nothing before."""
    del found.cells[0]
    for cell in found.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "execute_result":
                output.execution_count = cell.execution_count
    return found


def write_notebook(lesson: Lesson, out: Path, *, student: bool = False) -> Path:
    """A lesson into a folder as .ipynb without outputs; returns the file."""
    import nbformat

    path = out / f"{lesson.path.stem}{'_student' if student else ''}.ipynb"
    nbformat.write(notebook(lesson, student=student), path)
    return path


def html(found: Any, title: str) -> str:
    """An executed notebook as one HTML page that loads nothing."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="basic", embed_images=True)
    body, _ = exporter.from_notebook_node(found)
    return PAGE.format(title=title, body=body)


#: A lesson's page: prose in one column, code in a box, dark where the reader's system is.
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
:root {{ color-scheme: light dark; --line: #8884; --box: #8881; }}
body {{ font: 16px/1.55 Georgia, serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }}
pre, code {{ font: 13px/1.45 ui-monospace, monospace; }}
pre {{ background: var(--box); border: 1px solid var(--line); padding: .6rem .8rem; overflow-x: auto; }}
h1 {{ line-height: 1.2; }} svg, img {{ max-width: 100%; height: auto; background: white; }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; }}
td, th {{ padding: .2rem .6rem; border-bottom: 1px solid var(--line); }}
.jp-InputPrompt, .jp-OutputPrompt, .prompt, .anchor-link {{ display: none; }}
</style></head><body><p><a href="../index.html">All claims</a></p>
{body}
</body></html>
"""
