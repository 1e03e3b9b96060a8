"""The paper: what its sections cite exists, and the tables of the language model say the worst that was measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from figures.__main__ import FIGURES
from llm_validation.claims.table import llm_checks, trained_checks
from paper import latex, tables
from paper.ledger import Entry, entries
from simulate.rows.reach import ROOT
from tests.oracles.rows import made_row
from theory.claim import setting_key
from theory.claims import CLAIMS, find_claim
from theory.sources import bibliography

SECTIONS = sorted((ROOT / "paper" / "sections").glob("*.tex"))


def table_of(claim_id: str, **values: float) -> list[Entry]:
    """Entries of R1 and the like with one language-model value per check, its own prediction where none is given."""
    claim = find_claim(claim_id)
    rows = [
        made_row(claim_id, check.name, setting, values.get(check.name, check.predict(setting)))
        for check in llm_checks(claim.id)
        for setting in check.settings
    ]
    return entries([claim], [], rows)


@pytest.fixture(scope="module")
def names(ledger_without_rows) -> set[str]:
    text = latex.latex_numbers(ledger_without_rows) + tables.latex_numbers(tables.size_table("cpu", []))
    return set(re.findall(r"csname ledger@(.*?)\\endcsname\{", text))


@pytest.mark.parametrize("section", SECTIONS, ids=lambda path: path.stem)
def test_every_number_and_figure_that_a_section_cites_exists(section: Path, names):
    text = section.read_text(encoding="utf-8")
    cited = {"@".join(found) for found in re.findall(r"\\ledger\{([^}]*)\}\{([^}]*)\}\{([^}]*)\}", text)}
    assert cited <= names
    figures = re.findall(r"\\figurefile\{(.*?)\}", text) + re.findall(r"figures/out/(\w+)", text)
    assert set(figures) <= set(FIGURES)


def test_labels_that_sections_refer_to_exist():
    generated = [latex.latex_language_model([]), latex.latex_language_model_misses([])]
    main = (ROOT / "paper" / "main.tex").read_text(encoding="utf-8")
    text = "\n".join([main, *generated, *(path.read_text(encoding="utf-8") for path in SECTIONS)])
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(labels) == len(set(labels))
    cited = set(re.findall(r"\\(?:eq)?ref\{(.*?)\}", text))
    assert cited <= set(labels)
    shown = {label for label in labels if label.startswith(("fig:", "tab:"))}
    assert shown <= cited  # a figure that nothing points to is not discussed


def test_every_section_is_in_the_paper_once():
    texts = [
        (ROOT / "paper" / "main.tex").read_text(encoding="utf-8"),
        *(path.read_text(encoding="utf-8") for path in SECTIONS),
    ]
    found = re.findall(r"\\input\{sections/(\w+)\}", "\n".join(texts))
    assert sorted(found) == [path.stem for path in SECTIONS]


def test_the_paper_and_the_claims_cite_the_bibliography_and_nothing_else():
    texts = [
        (ROOT / "paper" / "main.tex").read_text(encoding="utf-8"),
        *(path.read_text(encoding="utf-8") for path in SECTIONS),
    ]
    texts += [latex.cite(claim.source) for claim in CLAIMS]
    keys = {
        key.strip()
        for text in texts
        for found in re.findall(r"\\cite(?:\[.*?\])?\{(.*?)\}", text)
        for key in found.split(",")
    }
    assert keys == set(bibliography())


def test_the_bibliography_spells_out_its_sources():
    sources = bibliography()
    assert not [key for key, source in sources.items() if "cited by number" in source.title]
    assert not [key for key, source in sources.items() if {"others", "Others"} & set(source.authors)]
    numbers = [source.arxiv for source in sources.values() if source.arxiv]
    assert len(set(numbers)) == len(numbers)
    assert not [number for number in numbers if not re.fullmatch(r"\d{4}\.\d{4,5}", number)]
    text = (ROOT / "paper" / "references.bib").read_text(
        encoding="utf-8"
    )  # the style prints no eprint: the number is in a printed field
    printed = re.findall(r"(?:howpublished|note) = \{.*\\href\{https://arxiv\.org/abs/([\d.]+)\}\{arXiv:\1\}\}", text)
    assert printed == numbers


def test_latex_knows_every_character_of_the_checks():
    for claim in CLAIMS:
        for check in (*claim.checks, *llm_checks(claim.id)):
            assert latex.latex(check.quantity).isascii()
            assert all(latex.latex(setting_key(setting)).isascii() for setting in check.settings)


def test_formulas_of_plain_text_are_set_as_formulas():
    """No ^ or _ of a claim or a check is printed as it is, but those of names as kl_beta."""
    texts = [claim.statement for claim in CLAIMS]
    texts += [check.quantity for claim in CLAIMS for check in trained_checks(claim.id)]
    for text in texts:
        assert not re.search(r"(?<!kl)\\(?:_|\^|textasciicircum)", latex.formulas(text)), text
    assert latex.formulas("D⁺_x, p̂_α, n_{j−1}") == (
        latex.latex("D⁺") + r"\textsubscript{x}, " + latex.latex("p̂") + rf"\textsubscript{{{latex.latex('α')}}}, "
        + rf"n\textsubscript{{{latex.latex('j−1')}}}"
    )  # fmt: skip


def test_a_number_that_rounds_to_zero_has_no_sign_and_a_prediction_the_sign_of_its_neighbour():
    assert latex.printed(latex.Pooled(-3e-6, 0.00038, 3, "")).startswith("0.00000 ")
    text = latex.latex_language_model_misses(table_of("P10", trained=9.0))
    assert re.search(r"score=-0\.5[^&]*& \\ensuremath\{-\}0\.847 &", text)


def test_a_check_is_shown_at_its_worst_setting():
    claim = find_claim("R8")
    rows = [made_row("R8", "trained", f"method={method}", value) for method, value in (("ddro", 0.02), ("rdro", 0.5))]
    ledger = entries([claim], [], rows)
    llm = latex.of_language_model(ledger)
    assert latex.tightest(llm).setting == "method=rdro"
    assert latex.tightest(llm).verdict == "disagrees"
    good = latex.of_language_model(entries([claim], [], [*rows[:1], made_row("R8", "trained", "method=rdro", 0.01)]))
    assert latex.tightest(good).setting == "method=ddro"  # nearest to the bound
    text = latex.latex_language_model(ledger)
    assert text.isascii()
    assert r"(method=rdro, of 2 settings) & \ensuremath{\le} 0.03 & 0.5 & disagrees" in text


def test_orderings_and_lower_bounds_are_worst_where_they_are_smallest():
    ledger = entries([find_claim("V7")], [], [made_row("V7", "trained_kto_support", "", 0.99)])
    (support,) = [e for e in latex.of_language_model(ledger) if e.check.name == "trained_kto_support"]
    assert support.verdict == "agrees"
    claim = find_claim("V11")
    rows = [
        made_row("V11", "cr_separates_more", f"name={name}", value)
        for name, value in (("kldo", 2.0), ("bco", 0.1), ("kto", 1.0), ("dpo", 3.0))
    ]
    mine = [e for e in entries([claim], [], rows) if e.check.name == "cr_separates_more"]
    assert latex.tightest(mine).setting == "name=bco"


def test_misses_are_listed_and_only_they():
    ledger = table_of("R1", worst_tv=0.5)
    text = latex.latex_language_model_misses(ledger)
    assert text.count("disagrees") == 1
    # a quantity that says "the same" is spelt out
    assert "mean over prompts; the same at the worst prompt" in text
    assert "none &" in latex.latex_language_model_misses(table_of("R1"))


def test_settings_are_counted_by_verdict():
    text = latex.latex_numbers(table_of("R1", worst_tv=0.5))
    counts = dict(re.findall(r"ledger@count@llm@(.*?)\\endcsname\{(\d+)\}", text))
    settings = sum(len(check.settings) for check in llm_checks("R1"))
    assert counts == {"disagrees": "1", "inconclusive": "0", "not run": "0", "cited": "0",
                      "agrees": str(settings - 1), "settings": str(settings), "seeds": "1"}  # fmt: skip
