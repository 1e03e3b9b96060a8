"""What a command says where a package is missing, and what it does where its reader or its terminal ends it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.processes import run_anew
from theory.command import ALWAYS, EXTRAS, missing

ROOT = Path(__file__).resolve().parents[2]
RECORDED = "simulate/results/reference"


def told(words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """A command, run in the checkout."""
    env = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )


def test_every_package_is_known_with_the_extra_that_brings_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = lambda listed: {re.split(r"[<>=!;\[ ]", line)[0] for line in listed}
    assert names(project["dependencies"]) == set(ALWAYS)
    for extra, listed in project["optional-dependencies"].items():
        if extra != "test":
            assert names(listed) <= set(EXTRAS[extra]), extra


def test_what_is_none_of_the_projects_is_not_explained():
    assert missing(ModuleNotFoundError("No module named 'mine'", name="mine")) == ""


@pytest.mark.parametrize(
    ("words", "package", "how"),
    [
        (["llm_validation", "conform", "a:b", "dpo"], "torch", "--editable '.[llm]' -c constraints.txt"),
        (["figures", "D4"], "matplotlib", "matplotlib"),
    ],
)
def test_a_missing_package_is_one_sentence(tmp_path, words, package, how):
    (tmp_path / f"{package}.py").write_text(f"raise ModuleNotFoundError('No module', name={package!r})")
    done = told(words, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    said = f"{words[0]}: needs the package {package}, which is not installed: pip install {how}\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_ctrl_c_while_a_stage_is_imported_is_one_sentence(tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise KeyboardInterrupt")
    done = told(["figures", "D4"], PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "figures: interrupted\n")


def test_merging_rows_needs_no_language_model(tmp_path):
    (tmp_path / "accelerate.py").write_text("raise ModuleNotFoundError('No module', name='accelerate')")
    done = told(["llm_validation", "compare", "x", "y"], PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert (done.returncode, done.stderr) == (2, "compare: no rows in x\n")


def test_a_public_name_says_which_package_it_needs():
    run_anew(
        "import pytest\nwith pytest.raises(ModuleNotFoundError, match='^llm_validation.load needs the package'):\n"
        "    from llm_validation import load",
        missing=("torch",),
    )


@pytest.mark.parametrize(
    ("words", "unbuffered"),
    [(["paper", "lessons"], "1"), (["simulate", "compare", RECORDED, RECORDED], ""), (["theory", "D1"], "")],
)
def test_a_reader_that_leaves_early_is_no_error(words, unbuffered):
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen([sys.executable, "-m", *words], cwd=ROOT, env=env, stdout=-1, stderr=-1) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", -signal.SIGPIPE)


def test_an_output_that_is_closed_or_full_is_no_traceback():
    """As a daemon's is, or a disk's."""
    rows = shlex.join(["simulate", "compare", RECORDED, RECORDED])
    for words, to, status, said in (
        ("theory D4", "/dev/full", 2, "theory: No space left on device\n"),
        ("theory D4", "&-", 0, ""),
        (rows, "&- 2>&-", 0, ""),
    ):
        line = f"{shlex.quote(sys.executable)} -m {words} >{to}"
        done = subprocess.run(line, cwd=ROOT, shell=True, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (status, said)


def test_a_terminal_without_greek_letters_gets_their_numbers():
    done = told(["theory", "D4"], PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Borda's exact factor K*(\\u03b2)" in done.stdout
