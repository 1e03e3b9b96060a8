"""A generated language of known entropy: short English stories from a probabilistic automaton.

A state carries what the story must remember (the pronoun of its hero, the verb just used); each of its transitions
has a probability, a piece of text and a next state. The texts that leave a state are non-empty and none is a prefix
of another, so text and derivation determine each other, and the probability of a story is the product of the
probabilities on its only path. By the chain rule the entropy H(s) in nats of what is still to come in state s solves

    H(s) = Σ_t p(t) (−log p(t) + H(next(t))),     H(end) = 0,

a linear system. H(start) is the floor of the loss of any language model, in nats per story: a model trained on these
stories is checked against a number, not against another model.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from theory.validate import Array, check_distribution

#: The state in which every story stops; it has no transitions.
END = "end"


class Transition(NamedTuple):
    """With `probability` in (0, 1] the automaton writes `text` and goes to the state `next`."""

    probability: float
    text: str
    next: str


@dataclass(frozen=True)
class Language:
    """The law of the stories that an automaton writes on its way from `start` to `END`.

    transitions   state → its transitions; probabilities sum to one, texts are non-empty and prefix-free
    start         the state in which every story begins
    ValueError names the state where this fails, a next state that is unknown, or a state that never reaches the end.
    """

    transitions: Mapping[str, tuple[Transition, ...]]
    start: str

    def __post_init__(self) -> None:
        if self.start not in self.transitions:
            raise ValueError(f"the start state {self.start!r} has no transitions")
        if END in self.transitions:
            raise ValueError(f"the state {END!r} ends a story and can have no transitions")
        for state, leaving in self.transitions.items():
            _check_state(state, leaving, self.transitions)
        _check_end_is_reached(self.transitions)

    # --- what is exactly known -------------------------------------------------------------------------------------

    @cached_property
    def entropy(self) -> float:
        """Entropy of a story, in nats."""
        return self.expected(lambda t: -math.log(t.probability))

    def expected(self, reward: Callable[[Transition], float]) -> float:
        """Expected total of a reward per transition, from the start: solves (I − P) v = E[reward | state]."""
        index = {state: i for i, state in enumerate(self.transitions)}
        matrix = np.eye(len(index))
        immediate = np.zeros(len(index))
        for i, leaving in enumerate(self.transitions.values()):
            for transition in leaving:
                immediate[i] += transition.probability * reward(transition)
                if transition.next != END:
                    matrix[i, index[transition.next]] -= transition.probability
        return float(np.linalg.solve(matrix, immediate)[index[self.start]])

    def log_probability(self, story: str) -> float:
        """log p(story) in nats. ValueError names the position where the story leaves the language."""
        state, position, total = self.start, 0, 0.0
        while state != END:
            for transition in self.transitions[state]:
                if story.startswith(transition.text, position):
                    break
            else:
                raise ValueError(
                    f"not a story of this language: at character {position}, in state {state!r}, no transition "
                    f"writes {story[position : position + 20]!r}"
                )
            total += math.log(transition.probability)
            state, position = transition.next, position + len(transition.text)
        if position < len(story):
            raise ValueError(f"not a story of this language: it goes on after its end at character {position}")
        return total

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change with any text, state or probability."""
        return hashlib.sha256(repr((self.start, sorted(self.transitions.items()))).encode()).hexdigest()[:12]

    # --- sampling --------------------------------------------------------------------------------------------------

    def sample(self, rng: np.random.Generator, count: int) -> list[str]:
        """`count` independent stories; all walk through the automaton at the same time."""
        cumulative, target, written, texts = self._tables
        state = np.full(count, list(self.transitions).index(self.start))
        ended = len(self.transitions)
        columns: list[np.ndarray] = []
        while (active := np.flatnonzero(state != ended)).size:
            draws = rng.random(active.size)
            choice = (draws[:, None] >= cumulative[state[active]]).sum(axis=1)
            column = np.zeros(count, dtype=np.intp)  # text 0 is empty: stories that have ended write nothing
            column[active] = written[state[active], choice]
            columns.append(column)
            state[active] = target[state[active], choice]
        if not columns:
            return []
        return ["".join(row) for row in texts[np.stack(columns, axis=1)].tolist()]

    @cached_property
    def _tables(self) -> tuple[Array, np.ndarray, np.ndarray, np.ndarray]:
        """Cumulative probabilities, next states and text numbers (states, most transitions), and the texts."""
        index = {state: i for i, state in enumerate([*self.transitions, END])}
        shape = (len(self.transitions), max(map(len, self.transitions.values())))
        cumulative = np.full(shape, np.inf)
        target, written = np.zeros(shape, dtype=np.intp), np.zeros(shape, dtype=np.intp)
        texts = [""]
        for i, leaving in enumerate(self.transitions.values()):
            # the last entry stays infinite, so that rounding in the sum cannot choose a transition that is not there
            cumulative[i, : len(leaving) - 1] = np.cumsum([t.probability for t in leaving])[:-1]
            target[i, : len(leaving)] = [index[t.next] for t in leaving]
            written[i, : len(leaving)] = range(len(texts), len(texts) + len(leaving))
            texts += [t.text for t in leaving]
        return cumulative, target, written, np.array(texts, dtype=object)


