"""Stop strings: a response ends with the token that completes one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


def stop_tokens(tokenizer: Any, strings: Sequence[str]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """(tokens, texts) that end a response: a special token is never in its text, and ends it as an end token does.

    ValueError for a text that holds a special token and something else.
    """
    special = {token.content: number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    for text in strings:
        if held := [token for token in special if token in text and token != text]:
            raise ValueError(f"the stop string {text!r} holds the special token {held[0]!r}, which is in no text: give "
                             "it by itself")  # fmt: skip
    return tuple(special[t] for t in strings if t in special), tuple(t for t in strings if t not in special)


@dataclass(frozen=True)
class StopStrings:
    """Texts that end a response, for `Sampling.stop`; the string itself is cut off the text by `cut`.

    tokenizer   of the model that writes;  strings   none of them empty
    """

    tokenizer: Any
    strings: tuple[str, ...]

    def __post_init__(self) -> None:
        if not all(self.strings):
            raise ValueError("a stop string must not be empty")

    def __call__(self, responses: Sequence[Sequence[int]]) -> NDArray[np.bool_]:
        """Which responses (B) hold one, looking at their last tokens: a token is a byte at least."""
        tail = max(len(text.encode()) for text in self.strings) + 8
        texts = [self.tokenizer.decode(list(tokens[-tail:]), skip_special_tokens=True) for tokens in responses]
        return np.array([any(stop in text for stop in self.strings) for text in texts])

    def cut(self, text: str) -> str:
        """The text before the first of them."""
        places = [place for place in (text.find(stop) for stop in self.strings) if place >= 0]
        return text[: min(places)] if places else text
