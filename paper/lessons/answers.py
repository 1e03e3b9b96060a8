"""Exercises that mark themselves: `check(number, answer)` says what is right, or what kind of mistake it is.

An answer that is a number is kept as a salted hash of its rounded value, so that the lesson does not give it away, and
so are the mistakes that are often made, each with its hint. An answer that is an object (a population, a loss) is
checked by the property that it should have.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np


class NotYet(AssertionError):
    """An exercise without an answer, or with a wrong one; the message is the hint."""


@dataclass(frozen=True)
class Number:
    """An exercise whose answer is a number, or several in order.

    digits  significant digits that count
    seal    `seal(exercise, value, digits)` of the right value
    hints   seal of a mistake → what is wrong in kind
    """

    digits: int
    seal: str
    hints: Mapping[str, str] = field(default_factory=dict)

    def judge(self, exercise: str, answer: Any) -> str | None:
        """None if right, else a hint."""
        try:
            values = [float(value) for value in np.atleast_1d(np.asarray(answer, dtype=np.float64)).ravel()]
        except (TypeError, ValueError):
            return f"a number is asked for, got {type(answer).__name__}"
        if not all(math.isfinite(value) for value in values):
            return "a finite number is asked for"
        if self.seal in (seal(exercise, near, self.digits) for near in _near(values, self.digits)):
            return None
        return self.hints.get(seal(exercise, values, self.digits), f"not yet; {self.digits} significant digits count")


@dataclass(frozen=True)
class Property:
    """An exercise whose answer must have a property: `judge(answer)` is None if it has, else a hint."""

    rule: Callable[[Any], str | None]

    def judge(self, exercise: str, answer: Any) -> str | None:
        """None if right, else a hint: that it fails, where what was answered cannot be used at all."""
        try:
            return self.rule(answer)
        except (TypeError, ValueError, ArithmeticError, AttributeError, IndexError) as error:
            return f"it fails with {type(error).__name__}: {error}"


def check_in(exercises: Mapping[str, Number | Property], exercise: str, answer: Any) -> str:
    """Mark an answer; NotYet with a hint unless it is right, KeyError for an exercise that does not exist."""
    if exercise not in exercises:
        raise KeyError(f"no exercise {exercise!r}; there are {', '.join(exercises)}")
    if answer is ...:
        raise NotYet(f"exercise {exercise}: no answer yet; replace the dots")
    hint = exercises[exercise].judge(exercise, answer)
    if hint is not None:
        raise NotYet(f"exercise {exercise}: {hint}")
    return f"exercise {exercise}: right"


def seal(exercise: str, values: Any, digits: int) -> str:
    """The salted hash of a number, or of several in order, rounded to so many significant digits.

    >>> seal("0.1", 3.14159, 3) == seal("0.1", 3.14, 3), seal("0.1", 3.14, 3) == seal("0.2", 3.14, 3)
    (True, False)
    """
    text = " ".join(_rounded(float(value), digits) for value in np.atleast_1d(values).ravel())
    return hashlib.sha256(f"alignment lessons, exercise {exercise}: {text}".encode()).hexdigest()[:16]


def _near(values: list[float], digits: int) -> Iterable[tuple[float, ...]]:
    """The values, each as it is or one off in the last digit that counts: one that is cut off in print is right too."""
    last = [10.0 ** (math.floor(math.log10(abs(value))) - digits + 1) if value else 0.0 for value in values]
    return product(*((value, value + one, value - one) for value, one in zip(values, last, strict=True)))


def _rounded(value: float, digits: int) -> str:
    return f"{value + 0.0:.{digits - 1}e}" if value else "0"