def _check_state(state: str, leaving: Sequence[Transition], known: Mapping[str, object]) -> None:
    """The conditions on one state; ValueError names it and the transition."""
    check_distribution(f"transitions of state {state!r}", [t.probability for t in leaving])
    for t in leaving:
        if t.probability <= 0.0:
            raise ValueError(f"state {state!r}: the transition {t.text!r} has probability {t.probability}, must be > 0")
        if t.next != END and t.next not in known:
            raise ValueError(f"state {state!r}: the transition {t.text!r} leads to the unknown state {t.next!r}")
    ordered = sorted(t.text for t in leaving)  # a prefix sorts right before one of the texts it begins
    for shorter, longer in zip(["", *ordered], ordered, strict=False):
        if not longer:
            raise ValueError(f"state {state!r}: a transition writes nothing")
        if shorter and longer.startswith(shorter):
            raise ValueError(f"state {state!r}: the text {shorter!r} is a prefix of {longer!r}")


def _check_end_is_reached(transitions: Mapping[str, Sequence[Transition]]) -> None:
    """From every state a path leads to the end: then the end is reached with probability one."""
    reached = {END}
    while grown := {s for s, leaving in transitions.items() if any(t.next in reached for t in leaving)} - reached:
        reached |= grown
    if lost := [state for state in transitions if state not in reached]:
        raise ValueError(f"state {lost[0]!r} never reaches the end of a story")


# --- the default language --------------------------------------------------------------------------------------------

#: The heroes' names and the pronoun each of them takes for the rest of the story.
PRONOUN_OF = {
    **dict.fromkeys(("Mia", "Lily", "Anna", "Rosa"), "She"),
    **dict.fromkeys(("Tom", "Ben", "Max", "Sam"), "He"),
}
NAMES = tuple(PRONOUN_OF)
PRONOUNS = ("She", "He")
ANIMALS = ("fox", "cat", "dog", "duck", "frog", "mouse", "hen", "goat")
PLACES = ("forest", "village", "garden", "castle", "valley", "barn")
#: (name, animal, place) of every opening.
OPENINGS = tuple(itertools.product(NAMES, ANIMALS, PLACES))
VERBS = ("found", "saw", "made", "drew", "lost", "met")
ADJECTIVES = ("red", "big", "small", "new", "green", "kind")
#: Class of object → its objects; the feeling at the end depends on the class of the last object.
CLASSES = {
    "toy": ("ball", "kite", "drum", "doll"),
    "food": ("cake", "pear", "plum", "bun"),
    "beast": ("wolf", "snake", "toad", "lion"),
}
OBJECTS = tuple(word for words in CLASSES.values() for word in words)
FEELINGS = ("happy", "glad", "calm", "proud", "scared", "sad")

#: verb → law of the object's class; a class that is missing has probability 0.
CLASS_GIVEN_VERB = {
    "found": {"toy": 0.5, "food": 0.4, "beast": 0.1},
    "saw": {"toy": 0.2, "food": 0.2, "beast": 0.6},
    "made": {"toy": 0.4, "food": 0.6},
    "drew": {"toy": 0.3, "food": 0.2, "beast": 0.5},
    "lost": {"toy": 0.7, "food": 0.3},
    "met": {"beast": 1.0},
}
#: class of the last object → law of the feeling, in the order of FEELINGS.
FEELING_GIVEN_CLASS = {
    "toy": (0.55, 0.15, 0.05, 0.15, 0.02, 0.08),
    "food": (0.20, 0.55, 0.15, 0.05, 0.02, 0.03),
    "beast": (0.04, 0.03, 0.08, 0.15, 0.60, 0.10),
}
#: Probability that an animal lives at home, which is place i mod 6 for animal i; elsewhere is fading.
HOME = 0.6
#: Probability of an adjective, and that another event follows the first and the second one; a third is the last.
ADJECTIVE = 0.4
ANOTHER_EVENT = (0.6, 0.4, 0.0)


