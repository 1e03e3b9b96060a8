"""Puts the page together: the ledger's data, the closed forms, the figures, the reference, in one HTML file."""

from __future__ import annotations

import datetime
import io
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from urllib.parse import quote

from matplotlib import pyplot as plt

from figures.__main__ import FIGURES
from figures.layout import arrange
from figures.model_points import language_model_rows
from figures.style import look
from llm_validation.recorded import Model
from paper.latex import SCRIPT
from paper.ledger import Entry, Line, filled, lines
from paper.lessons.notebooks import Lesson
from paper.lessons.rendered import current, page_of
from paper.markdown import columns_sentence
from paper.page.closed_forms import script
from paper.page.data import TOPICS, claims_data, columns, speedups
from paper.page.reference import api_reference, with_code
from simulate.rows.reach import ROOT
from simulate.rows.store import Results, make_stamp, read_rows

SCRIPTS = ("judge.js", "chart.js", "cards.js", "claims.js")
GLYPHS = {"agrees": "●", "inconclusive": "?", "disagrees": "×", "not run": "·", "cited": "c", "": ""}
PLURAL = {"agrees": "agree", "disagrees": "disagree"}
#: The folder beside index.html that the lessons are rendered into.
LESSONS = "lessons"
LESSON_SECTION = """<section id="lessons" aria-labelledby="lessons-title">
  <h2 id="lessons-title">Lessons</h2>
  <p class="note">For a class: each computes in front of the students and marks their answers. The pages hold the
  teacher's answers; the notebooks for students do not.</p>
  <ol>{items}</ol>
</section>"""


def write_page(ledger: Sequence[Entry], profile: str, out: Path, root: Path = ROOT) -> Path:
    """Write `out`/index.html from a ledger of a profile's rows; returns its path."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "index.html"
    path.write_text(page(ledger, profile, out, root), encoding="utf-8")
    return path


def page(ledger: Sequence[Entry], profile: str, out: Path, root: Path = ROOT) -> str:
    """The page's text; links in it are relative to `out`."""
    claims, models = lines(ledger), filled(ledger)
    shown = [column for column in columns(models) if column["filled"]]
    data = {
        "claims": claims_data(claims, models, out),
        "columns": shown,
        "topics": {topic: name for topic, (name, _, _) in TOPICS.items()},
        "speedup": speedups(),
        "script": SCRIPT.pattern.replace("(?P<", "(?<"),  # JavaScript's spelling of a name
        "rows": _row_files(profile, models, out, root),
    }
    counts = Counter(line.verdict for line in claims)
    lessons = _lessons(out)
    return Template(_asset("template.html")).substitute(
        style=_asset("style.css"),
        count=len(claims),
        counts=" &nbsp; ".join(f"<b>{n}</b> {PLURAL.get(word, word)}" for word, n in counts.most_common()),
        strip=_strip(claims, models),
        rows=", ".join(escape(column["heading"]) for column in shown),
        columns_sentence=with_code(columns_sentence(models)),
        provenance=escape(_provenance(ledger, profile, root)),
        cards=_cards(claims, profile, root),
        plain=_plain(claims, models, [str(column["heading"]) for column in shown]),
        lessons=lessons,
        lessons_link='<a href="#lessons">Lessons</a>' if lessons else "",
        reference=api_reference(root),
        data=json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("</", "<\\/"),
        closed_forms=script(),
        scripts="\n".join(map(_asset, SCRIPTS)),
    )


def _asset(name: str) -> str:
    return resources.files("paper.page").joinpath(name).read_text(encoding="utf-8")


def _strip(claims: Sequence[Line], models: Mapping[str, Model]) -> str:
    """A block per topic: a column per claim, a cell per place where it was measured."""
    blocks = []
    for topic, (name, _, _) in TOPICS.items():
        mine = [line for line in claims if line.claim.topic == topic]
        cells = "".join(_strip_column(line, models) for line in mine)
        blocks.append(
            f'<div class="block"><h3>{name}</h3><div class="cells" style="--n:{len(mine)}">{cells}</div></div>'
        )
    return "".join(blocks)


def _strip_column(line: Line, models: Mapping[str, Model]) -> str:
    cells = "".join(
        f'<span class="cell {"none" if verdict in ("", "not run") else verdict}">{GLYPHS[verdict]}</span>'
        for verdict in line.columns(models)
    )
    words = escape(f"{line.claim.id}, {line.claim.title}: {line.verdict}")
    return (
        f'<a class="column" href="#{line.claim.id}" title="{words}" aria-label="{words}">'
        f'<span class="id">{line.claim.id[1:]}</span>{cells}</a>'
    )


