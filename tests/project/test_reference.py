"""The API reference is built from the docstrings without a warning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_reference_builds_without_warnings(tmp_path):
    pytest.importorskip("sphinx", reason="the reference needs the extra `docs`")
    build = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", ROOT / "paper" / "reference", tmp_path / "html"]
    run = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    page = (tmp_path / "html" / "index.html").read_text()
    for name in ("maximize_in_kl_ball", "certify_borda_factor", "proximal_optimum", "information_gain"):
        assert name in page, name
