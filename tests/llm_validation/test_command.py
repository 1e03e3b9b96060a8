"""The command line before anything is trained: what it needs to say what it can do."""

from __future__ import annotations

import subprocess
import sys

from llm_validation.__main__ import COMMANDS


def test_help_names_every_command_and_needs_nothing_heavy():
    code = (
        "import sys, llm_validation.__main__ as m; print(m._parser().format_help())\n"
        "print({'torch', 'transformers', 'pandas', 'scipy', 'cvxpy'} & set(sys.modules) or 'nothing heavy')"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert all(f"python -m llm_validation {name} " in said for name in COMMANDS)
    assert said.endswith("nothing heavy\n")