def _plain(claims: Sequence[Line], models: Mapping[str, Model], headings: Sequence[str]) -> str:
    """The claims as text, for who has no JavaScript; those that do not agree first, as with it."""
    found = []
    for line in sorted(claims, key=lambda line: line.verdict == "agrees"):
        verdicts = zip(headings, line.columns(models), strict=True)
        columns = " · ".join(f"{escape(name)}: {verdict}" for name, verdict in verdicts if verdict)
        found.append(
            f'<article id="{line.claim.id}"><p><b>{line.claim.id} {escape(line.claim.title)}</b> '
            f'<span class="verdict {line.verdict}">{line.verdict}</span><br>{escape(line.claim.statement)}<br>'
            f'<span class="note">{columns}</span></p></article>'
        )
    return "".join(found)


def _provenance(ledger: Sequence[Entry], profile: str, root: Path) -> str:
    """Commit, date, profile and seeds: of this page, and of the rows that it shows."""
    now = make_stamp(profile, {})
    stamps = Results(root / "simulate" / "results" / profile).stamps.values()
    commits = sorted({str(stamp.get("commit", "unknown"))[:7] for stamp in stamps})
    seeds = max((pooled.seeds for entry in ledger for pooled in entry.trained.values()), default=0)
    changed = "" if now["clean"] else ", changed"
    measured = sum(p.seeds > 0 for e in ledger for p in e.columns)
    return (
        f"page {datetime.date.today().isoformat()}, commit {str(now['commit'])[:7]}{changed} · "
        f"rows of profile {profile}, simulated at commit {', '.join(commits) or 'unknown'} · {measured} measurements, "
        f"models over at most {max(seeds, 0)} seeds"
    )


def _row_files(profile: str, models: Mapping[str, Model], out: Path, root: Path) -> list[list[str]]:
    """[name, link] of every rows.csv that the ledger was read from."""
    folders = [f"simulate/results/{profile}"]
    folders += [f"llm_validation/results/{model.folder or profile}" for model in models.values()]
    here = os.path.relpath(root, out)
    return [[f"{folder}/rows.csv", f"{here}/{folder}/rows.csv"] for folder in folders]


def _cards(claims: Sequence[Line], profile: str, root: Path) -> str:
    rows = read_rows(root / "simulate" / "results" / profile) + language_model_rows(profile, None)
    cards = []
    for topic, (name, sentence, figure) in TOPICS.items():
        ids = [line.claim.id for line in claims if line.claim.topic == topic]
        cards.append(
            f'<div class="card" id="card-{topic}" data-topic="{topic}"><h3>{name} '
            f'<span class="ids">{ids[0]}–{ids[-1]}</span></h3><p>{sentence}</p>'
            '<div class="controls"></div><div class="editor"></div><div class="charts"></div>'
            f'<dl class="readout" aria-live="off"></dl>{_figure(figure, rows)}</div>'
        )
    return "".join(cards)


def _figure(name: str, rows: Sequence[object]) -> str:
    """One figure of the topic as an SVG image, closed at first; nothing where it has no rows."""
    with look(), plt.rc_context({"svg.fonttype": "none"}):
        drawn = FIGURES[name].figure(rows)
        if drawn is None:
            return ""
        arrange(drawn, drawn.get_figwidth())
        stream = io.StringIO()
        drawn.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    # quotes, long in a URL, become apostrophes: those that an attribute or a word has are named before
    text = re.sub(r"(\d+\.\d)\d+", r"\1", stream.getvalue()).replace("'STIXGeneral'", "STIXGeneral")
    text = text.replace("'", "&apos;").replace('"', "'")
    image = quote(re.sub(r"\s+", " ", text), safe=" /:;,.=()<>'-+*!?@[]{}|^~$")
    return (
        f'<details><summary>The figure: <code>{name}</code></summary><div class="scroll" tabindex="0" role="region" '
        f'aria-label="figure {name}"><img class="figure" loading="lazy" '
        f'alt="Figure {name}, as python -m figures draws it" src="data:image/svg+xml,{image}"></div></details>'
    )


def _lessons(out: Path) -> str:
    """The lessons that stand rendered in the folder `LESSONS` beside the page; nothing without one."""
    items = "".join(_lesson(lesson, out / LESSONS) for lesson in current(out / LESSONS))
    return LESSON_SECTION.format(items=items) if items else ""


def _lesson(lesson: Lesson, folder: Path) -> str:
    """A lesson as an entry of the list: its page, how long it takes, and the student's notebook."""
    page, notebook = f"{LESSONS}/{page_of(lesson, folder).name}", f"{LESSONS}/{lesson.path.stem}_student.ipynb"
    return (
        f'<li value="{lesson.number}"><a href="{page}">{escape(lesson.title)}</a> <span class="note">{lesson.time}, '
        f'{len(lesson.exercises)} exercises · <a href="{notebook}" download>for students</a></span></li>'
    )
