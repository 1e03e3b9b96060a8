"""Sources of claims: every key is in the bibliography, and one source reads alike in the ledger and in the paper."""

from __future__ import annotations

from pathlib import Path

import pytest

from paper.latex import cite
from theory.claims import CLAIMS
from theory.sources import bibliography, cited, plain, reference


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_every_claim_cites_a_source_and_every_key_is_in_the_bibliography(claim):
    assert cited(claim.source)
    assert "@" not in plain(claim.source)  # a key in the middle of a part is not found, and would be printed as it is
    for key in cited(claim.source):
        entry = reference(key)
        assert entry.title
        assert "\\" not in entry.title + entry.short
        assert rf"{{{key}}}" in cite(claim.source)
        assert entry.short in plain(claim.source)


def test_a_source_reads_alike_for_readers_and_in_latex():
    source = "@golz2025 Thm 2; @kizilkaya2022 (family B₁); @bach2010; exact value ours"
    assert plain(source) == (
        "Gölz et al. 2025, Thm 2; Kizilkaya and Kempe 2022 (family B₁); Bach 2010; exact value ours"
    )
    assert cite(source) == (
        r"\cite[Thm 2]{golz2025}; \cite{kizilkaya2022} (family B\ensuremath{_{1}}); \cite{bach2010}; exact value ours"
    )
    assert reference("munos2023").short == "Munos et al. 2023"
    assert reference("golz2025").arxiv == "2505.23749"


def test_unknown_keys_and_missing_files_are_named(tmp_path: Path):
    with pytest.raises(ValueError, match="'nobody1900'; the keys are golz2025"):
        plain("@nobody1900 Thm 1")
    with pytest.raises(FileNotFoundError, match=r"references\.bib"):
        bibliography(tmp_path / "references.bib")
