"""Comparisons of stories: a known utility of texts, Bradley–Terry users who go by it, and files of real comparisons.

The utility of a text is the mean value of those of its words that have one (animals, places, verbs, adjectives,
objects and feelings of the generated language), in [0, 1]; a text without any is worth ½. It is revealed word by word,
so a partial text already says something about the whole. Values are evenly spaced in each class of words.

Shapes: C comparisons.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from llm_validation.model.text_boundaries import TextBoundaries
from llm_validation.preferences.data import Preferences, read_preferences
from llm_validation.text.language import ADJECTIVES, ANIMALS, FEELINGS, OBJECTS, PLACES, STORIES, VERBS, Language
from theory.validate import Array

Text = tuple[int, ...]

#: word → its value in [0, 1].
WORD_VALUES: dict[str, float] = {
    word: place / (len(words) - 1)
    for words in (ANIMALS, PLACES, VERBS, ADJECTIVES, OBJECTS, FEELINGS)
    for place, word in enumerate(words)
}
#: Slope of the users' choices, per unit of utility: two texts of 20 valued words differ by about .1.
BT_BETA = 20.0


def utility(text: str) -> float:
    """Mean value of a text's valued words, in [0, 1]; ½ without any.

    >>> utility("The fox found a ball."), utility("a goat in the barn, sad"), utility("")
    (0.0, 1.0, 0.5)
    """
    values = [WORD_VALUES[word] for word in re.findall(r"[a-z]+", text.lower()) if word in WORD_VALUES]
    return float(np.mean(values)) if values else 0.5


def streams(
    tokenizer: Any, count: int, length: int, rng: np.random.Generator, language: Language = STORIES
) -> list[Text]:
    """`count` token sequences of 1 + `length`: end-of-text, then stories one after another, cut off at the length.

    What a model that is pretrained on packed stories writes after an end-of-text token, in law.
    """
    end, shortest = tokenizer.eos_token_id, 8
    per_stream = -(-length // shortest)
    made = []
    for _ in range(count):
        text: list[int] = [end]
        for story in language.sample(rng, per_stream):
            text += [*tokenizer(story, add_special_tokens=False)["input_ids"], end]
            if len(text) > length:
                break
        if len(text) <= length:
            raise ValueError(f"{per_stream} stories have {len(text)} tokens, fewer than {length + 1}")
        made.append(tuple(text[: length + 1]))
    return made


@dataclass(frozen=True)
class Comparison:
    """One comparison, both sides in tokens, the prompt included: `prompt` tokens that the two have in common."""

    winner: Text
    loser: Text
    prompt: int


def compare(
    texts: Sequence[Text], utilities: Array, count: int, bt_beta: float, prompt: int, rng: np.random.Generator
) -> list[Comparison]:
    """`count` comparisons of random pairs of texts: P(a beats b) = σ(bt_beta·(u_a − u_b)).

    texts (M,) that share their first `prompt` tokens; utilities (M,)
    """
    a = rng.integers(len(texts), size=count)
    b = (a + rng.integers(1, len(texts), size=count)) % len(texts)
    wins = rng.random(count) < expit(bt_beta * (utilities[a] - utilities[b]))
    return [
        Comparison(texts[w], texts[x], prompt) for w, x in zip(np.where(wins, a, b), np.where(wins, b, a), strict=True)
    ]


def read_comparisons(path: str | Path, texts: TextBoundaries, context: int) -> list[Comparison]:
    """Comparisons of a file of pairs, in tokens: what `llm_validation.preferences.data.read_preferences` reads.

    texts    where a text begins and ends, of the model that will score it
    context  longest text in tokens; nothing is cut off
    FileNotFoundError; ValueError names the line, as for `read_preferences`, or a file of labelled examples.
    """
    return comparisons_of(read_preferences(path, texts, context))


def comparisons_of(data: Preferences) -> list[Comparison]:
    """Pairs as comparisons. ValueError for examples that are not compared with each other."""
    if not data.paired:
        raise ValueError(f"{data.source} has labelled examples: a reward model learns from pairs")
    return [
        Comparison(one.prompt + one.completion, other.prompt + other.completion, len(one.prompt))
        for one, other in zip(data.chosen, data.rejected, strict=True)
    ]
