"""The command line before anything is trained: what it needs to say what it can do."""

from __future__ import annotations

import subprocess
import sys

from llm_validation.__main__ import COMMANDS, _parser
from llm_validation.profiles import SIZES_OF


def test_help_names_every_command_and_needs_nothing_heavy():
    code = (
        "import sys, llm_validation.__main__ as m; print(m._parser().format_help())\n"
        "print({'torch', 'transformers', 'pandas', 'scipy', 'cvxpy'} & set(sys.modules) or 'nothing heavy')"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert all(f"python -m llm_validation {name} " in said for name in COMMANDS)
    assert said.endswith("nothing heavy\n")


def test_help_says_which_sizes_a_profile_runs():
    said = " ".join(_parser().format_help().split())
    assert SIZES_OF == {"gpu": ("small", "base")}
    assert "the profile's own by default, of profile gpu small and base" in said
