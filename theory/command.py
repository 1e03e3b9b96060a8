"""What a command does where it stops for a reason outside of it: a package that is not installed, a reader that left.

The page of each stage imports this, so that it holds before anything that may be missing is imported.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType

#: Extra of pyproject.toml → packages that come with it alone, by the names under which they are imported.
EXTRAS = {
    "llm": ("torch", "transformers", "tokenizers", "safetensors", "accelerate", "gguf"),
    "real": ("peft", "vaderSentiment"),
    "dask": ("dask", "distributed"),
    "ray": ("ray",),
    "slurm": ("submitit",),
    "sweep": ("pyarrow",),
    "lessons": ("jupytext", "nbclient", "nbconvert", "nbformat", "ipykernel"),
    "docs": ("sphinx",),
}
#: What is always installed beside the project, unless pip was told to leave it out.
ALWAYS = ("numpy", "scipy", "pandas", "matplotlib", "cvxpy", "joblib", "tqdm", "filelock")


def missing(error: ModuleNotFoundError) -> str:
    """A sentence that says how to install the package that was not found; empty for what is none of the project's.

    >>> missing(ModuleNotFoundError(name="torch.nn"))
    "needs the package torch, which is not installed: pip install --editable '.[llm]' -c constraints.txt"
    """
    package = (error.name or "").split(".")[0]
    extra = next((name for name, brought in EXTRAS.items() if package in brought), "")
    if not extra and package not in ALWAYS:
        return ""
    return f"needs the package {package}, which is not installed: pip install {_extra(extra) if extra else package}"


def _extra(name: str) -> str:
    """What pip is to be told in a checkout, and of an installed wheel."""
    checkout = (Path(__file__).resolve().parents[1] / "pyproject.toml").is_file()
    return f"--editable '.[{name}]' -c constraints.txt" if checkout else f"'alignment-theory[{name}]'"


def as_command() -> None:
    """Where Python is about to run a package by `-m` (sys.argv begins with "-m" while it looks for it), and only there:

    A package that is missing is one sentence, and so is Ctrl-C meanwhile; a reader that has seen enough, as `head`,
    ends the command as a signal would; a terminal that cannot show Greek letters gets their numbers; an output that is
    closed, for which Python has None, takes nothing.
    """
    if sys.argv[:1] != ["-m"]:
        return
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:  # workers inherit it by its number
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8"))
    sys.excepthook = _explained
    atexit.register(_written)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _explained(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, BrokenPipeError):
        _gone()
    said = missing(error) if isinstance(error, ModuleNotFoundError) else ""
    if isinstance(error, KeyboardInterrupt):
        said = "interrupted"  # while it is imported: what runs says what is kept
    if said:
        print(f"{os.path.basename(os.path.dirname(sys.argv[0])) or 'python'}: {said}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def _written() -> None:
    """Python says of what it cannot write at its very end that it ignores the exception."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _gone()


def _gone() -> None:
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
    os._exit(141)


as_command()
