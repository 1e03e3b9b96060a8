"""Known utilities of a text, none of which grows with its length: the truth that a reward is to follow.

    sentiment   share of positive words minus share of negative ones, by the lexicon VADER (Hutto and Gilbert, 2014),
                package vaderSentiment
    plain       minus the mean number of letters of a word: readability without a lexicon
    person      share of words in the first person

>>> plain("A cat sat."), person("I like my cat.")
(-2.3333333333333335, 0.5)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

_WORD = re.compile(r"[^\W\d_]+")
_FIRST_PERSON = frozenset({"i", "me", "my", "mine", "myself", "we", "us", "our", "ours", "ourselves"})


def sentiment(text: str) -> float:
    """ValueError without the package."""
    scores = _lexicon().polarity_scores(text)
    return float(scores["pos"] - scores["neg"])


@cache
def _lexicon() -> Any:
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError as error:
        raise ValueError("sentiment needs vaderSentiment: pip install 'alignment-theory[real]'") from error
    return SentimentIntensityAnalyzer()


def plain(text: str) -> float:
    """0 for a text without words."""
    words = _WORD.findall(text)
    return -sum(map(len, words)) / len(words) if words else 0.0


def person(text: str) -> float:
    """0 for a text without words."""
    words = _WORD.findall(text.lower())
    return sum(word in _FIRST_PERSON for word in words) / len(words) if words else 0.0


#: name → utility.
UTILITIES: dict[str, Callable[[str], float]] = {"sentiment": sentiment, "plain": plain, "person": person}
