"""The ledger and its tables as LaTeX (Markdown: `paper.markdown`). Numbers come from entries; nothing is typed here."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from llm_validation.claims.table import trained_checks
from llm_validation.recorded import MODELS
from paper.ledger import EXACT, Entry, Line, Pooled, by_check, filled
from simulate.rows.populations import by_population
from simulate.rows.store import Row
from theory.claim import parse_setting
from theory.distortion.methods import METHODS
from theory.markup import latex, tex_name
from theory.sources import parts


def number(value: float, digits: int = 6) -> str:
    """A number for a table: `digits` significant digits, — for NaN, ∞ for infinity."""
    if math.isnan(value):
        return "—"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.{digits}g}"


def estimate(pooled: Pooled, digits: int = 6) -> str:
    """estimate ± standard error, without the ± where it is exact; `not run` as such, — where nothing is to be run."""
    if pooled.seeds < 0:
        return "—"
    if pooled.seeds == 0:
        return "not run"
    return plus_minus(pooled.estimate, pooled.stderr, digits)


def plus_minus(value: float, stderr: float, digits: int = 6, error_digits: int = 2) -> str:
    """value ± standard error, without the ± where it is exact."""
    if stderr <= EXACT * abs(value):
        return number(value, digits)
    return f"{number(value, digits)} ± {number(stderr, error_digits)}"


def printed(pooled: Pooled, exact_digits: int = 6) -> str:
    r"""A measured number for sentences and tables, as LaTeX: value and standard error to two digits of the error.

    Where there is no error, `exact_digits` significant digits. Powers of ten are written out.

    >>> printed(Pooled(1.09193, 0.0158, 3, ""))
    '1.092 \\ensuremath{\\pm} 0.016'
    >>> printed(Pooled(1.43e-6, 5.68e-7, 3, ""))
    '(1.43 \\ensuremath{\\pm} 0.57)\\ensuremath{{}\\cdot10^{-6}}'
    >>> printed(Pooled(1.9033e-6, 0.0, 1, ""), 3)
    '1.9\\ensuremath{{}\\cdot10^{-6}}'
    >>> printed(Pooled(-3.1e-6, 0.00038, 3, ""))  # no sign where the digits are zero
    '0.00000 \\ensuremath{\\pm} 0.00038'
    """
    if pooled.seeds <= 0:
        return latex(estimate(pooled))
    return rounded(pooled.estimate, pooled.stderr, exact_digits)


def rounded(value: float, stderr: float, exact_digits: int = 6) -> str:
    """`printed` of a number and its error."""
    if not math.isfinite(value) or stderr <= 1e-6 * abs(value):  # six digits do not see the error
        return _power(latex(plus_minus(value, stderr, exact_digits)))
    exponent = math.floor(math.log10(max(abs(value), stderr)))
    shift = exponent if exponent < -4 or exponent > 5 else 0
    digits = max(0, shift + 1 - math.floor(math.log10(float(f"{stderr:.1e}"))))
    both = latex(f"{value / 10.0**shift:z.{digits}f} ± {stderr / 10.0**shift:.{digits}f}".replace("-", "−"))
    return rf"({both})\ensuremath{{{{}}\cdot10^{{{shift}}}}}" if shift else both


#: π_ref, n_{j−1}, max_j and F^N, e^{−r}, 10^(1/k) in plain text; names of several letters (kl_beta) are none.
SCRIPT = re.compile(
    r"(?:(?<![A-Za-z_])(?P<base>max|min|sup|inf|[A-Za-zα-ωΑ-Ω][⁺⁻\u0302]?)_|\^)"
    r"(?P<index>\{[^{}]+\}|\([^()]*\)|[−-]?(?:[A-Za-z0-9]+|[α-ω]|½))"
)


def formulas(text: str, *, outside: bool = False) -> str:
    r"""Plain text as LaTeX, with the indices and powers that it writes as such.

    >>> formulas("F(y)^N, c_x, kl_beta, R^{1/2}")
    'F(y)\\textsuperscript{N}, c\\textsubscript{x}, kl\\_beta, R\\textsuperscript{1/2}'
    """
    out, end = "", 0
    for found in SCRIPT.finditer(text):
        out += latex(text[end : found.start()] + (found["base"] or ""), outside=outside)
        index, below = found["index"], found["base"] is not None
        out += rf"\text{'sub' if below else 'super'}script{{{latex(index.strip('{}'), outside=outside)}}}"
        end = found.end()
    return out + latex(text[end:], outside=outside)


def _power(text: str) -> str:
    """1.9e-06 as a power of ten."""
    return re.sub(r"(?<=\d)e([+-]\d+)", lambda found: rf"\ensuremath{{{{}}\cdot10^{{{int(found[1])}}}}}", text)


def cite(source: str) -> str:
    r"""A claim's source as LaTeX: "@golz2025 Thm 2; ours" is "\cite[Thm 2]{golz2025}; ours"."""
    cells = []
    for key, place in parts(source):
        words = latex(place)
        remark = not key or words.startswith("(") or "]" in words
        citation = rf"\cite{f'[{words}]' if words and not remark else ''}{{{key}}}" if key else ""
        cells.append(f"{citation} {words}".strip() if remark else citation)
    return "; ".join(cells)


