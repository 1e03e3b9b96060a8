"""The catalogue: prompts with a few candidate responses each, as text, and as tokens in a prefix tree.

The generated language provides prompts (openings of stories) and responses (sentences of one event); the items of a
ratings file become responses by their names. The model's whole behaviour on a catalogue is one exact law per prompt
on A + 1 outcomes, the last being everything else that it could say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llm_validation.catalogue.trie import PrefixTrie, build_trie
from llm_validation.text.language import OBJECTS, OPENINGS, PRONOUN_OF, VERBS, event, opening


@dataclass(frozen=True)
class Catalogue:
    """P prompts with A responses each, as text; a response goes on where its prompt ends, after a space."""

    prompts: tuple[str, ...]
    responses: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Encoded:
    """A catalogue in tokens: prompts, and responses that end in EOS."""

    prompts: tuple[tuple[int, ...], ...]
    responses: tuple[tuple[tuple[int, ...], ...], ...]

    def trie(self, prompts: Sequence[int] | None = None) -> PrefixTrie:
        """The prefix tree of all prompts, or of those with these indices."""
        chosen = range(len(self.prompts)) if prompts is None else prompts
        return build_trie([self.prompts[p] for p in chosen], [self.responses[p] for p in chosen])


def story_catalogue(n_prompts: int, n_responses: int, rng: np.random.Generator) -> Catalogue:
    """Openings of different stories, each with events told with its hero's pronoun: two verbs, several objects.

    n_prompts at most 384 (names × animals × places), n_responses at most 24; ValueError otherwise.
    """
    objects = (n_responses + 1) // 2
    if not 1 <= n_prompts <= len(OPENINGS) or not 2 <= n_responses <= 2 * len(OBJECTS):
        raise ValueError(
            f"{n_prompts} prompts with {n_responses} responses: the language has {len(OPENINGS)} openings, and "
            f"2 to {2 * len(OBJECTS)} events with two verbs"
        )
    prompts, responses = [], []
    for place in rng.choice(len(OPENINGS), n_prompts, replace=False):
        name, animal, where = OPENINGS[place]
        verbs = rng.choice(len(VERBS), 2, replace=False)
        things = rng.choice(len(OBJECTS), objects, replace=False)
        pairs = [(VERBS[v], OBJECTS[t]) for v in verbs for t in things][:n_responses]
        prompts.append(opening(name, animal, where))
        responses.append(tuple(event(PRONOUN_OF[name], verb, thing) for verb, thing in pairs))
    return Catalogue(tuple(prompts), tuple(responses))


def item_catalogue(items: Sequence[str], n_prompts: int) -> Catalogue:
    """The items of a ratings file as responses, the same under every prompt; prompts are openings of stories."""
    if not 1 <= n_prompts <= len(OPENINGS):
        raise ValueError(f"{n_prompts} prompts: the language has {len(OPENINGS)} openings")
    prompts = tuple(opening(*place) for place in OPENINGS[:n_prompts])
    return Catalogue(prompts, (tuple(f"{item}." for item in items),) * n_prompts)


def encode_catalogue(catalogue: Catalogue, tokenizer: Any, context: int) -> Encoded:
    """Tokens of a catalogue. ValueError before anything is trained, with prompt and response named: a tokenizer without
    EOS, a prompt with a response longer than `context` tokens, responses that are not distinct after tokenisation."""
    if tokenizer.eos_token_id is None:
        raise ValueError("the tokenizer has no EOS token: a response would have no end")
    prompts = tuple(tuple(tokenizer.encode(text, add_special_tokens=False)) for text in catalogue.prompts)
    responses = tuple(
        tuple((*tokenizer.encode(f" {text}", add_special_tokens=False), tokenizer.eos_token_id) for text in own)
        for own in catalogue.responses
    )
    for p, (prompt, own) in enumerate(zip(prompts, responses, strict=True)):
        for y, response in enumerate(own):
            if len(prompt) + len(response) > context:
                raise ValueError(
                    f"prompt {p} with response {y} has {len(prompt) + len(response)} tokens, the context {context}"
                )
    encoded = Encoded(prompts, responses)
    encoded.trie()  # says which responses are equal, or a prefix of another, in tokens
    return encoded
