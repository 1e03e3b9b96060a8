"""The API reference is built from the docstrings without a warning."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from theory.claims import CLAIMS

TOPICS = sorted({claim.topic for claim in CLAIMS})
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_reference_builds_without_warnings(tmp_path):
    pytest.importorskip("sphinx", reason="the reference needs the extra `docs`")
    build = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", ROOT / "paper" / "reference", tmp_path / "html"]
    run = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    page = (tmp_path / "html" / "index.html").read_text(encoding="utf-8")
    with_a_sentence = r'descname"><span class="pre">([^<]+)<(?:(?!descname).)*?<dd><p>'
    shown = set(re.findall(with_a_sentence, page, re.DOTALL))
    parts = [f"theory.{part}" for part in (*TOPICS, "policy", "social_choice")]
    for package in ("theory", *parts, "simulate", "llm_validation"):
        assert set(importlib.import_module(package).__all__) <= shown, package
