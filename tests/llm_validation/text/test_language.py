"""The generated language: its entropy by three independent routes, its probabilities, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llm_validation.text import language as lang
from llm_validation.text.language import END, STORIES, Language, Transition, event, opening
from simulate.montecarlo import generator, mean

#: Three pieces, the second law depending on the first: small enough to write out.
SMALL = Language(
    {
        "first": (Transition(0.5, "a", "after a"), Transition(0.3, "b", "after b"), Transition(0.2, "c", END)),
        "after a": (Transition(0.25, "x", "after b"), Transition(0.75, "y", END)),
        "after b": (Transition(0.9, "x.", END), Transition(0.1, "z", END)),
    },
    "first",
)
characters_of = lambda transition: float(len(transition.text))
WRITTEN_OUT = {"axx.": 0.1125, "axz": 0.0125, "ay": 0.375, "bx.": 0.27, "bz": 0.03, "c": 0.2}


def test_entropy_equals_the_sum_over_all_stories_of_a_small_language():
    p = np.array(list(WRITTEN_OUT.values()))
    assert math.isclose(SMALL.entropy, -(p * np.log(p)).sum(), rel_tol=1e-12)
    assert math.isclose(SMALL.expected(characters_of), sum(p * len(s) for s, p in WRITTEN_OUT.items()), rel_tol=1e-12)
    for story, probability in WRITTEN_OUT.items():
        assert math.isclose(SMALL.log_probability(story), math.log(probability), rel_tol=1e-12)


def test_entropy_of_a_language_with_a_loop():
    """p of "a" again and again, then "b": entropy h(p)/(1 − p), and 1/(1 − p) transitions."""
    p = 0.7
    loop = Language({"s": (Transition(p, "a", "s"), Transition(1 - p, "b", END))}, "s")
    h = -p * math.log(p) - (1 - p) * math.log(1 - p)
    assert math.isclose(loop.entropy, h / (1 - p), rel_tol=1e-12)
    assert math.isclose(loop.expected(lambda _: 1.0), 1 / (1 - p), rel_tol=1e-12)
    assert math.isclose(loop.log_probability("aaab"), 3 * math.log(p) + math.log(1 - p), rel_tol=1e-12)


def test_entropy_of_the_stories_by_monte_carlo():
    stories = STORIES.sample(generator(0, "entropy"), 20_000)
    surprise = mean([-STORIES.log_probability(story) for story in stories])
    # four standard errors: one false alarm in 16 000 seeds; the error is .2 % of the entropy
    assert abs(surprise.value - STORIES.entropy) < 4 * surprise.stderr < 0.01 * STORIES.entropy
    characters = mean([len(story) for story in stories])
    assert abs(characters.value - STORIES.expected(characters_of)) < 4 * characters.stderr


def test_sampling_follows_the_probabilities():
    count = 20_000
    stories = SMALL.sample(generator(1, "law"), count)
    for story, p in WRITTEN_OUT.items():
        # 4.5 standard errors for each of six stories
        assert abs(stories.count(story) / count - p) < 4.5 * math.sqrt(p * (1 - p) / count), story
    assert sum(map(stories.count, WRITTEN_OUT)) == count


def test_sampling_depends_on_the_generator_alone():
    assert STORIES.sample(generator(3, "a"), 5) == STORIES.sample(generator(3, "a"), 5)
    assert STORIES.sample(generator(3, "a"), 5) != STORIES.sample(generator(3, "b"), 5)
    assert STORIES.sample(generator(3, "a"), 0) == []


def test_what_a_story_remembers():
    for story in STORIES.sample(generator(4, "memory"), 300):
        first, *rest = story.split(". ")
        name, animal, place = first.split()[0], first.split()[2], first.split()[-1]
        assert first + "." == opening(name, animal, place)
        assert {sentence.split()[0] for sentence in rest} == {lang.PRONOUN_OF[name], "The"}
        pronoun, verb, _, *thing = rest[0].split()
        assert rest[0] + "." == event(pronoun, verb, " ".join(thing))


def test_words_of_the_language():
    assert set(lang.CLASS_GIVEN_VERB) == set(lang.VERBS)
    assert set(lang.PRONOUN_OF.values()) == set(lang.PRONOUNS)
    words = [*lang.NAMES, *lang.ANIMALS, *lang.PLACES, *lang.VERBS, *lang.ADJECTIVES, *lang.OBJECTS, *lang.FEELINGS]
    assert len(set(words)) == len(words), "a word has one role"
    assert not [w for w in (*lang.ADJECTIVES, *lang.OBJECTS) if w[0] in "aeiou"], "the article is always a"


@pytest.mark.parametrize(
    ("story", "message"),
    [
        ("axq", "at character 2, in state 'after b'"),
        ("ax", "at character 2, in state 'after b'"),
        ("ay!", "goes on after its end at character 2"),
        ("", "at character 0"),
    ],
)
def test_text_outside_the_language_is_refused_with_its_position(story, message):
    with pytest.raises(ValueError, match=message):
        SMALL.log_probability(story)


@pytest.mark.parametrize(
    ("leaving", "message"),
    [
        ((Transition(0.5, "a", END), Transition(0.4, "b", END)), "state 's' sums to 0.9"),
        ((Transition(0.5, "ab", END), Transition(0.5, "a", END)), "'a' is a prefix of 'ab'"),
        ((Transition(0.5, "a", END), Transition(0.5, "a", END)), "'a' is a prefix of 'a'"),
        ((Transition(1.0, "", END),), "writes nothing"),
        ((Transition(1.0, "a", "t"),), "unknown state 't'"),
        ((Transition(1.0, "a", "s"),), "never reaches the end"),
        ((Transition(1.0, "a", END), Transition(0.0, "b", END)), "must be > 0"),
    ],
)
def test_what_is_no_language_is_refused(leaving, message):
    with pytest.raises(ValueError, match=message):
        Language({"s": leaving}, "s")


def test_start_and_end_states_are_checked():
    with pytest.raises(ValueError, match="start state 'nowhere'"):
        Language(SMALL.transitions, "nowhere")
    with pytest.raises(ValueError, match="can have no transitions"):
        Language({END: (Transition(1.0, "a", END),)}, END)


def test_the_fingerprint_sees_a_probability():
    other = dict(SMALL.transitions)
    other["after b"] = (Transition(0.8, "x.", END), Transition(0.2, "z", END))
    assert Language(other, "first").fingerprint != SMALL.fingerprint
    assert Language(dict(SMALL.transitions), "first").fingerprint == SMALL.fingerprint
