"""Numbers, names and paths on a command line, and how a command ends.

Each kind is a type of argparse, so that a wrong one is refused before anything starts.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from theory.markup import one_line


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, and ends with status 2."""

    def error(self, message: str) -> NoReturn:
        """Without the usage, which --help prints."""
        self.exit(2, f"{self.prog}: {message}\n")


def carried_out(
    name: str, act: Callable[[], int | None], refused: tuple[type[Exception], ...] = (ValueError, OSError)
) -> int:
    """A command's exit status: that of the act, or 2 after one sentence where it cannot use what it was given."""
    try:
        status = act() or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader has seen enough: see theory.command
        raise
    except refused as error:
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        print(one_line(f"{name}: {in_words(error)}{notes}"), file=sys.stderr)
        return 2


def in_words(error: Exception) -> str:
    """What an error says; one of the operating system without its number.

    >>> in_words(IsADirectoryError(21, "Is a directory", "pairs.jsonl"))
    'pairs.jsonl: Is a directory'
    """
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"


def finite(text: str) -> float:
    """A finite number."""
    return _number(text, math.isfinite, "is not a finite number")


def unless_interrupted(name: str, act: Callable[[], int]) -> int:
    """A command's exit status: that of the act, or 130 after one sentence where Ctrl-C ended it."""
    try:
        return act()
    except KeyboardInterrupt:
        print(f"\n{name}: interrupted; what was finished is kept, run it again to go on", file=sys.stderr)
        return 130


def positive(text: str) -> float:
    """A finite number above 0."""
    return _number(text, lambda value: 0.0 < value < math.inf, "must be positive and finite")


def not_negative(text: str) -> float:
    """A finite number of at least 0."""
    return _number(text, lambda value: 0.0 <= value < math.inf, "must be finite and at least 0")


def share(text: str) -> float:
    """A number in [0, 1)."""
    return _number(text, lambda value: 0.0 <= value < 1.0, "must be in [0, 1)")


def strict_share(text: str) -> float:
    """A number in (0, 1)."""
    return _number(text, lambda value: 0.0 < value < 1.0, "must be in (0, 1)")


def count(text: str) -> int:
    """A whole number of at least 1."""
    return _whole(text, 1)


def seed(text: str) -> int:
    """A whole number of at least 0."""
    return _whole(text, 0)


def a_name(text: str) -> str:
    """A name or path, which is not empty: an empty path is the folder one stands in."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} names nothing")
    return text


def a_path(text: str) -> Path:
    """A path, which is not empty."""
    return Path(a_name(text))


def _number(text: str, holds: Callable[[float], bool], what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not holds(value):
        raise argparse.ArgumentTypeError(f"{text} {what}")
    return value


def _whole(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if value < least:
        raise argparse.ArgumentTypeError(f"{value} must be at least {least}")
    return value
