"""Bad input is named: one test of a table of calls and what is said of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def bad_input_is_named(*table: tuple[Callable[[], Any], str]) -> Callable[..., None]:
    """The test that every call of a table raises a ValueError that matches the message beside it."""

    @pytest.mark.parametrize(("call", "message"), table, ids=[message for _, message in table])
    def test(call: Callable[[], Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            call()

    return test