#: A column of text that is not justified, which in a narrow one stretches or overflows.
LEFT = r">{\raggedright\arraybackslash}p"
#: Verdicts in narrow columns; a model without rows has nothing to be judged.
SHORT = {"inconclusive": "inconcl.", "not run": "---"}
#: The same as marks, which the section explains.
MARKS = {"agrees": r"$\bullet$", "inconclusive": "?", "disagrees": r"$\times$", "cited": "c", "not run": "---"}


def latex_ledger(claims: Sequence[Line]) -> str:
    """ledger.tex: the claims as a longtable."""
    models = [name for name in MODELS if any(line.trained[name] != "not run" for line in claims)]
    rows = [
        [c.claim.id, formulas(c.claim.statement), cite(c.claim.source),
         *(MARKS[word] for word in (c.simulation, *(c.trained[name] for name in models), c.verdict))]
        for c in claims
    ]  # fmt: skip
    shortest = [MODELS[name].short.removeprefix("GPU, ") for name in models]
    head = ["claim", "statement", "source", "sim.", *shortest, "all"]
    columns = rf"@{{}}l{LEFT}{{.47\textwidth}}{LEFT}{{.235\textwidth}}c{'c' * len(models)}c@{{}}"
    return table("longtable", columns, [head], rows)


def latex_entries(ledger: Sequence[Entry], columns: Sequence[tuple[str, str]]) -> str:
    """A table of chosen checks over bt_beta: one row per β, theory and simulation of each `(check, heading)`."""
    by_check = {
        key: {parse_setting(e.setting)["bt_beta"]: e for e in ledger if f"{e.claim.id}.{e.check.name}" == key}
        for key, _ in columns
    }
    rows = []
    for beta in sorted({beta for found in by_check.values() for beta in found}, key=float):
        cells = [str(beta)]
        for key, _ in columns:
            entry = by_check[key].get(beta)
            cells += [_power(latex(number(entry.predicted))), printed(entry.simulation)] if entry else ["---", "---"]
        rows.append(cells)
    heads = [r"$\beta$", *(rf"\multicolumn{{2}}{{c}}{{{heading}}}" for _, heading in columns)]
    kinds = ["", *["theory", "simulation"] * len(columns)]
    return table("tabular", "r" + "rr" * len(columns), [heads, kinds], rows)


def latex_people(rows: Sequence[Row], bt_beta: float) -> str:
    """Distortion of every method on every population of raters at one β, with 95 % bootstrap intervals."""
    mine = [row for row in rows if row.claim == "D17" and parse_setting(row.setting)["bt_beta"] == bt_beta]
    populations = {
        name: {row.check.removesuffix("_on_rated_pairs"): row for row in own}
        for name, own in by_population(mine).items()
    }
    body = [
        [latex(method.label), *(latex(_interval(found.get(name))) for found in populations.values())]
        for name, method in METHODS.items()
    ]
    head = ["method", *(latex(population, outside=True) for population in populations)]
    return table("tabular", "l" + "r" * len(populations), [head], body)


def _interval(row: Row | None) -> str:
    return "—" if row is None else f"{number(row.estimate, 4)} [{number(row.low, 4)}, {number(row.high, 4)}]"


#: How a prediction reads in a table, by the kind of its check.
RELATION = {"equality": "", "rate": "", "upper bound": "≤ ", "lower bound": "≥ ", "ordering": "> ",
            "invariant": "", "cited": "≥ "}  # fmt: skip
#: From bad to good: which of a check's settings stands for it.
SEVERITY = ("disagrees", "inconclusive", "not run", "cited", "agrees")


def of_language_model(ledger: Sequence[Entry]) -> list[Entry]:
    """The entries that a trained language model is judged by."""
    return [entry for entry in ledger if entry.check in trained_checks(entry.claim.id)]


def tightest(ledger: Sequence[Entry]) -> Entry:
    """Of one check's entries the worst judged, and of those the one nearest to (or farthest over) its limit."""
    return min(ledger, key=lambda entry: (SEVERITY.index(entry.verdict), -_excess(entry)))


def _excess(entry: Entry) -> float:
    """How far the worst language-model column is on the wrong side, in resolutions where there is one."""
    reached = [pooled.estimate for pooled in entry.trained.values() if pooled.seeds > 0]
    found = [entry.check.excess(entry.predicted, value) for value in reached if not math.isnan(value)]
    return max(found, default=-math.inf) / (entry.check.tolerance(entry.predicted) or 1.0)


def latex_language_model(ledger: Sequence[Entry]) -> str:
    """language_model.tex: every check on a language model on one line, at the setting that says the least for it."""
    models, rows, without = filled(ledger), [], 0
    for mine in by_check(of_language_model(ledger)).values():
        measured = [entry for entry in mine if entry.verdict != "not run"]
        without += not measured
        if measured:
            rows.append(_language_model_cells(tightest(measured), models, len(measured)))
    caption = "Every check on a trained language model that has rows, at the setting that says the least for it."
    if without:
        caption += f" For {without} more, of larger models, no rows are recorded; the ledger lists them."
    return _language_model_table(rows, caption, "tab:language-model")


