"""Write the ledger into paper/tables: ledger.md, ledger/TOPIC.md, ledger.csv, ledger.tex, sizes.md, the paper's tables.

    python -m paper                    from the rows of profile cpu
    python -m paper D4 d8 correction   print those claims (topics too), write nothing
    python -m paper --page             the page too, from one ledger: its predictions take as long as all else

commands:
    python -m paper page       write paper/tables/page/index.html, the page of all of it, and the lessons beside it
    python -m paper arxiv      after `make paper`: write build/arxiv, one flat folder of sources that compiles alone
    python -m paper lessons    the lessons, as notebooks or pages (--help says more)
    python -m paper power      print how many settings of every check would notice a prediction 1, 5, 30 % off
    python -m paper spending   print every check's seconds, and its noise in units of what it must resolve

The ledger and the page are written into --out, which nothing else takes. Where a profile has no rows yet, the recorded
ones are taken, and it is said that they are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from figures.sizes import read_sizes
from llm_validation.recorded import MODELS, recorded_rows
from paper import latex, markdown, power, spending, tables
from paper.arxiv import write_arxiv
from paper.ledger import Entry, as_table, filled, lines, load, with_rows
from paper.lessons.command import main as lessons
from paper.lessons.notebooks import all_lessons
from paper.lessons.rendered import render
from paper.page.build import LESSONS, write_page
from simulate.numbers import Parser, a_path, carried_out, unless_interrupted
from simulate.rows.reach import HOME
from simulate.rows.store import read_rows
from theory.claims import find_claims


def main(arguments: list[str] | None = None) -> int:
    """Command line; exit status 2 for input that cannot be used, else 0: a disagreement is a result, not an error."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["lessons"]:
        return lessons(words[1:])
    parser = Parser(prog="python -m paper", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words_for = "print these only: ids or topics; or one of the commands"
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help=words_for)
    parser.add_argument("--profile", choices=("smoke", "cpu", "gpu"), default="cpu")
    parser.add_argument("--page", action="store_true", help="write the page too")
    parser.add_argument("--out", type=a_path, help="folder of the ledger or the page; paper/tables by default")
    options = parser.parse_args(words)
    return carried_out("paper", lambda: answer(options))


def _spending(ledger: list[Entry], profile: str) -> str:
    rows = {spending.SIMULATION: read_rows(HOME / "simulate" / "results" / profile)}
    rows |= {name: recorded_rows(name, profile) for name in MODELS}
    return spending.report(spending.spent(ledger, rows))


#: What is printed of a ledger and its profile, in place of writing it.
REPORTS: dict[str, Callable[[list[Entry], str], str]] = {
    "power": lambda ledger, profile: power.report(ledger),
    "spending": _spending,
}


def answer(options: argparse.Namespace) -> None:
    """What was asked for. ValueError or OSError for a claim that is not, rows that cannot be read, a folder that cannot
    be written, which is found before anything is computed."""
    _check_words(options)
    words, out = options.claims, options.out or HOME / "paper" / "tables"
    if words == ["arxiv"]:
        print(f"The sources: {write_arxiv(HOME / 'build' / 'arxiv')}")
        return
    report = REPORTS.get(words[0]) if words else None
    page = words == ["page"]
    claims = find_claims(words) if words and not page and report is None else ()
    if page or not words:
        (out / "page" if page else out).mkdir(parents=True, exist_ok=True)
    profile = _judged(options.profile)
    ledger = load(profile)
    if report is not None:
        print(report(ledger, profile))
    elif claims:
        print(markdown.details(lines([entry for entry in ledger if entry.claim in claims])))
    elif not page:
        _write(ledger, options.profile, out, profile)
    if page or options.page:
        _write_page(ledger, profile, out / "page")


def _check_words(options: argparse.Namespace) -> None:
    """ValueError for words and options that do not go together."""
    words = " ".join(options.claims)
    if options.out is not None and options.claims not in ([], ["page"]):
        raise ValueError(f"--out is for the whole ledger and for the page, not for {words}")
    if options.page and options.claims:
        raise ValueError(f"--page is for the whole ledger, not for {words}")
    alone = {"page", "arxiv", *REPORTS} & set(options.claims)
    if alone and len(options.claims) > 1:
        raise ValueError(f"{' and '.join(sorted(alone))} must stand alone, not in {words}")


def _judged(profile: str) -> str:
    """The profile, or the recorded run where the profile has no rows yet, which is said."""
    found = with_rows(profile)
    if found != profile:
        recorded = read_rows(HOME / "simulate" / "results" / found)
        these = "these are of the recorded ones" if recorded else f"and no recorded ones in {HOME}: nothing is judged"
        print(f"paper: no rows of profile {profile} yet, {these}", file=sys.stderr)
    return found


def _write(ledger: list[Entry], profile: str, out: Path, rows_of: str) -> None:
    """Write everything, and print a line for each claim."""
    for message in write(ledger, profile, out, rows_of):
        print(f"paper: {message}", file=sys.stderr)
    ledger_lines, models = lines(ledger), filled(ledger)
    for line in ledger_lines:
        trained = " ".join(f"{model.heading}: {line.trained[name]:13s}" for name, model in models.items())
        print(f"{line.claim.id:4s} simulation: {line.simulation:13s} {trained} {line.claim.statement}")
    print(markdown.columns_sentence(models))
    print(f"{len(ledger_lines)} claims, {len(ledger)} checks, written to {out}")


def _write_page(ledger: list[Entry], profile: str, out: Path) -> None:
    """Write the page and the lessons beside it, and print where it is."""
    for message in render(out / LESSONS, all_lessons()):
        print(f"paper: {message}", file=sys.stderr)
    print(f"The page: {write_page(ledger, profile, out)}")


def write(ledger: list[Entry], profile: str, out: Path, rows_of: str = "") -> list[str]:
    """All generated files of the paper; returns what is to be said about folders that do not say their model's size.

    rows_of  the folder of simulation's rows, where it is not the profile's
    """
    claims = lines(ledger)
    simulation = read_rows(HOME / "simulate" / "results" / (rows_of or profile))
    sizes, messages = read_sizes(profile)
    across_sizes = tables.size_table(profile, sizes)
    borda = [("D4.bound", "adversary"), ("D4.certified", "certified"), ("D4.attained", "attained on I5")]
    ball = [("D8.limit", "RLHF on I6"), ("D9.on_I6", "NLHF on I6 (bound)")]
    texts = {
        "ledger.csv": as_table(ledger).to_csv(index=False),
        "ledger.md": markdown.overview(claims, ledger),
        "ledger.tex": latex.latex_ledger(claims),
        "numbers.tex": latex.latex_numbers(ledger) + tables.latex_numbers(across_sizes),
        "sizes.md": tables.markdown(across_sizes),
        "sizes.tex": tables.latex_sizes(across_sizes),
        "borda.tex": latex.latex_entries(ledger, borda),
        "ball.tex": latex.latex_entries(ledger, ball),
        "language_model.tex": latex.latex_language_model(ledger),
        "language_model_misses.tex": latex.latex_language_model_misses(ledger),
        "people.tex": latex.latex_people(simulation, 5),
    }
    for topic in dict.fromkeys(line.claim.topic for line in claims):
        mine = [line for line in claims if line.claim.topic == topic]
        texts[f"ledger/{topic}.md"] = markdown.details(mine, title=topic)
    (out / "ledger").mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (out / name).write_text(text, encoding="utf-8")
    return messages


if __name__ == "__main__":
    sys.exit(unless_interrupted("paper", main))
