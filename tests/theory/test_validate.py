"""What the shared checks of input refuse: nothing is converted where a part of it would be lost or guessed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest

from theory.validate import (
    STRIP,
    as_indices,
    as_number,
    as_numbers,
    as_vector,
    check_between,
    check_finite,
    check_positive,
    check_square,
    check_tau,
    check_win_rates,
)

REFUSED = {
    "masked array": np.ma.masked_array([0.5, 0.5], [False, True]),
    "complex numbers": np.array([0.5 + 1j, 0.5]),
    "text": ["0.5", "0.5"],
    "truth values": [True, False],
    "objects": np.array([0.5, 0.5], dtype=object),
    "rows differ": [[0.5], [0.5, 0.5]],
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_not_an_array_of_real_numbers(reason: str) -> None:
    for check in (as_numbers, as_vector, check_square):
        with pytest.raises(ValueError, match=f"^law .*{reason}"):
            check("law", REFUSED[reason])


SCALARS: list[tuple[Callable[[str, float], float], object, str]] = [
    (check_finite, math.nan, "must be a finite number"),
    (check_finite, -math.inf, "must be a finite number"),
    (check_positive, 0.0, "> 0"),
    *((check, bad, reason)
      for check in (as_number, check_finite, check_positive, lambda _, x: check_tau(x))
      for bad, reason in (("1.5", "text"), (1.5j, "complex"), ([1.5, 2], "shape"), (True, "truth"), (None, "objects"))),
]  # fmt: skip


@pytest.mark.parametrize(("check", "bad", "reason"), SCALARS)
def test_what_is_not_one_number(check: Callable[..., float], bad: object, reason: str) -> None:
    with pytest.raises(ValueError, match=f"tau.*{reason}"):
        check("tau", bad)


def test_whole_numbers_and_columns_of_tables_pass() -> None:
    assert as_vector("law", np.arange(3, dtype=np.int16)).dtype == np.float64
    assert as_number("n", np.array(3)) == 3.0
    table = np.ones((2, 2))
    assert as_numbers("table", table) is table  # not copied
    for shape in ((2, 1), (1, 2)):  # what would broadcast against a vector
        with pytest.raises(ValueError, match=r"law must be a non-empty vector, got shape"):
            as_vector("law", np.full(shape, 0.5))


class Tensor:
    """As torch's are that have a gradient, or are on a GPU or of bfloat16."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError("Use detach() first"), TypeError("Got unsupported ScalarType")])
def test_what_numpy_cannot_read_is_named(error: Exception) -> None:
    for check in (as_numbers, as_indices, as_vector):
        with pytest.raises(ValueError, match=f"^law cannot be read as an array of .*numbers: {re.escape(str(error))}"):
            check("law", Tensor(error))


@pytest.mark.parametrize("ends", ["[]", "[)", "(]", "()"])
def test_an_end_of_a_range_is_in_it_where_its_bracket_is_square(ends: str) -> None:
    assert check_between("share", 0.5, 0.0, 2.0, ends) == 0.5
    for value, bracket in ((0.0, ends[0]), (2.0, ends[1])):
        if bracket in "[]":
            assert check_between("share", value, 0.0, 2.0, ends) == value
    for value in [
        -1.0,
        3.0,
        math.nan,
        math.inf,
        *([0.0] if ends[0] == "(" else []),
        *([2.0] if ends[1] == ")" else []),
    ]:
        with pytest.raises(ValueError, match=f"^share = {value} must be in {re.escape(f'{ends[0]}0, 2{ends[1]}')}$"):
            check_between("share", value, 0.0, 2.0, ends)


@pytest.mark.parametrize("sum_of_both", [0.9, 1.1])
def test_win_rates_that_do_not_add_up_are_named_where_they_are_worst(sum_of_both: float) -> None:
    """Also in the last of several strips of rows."""
    size, named = 2 * STRIP + 5, rf"win_rates\[.*\] = {sum_of_both}, not 1"
    P = np.full((size, size), 0.5)
    P[size - 1, size - 3] = sum_of_both - 0.5
    with pytest.raises(ValueError, match=named):
        check_win_rates(P)
    P[3, 1] += 0.05 * np.sign(1.0 - sum_of_both)
    with pytest.raises(ValueError, match=named):
        check_win_rates(P)
    P[size - 1, size - 3], P[3, 1] = 0.5, 0.5 + 1e-10
    assert check_win_rates(P) is P