def opening(name: str, animal: str, place: str) -> str:
    """The first sentence of a story.

    >>> opening("Mia", "fox", "forest")
    'Mia the fox lived in the forest.'
    """
    return f"{name} the {animal} lived in the {place}."


def event(pronoun: str, verb: str, thing: str) -> str:
    """The sentence of an event, without the space before it; `thing` is an object with or without an adjective.

    >>> event("She", "found", "red ball")
    'She found a red ball.'
    """
    return f"{pronoun} {verb} a {thing}."


def fading(count: int, shift: int = 0) -> list[float]:
    """An uneven law on `count` words: weights 1/(i + 2), handed out from word `shift` on, around the end."""
    weights = np.roll(1.0 / (np.arange(count) + 2.0), shift)
    return (weights / weights.sum()).tolist()


def story_language() -> Language:
    """Opening, one to three events, a feeling and "The end."; what is remembered is what the states are named by."""
    states: dict[str, tuple[Transition, ...]] = {
        "opening": tuple(
            Transition(p, name, f"animal of {PRONOUN_OF[name]}") for p, name in zip(fading(8), NAMES, strict=True)
        )
    }
    for pronoun in PRONOUNS:
        states[f"animal of {pronoun}"] = tuple(
            Transition(p, f" the {animal} lived in the", f"place of {animal}, {pronoun}")
            for p, animal in zip(fading(len(ANIMALS)), ANIMALS, strict=True)
        )
        for shift, animal in enumerate(ANIMALS):
            states[f"place of {animal}, {pronoun}"] = tuple(
                Transition(p, f" {place}.", f"first event, {pronoun}")
                for p, place in zip(_places(shift), PLACES, strict=True)
            )
        states[f"first event, {pronoun}"] = _verbs(pronoun, done=0, probability=1.0)
        for done in (1, 2, 3):
            states |= _after_event(pronoun, done)
    for kind, law in FEELING_GIVEN_CLASS.items():
        states[f"feeling about {kind}"] = tuple(
            Transition(p, f" {feeling}. The end.", END) for p, feeling in zip(law, FEELINGS, strict=True)
        )
    return Language(states, "opening")


def _places(animal: int) -> list[float]:
    """Law of the place given the number of the animal: the next place after home is the likeliest of the others."""
    elsewhere = fading(len(PLACES) - 1)
    return np.roll([HOME, *((1.0 - HOME) * p for p in elsewhere)], animal % len(PLACES)).tolist()


def _verbs(pronoun: str, done: int, probability: float) -> tuple[Transition, ...]:
    """An event begins, after `done` events: the pronoun and the verb; the probabilities sum to `probability`."""
    return tuple(
        Transition(probability * p, f" {pronoun} {verb} a", f"object of {verb}, {pronoun}, event {done + 1}")
        for p, verb in zip(fading(len(VERBS)), VERBS, strict=True)
        if probability > 0
    )


def _after_event(pronoun: str, number: int) -> dict[str, tuple[Transition, ...]]:
    """The states inside event `number` (1, 2, 3) and after it: object, noun after an adjective, what comes next."""
    states: dict[str, tuple[Transition, ...]] = {}
    for shift, verb in enumerate(VERBS):
        nouns = [
            (p_class * p, word, kind)
            for kind, p_class in CLASS_GIVEN_VERB[verb].items()
            for p, word in zip(fading(len(CLASSES[kind]), shift), CLASSES[kind], strict=True)
        ]
        here = f"{verb}, {pronoun}, event {number}"
        after = [Transition(p, f" {word}.", f"after {kind}, {pronoun}, event {number}") for p, word, kind in nouns]
        states[f"noun of {here}"] = tuple(after)
        states[f"object of {here}"] = tuple(
            [Transition((1.0 - ADJECTIVE) * t.probability, t.text, t.next) for t in after]
            + [
                Transition(ADJECTIVE * p, f" {adjective}", f"noun of {here}")
                for p, adjective in zip(fading(len(ADJECTIVES)), ADJECTIVES, strict=True)
            ]
        )
    more = ANOTHER_EVENT[number - 1]
    for kind in CLASSES:
        states[f"after {kind}, {pronoun}, event {number}"] = (
            Transition(1.0 - more, f" {pronoun} felt", f"feeling about {kind}"),
            *_verbs(pronoun, number, more),
        )
    return states


#: The language that models are pretrained on unless other text is given.
STORIES = story_language()