def latex_language_model_misses(ledger: Sequence[Entry]) -> str:
    """language_model_misses.tex: every setting at which a language model was judged and does not agree."""
    missed = [e for e in of_language_model(ledger) if e.verdict in ("disagrees", "inconclusive")]
    models = filled(ledger)
    rows = [_language_model_cells(entry, models) for entry in missed] or [["none", *[""] * 4]]
    caption = "Settings at which a language model was judged and does not agree."
    return _language_model_table(rows, caption, "tab:language-model-misses")


def _language_model_cells(entry: Entry, models: Iterable[str], settings: int = 1) -> list[str]:
    """Claim, quantity and setting, prediction, what each model reached (LLM where none is named), verdict."""
    where = entry.setting.replace(";", ", ")
    where = f"{where}, of {settings} settings" if settings > 1 else where
    cells = [
        entry.claim.id,
        _quantity(entry) + (f" ({where})" if where else ""),
        RELATION[entry.check.kind] + re.sub("^-", "−", number(entry.predicted, 3)),
    ]
    reached = [
        f"{'' if name == 'llm' else f'{MODELS[name].short}: '}{printed(entry.trained[name], 3)}"
        for name in models
        if entry.trained[name].seeds > 0
    ]
    text = (_power(formulas(cell, outside=True)) for cell in cells)
    return [*text, "; ".join(reached), SHORT.get(entry.verdict, entry.verdict)]


def _quantity(entry: Entry) -> str:
    """What a check measures; "the same" of the check before it is spelt out."""
    quantity, checks = entry.check.quantity, list(trained_checks(entry.claim.id))
    before = checks.index(entry.check)
    while quantity.startswith("the same") and before > 0:
        before -= 1
        quantity = f"{checks[before].quantity}; {quantity}"
    return quantity


def _language_model_table(rows: Sequence[Sequence[str]], caption: str, label: str) -> str:
    head = ["claim", "quantity (setting)", "theory", "reached", "verdict"]
    columns = rf"@{{}}l{LEFT}{{.56\textwidth}}l{LEFT}{{.22\textwidth}}l@{{}}"
    return table("longtable", columns, [head], rows, rf"\caption{{{caption}}}\label{{{label}}}\\")


def table(
    environment: str, columns: str, heads: Sequence[Sequence[str]], rows: Sequence[Sequence[str]], caption: str = ""
) -> str:
    """A booktabs table from cells that are LaTeX already; a longtable repeats its head on every page.

    caption  above the head of a longtable's first page
    """
    head = [r"\toprule", *(" & ".join(line) + r" \\" for line in heads)]
    first = [caption, *head, r"\midrule\endfirsthead"] if caption else []
    lines = [
        rf"\begin{{{environment}}}{{{columns}}}",
        *first,
        *head,
        r"\midrule\endhead" if environment == "longtable" else r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        rf"\end{{{environment}}}",
    ]
    return "\n".join(lines) + "\n"


def latex_numbers(ledger: Sequence[Entry]) -> str:
    r"""numbers.tex: every number of the ledger by name, for prose: \ledger{D8.limit}{bt_beta=10;eta=1e-09}{theory}.

    An unknown name is a LaTeX error, so that prose cannot cite a number that no row knows. A number stands beside the
    verdict of its own column: \ledger{P15.full_slope}{method=pro}{llm verdict}. The language models'
    settings are counted by verdict too: \ledger{count}{llm}{agrees}, and {settings}, {seeds}; {gpu}, {gpu_base}.
    """
    out = [
        "% written by python -m paper",
        r"\newcommand{\ledger}[3]{\ifcsname ledger@#1@#2@#3\endcsname\csname ledger@#1@#2@#3\endcsname"
        r"\else\errmessage{the ledger has no #3 value for #1 at #2}\fi}",
    ]
    for entry in ledger:
        name = tex_name(f"{entry.claim.id}.{entry.check.name}@{entry.setting}")
        values = {"theory": _power(latex(number(entry.predicted))), "simulation": printed(entry.simulation)}
        values |= {model: printed(pooled, 3) for model, pooled in entry.trained.items()}
        values |= {f"{model} verdict": pooled.verdict for model, pooled in entry.trained.items()}
        out += [definition(f"{name}@{column}", value) for column, value in values.items()]
    for column in MODELS:
        pooled = [e.trained[column] for e in ledger if e.check in trained_checks(e.claim.id, column)]
        counts = {verdict: sum(m.verdict == verdict for m in pooled) for verdict in SEVERITY}
        counts["settings"] = len(pooled)
        counts["seeds"] = max((m.seeds for m in pooled), default=0)
        out += [definition(f"count@{column}@{name}", n) for name, n in counts.items()]
    return "\n".join(out) + "\n"


def definition(name: str, value: object) -> str:
    r"""The macro that \ledger{A}{B}{C} prints, by its name A@B@C."""
    return rf"\expandafter\def\csname ledger@{name}\endcsname{{{value}}}"
