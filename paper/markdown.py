"""The ledger as Markdown: one screen with a row per claim, and a file per topic with every check and setting.

Wherever a verdict stands, so do z, the resolution and its reason. What comes from outside (names of files in settings,
witnesses) is escaped, so that no table breaks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from llm_validation.recorded import MODELS, Model
from paper.latex import RELATION, estimate, number
from paper.ledger import Entry, Line, Pooled, agrees_by_resolution, by_check, filled, share, z_score
from theory.claim import Check
from theory.markup import code, markdown_text
from theory.sources import plain

LEGEND = (
    "z is (estimate − theory)/standard error; the resolution, written down before anything ran unless its reason "
    "says otherwise, is how far an estimate may be off. † marks what agrees by the resolution alone: theory is outside "
    "the interval of 99 %. `Notices 5 %` is the share of agreeing settings that would disagree with a prediction 5 % "
    "off; — where 0 is predicted and nothing says of what, or nothing agrees."
)


def overview(claims: Sequence[Line], ledger: Sequence[Entry]) -> str:
    """ledger.md: what does not agree, which columns there are, and one row per claim, linked to its topic's file."""
    models = filled(ledger)
    head = ["claim", "title", "simulation", *(model.heading for model in models.values()), "verdict"]
    rows = [
        [link(line.claim.id, line.claim.topic), line.claim.title, line.simulation if line.claim.checks else "—",
         *(line.trained[name] for name in models), f"**{line.verdict}**"]
        for line in claims
    ]  # fmt: skip
    other = [line for line in claims if line.verdict != "agrees"]
    named = ", ".join(f"{link(line.claim.id, line.claim.topic)} ({line.verdict})" for line in other)
    text = [
        "# The ledger of claims",
        "",
        "Theory predicts; simulation and trained language models measure. A missing value is never a pass.",
        columns_sentence(models),
        f"Not in agreement: {named}." if other else "Every claim agrees.",
        "",
        *table(head, rows),
    ]
    return "\n".join(text) + "\n"


def columns_sentence(models: Mapping[str, Model]) -> str:
    """Which columns there are, and which command fills each of the others."""
    there = ", ".join(["simulation", *(model.heading for model in models.values())])
    empty = [
        f"{model.heading}, filled by `{'` or `'.join(model.commands)}`"
        for name, model in MODELS.items()
        if name not in models
    ]
    return f"Columns with rows: {there}." + (f" Not run yet, hence not printed: {'; '.join(empty)}." if empty else "")


def link(claim_id: str, topic: str) -> str:
    """A claim's place in its topic's file."""
    return f"[{claim_id}](ledger/{topic}.md#{claim_id.lower()})"


def details(claims: Sequence[Line], title: str = "") -> str:
    """Every check and setting of these claims: a topic's file, or what `python -m paper D4` prints."""
    models = filled(entry for line in claims for entry in line.entries)
    text = [f"# {title}", "", f"[All claims](../ledger.md). {LEGEND}", ""] if title else [LEGEND, ""]
    for line in claims:
        text += [f"## {line.claim.id}", "", f"**{line.claim.title}**: **{line.verdict}**", ""]
        text += [f"{line.claim.statement} ({plain(line.claim.source)})", "", *_checks(line.entries, models), ""]
    return "\n".join(text)


def _checks(ledger: Sequence[Entry], models: Mapping[str, Model]) -> list[str]:
    head = ["check", "setting", "theory", "resolution", "simulation", *(m.heading for m in models.values()), "verdict"]
    rows = [
        [e.check.name, markdown_text(e.setting.replace(";", ", ")), f"{RELATION[e.check.kind]}{number(e.predicted)}",
         resolution(e),
         *(measured(e, pooled) for pooled in (e.simulation, *(e.trained[name] for name in models))), e.verdict]
        for e in ledger
    ]  # fmt: skip
    broken = [entry for entry in ledger if entry.verdict == "disagrees"]
    return [
        *table(head, rows),
        "",
        *(
            f"- `{check.name}` ({check.kind}): {check.quantity}. {reason(check)} {power(mine)}"
            for (_, check), mine in by_check(ledger).items()
        ),
        *(f"- witness of {e.check.name} at {markdown_text(e.setting)}: {code(e.witness or 'none')}" for e in broken),
    ]


def power(settings: Sequence[Entry]) -> str:
    """Share of a check's settings that would notice a prediction 5 % off."""
    found = share([noticed for entry in settings for noticed in entry.notices(0.05)])
    return f"Notices 5 %: {'—' if math.isnan(found) else f'{100 * found:.0f} %'}."


def reason(check: Check) -> str:
    """The resolution of a check and why it is that."""
    size = f"{check.resolution:g}{' of the prediction' if check.relative else ''}"
    return f"Resolution {size}: {check.because}." if check.resolution else f"No resolution: {check.because}."


def resolution(entry: Entry) -> str:
    """The resolution in the quantity's unit, — where there is none."""
    return number(entry.check.tolerance(entry.predicted), 3) if entry.check.resolution else "—"


def measured(entry: Entry, pooled: Pooled) -> str:
    """estimate ± standard error (z), with † where only the resolution makes it agree."""
    text = estimate(pooled)
    if pooled.seeds > 0 and pooled.stderr > 0.0:
        text += f" (z {number(z_score(entry.predicted, pooled), 2)})"
    return text + ("†" if agrees_by_resolution(entry, pooled) else "")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table; cells are escaped, so that every row has the columns of its head."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(escaped(cell) for cell in line)} |" for line in lines]


def escaped(cell: str) -> str:
    """A cell without what would end it or the row."""
    return " ".join(cell.split()).replace("|", r"\|")
